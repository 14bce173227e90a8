//! Per-channel statistics and per-channel affine maps: the two passes of instance normalisation.
//!
//! Sums are taken of values shifted by the channel's first value, in float32 over short blocks and
//! in float64 across blocks, so a volume with a large mean loses nothing (the shifted form of the
//! two-sum variance; see Chan, Golub and LeVeque, 1983).

use crate::dot::Act;
use crate::element::mapped;
use crate::simd::{Body, Vector, dispatch};
use crate::{Elem, Element, Grid, Isa};

/// Pixels whose shifted sums are added up in float32 before they join the float64 totals.
const BLOCK: usize = 64;

/// Pixels per item of [`partial_sums`]; fixed, so that totals do not depend on the thread count.
pub const CHUNK: usize = 8192;

/// What one item of a convolution wrote, added up per channel about the item's first values.
#[derive(Clone, Debug, Default)]
pub struct ItemSums {
    /// First channel and pixels added up; all channels of an item see the same pixels.
    first: usize,
    count: usize,
    shift: Vec<f32>,
    sum: Vec<f64>,
    square: Vec<f64>,
    /// Of an integer convolution instead: sums and squares about 0, which are exact; those of the last
    /// pixels, of which there are `fresh`, and of those before.
    exact: Vec<i64>,
    fresh: usize,
    before: Vec<i128>,
}

impl ItemSums {
    /// Forgets everything, keeping the allocations.
    pub fn clear(&mut self) {
        self.count = 0;
        self.shift.clear();
        self.exact.clear();
        self.before.clear();
        self.fresh = 0;
    }

    /// Where the integer sums and squares of `columns` columns are to be added up over `pixels` pixels;
    /// 64 bits hold those of `limit`.
    pub(crate) fn exact(&mut self, pixels: usize, columns: usize, limit: usize) -> [*mut i64; 2] {
        debug_assert!(pixels <= limit, "{pixels} pixels where sums of {limit} fit");
        self.count += pixels;
        self.exact.resize(2 * columns, 0);
        if self.fresh + pixels > limit {
            self.before.resize(2 * columns, 0);
            for (before, own) in self.before.iter_mut().zip(&mut self.exact) {
                *before += std::mem::take(own) as i128;
            }
            self.fresh = 0;
        }
        self.fresh += pixels;
        let (sum, square) = self.exact.split_at_mut(columns);
        [sum.as_mut_ptr(), square.as_mut_ptr()]
    }

    /// Adds the integer sums and squares to totals, which are exact in any order.
    pub fn join_exact(&self, sum: &mut [i128], square: &mut [i128]) {
        let (s, q) = self.exact.split_at(self.exact.len() / 2);
        for (total, own) in sum.iter_mut().zip(s).chain(square.iter_mut().zip(q)) {
            *total += *own as i128;
        }
        let (s, q) = self.before.split_at(self.before.len() / 2);
        for (total, own) in sum.iter_mut().zip(s).chain(square.iter_mut().zip(q)) {
            *total += *own;
        }
    }

    /// Adds `pixels` pixels, `pixel` elements apart, whose channels are `columns` from `first` on.
    ///
    /// # Safety
    /// `p` must be readable for the pixels, and `isa` supported.
    pub unsafe fn add<E: Element>(
        &mut self,
        isa: Isa,
        p: *const E,
        pixel: usize,
        pixels: usize,
        [first, columns]: [usize; 2],
    ) {
        if pixels == 0 {
            return;
        }
        // SAFETY: passed on from the caller.
        unsafe {
            if self.shift.is_empty() {
                self.first = first;
                self.shift.extend(std::slice::from_raw_parts(p, columns).iter().map(|x| x.get()));
                for v in [&mut self.sum, &mut self.square] {
                    v.clear();
                    v.resize(columns, 0.0);
                }
            }
            self.count += pixels;
            partial_sums(isa, p, pixel, pixels, &self.shift, &mut self.sum, &mut self.square);
        }
    }

    /// Adds these sums to totals about `shift`, whose entries for channels seen for the first time
    /// (`counts` 0) are set.
    pub fn join(&self, counts: &mut [usize], shift: &mut [f32], sum: &mut [f64], square: &mut [f64]) {
        let n = self.count as f64;
        for (k, &own) in self.shift.iter().enumerate() {
            let c = self.first + k;
            if counts[c] == 0 {
                shift[c] = own;
            }
            counts[c] += self.count;
            let d = own as f64 - shift[c] as f64;
            sum[c] += self.sum[k] + n * d;
            square[c] += self.square[k] + 2.0 * d * self.sum[k] + n * d * d;
        }
    }
}

struct Sums<'a, E> {
    src: *const E,
    pixel: usize,
    count: usize,
    shift: &'a [f32],
    sum: &'a mut [f64],
    square: &'a mut [f64],
}

/// Sums of `x - shift` and of its square per channel over `count` pixels that lie `pixel` elements
/// apart, added to `sum` and `square`.
///
/// # Safety
/// `src` must be readable for the pixels; the slices must have one entry per channel; `isa` must
/// be supported.
pub unsafe fn partial_sums<E: Element>(
    isa: Isa,
    src: *const E,
    pixel: usize,
    count: usize,
    shift: &[f32],
    sum: &mut [f64],
    square: &mut [f64],
) {
    assert!(sum.len() == shift.len() && square.len() == shift.len());
    // SAFETY: passed on from the caller.
    unsafe { dispatch(isa, Sums { src, pixel, count, shift, sum, square }) }
}

