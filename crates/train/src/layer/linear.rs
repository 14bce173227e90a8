//! Convolutions and transposed convolutions, forward and back.
//!
//! Both are described by the [`ConvGeometry`] of a convolution with weights `[output][input][tap]`; a transposed
//! convolution runs it backwards. Either is the other's way back.

use super::channels::channel_sums;
use super::{Backward, Forward, Layer, Reads};
use crate::machine::Machine;
use crate::param::{ParamId, Params};
use crate::rounding::{LAST_WEIGHT, nearest, quantize};
use ampoule_kernels::conv::{Axis, Conv, Spec, Weights};
use ampoule_kernels::gemm::Operand;
use ampoule_kernels::winograd::{Shape, Variant, Winograd};
use ampoule_kernels::{Act, Elem, Grid};
use ampoule_runtime::run::Places;
use ampoule_runtime::run::conv::{Algorithm, ConvPart, ConvParts, Fused};
use ampoule_runtime::run::grad::{ConvGeometry, weights};
use ampoule_runtime::{Area, Phase, output_phases};

/// A convolution, or a transposed one.
pub(crate) struct Linear {
    pub geometry: ConvGeometry,
    /// Whether the layer runs from the convolution's output to its input.
    pub transposed: bool,
    pub weight: ParamId,
    pub bias: Option<ParamId>,
    /// How weights are quantized, if they are.
    pub quantized: Option<WeightQuantization>,
    /// The convolution, planned, and the transposed one.
    down: Option<Direction>,
    up: Option<Direction>,
}

/// Weights are quantized to signed bytes with one scale per output channel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WeightQuantization {
    /// Scales.
    pub scale: ParamId,
    /// Whether output channels are the outer index of the weights (a convolution's).
    pub outer: bool,
    /// Scale of the input, if that is quantized too.
    pub input: Option<ParamId>,
}

/// A planned direction with packed weights.
struct Direction {
    parts: ConvParts,
    /// The group of each part, and the kernel's tap behind each of the part's.
    taps: Vec<(usize, Vec<usize>)>,
    /// The parameters' version that the weights were packed from.
    version: u64,
}

impl Linear {
    pub fn new(
        geometry: ConvGeometry,
        transposed: bool,
        weight: ParamId,
        bias: Option<ParamId>,
        quantized: Option<WeightQuantization>,
    ) -> Self {
        Linear { geometry, transposed, weight, bias, quantized, down: None, up: None }
    }

    /// Scales of the weights and of the input, where integers are multiplied.
    fn exact(&self, on: &Machine) -> Option<(WeightQuantization, ParamId)> {
        self.quantized.filter(|_| on.exact).and_then(|q| Some((q, q.input?)))
    }

    /// The weights that products are taken with; integers if `exact`.
    fn effective(&self, params: &Params, exact: bool) -> Vec<f32> {
        let w = &params.get(self.weight).values;
        let Some(q) = self.quantized else { return w.clone() };
        let scale = &params.get(q.scale).values;
        let run = self.run_of(w.len(), scale.len(), q);
        let mut out = Vec::with_capacity(w.len());
        for (w, s) in w.chunks(run).zip(scale.iter().cycle()) {
            let unit = if exact { 1.0 } else { *s };
            out.extend(w.iter().map(|w| quantize(*w, *s) * unit));
        }
        out
    }

    /// How many weights in a row have the same of `n` scales, which take turns.
    fn run_of(&self, len: usize, n: usize, q: WeightQuantization) -> usize {
        if q.outer { len / n } else { self.geometry.taps() }
    }

    /// Computes a direction from `from` to `to`, up to the convolution's input or down to its output; adds to what
    /// is there with `add`.
    fn go(&mut self, on: &Machine, params: &Params, up: bool, from: &[f32], to: &mut [f32], add: bool) {
        let stale = |d: &Option<Direction>| d.as_ref().is_none_or(|d| d.version != params.version);
        if stale(if up { &self.up } else { &self.down }) {
            let exact = self.exact(on).is_some();
            let weights = self.effective(params, exact);
            let forward = up == self.transposed;
            let bias = self.bias.filter(|_| forward && !exact).map(|b| params.get(b).values.clone());
            let packing =
                Packing { on, geometry: &self.geometry, up, weights: &weights, bias: bias.as_deref() };
            let slot = if up { &mut self.up } else { &mut self.down };
            match slot {
                Some(d) => packing.repack(d, params.version),
                None => *slot = Some(packing.plan(add, params.version)),
            }
        }
        if let Some(d) = if up { &self.up } else { &self.down } {
            d.run(on, from, to, add);
        }
    }
}

