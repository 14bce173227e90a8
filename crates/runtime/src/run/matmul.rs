//! Products of two computed matrices: the right one is packed panel by panel as it is used.

use super::{ForElement, dispatch};
use crate::block::Shared;
use crate::layout::Layout;
use crate::{Area, Cpu};
use ampoule_kernels::gemm::{self, Act, Epilogue, GemmArgs, MicroKernel, Operand, Tap};
use ampoule_kernels::{Elem, Element, TileRegisters};

/// Batched `[m, k] · [k, n]`. Strides are in elements.
pub struct MatMul {
    /// Rows of the left matrix.
    pub m: usize,
    /// Its columns, which lie side by side, and rows of the right one.
    pub k: usize,
    /// Columns of the right matrix.
    pub n: usize,
    /// Distance between rows of the left matrix.
    pub a_row: usize,
    /// Distances between rows and columns of the right one.
    pub b: [usize; 2],
    /// Distance between rows of the result, whose columns lie side by side.
    pub c_row: usize,
    /// Sizes of the axes of the batch, and how far apart left, right and result lie along each.
    pub batch: Vec<(usize, [usize; 3])>,
    /// Tiles that the columns are cut into.
    pub panels: Vec<&'static MicroKernel>,
}

/// Rows of an item of work: packing the columns costs little beside the products with as many.
const ROWS: usize = 256;

/// Offsets of entry `i` of a batch.
pub(super) fn offsets<const N: usize>(batch: &[(usize, [usize; N])], mut i: usize) -> [usize; N] {
    let mut at = [0; N];
    for (size, steps) in batch.iter().rev() {
        (0..N).for_each(|k| at[k] += i % size * steps[k]);
        i /= size;
    }
    at
}

/// What operand `which` of all entries of a batch touches, whose matrices have these axes.
pub(super) fn whole<const N: usize>(
    batch: &[(usize, [usize; N])],
    which: usize,
    axes: [(usize, usize); 2],
) -> Layout {
    let lead = batch.iter().map(|(size, steps)| (*size, steps[which]));
    let all: Vec<(usize, isize)> = lead.chain(axes).map(|(n, s)| (n, s as isize)).collect();
    Layout::new(&all)
}

/// Runs all products; operands and result are stored alike.
pub fn run(cpu: Cpu, plan: &MatMul, [a, b]: [Area; 2], c: Area) {
    dispatch(c.elem(), Step(cpu, plan, [a, b], c));
}

struct Step<'a>(Cpu<'a>, &'a MatMul, [Area<'a>; 2], Area<'a>);

impl ForElement for Step<'_> {
    type Out = ();
    fn call<E: Element>(self) {
        let Step(cpu, plan, [a, b], c) = self;
        let MatMul { m, k, n, a_row, b: [b_row, b_column], c_row, ref batch, ref panels } = *plan;
        assert!(a.elem() == E::ELEM && b.elem() == E::ELEM, "operands stored otherwise");
        assert_panels::<E>(panels, n);
        let layouts = [
            whole(batch, 0, [(m, a_row), (k, 1)]),
            whole(batch, 1, [(k, b_row), (n, b_column)]),
            whole(batch, 2, [(m, c_row), (n, 1)]),
        ];
        c.assert_disjoint(&layouts[2], (&a, &layouts[0]));
        c.assert_disjoint(&layouts[2], (&b, &layouts[1]));
        let a: Shared<E> = Shared::read(a.reading(&layouts[0], 0).cast());
        let b: Shared<E> = Shared::read(b.reading(&layouts[1], 0).cast());
        let c: Shared<E> = Shared::new(c.writing(&layouts[2], 0).cast());
        let (firsts, blocks) = (first_columns(panels), m.div_ceil(ROWS));
        let entries: usize = batch.iter().map(|b| b.0).product();
        cpu.pool().run(entries * blocks * panels.len(), &|i, _| {
            let (panel, rest) = (i % panels.len(), i / panels.len());
            let [oa, ob, oc] = offsets(batch, rest / blocks);
            let (first, row) = (firsts[panel], rest % blocks * ROWS);
            if first >= n {
                return;
            }
            let (oa, ob, oc) = (oa + row * a_row, ob + first * b_column, oc + row * c_row + first);
            let columns = (n - first).min(panels[panel].nr);
            // SAFETY: the operands were checked, and items write rows and columns of their own.
            unsafe {
                let panel = panels[panel];
                let mut packed = vec![0.0; panel.nr * panel.groups(k)];
                let b = (b.at(ob).cast_const(), [b_row, b_column]);
                gemm::pack_stored(panel, b, columns, k, &mut packed);
                let rows = Rows { count: (m - row).min(ROWS), a: a.at(oa).cast_const(), a_row, k };
                rows.times(panel, &packed, columns, c.at(oc), c_row);
            }
        });
    }
}

