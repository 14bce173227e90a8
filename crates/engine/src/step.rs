//! The steps that a graph becomes, and how each runs.

mod conv;
mod loops;
mod matmul;
mod reference;
mod slices;

use crate::Pool;
use crate::view::{Home, View};
use ampoule_graph::{DType, Op, Tensor};
use ampoule_kernels::conv::ConvPointers;
use ampoule_kernels::depthwise::Depthwise;
use ampoule_kernels::dot::Act;
use ampoule_kernels::{Elem, Element, Grid, Isa, bf16, eltwise, layer_norm, norm, pool, resize, softmax};
use std::ops::Range;

pub(crate) use conv::{Algorithm, ConvPart, Convolution, Sums};
pub(crate) use loops::Loops;
pub(crate) use matmul::MatMul;
pub(crate) use reference::{gather, scatter, tensor};
pub(crate) use slices::DEPTH;

/// Normalisation over pixels: `y = act(normalise(x) + residual)`.
#[derive(Clone)]
pub(crate) struct Norm {
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
    /// Channels that share statistics; `None` when gamma and beta already are the affine map.
    pub group: Option<usize>,
    pub epsilon: f32,
    pub act: Act,
    /// Which of the session's sums the convolution before has added up its outputs in.
    pub sums: Option<usize>,
}

/// Scale and shift per channel.
pub(crate) type Affine = (Vec<f32>, Vec<f32>);

/// An argument of a step that the reference computes.
pub(crate) enum Arg {
    Missing,
    Constant(Tensor),
    /// Index into the step's reads, and the element type to present.
    Read(usize, DType),
}

pub(crate) enum Kind {
    Conv(Convolution),
    Depthwise {
        plan: Depthwise,
        weights: Vec<f32>,
        bias: Vec<f32>,
        post: Option<eltwise::Unary>,
    },
    /// Layer normalisation of dense rows.
    LayerNorm {
        scale: Vec<f32>,
        shift: Vec<f32>,
        epsilon: f32,
    },
    /// `x · s` with one factor per channel, both computed.
    Scale,
    Pool(pool::Pool),
    Norm(Norm),
    GlobalAverage,
    Unary(eltwise::Unary, Loops),
    Binary(eltwise::Binary, Loops),
    Copy(Loops),
    Fill(f32),
    Softmax {
        rows: usize,
        n: usize,
        from: usize,
        to: usize,
    },
    Resize(resize::Resize),
    MatMul(MatMul),
    Reference {
        op: Op,
        args: Vec<Arg>,
    },
}

/// One unit of execution. `reads[0]` is the main input, `reads[1]` a residual or second operand.
pub(crate) struct Step {
    pub node: String,
    pub op: String,
    pub kind: Kind,
    pub reads: Vec<View>,
    pub writes: Vec<View>,
    /// Whether the first output may take the place of the first or second input.
    pub in_place: bool,
    pub macs: u64,
    /// Room for all workers, in the arena during this step.
    pub scratch: Option<View>,
    /// Output slices of each round of a convolution whose output overlaps its input.
    pub rounds: Option<Vec<Range<usize>>>,
}

/// What a running step needs to know of its session.
pub(crate) struct Context<'a> {
    pub isa: Isa,
    pub pool: &'a Pool,
    pub arena: *mut u8,
    /// First byte of each buffer; below zero where only later slices are held.
    pub offsets: &'a [isize],
    pub constants: &'a [Stored],
    pub sums: &'a [Sums],
}

// SAFETY: workers write disjoint parts of what the pointer leads to; see each step.
unsafe impl Sync for Context<'_> {}

/// A pointer that workers share.
#[derive(Clone, Copy)]
pub(crate) struct Raw<T>(pub *mut T);
// SAFETY: users write disjoint parts.
unsafe impl<T> Sync for Raw<T> {}
// SAFETY: as above.
unsafe impl<T> Send for Raw<T> {}

impl<T> Raw<T> {
    /// The pointer itself (a method, so that closures capture the wrapper).
    pub fn get(self) -> *mut T {
        self.0
    }
}

/// A constant of a session.
pub(crate) enum Stored {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
}

impl Stored {
    /// Holds `values`, rounded to what `elem` can hold.
    pub fn new(values: Vec<f32>, elem: Elem) -> Self {
        match elem {
            Elem::F32 => Stored::F32(values),
            Elem::Bf16 => Stored::Bf16(values.into_iter().map(bf16::of).collect()),
        }
    }

    pub fn bytes(&self) -> usize {
        match self {
            Stored::F32(v) => 4 * v.len(),
            Stored::Bf16(v) => 2 * v.len(),
        }
    }

