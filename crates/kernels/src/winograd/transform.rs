//! The three transforms of F(4×4, 3×3), with channels in the lanes.

use super::{POINTS, Prologue, TILE};
use crate::Grid;
use crate::dot::Act;
use crate::simd::{Body, Vector};

/// `G·g·Gᵀ` of one 3×3 filter, in float64 and rounded once.
pub(super) fn filter(g: [f32; 9]) -> [f32; POINTS] {
    fn line(a: f64, b: f64, c: f64) -> [f64; 6] {
        let (even, odd) = (a + c, b);
        let (far, near) = (a / 24.0 + c / 6.0, b / 12.0);
        [a / 4.0, -(even + odd) / 6.0, -(even - odd) / 6.0, far + near, far - near, c]
    }
    let columns = [0, 1, 2].map(|j| line(g[j] as f64, g[3 + j] as f64, g[6 + j] as f64));
    let mut out = [0f32; POINTS];
    for i in 0..6 {
        for (j, v) in line(columns[0][i], columns[1][i], columns[2][i]).into_iter().enumerate() {
            out[i * 6 + j] = v as f32;
        }
    }
    out
}

/// `Bᵀ·d` of six values.
#[inline(always)]
unsafe fn input<V: Vector>(d: [V::V; 6]) -> [V::V; 6] {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        let (two, four, five) = (V::splat(2.0), V::splat(4.0), V::splat(-5.0));
        let minus_four = V::splat(-4.0);
        let (a, b) = (V::fma(d[2], minus_four, d[4]), V::fma(d[1], minus_four, d[3]));
        let (c, e) = (V::sub(d[4], d[2]), V::mul(V::sub(d[3], d[1]), two));
        [
            V::fma(d[0], four, V::fma(d[2], five, d[4])),
            V::add(a, b),
            V::sub(a, b),
            V::add(c, e),
            V::sub(c, e),
            V::fma(d[1], four, V::fma(d[3], five, d[5])),
        ]
    }
}

/// `Aᵀ·m` of six values.
#[inline(always)]
unsafe fn output<V: Vector>(m: [V::V; 6]) -> [V::V; TILE] {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        let (s1, d1) = (V::add(m[1], m[2]), V::sub(m[1], m[2]));
        let (s2, d2) = (V::add(m[3], m[4]), V::sub(m[3], m[4]));
        [
            V::add(V::add(m[0], s1), s2),
            V::fma(d2, V::splat(2.0), d1),
            V::fma(s2, V::splat(4.0), s1),
            V::add(V::fma(d2, V::splat(8.0), d1), m[5]),
        ]
    }
}

// Functions rather than closures: what is not inlined into its caller loses the caller's features.

/// All lanes, or the first `count`.
#[inline(always)]
unsafe fn load<V: Vector, const FULL: bool>(p: *const f32, count: usize) -> V::V {
    // SAFETY: passed on from the caller.
    unsafe { if FULL { V::load(p) } else { V::load_part(p, count) } }
}

/// `act(x·scale + shift)` of six values.
#[inline(always)]
unsafe fn apply<V: Vector>(d: &mut [V::V; 6], (scale, shift): (V::V, V::V), act: Act) {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        for v in d.iter_mut() {
            *v = V::fma(*v, scale, shift);
        }
        match act {
            Act::None => {}
            Act::Leaky(s) => {
                let (zero, s) = (V::splat(0.0), V::splat(s));
                for v in d.iter_mut() {
                    *v = V::select_lt(*v, zero, V::mul(*v, s), *v);
                }
            }
            Act::Clamp(a, b) => {
                let (a, b) = (V::splat(a), V::splat(b));
                for v in d.iter_mut() {
                    *v = V::min(b, V::max(a, *v));
                }
            }
        }
    }
}

/// Transforms one row of input tiles of one slice.
pub(super) struct Gather<'a> {
    /// The slice at its first pixel and the first channel wanted.
    pub src: *const f32,
    /// The input's grid.
    pub grid: Grid,
    /// Channels.
    pub channels: usize,
    /// Applied to what is read, from the first channel wanted on.
    pub prologue: Option<Prologue<'a>>,
    /// Position of the first tile's first row and column; outside the slice counts as zero.
    pub y: i64,
    pub x: i64,
    /// Tiles.
    pub tiles: usize,
    /// Transformed tiles, `row` elements apart, with `plane` elements between positions.
    pub dst: *mut f32,
    pub row: usize,
    pub plane: usize,
}

impl Body for Gather<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let c = self.channels;
        let mut k = 0;
        // SAFETY: channels k.. of valid pixels only.
        unsafe {
            while k + V::LANES <= c {
                match self.prologue {
                    Some(f) => self.lanes::<V, true, true>(k, V::LANES, f.act),
                    None => self.lanes::<V, true, false>(k, V::LANES, Act::None),
                }
                k += V::LANES;
            }
            if k < c {
                let act = self.prologue.map_or(Act::None, |f| f.act);
                self.lanes::<V, false, true>(k, c - k, act);
            }
        }
    }
}

