//! `y = curve(x·scale + shift)` per channel and its way back: normalisation of every kind, with the
//! activation after it, in one pass forward and two back.

use super::Curve;
use crate::operation::Operation;
use crate::simd::{Body, Vector, dispatch};
use crate::{Element, Features};

/// Values per channel of `y = curve(x·scale + shift)`, over `count` pixels of `scale.len()` channels that
/// lie densely.
#[derive(Clone, Copy, Debug)]
pub struct Map<'a> {
    /// Input.
    pub x: *const f32,
    /// Pixels.
    pub count: usize,
    /// Factor of each channel.
    pub scale: &'a [f32],
    /// Summand of each channel.
    pub shift: &'a [f32],
    /// Activation.
    pub curve: Curve,
}

struct Forward<'a>(Map<'a>, *mut f32);

/// Computes `y`.
///
/// # Safety
/// `x` and `y` must be valid for the pixels, equal or disjoint; `isa` must be supported.
pub unsafe fn forward(isa: Features, map: Map, y: *mut f32) {
    assert_eq!(map.scale.len(), map.shift.len());
    // SAFETY: passed on from the caller.
    unsafe { dispatch(isa, Forward(map, y)) }
}

impl Body for Forward<'_> {
    const OPERATION: Operation = Operation::MapForward;
    const BF16: bool = false;
    // Training for INT8 has the bits of the engine's maps.
    const FUSED: bool = true;
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Forward(map, y) = self;
        let c = map.scale.len();
        for k in (0..c).step_by(V::LANES) {
            let m = (c - k).min(V::LANES);
            // SAFETY: k + m <= c and the pixels are valid.
            unsafe {
                let a = f32::load_some::<V>(map.scale.as_ptr().add(k), m);
                let b = f32::load_some::<V>(map.shift.as_ptr().add(k), m);
                for i in 0..map.count {
                    let v = V::fma(f32::load_some::<V>(map.x.add(i * c + k), m), a, b);
                    f32::store_some::<V>(y.add(i * c + k), map.curve.value::<V>(v), m);
                }
            }
        }
    }
}

/// Pixels whose sums are taken in float32 before they join the float64 totals.
const BLOCK: usize = 256;

struct Sums<'a> {
    map: Map<'a>,
    dy: *const f32,
    sums: &'a mut [f64],
    products: &'a mut [f64],
}

/// Adds per channel, with `g = dy·curve'(x·scale + shift)`, `Σ g` to `sums` and `Σ g·x` to `products`.
///
/// # Safety
/// `x` and `dy` must be readable for the pixels; `isa` must be supported.
pub unsafe fn sums(isa: Features, map: Map, dy: *const f32, sums: &mut [f64], products: &mut [f64]) {
    assert!(map.scale.len() == map.shift.len() && sums.len() == map.scale.len());
    assert_eq!(products.len(), sums.len());
    // SAFETY: passed on from the caller.
    unsafe { dispatch(isa, Sums { map, dy, sums, products }) }
}

impl Body for Sums<'_> {
    const OPERATION: Operation = Operation::MapSums;
    const BF16: bool = false;
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Sums { map, dy, sums, products } = self;
        let c = map.scale.len();
        let mut lanes = [0f32; 16];
        for k in (0..c).step_by(V::LANES) {
            let m = (c - k).min(V::LANES);
            // SAFETY: k + m <= c and the pixels are readable; `lanes` holds a register.
            unsafe {
                let a = f32::load_some::<V>(map.scale.as_ptr().add(k), m);
                let b = f32::load_some::<V>(map.shift.as_ptr().add(k), m);
                for first in (0..map.count).step_by(BLOCK) {
                    let mut s = [V::splat(0.0); 2];
                    let mut p = [V::splat(0.0); 2];
                    for i in first..(first + BLOCK).min(map.count) {
                        let x = f32::load_some::<V>(map.x.add(i * c + k), m);
                        let slope = map.curve.slope::<V>(V::fma(x, a, b));
                        let g = V::mul(f32::load_some::<V>(dy.add(i * c + k), m), slope);
                        s[i % 2] = V::add(s[i % 2], g);
                        p[i % 2] = V::fma(g, x, p[i % 2]);
                    }
                    for (total, parts) in [(&mut *sums, s), (&mut *products, p)] {
                        V::store(lanes.as_mut_ptr(), V::add(parts[0], parts[1]));
                        for j in 0..m {
                            total[k + j] += lanes[j] as f64;
                        }
                    }
                }
            }
        }
    }
}

