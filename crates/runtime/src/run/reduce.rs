//! Reductions over any axes of a view, in the order in which the values lie.
//!
//! Work is cut by the shape alone, so a result does not depend on the number of threads.

use super::{ForElement, dispatch};
use crate::block::Shared;
use crate::layout::Layout;
use crate::{Area, Cpu, View};
use ampoule_kernels::reduce::{self, Columns, Fold, Runs};
use ampoule_kernels::{Element, Features};
use std::ops::Range;

/// What a total becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Finish {
    Total,
    Mean,
    Root,
    Log,
    /// The logarithm of a sum of exponentials: the fold is [`Fold::Exp`], shifted by the maximum.
    LogSumExp,
}

/// A reduction planned for one shape.
pub struct Reduce {
    fold: Fold,
    finish: Finish,
    /// Values behind each result.
    count: usize,
    /// Axes that stay, all but those of a block: size, step of the input, step of the output.
    kept: Vec<(usize, isize, isize)>,
    /// Axes that are reduced, the one that steps the least last; without the contiguous one, if that is reduced.
    over: Vec<(usize, isize)>,
    /// The results of a block lie along this axis.
    along: (usize, isize, isize),
    /// Results of a block at most.
    block: usize,
    /// Contiguous values of each row, where rows are reduced; `None` where rows are combined element by element.
    row: Option<usize>,
    reads: Layout,
    writes: Layout,
}

/// Values that an item is worth being a task for.
const WORK: usize = 32 << 10;

/// Most results of a block.
const BLOCK: usize = 1024;

/// With fewer blocks the values behind each are shared out, too.
const ENOUGH: usize = 64;

/// Values of a row that are reduced at once.
const PIECE: usize = 8192;

/// Axes merged where one continues the other.
fn merged<const N: usize>(mut axes: Vec<(usize, [isize; N])>) -> Vec<(usize, [isize; N])> {
    axes.retain(|a| a.0 != 1);
    axes.sort_by_key(|a| std::cmp::Reverse(a.1[0].unsigned_abs()));
    let mut out: Vec<(usize, [isize; N])> = Vec::new();
    for (n, s) in axes {
        match out.last_mut() {
            Some((m, t)) if (0..N).all(|k| t[k] == s[k] * n as isize) => {
                *m *= n;
                *t = s;
            }
            _ => out.push((n, s)),
        }
    }
    out
}

/// The offset of position `i` of the nested axes.
fn offset(axes: impl DoubleEndedIterator<Item = (usize, isize)>, mut i: usize) -> isize {
    let mut at = 0;
    for (n, s) in axes.rev() {
        at += (i % n) as isize * s;
        i /= n;
    }
    at
}

impl Reduce {
    /// Reduces `x` to `y`, which has a size of 1 along every axis that is reduced.
    pub fn new(x: &View, y: &View, fold: Fold, finish: Finish) -> Self {
        let reduced = |i: &usize| y.dims[*i] == 1 && x.dims[*i] != 1;
        let (over, kept): (Vec<usize>, Vec<usize>) = (0..x.dims.len()).partition(reduced);
        let mut kept: Vec<(usize, isize, isize)> =
            merged(kept.iter().map(|&i| (x.dims[i], [x.strides[i], y.strides[i]])).collect())
                .into_iter()
                .map(|(n, [from, to])| (n, from, to))
                .collect();
        let mut over: Vec<(usize, isize)> =
            merged(over.iter().map(|&i| (x.dims[i], [x.strides[i]])).collect())
                .into_iter()
                .map(|(n, [s])| (n, s))
                .collect();
        let count = over.iter().map(|a| a.0).product();
        let row = over.iter().position(|a| a.1 == 1).map(|i| over.remove(i).0);
        let rest: usize = over.iter().map(|a| a.0).product::<usize>() * row.unwrap_or(1);
        // Results of a block lie along the contiguous axis, or where rows are reduced along any.
        let own = match row {
            None => kept.iter().position(|a| a.1 == 1),
            Some(_) => kept.len().checked_sub(1),
        };
        let along = own.map_or((1, 0, 0), |i| kept.remove(i));
        let block = match row {
            None => BLOCK,
            Some(_) => (WORK / rest.max(1)).clamp(1, BLOCK),
        };
        let of = |v: &View| {
            Layout::new(&v.dims.iter().copied().zip(v.strides.iter().copied()).collect::<Vec<_>>())
        };
        Reduce { fold, finish, count, kept, over, along, block, row, reads: of(x), writes: of(y) }
    }

    /// Blocks along the axis of a block's results.
    fn cuts(&self) -> usize {
        self.along.0.div_ceil(self.block)
    }

    fn blocks(&self) -> usize {
        self.kept.iter().map(|a| a.0).product::<usize>() * self.cuts()
    }

    /// Parts that the values behind a block may be shared out in.
    fn units(&self) -> usize {
        self.over.iter().map(|a| a.0).product::<usize>() * self.row.map_or(1, |n| n.div_ceil(PIECE))
    }

    /// Offsets of the first value and the first result of block `i`, and its results.
    fn place(&self, i: usize) -> (isize, isize, usize) {
        let (outer, first) = (i / self.cuts(), i % self.cuts() * self.block);
        let from = offset(self.kept.iter().map(|a| (a.0, a.1)), outer);
        let to = offset(self.kept.iter().map(|a| (a.0, a.2)), outer);
        let n = (self.along.0 - first).min(self.block);
        (from + first as isize * self.along.1, to + first as isize * self.along.2, n)
    }

