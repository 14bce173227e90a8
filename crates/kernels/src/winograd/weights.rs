//! Weights in the transform domain.

use super::Winograd;
use super::transform::{FILTERS, Filters};
use crate::simd::dispatch;
use crate::{Floats, Spread};

/// Words of input channels that one item of packing writes.
const PACKED: usize = 4;

/// Transformed and packed weights: for each transform position, block of input channels and panel,
/// `[depth tap][input]` rows of the panel's columns.
pub struct Weights {
    pub(super) data: Floats,
    pub(super) bias: Vec<f32>,
}

impl Weights {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        4 * (self.data.len() + self.bias.len())
    }
}

impl Winograd {
    /// Transforms and packs weights given as `at(depth tap, input channel, output channel)`, each
    /// nine values in h, w order.
    pub fn pack(
        &self,
        bias: Option<&[f32]>,
        spread: &Spread,
        at: impl Fn(usize, usize, usize) -> [f32; 9] + Sync,
    ) -> Weights {
        let (kd, inputs) = (self.shape.depth_taps, self.shape.input.channels());
        let columns = self.shape.output.channels();
        let points = self.variant.points();
        let width = self.width();
        let (rows, step) = (kd * self.words(inputs), if self.pairs() { 2 } else { 1 });
        // One item is a few words of input channels: all their rows of all panels and positions.
        // Weights are read by output channel first, as a file holds them.
        let words = self.words(inputs);
        let fill = |item: usize, data: *mut f32| {
            let own = item * PACKED..((item + 1) * PACKED).min(words);
            let mut first = 0;
            for p in &self.panels {
                for n in (0..p.nr).step_by(FILTERS) {
                    for word in own.clone() {
                        let i = word * step;
                        let first_input = i - i % self.cut.channels;
                        let block = self.words(self.cut.channels.min(inputs - first_input));
                        let base = kd * self.words(first_input) * width + kd * block * first;
                        for t in 0..kd {
                            let transformed = |k: usize| {
                                let mut g = [[0f64; FILTERS]; 9];
                                let last = columns.saturating_sub(first + n).min(FILTERS);
                                for lane in 0..if i + k < inputs { last } else { 0 } {
                                    for (to, v) in g.iter_mut().zip(at(t, i + k, first + n + lane)) {
                                        to[lane] = v as f64;
                                    }
                                }
                                let mut out = [[0f32; FILTERS]; 36];
                                let body = Filters { weights: &g, tile: self.variant.tile, out: &mut out };
                                // SAFETY: the plan's tier is supported.
                                unsafe { dispatch(self.isa, body) };
                                out
                            };
                            let (u0, u1) = (transformed(0), (step == 2).then(|| transformed(1)));
                            let row = t * block + (i - first_input) / step;
                            for point in 0..points {
                                let place = point * rows * width + base + row * p.nr + n;
                                for lane in 0..FILTERS.min(p.nr - n) {
                                    let second = u1.as_ref().map(|u| u[point][lane]);
                                    let word = p.word(u0[point][lane], second);
                                    // SAFETY: below points · rows · width, and each place is one item's.
                                    unsafe { *data.add(place + lane) = word };
                                }
                            }
                        }
                    }
                }
                first += p.nr;
            }
        };
        let items = words.div_ceil(PACKED);
        // SAFETY: items, panels, taps, columns and positions cover the whole.
        let data = unsafe { Floats::filled(points * rows * width, items, spread, &fill) };
        let bias = (0..width).map(|n| bias.and_then(|b| b.get(n).copied()).unwrap_or(0.0)).collect();
        Weights { data, bias }
    }
}