/// What a direction is planned and packed from.
struct Packing<'a> {
    on: &'a Machine,
    geometry: &'a ConvGeometry,
    up: bool,
    /// `[output][input of a group][tap]` of the convolution.
    weights: &'a [f32],
    bias: Option<&'a [f32]>,
}

impl Packing<'_> {
    /// Plans the direction and packs its weights; with `add`, results are added to what is there.
    fn plan(&self, add: bool, version: u64) -> Direction {
        let m = self.geometry;
        let (from, to) = if self.up { (m.output, m.input) } else { (m.input, m.output) };
        let (input, output) = (m.share(&from), m.share(&to));
        let (mut parts, mut taps) = (Vec::new(), Vec::new());
        for group in 0..m.groups {
            let [first_in, first_out] = [group * input.channels(), group * output.channels()];
            let phases = if self.up { output_phases(&m.axes, &output) } else { vec![whole(m, &output)] };
            for Phase { grid, offset, axes, taps: own, .. } in phases {
                let algorithm = self.algorithm((input, grid), axes, add, (group, &own));
                let output = first_out + offset;
                parts.push(ConvPart { algorithm, input: first_in, output, residual: output, depth: [0, 1] });
                taps.push((group, own));
            }
        }
        Direction { parts: ConvParts::new(parts), taps, version }
    }

    /// Packs other weights for the same plan.
    fn repack(&self, d: &mut Direction, version: u64) {
        let taps = &d.taps;
        d.parts.repack(|k, algorithm| {
            let part = (taps[k].0, &taps[k].1[..]);
            match algorithm {
                Algorithm::Direct(conv, weights) => *weights = self.direct(conv, part),
                Algorithm::Winograd(plan, weights) => *weights = self.winograd(plan, part),
            }
        });
        d.version = version;
    }

    /// One convolution: by the estimate that the engine uses, directly or by Winograd's filtering.
    fn algorithm(
        &self,
        (input, output): (Grid, Grid),
        axes: [Axis; 3],
        add: bool,
        part: (usize, &[usize]),
    ) -> Algorithm {
        let on = self.on;
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
            let mut best = (conv.cost(), None);
            for variant in variants {
                let w = Winograd::new(on.isa, shape, variant);
                if on.mixed && variant.domain == Operand::Bf16 && w.variant().domain != Operand::Bf16 {
                    continue;
                }
                if w.cost() < best.0 {
                    best = (w.cost(), Some(w));
                }
            }
            if let Some(plan) = best.1 {
                let weights = self.winograd(&plan, part);
                return Algorithm::Winograd(plan, weights);
            }
        }
        let weights = self.direct(&conv, part);
        Algorithm::Direct(conv, weights)
    }

    /// Channels of a group that the direction reads, and those that it writes.
    fn channels(&self) -> [usize; 2] {
        let m = self.geometry;
        let (large, small) = (m.share(&m.input).channels(), m.share(&m.output).channels());
        if self.up { [small, large] } else { [large, small] }
    }

    /// The weight of a group's tap, input and output channel of the direction.
    fn weight(&self, group: usize, tap: usize, i: usize, o: usize) -> f32 {
        let m = self.geometry;
        let (inputs, outputs) = (m.share(&m.input).channels(), m.share(&m.output).channels());
        let (output, input) = if self.up { (i, o) } else { (o, i) };
        self.weights[((group * outputs + output) * inputs + input) * m.taps() + tap]
    }

    /// The bias of a group's output channels.
    fn bias(&self, group: usize) -> Option<&[f32]> {
        let [_, outputs] = self.channels();
        self.bias.map(|b| &b[group * outputs..(group + 1) * outputs])
    }

    fn direct(&self, conv: &Conv, (group, taps): (usize, &[usize])) -> Weights {
        let [inputs, outputs] = self.channels();
        let sizes = [taps.len(), inputs, outputs];
        let at = |t: usize, i: usize, o: usize| self.weight(group, taps[t], i, o);
        let spread = |items: usize, f: &(dyn Fn(usize) + Sync)| self.on.pool.run(items, &|i, _| f(i));
        Weights::pack(conv.panels(self.on.isa), sizes, self.bias(group), &spread, at)
    }

    fn winograd(
        &self,
        plan: &Winograd,
        (group, taps): (usize, &[usize]),
    ) -> ampoule_kernels::winograd::Weights {
        let at =
            |t: usize, i: usize, o: usize| std::array::from_fn(|k| self.weight(group, taps[9 * t + k], i, o));
        let spread = |items: usize, f: &(dyn Fn(usize) + Sync)| self.on.pool.run(items, &|i, _| f(i));
        plan.pack(self.bias(group), &spread, at)
    }
}

