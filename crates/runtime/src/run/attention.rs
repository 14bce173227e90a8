//! Attention: `softmax(scale·Q·Kᵀ + biases)·V` (Vaswani et al., 2017), rounded between as quantized networks are, without the matrix of all scores: a block of
//! rows of it lies in cache between the two products.

use super::matmul::{Rows, assert_panels, first_columns, offsets, whole};
use super::{ForElement, dispatch};
use crate::block::Shared;
use crate::{Area, Cpu};
use ampoule_kernels::gemm::{self, MicroKernel, Operand};
use ampoule_kernels::softmax::{self, Bias, Change, Rounding, Scores};
use ampoule_kernels::{Elem, Element, bf16};

/// Most biases: one of relative positions, one of a mask.
pub const BIASES: usize = 2;

/// Operands in the order in which offsets are given: queries, keys, values, the result, biases.
const OPERANDS: usize = 4 + BIASES;

/// Batched attention of `rows` queries over `keys` keys. Strides are in elements.
pub struct Attention {
    /// Queries.
    pub rows: usize,
    /// Keys and values.
    pub keys: usize,
    /// Length of a query and a key.
    pub width: usize,
    /// Length of a value.
    pub values: usize,
    /// Distance between queries, whose elements lie side by side.
    pub query_row: usize,
    /// Distances in the matrix of keys: between elements of a key, between keys.
    pub key: [usize; 2],
    /// Distances in the matrix of values: between values, between elements of a value.
    pub value: [usize; 2],
    /// Distance between rows of the result, whose columns lie side by side.
    pub out_row: usize,
    /// Distances between rows and columns of each bias; columns lie side by side or are all the same.
    pub biases: Vec<[usize; 2]>,
    /// What happens to the scores before their softmax.
    pub changes: Vec<Change>,
    /// What happens to the result of that.
    pub rounding: Option<Rounding>,
    /// Sizes of the axes of the batch, and how far apart the operands lie along each.
    pub batch: Vec<(usize, [usize; OPERANDS])>,
    /// Tiles of the keys and of the columns of the values.
    pub panels: [Vec<&'static MicroKernel>; 2],
}

/// Rows of scores between the two products: a multiple of the rows of most tiles.
const BLOCK: usize = 72;

/// Floats of scores that stay in the second-level cache.
const CACHED: usize = 64 << 10;

/// Most rows of an item of work: keys and values are packed for each anew.
const ROWS: usize = 4 * BLOCK;

/// Rows that take as long as to pack keys and values.
const PACKING: usize = 16;

impl Attention {
    /// Distance between rows of scores.
    fn pitch(&self) -> usize {
        let columns: usize = self.panels[0].iter().map(|p| p.nr).sum();
        columns.max(self.keys).next_multiple_of(16)
    }

    fn block(&self) -> usize {
        (CACHED / self.pitch() / 12 * 12).clamp(12, BLOCK)
    }

    /// Rows of an item of work, so that `threads` threads are done soonest.
    fn item_rows(&self, threads: usize) -> usize {
        let block = self.block();
        let entries: usize = self.batch.iter().map(|b| b.0).product();
        let time = |rows: &usize| (entries * self.rows.div_ceil(*rows)).div_ceil(threads) * (rows + PACKING);
        let sizes = (1..=(ROWS / block).max(1)).map(|n| n * block);
        // Of equal times the one that packs least.
        sizes.rev().map(|n| n.min(self.rows)).min_by_key(time).unwrap_or(block)
    }

    /// Floats that the packed keys, the packed values, and the scores of a block take.
    fn sizes(&self) -> [usize; 3] {
        let packed = |panels: &[&MicroKernel], k: usize| panels.iter().map(|p| p.nr * p.groups(k)).sum();
        let [keys, values] = &self.panels;
        // A second copy of the scores where they are multiplied as another type.
        let wide = values.iter().any(|p| p.a != Operand::F32);
        let scores = self.block() * self.pitch() * if wide { 2 } else { 1 };
        [packed(keys, self.width), packed(values, self.keys), scores]
    }