impl Gather<'_> {
    /// `count` channels from `k` on; all lanes when `FULL`, with a prologue when `PRO`.
    #[inline(always)]
    unsafe fn lanes<V: Vector, const FULL: bool, const PRO: bool>(&self, k: usize, count: usize, act: Act) {
        let [_, _, h, w, _] = self.grid.dims;
        let [_, _, sy, sx] = self.grid.strides;
        // SAFETY: loads only inside the slice, stores inside the planned scratch.
        unsafe {
            let mut affine = (V::splat(1.0), V::splat(0.0));
            if let Some(f) = self.prologue
                && PRO
            {
                affine.0 = load::<V, FULL>(f.scale.as_ptr().add(k), count);
                affine.1 = load::<V, FULL>(f.shift.as_ptr().add(k), count);
            }
            let rows = [0, 1, 2, 3, 4, 5].map(|i| (0..h as i64).contains(&(self.y + i)));
            let inside = rows.iter().all(|r| *r);
            let base = self.src.wrapping_offset(self.y as isize * sy as isize).wrapping_add(k);
            let mut columns = [[V::splat(0.0); 6]; 6];
            for t in 0..self.tiles {
                let first = if t == 0 { 0 } else { 2 };
                columns[0] = columns[4];
                columns[1] = columns[5];
                for j in first..6 {
                    let x = self.x + (t * TILE + j) as i64;
                    if !(0..w as i64).contains(&x) {
                        columns[j] = [V::splat(0.0); 6];
                        continue;
                    }
                    let p = base.wrapping_add(x as usize * sx);
                    let mut d = [V::splat(0.0); 6];
                    if inside {
                        for (i, v) in d.iter_mut().enumerate() {
                            *v = load::<V, FULL>(p.wrapping_add(i * sy), count);
                        }
                    } else {
                        for (i, v) in d.iter_mut().enumerate() {
                            if rows[i] {
                                *v = load::<V, FULL>(p.wrapping_add(i * sy), count);
                            }
                        }
                    }
                    if PRO {
                        apply::<V>(&mut d, affine, act);
                        if !inside {
                            for (i, v) in d.iter_mut().enumerate() {
                                if !rows[i] {
                                    *v = V::splat(0.0);
                                }
                            }
                        }
                    }
                    columns[j] = input::<V>(d);
                }
                let dst = self.dst.wrapping_add(t * self.row + k);
                for i in 0..6 {
                    let line = input::<V>([
                        columns[0][i],
                        columns[1][i],
                        columns[2][i],
                        columns[3][i],
                        columns[4][i],
                        columns[5][i],
                    ]);
                    for (j, v) in line.into_iter().enumerate() {
                        let q = dst.wrapping_add((i * 6 + j) * self.plane);
                        if FULL {
                            V::store(q, v);
                        } else {
                            V::store_part(q, v, count);
                        }
                    }
                }
            }
        }
    }
}

/// Transforms one row of products back, and stores the outputs with their epilogue.
pub(super) struct Scatter {
    /// Products, one row of columns a tile, `plane` elements between positions.
    pub src: *const f32,
    pub plane: usize,
    pub row: usize,
    /// The first output pixel, and strides down and across.
    pub dst: *mut f32,
    pub strides: [usize; 2],
    /// The residual at that pixel, or null, and its strides.
    pub residual: *const f32,
    pub residual_strides: [usize; 2],
    /// Output rows (at most a tile) and columns.
    pub size: [usize; 2],
    /// One summand per column, as many as the products have.
    pub bias: *const f32,
    /// Columns to store.
    pub columns: usize,
    pub act: Act,
}

impl Body for Scatter {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let mut k = 0;
        // SAFETY: columns k.. of the products and of the item's outputs.
        unsafe {
            while k + V::LANES <= self.columns {
                self.lanes::<V, true>(k, V::LANES);
                k += V::LANES;
            }
            if k < self.columns {
                self.lanes::<V, false>(k, self.columns - k);
            }
        }
    }
}

impl Scatter {
    /// `count` columns from `k` on; all lanes when `FULL`.
    #[inline(always)]
    unsafe fn lanes<V: Vector, const FULL: bool>(&self, k: usize, count: usize) {
        let [rows, across] = self.size;
        // SAFETY: products are padded to whole registers; stores and residual loads stay inside.
        unsafe {
            let bias = V::load(self.bias.add(k));
            for t in 0..across.div_ceil(TILE) {
                let src = self.src.wrapping_add(t * self.row + k);
                let mut lines = [[V::splat(0.0); 6]; TILE];
                for j in 0..6 {
                    let mut d = [V::splat(0.0); 6];
                    for (i, v) in d.iter_mut().enumerate() {
                        *v = V::load(src.wrapping_add((i * 6 + j) * self.plane));
                    }
                    for (line, v) in lines.iter_mut().zip(output::<V>(d)) {
                        line[j] = v;
                    }
                }
                let wide = (across - t * TILE).min(TILE);
                for (i, line) in lines.into_iter().enumerate().take(rows) {
                    let y = output::<V>(line);
                    for (j, v) in y.into_iter().enumerate().take(wide) {
                        let mut v = V::add(v, bias);
                        let x = t * TILE + j;
                        if !self.residual.is_null() {
                            let [sy, sx] = self.residual_strides;
                            let r = self.residual.wrapping_add(i * sy + x * sx + k);
                            v = V::add(v, if FULL { V::load(r) } else { V::load_part(r, count) });
                        }
                        let v = self.act.vector::<V>(v);
                        let q = self.dst.wrapping_add(i * self.strides[0] + x * self.strides[1] + k);
                        if FULL {
                            V::store(q, v);
                        } else {
                            V::store_part(q, v, count);
                        }
                    }
                }
            }
        }
    }
}
