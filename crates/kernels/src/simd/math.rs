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

/// [`sigmoid`] with a true division: the same bits in every backend.
#[inline(always)]
pub(super) unsafe fn divided_sigmoid<V: Vector>(x: V::V) -> V::V {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe { V::div(V::splat(1.0), denominator::<V>(x)) }
}

/// For `N` registers side by side: `x·sigmoid(a·x) = x/2·(1 + tanh(a·x/2))` by a quotient of polynomials, the same bits in every backend: fewer operations
/// than [`divided_sigmoid`], with an error below 5e-7·|x|. `scripts/fit_swish.py` makes the
/// coefficients. NaN stays NaN.
#[inline(always)]
pub(super) unsafe fn divided_swish<V: Vector, const N: usize>(x: [V::V; N], a: f32) -> [V::V; N] {
    const TOP: [f32; 4] = [8.530_446e-8, 9.072_919e-5, 0.016_101_366, 0.499_999_88];
    const BOTTOM: [f32; 5] = [8.976_062e-10, 3.624_372_8e-6, 0.001_476_245_1, 0.115_535_595, 1.0];
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        // Loops and not closures, which would not have the features of the caller.
        let (mut y, mut s) = (x, x);
        if a != 1.0 {
            for y in &mut y {
                *y = V::mul(*y, V::splat(a));
            }
        }
        for i in 0..N {
            // tanh is flat beyond. The second operand is returned for NaN.
            y[i] = V::max(V::splat(-17.0), V::min(V::splat(17.0), y[i]));
            s[i] = V::mul(y[i], y[i]);
        }
        let (mut top, mut bottom) = ([V::splat(TOP[0]); N], [V::splat(BOTTOM[0]); N]);
        for c in &BOTTOM[1..] {
            for i in 0..N {
                bottom[i] = V::fma(bottom[i], s[i], V::splat(*c));
            }
        }
        for c in &TOP[1..] {
            for i in 0..N {
                top[i] = V::fma(top[i], s[i], V::splat(*c));
            }
        }
        for i in 0..N {
            let t = V::div(V::mul(top[i], y[i]), bottom[i]);
            let half = V::mul(x[i], V::splat(0.5));
            y[i] = V::fma(half, t, half);
        }
        y
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Scalar;

    #[test]
    fn the_quotient_is_near_swish() {
        for a in [1.0f32, 1.7] {
            for i in -100_000..=100_000 {
                let x = i as f32 / 1000.0;
                // SAFETY: scalar code needs no features.
                let got = unsafe { divided_swish::<Scalar, 1>([x], a) }[0] as f64;
                let want = x as f64 / (1.0 + (-(x * a) as f64).exp());
                assert!((got - want).abs() <= 5e-7 * x.abs() as f64, "{x}: {got} instead of {want}");
            }
        }
        // SAFETY: as above.
        assert!(unsafe { divided_swish::<Scalar, 1>([f32::NAN], 1.0) }[0].is_nan());
    }
}
