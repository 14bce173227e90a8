//! Convolutions, direct or by Winograd, in one or several parts.

use super::{Places, Touches, unary_in_place};
use crate::block::Shared;
use crate::layout::Layout;
use crate::{Area, Cpu};
use ampoule_kernels::conv::{Conv, ConvPointers, Prologue, Weights};
use ampoule_kernels::eltwise::Unary;
use ampoule_kernels::norm::ItemSums;
use ampoule_kernels::winograd::{self, Operands, Winograd};
use ampoule_kernels::{Elem, Grid};
use std::ops::Range;
use std::sync::{Mutex, RwLock};

/// How a part is computed. There are as many of these as layers, so their size does not matter.
#[allow(clippy::large_enum_variant)]
pub enum Algorithm {
    /// Directly.
    Direct(Conv, Weights),
    /// By Winograd's minimal filtering.
    Winograd(Winograd, winograd::Weights),
}

/// One convolution of a step; grouped and transposed ones have several.
pub struct ConvPart {
    /// How it is computed, and its weights.
    pub algorithm: Algorithm,
    /// Elements from the first of the step's input to the first of the part's.
    pub input: usize,
    /// The same of the output.
    pub output: usize,
    /// The same of the residual.
    pub residual: usize,
    /// Where its output slices lie among the step's: offset and step. Transposed convolutions have
    /// a part for every phase.
    pub depth: [usize; 2],
}

/// What a convolution does besides.
#[derive(Clone, Copy, Default)]
pub struct Fused<'a> {
    /// Applied to the input as it is read; for all channels of every part.
    pub prologue: Option<Prologue<'a>>,
    /// Applied to what an item wrote while it is in cache, elements of this type.
    pub post: Option<Unary>,
    /// Where items add up their outputs: item 0 at this position, the others after it.
    pub sums: Option<(&'a Sums, usize)>,
}

/// Sums per item of a convolution, for one batch entry.
#[derive(Default)]
pub struct Sums {
    items: RwLock<Vec<Mutex<ItemSums>>>,
}

impl Sums {
    /// Forgets everything and makes room for `items` items.
    pub fn prepare(&self, items: usize) {
        let mut list = self.items.write().unwrap_or_else(|e| e.into_inner());
        list.resize_with(items, Mutex::default);
        list.iter_mut().for_each(|m| m.get_mut().unwrap_or_else(|e| e.into_inner()).clear());
    }

    /// Makes room for `items` more and returns the first of them.
    pub fn extend(&self, items: usize) -> usize {
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

/// The first tiles of a plan, for reports.
pub(super) fn joined<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.collect();
    names.dedup();
    names.truncate(2);
    names.join("+")
}

impl Algorithm {
    /// Number of independent items of work.
    pub fn items(&self) -> usize {
        match self {
            Algorithm::Direct(conv, _) => conv.items(),
            Algorithm::Winograd(plan, _) => plan.items(),
        }
    }

    /// Floats of scratch per worker.
    pub fn scratch(&self) -> usize {
        match self {
            Algorithm::Direct(conv, _) => conv.scratch(),
            Algorithm::Winograd(plan, _) => plan.scratch(),
        }
    }

    /// Bytes of packed weights.
    pub fn bytes(&self) -> usize {
        match self {
            Algorithm::Direct(_, w) => w.bytes(),
            Algorithm::Winograd(_, w) => w.bytes(),
        }
    }

    /// Whether its weights only stand for some in a plan.
    fn is_planned(&self) -> bool {
        match self {
            Algorithm::Direct(_, w) => w.is_planned(),
            Algorithm::Winograd(_, w) => w.is_planned(),
        }
    }

    /// The algorithm and its tiles, for reports.
    pub fn name(&self) -> String {
        match self {
            Algorithm::Direct(conv, w) => {
                let split = if conv.split().is_some() { "split " } else { "" };
                format!("{split}{}", joined(w.kernels()))
            }
            Algorithm::Winograd(plan, _) => {
                format!("winograd F{} {}", plan.variant().tile, joined(plan.kernels()))
            }
        }
    }

