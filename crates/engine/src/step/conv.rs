//! Convolution steps: one or several parts, each with the algorithm chosen for it.

use super::{Affine, Context, Norm, Raw, Step, grid, unary_in_place};
use ampoule_kernels::Elem;
use ampoule_kernels::conv::{Conv, ConvPointers, Prologue, Weights};
use ampoule_kernels::eltwise::Unary;
use ampoule_kernels::norm::ItemSums;
use ampoule_kernels::winograd::{self, Operands, Winograd};
use std::ops::Range;
use std::sync::{Mutex, RwLock};

/// How a part is computed. There are as many of these as layers, so their size does not matter.
#[allow(clippy::large_enum_variant)]
pub(crate) enum Algorithm {
    Direct(Conv, Weights),
    Winograd(Winograd, winograd::Weights),
}

/// One convolution of a step; grouped and transposed ones have several. Offsets are in bytes.
pub(crate) struct ConvPart {
    pub algorithm: Algorithm,
    pub input: usize,
    pub output: usize,
    pub residual: usize,
    /// Where its output slices lie among the step's: offset and step. Transposed convolutions have
    /// a part for every phase.
    pub depth: [usize; 2],
}

/// The convolutions of a step.
pub(crate) struct Convolution {
    pub parts: Vec<ConvPart>,
    /// Applied to what an item wrote while it is in cache.
    pub post: Option<Unary>,
    /// Applied to the input as it is read.
    pub prologue: Option<Norm>,
    /// Which of the session's sums a following normalisation finds what the items added up in.
    pub sums: Option<usize>,
}

/// Sums per item of a convolution, for one batch entry.
#[derive(Default)]
pub(crate) struct Sums {
    items: RwLock<Vec<Mutex<ItemSums>>>,
}

impl Sums {
    /// Forgets everything and makes room for `items` items.
    fn prepare(&self, items: usize) {
        let mut list = self.items.write().unwrap_or_else(|e| e.into_inner());
        list.resize_with(items, Mutex::default);
        list.iter_mut().for_each(|m| m.get_mut().unwrap_or_else(|e| e.into_inner()).clear());
    }

    /// Makes room for `items` more and returns the first of them.
    fn extend(&self, items: usize) -> usize {
        let mut list = self.items.write().unwrap_or_else(|e| e.into_inner());
        let first = list.len();
        list.resize_with(first + items, Mutex::default);
        first
    }

    /// Calls `f` with the sums of item `i`.
    fn with(&self, i: usize, f: impl FnOnce(&mut ItemSums)) {
        let list = self.items.read().unwrap_or_else(|e| e.into_inner());
        f(&mut list[i].lock().unwrap_or_else(|e| e.into_inner()));
    }

    /// Totals of the integer sums of `channels` channels and of their squares.
    pub fn exact_totals(&self, channels: usize) -> (Vec<i128>, Vec<i128>) {
        let (mut sum, mut square) = (vec![0; channels], vec![0; channels]);
        for item in self.items.read().unwrap_or_else(|e| e.into_inner()).iter() {
            let item = item.lock().unwrap_or_else(|e| e.into_inner());
            item.join_exact(&mut sum, &mut square);
        }
        (sum, square)
    }

    /// Totals of `channels` channels about a shift, in the order of the items: shift, sum, square.
    pub fn totals(&self, channels: usize) -> (Vec<f32>, Vec<f64>, Vec<f64>) {
        let mut counts = vec![0; channels];
        let mut shift = vec![0f32; channels];
        let (mut sum, mut square) = (vec![0f64; channels], vec![0f64; channels]);
        for item in self.items.read().unwrap_or_else(|e| e.into_inner()).iter() {
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
            Algorithm::Direct(conv, _) => conv.scratch(),
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
            Algorithm::Winograd(plan, _) => {
                format!("winograd F{} {}", plan.variant().tile, join(plan.kernels().collect()))
            }
        }
    }

    /// Whether its items can add up what they write.
    pub fn sums(&self) -> bool {
        match &self.algorithm {
            Algorithm::Direct(conv, _) => conv.adds_up(),
            Algorithm::Winograd(plan, _) => plan.adds_up(),
        }
    }

