//! The three transforms of F(4×4, 3×3) and F(2×2, 3×3), with channels in the lanes. `T` is the tile's
//! size, 4 or 2; lines of `T + 2` values are the first of arrays of six.
//!
//! F(4×4) interpolates at 0, ±2/3, ±3/2 and ∞ (as Barabasz et al., 2020, find by search): whose inverses are among them, so
//! that powers up to the third stay near one, and rounding errors half as large as with 0, ±1, ±2 and ∞.

use super::Prologue;
use crate::act::Act;
use crate::operation::Operation;
use crate::simd::{Body, Vector};
use crate::{Element, Grid};

/// Filters that are transformed at once.
pub(super) const FILTERS: usize = 8;

/// The points of F(4×4) other than 0 and ∞, one of either sign each; their product is 1.
const POINTS: [f64; 2] = [2.0 / 3.0, 3.0 / 2.0];

/// Their first, second and third powers. Computed by the compiler: a call in the transforms' loops, even one of
/// `map`, takes longer than the transform.
const POWERS: [[f32; 2]; 3] = {
    let [p, q] = POINTS;
    [[p as f32, q as f32], [(p * p) as f32, (q * q) as f32], [(p * p * p) as f32, (q * q * q) as f32]]
};

/// Nine weights of each of some filters, in h, w order.
pub(super) type Weights3x3 = [[f64; FILTERS]; 9];

/// `G·g·Gᵀ` of 3×3 filters for tiles of `tile`, in float64 and rounded once.
pub(super) struct Filters<'a> {
    pub weights: &'a Weights3x3,
    pub tile: usize,
    /// The first `(tile + 2)²` positions are written.
    pub out: &'a mut [[f32; FILTERS]; 36],
}

impl Body for Filters<'_> {
    const OPERATION: Operation = Operation::WinogradFilter;
    const BF16: bool = false;
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // Plain loops over filters, which the compiler turns into the backend's float64 instructions.
        let g = self.weights;
        let size = self.tile + 2;
        let mut columns = [[[0f64; FILTERS]; 6]; 3];
        for (j, column) in columns.iter_mut().enumerate() {
            line([&g[j], &g[3 + j], &g[6 + j]], self.tile, column);
        }
        for i in 0..size {
            let mut row = [[0f64; FILTERS]; 6];
            line([&columns[0][i], &columns[1][i], &columns[2][i]], self.tile, &mut row);
            for (j, v) in row.iter().enumerate().take(size) {
                for (to, from) in self.out[i * size + j].iter_mut().zip(v) {
                    *to = *from as f32;
                }
            }
        }
    }
}

/// `G·g` of a line of three weights.
#[inline(always)]
fn line([a, b, c]: [&[f64; FILTERS]; 3], tile: usize, out: &mut [[f64; FILTERS]; 6]) {
    for k in 0..FILTERS {
        let values = if tile == 2 {
            let (even, odd) = (a[k] + c[k], b[k]);
            [a[k], (even + odd) / 2.0, (even - odd) / 2.0, c[k], 0.0, 0.0]
        } else {
            let at = |p: f64, other: f64| {
                let by = 2.0 * p * p * (p * p - other * other);
                let (even, odd) = ((a[k] + c[k] * p * p) / by, b[k] * p / by);
                [even + odd, even - odd]
            };
            let ([p, minus_p], [q, minus_q]) = (at(POINTS[0], POINTS[1]), at(POINTS[1], POINTS[0]));
            [a[k], p, minus_p, q, minus_q, c[k]]
        };
        for (to, v) in out.iter_mut().zip(values) {
            to[k] = v;
        }
    }
}

