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

/// `e^x` for `x` up to 0, as a softmax needs it: 0 below -87.3. NaN stays NaN.
#[inline(always)]
pub(super) unsafe fn exp_below<V: Vector>(x: V::V) -> V::V {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        let low = V::splat(-87.33);
        // The second operand is returned for NaN.
        let clamped = V::max(low, x);
        let n = V::round(V::mul(clamped, V::splat(std::f32::consts::LOG2_E)));
        // As in `exp`.
        let r = V::fma(n, V::splat(-0.693_359_4), clamped);
        let r = V::fma(n, V::splat(2.121_944_4e-4), r);
        let mut p = V::splat(1.0 / 5040.0);
        for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            p = V::fma(p, r, V::splat(c));
        }
        V::select_lt(x, low, V::splat(0.0), V::mul(p, V::pow2(n)))
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
/// than [`divided_sigmoid`], with an error below 5e-7·|x|. `scripts/fit_quotients.py` makes the
/// coefficients. NaN stays NaN.
#[inline(always)]
pub(super) unsafe fn divided_swish<V: Vector, const N: usize>(x: [V::V; N], a: f32) -> [V::V; N] {
    let Quotient(numerator, denominator) = &TANH;
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
        let (mut top, mut bottom) = ([V::splat(numerator[0]); N], [V::splat(denominator[0]); N]);
        for c in &denominator[1..] {
            for i in 0..N {
                bottom[i] = V::fma(bottom[i], s[i], V::splat(*c));
            }
        }
        for c in &numerator[1..] {
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

/// `tanh x` by the quotient of [`divided_swish`], with a relative error below 1e-6; 1 from 8.5 on. NaN stays NaN.
#[inline(always)]
pub(super) unsafe fn tanh<V: Vector>(x: V::V) -> V::V {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        // The second operand is returned for NaN.
        let y = V::max(V::splat(-17.0), V::min(V::splat(17.0), V::add(x, x)));
        let [top, bottom] = fraction::<V, 4, 5>(V::mul(y, y), &TANH);
        V::mul(y, V::div(top, bottom))
    }
}

/// `erf x` by a quotient of polynomials, with an error below 4e-7; flat beyond 4, where it is 1 to 2e-8. NaN stays NaN.
/// `scripts/fit_quotients.py` makes the coefficients.
#[inline(always)]
pub(super) unsafe fn erf<V: Vector>(x: V::V) -> V::V {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        let x = erf_range::<V>(x);
        let [top, bottom] = fraction::<V, 6, 6>(V::mul(x, x), &ERF);
        V::mul(x, V::mul(top, V::reciprocal(bottom)))
    }
}

/// [`erf`] of `N` registers side by side, the same bits in every backend.
#[inline(always)]
pub(super) unsafe fn divided_erf<V: Vector, const N: usize>(mut x: [V::V; N]) -> [V::V; N] {
    let Quotient(numerator, denominator) = &ERF;
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        // Loops and not closures, which would not have the features of the caller.
        let mut s = x;
        for i in 0..N {
            x[i] = erf_range::<V>(x[i]);
            s[i] = V::mul(x[i], x[i]);
        }
        let (mut top, mut bottom) = ([V::splat(numerator[0]); N], [V::splat(denominator[0]); N]);
        for (n, d) in numerator[1..].iter().zip(&denominator[1..]) {
            for i in 0..N {
                bottom[i] = V::fma(bottom[i], s[i], V::splat(*d));
                top[i] = V::fma(top[i], s[i], V::splat(*n));
            }
        }
        for i in 0..N {
            x[i] = V::mul(x[i], V::div(top[i], bottom[i]));
        }
        x
    }
}

/// `x` where the error function is not flat.
#[inline(always)]
unsafe fn erf_range<V: Vector>(x: V::V) -> V::V {
    // SAFETY: register arithmetic only; the caller has the features. The second operand is returned for NaN.
    unsafe { V::max(V::splat(-4.0), V::min(V::splat(4.0), x)) }
}

/// Coefficients above and below, highest first.
struct Quotient<const P: usize, const Q: usize>([f32; P], [f32; Q]);

/// `tanh(x/2) / x` as a function of `x²`, for `|x|` up to 17.
const TANH: Quotient<4, 5> = Quotient(
    [8.530_446e-8, 9.072_919e-5, 0.016_101_366, 0.499_999_88],
    [8.976_062e-10, 3.624_372_8e-6, 0.001_476_245_1, 0.115_535_595, 1.0],
);

/// `erf(x) / x` as a function of `x²`, for `|x|` up to 4.
// Fitted, and near 2/√π because that is the slope at 0.
#[allow(clippy::approx_constant)]
const ERF: Quotient<6, 6> = Quotient(
    [1.974_825_4e-6, 2.880_379e-4, 0.004_003_560_6, 0.053_467_23, 0.196_247_2, 1.128_379],
    [3.748_062_6e-5, 0.001_216_335_9, 0.015_444_259, 0.116_475_68, 0.507_250_7, 1.0],
);

/// Numerator and denominator at `s`.
#[inline(always)]
unsafe fn fraction<V: Vector, const P: usize, const Q: usize>(s: V::V, q: &Quotient<P, Q>) -> [V::V; 2] {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        let (mut top, mut bottom) = (V::splat(q.0[0]), V::splat(q.1[0]));
        for c in &q.1[1..] {
            bottom = V::fma(bottom, s, V::splat(*c));
        }
        for c in &q.0[1..] {
            top = V::fma(top, s, V::splat(*c));
        }
        [top, bottom]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::scalar::Single;

    #[test]
    fn the_quotient_is_near_swish() {
        for a in [1.0f32, 1.7] {
            for i in -100_000..=100_000 {
                let x = i as f32 / 1000.0;
                // SAFETY: scalar code needs no features.
                let got = unsafe { divided_swish::<Single<true>, 1>([x], a) }[0] as f64;
                let want = x as f64 / (1.0 + (-(x * a) as f64).exp());
                assert!((got - want).abs() <= 5e-7 * x.abs() as f64, "{x}: {got} instead of {want}");
            }
        }
        // SAFETY: as above.
        assert!(unsafe { divided_swish::<Single<true>, 1>([f32::NAN], 1.0) }[0].is_nan());
    }
}