    fn base(&self) -> *const u8 {
        match self {
            Stored::F32(v) => v.as_ptr().cast(),
            Stored::Bf16(v) => v.as_ptr().cast(),
        }
    }
}

impl Context<'_> {
    /// First byte of a view.
    pub fn bytes(&self, v: &View) -> *mut u8 {
        let offset = v.offset * v.elem.size();
        match v.home {
            Home::Arena(b) => self.arena.wrapping_offset(self.offsets[b] + offset as isize),
            Home::Constant(c) => self.constants[c].base().wrapping_add(offset).cast_mut(),
        }
    }

    /// First element of a view of type `E`.
    pub fn at<E: Element>(&self, v: &View) -> *mut E {
        debug_assert_eq!(v.elem, E::ELEM);
        self.bytes(v).cast()
    }

    fn pointers(&self, s: &Step) -> ConvPointers {
        ConvPointers {
            input: self.bytes(&s.reads[0]),
            output: self.bytes(&s.writes[0]),
            residual: s.reads.get(1).map_or(std::ptr::null(), |r| self.bytes(r)),
        }
    }
}

/// `f` over `n` elements of type `elem`, from `offset` elements after `base` on.
///
/// # Safety
/// The elements must be valid and `isa` supported.
unsafe fn unary_in_place(isa: Isa, f: eltwise::Unary, elem: Elem, base: *mut u8, offset: usize, n: usize) {
    let at = base.wrapping_add(offset * elem.size());
    // SAFETY: passed on from the caller.
    unsafe {
        match elem {
            Elem::F32 => eltwise::unary::<f32>(isa, f, at.cast(), at.cast(), n),
            Elem::Bf16 => eltwise::unary::<bf16>(isa, f, at.cast(), at.cast(), n),
        }
    }
}

/// `to[i·steps[1]] = from[i·steps[0]]` for `n` elements.
///
/// # Safety
/// All of them must be valid, and the two sets disjoint.
unsafe fn convert<A: Element, B: Element>(from: *const A, to: *mut B, n: usize, steps: [isize; 2]) {
    for i in 0..n as isize {
        // SAFETY: passed on from the caller.
        unsafe { *to.offset(i * steps[1]) = B::of((*from.offset(i * steps[0])).get()) };
    }
}

fn grid(v: &View) -> Result<Grid, String> {
    v.grid().ok_or_else(|| format!("a view {:?} that is not channels-last", v.strides))
}

impl Step {
    /// Runs the step.
    ///
    /// # Safety
    /// The context's arena must have the plan's size and the step's inputs must have been computed.
    pub unsafe fn run(&self, cx: &Context) -> Result<(), String> {
        if self.writes.iter().all(|w| w.len() == 0) {
            return Ok(());
        }
        // SAFETY: passed on from the caller.
        unsafe {
            match self.writes[0].elem {
                Elem::F32 => self.typed::<f32>(cx),
                Elem::Bf16 => self.typed::<bf16>(cx),
            }
        }
    }

