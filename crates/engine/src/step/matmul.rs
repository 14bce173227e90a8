//! Products of two computed matrices: the right one is packed panel by panel as it is used.

use super::{Context, Raw, Step};
use ampoule_kernels::gemm::{self, Act, Epilogue, GemmArgs, MicroKernel, Operand, Tap};
use ampoule_kernels::{Elem, Element};

/// Batched `[m, k] · [k, n]`.
pub(crate) struct MatMul {
    pub m: usize,
    pub k: usize,
    pub n: usize,
    /// Offsets of each product's operands and result.
    pub batch: Vec<[usize; 3]>,
    pub panels: Vec<&'static MicroKernel>,
}

impl MatMul {
    /// Runs all products; operands and result are dense and row-major.
    ///
    /// # Safety
    /// See [`Step::run`].
    pub unsafe fn run<E: Element>(&self, step: &Step, cx: &Context) {
        let (a, b) = (Raw(cx.at::<E>(&step.reads[0])), Raw(cx.at::<E>(&step.reads[1])));
        let c = Raw(cx.at::<E>(&step.writes[0]));
        let firsts: Vec<usize> = self
            .panels
            .iter()
            .scan(0, |at, p| {
                let first = *at;
                *at += p.nr;
                Some(first)
            })
            .collect();
        cx.pool.run(self.batch.len() * self.panels.len(), &|i, _| {
            let [oa, ob, oc] = self.batch[i / self.panels.len()];
            let (panel, first) = (self.panels[i % self.panels.len()], firsts[i % self.panels.len()]);
            let columns = (self.n - first).min(panel.nr);
            // SAFETY: columns first..first+columns of operand b.
            let at = |k: usize, n: usize| unsafe { *b.get().add(ob + k * self.n + first + n) }.get();
            let packed = gemm::pack(&[panel], columns, self.k, at);
            let taps = [Tap { a: 0, b: 0 }];
            let mut wide = Vec::new();
            for row in (0..self.m).step_by(panel.mr) {
                let rows = (self.m - row).min(panel.mr);
                let mut operand: *const u8 = a.get().wrapping_add(oa + row * self.k).cast();
                if panel.a == Operand::F32 && E::ELEM != Elem::F32 {
                    wide.clear();
                    // SAFETY: rows of operand a.
                    let stored = unsafe { std::slice::from_raw_parts(operand.cast::<E>(), rows * self.k) };
                    wide.extend(stored.iter().map(|x| x.get()));
                    operand = wide.as_ptr().cast();
                }
                let args = GemmArgs {
                    a: operand,
                    a_row: self.k as isize,
                    taps: &taps,
                    run: self.k,
                    b: packed.as_ptr(),
                    c: c.get().wrapping_add(oc + row * self.n + first).cast(),
                    c_row: self.n as isize,
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
                // SAFETY: rows and columns lie inside the operands; items write disjoint columns.
                unsafe { (panel.run)(&args) };
            }
        });
    }
}
