//! Weights packed for the tiles.

use super::Split;
use crate::gemm::{MicroKernel, Operand};
use crate::{Floats, Spread};

/// IntAccumulators of a column that packing writes before it goes to the next.
const PACKED: usize = 256;
/// Items of packing to aim at.
const SHARES: usize = 16;

/// Packed weights of a convolution for some micro-kernels.
pub struct Weights {
    pub(super) panels: Vec<&'static MicroKernel>,
    pub(super) data: Floats,
    pub(super) bias: Option<Vec<f32>>,
    /// Of integer convolutions.
    pub(super) factors: Option<Factors>,
    /// Input channels, and groups of k per column: taps × packed input channels.
    pub(super) inputs: usize,
    pub(super) depth: usize,
    pub(super) columns: usize,
    /// Of weights that are split: terms follow one another, each with all taps.
    pub(super) split: Option<Split>,
}

/// What an integer convolution needs of its weights besides the packed ones.
pub(super) struct Factors {
    /// Of each column, padded to whole panels.
    pub scale: Vec<f32>,
    /// Sums of weights over the input channels: `[tap][column]`, padded likewise.
    pub sums: Vec<i32>,
}

impl Weights {
    /// Packs quantized weights given as `at(tap, input channel, output channel)`, integers from -128 to
    /// 127, for an integer convolution whose sums become values by the factors `scale` of the output
    /// channels.
    pub fn pack_quantized(
        panels: Vec<&'static MicroKernel>,
        sizes: [usize; 3],
        scale: &[f32],
        bias: Option<&[f32]>,
        spread: &Spread,
        at: impl Fn(usize, usize, usize) -> f32 + Sync,
    ) -> Self {
        let [taps, inputs, outputs] = sizes;
        let width: usize = panels.iter().map(|p| p.nr).sum();
        let mut sums = vec![0; taps * width];
        for o in 0..outputs {
            for t in 0..taps {
                sums[t * width + o] = (0..inputs).map(|i| at(t, i, o) as i32).sum();
            }
        }
        let mut scale = scale.to_vec();
        scale.resize(width, 0.0);
        let factors = Some(Factors { scale, sums });
        Weights { factors, ..Self::pack(panels, sizes, bias, spread, at) }
    }

    /// Packs weights for a convolution that multiplies them in bfloat16 terms.
    pub fn pack_split(
        split: Split,
        panels: Vec<&'static MicroKernel>,
        [taps, inputs, outputs]: [usize; 3],
        bias: Option<&[f32]>,
        spread: &Spread,
        at: impl Fn(usize, usize, usize) -> f32 + Sync,
    ) -> Self {
        let term = |t: usize, i: usize, o: usize| Split::term(t / taps, at(t % taps, i, o));
        let packed = Self::pack(panels, [split.terms() * taps, inputs, outputs], bias, spread, term);
        Weights { split: Some(split), ..packed }
    }

    /// Packs weights given as `at(tap, input channel, output channel)`, taps in d, h, w order.
    pub fn pack(
        panels: Vec<&'static MicroKernel>,
        [taps, inputs, outputs]: [usize; 3],
        bias: Option<&[f32]>,
        spread: &Spread,
        at: impl Fn(usize, usize, usize) -> f32 + Sync,
    ) -> Self {
        let (a, groups) = panels.first().map_or((Operand::F32, inputs), |p| (p.a, p.groups(inputs)));
        debug_assert!(panels.iter().all(|p| p.a == a), "panels of several types");
        let depth = taps * groups;
        let width: usize = panels.iter().map(|p| p.nr).sum();
        let step = a.per_group();
        // One item is a share of the groups of one panel. Weights are read in the order in which a file
        // holds them, by output channel first, so that large ones go through memory once; what is
        // written meanwhile stays in the second-level cache.
        let blocks = SHARES.div_ceil(panels.len().max(1)).min(groups.div_ceil(PACKED)).max(1);
        let share = groups.div_ceil(blocks);
        let fill = |item: usize, data: *mut f32| {
            let (p, from) = (panels[item / blocks], item % blocks * share);
            let first: usize = panels[..item / blocks].iter().map(|p| p.nr).sum();
            let last = (from + share).min(groups);
            for from in (from..last).step_by(PACKED) {
                let some = from..(from + PACKED).min(last);
                for n in 0..p.nr {
                    let o = first + n;
                    for (group, tap) in some.clone().flat_map(|g| (0..taps).map(move |t| (g, t))) {
                        let place = first * depth + (tap * groups + group) * p.nr + n;
                        let (i, inside) = (group * step, o < outputs);
                        let put = |v: f32| {
                            // SAFETY: below depth · width, and each place is one item's.
                            unsafe { *data.add(place) = v }
                        };
                        match a {
                            _ if !inside => put(0.0),
                            // Most networks; a group is a value.
                            Operand::F32 => put(at(tap, i, o)),
                            Operand::Bf16 | Operand::U8 | Operand::I16 => {
                                p.column((inputs - i).min(step), |k| at(tap, i + k, o), |_, v| put(v));
                            }
                        }
                    }
                }
            }
        };
        let items = if inputs == 0 { 0 } else { panels.len() * blocks };
        // SAFETY: items, panels, taps and columns cover the whole.
        let data = unsafe { Floats::filled(depth * width, items, spread, &fill) };
        let bias = bias.map(|b| (0..width).map(|n| b.get(n).copied().unwrap_or(0.0)).collect());
        Weights { panels, data, bias, factors: None, inputs, depth, columns: outputs, split: None }
    }

    /// What stands for weights of these sizes in a plan: all that packing makes but the weights themselves. They have a bias,
    /// or factors, as `[bias, factors]` says.
    pub fn planned(
        split: Option<Split>,
        panels: Vec<&'static MicroKernel>,
        [taps, inputs, outputs]: [usize; 3],
        [bias, factors]: [bool; 2],
    ) -> Self {
        let groups = panels.first().map_or(inputs, |p| p.groups(inputs));
        let width: usize = panels.iter().map(|p| p.nr).sum();
        let depth = split.map_or(1, Split::terms) * taps * groups;
        let data = Floats::planned(depth * width);
        let factors = factors.then(|| Factors { scale: vec![0.0; width], sums: vec![0; taps * width] });
        let bias = bias.then(|| vec![0.0; width]);
        Weights { panels, data, bias, factors, inputs, depth, columns: outputs, split }
    }

    /// Whether these only stand for weights, and nothing can be computed with them.
    pub fn is_planned(&self) -> bool {
        self.data.is_planned()
    }

    /// Bytes that packed weights of taps, inputs and outputs take, factors and bias aside.
    pub fn bytes_of(panels: &[&'static MicroKernel], [taps, inputs, _]: [usize; 3]) -> usize {
        let groups = panels.first().map_or(inputs, |p| p.groups(inputs));
        4 * taps * groups * panels.iter().map(|p| p.nr).sum::<usize>()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let factors = self.factors.as_ref().map_or(0, |c| c.scale.len() + c.sums.len());
        4 * (self.data.size() + self.bias.as_ref().map_or(0, Vec::len) + factors)
    }

    /// Names of the tiles in use.
    pub fn kernels(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.panels.iter().map(|p| p.name)
    }
}