    /// Joins units `range` of a block, whose values begin at `src`, to `acc`.
    ///
    /// # Safety
    /// The values must be readable, and `isa` supported.
    unsafe fn join<E: Element>(
        &self,
        isa: Features,
        fold: Fold,
        src: *const E,
        range: Range<usize>,
        shift: &[f32],
        acc: &mut [f64],
    ) {
        let step = self.along.1;
        if let Some(n) = self.row {
            let pieces = n.div_ceil(PIECE);
            for u in range {
                let first = u % pieces * PIECE;
                let at = offset(self.over.iter().copied(), u / pieces) + first as isize;
                let n = (n - first).min(PIECE);
                let args = Runs { fold, src: src.wrapping_offset(at), step, n, shift, acc: &mut *acc };
                // SAFETY: passed on from the caller; the piece is a part of the row.
                unsafe { reduce::runs(isa, args) };
            }
            return;
        }
        // Rows that lie evenly are taken at once.
        let (inner, step) = self.over.last().copied().unwrap_or((1, 0));
        let mut u = range.start;
        while u < range.end {
            let n = (inner - u % inner).min(range.end - u);
            let src = src.wrapping_offset(offset(self.over.iter().copied(), u));
            let args = Columns { fold, src, rows: (n, step), shift, acc: &mut *acc };
            // SAFETY: passed on from the caller.
            unsafe { reduce::columns(isa, args) };
            u += n;
        }
    }

    /// What results become, given the maxima that they were shifted by.
    fn finished(&self, total: f64, shift: Option<f32>) -> f32 {
        (match self.finish {
            Finish::Total => total,
            Finish::Mean => total / self.count as f64,
            Finish::Root => total.sqrt(),
            Finish::Log => libm::log(total),
            Finish::LogSumExp => {
                let m = shift.unwrap_or(0.0) as f64;
                if m.is_finite() { m + libm::log(total) } else { m }
            }
        }) as f32
    }
}

/// Reduces.
pub fn run(cpu: Cpu, plan: &Reduce, x: Area, y: Area) {
    dispatch(x.elem(), Step { cpu, plan, x, y });
}

struct Step<'a> {
    cpu: Cpu<'a>,
    plan: &'a Reduce,
    x: Area<'a>,
    y: Area<'a>,
}

impl ForElement for Step<'_> {
    type Out = ();
    fn call<E: Element>(self) {
        let Step { cpu, plan, x, y } = self;
        assert!(y.elem() == E::ELEM, "values stored otherwise");
        y.assert_disjoint(&plan.writes, (&x, &plan.reads));
        let src: Shared<E> = Shared::read(x.reading(&plan.reads, 0).cast());
        let dst: Shared<E> = Shared::new(y.writing(&plan.writes, 0).cast());
        let (blocks, units, isa) = (plan.blocks(), plan.units(), cpu.isa());
        let each = (plan.count * plan.block.min(plan.along.0)).max(1);
        let write = |i: usize, acc: &[f64], shift: &[f32]| {
            let (_, to, n) = plan.place(i);
            for k in 0..n {
                let v = plan.finished(acc[k], shift.get(k).copied());
                // SAFETY: a result of the block, which nobody else writes; `writing` checked that it is inside.
                unsafe { *dst.offset(to + k as isize * plan.along.2) = E::of(v) };
            }
        };
        let shifts = |acc: &[f64]| acc.iter().map(|&m| m as f32).collect::<Vec<f32>>();
        let chunks = units.min(ENOUGH / blocks.max(1)).min((each / WORK).max(1));
        if chunks <= 1 {
            let group = (WORK / each).max(1);
            cpu.pool().run(blocks.div_ceil(group), &|g, _| {
                for i in g * group..((g + 1) * group).min(blocks) {
                    let (from, _, n) = plan.place(i);
                    let total = |fold: Fold, shift: &[f32]| {
                        let mut acc = vec![fold.start(); n];
                        // SAFETY: `reading` checked that the values are inside.
                        unsafe {
                            plan.join(isa, fold, src.offset(from).cast_const(), 0..units, shift, &mut acc)
                        };
                        acc
                    };
                    let shift = match plan.finish {
                        Finish::LogSumExp => shifts(&total(Fold::Max, &[])),
                        _ => Vec::new(),
                    };
                    write(i, &total(plan.fold, &shift), &shift);
                }
            });
            return;
        }
        // Few results of many values: each chunk of values has totals of its own, which are joined in order.
        let part = units.div_ceil(chunks);
        let width = plan.block.min(plan.along.0);
        let totals = |fold: Fold, shift: &[f32]| -> Vec<f64> {
            let mut parts = vec![fold.start(); blocks * chunks * width];
            let own: Shared<f64> = Shared::new(parts.as_mut_ptr());
            cpu.pool().run(blocks * chunks, &|item, _| {
                let (i, c) = (item / chunks, item % chunks);
                let (from, _, n) = plan.place(i);
                // SAFETY: the item's own part.
                let acc = unsafe { std::slice::from_raw_parts_mut(own.at(item * width), n) };
                let shift = shift.get(i * width..i * width + n).unwrap_or(&[]);
                let range = (c * part).min(units)..((c + 1) * part).min(units);
                // SAFETY: `reading` checked that the values are inside.
                unsafe { plan.join(isa, fold, src.offset(from).cast_const(), range, shift, acc) };
            });
            let mut all = vec![fold.start(); blocks * width];
            for (item, acc) in parts.chunks_exact(width).enumerate() {
                let to = &mut all[item / chunks * width..][..width];
                to.iter_mut().zip(acc).for_each(|(a, b)| *a = fold.join(*a, *b));
            }
            all
        };
        let shift = match plan.finish {
            Finish::LogSumExp => shifts(&totals(Fold::Max, &[])),
            _ => Vec::new(),
        };
        let all = totals(plan.fold, &shift);
        for i in 0..blocks {
            write(i, &all[i * width..], shift.get(i * width..).unwrap_or(&[]));
        }
    }
}