/// All outputs of a convolution.
fn whole(m: &ConvGeometry, output: &Grid) -> Phase {
    let taps = (0..m.taps()).collect();
    Phase { grid: *output, offset: 0, position: [0; 3], axes: m.axes, taps }
}

impl Direction {
    /// Computes the direction.
    fn run(&self, on: &Machine, from: &[f32], to: &mut [f32], add: bool) {
        let (threads, floats) = (on.pool.threads(), self.parts.scratch());
        let mut scratch = on.scratch();
        let (memory, _) = scratch.take(threads, floats);
        let output = Area::from(to);
        let places = Places { input: from.into(), output, residual: add.then_some(output) };
        self.parts.run(on.cpu(), None, places, Some(memory.into()), Fused::default());
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
        let exact = self.exact(run.on).map(|(q, input)| {
            let (weights, input) = (&run.params.get(q.scale).values, run.params.get(input).values[0]);
            let outputs = if up { self.geometry.input } else { self.geometry.output }.channels();
            let bias = self.bias.map_or_else(|| vec![0.0; outputs], |b| run.params.get(b).values.clone());
            let factors = (0..outputs).map(|o| input * weights[o % weights.len()]).collect::<Vec<f32>>();
            let integers = run.x[0].iter().map(|v| nearest(v / input)).collect::<Vec<f32>>();
            (integers, factors, bias)
        });
        let x = exact.as_ref().map_or(run.x[0], |e| &e.0);
        self.go(run.on, run.params, up, x, run.y, false);
        if let Some((_, factors, bias)) = exact {
            for pixel in run.y.chunks_exact_mut(bias.len()) {
                pixel.iter_mut().zip(&factors).zip(&bias).for_each(|((y, f), b)| *y = y.mul_add(*f, *b));
            }
        }
    }

    fn backward(&mut self, mut run: Backward) {
        let m = self.geometry;
        let dy = run.gradients.dy();
        let (input, output) = if self.transposed { (dy, run.x[0]) } else { (run.x[0], dy) };
        let mut grad = weights(run.on.cpu(), &mut run.on.scratch(), &m, input, output);
        self.through_quantization(run.params, &mut grad);
        let weight = run.params.get_mut(self.weight);
        weight.grad.iter_mut().zip(&grad).for_each(|(g, new)| *g += new);
        if let Some(bias) = self.bias {
            let grid = if self.transposed { m.input } else { m.output };
            let sums = channel_sums(run.on, dy, grid.channels());
            let b = run.params.get_mut(bias);
            b.grad.iter_mut().zip(sums).for_each(|(g, s)| *g += s as f32);
        }
        if let Some(add) = run.gradients.add(0) {
            let (dy, dx) = run.gradients.separate(0);
            self.go(run.on, run.params, !self.transposed, dy, dx, add);
        }
    }

    fn held(&self) -> usize {
        [&self.down, &self.up].into_iter().flatten().map(|d| d.parts.bytes()).sum()
    }
}

impl Linear {
    /// Takes the gradient of quantized weights to the weights and to their scales: straight through where
    /// a weight is not clipped, and by learned step sizes for the scales (Esser and others, "Learned Step
    /// Size Quantization", 2020).
    fn through_quantization(&self, params: &mut Params, grad: &mut [f32]) {
        let Some(q) = self.quantized else { return };
        let w = params.get(self.weight).values.clone();
        let scale = params.get(q.scale).values.clone();
        let run = self.run_of(w.len(), scale.len(), q);
        let mut own = vec![0f64; scale.len()];
        for (k, (grad, w)) in grad.chunks_mut(run).zip(w.chunks(run)).enumerate() {
            let channel = k % scale.len();
            let s = scale[channel];
            // Few enough for float32.
            let mut sum = 0f32;
            for (g, w) in grad.iter_mut().zip(w) {
                let ratio = w / s;
                let inside = ratio.abs() <= LAST_WEIGHT;
                let step = if inside { nearest(ratio) - ratio } else { LAST_WEIGHT.copysign(ratio) };
                sum += *g * step;
                *g = if inside { *g } else { 0.0 };
            }
            own[channel] += sum as f64;
        }
        let damp = 1.0 / ((w.len() / scale.len()) as f64 * LAST_WEIGHT as f64).sqrt();
        let target = params.get_mut(q.scale);
        target.grad.iter_mut().zip(own).for_each(|(g, s)| *g += (s * damp) as f32);
    }
}
