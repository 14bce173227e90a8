//! The steps that a graph becomes, and how each runs.

mod conv;
mod loops;
mod matmul;
mod norm;
mod reference;
mod slices;

use ampoule_graph::{DType, Op, Tensor};
use ampoule_kernels::conv::ConvPointers;
use ampoule_kernels::depthwise::{Depthwise, Filters};
use ampoule_kernels::gemm::Act;
use ampoule_kernels::{Elem, Element, Features, Grid, bf16, eltwise, f16, layer_norm, pool, resize, softmax};
use ampoule_runtime::Pool;
use ampoule_runtime::view::{Home, View};
use std::ops::Range;

pub(crate) use conv::{Algorithm, ConvPart, Convolution, Sums};
pub(crate) use loops::Loops;
pub(crate) use matmul::MatMul;
pub(crate) use reference::{gather, scatter, tensor};
pub(crate) use slices::DEPTH;

/// Normalisation over pixels: `y = act(normalise(x) + residual)`.
#[derive(Clone)]
pub(crate) struct Norm {
    /// What codes around it mean.
    pub codes: Codes,
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
    /// Channels that share statistics; `None` when gamma and beta already are the affine map.
    pub group: Option<usize>,
    pub epsilon: f32,
    pub act: Act,
    /// Which of the session's sums the convolution before has added up its outputs in.
    pub sums: Option<usize>,
}

/// What codes around a normalisation mean.
#[derive(Clone)]
pub(crate) struct Codes {
    /// Factor and summand that make codes of the residual values.
    pub residual: [f32; 2],
    /// Factor and summand that make values codes of the output.
    pub output: [f32; 2],
    /// What the input is in units of exact integer sums, if it is that.
    pub exact: Option<Exact>,
}

/// How the output of an integer convolution is stored for the normalisation after it.
#[derive(Clone)]
pub(crate) struct Exact {
    /// Value of a sum of 1, per channel.
    pub unit: Vec<f64>,
    /// What was stored, times this, are sums.
    pub factor: f64,
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
        filters: Filters,
        post: Option<eltwise::Unary>,
    },
    /// Layer normalisation of dense rows.
    LayerNorm {
        scale: Vec<f32>,
        shift: Vec<f32>,
        epsilon: f32,
    },
    /// `x · s` with one factor per channel, both computed; factor and summand that make values codes of
    /// the output.
    Scale([f32; 2]),
    Pool(pool::Pool),
    Norm(Norm),
    GlobalAverage,
    Unary(eltwise::Unary, Loops),
    /// Codes of codes.
    Table(Box<[u8; 256]>, Loops),
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
    pub isa: Features,
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
            // Constants are never codes: those are made values as they are read.
            _ => Stored::Bf16(values.into_iter().map(bf16::of).collect()),
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
unsafe fn unary_in_place(
    isa: Features,
    f: eltwise::Unary,
    elem: Elem,
    base: *mut u8,
    offset: usize,
    n: usize,
) {
    let at = base.wrapping_add(offset * elem.size());
    // SAFETY: passed on from the caller.
    unsafe {
        match elem {
            Elem::F32 => eltwise::unary::<f32, f32>(isa, f, at.cast(), at.cast(), n),
            Elem::Bf16 => eltwise::unary::<bf16, bf16>(isa, f, at.cast(), at.cast(), n),
            Elem::F16 => eltwise::unary::<f16, f16>(isa, f, at.cast(), at.cast(), n),
            Elem::U8 => eltwise::unary::<u8, u8>(isa, f, at, at, n),
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
                Elem::F16 => self.typed::<f16>(cx),
                Elem::U8 => self.typed::<u8>(cx),
            }
        }
    }

    /// Safety: as for [`Step::run`]; the first output must be of type `E`, and so must be all inputs of
    /// steps other than convolutions, normalisations, scalings, unary functions, copies and those of the reference.
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
            Kind::Scale(code) => unsafe {
                match self.reads[0].elem {
                    Elem::Bf16 => self.scale::<bf16, E>(cx, *code)?,
                    _ => self.scale::<f32, E>(cx, *code)?,
                }
            },
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
            // SAFETY: passed on from the caller.
            Kind::Unary(f, loops) => unsafe {
                match self.reads[0].elem {
                    Elem::F32 => self.unary::<f32, E>(cx, *f, loops),
                    Elem::Bf16 => self.unary::<bf16, E>(cx, *f, loops),
                    Elem::F16 => self.unary::<f16, E>(cx, *f, loops),
                    Elem::U8 => self.unary::<u8, E>(cx, *f, loops),
                }
            },
            Kind::Table(table, loops) => {
                let (src, dst) = (Raw(cx.at::<u8>(&self.reads[0])), Raw(cx.at::<u8>(&self.writes[0])));
                // SAFETY: the loops visit elements of the views, chunks are disjoint.
                loops.run(cx.pool, &|at, n, step| unsafe {
                    let (s, d) = (src.get().offset(at[0]), dst.get().offset(at[1]));
                    for i in 0..n as isize {
                        *d.offset(i * step[1]) = table[*s.offset(i * step[0]) as usize];
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
                    Elem::F16 => self.copy::<f16, E>(cx, loops),
                    Elem::U8 => self.copy::<u8, E>(cx, loops),
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
    unsafe fn unary<A: Element, B: Element>(&self, cx: &Context, f: eltwise::Unary, loops: &Loops) {
        let (src, dst) = (Raw(cx.at::<A>(&self.reads[0])), Raw(cx.at::<B>(&self.writes[0])));
        // SAFETY: the loops visit elements of the views, chunks are disjoint.
        loops.run(cx.pool, &|at, n, step| unsafe {
            let (s, d) = (src.get().offset(at[0]), dst.get().offset(at[1]));
            if step[0] == 1 && step[1] == 1 {
                eltwise::unary(cx.isa, f, s, d, n);
            } else {
                for i in 0..n as isize {
                    eltwise::unary(cx.isa, f, s.offset(i * step[0]), d.offset(i * step[1]), 1);
                }
            }
        });
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
        let Kind::Depthwise { plan, filters, post } = &self.kind else { return };
        let p = cx.pointers(self);
        // SAFETY: grids were made from the views, items are disjoint.
        unsafe { plan.run(cx.isa, i, filters, p) };
        if let Some(f) = post {
            plan.runs(i, |offset, n| {
                // SAFETY: outputs that the item has just written.
                unsafe { unary_in_place(cx.isa, *f, plan.elems[1], p.output, offset, n) };
            });
        }
    }
}
