//! Convolutions and transposed convolutions, forward and back.
//!
//! Both connect a *wide* grid (a convolution's input, a transposed one's output) with a *narrow* one
//! through the same weights `[narrow][wide][tap]`. Going down is a convolution, going up a transposed
//! one; each is the other's way back.

mod weights;

use super::{Backward, Forward, Gradient, Layer, Reads, nearest};
use crate::machine::{CHUNK, Machine, Shared, part};
use crate::param::{ParamId, Params};
use ampoule_kernels::conv::{Axis, Conv, ConvPointers, Spec, Weights, phases};
use ampoule_kernels::gemm::{Act, Operand};
use ampoule_kernels::norm::partial_sums;
use ampoule_kernels::winograd::{self, Operands, Shape, Variant, Winograd};
use ampoule_kernels::{Elem, Grid};

/// A convolution, or a transposed one.
pub(crate) struct Linear {
    /// The sides and how they meet.
    pub meeting: Meeting,
    /// Whether the input is the narrow side.
    pub transposed: bool,
    pub weight: ParamId,
    pub bias: Option<ParamId>,
    /// Codes that weights are rounded to, if any.
    pub codes: Option<Codes>,
    down: Option<Way>,
    up: Option<Way>,
}

/// Two grids and the kernel between them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meeting {
    pub wide: Grid,
    pub narrow: Grid,
    pub axes: [Axis; 3],
    pub groups: usize,
}

/// Weights are rounded to signed codes with one scale per output channel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Codes {
    /// Scales.
    pub scale: ParamId,
    /// Whether output channels are the outer index of the weights (a convolution's).
    pub outer: bool,
    /// Scale of the codes that the input stands for, if it does.
    pub input: Option<ParamId>,
}

/// Largest code of a weight.
pub(crate) const LAST_CODE: f32 = 127.0;

/// A planned direction with packed weights.
struct Way {
    parts: Vec<Part>,
    /// The parameters' version that the weights were packed from.
    version: Option<u64>,
}

/// One group, and one output phase of a transposed convolution.
struct Part {
    plan: Plan,
    /// First channels of the group on the way's input and output side.
    channels: [usize; 2],
    group: usize,
    /// Output offset of the phase.
    offset: usize,
    /// The kernel's tap behind each of the plan's.
    taps: Vec<usize>,
}

enum Plan {
    Direct(Box<Conv>, Option<Weights>),
    Winograd(Box<Winograd>, Option<winograd::Weights>),
}

impl Meeting {
    fn taps(&self) -> usize {
        self.axes.iter().map(|a| a.kernel).product()
    }

    /// The part of a grid that belongs to one group.
    fn share(&self, g: &Grid) -> Grid {
        let mut part = *g;
        part.dims[4] /= self.groups;
        part
    }
}

impl Linear {
    pub fn new(
        meeting: Meeting,
        transposed: bool,
        weight: ParamId,
        bias: Option<ParamId>,
        codes: Option<Codes>,
    ) -> Self {
        Linear { meeting, transposed, weight, bias, codes, down: None, up: None }
    }

    /// Scales of the weights and of the input, where sums are taken of codes.
    fn exact(&self, on: &Machine) -> Option<(Codes, ParamId)> {
        self.codes.filter(|_| on.exact).and_then(|c| Some((c, c.input?)))
    }

    /// The weights that products are taken with; codes if `exact`.
    fn effective(&self, params: &Params, exact: bool) -> Vec<f32> {
        let w = &params.get(self.weight).values;
        match self.codes {
            None => w.clone(),
            Some(c) => {
                let scale = &params.get(c.scale).values;
                let run = self.run_of(w.len(), scale.len(), c);
                let mut out = Vec::with_capacity(w.len());
                for (w, s) in w.chunks(run).zip(scale.iter().cycle()) {
                    let unit = if exact { 1.0 } else { *s };
                    out.extend(w.iter().map(|w| code(*w, *s) * unit));
                }
                out
            }
        }
    }

    /// How many weights in a row have the same of `n` scales, which take turns.
    fn run_of(&self, len: usize, n: usize, c: Codes) -> usize {
        if c.outer { len / n } else { self.meeting.taps() }
    }