    /// Safety: as for [`Step::run`]; the first output must be of type `E`, and so must be all inputs of
    /// steps other than convolutions, copies and those of the reference.
    unsafe fn typed<E: Element>(&self, cx: &Context) -> Result<(), String> {
        let isa = cx.isa;
        match &self.kind {
            // SAFETY: passed on from the caller.
            Kind::Conv(c) => unsafe {
                match &self.rounds {
                    Some(rounds) => c.run_rounds(self, cx, rounds)?,
                    None => c.run(self, cx)?,
                }
            },
            Kind::Depthwise { plan, .. } => {
                // SAFETY: passed on from the caller.
                cx.pool.run(plan.items(), &|i, _| unsafe { self.depthwise(cx, i) });
            }
            Kind::LayerNorm { scale, shift, epsilon } => {
                let (src, dst) = (Raw(cx.at::<E>(&self.reads[0])), Raw(cx.at::<E>(&self.writes[0])));
                let n = scale.len();
                let rows = self.reads[0].len() / n.max(1);
                const ROWS: usize = 16;
                cx.pool.run(rows.div_ceil(ROWS), &|i, _| {
                    let at = i * ROWS * n;
                    let rows = layer_norm::Rows {
                        src: src.get().wrapping_add(at),
                        dst: dst.get().wrapping_add(at),
                        count: (rows - i * ROWS).min(ROWS),
                        scale,
                        shift,
                        epsilon: *epsilon,
                    };
                    // SAFETY: rows of the views, chunks are disjoint.
                    unsafe { layer_norm::layer_norm(isa, rows) };
                });
            }
            // SAFETY: passed on from the caller.
            Kind::Scale => unsafe { self.scale::<E>(cx)? },
            Kind::Pool(plan) => {
                let p = cx.pointers(self);
                // SAFETY: grids were made from the views, rows are disjoint.
                cx.pool.run(plan.items(), &|i, _| unsafe { plan.run(isa, i, p) });
            }
            Kind::Resize(plan) => {
                let p = cx.pointers(self);
                cx.pool.run(plan.items(), &|i, _| {
                    let mut line = vec![0.0; plan.scratch()];
                    // SAFETY: grids were made from the views, rows are disjoint.
                    unsafe { plan.run(isa, i, p, &mut line) };
                });
            }
            // SAFETY: passed on from the caller.
            Kind::Norm(n) => unsafe { self.normalise::<E>(cx, n)? },
            // SAFETY: passed on from the caller.
            Kind::GlobalAverage => unsafe { self.average::<E>(cx)? },
            Kind::Unary(f, loops) => {
                let (src, dst) = (Raw(cx.at::<E>(&self.reads[0])), Raw(cx.at::<E>(&self.writes[0])));
                // SAFETY: the loops visit elements of the views, chunks are disjoint.
                loops.run(cx.pool, &|at, n, step| unsafe {
                    let (s, d) = (src.get().offset(at[0]), dst.get().offset(at[1]));
                    if step[0] == 1 && step[1] == 1 {
                        eltwise::unary(isa, *f, s, d, n);
                    } else {
                        for i in 0..n as isize {
                            eltwise::unary(isa, *f, s.offset(i * step[0]), d.offset(i * step[1]), 1);
                        }
                    }
                });
            }
            Kind::Binary(f, loops) => {
                let (a, b) = (Raw(cx.at::<E>(&self.reads[0])), Raw(cx.at::<E>(&self.reads[1])));
                let dst = Raw(cx.at::<E>(&self.writes[0]));
                // SAFETY: the loops visit elements of the views, chunks are disjoint.
                loops.run(cx.pool, &|at, n, step| unsafe {
                    let (a, b) = (a.get().offset(at[0]), b.get().offset(at[1]));
                    let d = dst.get().offset(at[2]);
                    if step[0] == 1 && step[2] == 1 && (step[1] == 1 || step[1] == 0) {
                        eltwise::binary(isa, *f, a, b, step[1] == 0, d, n);
                    } else {
                        for i in 0..n as isize {
                            let (x, y) = ((*a.offset(i * step[0])).get(), (*b.offset(i * step[1])).get());
                            *d.offset(i * step[2]) = E::of(f.scalar(x, y));
                        }
                    }
                });
            }
            // SAFETY: passed on from the caller.
            Kind::Copy(loops) => unsafe {
                match self.reads[0].elem {
                    Elem::F32 => self.copy::<f32, E>(cx, loops),
                    Elem::Bf16 => self.copy::<bf16, E>(cx, loops),
                }
            },
            Kind::Fill(value) => {
                let n = self.writes[0].extent().ok_or("a filled view with negative strides")?;
                // SAFETY: the view's own buffer, not read by anyone yet.
                unsafe { std::slice::from_raw_parts_mut(cx.at::<E>(&self.writes[0]), n) }.fill(E::of(*value));
            }
            Kind::Softmax { rows, n, from, to } => {
                let (src, dst) = (Raw(cx.at::<E>(&self.reads[0])), Raw(cx.at::<E>(&self.writes[0])));
                const ROWS: usize = 4096;
                cx.pool.run(rows.div_ceil(ROWS), &|i, _| {
                    let (first, count) = (i * ROWS, (rows - i * ROWS).min(ROWS));
                    // SAFETY: rows of the views, chunks are disjoint.
                    unsafe {
                        let s = src.get().add(first * from);
                        softmax::softmax(isa, (s, *from), (dst.get().add(first * to), *to), count, *n);
                    }
                });
            }
            // SAFETY: passed on from the caller.
            Kind::MatMul(m) => unsafe { m.run::<E>(self, cx) },
            // SAFETY: passed on from the caller.
            Kind::Reference { op, args } => unsafe { reference::run(self, op, args, cx)? },
        }
        Ok(())
    }

    /// Safety: as for [`Step::run`]; the types must be those of input and output.
    unsafe fn copy<A: Element, B: Element>(&self, cx: &Context, loops: &Loops) {
        let (src, dst) = (Raw(cx.at::<A>(&self.reads[0])), Raw(cx.at::<B>(&self.writes[0])));
        // SAFETY: the loops visit elements of the views, chunks are disjoint.
        loops.run(cx.pool, &|at, n, step| unsafe {
            let (s, d) = (src.get().offset(at[0]), dst.get().offset(at[1]));
            if A::ELEM == B::ELEM && step[0] == 1 && step[1] == 1 {
                std::ptr::copy_nonoverlapping(s.cast(), d, n);
            } else {
                convert(s, d, n, [step[0], step[1]]);
            }
        });
    }