    /// Whether its items can add up what they write.
    pub fn sums(&self) -> bool {
        match self {
            Algorithm::Direct(conv, _) => conv.adds_up(),
            Algorithm::Winograd(plan, _) => plan.adds_up(),
        }
    }

    fn slices(&self) -> usize {
        match self {
            Algorithm::Direct(conv, _) => conv.slices(),
            Algorithm::Winograd(plan, _) => plan.slices(),
        }
    }

    fn receptive_field(&self, z: Range<usize>) -> Range<usize> {
        match self {
            Algorithm::Direct(conv, _) => conv.receptive_field(z),
            Algorithm::Winograd(plan, _) => plan.receptive_field(z),
        }
    }

    /// Grids of input, output and residual, and how the first two and the third are stored.
    fn grids(&self) -> ([&Grid; 2], Option<&Grid>, [Elem; 3]) {
        let (input, output, residual, elems, quantized) = match self {
            Algorithm::Direct(conv, _) => {
                let s = conv.spec();
                (&s.input, &s.output, s.residual.as_ref(), s.elems, &s.quantized)
            }
            Algorithm::Winograd(plan, _) => {
                let s = plan.shape();
                (&s.input, &s.output, s.residual.as_ref(), s.elems, &s.quantized)
            }
        };
        let added = quantized.as_ref().map_or(elems[1], |q| q.residual.0);
        ([input, output], residual, [elems[0], elems[1], added])
    }

    /// Whether the weights are those of the plan, for a tier that this CPU has.
    fn accepts(&self) -> bool {
        match self {
            Algorithm::Direct(conv, weights) => conv.accepts(weights),
            Algorithm::Winograd(plan, weights) => plan.accepts(weights),
        }
    }
}

impl ConvPart {
    /// Its own slices among slices `z` of the step.
    pub fn own(&self, z: &Range<usize>) -> Range<usize> {
        let [offset, step] = self.depth;
        let at = |z: usize| z.saturating_sub(offset).div_ceil(step);
        let slices = self.algorithm.slices();
        at(z.start).min(slices)..at(z.end).min(slices)
    }

    /// Input slices that slices `z` of the step read.
    pub fn receptive_field(&self, z: &Range<usize>) -> Range<usize> {
        self.algorithm.receptive_field(self.own(z))
    }

    /// Independent items of work for slices `z` of the step, or for all.
    pub fn items(&self, z: Option<&Range<usize>>) -> usize {
        let Some(z) = z else { return self.algorithm.items() };
        let z = self.own(z);
        match &self.algorithm {
            _ if z.is_empty() => 0,
            Algorithm::Direct(conv, _) => conv.items_of(z).len(),
            Algorithm::Winograd(plan, _) => plan.items_per_span(),
        }
    }

    /// Checks everything that the part touches, and returns where it lies.
    fn checked(&self, places: &Places, z: Option<&Range<usize>>, fused: &Fused) -> ConvPointers {
        let ([input, output], residual, elems) = self.algorithm.grids();
        assert!(input.dims[0] >= output.dims[0], "fewer batch entries than outputs");
        assert!(fused.sums.is_none() || self.algorithm.sums(), "sums of items that cannot add up");
        if let Some(p) = &fused.prologue {
            let c = input.channels();
            assert!(p.scale.len() == c && p.shift.len() == c, "a prologue of other channels");
        }
        let added = residual.map(|_| places.residual.map(|r| r.elem()));
        let stored = [places.input.elem(), places.output.elem()];
        assert!(stored == elems[..2] && added.is_none_or(|r| r == Some(elems[2])), "values stored otherwise");
        let own = z.map_or(0..output.dims[1], |z| self.own(z));
        if own.is_empty() {
            return ConvPointers {
                input: std::ptr::null(),
                output: std::ptr::null_mut(),
                residual: std::ptr::null(),
            };
        }
        // All of it where pixels may have been merged.
        let read = if z.is_some() { self.algorithm.receptive_field(own.clone()) } else { 0..input.dims[1] };
        let part = Places {
            input: places.input.skip(self.input),
            output: places.output.skip(self.output),
            residual: places.residual.map(|r| r.skip(self.residual)),
        };
        let on = |grid, slices: &Range<usize>| Touches { grid, slices: slices.clone() };
        part.pointers(on(input, &read), on(output, &own), residual.map(|r| on(r, &own)))
    }

