//! How a convolution is tiled into items and rounds: the candidate of least estimated time.
//!
//! The estimate counts multiplications, transforms and the traffic of what does not stay in the
//! second-level cache, with the constants of [`Costs`]. It depends on shapes and those alone, so a model always
//! runs the same way, and with the same bits, with one set of features.

use super::{Shape, Variant, odd_lines, part};
use crate::Features;
use crate::costs::Costs;
use crate::gemm::MicroKernel;
use crate::simd::backend;

/// A way to tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tiling {
    /// Tiles of a block down and across.
    pub block: [usize; 2],
    /// Output slices per round of products.
    pub round: usize,
    /// Output slices per item.
    pub span: usize,
    /// Items among which the output panels are divided.
    pub parts: usize,
    /// Input channels per round of products.
    pub channels: usize,
}

/// Bytes of the second-level cache that scratch and weights may take before they spill.
const CACHE: f64 = 1.4e6;
/// Work that should run beside other work in equal shares.
const LANES: usize = 4;

/// The best tiling and its estimated nanoseconds on one core.
pub(super) fn choose(
    isa: Features,
    shape: &Shape,
    variant: Variant,
    panels: &[&MicroKernel],
) -> (Tiling, f64) {
    let [_, d, h, w, _] = shape.output.dims;
    let (th, tw) = (h.div_ceil(variant.tile).max(1), w.div_ceil(variant.tile).max(1));
    let c = shape.input.channels();
    let most = d.max(1);
    let totals = shape.quantized.is_some_and(|q| q.totals.is_some());
    let mut best: Option<(Tiling, f64)> = None;
    let costs = crate::costs(isa);
    let halves = |n: usize| (0..).map(move |i| n.div_ceil(1 << i)).take_while(move |&k| k > 1).chain([1]);
    for across in halves(tw).filter(|&a| a <= 64) {
        let downs: Vec<usize> = if across == tw { halves(th).collect() } else { vec![1] };
        for down in downs.into_iter().filter(|&k| k * across <= 256) {
            for item_span in halves(most).filter(|&s| s == most || s >= 2 * shape.depth_taps) {
                for round in halves(item_span).filter(|&r| r * down * across <= 256) {
                    let most = if totals { 1 } else { panels.len() };
                    for parts in (0..).map(|i| 1 << i).take_while(|&p| p <= most) {
                        for channels in [c, 128, 64, 32, 16].into_iter().filter(|&k| k <= c) {
                            let tiling =
                                Tiling { block: [down, across], round, span: item_span, parts, channels };
                            let t = cost(&costs, isa, shape, variant, panels, &tiling);
                            if best.is_none_or(|b| t < b.1) {
                                best = Some((tiling, t));
                            }
                        }
                    }
                }
            }
        }
    }
    let smallest = Tiling { block: [1, tw.min(64)], round: 1, span: most, parts: 1, channels: c };
    best.unwrap_or((smallest, f64::INFINITY))
}

/// Estimated nanoseconds of `tiling` on one core, items in equal shares for a few threads included.
pub(super) fn cost(
    costs: &Costs,
    isa: Features,
    shape: &Shape,
    variant: Variant,
    panels: &[&MicroKernel],
    tiling: &Tiling,
) -> f64 {
    let Variant { tile, domain, .. } = variant;
    let points = variant.points();
    let transform = match tile {
        _ if domain.integer() => costs.transform_int8,
        2 => costs.transform_2,
        _ => costs.transform_4,
    };
    let [n, d, h, w, _] = shape.output.dims;
    let (c, kd) = (shape.input.channels(), shape.depth_taps);
    let [down, across] = tiling.block;
    let tiles = down * across;
    let blocks = h.div_ceil(tile).div_ceil(down) * w.div_ceil(tile).div_ceil(across);
    let items = n * d.div_ceil(tiling.span) * blocks * tiling.parts;
    let widest = (0..tiling.parts).map(|p| part(panels, p, tiling.parts).1).max().unwrap_or(0);
    let lanes = backend(isa).lanes;
    let lanes_in = if domain.integer() { 2 * lanes } else { lanes };
    let rounds = tiling.span.div_ceil(tiling.round);
    let ring = tiling.round + kd - 1;
    let steps = c.div_ceil(tiling.channels);
    // Slices transformed by an item.
    let slices = if steps == 1 { tiling.span + kd - 1 } else { rounds * ring };
    let bytes = |floats: usize| 4.0 * floats as f64;
    let size = domain.size() as f64;
    let planes = size * (points * odd_lines(ring * tiles * tiling.channels, domain.size())) as f64;
    let sums = bytes(points * odd_lines(tiling.round * tiles * widest, 4));
    let gemm = match panels[0].on_matrix_unit() {
        true => {
            let calls = tiles.div_ceil(panels[0].mr);
            let call = costs.tile(panels[0], tiles.div_ceil(calls), kd, tiling.channels.min(c));
            (points * tiling.span * steps * calls) as f64 * call * widest as f64 / panels[0].nr as f64
        }
        false => products(costs, shape, variant, panels[0], tiling, (widest, lanes)),
    };
    let transforms = transform[0] * (slices * tiles * c.div_ceil(lanes_in)) as f64
        + transform[1] * (tiling.span * tiles * widest.div_ceil(lanes)) as f64;
    // Traffic past the second-level cache: weights once a round, and scratch that does not fit.
    let scratch = planes + sums;
    let part_weights = size * (points * kd * c * widest) as f64;
    let mut traffic = if part_weights + scratch > CACHE { part_weights * rounds as f64 } else { 0.0 };
    if scratch > CACHE {
        let share = ((scratch - CACHE) / CACHE).min(1.0);
        let v = size * (points * (slices + tiling.span * kd.min(2)) * tiles * c) as f64;
        let m = bytes(points * tiling.span * tiles * widest) * 2.0 * steps as f64;
        traffic += share * (v + m);
    }
    let item = gemm + transforms + traffic * costs.memory;
    item * waves(items) as f64
}

/// Nanoseconds of an item's products where registers multiply them. Rows are shared evenly among tiles of at most `mr`; short
/// ones wait for the latency of their sums, and each call starts and stores a tile.
fn products(
    costs: &Costs,
    shape: &Shape,
    variant: Variant,
    panel: &MicroKernel,
    tiling: &Tiling,
    (widest, lanes): (usize, usize),
) -> f64 {
    let (c, kd) = (shape.input.channels(), shape.depth_taps);
    let tiles = tiling.block[0] * tiling.block[1];
    let calls = tiles.div_ceil(panel.mr) as f64;
    let each = tiles as f64 / calls;
    let rows = calls
        * match variant.domain.integer() {
            // Sums that wait for one another are in all registers of a row.
            true => each.max(8.0 * lanes as f64 / panel.nr as f64) + 1.0,
            false => each.max(5.0) + 2.0,
        };
    let run = (kd * tiling.channels.min(c)) as f64;
    let multiplications =
        variant.points() as f64 * tiling.span as f64 * rows * (kd * c) as f64 * widest as f64;
    multiplications * (1.0 + 6.0 / run) / costs.rate(panel)
}

/// Items as the estimate counts them: they run in waves of [`LANES`], of which the last may be partly empty.
pub(super) fn waves(items: usize) -> usize {
    items.div_ceil(LANES) * LANES
}