    /// Its own slices among slices `z` of the step.
    fn own(&self, z: &Range<usize>) -> Range<usize> {
        let [offset, step] = self.depth;
        let at = |z: usize| z.saturating_sub(offset).div_ceil(step);
        let slices = match &self.algorithm {
            Algorithm::Direct(conv, _) => conv.slices(),
            Algorithm::Winograd(plan, _) => plan.slices(),
        };
        at(z.start).min(slices)..at(z.end).min(slices)
    }

    /// Input slices that slices `z` of the step read.
    fn receptive_field(&self, z: &Range<usize>) -> Range<usize> {
        match &self.algorithm {
            Algorithm::Direct(conv, _) => conv.receptive_field(self.own(z)),
            Algorithm::Winograd(plan, _) => plan.receptive_field(self.own(z)),
        }
    }

    /// Independent items of work for its slices `z`.
    fn items_of(&self, z: &Range<usize>) -> usize {
        match &self.algorithm {
            _ if z.is_empty() => 0,
            Algorithm::Direct(conv, _) => conv.items_of(z.clone()).len(),
            Algorithm::Winograd(plan, _) => plan.items_per_span(),
        }
    }

    /// Item `item`, of all or of slices `z`, and what it wrote through `post`.
    /// Safety: as for the algorithm's own `run`.
    unsafe fn run(
        &self,
        cx: &Context,
        item: usize,
        z: Option<Range<usize>>,
        p: ConvPointers,
        scratch: *mut f32,
        prologue: Option<Prologue>,
        post: Option<(Unary, Elem)>,
        sums: Option<&mut ItemSums>,
    ) {
        let p = p.offset(self.input, self.output, self.residual);
        let each = |offset: usize, n: usize| {
            if let Some((f, elem)) = post {
                // SAFETY: outputs that the item has just written.
                unsafe { unary_in_place(cx.isa, f, elem, p.output, offset, n) };
            }
        };
        // SAFETY: passed on from the caller.
        unsafe {
            match &self.algorithm {
                Algorithm::Direct(conv, weights) => {
                    let mut taps = Vec::with_capacity(64);
                    let item = item + z.map_or(0, |z| conv.items_of(z).start);
                    conv.run(item, weights, p, (&mut taps, scratch), prologue, sums);
                    if post.is_some() {
                        conv.runs(item, weights, each);
                    }
                }
                Algorithm::Winograd(plan, weights) => {
                    let z = z.unwrap_or_else(|| {
                        let (a, b) = plan.region(item).1[0];
                        a..b
                    });
                    let on = Operands { weights, prologue, pointers: p, scratch };
                    plan.run_slices(item, z.clone(), on, sums);
                    if post.is_some() {
                        plan.runs(item, z, each);
                    }
                }
            }
        }
    }
}

impl Convolution {
    /// Floats of scratch per worker.
    pub fn scratch(&self) -> usize {
        self.parts.iter().map(ConvPart::scratch).max().unwrap_or(0)
    }

    /// Whether it can run slice by slice on an output of `depth` slices.
    pub fn sliced(&self, depth: usize) -> bool {
        let total: usize = self.parts.iter().map(|p| p.own(&(0..depth)).len()).sum();
        let phases = self.parts.iter().map(|p| p.depth[1]).max().unwrap_or(1);
        // Merged pixels are a single slice.
        total * phases >= self.parts.len() * depth
    }

