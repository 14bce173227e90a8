//! The steps that a graph becomes, and how each runs.

mod conv;
mod function;
mod index;
mod norm;
mod reference;
mod slices;

use crate::error::StepError;
use ampoule_graph::op::GridSample;
use ampoule_graph::{DType, Op, Tensor};
use ampoule_kernels::depthwise::{Depthwise, Filters};
use ampoule_kernels::gemm::Act;
use ampoule_kernels::{Elem, Element, Grid, bf16, eltwise, pool, resize};
use ampoule_runtime::run::attention::{self, Attention};
use ampoule_runtime::run::chain::{self, Chain};
use ampoule_runtime::run::conv::Sums;
use ampoule_runtime::run::fibres::Fibres;
use ampoule_runtime::run::loops::Loops;
use ampoule_runtime::run::matmul::{self, MatMul};
use ampoule_runtime::run::recurrent::{self, Layer};
use ampoule_runtime::run::reduce::{self, Reduce};
use ampoule_runtime::run::separable::Separable;
use ampoule_runtime::run::take::{self, Take};
use ampoule_runtime::run::{self, Places, depthwise, elementwise, grid_sample, map, sampling, softmax};
use ampoule_runtime::view::Home;
use ampoule_runtime::{Area, Cpu, Memory, View};
use std::ops::Range;

pub(crate) use conv::{Absorbed, Convolution};
pub(crate) use function::Function;
pub(crate) use index::{Indexed, Scan, along_axis, rows_of, table};
pub(crate) use reference::tensor;
pub(crate) use slices::DEPTH;

/// Normalisation over pixels: `y = act(normalise(x) + residual)`.
#[derive(Clone)]
pub(crate) struct Norm {
    /// What quantized values around it mean.
    pub quantized: Quantized,
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
    /// Channels that share statistics; `None` when gamma and beta already are the affine map.
    pub group: Option<usize>,
    pub epsilon: f32,
    pub act: Act,
    /// Which of the session's sums the convolution before has added up its outputs in.
    pub sums: Option<usize>,
}

/// What quantized values around a normalisation mean.
#[derive(Clone)]
pub(crate) struct Quantized {
    /// Factor and summand that dequantize the residual.
    pub residual: [f32; 2],
    /// Factor and summand that quantize the output.
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
        filters: Box<Filters>,
        post: Option<eltwise::Unary>,
    },
    /// A depthwise convolution and the pointwise one after it.
    Separable(Box<Separable>),
    /// Layer normalisation of dense rows, or without `centred` their division by the root of their mean square.
    LayerNorm {
        scale: Vec<f32>,
        shift: Vec<f32>,
        epsilon: f32,
        centred: bool,
    },
    /// `x · s` with one factor per channel, both computed; factor and summand that quantize the output.
    Scale([f32; 2]),
    Pool(pool::Pool),
    Norm(Norm),
    GlobalAverage,
    Unary(eltwise::Unary, Loops),
    /// Bytes as a function of other bytes.
    Table(Box<[u8; 256]>, Loops),
    Binary(eltwise::Binary, Loops),
    /// Element-wise functions one after another.
    Chain(Box<Chain>, Loops),
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
    /// Reads queries, keys, values, biases.
    Attention(Box<Attention>),
    Reduce(Reduce),
    Map(Function, Loops),
    /// A copy whose source positions are given along each axis.
    Take(Take),
    Scan(Scan, Fibres),
    Indexed(Indexed),
    GridSample(GridSample),
    /// The outputs that are there, in order.
    Recurrent(Box<Layer>, [bool; 3]),
    Reference {
        op: Op,
        args: Vec<Arg>,
        /// Which of the outputs are wanted.
        outputs: Vec<bool>,
    },
}

/// One unit of execution. `reads[0]` is the main input, `reads[1]` a residual or second operand. A convolution may read
/// factors of its input's channels after them ([`Absorbed::Factors`]).
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
    pub cpu: Cpu<'a>,
    pub memory: Memory<'a>,
    /// First byte of each buffer; below zero where only later slices are held.
    pub offsets: &'a [isize],
    pub constants: &'a [Stored],
    pub sums: &'a [Sums],
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
            // Constants are not quantized: those are dequantized as they are read.
            Elem::F16 | Elem::U8 => Stored::F32(values),
        }
    }

    pub fn bytes(&self) -> usize {
        match self {
            Stored::F32(v) => 4 * v.len(),
            Stored::Bf16(v) => 2 * v.len(),
        }
    }

    fn memory(&self) -> Memory<'_> {
        match self {
            Stored::F32(v) => Memory::from(&v[..]),
            Stored::Bf16(v) => Memory::from(&v[..]),
        }
    }
}

/// Where the view `v` lies, for activations in `memory` with buffers at `offsets`.
pub(crate) fn area<'a>(memory: Memory<'a>, offsets: &[isize], constants: &'a [Stored], v: &View) -> Area<'a> {
    let offset = (v.offset * v.elem.size()) as isize;
    match v.home {
        Home::Arena(b) => memory.area(offsets[b] + offset, v.elem),
        Home::Constant(c) => constants[c].memory().area(offset, v.elem),
    }
}