    /// Item `i` of a depthwise convolution.
    /// Safety: as for [`Step::run`].
    unsafe fn depthwise(&self, cx: &Context, i: usize) {
        let Kind::Depthwise { plan, weights, bias, post } = &self.kind else { return };
        let p = cx.pointers(self);
        // SAFETY: grids were made from the views, items are disjoint.
        unsafe { plan.run(cx.isa, i, weights, bias, p) };
        if let Some(f) = post {
            plan.runs(i, |offset, n| {
                // SAFETY: outputs that the item has just written.
                unsafe { unary_in_place(cx.isa, *f, plan.elem, p.output, offset, n) };
            });
        }
    }

    /// Totals per channel of batch entry `n`, from fixed chunks added up in order.
    /// Safety: as for [`Step::run`].
    unsafe fn totals<E: Element>(&self, cx: &Context, g: &Grid, n: usize) -> (Vec<f32>, Vec<f64>, Vec<f64>) {
        let c = g.channels();
        let base = cx.at::<E>(&self.reads[0]).wrapping_add(n * g.strides[0]);
        // SAFETY: the first pixel of the entry.
        let shift: Vec<f32> =
            unsafe { std::slice::from_raw_parts(base, c) }.iter().map(|x| x.get()).collect();
        let chunks = norm::chunks(g);
        let mut sums = vec![0f64; 2 * c * chunks];
        let (src, out) = (Raw(base), Raw(sums.as_mut_ptr()));
        let (volume, isa) = (g.volume(), cx.isa);
        cx.pool.run(chunks, &|i, _| {
            let first = i * norm::CHUNK;
            let count = (volume - first).min(norm::CHUNK);
            // SAFETY: pixels of the view; each chunk has its own part of the sums.
            unsafe {
                let part = std::slice::from_raw_parts_mut(out.get().add(2 * c * i), 2 * c);
                let (sum, square) = part.split_at_mut(c);
                let p = src.get().add(first * g.pixel());
                norm::partial_sums(isa, p, g.pixel(), count, &shift, sum, square);
            }
        });
        let mut total = vec![0f64; 2 * c];
        for part in sums.chunks(2 * c) {
            for (t, p) in total.iter_mut().zip(part) {
                *t += p;
            }
        }
        let square = total.split_off(c);
        (shift, total, square)
    }

    /// [`Step::affine`] of the only batch entry of a first input of any type.
    /// Safety: as for [`Step::run`].
    unsafe fn affine_of(&self, cx: &Context, n: &Norm, gi: &Grid) -> Affine {
        // SAFETY: passed on from the caller.
        unsafe {
            match self.reads[0].elem {
                Elem::F32 => self.affine::<f32>(cx, n, gi, 0),
                Elem::Bf16 => self.affine::<bf16>(cx, n, gi, 0),
            }
        }
    }

    /// Scale and shift per channel of a normalisation of batch entry `b` of the first input.
    /// Safety: as for [`Step::run`].
    unsafe fn affine<E: Element>(&self, cx: &Context, n: &Norm, gi: &Grid, b: usize) -> Affine {
        let Some(group) = n.group else { return (n.gamma.clone(), n.beta.clone()) };
        let (shift, sum, square) = match n.sums {
            Some(s) => cx.sums[s].totals(gi.channels()),
            // SAFETY: passed on from the caller.
            None => unsafe { self.totals::<E>(cx, gi, b) },
        };
        let (sum, square, shift) = grouped(group, gi.volume(), sum, square, shift);
        norm::instance_affine(gi.volume(), n.epsilon, &shift, &sum, &square, &n.gamma, &n.beta)
    }