/// The way back to the input: `dx = a·g + b·x + c` per channel, with `g` as in [`sums`].
#[derive(Clone, Copy, Debug)]
pub struct Back<'a> {
    /// The map.
    pub map: Map<'a>,
    /// Gradient of its output.
    pub dy: *const f32,
    /// Gradient of its input; may be `dy` itself.
    pub dx: *mut f32,
    /// Whether `dx` is added to.
    pub add: bool,
    /// Factors of `g`, factors of `x`, summands: of each channel.
    pub terms: [&'a [f32]; 3],
}

/// Computes `dx`.
///
/// # Safety
/// The pointers must be valid for the pixels, `dx` equal to `dy` or apart from everything; `isa` must be
/// supported.
pub unsafe fn back(isa: Features, args: Back) {
    assert!(args.terms.iter().all(|t| t.len() == args.map.scale.len()));
    // SAFETY: passed on from the caller.
    unsafe { dispatch(isa, args) }
}

impl Body for Back<'_> {
    const OPERATION: Operation = Operation::MapBackward;
    const BF16: bool = false;
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Back { map, dy, dx, add, terms } = self;
        let c = map.scale.len();
        for k in (0..c).step_by(V::LANES) {
            let m = (c - k).min(V::LANES);
            // SAFETY: k + m <= c and the pixels are valid.
            unsafe {
                let a = f32::load_some::<V>(map.scale.as_ptr().add(k), m);
                let b = f32::load_some::<V>(map.shift.as_ptr().add(k), m);
                let [ta, tb, tc] = terms;
                let ta = f32::load_some::<V>(ta.as_ptr().add(k), m);
                let tb = f32::load_some::<V>(tb.as_ptr().add(k), m);
                let tc = f32::load_some::<V>(tc.as_ptr().add(k), m);
                for i in 0..map.count {
                    let x = f32::load_some::<V>(map.x.add(i * c + k), m);
                    let slope = map.curve.slope::<V>(V::fma(x, a, b));
                    let g = V::mul(f32::load_some::<V>(dy.add(i * c + k), m), slope);
                    let mut v = V::fma(g, ta, V::fma(x, tb, tc));
                    let at = dx.add(i * c + k);
                    if add {
                        v = V::add(v, f32::load_some::<V>(at, m));
                    }
                    f32::store_some::<V>(at, v, m);
                }
            }
        }
    }
}

struct Accumulate {
    dst: *mut f32,
    src: *const f32,
    factor: f32,
    n: usize,
}

/// `dst[i] += factor · src[i]` for `n` values.
///
/// # Safety
/// Both must be valid for `n` values and disjoint; `isa` must be supported.
pub unsafe fn accumulate(isa: Features, dst: *mut f32, src: *const f32, factor: f32, n: usize) {
    // SAFETY: passed on from the caller.
    unsafe { dispatch(isa, Accumulate { dst, src, factor, n }) }
}

impl Body for Accumulate {
    const OPERATION: Operation = Operation::Accumulate;
    const BF16: bool = false;
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        for i in (0..self.n).step_by(V::LANES) {
            let m = (self.n - i).min(V::LANES);
            // SAFETY: i + m <= n.
            unsafe {
                let at = self.dst.add(i);
                let s = f32::load_some::<V>(self.src.add(i), m);
                let v = V::fma(s, V::splat(self.factor), f32::load_some::<V>(at, m));
                f32::store_some::<V>(at, v, m);
            }
        }
    }
}
