//! Weights in the transform domain.

use super::int8_transform::POINTS;
use super::transform::{FILTERS, Filters};
use super::{Steps, Winograd};
use crate::gemm::Operand;
use crate::simd::dispatch;
use crate::{Floats, Spread};

/// IntAccumulators of input channels that one item of packing writes.
const PACKED: usize = 4;

/// Most values of a group.
const MOST_PER_GROUP: usize = 4;

/// A transformed weight as a signed byte.
fn rounded(u: f32, inverse: f32) -> f32 {
    (u * inverse).round_ties_even().clamp(-127.0, 127.0)
}

/// Transformed and packed weights: for each transform position, block of input channels and panel,
/// `[depth tap][input]` rows of the panel's columns.
pub struct Weights {
    pub(super) data: Floats,
    pub(super) bias: Vec<f32>,
    /// Of integer convolutions.
    pub(super) factors: Option<Factors>,
}

/// What an integer convolution needs of its weights besides.
pub(super) struct Factors {
    /// Factor of each column that makes sums of the direct convolution values.
    pub scale: Vec<f32>,
    /// Where quantized values are rounded in the transform domain.
    pub rounding: Option<Rounding>,
}

/// Rounding in the transform domain, all `[position][column]`.
pub(super) struct Rounding {
    pub steps: Steps,
    /// What makes sums of products those of the convolution.
    pub ratio: Vec<f32>,
    /// What sums of products of bytes begin with, because those of inputs are 128 higher.
    pub start: Vec<i32>,
    /// Factor of transformed weights, `[column][position]`.
    inverse: Vec<[f32; POINTS]>,
}

impl Weights {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let factors = self
            .factors
            .as_ref()
            .map_or(0, |c| c.scale.len() + c.rounding.as_ref().map_or(0, |r| 3 * r.ratio.len()));
        4 * (self.data.size() + self.bias.len() + factors)
    }

    /// Whether these only stand for weights, and nothing can be computed with them.
    pub fn is_planned(&self) -> bool {
        self.data.is_planned()
    }
}

impl Winograd {
    /// Transforms and packs quantized weights, given as for [`Winograd::pack`] as integers from -128 to
    /// 127, for a convolution whose sums become values by the factors `scale` of the output channels.
    /// Four times any sum must fit 32 bits.
    ///
    /// A rounded variant needs `steps`.
    pub fn pack_quantized(
        &self,
        (scale, steps): (&[f32], Option<Steps>),
        bias: Option<&[f32]>,
        spread: &Spread,
        at: impl Fn(usize, usize, usize) -> [f32; 9] + Sync,
    ) -> Weights {
        let mut scale = scale.to_vec();
        scale.resize(self.width(), 0.0);
        let rounding = self.variant.rounded.then(|| self.rounding(steps.unwrap_or_default(), spread, &at));
        let factors = Some(Factors { scale, rounding });
        let rounding = factors.as_ref().and_then(|c| c.rounding.as_ref());
        let exact = |u: f32, point: usize, column: usize| match rounding {
            Some(r) => rounded(u, r.inverse[column][point]),
            None => 4.0 * u,
        };
        let weights = self.packed(bias, spread, at, exact);
        Weights { factors, ..weights }
    }

    /// What stands for the weights in a plan: all that packing makes but the weights themselves.
    pub fn planned(&self) -> Weights {
        let width = self.width();
        let table = self.variant.points() * width;
        let rounding = || Rounding {
            steps: Steps::default(),
            ratio: vec![0.0; table],
            start: vec![0; table],
            inverse: vec![[0.0; POINTS]; width],
        };
        let factors = self
            .shape
            .quantized
            .is_some()
            .then(|| Factors { scale: vec![0.0; width], rounding: self.variant.rounded.then(rounding) });
        Weights { data: Floats::planned(self.weight_bytes() / 4), bias: vec![0.0; width], factors }
    }

