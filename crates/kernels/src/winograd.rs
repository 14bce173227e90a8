//! Convolutions with a stride-1 3×3 kernel in height and width by Winograd's minimal filtering
//! F(4×4, 3×3): a quarter of the multiplications (Lavin and Gray, "Fast Algorithms for
//! Convolutional Neural Networks", 2016), points 0, ±1, ±2, ∞. Taps along depth are added up in the
//! transform domain, so one transformed slice serves all depth taps.
//!
//! An item slides along depth over a small block of tiles and keeps the transformed slices in a
//! ring; per transform position it is a GEMM of the ordinary dot tiles, `[tiles × taps·inputs] ·
//! [taps·inputs × outputs]`. Only the block's slices are ever held, never a transformed tensor.

mod transform;

use crate::conv::ConvPointers;
use crate::dot::{self, Act, DotArgs, DotKernel, Epilogue, Tap};
use crate::simd::dispatch;
use crate::{Grid, Isa};
use transform::{Gather, Scatter, filter};

/// Output positions of a tile along each axis.
pub const TILE: usize = 4;
/// Positions of the transform: (4 + 3 - 1)².
pub const POINTS: usize = 36;

/// Transformed and packed weights: for each transform position and panel, `[depth tap][input]` rows
/// of the panel's columns.
pub struct Weights {
    panels: Vec<&'static DotKernel>,
    data: Vec<f32>,
    bias: Vec<f32>,
    depth_taps: usize,
    inputs: usize,
    columns: usize,
    width: usize,
}

impl Weights {
    /// Transforms weights given as `at(depth tap, input channel, output channel)`, each nine
    /// values in h, w order.
    pub fn pack(
        isa: Isa,
        [depth_taps, inputs, columns]: [usize; 3],
        bias: Option<&[f32]>,
        at: impl Fn(usize, usize, usize) -> [f32; 9],
    ) -> Self {
        let panels = dot::panels(isa, columns);
        let width: usize = panels.iter().map(|p| p.nr).sum();
        let rows = depth_taps * inputs;
        let mut data = vec![0f32; POINTS * rows * width];
        for row in 0..rows {
            let mut first = 0;
            for p in &panels {
                let base = rows * first + row * p.nr;
                for n in 0..p.nr.min(columns - first) {
                    let u = filter(at(row / inputs, row % inputs, first + n));
                    for (point, v) in u.into_iter().enumerate() {
                        data[point * rows * width + base + n] = v;
                    }
                }
                first += p.nr;
            }
        }
        let bias = (0..width).map(|n| bias.and_then(|b| b.get(n).copied()).unwrap_or(0.0)).collect();
        Weights { panels, data, bias, depth_taps, inputs, columns, width }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        4 * (self.data.len() + self.bias.len())
    }

    /// Names of the tiles in use.
    pub fn kernels(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.panels.iter().map(|p| p.name)
    }
}

/// Shape of a convolution that [`Winograd`] computes: stride and dilation 1 on all axes, kernel 3 in
/// height and width, any kernel along depth.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Input grid.
    pub input: Grid,
    /// Output grid.
    pub output: Grid,
    /// Grid of the residual, if there is one.
    pub residual: Option<Grid>,
    /// Kernel size along depth.
    pub depth_taps: usize,
    /// Pads before depth, height and width. May be negative.
    pub pad: [i64; 3],
    /// Activation.
    pub act: Act,
}

/// A convolution planned for one input and output shape.
pub struct Winograd {
    shape: Shape,
    /// Tiles of a block down and across.
    block: [usize; 2],
    /// Output slices per round, and per item.
    round: usize,
    span: usize,
    /// Items among which the output panels are divided.
    parts: usize,
    /// Most columns of a part.
    part_width: usize,
}

/// Bytes of transformed weights up to which they stay in the second-level cache next to the block.
const RESIDENT: usize = 768 << 10;
/// Rows per GEMM that amortise reading the weights from the second-level cache, or from beyond it.
const ROWS: [usize; 2] = [64, 224];
/// Items below which work is divided further, so that few threads get equal shares.
const ITEMS: usize = 12;