/// `Bᵀ·d` of a line.
#[inline(always)]
unsafe fn input<V: Vector, const T: usize>(d: [V::V; 6]) -> [V::V; 6] {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        if T == 2 {
            let mut out = d;
            out[0] = V::sub(d[0], d[2]);
            out[1] = V::add(d[1], d[2]);
            out[2] = V::sub(d[2], d[1]);
            out[3] = V::sub(d[1], d[3]);
            return out;
        }
        const BOTH: f32 = (-POINTS[0] * POINTS[0] - POINTS[1] * POINTS[1]) as f32;
        let [[p, q], [pp, qq], _] = POWERS;
        let (minus_pp, minus_qq, both) = (V::splat(-pp), V::splat(-qq), V::splat(BOTH));
        let (a, b) = (V::fma(d[2], minus_qq, d[4]), V::mul(V::fma(d[1], minus_qq, d[3]), V::splat(p)));
        let (c, e) = (V::fma(d[2], minus_pp, d[4]), V::mul(V::fma(d[1], minus_pp, d[3]), V::splat(q)));
        [
            V::fma(d[2], both, V::add(d[0], d[4])),
            V::add(a, b),
            V::sub(a, b),
            V::add(c, e),
            V::sub(c, e),
            V::fma(d[3], both, V::add(d[1], d[5])),
        ]
    }
}

/// `Aᵀ·m` of a line; the first `T` results count.
#[inline(always)]
unsafe fn output<V: Vector, const T: usize>(m: [V::V; 6]) -> [V::V; 4] {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        if T == 2 {
            let sum = V::add(m[1], m[2]);
            let difference = V::sub(m[1], m[2]);
            return [V::add(m[0], sum), V::sub(difference, m[3]), sum, sum];
        }
        let (s1, d1) = (V::add(m[1], m[2]), V::sub(m[1], m[2]));
        let (s2, d2) = (V::add(m[3], m[4]), V::sub(m[3], m[4]));
        let [[p, q], [pp, qq], [ppp, qqq]] = POWERS;
        let (p, q, pp, qq) = (V::splat(p), V::splat(q), V::splat(pp), V::splat(qq));
        let (ppp, qqq) = (V::splat(ppp), V::splat(qqq));
        [
            V::add(V::add(m[0], s1), s2),
            V::fma(d2, q, V::mul(d1, p)),
            V::fma(s2, qq, V::mul(s1, pp)),
            V::fma(d2, qqq, V::fma(d1, ppp, m[5])),
        ]
    }
}

// Functions rather than closures: what is not inlined into its caller loses the caller's features.

/// All lanes, or the first `count`.
#[inline(always)]
unsafe fn load<V: Vector, E: Element, const FULL: bool>(p: *const E, count: usize) -> V::V {
    // SAFETY: passed on from the caller.
    unsafe { if FULL { E::load::<V>(p) } else { E::load_part::<V>(p, count) } }
}

/// All lanes, or the first `count`.
#[inline(always)]
unsafe fn store<V: Vector, E: Element, const FULL: bool>(p: *mut E, v: V::V, count: usize) {
    // SAFETY: passed on from the caller.
    unsafe { if FULL { E::store::<V>(p, v) } else { E::store_part::<V>(p, v, count) } }
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
pub(super) struct Gather<'a, E, D, const T: usize> {
    /// The slice at its first pixel and the first channel wanted.
    pub src: *const E,
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
    pub dst: *mut D,
    pub row: usize,
    pub plane: usize,
}

impl<E: Element, D: Element, const T: usize> Body for Gather<'_, E, D, T> {
    const OPERATION: Operation = Operation::WinogradInput;
    const BF16: bool = E::ELEM.is_bf16() || D::ELEM.is_bf16();
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
            if const { V::LANES > 1 } && k < c {
                let act = self.prologue.map_or(Act::None, |f| f.act);
                self.lanes::<V, false, true>(k, c - k, act);
            }
        }
    }
}