impl<'a> Context<'a> {
    /// Where a view lies.
    pub fn area(&self, v: &View) -> Area<'a> {
        area(self.memory, self.offsets, self.constants, v)
    }

    /// Where the main input, the output and the residual of a step lie.
    fn places(&self, s: &Step) -> Places<'a> {
        Places {
            input: self.area(&s.reads[0]),
            output: self.area(&s.writes[0]),
            residual: s.reads.get(1).map(|r| self.area(r)),
        }
    }
}

/// The view as a channels-last grid.
fn grid(v: &View) -> Result<Grid, StepError> {
    v.grid().ok_or_else(|| StepError::NotChannelsLast { strides: v.strides.clone() })
}

impl Step {
    /// Runs the step, whose inputs must have been computed.
    pub fn run(&self, cx: &Context) -> Result<(), StepError> {
        if self.writes.iter().all(|w| w.is_empty()) {
            return Ok(());
        }
        let area = |v: &View| cx.area(v);
        match &self.kind {
            Kind::Conv(c) => match &self.rounds {
                Some(rounds) => c.run_rounds(self, cx, rounds)?,
                None => c.run(self, cx)?,
            },
            Kind::Depthwise { plan, filters, post } => {
                depthwise::run(cx.cpu, plan, filters, *post, None, cx.places(self));
            }
            Kind::Separable(plan) => {
                let scratch = self.scratch.as_ref().map(area).ok_or(StepError::Scratch)?;
                plan.run(cx.cpu, cx.places(self), scratch);
            }
            Kind::LayerNorm { scale, shift, epsilon, centred } => {
                let count = self.reads[0].len() / scale.len().max(1);
                let (x, y) = (area(&self.reads[0]), area(&self.writes[0]));
                let rows = run::norm::Rows { count, scale, shift, epsilon: *epsilon, centred: *centred };
                run::norm::rows(cx.cpu, rows, x, y);
            }
            Kind::Scale(quantize) => self.scale(cx, *quantize)?,
            Kind::Pool(plan) => {
                sampling::pool(cx.cpu, plan, None, area(&self.reads[0]), area(&self.writes[0]));
            }
            Kind::Resize(plan) => {
                sampling::resize(cx.cpu, plan, None, area(&self.reads[0]), area(&self.writes[0]));
            }
            Kind::Norm(n) => self.normalise(cx, n)?,
            Kind::GlobalAverage => self.average(cx)?,
            Kind::Unary(f, loops) => {
                elementwise::unary(cx.cpu, *f, loops, area(&self.reads[0]), area(&self.writes[0]));
            }
            Kind::Table(table, loops) => {
                elementwise::table(cx.cpu, table, loops, area(&self.reads[0]), area(&self.writes[0]));
            }
            Kind::Binary(f, loops) => {
                let operands = [area(&self.reads[0]), area(&self.reads[1])];
                elementwise::binary(cx.cpu, *f, loops, operands, area(&self.writes[0]));
            }
            Kind::Chain(calls, loops) => {
                let x: Vec<Area> = self.reads.iter().map(area).collect();
                chain::run(cx.cpu, calls, loops, &x, area(&self.writes[0]));
            }
            Kind::Copy(loops) => {
                elementwise::copy(cx.cpu, loops, area(&self.reads[0]), area(&self.writes[0]));
            }
            Kind::Fill(value) => {
                let n = self.writes[0].extent().ok_or(StepError::Reversed)?;
                elementwise::fill(*value, n, area(&self.writes[0]));
            }
            Kind::Softmax { rows, n, from, to } => {
                let (x, y) = (area(&self.reads[0]), area(&self.writes[0]));
                softmax::run(cx.cpu, *rows, *n, [*from, *to], x, y);
            }
            Kind::MatMul(plan) => {
                let operands = [area(&self.reads[0]), area(&self.reads[1])];
                matmul::run(cx.cpu, plan, operands, area(&self.writes[0]));
            }
            Kind::Attention(plan) => {
                let inputs: Vec<Area> = self.reads.iter().map(area).collect();
                let scratch = self.scratch.as_ref().map(area).ok_or(StepError::Scratch)?;
                attention::run(cx.cpu, plan, &inputs, area(&self.writes[0]), scratch);
            }
            Kind::Reduce(plan) => reduce::run(cx.cpu, plan, area(&self.reads[0]), area(&self.writes[0])),
            Kind::Map(f, loops) => {
                let x: Vec<Area> = self.reads.iter().map(area).collect();
                map::run(cx.cpu, loops, &x, area(&self.writes[0]), &|x, y| f.call(x, y));
            }
            Kind::Take(plan) => take::run(cx.cpu, plan, area(&self.reads[0]), area(&self.writes[0])),
            Kind::Scan(scan, fibres) => self.scan(cx, scan, fibres)?,
            Kind::Indexed(op) => self.indexed(cx, op)?,
            Kind::GridSample(rule) => {
                let [x, y] = [&self.reads[0], &self.writes[0]];
                let (from, to) = (grid(x)?, grid(y)?);
                let axes = x.dims.len() - 2;
                grid_sample::run(cx.cpu, rule, axes, (area(x), &from), area(&self.reads[1]), (area(y), &to));
            }
            Kind::Recurrent(layer, given) => {
                let mut writes = self.writes.iter();
                let outputs = given.map(|g| g.then(|| writes.next().map(area)).flatten());
                recurrent::run(cx.cpu, layer, area(&self.reads[0]), outputs);
            }
            Kind::Reference { op, args, outputs } => reference::run(self, op, args, outputs, cx)?,
        }
        Ok(())
    }
}
