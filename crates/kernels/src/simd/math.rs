//! Transcendental functions on vectors, by range reduction and Taylor polynomials.

use super::Vector;

/// `e^x`: `x = n·ln 2 + r` with |r| <= ln 2 / 2, Taylor to degree 7 in `r` (truncation below 1e-8).
#[inline(always)]
pub(super) unsafe fn exp<V: Vector>(x: V::V) -> V::V {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        let (low, high) = (V::splat(-87.33), V::splat(88.72));
        let clamped = V::min(V::max(x, low), high);
        let n = V::round(V::mul(clamped, V::splat(std::f32::consts::LOG2_E)));
        // ln 2 in two parts; the first has trailing zeros, so n times it is exact.
        let r = V::fma(n, V::splat(-0.693_359_4), clamped);
        let r = V::fma(n, V::splat(2.121_944_4e-4), r);
        let mut p = V::splat(1.0 / 5040.0);
        for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            p = V::fma(p, r, V::splat(c));
        }
        // 2^n in two factors, because n may be 128.
        let half = V::round(V::mul(n, V::splat(0.5)));
        let y = V::mul(V::mul(p, V::pow2(half)), V::pow2(V::sub(n, half)));
        let y = V::select_lt(x, low, V::splat(0.0), y);
        let y = V::select_lt(high, x, V::splat(f32::INFINITY), y);
        // NaN compares false both ways: pass it on.
        let ordered = V::select_lt(x, V::splat(f32::INFINITY), y, V::add(x, y));
        V::select_lt(V::splat(88.72), x, V::splat(f32::INFINITY), ordered)
    }
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(super) unsafe fn sigmoid<V: Vector>(x: V::V) -> V::V {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe { V::reciprocal(denominator::<V>(x)) }
}

/// [`sigmoid`] with a true division: the same bits on every tier.
#[inline(always)]
pub(super) unsafe fn divided_sigmoid<V: Vector>(x: V::V) -> V::V {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe { V::div(V::splat(1.0), denominator::<V>(x)) }
}

/// `1 + e^-x`: as [`exp`] without its ends, where the sigmoid is flat. NaN stays NaN.
#[inline(always)]
unsafe fn denominator<V: Vector>(x: V::V) -> V::V {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        // The second operand is returned for NaN.
        let x = V::max(V::splat(-87.0), V::min(V::splat(87.0), x));
        let n = V::round(V::mul(x, V::splat(-std::f32::consts::LOG2_E)));
        // r = -x - n·ln 2.
        let r = V::fma(n, V::splat(-0.693_359_4), V::sub(V::splat(0.0), x));
        let r = V::fma(n, V::splat(2.121_944_4e-4), r);
        let mut p = V::splat(1.0 / 720.0);
        for c in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            p = V::fma(p, r, V::splat(c));
        }
        V::fma(p, V::pow2(n), V::splat(1.0))
    }
}

/// `tanh x`: an odd Taylor polynomial below 0.3, else through `e^(2|x|)`.
#[inline(always)]
pub(super) unsafe fn tanh<V: Vector>(x: V::V) -> V::V {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        let one = V::splat(1.0);
        let a = V::abs(x);
        let e = V::exp(V::min(V::add(a, a), V::splat(40.0)));
        let large = V::sub(one, V::div(V::splat(2.0), V::add(e, one)));
        let large = V::select_lt(x, V::splat(0.0), V::sub(V::splat(0.0), large), large);
        let s = V::mul(x, x);
        let mut p = V::splat(62.0 / 2835.0);
        for c in [-17.0 / 315.0, 2.0 / 15.0, -1.0 / 3.0] {
            p = V::fma(p, s, V::splat(c));
        }
        let small = V::fma(V::mul(p, s), x, x);
        V::select_lt(a, V::splat(0.3), small, large)
    }
}

/// `erf x`: Maclaurin series below 0.5, else formula 7.1.26 of Abramowitz and Stegun.
#[inline(always)]
pub(super) unsafe fn erf<V: Vector>(x: V::V) -> V::V {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        let one = V::splat(1.0);
        let a = V::abs(x);
        let s = V::mul(x, x);
        let mut p = V::splat(-1.0 / 1320.0);
        for c in [1.0 / 216.0, -1.0 / 42.0, 0.1, -1.0 / 3.0, 1.0] {
            p = V::fma(p, s, V::splat(c));
        }
        let small = V::mul(V::mul(x, V::splat(std::f32::consts::FRAC_2_SQRT_PI)), p);
        let t = V::div(one, V::fma(V::splat(0.327_591_1), a, one));
        let mut q = V::splat(1.061_405_4);
        for c in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
            q = V::fma(q, t, V::splat(c));
        }
        let tail = V::mul(V::mul(q, t), V::exp(V::sub(V::splat(0.0), s)));
        let large = V::sub(one, tail);
        let large = V::select_lt(x, V::splat(0.0), V::sub(V::splat(0.0), large), large);
        V::select_lt(a, V::splat(0.5), small, large)
    }
}