    /// Floats of scratch per worker.
    pub fn scratch(&self) -> usize {
        self.sizes().iter().sum::<usize>().next_multiple_of(16)
    }

    /// Multiply-accumulates.
    pub fn macs(&self) -> u64 {
        let entries: usize = self.batch.iter().map(|b| b.0).product();
        (entries * self.rows * self.keys * (self.width + self.values)) as u64
    }
}

/// Runs all of it: `inputs` are queries, keys, values and the biases, stored as the result is; `scratch` has room
/// for every worker.
pub fn run(cpu: Cpu, plan: &Attention, inputs: &[Area], y: Area, scratch: Area) {
    dispatch(y.elem(), Step(cpu, plan, inputs, y, scratch));
}

struct Step<'a>(Cpu<'a>, &'a Attention, &'a [Area<'a>], Area<'a>, Area<'a>);

/// What items read and write, checked.
struct Operands<E> {
    inputs: Vec<Shared<E>>,
    result: Shared<E>,
}

impl ForElement for Step<'_> {
    type Out = ();
    fn call<E: Element>(self) {
        let Step(cpu, plan, inputs, y, scratch) = self;
        assert!(inputs.iter().all(|x| x.elem() == E::ELEM), "operands stored otherwise");
        assert!(inputs.len() == 3 + plan.biases.len() && plan.biases.len() <= BIASES, "other operands");
        assert!(plan.biases.iter().all(|b| b[1] <= 1), "a bias whose columns lie apart");
        assert_panels::<E>(&plan.panels[0], plan.keys);
        assert_panels::<E>(&plan.panels[1], plan.values);
        let operands = checked::<E>(plan, inputs, y);
        let floats = plan.scratch();
        let own = crate::layout::Layout::run(floats * cpu.pool().threads());
        assert_eq!(scratch.elem(), Elem::F32, "scratch of another type");
        let scratch: Shared<f32> = Shared::new(scratch.writing(&own, 0).cast());
        let item_rows = plan.item_rows(cpu.pool().threads());
        let blocks = plan.rows.div_ceil(item_rows);
        let entries: usize = plan.batch.iter().map(|b| b.0).product();
        cpu.pool().run(entries * blocks, &|i, worker| {
            let row = i % blocks * item_rows;
            let count = (plan.rows - row).min(item_rows);
            // SAFETY: no two running items have the same worker's number.
            let own = unsafe { std::slice::from_raw_parts_mut(scratch.at(worker * floats), floats) };
            // SAFETY: the operands were checked, and items write rows of their own.
            unsafe { item(cpu, plan, &operands, offsets(&plan.batch, i / blocks), row, count, own) };
        });
    }
}

fn checked<E: Element>(plan: &Attention, inputs: &[Area], y: Area) -> Operands<E> {
    let Attention { rows, keys, width, values, ref batch, .. } = *plan;
    let mut axes = vec![
        [(rows, plan.query_row), (width, 1)],
        [(width, plan.key[0]), (keys, plan.key[1])],
        [(keys, plan.value[0]), (values, plan.value[1])],
    ];
    axes.extend(plan.biases.iter().map(|b| [(rows, b[0]), (keys, b[1])]));
    let written = whole(batch, 3, [(rows, plan.out_row), (values, 1)]);
    let read = |(i, (x, axes)): (usize, (&Area, [(usize, usize); 2]))| {
        let lies = whole(batch, if i < 3 { i } else { i + 1 }, axes);
        y.assert_disjoint(&written, (x, &lies));
        Shared::read(x.reading(&lies, 0).cast())
    };
    let inputs = inputs.iter().zip(axes).enumerate().map(read).collect();
    Operands { inputs, result: Shared::new(y.writing(&written, 0).cast()) }
}

/// `count` rows of one entry from `first` on.
///
/// # Safety
/// The operands must be checked, and the rows the caller's.
unsafe fn item<E: Element>(
    cpu: Cpu,
    plan: &Attention,
    operands: &Operands<E>,
    at: [usize; OPERANDS],
    first: usize,
    count: usize,
    scratch: &mut [f32],
) {
    let [keys, values, _] = plan.sizes();
    let (packed_keys, rest) = scratch.split_at_mut(keys);
    let (packed_values, scores) = rest.split_at_mut(values);
    let [q, k, v] = [0, 1, 2].map(|i| operands.inputs[i].at(at[i]).cast_const());
    // SAFETY: keys and values of this entry.
    unsafe {
        pack_all(&plan.panels[0], (k, plan.key), plan.keys, plan.width, packed_keys);
        pack_all(&plan.panels[1], (v, plan.value), plan.values, plan.keys, packed_values);
    }
    let (pitch, block) = (plan.pitch(), plan.block());
    for row in (first..first + count).step_by(block) {
        let rows = (first + count - row).min(block);
        let (scores, second) = scores.split_at_mut(block * pitch);
        let (x, second) = ((scores.as_mut_ptr(), pitch), second.as_mut_ptr().cast::<bf16>());
        let bias = |(i, b): (usize, &[usize; 2])| Bias {
            at: operands.inputs[3 + i].at(at[4 + i] + row * b[0]).cast_const(),
            row: b[0],
            column: b[1],
        };
        let biases: Vec<Bias<E>> = plan.biases.iter().enumerate().map(bias).collect();
        let queries = Rows {
            count: rows,
            a: q.wrapping_add(row * plan.query_row),
            a_row: plan.query_row,
            k: plan.width,
        };
        let to = (operands.result.at(at[3] + row * plan.out_row), plan.out_row);
        // SAFETY: rows of this item.
        unsafe {
            multiply(&plan.panels[0], &queries, packed_keys, plan.keys, x);
            if plan.panels[1][0].a == Operand::F32 {
                softmax::scores(cpu.isa(), plan.scores(x, rows, &biases, x));
                let weights = Rows { count: rows, a: x.0.cast_const(), a_row: pitch, k: plan.keys };
                multiply(&plan.panels[1], &weights, packed_values, plan.values, to);
            } else {
                softmax::scores(cpu.isa(), plan.scores(x, rows, &biases, (second, pitch)));
                let weights = Rows { count: rows, a: second.cast_const(), a_row: pitch, k: plan.keys };
                multiply(&plan.panels[1], &weights, packed_values, plan.values, to);
            }
        }
    }
}

impl Attention {
    fn scores<'a, E, O>(
        &'a self,
        x: (*mut f32, usize),
        rows: usize,
        bias: &'a [Bias<E>],
        dst: (*mut O, usize),
    ) -> Scores<'a, E, O> {
        Scores { x, rows, n: self.keys, changes: &self.changes, bias, rounding: self.rounding, dst }
    }
}

