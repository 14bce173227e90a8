//! Per-channel statistics and per-channel affine maps: the two passes of instance normalisation.
//!
//! Sums are taken of values shifted by the channel's first value, in float32 over short blocks and
//! in float64 across blocks, so a volume with a large mean loses nothing (the shifted form of the
//! two-sum variance; see Chan, Golub and LeVeque, 1983).

use crate::act::Act;
use crate::operation::Operation;
use crate::simd::load_dequantized;
use crate::simd::{Body, Vector, dispatch};
use crate::{Elem, Element, Features, Grid};

/// Pixels whose shifted sums are added up in float32 before they join the float64 totals.
const BLOCK: usize = 64;

/// Pixels per item of [`partial_sums`] at most; fixed for a shape, so that totals do not depend on the thread count.
const CHUNK: usize = 8192;

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
        isa: Features,
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
    isa: Features,
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
    const OPERATION: Operation = Operation::ChannelSums;
    const BF16: bool = E::ELEM.is_bf16();
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
    /// How the residual is stored; scale and offset that dequantize it.
    pub stored: (Elem, [f32; 2]),
    /// Pixels.
    pub count: usize,
    /// One factor per channel.
    pub scale: &'a [f32],
    /// One summand per channel.
    pub shift: &'a [f32],
    /// Activation.
    pub act: Act,
    /// Inverse scale and zero point of a quantized output: `y·output[0] + output[1]`, rounded to nearest even. Where activation
    /// and residual allow, factors and summands are multiplied out once, before.
    pub output: [f32; 2],
}

/// Applies the map.
///
/// # Safety
/// Pointers must be valid for `count` pixels of `scale.len()` channels; `isa` must be supported.
pub unsafe fn affine<E: Element, O: Element>(isa: Features, args: Affine<E, O>) {
    assert_eq!(args.scale.len(), args.shift.len());
    // SAFETY: passed on from the caller.
    unsafe { dispatch(isa, args) }
}

/// How an output is made of what the fused multiply-add gives.
mod way {
    /// Residual, activation and quantization one after.
    pub const GENERAL: u8 = 0;
    /// Quantized: the map goes straight to quantized values.
    pub const CODE: u8 = 1;
    /// Quantized after a leaky ReLU: the larger of two such maps.
    pub const LEAKY: u8 = 2;
    /// Quantized after a leaky ReLU of a sum with a quantized residual.
    pub const ADDED: u8 = 3;
}

/// The maps of some channels in registers.
struct Maps<V: Vector> {
    /// Factor and summand.
    own: [V::V; 2],
    /// Those of negative values; for [`way::ADDED`] the slope and the zero point.
    below: [V::V; 2],
    /// Factor and summand of the residual.
    residual: [f32; 2],
}

impl<E: Element, O: Element> Body for Affine<'_, E, O> {
    const OPERATION: Operation = Operation::Affine;
    const BF16: bool = E::ELEM.is_bf16() || O::ELEM.is_bf16();
    // Also of floats, which may be between two integer layers.
    const FUSED: bool = true;
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: passed on from the caller.
        unsafe {
            // A block that is known to be left out is not compiled for types it is not meant for.
            if const { O::ELEM.is_u8() } {
                let slope = match self.act {
                    Act::None => Some(1.0),
                    Act::Leaky(s) if (0.0..=1.0).contains(&s) => Some(s),
                    Act::Leaky(_) | Act::Clamp(..) => None,
                };
                match (slope, self.residual.0.is_null()) {
                    (Some(s), true) if s == 1.0 => return self.all::<V, { way::CODE }>(s),
                    (Some(s), true) => return self.all::<V, { way::LEAKY }>(s),
                    (Some(s), false) if self.stored.0 == Elem::U8 => return self.all::<V, { way::ADDED }>(s),
                    (Some(_), false) | (None, _) => {}
                }
            }
            self.all::<V, { way::GENERAL }>(1.0)
        }
    }
}

