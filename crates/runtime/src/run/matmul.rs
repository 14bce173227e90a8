//! Products of two computed matrices: the right one is packed panel by panel as it is used.

use super::{ForElement, dispatch};
use crate::block::Shared;
use crate::layout::Layout;
use crate::{Area, Cpu};
use ampoule_kernels::gemm::{self, Act, Epilogue, GemmArgs, MicroKernel, Operand, Tap};
use ampoule_kernels::{Elem, Element, TileRegisters};

/// Batched `[m, k] · [k, n]`.
pub struct MatMul {
    /// Rows of the left matrix.
    pub m: usize,
    /// Its columns, and rows of the right one.
    pub k: usize,
    /// Columns of the right matrix.
    pub n: usize,
    /// Offsets of each product's operands and result.
    pub batch: Vec<[usize; 3]>,
    /// Tiles that the columns are cut into.
    pub panels: Vec<&'static MicroKernel>,
}

/// Runs all products; operands and result are dense and row-major, and stored alike.
pub fn run(cpu: Cpu, plan: &MatMul, [a, b]: [Area; 2], c: Area) {
    dispatch(c.elem(), Step(cpu, plan, [a, b], c));
}

struct Step<'a>(Cpu<'a>, &'a MatMul, [Area<'a>; 2], Area<'a>);

impl ForElement for Step<'_> {
    type Out = ();
    fn call<E: Element>(self) {
        let Step(cpu, plan, [a, b], c) = self;
        let MatMul { m, k, n, ref batch, ref panels } = *plan;
        assert!(a.elem() == E::ELEM && b.elem() == E::ELEM, "operands stored otherwise");
        assert!(panels.iter().all(|p| p.features.supported()), "tiles of another tier");
        let fits = |p: &&&MicroKernel| match p.a {
            Operand::F32 => true,
            Operand::Bf16 => E::ELEM == Elem::Bf16,
            Operand::I16 | Operand::U8 => false,
        };
        assert_eq!(panels.iter().filter(fits).count(), panels.len(), "tiles of another type");
        assert!(panels.iter().map(|p| p.nr).sum::<usize>() >= n, "too few tiles");
        let sizes = [m * k, k * n, m * n].map(Layout::run);
        let mut results: Vec<usize> = batch.iter().map(|b| b[2]).collect();
        results.sort_unstable();
        assert!(results.windows(2).all(|w| w[1] - w[0] >= m * n), "results that overlap");
        for &[oa, ob, oc] in batch {
            a.reading(&sizes[0], oa);
            b.reading(&sizes[1], ob);
            c.writing(&sizes[2], oc);
        }
        // The reach of each operand over the whole batch.
        let whole = |which: usize, size: usize| {
            Layout::run(batch.iter().map(|b| b[which]).max().map_or(0, |last| last + size))
        };
        let written = whole(2, m * n);
        c.assert_disjoint(&written, (&a, &whole(0, m * k)));
        c.assert_disjoint(&written, (&b, &whole(1, k * n)));
        let (none, offsets) = (Layout::run(0), first_columns(panels));
        let a: Shared<E> = Shared::read(a.reading(&none, 0).cast());
        let b: Shared<E> = Shared::read(b.reading(&none, 0).cast());
        let c: Shared<E> = Shared::new(c.writing(&none, 0).cast());
        cpu.pool().run(batch.len() * panels.len(), &|i, _| {
            let [oa, ob, oc] = batch[i / panels.len()];
            let (panel, first) = (panels[i % panels.len()], offsets[i % panels.len()]);
            if first >= n {
                return;
            }
            // SAFETY: the operands were checked, and items write columns of their own.
            unsafe { columns(plan, panel, first, (a.at(oa), b.at(ob)), c.at(oc)) };
        });
    }
}

/// First column of each panel.
fn first_columns(panels: &[&MicroKernel]) -> Vec<usize> {
    panels
        .iter()
        .scan(0, |at, p| {
            let first = *at;
            *at += p.nr;
            Some(first)
        })
        .collect()
}

/// The columns of one panel from `first` on, of one product.
///
/// # Safety
/// The matrices must be valid, and the columns of `c` the caller's.
unsafe fn columns<E: Element>(
    plan: &MatMul,
    panel: &MicroKernel,
    first: usize,
    (a, b): (*const E, *const E),
    c: *mut E,
) {
    let columns = (plan.n - first).min(panel.nr);
    // SAFETY: columns first..first+columns of operand b.
    let at = |k: usize, n: usize| unsafe { *b.add(k * plan.n + first + n) }.get();
    let packed = gemm::pack(&[panel], columns, plan.k, at);
    let taps = [Tap { a: 0, b: 0 }];
    let _registers = TileRegisters::hold();
    let mut wide = Vec::new();
    for row in (0..plan.m).step_by(panel.mr) {
        let rows = (plan.m - row).min(panel.mr);
        let mut operand: *const u8 = a.wrapping_add(row * plan.k).cast();
        if panel.a == Operand::F32 && E::ELEM != Elem::F32 {
            wide.clear();
            // SAFETY: rows of operand a.
            let stored = unsafe { std::slice::from_raw_parts(operand.cast::<E>(), rows * plan.k) };
            wide.extend(stored.iter().map(|x| x.get()));
            operand = wide.as_ptr().cast();
        }
        let args = GemmArgs {
            a: operand,
            a_row: plan.k as isize,
            taps: &taps,
            run: plan.k,
            b: packed.as_ptr(),
            c: c.wrapping_add(row * plan.n + first).cast(),
            c_row: plan.n as isize,
            m: rows,
            n: columns,
            epilogue: Epilogue {
                bias: std::ptr::null(),
                residual: std::ptr::null(),
                residual_row: 0,
                act: Act::None,
                elem: E::ELEM,
                requantize: None,
            },
        };
        // SAFETY: rows and columns lie inside the operands.
        unsafe { (panel.run)(&args) };
    }
}