    /// How the weights of each position and column are rounded.
    fn rounding(
        &self,
        steps: Steps,
        spread: &Spread,
        at: &(impl Fn(usize, usize, usize) -> [f32; 9] + Sync),
    ) -> Rounding {
        let (width, columns) = (self.width(), self.shape.output.channels());
        let blocks: Vec<_> = (0..width.div_ceil(FILTERS)).map(|_| std::sync::Mutex::default()).collect();
        spread(blocks.len(), &|block| {
            let first = block * FILTERS;
            let lanes = columns.saturating_sub(first).min(FILTERS);
            let pairs = (0..self.shape.depth_taps)
                .flat_map(|t| (0..self.shape.input.channels()).map(move |i| (t, i)));
            let mut most = [[0f32; FILTERS]; POINTS];
            let all: Vec<[[f32; FILTERS]; POINTS]> = pairs
                .map(|(t, i)| {
                    let u = self.transformed([t, i, first], lanes, at);
                    std::array::from_fn(|point| u[point])
                })
                .collect();
            for u in &all {
                for (m, u) in most.iter_mut().flatten().zip(u.iter().flatten()) {
                    *m = m.max(u.abs());
                }
            }
            let inverse = most.map(|m| m.map(|m| if m > 0.0 { 127.0 / m } else { 0.0 }));
            let mut sums = [[0i32; FILTERS]; POINTS];
            for u in &all {
                let each = sums.iter_mut().flatten().zip(u.iter().flatten().zip(inverse.iter().flatten()));
                each.for_each(|(s, (u, inverse))| *s += rounded(*u, *inverse) as i32);
            }
            *blocks[block].lock().unwrap_or_else(|e| e.into_inner()) = (inverse, sums);
        });
        let mut r = Rounding {
            steps,
            ratio: vec![0.0; POINTS * width],
            start: vec![0; POINTS * width],
            inverse: vec![[0.0; POINTS]; width],
        };
        for (block, done) in blocks.into_iter().enumerate() {
            let (inverse, sums) = done.into_inner().unwrap_or_else(|e| e.into_inner());
            for point in 0..POINTS {
                for lane in 0..FILTERS.min(width - block * FILTERS) {
                    let column = block * FILTERS + lane;
                    let factor: f32 = inverse[point][lane];
                    r.inverse[column][point] = factor;
                    let unit = 32768.0 / (factor as f64 * steps.0[point].max(1) as f64);
                    r.ratio[point * width + column] = if factor > 0.0 { unit as f32 } else { 0.0 };
                    r.start[point * width + column] = -128 * sums[point][lane];
                }
            }
        }
        r
    }

    /// Transforms `lanes` filters of a depth tap, an input channel and output channels from `first` on; the
    /// first positions count.
    fn transformed(
        &self,
        [t, i, first]: [usize; 3],
        lanes: usize,
        at: &(impl Fn(usize, usize, usize) -> [f32; 9] + Sync),
    ) -> [[f32; FILTERS]; 36] {
        let mut g = [[0f64; FILTERS]; 9];
        for lane in 0..lanes {
            for (to, v) in g.iter_mut().zip(at(t, i, first + lane)) {
                to[lane] = v as f64;
            }
        }
        let mut out = [[0f32; FILTERS]; 36];
        let body = Filters { weights: &g, tile: self.variant.tile, out: &mut out };
        // SAFETY: the CPU has the plan's features.
        unsafe { dispatch(self.isa, body) };
        out
    }

    /// Transforms and packs weights given as `at(depth tap, input channel, output channel)`, each
    /// nine values in h, w order.
    pub fn pack(
        &self,
        bias: Option<&[f32]>,
        spread: &Spread,
        at: impl Fn(usize, usize, usize) -> [f32; 9] + Sync,
    ) -> Weights {
        self.packed(bias, spread, at, |u, _, _| u)
    }

    /// [`Winograd::pack`] of `value(transformed weight, position, column)`.
    fn packed(
        &self,
        bias: Option<&[f32]>,
        spread: &Spread,
        at: impl Fn(usize, usize, usize) -> [f32; 9] + Sync,
        value: impl Fn(f32, usize, usize) -> f32 + Sync,
    ) -> Weights {
        let (kd, inputs) = (self.shape.depth_taps, self.shape.input.channels());
        let columns = self.shape.output.channels();
        let points = self.variant.points();
        let width = self.width();
        let (rows, step) = (kd * self.groups(inputs), self.operand.per_group());
        // One item is a few groups of input channels: all their rows of all panels and positions.
        // Weights are read by output channel first, as a file holds them.
        let groups = self.groups(inputs);
        let fill = |item: usize, data: *mut f32| {
            let own = item * PACKED..((item + 1) * PACKED).min(groups);
            let mut first = 0;
            for p in &self.panels {
                for n in (0..p.nr).step_by(FILTERS) {
                    for group in own.clone() {
                        let i = group * step;
                        let first_input = i - i % self.tiling.channels;
                        let block = self.groups(self.tiling.channels.min(inputs - first_input));
                        let base = kd * self.groups(first_input) * width + kd * block * first;
                        for t in 0..kd {
                            let lanes = columns.saturating_sub(first + n).min(FILTERS);
                            let mut u = [[[0f32; FILTERS]; 36]; MOST_PER_GROUP];
                            let held = step.min(inputs - i);
                            for (k, u) in u.iter_mut().enumerate().take(held) {
                                *u = self.transformed([t, i + k, first + n], lanes, &at);
                            }
                            let row = t * block + (i - first_input) / step;
                            for point in 0..points {
                                let place = point * rows * width + base + row * p.nr + n;
                                for lane in 0..FILTERS.min(p.nr - n) {
                                    let column = first + n + lane;
                                    let group = Operand::group(p.a, held, |k| {
                                        value(u[k][point][lane], point, column)
                                    });
                                    // SAFETY: below points · rows · width, and each place is one item's.
                                    unsafe { *data.add(place + lane) = group };
                                }
                            }
                        }
                    }
                }
                first += p.nr;
            }
        };
        let items = groups.div_ceil(PACKED);
        // SAFETY: items, panels, taps, columns and positions cover the whole.
        let data = unsafe { Floats::filled(points * rows * width, items, spread, &fill) };
        let bias = (0..width).map(|n| bias.and_then(|b| b.get(n).copied()).unwrap_or(0.0)).collect();
        Weights { data, bias, factors: None }
    }
}