    /// Item `item`, of all or of the part's slices `z`, and what it wrote through `post`.
    ///
    /// # Safety
    /// As for the algorithm's own `run`.
    unsafe fn run(
        &self,
        cpu: Cpu,
        item: usize,
        z: Option<Range<usize>>,
        (p, scratch): (ConvPointers, *mut f32),
        prologue: Option<Prologue>,
        post: Option<Unary>,
        sums: Option<&mut ItemSums>,
    ) {
        let elem = self.algorithm.grids().2[1];
        let each = |offset: usize, n: usize| {
            if let Some(f) = post {
                // SAFETY: outputs that the item has just written.
                unsafe { unary_in_place(cpu.isa(), f, elem, p.output, offset, n) };
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

/// The parts of one convolution: their outputs are separate, and their weights those of their plans.
pub struct ConvParts {
    parts: Vec<ConvPart>,
}

impl ConvParts {
    /// Panics where parts write the same outputs, or weights were packed for another plan.
    pub fn new(parts: Vec<ConvPart>) -> Self {
        let lies = |p: &ConvPart| {
            (Layout::grid(p.algorithm.grids().0[1]), p.output, p.algorithm.grids().2[1].size())
        };
        let all: Vec<(Layout, usize, usize)> = parts.iter().map(lies).collect();
        for (i, (a, at, size)) in all.iter().enumerate() {
            for (b, from, other) in &all[..i] {
                let distance = *from as isize * *other as isize - *at as isize * *size as isize;
                assert!(
                    a.disjoint(*size, (b, *other), distance),
                    "parts that write the same outputs: {a:?} {at} {b:?} {from}"
                );
            }
        }
        assert!(
            parts.iter().all(|p| p.algorithm.accepts()),
            "weights that were packed for another convolution"
        );
        ConvParts { parts }
    }

    /// The parts.
    pub fn list(&self) -> &[ConvPart] {
        &self.parts
    }

    /// Gives every part other weights of the same plan, by `f(index, algorithm)`.
    pub fn repack(&mut self, mut f: impl FnMut(usize, &mut Algorithm)) {
        for (i, part) in self.parts.iter_mut().enumerate() {
            let grids = |a: &Algorithm| {
                let ([input, output], residual, elems) = a.grids();
                (*input, *output, residual.copied(), elems)
            };
            let before = grids(&part.algorithm);
            f(i, &mut part.algorithm);
            assert_eq!(grids(&part.algorithm), before, "another plan");
            assert!(part.algorithm.accepts(), "weights that were packed for another convolution");
        }
    }

    /// Floats of scratch per worker.
    pub fn scratch(&self) -> usize {
        self.parts.iter().map(|p| p.algorithm.scratch()).max().unwrap_or(0)
    }

    /// Bytes of packed weights.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|p| p.algorithm.bytes()).sum()
    }

    /// Independent items of work for slices `z` of the step, or for all.
    pub fn items(&self, z: Option<&Range<usize>>) -> usize {
        self.parts.iter().map(|p| p.items(z)).sum()
    }

    /// Input slices that output slices `z` read.
    pub fn receptive_field(&self, z: &Range<usize>) -> Range<usize> {
        let all = self.parts.iter().map(|p| p.receptive_field(z)).filter(|r| !r.is_empty());
        all.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end)).unwrap_or(0..0)
    }

    /// Runs all parts, on all outputs or on slices `z` of the step. `scratch` has [`ConvParts::scratch`] floats for
    /// every worker.
    pub fn run(
        &self,
        cpu: Cpu,
        z: Option<Range<usize>>,
        places: Places,
        scratch: Option<Area>,
        fused: Fused,
    ) {
        let parts = &self.parts;
        assert!(!parts.iter().any(|p| p.algorithm.is_planned()), "weights that were only planned");
        let added_before = fused.post.is_some() && fused.sums.is_some();
        assert!(!added_before, "sums of values that a function is still to be applied to");
        let items: Vec<usize> = parts.iter().map(|p| p.items(z.as_ref())).collect();
        let pointers: Vec<_> = parts.iter().map(|p| p.checked(&places, z.as_ref(), &fused)).collect();
        self.assert_inputs(&places, z.as_ref());
        let own: Vec<Option<Range<usize>>> = parts.iter().map(|p| z.as_ref().map(|z| p.own(z))).collect();
        let per_worker = self.scratch();
        let scratch = Shared::new(scratch_pointer(scratch, per_worker * cpu.pool().threads()));
        let Fused { prologue, post, sums } = fused;
        // Groups read the same lines of memory: those of one place follow one another.
        let alike = items.iter().all(|n| *n == items[0]);
        cpu.pool().run(items.iter().sum(), &|index, worker| {
            let (k, i) =
                if alike { (index % parts.len(), index / parts.len()) } else { part_of(&items, index) };
            let on = (pointers[k], scratch.at(worker * per_worker));
            let run = |sums: Option<&mut ItemSums>| {
                // SAFETY: `checked` has seen that everything lies inside, items write disjoint outputs, and workers
                // have scratch of their own.
                unsafe { parts[k].run(cpu, i, own[k].clone(), on, prologue, post, sums) };
            };
            match sums {
                Some((sums, first)) => sums.with(first + index, |own| run(Some(own))),
                None => run(None),
            }
        });
    }

    /// Panics where one part writes what another reads.
    fn assert_inputs(&self, places: &Places, z: Option<&Range<usize>>) {
        if self.parts.len() < 2 {
            return;
        }
        // Over all parts: the groups of a convolution read and write side by side.
        let touched = |which: usize| {
            let bounds = |p: &ConvPart| {
                let grid = p.algorithm.grids().0[which];
                let own = z.map_or(0..p.algorithm.slices(), |z| p.own(z));
                let all = z.is_none();
                let slices = match which {
                    _ if all => 0..grid.dims[1],
                    0 => p.algorithm.receptive_field(own),
                    _ => own,
                };
                let first = [p.input, p.output][which] + slices.start * grid.strides[1];
                (Layout::slices(grid, &slices), first)
            };
            self.parts.iter().map(bounds).collect::<Vec<_>>()
        };
        let (reads, writes) = (touched(0), touched(1));
        // Mostly they lie in other buffers; only the groups of a concatenation need a look at each.
        let span = |all: &[(Layout, usize)]| {
            let ends = all.iter().map(|(l, at)| (*at, *at + l.range().end as usize));
            let (from, to) = ends.fold((usize::MAX, 0), |a, b| (a.0.min(b.0), a.1.max(b.1)));
            (Layout::run(to.saturating_sub(from)), from)
        };
        let (all_read, all_written) = (span(&reads), span(&writes));
        let input = (&places.input, &all_read.0, all_read.1);
        if places.output.disjoint((&all_written.0, all_written.1), input) {
            return;
        }
        for (read, from) in &reads {
            for (layout, at) in &writes {
                let disjoint = places.output.disjoint((layout, *at), (&places.input, read, *from));
                assert!(disjoint, "a convolution that overwrites its input");
            }
        }
    }
}

/// The part whose item is number `index` of all, and which of its items that is.
fn part_of(items: &[usize], mut index: usize) -> (usize, usize) {
    let mut part = 0;
    while index >= items[part] {
        index -= items[part];
        part += 1;
    }
    (part, index)
}

/// The scratch of all workers.
fn scratch_pointer(scratch: Option<Area>, floats: usize) -> *mut f32 {
    match scratch {
        None => {
            assert_eq!(floats, 0, "a convolution without its scratch");
            std::ptr::null_mut()
        }
        Some(area) => {
            assert_eq!(area.elem(), Elem::F32, "scratch of another type");
            area.writing(&Layout::run(floats), 0).cast()
        }
    }
}
