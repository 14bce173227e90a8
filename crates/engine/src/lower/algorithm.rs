//! The algorithm of a convolution, and its weights.

use super::{Lower, R, WeightRoom};
use crate::Precision;
use ampoule_kernels::conv::{Axis, Conv, How, Spec, Split, Weights};
use ampoule_kernels::gemm::{self, Operand};
use ampoule_kernels::winograd::{Shape, Steps, Variant, Winograd};
use ampoule_kernels::{Elem, Features};
use ampoule_runtime::OutOfMemory;
use ampoule_runtime::run::conv::Algorithm;

/// Bytes of direct weights from which Winograd has to win clearly.
const HEAVY: usize = 2 << 20;

/// How much longer than tiles of four, whose weights are more than twice as large, tiles of two may take by the estimate
/// where weights are many. Measured times differ by less: both wait for memory.
const SPARED: f64 = 1.3;

/// Input channels from which Winograd is used below AVX-512. The gain on narrow layers is small there,
/// and it is they that cost HD-BET, whose normalisations magnify rounding, most of its accuracy.
const FEWEST: usize = 32;

/// What float32 values are split into where the CPU multiplies bfloat16 fast: two terms would make errors of networks
/// larger than 1e-5.
const SPLIT: Split = Split::Three;

/// Products of split values are taken where they take less than this share of the time of plain ones: a core's matrix unit
/// serves all of its threads, and what else runs there slows it down more than it slows down vectors.
const CLEARLY: f64 = 0.8;