    fn way(&mut self, on: &Machine, params: &Params, up: bool, add: bool) -> &Way {
        let version = params.version;
        let slot = if up { &self.up } else { &self.down };
        if slot.as_ref().is_none_or(|w| w.version != Some(version)) {
            let exact = self.exact(on).is_some();
            let weights = self.effective(params, exact);
            let mut way = match up {
                true => self.up.take(),
                false => self.down.take(),
            }
            .unwrap_or_else(|| plan(&self.meeting, on, up, add));
            let forward = up == self.transposed;
            let bias = self.bias.filter(|_| forward && !exact).map(|b| params.get(b).values.clone());
            way.pack(&self.meeting, on, up, &weights, bias.as_deref());
            way.version = Some(version);
            match up {
                true => self.up = Some(way),
                false => self.down = Some(way),
            }
        }
        let slot = if up { &self.up } else { &self.down };
        // Filled above.
        slot.as_ref().unwrap_or_else(|| unreachable!("a way that was just made"))
    }
}

/// The code of a weight.
pub(crate) fn code(w: f32, scale: f32) -> f32 {
    nearest(w / scale).clamp(-LAST_CODE, LAST_CODE)
}

/// Plans a direction; with `add`, results are added to what is there.
fn plan(m: &Meeting, on: &Machine, up: bool, add: bool) -> Way {
    let (from, to) = if up { (m.narrow, m.wide) } else { (m.wide, m.narrow) };
    let (input, output) = (m.share(&from), m.share(&to));
    let mut parts = Vec::new();
    for group in 0..m.groups {
        let channels = [group * input.channels(), group * output.channels()];
        if !up {
            let plan = one(on, input, output, m.axes, add);
            parts.push(Part { plan, channels, group, offset: 0, taps: (0..m.taps()).collect() });
            continue;
        }
        let lists = [0, 1, 2].map(|i| {
            let a = &m.axes[i];
            phases(a.kernel, a.stride, a.dilation, a.pad, output.dims[i + 1])
        });
        let [kd, kh, kw] = &lists;
        for (z, y, x) in
            kd.iter().flat_map(|z| kh.iter().flat_map(move |y| kw.iter().map(move |x| (z, y, x))))
        {
            let p = [z, y, x];
            let mut spread = output;
            let mut offset = 0;
            for i in 0..3 {
                offset += p[i].offset * output.strides[i + 1];
                spread.dims[i + 1] = p[i].count;
                spread.strides[i + 1] *= m.axes[i].stride;
            }
            let (h, w) = (m.axes[1].kernel, m.axes[2].kernel);
            let taps = z.taps.iter().flat_map(|a| {
                y.taps.iter().flat_map(move |b| x.taps.iter().map(move |c| (a * h + b) * w + c))
            });
            let taps = taps.collect();
            let plan = one(on, input, spread, p.map(|p| p.axis), add);
            parts.push(Part { plan, channels, group, offset, taps });
        }
    }
    Way { parts, version: None }
}

/// Plans one convolution: by the estimate that the engine uses, directly or by Winograd's filtering.
fn one(on: &Machine, input: Grid, output: Grid, axes: [Axis; 3], add: bool) -> Plan {
    let residual = add.then_some(output);
    let elems = [Elem::F32; 2];
    let spec = Spec { input, output, residual, axes, act: Act::None, elems, quantized: None };
    let conv = Conv::new(spec, on.isa, true);
    let square = axes[1..].iter().all(|a| (a.kernel, a.stride, a.dilation) == (3, 1, 1));
    if square && !on.exact && axes[0].stride == 1 && axes[0].dilation == 1 {
        let shape = Shape {
            input,
            output,
            residual,
            depth_taps: axes[0].kernel,
            pad: axes.map(|a| a.pad),
            act: Act::None,
            elems,
            quantized: None,
        };
        let variants = match on.mixed {
            true => vec![Variant::F2_BF16, Variant::F4, Variant::F2],
            false => vec![Variant::F4, Variant::F2],
        };
        let taps: usize = axes.iter().map(|a| a.kernel).product();
        let mut best = (conv.cost(on.isa, [taps, input.channels()]), None);
        for variant in variants {
            let w = Winograd::new(on.isa, shape, variant);
            if on.mixed && variant.domain == Operand::Bf16 && w.variant().domain != Operand::Bf16 {
                continue;
            }
            if w.cost() < best.0 {
                best = (w.cost(), Some(w));
            }
        }
        if let Some(w) = best.1 {
            return Plan::Winograd(Box::new(w), None);
        }
    }
    Plan::Direct(Box::new(conv), None)
}