/// Packs a matrix of `columns` columns and `k` rows panel after panel.
///
/// # Safety
/// Its elements must be readable.
unsafe fn pack_all<E: Element>(
    panels: &[&MicroKernel],
    (b, [row, column]): (*const E, [usize; 2]),
    columns: usize,
    k: usize,
    mut out: &mut [f32],
) {
    for (panel, first) in panels.iter().zip(first_columns(panels)) {
        let (own, rest) = out.split_at_mut(panel.nr * panel.groups(k));
        let count = columns.saturating_sub(first).min(panel.nr);
        // SAFETY: columns of the matrix.
        unsafe { gemm::pack_stored(panel, (b.wrapping_add(first * column), [row, column]), count, k, own) };
        out = rest;
    }
}

/// Rows times a matrix that is packed panel after panel.
///
/// # Safety
/// The rows must be valid and the results the caller's to write.
unsafe fn multiply<E: Element, O: Element>(
    panels: &[&MicroKernel],
    rows: &Rows<E>,
    mut packed: &[f32],
    columns: usize,
    (c, c_row): (*mut O, usize),
) {
    for (panel, first) in panels.iter().zip(first_columns(panels)) {
        let (own, rest) = packed.split_at(panel.nr * panel.groups(rows.k));
        let count = columns.saturating_sub(first).min(panel.nr);
        if count > 0 {
            // SAFETY: passed on from the caller.
            unsafe { rows.times(panel, own, count, c.wrapping_add(first), c_row) };
        }
        packed = rest;
    }
}