impl Winograd {
    /// Plans `shape` for `weights`. With `span`, an item covers at most that many output slices, and
    /// all items of earlier slices of a batch entry have lower indexes.
    pub fn new(shape: Shape, weights: &Weights, span: Option<usize>) -> Self {
        let [n, d, h, w, _] = shape.output.dims;
        let (th, tw) = (h.div_ceil(TILE).max(1), w.div_ceil(TILE).max(1));
        let bytes = 4 * POINTS * weights.depth_taps * weights.inputs * weights.width;
        let rows = ROWS[(bytes > RESIDENT) as usize];
        // Blocks are runs of one tile row: short enough to leave room for a round of several slices.
        let pieces = tw.div_ceil(rows.min(32));
        let across = tw.div_ceil(pieces);
        let most = d.min(span.unwrap_or(d)).max(1);
        let round = (rows / across).clamp(1, most);
        let down = (rows / (across * round)).clamp(1, th);
        let blocks = n * th.div_ceil(down) * tw.div_ceil(across);
        // More items: shorter spans while the slices transformed twice stay few, then fewer columns.
        let mut spans = d.div_ceil(most);
        while span.is_none() && blocks * spans < ITEMS && d / (2 * spans) >= 4 * weights.depth_taps {
            spans *= 2;
        }
        let span = d.div_ceil(spans).max(1);
        let mut parts = 1;
        while blocks * spans * parts < ITEMS && parts * 2 <= weights.panels.len() {
            parts *= 2;
        }
        let round = d.min(span).div_ceil(d.min(span).div_ceil(round).max(1)).max(1);
        let part_width = (0..parts).map(|p| part(weights, p, parts).1).max().unwrap_or(0);
        Winograd { shape, block: [down, across], round, span, parts, part_width }
    }

    fn blocks(&self) -> [usize; 2] {
        let [_, _, h, w, _] = self.shape.output.dims;
        [h.div_ceil(TILE).div_ceil(self.block[0]), w.div_ceil(TILE).div_ceil(self.block[1])]
    }

    fn spans(&self) -> usize {
        self.shape.output.dims[1].div_ceil(self.span)
    }

    /// Number of independent items of work.
    pub fn items(&self) -> usize {
        if self.shape.output.dims.contains(&0) {
            return 0;
        }
        let [down, across] = self.blocks();
        self.shape.output.dims[0] * self.spans() * down * across * self.parts
    }

    /// Items that share one span of output slices of one batch entry.
    pub fn items_per_span(&self) -> usize {
        let [down, across] = self.blocks();
        down * across * self.parts
    }

    /// Distance between transform positions of the transformed input, in elements: not a multiple
    /// of a power of two, so that the positions of a tile fall into different cache sets.
    fn plane(&self) -> usize {
        let ring = self.round + self.shape.depth_taps - 1;
        odd_lines(ring * self.block[0] * self.block[1] * self.shape.input.channels())
    }

    fn product_plane(&self) -> usize {
        odd_lines(self.round * self.block[0] * self.block[1] * self.part_width)
    }

    /// Floats of scratch that a call of [`Winograd::run`] needs.
    pub fn scratch(&self) -> usize {
        POINTS * (self.plane() + self.product_plane()) + 16
    }

    /// Output region of item `index`: batch entry, and ranges of depth, height and width.
    pub fn region(&self, index: usize) -> (usize, [(usize, usize); 3]) {
        let (index, [down, across]) = (index / self.parts, self.blocks());
        let (bx, rest) = (index % across, index / across);
        let (by, rest) = (rest % down, rest / down);
        let (s, n) = (rest % self.spans(), rest / self.spans());
        let [_, d, h, w, _] = self.shape.output.dims;
        let cut = |i: usize, step: usize, size: usize| (i * step, ((i + 1) * step).min(size));
        let [rows, columns] = self.block.map(|b| b * TILE);
        (n, [cut(s, self.span, d), cut(by, rows, h), cut(bx, columns, w)])
    }

