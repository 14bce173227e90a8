//! Copies whose source positions are given along each axis by a step or a table: padding, gathered rows.

use super::{ForElement, dispatch};
use crate::block::Shared;
use crate::layout::Layout;
use crate::{Area, Cpu, View};
use ampoule_kernels::Element;

/// Where the elements along one axis come from, in elements from the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Along {
    /// Evenly.
    Step(isize),
    /// One offset for each position, or none where the fill value stands.
    Table(Vec<Option<usize>>),
}

/// A copy planned for one shape.
pub struct Take {
    /// Size, step of the output and source; the axis that steps the least last.
    axes: Vec<(usize, isize, Along)>,
    fill: f32,
    reads: Layout,
    writes: Layout,
}

/// Elements per item.
const CHUNK: usize = 32 << 10;

impl Take {
    /// A copy into `y` that reads along its axes as `from` says.
    pub fn new(y: &View, from: Vec<Along>, fill: f32) -> Self {
        assert_eq!(y.dims.len(), from.len(), "sources of other axes");
        let writes = y.dims.iter().copied().zip(y.strides.iter().copied()).collect::<Vec<_>>();
        let reads = from.iter().zip(&y.dims).map(|(a, &n)| match a {
            Along::Step(s) => (n, *s),
            Along::Table(t) => {
                assert_eq!(t.len(), n, "a table of another size");
                // From the first element to the last that the table names.
                (2, t.iter().flatten().max().copied().unwrap_or(0) as isize)
            }
        });
        let (reads, writes) = (Layout::new(&reads.collect::<Vec<_>>()), Layout::new(&writes));
        let mut axes: Vec<(usize, isize, Along)> = y
            .dims
            .iter()
            .zip(&y.strides)
            .zip(from)
            .map(|((&n, &s), a)| (n, s, a))
            // A table of one entry may still name another element than the first.
            .filter(|a| a.0 != 1 || matches!(a.2, Along::Table(_)))
            .collect();
        axes.sort_by_key(|a| std::cmp::Reverse(a.1.unsigned_abs()));
        let mut merged: Vec<(usize, isize, Along)> = Vec::new();
        for (n, to, along) in axes {
            if let (Some((m, t, Along::Step(outer))), Along::Step(s)) = (merged.last_mut(), &along)
                && *t == to * n as isize
                && *outer == s * n as isize
            {
                (*m, *t, *outer) = (*m * n, to, *s);
                continue;
            }
            merged.push((n, to, along));
        }
        if merged.is_empty() {
            merged.push((1, 1, Along::Step(1)));
        }
        Take { axes: merged, fill, reads, writes }
    }

    /// Bytes of the tables.
    pub fn bytes(&self) -> usize {
        let table = |a: &(usize, isize, Along)| match &a.2 {
            Along::Step(_) => 0,
            Along::Table(t) => size_of_val(&t[..]),
        };
        self.axes.iter().map(table).sum()
    }

    /// Offsets of row `row` of the outer axes: of the source, if it has one, and of the output.
    fn row(&self, mut row: usize) -> (Option<isize>, isize) {
        let (mut from, mut to) = (Some(0), 0);
        for (n, step, along) in self.axes[..self.axes.len() - 1].iter().rev() {
            let i = row % n;
            row /= n;
            to += i as isize * step;
            let own = match along {
                Along::Step(s) => Some(i as isize * s),
                Along::Table(t) => t[i].map(|o| o as isize),
            };
            from = from.zip(own).map(|(a, b)| a + b);
        }
        (from, to)
    }
}

/// Copies.
pub fn run(cpu: Cpu, plan: &Take, x: Area, y: Area) {
    dispatch(x.elem(), Step { cpu, plan, x, y });
}

struct Step<'a> {
    cpu: Cpu<'a>,
    plan: &'a Take,
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
        let Some((n, step, along)) = plan.axes.last() else { return };
        let (n, step, fill) = (*n, *step, E::of(plan.fill));
        let outer: usize = plan.axes[..plan.axes.len() - 1].iter().map(|a| a.0).product();
        // Long rows are cut, short ones are grouped.
        let cuts = n.div_ceil(CHUNK).max(1);
        let rows = (CHUNK / n.max(1)).max(1);
        cpu.pool().run(outer.div_ceil(rows) * cuts, &|i, _| {
            let (block, first) = (i / cuts, i % cuts * CHUNK);
            let count = if cuts == 1 { n } else { (n - first).min(CHUNK) };
            for row in block * rows..((block + 1) * rows).min(outer) {
                let (from, to) = plan.row(row);
                let at = |k: usize| to + (first + k) as isize * step;
                // SAFETY: the source and the places were checked, and rows are the item's own.
                unsafe {
                    match (from, along) {
                        (Some(f), Along::Step(1)) if step == 1 => {
                            let s = src.offset(f + first as isize).cast_const();
                            std::ptr::copy_nonoverlapping(s, dst.offset(at(0)), count);
                        }
                        (Some(f), Along::Step(s)) => {
                            for k in 0..count {
                                *dst.offset(at(k)) = *src.offset(f + (first + k) as isize * s);
                            }
                        }
                        (Some(f), Along::Table(t)) => {
                            for (k, o) in t[first..first + count].iter().enumerate() {
                                *dst.offset(at(k)) = match o {
                                    Some(o) => *src.offset(f + *o as isize),
                                    None => fill,
                                };
                            }
                        }
                        (None, _) => (0..count).for_each(|k| *dst.offset(at(k)) = fill),
                    }
                }
            }
        });
    }
}