/// Panics unless `panels` can multiply elements of type `E` by `n` columns here.
pub(super) fn assert_panels<E: Element>(panels: &[&MicroKernel], n: usize) {
    assert!(panels.iter().all(|p| p.features.supported()), "tiles of another tier");
    let fits = |p: &&&MicroKernel| match p.a {
        Operand::F32 => true,
        Operand::Bf16 => E::ELEM == Elem::Bf16,
        Operand::I16 | Operand::U8 => false,
    };
    assert_eq!(panels.iter().filter(fits).count(), panels.len(), "tiles of another type");
    assert!(panels.iter().map(|p| p.nr).sum::<usize>() >= n, "too few tiles");
}

/// First column of each panel.
pub(super) fn first_columns(panels: &[&MicroKernel]) -> Vec<usize> {
    panels
        .iter()
        .scan(0, |at, p| {
            let first = *at;
            *at += p.nr;
            Some(first)
        })
        .collect()
}

/// Rows of a left operand: `count` of `k` values each, `a_row` apart.
pub(super) struct Rows<E> {
    pub count: usize,
    pub a: *const E,
    pub a_row: usize,
    pub k: usize,
}

impl<E: Element> Rows<E> {
    /// The rows times the first `columns` columns of a packed panel, to `c`.
    ///
    /// # Safety
    /// The rows must be valid, the panel packed for `k`, and the results the caller's to write.
    pub unsafe fn times<O: Element>(
        &self,
        panel: &MicroKernel,
        packed: &[f32],
        columns: usize,
        c: *mut O,
        c_row: usize,
    ) {
        let taps = [Tap { a: 0, b: 0 }];
        let _registers = TileRegisters::hold();
        let mut wide = Vec::new();
        for row in (0..self.count).step_by(panel.mr) {
            let rows = (self.count - row).min(panel.mr);
            let mut operand: *const u8 = self.a.wrapping_add(row * self.a_row).cast();
            let mut a_row = self.a_row;
            if panel.a == Operand::F32 && E::ELEM != Elem::F32 {
                wide.clear();
                for r in row..row + rows {
                    // SAFETY: a row of the left operand.
                    let stored = unsafe { std::slice::from_raw_parts(self.a.add(r * self.a_row), self.k) };
                    wide.extend(stored.iter().map(|x| x.get()));
                }
                (operand, a_row) = (wide.as_ptr().cast(), self.k);
            }
            let args = GemmArgs {
                a: operand,
                a_row: a_row as isize,
                taps: &taps,
                run: self.k,
                b: packed.as_ptr(),
                c: c.wrapping_add(row * c_row).cast(),
                c_row: c_row as isize,
                m: rows,
                n: columns,
                lines: None,
                epilogue: Epilogue {
                    bias: std::ptr::null(),
                    residual: std::ptr::null(),
                    residual_row: 0,
                    act: Act::None,
                    elem: O::ELEM,
                    requantize: None,
                },
            };
            // SAFETY: rows and columns lie inside the operands.
            unsafe { (panel.run)(&args) };
        }
    }
}