    /// Computes item `index`.
    ///
    /// # Safety
    /// The pointers must be valid for the shape's grids, the output must not overlap the input (or
    /// only where no later item reads), `weights` must be those of [`Winograd::new`] packed for
    /// `isa`, which must be supported, `scratch` must hold [`Winograd::scratch`] floats, and no two
    /// threads may run the same item at once.
    pub unsafe fn run(&self, isa: Isa, index: usize, weights: &Weights, p: ConvPointers, scratch: *mut f32) {
        let s = &self.shape;
        let (n, [(z0, z1), (y0, y1), (x0, x1)]) = self.region(index);
        let (panels, width) = part(weights, index % self.parts, self.parts);
        let tiles = [(y1 - y0).div_ceil(TILE), (x1 - x0).div_ceil(TILE)];
        let (c, kd) = (s.input.channels(), s.depth_taps);
        let ring = self.round + kd - 1;
        let (plane, product) = (self.plane(), self.product_plane());
        let aligned = scratch.wrapping_add(scratch.align_offset(64) % 16);
        let (v, m) = (aligned, aligned.wrapping_add(POINTS * plane));
        let slice = tiles[0] * tiles[1] * c;
        let slot = |z: i64| v.wrapping_add(z.rem_euclid(ring as i64) as usize * slice);
        // Depth of the input slice that tap 0 of output slice z reads.
        let source = |z: usize| z as i64 - s.pad[0];
        let mut ready = source(z0);
        let mut z = z0;
        while z < z1 {
            let round = self.round.min(z1 - z);
            while ready < source(z + round - 1) + kd as i64 {
                if (0..s.input.dims[1] as i64).contains(&ready) {
                    for ty in 0..tiles[0] {
                        let gather = Gather {
                            src: p.input.wrapping_add(n * s.input.strides[0] + ready as usize * s.input.strides[1]),
                            grid: s.input,
                            y: (y0 + ty * TILE) as i64 - s.pad[1],
                            x: x0 as i64 - s.pad[2],
                            tiles: tiles[1],
                            dst: slot(ready).wrapping_add(ty * tiles[1] * c),
                            plane,
                        };
                        // SAFETY: the ring has room for the slice; the source is the caller's.
                        unsafe { dispatch(isa, gather) };
                    }
                }
                ready += 1;
            }
            // SAFETY: scratch and weights have the sizes planned.
            unsafe { self.multiply(weights, panels.clone(), width, tiles, [z, round], v, m) };
            for k in 0..round {
                for ty in 0..tiles[0] {
                    let y = y0 + ty * TILE;
                    let place = |g: &Grid| {
                        n * g.strides[0] + (z + k) * g.strides[1] + y * g.strides[2] + x0 * g.strides[3]
                    };
                    let first: usize = weights.panels[..panels.start].iter().map(|p| p.nr).sum();
                    let columns = width.min(weights.columns - first);
                    let scatter = Scatter {
                        src: m.wrapping_add((k * tiles[0] + ty) * tiles[1] * width),
                        plane: product,
                        row: width,
                        dst: p.output.wrapping_add(place(&s.output) + first),
                        strides: [s.output.strides[2], s.output.strides[3]],
                        residual: match &s.residual {
                            Some(g) => p.residual.wrapping_add(place(g) + first),
                            None => std::ptr::null(),
                        },
                        residual_strides: s.residual.map_or([0; 2], |g| [g.strides[2], g.strides[3]]),
                        size: [(y1 - y).min(TILE), x1 - x0],
                        bias: weights.bias[first..].as_ptr(),
                        columns,
                        act: s.act,
                    };
                    // SAFETY: the item's own part of the output; the products were just written.
                    unsafe { dispatch(isa, scatter) };
                }
            }
            z += round;
        }
    }

    /// All products of `round` output slices from `z` on.
    /// Safety: as for [`Winograd::run`].
    unsafe fn multiply(
        &self,
        weights: &Weights,
        panels: std::ops::Range<usize>,
        width: usize,
        tiles: [usize; 2],
        [z, round]: [usize; 2],
        v: *const f32,
        m: *mut f32,
    ) {
        let s = &self.shape;
        let (c, kd) = (s.input.channels(), s.depth_taps);
        let ring = (self.round + kd - 1) as i64;
        let count = tiles[0] * tiles[1];
        let rows = kd * c;
        let depth = s.input.dims[1] as i64;
        let offset: usize = weights.panels[..panels.start].iter().map(|p| p.nr).sum();
        let mut taps = Vec::with_capacity(kd);
        for point in 0..POINTS {
            let mut first = offset;
            for panel in &weights.panels[panels.clone()] {
                let b = weights.data[point * rows * weights.width + rows * first..].as_ptr();
                for k in 0..round {
                    taps.clear();
                    for t in 0..kd {
                        let at = (z + k + t) as i64 - s.pad[0];
                        if (0..depth).contains(&at) {
                            let a = at.rem_euclid(ring) as usize * count * c;
                            taps.push(Tap { a: a as isize, b: t * c * panel.nr });
                        }
                    }
                    let parts = count.div_ceil(panel.mr);
                    let mut done = 0;
                    for i in 0..parts {
                        let rows = (count - done).div_ceil(parts - i);
                        let args = DotArgs {
                            a: v.wrapping_add(point * self.plane() + done * c),
                            a_row: c as isize,
                            taps: &taps,
                            run: c,
                            b,
                            c: m.wrapping_add(
                                point * self.product_plane() + (k * count + done) * width + first - offset,
                            ),
                            c_row: width as isize,
                            m: rows,
                            n: panel.nr,
                            epilogue: Epilogue {
                                bias: std::ptr::null(),
                                residual: std::ptr::null(),
                                residual_row: 0,
                                act: Act::None,
                            },
                        };
                        // SAFETY: the ring's valid slices were filled; the rest is the caller's.
                        unsafe { (panel.run)(&args) };
                        done += rows;
                    }
                }
                first += panel.nr;
            }
        }
    }
}

/// Panels of part `index` of `parts`, and their columns.
fn part(weights: &Weights, index: usize, parts: usize) -> (std::ops::Range<usize>, usize) {
    let n = weights.panels.len();
    let range = index * n / parts..(index + 1) * n / parts;
    let width = weights.panels[range.clone()].iter().map(|p| p.nr).sum();
    (range, width)
}

/// `floats` rounded up to an odd number of cache lines.
fn odd_lines(floats: usize) -> usize {
    (floats.div_ceil(16) | 1) * 16
}