    /// Safety: as for [`Step::run`].
    unsafe fn normalise<E: Element>(&self, cx: &Context, n: &Norm) -> Result<(), String> {
        let (gi, go) = (grid(&self.reads[0])?, grid(&self.writes[0])?);
        let gr = self.reads.get(1).map(grid).transpose()?;
        let volume = gi.volume();
        for b in 0..gi.dims[0] {
            // SAFETY: passed on from the caller.
            let (scale, shift) = unsafe { self.affine::<E>(cx, n, &gi, b) };
            let src = Raw(cx.at::<E>(&self.reads[0]).wrapping_add(b * gi.strides[0]));
            let dst = Raw(cx.at::<E>(&self.writes[0]).wrapping_add(b * go.strides[0]));
            let res =
                self.reads.get(1).zip(gr).map(|(v, g)| Raw(cx.at::<E>(v).wrapping_add(b * g.strides[0])));
            let res_pixel = gr.map_or(0, |g| g.pixel());
            cx.pool.run(volume.div_ceil(norm::CHUNK), &|i, _| {
                let first = i * norm::CHUNK;
                let residual =
                    res.map_or(std::ptr::null(), |r| r.get().wrapping_add(first * res_pixel).cast_const());
                let args = norm::Affine {
                    src: (src.get().wrapping_add(first * gi.pixel()), gi.pixel()),
                    dst: (dst.get().wrapping_add(first * go.pixel()), go.pixel()),
                    residual: (residual, res_pixel),
                    count: (volume - first).min(norm::CHUNK),
                    scale: &scale,
                    shift: &shift,
                    act: n.act,
                };
                // SAFETY: pixels of the views, chunks are disjoint.
                unsafe { norm::affine(cx.isa, args) };
            });
        }
        Ok(())
    }

    /// Safety: as for [`Step::run`].
    unsafe fn scale<E: Element>(&self, cx: &Context) -> Result<(), String> {
        let (gi, go) = (grid(&self.reads[0])?, grid(&self.writes[0])?);
        let (volume, channels) = (gi.volume(), gi.channels());
        let zeros = vec![0f32; channels];
        for b in 0..gi.dims[0] {
            let entry = |v: &View, s: usize| Raw(cx.at::<E>(v).wrapping_add(b * s));
            let src = entry(&self.reads[0], gi.strides[0]);
            let dst = entry(&self.writes[0], go.strides[0]);
            let factors = &self.reads[1];
            let batch = if factors.dims[0] == 1 { 0 } else { factors.strides[0].unsigned_abs() };
            // SAFETY: one factor per channel, contiguous.
            let scale = unsafe { std::slice::from_raw_parts(entry(factors, batch).get(), channels) };
            let scale: Vec<f32> = scale.iter().map(|x| x.get()).collect();
            const PIXELS: usize = 512;
            cx.pool.run(volume.div_ceil(PIXELS), &|i, _| {
                let first = i * PIXELS;
                let args = norm::Affine {
                    src: (src.get().wrapping_add(first * gi.pixel()), gi.pixel()),
                    dst: (dst.get().wrapping_add(first * go.pixel()), go.pixel()),
                    residual: (std::ptr::null(), 0),
                    count: (volume - first).min(PIXELS),
                    scale: &scale,
                    shift: &zeros,
                    act: Act::None,
                };
                // SAFETY: pixels of the views, chunks are disjoint.
                unsafe { norm::affine(cx.isa, args) };
            });
        }
        Ok(())
    }

    /// Safety: as for [`Step::run`].
    unsafe fn average<E: Element>(&self, cx: &Context) -> Result<(), String> {
        let (gi, go) = (grid(&self.reads[0])?, grid(&self.writes[0])?);
        for b in 0..gi.dims[0] {
            // SAFETY: passed on from the caller.
            let (shift, sum, _) = unsafe { self.totals::<E>(cx, &gi, b) };
            for (c, (s, t)) in shift.iter().zip(&sum).enumerate() {
                let mean = *s as f64 + t / gi.volume() as f64;
                // SAFETY: channel c of batch entry b of the output.
                unsafe { *cx.at::<E>(&self.writes[0]).add(b * go.strides[0] + c) = E::of(mean as f32) };
            }
        }
        Ok(())
    }
}

/// Replaces per-channel totals by those of its group of `group` channels, all relative to the
/// group's first shift and scaled to one channel's count.
fn grouped(
    group: usize,
    count: usize,
    mut sum: Vec<f64>,
    mut square: Vec<f64>,
    mut shift: Vec<f32>,
) -> (Vec<f64>, Vec<f64>, Vec<f32>) {
    if group == 1 {
        return (sum, square, shift);
    }
    let n = count as f64;
    for first in (0..sum.len()).step_by(group) {
        let base = shift[first];
        let (mut s, mut q) = (0.0, 0.0);
        for c in first..first + group {
            // Σ(x-base) and Σ(x-base)² from the sums about this channel's own shift.
            let d = shift[c] as f64 - base as f64;
            s += sum[c] + n * d;
            q += square[c] + 2.0 * d * sum[c] + n * d * d;
        }
        for c in first..first + group {
            sum[c] = s / group as f64;
            square[c] = q / group as f64;
            shift[c] = base;
        }
    }
    (sum, square, shift)
}