impl<E: Element> Body for Sums<'_, E> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let c = self.shift.len();
        let mut buffer = [0f32; 64];
        let mut k = 0;
        while k < c {
            let m = (c - k).min(V::LANES);
            // SAFETY: k + m <= c and the pixels are readable; the buffer holds a register.
            unsafe {
                let shift = f32::load_some::<V>(self.shift.as_ptr().add(k), m);
                let mut done = 0;
                while done < self.count {
                    let n = (self.count - done).min(BLOCK);
                    // Four chains hide the latency of the additions.
                    let mut s = [V::splat(0.0); 4];
                    let mut q = [V::splat(0.0); 4];
                    let base = self.src.add(done * self.pixel + k);
                    let mut i = 0;
                    while i + 4 <= n {
                        for j in 0..4 {
                            let v = V::sub(E::load_some::<V>(base.add((i + j) * self.pixel), m), shift);
                            s[j] = V::add(s[j], v);
                            q[j] = V::fma(v, v, q[j]);
                        }
                        i += 4;
                    }
                    while i < n {
                        let v = V::sub(E::load_some::<V>(base.add(i * self.pixel), m), shift);
                        s[0] = V::add(s[0], v);
                        q[0] = V::fma(v, v, q[0]);
                        i += 1;
                    }
                    let pair = |a: [V::V; 4]| V::add(V::add(a[0], a[1]), V::add(a[2], a[3]));
                    V::store(buffer.as_mut_ptr(), pair(s));
                    for j in 0..m {
                        self.sum[k + j] += buffer[j] as f64;
                    }
                    V::store(buffer.as_mut_ptr(), pair(q));
                    for j in 0..m {
                        self.square[k + j] += buffer[j] as f64;
                    }
                    done += n;
                }
            }
            k += V::LANES;
        }
    }
}

/// `y = act(x·scale + shift + residual)` over pixels, per channel.
pub struct Affine<'a, E, O = E> {
    /// Input, and distance between its pixels.
    pub src: (*const E, usize),
    /// Output, and distance between its pixels; may be the input itself.
    pub dst: (*mut O, usize),
    /// Residual, and distance between its pixels; null for none.
    pub residual: (*const u8, usize),
    /// How the residual is stored; factor and summand that make codes of it values.
    pub stored: (Elem, [f32; 2]),
    /// Pixels.
    pub count: usize,
    /// One factor per channel.
    pub scale: &'a [f32],
    /// One summand per channel.
    pub shift: &'a [f32],
    /// Activation.
    pub act: Act,
    /// What a value is stored as, if that is a code: `round(y·code[0]) + code[1]`.
    pub code: [f32; 2],
}

/// Applies the map.
///
/// # Safety
/// Pointers must be valid for `count` pixels of `scale.len()` channels; `isa` must be supported.
pub unsafe fn affine<E: Element, O: Element>(isa: Isa, args: Affine<E, O>) {
    assert_eq!(args.scale.len(), args.shift.len());
    // SAFETY: passed on from the caller.
    unsafe { dispatch(isa, args) }
}

impl<E: Element, O: Element> Body for Affine<'_, E, O> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let c = self.scale.len();
        let mut k = 0;
        while k < c {
            let m = (c - k).min(V::LANES);
            // SAFETY: k + m <= c and all pixels are valid.
            unsafe {
                let a = f32::load_some::<V>(self.scale.as_ptr().add(k), m);
                let b = f32::load_some::<V>(self.shift.as_ptr().add(k), m);
                let [factor, zero] = self.code.map(|x| V::splat(x));
                for i in 0..self.count {
                    let mut v = V::fma(E::load_some::<V>(self.src.0.add(i * self.src.1 + k), m), a, b);
                    if !self.residual.0.is_null() {
                        let r = mapped::<V>(self.stored, self.residual.0, i * self.residual.1 + k, m);
                        v = V::add(v, r);
                    }
                    let mut v = self.act.vector::<V>(v);
                    if O::ELEM == Elem::U8 {
                        v = V::add(V::round(V::mul(v, factor)), zero);
                    }
                    O::store_some::<V>(self.dst.0.add(i * self.dst.1 + k), v, m);
                }
            }
            k += V::LANES;
        }
    }
}

/// Scale and shift per channel from the totals of [`partial_sums`] over `count` pixels:
/// normalise to mean 0 and variance 1 (biased, plus `epsilon`), then `gamma` and `beta`.
pub fn instance_affine(
    count: usize,
    epsilon: f32,
    shift: &[f32],
    sum: &[f64],
    square: &[f64],
    gamma: &[f32],
    beta: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    let n = count.max(1) as f64;
    (0..shift.len())
        .map(|c| {
            let offset = sum[c] / n;
            let mean = shift[c] as f64 + offset;
            let variance = (square[c] / n - offset * offset).max(0.0);
            let scale = gamma[c] as f64 / (variance + epsilon as f64).sqrt();
            (scale as f32, (beta[c] as f64 - mean * scale) as f32)
        })
        .unzip()
}

/// Number of items of [`partial_sums`] for one batch entry of `grid`.
pub fn chunks(grid: &Grid) -> usize {
    grid.volume().div_ceil(CHUNK)
}