impl<E: Element, D: Element, const T: usize> Gather<'_, E, D, T> {
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
                affine.0 = load::<V, f32, FULL>(f.scale.as_ptr().add(k), count);
                affine.1 = load::<V, f32, FULL>(f.shift.as_ptr().add(k), count);
            }
            let mut rows = [false; 6];
            for (i, row) in rows.iter_mut().enumerate() {
                *row = self.y + i as i64 >= 0 && self.y + (i as i64) < h as i64;
            }
            let inside = self.y >= 0 && self.y + (T as i64) + 1 < h as i64;
            let base = self.src.wrapping_offset(self.y as isize * sy as isize).wrapping_add(k);
            let mut columns = [[V::splat(0.0); 6]; 6];
            for t in 0..self.tiles {
                let first = if t == 0 { 0 } else { 2 };
                columns[0] = columns[T];
                columns[1] = columns[T + 1];
                for j in first..T + 2 {
                    let x = self.x + (t * T + j) as i64;
                    if !(0..w as i64).contains(&x) {
                        columns[j] = [V::splat(0.0); 6];
                        continue;
                    }
                    let p = base.wrapping_add(x as usize * sx);
                    let mut d = [V::splat(0.0); 6];
                    if inside {
                        for (i, v) in d.iter_mut().enumerate().take(T + 2) {
                            *v = load::<V, E, FULL>(p.wrapping_add(i * sy), count);
                        }
                    } else {
                        for (i, v) in d.iter_mut().enumerate().take(T + 2) {
                            if rows[i] {
                                *v = load::<V, E, FULL>(p.wrapping_add(i * sy), count);
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
                    columns[j] = input::<V, T>(d);
                }
                let dst = self.dst.wrapping_add(t * self.row + k);
                for i in 0..T + 2 {
                    let line = input::<V, T>([
                        columns[0][i],
                        columns[1][i],
                        columns[2][i],
                        columns[3][i],
                        columns[4][i],
                        columns[5][i],
                    ]);
                    for (j, v) in line.into_iter().enumerate().take(T + 2) {
                        let q = dst.wrapping_add((i * (T + 2) + j) * self.plane);
                        store::<V, D, FULL>(q, v, count);
                    }
                }
            }
        }
    }
}

/// Transforms one row of products back, and stores the outputs with their epilogue.
pub(super) struct Scatter<E, const T: usize> {
    /// Products, one row of columns a tile, `plane` elements between positions.
    pub src: *const f32,
    pub plane: usize,
    pub row: usize,
    /// The first output pixel, and strides down and across.
    pub dst: *mut E,
    pub strides: [usize; 2],
    /// The residual at that pixel, or null, and its strides.
    pub residual: *const E,
    pub residual_strides: [usize; 2],
    /// Output rows (at most a tile) and columns.
    pub size: [usize; 2],
    /// One summand per column, as many as the products have.
    pub bias: *const f32,
    /// Columns to store.
    pub columns: usize,
    pub act: Act,
}

impl<E: Element, const T: usize> Body for Scatter<E, T> {
    const OPERATION: Operation = Operation::WinogradOutput;
    const BF16: bool = E::ELEM.is_bf16();
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

impl<E: Element, const T: usize> Scatter<E, T> {
    /// `count` columns from `k` on; all lanes when `FULL`.
    #[inline(always)]
    unsafe fn lanes<V: Vector, const FULL: bool>(&self, k: usize, count: usize) {
        let [rows, across] = self.size;
        // SAFETY: products are padded to whole registers; stores and residual loads stay inside.
        unsafe {
            let bias = V::load(self.bias.add(k));
            for t in 0..across.div_ceil(T) {
                let src = self.src.wrapping_add(t * self.row + k);
                let mut lines = [[V::splat(0.0); 6]; 4];
                for j in 0..T + 2 {
                    let mut d = [V::splat(0.0); 6];
                    for (i, v) in d.iter_mut().enumerate().take(T + 2) {
                        *v = V::load(src.wrapping_add((i * (T + 2) + j) * self.plane));
                    }
                    for (line, v) in lines.iter_mut().zip(output::<V, T>(d)).take(T) {
                        line[j] = v;
                    }
                }
                let wide = (across - t * T).min(T);
                for (i, line) in lines.into_iter().enumerate().take(rows) {
                    let y = output::<V, T>(line);
                    for (j, v) in y.into_iter().enumerate().take(wide) {
                        let mut v = V::add(v, bias);
                        let x = t * T + j;
                        if !self.residual.is_null() {
                            let [sy, sx] = self.residual_strides;
                            let r = self.residual.wrapping_add(i * sy + x * sx + k);
                            v = V::add(v, load::<V, E, FULL>(r, count));
                        }
                        let v = self.act.vector::<V>(v);
                        let q = self.dst.wrapping_add(i * self.strides[0] + x * self.strides[1] + k);
                        store::<V, E, FULL>(q, v, count);
                    }
                }
            }
        }
    }
}
