//! Sums that a compiler can hold in vector registers: in lanes, which are added at the end.

/// Lanes of a sum.
const LANES: usize = 8;

/// `Σ f(aᵢ, bᵢ)` of as many `a` as `b`.
pub(crate) fn sum_of<T: Copy>(a: &[T], b: &[T], f: impl Fn(T, T) -> f64) -> f64 {
    assert_eq!(a.len(), b.len(), "sums of pairs");
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0f64; LANES];
    for (a, b) in a.iter().zip(b) {
        for k in 0..LANES {
            sums[k] += f(a[k], b[k]);
        }
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| f(*a, *b)).sum::<f64>()
}

/// `a · b`.
pub(crate) fn dot<T: Copy + Into<f64>>(a: &[T], b: &[T]) -> f64 {
    sum_of(a, b, |a, b| a.into() * b.into())
}

/// The nearest integer from -127 to 127, ties to even: the sum has no bits for a fraction. A call of the library's rounding costs
/// more than all else where it is done for every weight.
pub(crate) fn nearest_int8(x: f32) -> f32 {
    const NO_FRACTION: f32 = 12_582_912.0;
    (x.clamp(-127.0, 127.0) + NO_FRACTION) - NO_FRACTION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_in_lanes_are_those_in_order() {
        let a: Vec<f32> = (0..21).map(|i| i as f32 - 7.5).collect();
        let b: Vec<f32> = (0..21).map(|i| 0.25 * i as f32).collect();
        for n in [0, 1, 8, 21] {
            let plain: f64 = a[..n].iter().zip(&b[..n]).map(|(a, b)| *a as f64 * *b as f64).sum();
            assert_eq!(dot(&a[..n], &b[..n]), plain, "{n}");
        }
    }

    #[test]
    fn the_nearest_integer_is_that_of_the_library() {
        for i in -60_000..60_000 {
            let x = i as f32 / 400.0;
            assert_eq!(nearest_int8(x), x.round_ties_even().clamp(-127.0, 127.0), "{x}");
        }
        assert!(nearest_int8(f32::NAN).is_nan());
        assert_eq!(nearest_int8(f32::NEG_INFINITY), -127.0);
    }
}
