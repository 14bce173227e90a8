//! Comparisons of arrays, with a message that says where they differ.

/// Largest difference relative to the largest magnitude of `want`.
pub fn largest_error(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len(), "as many values");
    let scale = want.iter().fold(1e-6f32, |m, x| m.max(x.abs()));
    // `max` would pass over NaN.
    let most = got.iter().zip(want).map(|(x, y)| (x - y).abs());
    most.fold(0f32, |m, d| if d.is_nan() { f32::INFINITY } else { m.max(d) }) / scale
}

/// Euclidean norm of the difference relative to that of `want`.
pub fn relative_error(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len(), "as many values");
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&mut got.iter().zip(want).map(|(x, y)| *x as f64 - *y as f64));
    difference / norm(&mut want.iter().map(|&x| x as f64)).max(1e-30)
}

/// Fails where the Euclidean error relative to `want` is above `most`, or is no number.
#[track_caller]
pub fn assert_close(got: &[f32], want: &[f32], most: f64, what: &str) {
    let error = relative_error(got, want);
    if error.is_nan() || error > most {
        let by_difference = |a: &usize, b: &usize| {
            let d = |i: usize| (got[i] - want[i]).abs();
            d(*a).total_cmp(&d(*b))
        };
        let worst = (0..got.len()).max_by(by_difference).unwrap_or(0);
        panic!(
            "{what}: relative error {error:.2e}, at most {most:.0e} allowed; most at [{worst}]: {} instead of {}",
            got[worst], want[worst]
        );
    }
}

/// Fails where one value has other bits.
#[track_caller]
pub fn assert_same_bits(got: &[f32], want: &[f32], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}: as many values");
    let differs = |i: &usize| got[*i].to_bits() != want[*i].to_bits();
    if let Some(first) = (0..got.len()).find(differs) {
        let count = (0..got.len()).filter(differs).count();
        panic!(
            "{what}: {count} of {} values have other bits, first [{first}]: {} instead of {}",
            got.len(),
            got[first],
            want[first]
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_relative_and_see_nan() {
        assert_eq!(largest_error(&[1.0, 2.5], &[1.0, 2.0]), 0.25);
        assert_eq!(relative_error(&[3.0, 0.0], &[3.0, 4.0]), 0.8);
        assert_eq!(largest_error(&[f32::NAN, 1.0], &[1.0, 1.0]), f32::INFINITY);
        assert!(relative_error(&[f32::NAN], &[1.0]).is_nan());
    }

    #[test]
    #[should_panic(expected = "most at [1]: 2 instead of 1")]
    fn what_is_too_far_fails() {
        assert_close(&[1.0, 2.0], &[1.0, 1.0], 0.1, "case");
    }

    #[test]
    #[should_panic(expected = "relative error NaN")]
    fn a_nan_is_not_close() {
        assert_close(&[f32::NAN], &[1.0], 0.1, "case");
    }

    #[test]
    #[should_panic(expected = "1 of 2 values have other bits, first [0]: 0 instead of -0")]
    fn zeros_of_other_sign_have_other_bits() {
        assert_same_bits(&[0.0, 1.0], &[-0.0, 1.0], "case");
    }
}