impl<E: Element, O: Element> Affine<'_, E, O> {
    /// All channels; those of negative values are multiplied by `slope`.
    /// Safety: as for [`affine`]; the CPU must have the features of `V`.
    #[inline(always)]
    unsafe fn all<V: Vector, const WAY: u8>(&self, slope: f32) {
        let c = self.scale.len();
        let mut k = 0;
        while k < c {
            // SAFETY: k + m <= c and all pixels are valid.
            unsafe {
                if const { V::LANES == 1 } || k + V::LANES <= c {
                    self.channels::<V, WAY, true>(k, V::LANES, slope);
                } else {
                    self.channels::<V, WAY, false>(k, c - k, slope);
                }
            }
            k += V::LANES;
        }
    }

    /// `m` channels from `k` on of all pixels; as many as a register holds when `FULL`.
    /// Safety: as for [`Affine::all`]; the channels must exist.
    #[inline(always)]
    unsafe fn channels<V: Vector, const WAY: u8, const FULL: bool>(&self, k: usize, m: usize, slope: f32) {
        // SAFETY: passed on from the caller.
        unsafe {
            let a = f32::load_some::<V>(self.scale.as_ptr().add(k), m);
            let b = f32::load_some::<V>(self.shift.as_ptr().add(k), m);
            let (factor, zero, slope) = (V::splat(self.output[0]), V::splat(self.output[1]), V::splat(slope));
            let [r, s] = self.stored.1;
            let maps = match WAY {
                way::CODE | way::LEAKY => Maps::<V> {
                    own: [V::mul(a, factor), V::fma(b, factor, zero)],
                    below: [V::mul(V::mul(a, slope), factor), V::fma(V::mul(b, slope), factor, zero)],
                    residual: [r, s],
                },
                way::ADDED => Maps::<V> {
                    own: [V::mul(a, factor), V::mul(b, factor)],
                    below: [slope, zero],
                    residual: [r * self.output[0], s * self.output[0]],
                },
                _ => Maps::<V> { own: [a, b], below: [factor, zero], residual: [r, s] },
            };
            let mut i = 0;
            while i + 4 <= self.count {
                self.pixels::<V, WAY, FULL, 4>(&maps, [i, k], m);
                i += 4;
            }
            while i < self.count {
                self.pixels::<V, WAY, FULL, 1>(&maps, [i, k], m);
                i += 1;
            }
        }
    }

    /// `m` channels from `k` on of `N` pixels from `i` on, side by side.
    /// Safety: as for [`Affine::channels`]; the pixels must exist.
    #[inline(always)]
    unsafe fn pixels<V: Vector, const WAY: u8, const FULL: bool, const N: usize>(
        &self,
        maps: &Maps<V>,
        [i, k]: [usize; 2],
        m: usize,
    ) {
        let [a, b] = maps.own;
        let [c, d] = maps.below;
        // SAFETY: passed on from the caller.
        unsafe {
            let mut v = [a; N];
            for (j, v) in v.iter_mut().enumerate() {
                let p = self.src.0.add((i + j) * self.src.1 + k);
                let x = if FULL { E::load::<V>(p) } else { E::load_part::<V>(p, m) };
                *v = V::fma(x, a, b);
                if WAY == way::LEAKY {
                    *v = V::max(*v, V::fma(x, c, d));
                }
            }
            if WAY == way::ADDED || (WAY == way::GENERAL && !self.residual.0.is_null()) {
                for (j, v) in v.iter_mut().enumerate() {
                    let at = (i + j) * self.residual.1 + k;
                    *v = V::add(
                        *v,
                        load_dequantized::<V>((self.stored.0, maps.residual), self.residual.0, at, m),
                    );
                }
            }
            for v in &mut v {
                if WAY == way::ADDED {
                    *v = V::max(V::add(*v, d), V::fma(*v, c, d));
                }
                if WAY == way::GENERAL {
                    *v = self.act.vector::<V>(*v);
                    if O::ELEM == Elem::U8 {
                        *v = V::add(V::round(V::mul(*v, c)), d);
                    }
                }
            }
            for (j, v) in v.into_iter().enumerate() {
                let p = self.dst.0.add((i + j) * self.dst.1 + k);
                if FULL {
                    O::store::<V>(p, v);
                } else {
                    O::store_part::<V>(p, v, m);
                }
            }
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

/// Pixels per item of [`partial_sums`] for one batch entry of `grid`: fewer of a small image, so that threads
/// have something to share.
pub fn chunk(grid: &Grid) -> usize {
    if grid.volume() < 4 * CHUNK { CHUNK / 8 } else { CHUNK }
}

/// Values of an item of [`affine`] at most, all channels of its pixels: they stay in a core's cache.
const VALUES: usize = 16 << 10;

/// Pixels per item of [`affine`] for `channels` channels.
pub fn pixels(channels: usize) -> usize {
    (VALUES / channels.max(1)).clamp(16, CHUNK)
}
