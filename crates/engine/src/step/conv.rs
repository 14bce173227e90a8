//! Convolution steps: one or several parts, each with the algorithm chosen for it.

use super::{Context, Raw, Step};
use crate::view::View;
use ampoule_kernels::eltwise::{self, Unary};
use ampoule_kernels::conv::{Conv, ConvPointers, Weights};
use ampoule_kernels::norm::ItemSums;
use ampoule_kernels::winograd::{self, Winograd};
use ampoule_kernels::Isa;
use std::sync::{Arc, Mutex};

/// How a part is computed.
pub(crate) enum Algorithm {
    Direct(Conv, Weights),
    Winograd(Winograd, winograd::Weights),
}

/// One convolution of a step; grouped and transposed ones have several. Offsets are in elements.
pub(crate) struct ConvPart {
    pub algorithm: Algorithm,
    pub input: usize,
    pub output: usize,
    pub residual: usize,
}

/// The convolutions of a step.
pub(crate) struct Convolution {
    pub parts: Vec<ConvPart>,
    /// Applied to what an item wrote while it is in cache.
    pub post: Option<Unary>,
    /// Where a following normalisation finds what the items added up.
    pub sums: Option<Arc<Sums>>,
}

/// Sums per item of a convolution, for one batch entry.
pub(crate) struct Sums {
    items: Vec<Mutex<ItemSums>>,
}

impl Sums {
    pub fn new(items: usize) -> Self {
        Sums { items: (0..items).map(|_| Mutex::default()).collect() }
    }

    /// Totals of `channels` channels about a shift, in the order of the items: shift, sum, square.
    pub fn totals(&self, channels: usize) -> (Vec<f32>, Vec<f64>, Vec<f64>) {
        let mut counts = vec![0; channels];
        let mut shift = vec![0f32; channels];
        let (mut sum, mut square) = (vec![0f64; channels], vec![0f64; channels]);
        for item in &self.items {
            let item = item.lock().unwrap_or_else(|e| e.into_inner());
            item.join(&mut counts, &mut shift, &mut sum, &mut square);
        }
        (shift, sum, square)
    }
}

impl ConvPart {
    pub fn items(&self) -> usize {
        match &self.algorithm {
            Algorithm::Direct(conv, _) => conv.items(),
            Algorithm::Winograd(plan, _) => plan.items(),
        }
    }

    /// Floats of scratch per worker.
    pub fn scratch(&self) -> usize {
        match &self.algorithm {
            Algorithm::Direct(..) => 0,
            Algorithm::Winograd(plan, _) => plan.scratch(),
        }
    }

    /// Bytes of packed weights.
    pub fn bytes(&self) -> usize {
        match &self.algorithm {
            Algorithm::Direct(_, w) => w.bytes(),
            Algorithm::Winograd(_, w) => w.bytes(),
        }
    }

    /// The algorithm and its tiles, for reports.
    pub fn name(&self) -> String {
        let join = |mut names: Vec<&str>| {
            names.dedup();
            names.truncate(2);
            names.join("+")
        };
        match &self.algorithm {
            Algorithm::Direct(_, w) => join(w.kernels().collect()),
            Algorithm::Winograd(plan, _) => format!("winograd {}", join(plan.kernels().collect())),
        }
    }

    /// Whether its items can add up what they write.
    pub fn sums(&self) -> bool {
        match &self.algorithm {
            Algorithm::Direct(conv, _) => conv.whole_columns(),
            Algorithm::Winograd(..) => true,
        }
    }

    /// Applies `f` to the outputs of an item.
    /// Safety: as for the algorithm's own `run`, after it.
    unsafe fn apply(&self, isa: Isa, f: Unary, item: usize, output: *mut f32) {
        let each = |offset: usize, n: usize| {
            let p = output.wrapping_add(self.output + offset);
            // SAFETY: outputs that the item has just written.
            unsafe { eltwise::unary(isa, f, p, p, n) };
        };
        match &self.algorithm {
            Algorithm::Direct(conv, weights) => conv.runs(item, weights, each),
            Algorithm::Winograd(plan, _) => plan.runs(item, each),
        }
    }

    /// Safety: as for the algorithm's own `run`.
    unsafe fn run(
        &self,
        isa: Isa,
        item: usize,
        p: ConvPointers,
        scratch: *mut f32,
        sums: Option<&mut ItemSums>,
    ) {
        let p = p.offset(self.input, self.output, self.residual);
        // SAFETY: passed on from the caller.
        unsafe {
            match &self.algorithm {
                Algorithm::Direct(conv, weights) => {
                    let mut taps = Vec::with_capacity(64);
                    conv.run(item, weights, p, &mut taps, sums.map(|s| (isa, s)));
                }
                Algorithm::Winograd(plan, weights) => plan.run(item, weights, p, scratch, sums),
            }
        }
    }
}

impl Convolution {
    /// Floats of scratch per worker.
    pub fn scratch(&self) -> usize {
        self.parts.iter().map(ConvPart::scratch).max().unwrap_or(0)
    }

    /// Runs all items of all parts. `scratch` has room for every worker.
    ///
    /// # Safety
    /// See [`Step::run`].
    pub unsafe fn run(&self, step: &Step, cx: &Context, scratch: Option<&View>) {
        let p = cx.pointers(step);
        let items: Vec<usize> = self.parts.iter().map(ConvPart::items).collect();
        let scratch = Raw(scratch.map_or(std::ptr::null_mut(), |v| cx.at(v)));
        let per_worker = self.scratch();
        cx.pool.run(items.iter().sum(), &|mut i, worker| {
            let mut guard = self.sums.as_ref().map(|s| {
                let mut g = s.items[i].lock().unwrap_or_else(|e| e.into_inner());
                g.clear();
                g
            });
            let mut k = 0;
            while i >= items[k] {
                i -= items[k];
                k += 1;
            }
            let scratch = scratch.get().wrapping_add(worker * per_worker);
            // SAFETY: grids were made from the views, items write disjoint outputs, workers have
            // scratch of their own.
            unsafe {
                self.parts[k].run(cx.isa, i, p, scratch, guard.as_deref_mut());
                if let Some(f) = self.post {
                    self.parts[k].apply(cx.isa, f, i, p.output);
                }
            }
        });
    }
}