impl Way {
    /// Packs weights `[narrow][wide of a group][tap]`.
    fn pack(&mut self, m: &Meeting, on: &Machine, up: bool, weights: &[f32], bias: Option<&[f32]>) {
        let (wide, narrow, taps) = (m.share(&m.wide).channels(), m.share(&m.narrow).channels(), m.taps());
        let (inputs, outputs) = if up { (narrow, wide) } else { (wide, narrow) };
        let spread = |items: usize, f: &(dyn Fn(usize) + Sync)| on.each(items, f);
        for part in &mut self.parts {
            let first = part.group * narrow;
            let value = |tap: usize, i: usize, o: usize| {
                let (n, w) = if up { (i, o) } else { (o, i) };
                weights[((first + n) * wide + w) * taps + tap]
            };
            let own = bias.map(|b| &b[part.channels[1]..part.channels[1] + outputs]);
            match &mut part.plan {
                Plan::Direct(conv, packed) => {
                    let sizes = [part.taps.len(), inputs, outputs];
                    let at = |t: usize, i: usize, o: usize| value(part.taps[t], i, o);
                    *packed = Some(Weights::pack(conv.panels(on.isa), sizes, own, &spread, at));
                }
                Plan::Winograd(plan, packed) => {
                    let at = |t: usize, i: usize, o: usize| {
                        std::array::from_fn(|k| value(part.taps[9 * t + k], i, o))
                    };
                    *packed = Some(plan.pack(own, &spread, at));
                }
            }
        }
    }

    /// Computes the direction.
    ///
    /// # Safety
    /// The pointers must be valid for the grids that the way was planned for, and apart; what is planned
    /// to be added to must be there.
    unsafe fn run(&self, on: &Machine, from: *const f32, to: *mut f32, add: bool) {
        for part in &self.parts {
            let input = from.wrapping_add(part.channels[0]);
            let output = to.wrapping_add(part.channels[1] + part.offset);
            let residual = if add { output.cast_const() } else { std::ptr::null() };
            let p = ConvPointers::new(input, output, residual);
            match &part.plan {
                Plan::Direct(conv, Some(weights)) => {
                    on.with_scratch(conv.items(), conv.scratch(), &|i, scratch| {
                        // SAFETY: passed on from the caller; items are disjoint.
                        unsafe { conv.run(i, weights, p, (&mut Vec::new(), scratch), None, None) };
                    });
                }
                Plan::Winograd(plan, Some(weights)) => {
                    on.with_scratch(plan.items(), plan.scratch(), &|i, scratch| {
                        let operands = Operands { weights, prologue: None, pointers: p, scratch };
                        // SAFETY: passed on from the caller; items are disjoint.
                        unsafe { plan.run(i, operands, None) };
                    });
                }
                _ => unreachable!("weights are packed before a run"),
            }
        }
    }

    fn held(&self) -> usize {
        let of = |p: &Part| match &p.plan {
            Plan::Direct(_, w) => w.as_ref().map_or(0, Weights::bytes),
            Plan::Winograd(_, w) => w.as_ref().map_or(0, winograd::Weights::bytes),
        };
        self.parts.iter().map(of).sum()
    }
}

impl Layer for Linear {
    fn reads(&self) -> Reads {
        Reads::INPUTS
    }

    fn cheap(&self) -> bool {
        false
    }

    fn forward(&mut self, run: Forward) {
        let up = self.transposed;
        let exact = self.exact(run.on).map(|(c, input)| {
            let (weights, input) = (&run.params.get(c.scale).values, run.params.get(input).values[0]);
            let outputs = if up { self.meeting.wide } else { self.meeting.narrow }.channels();
            let bias = self.bias.map_or_else(|| vec![0.0; outputs], |b| run.params.get(b).values.clone());
            let factors = (0..outputs).map(|o| input * weights[o % weights.len()]).collect::<Vec<f32>>();
            let codes = run.x[0].iter().map(|v| nearest(v / input)).collect::<Vec<f32>>();
            (codes, factors, bias)
        });
        let way = self.way(run.on, run.params, up, false);
        let x = exact.as_ref().map_or(run.x[0], |e| &e.0);
        // SAFETY: slices of the grids' sizes, the output borrowed mutably.
        unsafe { way.run(run.on, x.as_ptr(), run.y.as_mut_ptr(), false) };
        if let Some((_, factors, bias)) = exact {
            for pixel in run.y.chunks_exact_mut(bias.len()) {
                pixel.iter_mut().zip(&factors).zip(&bias).for_each(|((y, f), b)| *y = y.mul_add(*f, *b));
            }
        }
    }