    /// Input slices that output slices `z` read.
    pub fn receptive_field(&self, z: Range<usize>) -> Range<usize> {
        let all = self.parts.iter().map(|p| p.receptive_field(&z)).filter(|r| !r.is_empty());
        all.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end)).unwrap_or(0..0)
    }

    /// Runs all items of all parts. `scratch` has room for every worker.
    ///
    /// # Safety
    /// See [`Step::run`].
    pub unsafe fn run(&self, step: &Step, cx: &Context) -> Result<(), String> {
        let items: Vec<usize> = self.parts.iter().map(ConvPart::items).collect();
        if let Some(s) = self.sums {
            cx.sums[s].prepare(items.iter().sum());
        }
        // SAFETY: passed on from the caller.
        unsafe {
            let affine = self.affine(step, cx)?;
            self.items(step, cx, &items, None, 0, &affine);
        }
        Ok(())
    }

    /// Scale and shift of the prologue, empty without one.
    /// Safety: as for [`Step::run`].
    unsafe fn affine(&self, step: &Step, cx: &Context) -> Result<Affine, String> {
        match &self.prologue {
            None => Ok(Affine::default()),
            // SAFETY: passed on from the caller.
            Some(n) => Ok(unsafe { step.affine_of(cx, n, &grid(&step.reads[0])?) }),
        }
    }

    /// Independent items of each part for output slices `z`.
    fn items_of(&self, z: &Range<usize>) -> Vec<usize> {
        self.parts.iter().map(|p| p.items_of(&p.own(z))).collect()
    }

    /// Runs output slices `z`, which must be asked for in order, from the first on.
    ///
    /// # Safety
    /// See [`Step::run`]; only what the slices reach must be readable.
    pub unsafe fn run_slices(&self, step: &Step, cx: &Context, z: Range<usize>) -> Result<(), String> {
        let items = self.items_of(&z);
        let mut slot = 0;
        if let Some(s) = self.sums {
            if z.start == 0 {
                cx.sums[s].prepare(0);
            }
            slot = cx.sums[s].extend(items.iter().sum());
        }
        // SAFETY: passed on from the caller.
        unsafe {
            let affine = self.affine(step, cx)?;
            self.items(step, cx, &items, Some(z), slot, &affine);
        }
        Ok(())
    }

    /// Runs in rounds of slices, so that an output that overlaps its input never overwrites what a
    /// later round reads.
    ///
    /// # Safety
    /// See [`Step::run`].
    pub unsafe fn run_rounds(
        &self,
        step: &Step,
        cx: &Context,
        rounds: &[Range<usize>],
    ) -> Result<(), String> {
        if let Some(s) = self.sums {
            cx.sums[s].prepare(rounds.iter().flat_map(|z| self.items_of(z)).sum());
        }
        // SAFETY: passed on from the caller.
        let affine = unsafe { self.affine(step, cx)? };
        let mut slot = 0;
        for z in rounds {
            let items = self.items_of(z);
            // SAFETY: passed on from the caller.
            unsafe { self.items(step, cx, &items, Some(z.clone()), slot, &affine) };
            slot += items.iter().sum::<usize>();
        }
        Ok(())
    }

    /// Safety: as for [`Step::run`].
    unsafe fn items(
        &self,
        step: &Step,
        cx: &Context,
        items: &[usize],
        z: Option<Range<usize>>,
        slot: usize,
        affine: &Affine,
    ) {
        let p = cx.pointers(step);
        let scratch = Raw(step.scratch.as_ref().map_or(std::ptr::null_mut(), |v| cx.at::<f32>(v)));
        let per_worker = self.scratch();
        let (scale, shift) = affine;
        let post = self.post.map(|f| (f, step.writes[0].elem));
        let prologue = self.prologue.as_ref().map(|n| Prologue { scale, shift, act: n.act });
        cx.pool.run(items.iter().sum(), &|index, worker| {
            let (mut k, mut i) = (0, index);
            while i >= items[k] {
                i -= items[k];
                k += 1;
            }
            let part = &self.parts[k];
            let scratch = scratch.get().wrapping_add(worker * per_worker);
            let z = z.as_ref().map(|z| part.own(z));
            // SAFETY: grids were made from the views, items write disjoint outputs, workers have
            // scratch of their own.
            let run = |sums: Option<&mut ItemSums>| unsafe {
                part.run(cx, i, z, p, scratch, prologue, post, sums);
            };
            match self.sums {
                Some(s) => cx.sums[s].with(slot + index, |own| run(Some(own))),
                None => run(None),
            }
        });
    }
}