impl Lower<'_> {
    /// The fastest of direct and Winograd convolution, by their estimates, with its weights packed, of one that is
    /// planned as `how` says; `filters` takes a tap, an input and an output channel. Int8Operands ones have the factors of their
    /// output channels; those with steps are what the model says on every machine.
    pub(super) fn algorithm(
        &mut self,
        spec: Spec,
        bias: Option<&[f32]>,
        int8: Option<(&[f32], Option<Steps>)>,
        how: How,
        filters: &(impl Fn(usize, usize, usize) -> f32 + Sync),
    ) -> R<Algorithm> {
        let Spec { input, output, residual, axes, act, elems, quantized } = spec;
        let sizes = [axes.iter().map(|a| a.kernel).product(), input.channels(), output.channels()];
        // As much as the largest form of the weights takes, that of Winograd's tiles of four.
        OutOfMemory::check(4 * 4 * sizes.iter().product::<usize>())?;
        let conv = self.direct(spec, how);
        let suits = how.stored.is_none() && winograd_suits(&axes);
        let fewest = if self.isa.contains(Features::AVX512) { 1 } else { FEWEST };
        let shape = || {
            let (pad, depth_taps) = (axes.map(|a| a.pad), axes[0].kernel);
            Shape { input, output, residual, depth_taps, pad, act, elems, quantized }
        };
        let nine = |t: usize, i: usize, o: usize| std::array::from_fn(|k| filters(t * 9 + k, i, o));
        if let Some((scale, steps)) = int8 {
            // Where memory is short the smaller weights of the direct way give the same bits.
            let wide = !self.compact() && gemm::operand(self.isa, elems[0]) == Operand::I16;
            let variant = if steps.is_some() { Variant::F2_INT8 } else { Variant::F2_EXACT };
            if suits && (steps.is_some() || wide) && quadruples(sizes, filters) {
                let plan = Winograd::new(self.isa, shape(), variant);
                if steps.is_some() || plan.cost() < conv.cost() {
                    let weights = match self.packs(plan.weight_bytes()) {
                        true => plan.pack_quantized((scale, steps), bias, &self.spread(), nine),
                        false => plan.planned(),
                    };
                    return Ok(Algorithm::Winograd(plan, weights));
                }
            }
            let weights = self.direct_weights(&conv, sizes, (bias, Some(scale)), filters);
            return Ok(Algorithm::Direct(conv, weights));
        }
        if suits && sizes[1] >= fewest && !matches!(self.weights, WeightRoom::Least) {
            let plans = self.variants(elems[0]).iter().map(|&v| Winograd::new(self.isa, shape(), v));
            let heavy = 4 * sizes.iter().product::<usize>() > HEAVY;
            let burden = |p: &Winograd| if heavy && p.variant().tile == 4 { SPARED } else { 1.0 };
            let best = plans.min_by(|a, b| (burden(a) * a.cost()).total_cmp(&(burden(b) * b.cost())));
            // Four times the weights must be worth it where they are many.
            let worth = if heavy { 0.8 } else { 1.0 };
            let direct = conv.cost();
            if let Some(plan) = best.filter(|p| p.cost() < worth * direct) {
                let weights = match self.packs(plan.weight_bytes()) {
                    true => plan.pack(bias, &self.spread(), nine),
                    false => plan.planned(),
                };
                return Ok(Algorithm::Winograd(plan, weights));
            }
        }
        let weights = self.direct_weights(&conv, sizes, (bias, None), filters);
        Ok(Algorithm::Direct(conv, weights))
    }

    /// Whether a float convolution of so many inputs stores bytes where a quantizer follows: directly, as Winograd's
    /// algorithm does not, which few inputs do not miss.
    pub(super) fn stored_at_once(&self, (axes, inputs): (&[Axis; 3], usize)) -> bool {
        const FEW: usize = 8;
        inputs <= FEW || !winograd_suits(axes)
    }

    /// The faster of plain products and, where the CPU multiplies bfloat16 fast enough, of products of split values.
    pub(super) fn direct(&self, spec: Spec, how: How) -> Conv {
        let plain = Conv::planned(spec, self.isa, how);
        let terms = match self.precision {
            Precision::Fp32 => Some(SPLIT),
            // Inputs of the network, which are float32, are rounded as values between layers are.
            Precision::Bf16 | Precision::Bf16Fast => Some(Split::One),
            Precision::Fp32Strict => None,
        };
        let floats = spec.quantized.is_none() && spec.elems[0] == Elem::F32;
        let Some(terms) = terms.filter(|_| floats) else { return plain };
        // One term takes less than float32, and is what a run without a limit has.
        let heavy = terms.terms() > 1 && self.compact();
        if heavy || gemm::micro_kernels(self.isa, Operand::Bf16).next().is_none() {
            return plain;
        }
        let split = Conv::planned(spec, self.isa, How { split: Some(terms), ..how });
        if split.cost() < CLEARLY * plain.cost() { split } else { plain }
    }

    /// Whether the smaller weights of two with the same results are taken.
    fn compact(&self) -> bool {
        self.stream || matches!(self.weights, WeightRoom::Least)
    }

    /// Weights of taps, inputs and outputs for the direct way, packed or planned, with bias and, of integers, the factors of
    /// their output channels.
    pub(super) fn direct_weights(
        &mut self,
        conv: &Conv,
        sizes: [usize; 3],
        (bias, scale): (Option<&[f32]>, Option<&[f32]>),
        at: impl Fn(usize, usize, usize) -> f32 + Sync,
    ) -> Weights {
        let panels = conv.panels(self.isa);
        let bytes = Weights::bytes_of(&panels, sizes);
        if !self.packs(conv.split().map_or(bytes, |s| s.terms() * bytes)) {
            return Weights::planned(conv.split(), panels, sizes, [bias.is_some(), scale.is_some()]);
        }
        match (conv.split(), scale) {
            (Some(split), _) => Weights::pack_split(split, panels, sizes, bias, &self.spread(), at),
            (None, None) => Weights::pack(panels, sizes, bias, &self.spread(), at),
            (None, Some(scale)) => Weights::pack_quantized(panels, sizes, scale, bias, &self.spread(), at),
        }
    }

    /// Counts so many bytes of weights that are made now, beside the constants that wait for it; whether they are packed
    /// and not only planned.
    fn packs(&mut self, bytes: usize) -> bool {
        self.packed_bytes += bytes as u64;
        self.out.loading = self.out.loading.max(self.packed_bytes + self.made_bytes);
        !self.planning
    }

    /// The variants of Winograd's algorithm that may be used on an input stored as `elem`.
    pub(super) fn variants(&self, elem: Elem) -> &'static [Variant] {
        match (gemm::operand(self.isa, elem), self.precision) {
            (Operand::Bf16, Precision::Bf16Fast) => &[Variant::F4_BF16, Variant::F2_BF16, Variant::F4],
            (Operand::Bf16, _) => &[Variant::F2_BF16, Variant::F4],
            (Operand::F32 | Operand::U8 | Operand::I16, _) => &[Variant::F4, Variant::F2],
        }
    }

    /// Packing work is spread over the session's threads; pages of the model's file are given back
    /// now and then, as large weights are read once from end to end.
    pub(super) fn spread(&self) -> impl Fn(usize, &(dyn Fn(usize) + Sync)) + use<'_> {
        const ROUND: usize = 16;
        let (pool, graph) = (self.pool, self.graph);
        move |items, f| {
            for first in (0..items).step_by(ROUND) {
                pool.run((items - first).min(ROUND), &|i, _| f(first + i));
                if items > ROUND {
                    graph.release();
                }
            }
        }
    }
}

/// Whether Winograd's algorithm computes a convolution along these axes.
fn winograd_suits(axes: &[Axis; 3]) -> bool {
    axes.iter().all(|a| a.stride == 1 && a.dilation == 1) && axes[1].kernel == 3 && axes[2].kernel == 3
}

/// Whether four times any sum of products of bytes with the weights fits 32 bits. `sizes` are those of
/// taps, inputs and outputs.
fn quadruples([taps, inputs, outputs]: [usize; 3], filters: &impl Fn(usize, usize, usize) -> f32) -> bool {
    let fits = |o: usize| {
        let all = (0..taps).flat_map(|t| (0..inputs).map(move |i| (t, i)));
        4.0 * 255.0 * all.map(|(t, i)| filters(t, i, o).abs() as f64).sum::<f64>() < (1u64 << 31) as f64
    };
    (0..outputs).all(fits)
}