    unsafe fn backward(&mut self, run: Backward) {
        let m = self.meeting;
        let (wide, narrow) = match self.transposed {
            false => (run.x[0].as_ptr(), run.dy),
            true => (run.dy, run.x[0].as_ptr()),
        };
        // SAFETY: passed on from the caller.
        let mut grad = unsafe { weights::gradient(run.on, &m, wide, narrow) };
        self.through_codes(run.params, &mut grad);
        let weight = run.params.get_mut(self.weight);
        weight.grad.iter_mut().zip(&grad).for_each(|(g, new)| *g += new);
        if let Some(bias) = self.bias {
            let grid = if self.transposed { m.wide } else { m.narrow };
            // SAFETY: `dy` is readable for the output's grid.
            let sums = unsafe { channel_sums(run.on, run.dy, grid.pixels(), grid.channels()) };
            let b = run.params.get_mut(bias);
            b.grad.iter_mut().zip(sums).for_each(|(g, s)| *g += s as f32);
        }
        if let Some(Gradient { at, add }) = run.dx[0] {
            let way = self.way(run.on, run.params, !self.transposed, add);
            // SAFETY: passed on from the caller.
            unsafe { way.run(run.on, run.dy, at, add) };
        }
    }

    fn held(&self) -> usize {
        self.down.as_ref().map_or(0, Way::held) + self.up.as_ref().map_or(0, Way::held)
    }
}

impl Linear {
    /// Takes the gradient of rounded weights to the weights and to their scales: straight through where
    /// a weight is not clipped, and by learned step sizes for the scales (Esser and others, "Learned Step
    /// Size Quantization", 2020).
    fn through_codes(&self, params: &mut Params, grad: &mut [f32]) {
        let Some(c) = self.codes else { return };
        let w = params.get(self.weight).values.clone();
        let scale = params.get(c.scale).values.clone();
        let run = self.run_of(w.len(), scale.len(), c);
        let mut own = vec![0f64; scale.len()];
        for (k, (grad, w)) in grad.chunks_mut(run).zip(w.chunks(run)).enumerate() {
            let channel = k % scale.len();
            let s = scale[channel];
            // Few enough for float32.
            let mut sum = 0f32;
            for (g, w) in grad.iter_mut().zip(w) {
                let ratio = w / s;
                let inside = ratio.abs() <= LAST_CODE;
                let step = if inside { nearest(ratio) - ratio } else { LAST_CODE.copysign(ratio) };
                sum += *g * step;
                *g = if inside { *g } else { 0.0 };
            }
            own[channel] += sum as f64;
        }
        let damp = 1.0 / ((w.len() / scale.len()) as f64 * LAST_CODE as f64).sqrt();
        let target = params.get_mut(c.scale);
        target.grad.iter_mut().zip(own).for_each(|(g, s)| *g += (s * damp) as f32);
    }
}

/// Sums of the channels of dense pixels.
///
/// # Safety
/// `p` must be readable for the pixels.
pub(crate) unsafe fn channel_sums(on: &Machine, p: *const f32, pixels: usize, channels: usize) -> Vec<f64> {
    let per = (CHUNK / channels.max(1)).max(1);
    let items = pixels.div_ceil(per);
    let mut partial = vec![0f64; items * channels];
    let (out, src) = (Shared::of(partial.as_mut_ptr().cast()), Shared::of(p));
    let zeros = vec![0f32; channels];
    on.each(items, &|i| {
        let own = part(i, per, pixels);
        // SAFETY: the item's own row of partial sums; pixels of the caller.
        let sums =
            unsafe { std::slice::from_raw_parts_mut(out.at(0).cast::<f64>().add(i * channels), channels) };
        let mut squares = vec![0f64; channels];
        let first = src.at(own.start * channels).cast_const();
        // SAFETY: as above.
        unsafe { partial_sums(on.isa, first, channels, own.len(), &zeros, sums, &mut squares) };
    });
    (0..channels).map(|c| partial.iter().skip(c).step_by(channels).sum()).collect()
}
