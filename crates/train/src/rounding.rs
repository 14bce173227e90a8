//! Rounding of simulated quantization.

/// Largest quantized weight.
pub(crate) const LAST_WEIGHT: f32 = 127.0;

/// The nearest integer, ties to even, of a value below 2²¹; larger ones are taken for that. Without the processor's
/// own instruction, which the smallest of them lacks.
pub(crate) fn nearest(x: f32) -> f32 {
    const MOST: f32 = (1 << 21) as f32;
    // Sums of this size have no digits behind the point.
    const WHOLE: f32 = (3 << 22) as f32;
    (x.clamp(-MOST, MOST) + WHOLE) - WHOLE
}

/// A weight as a signed byte.
pub(crate) fn quantize(w: f32, scale: f32) -> f32 {
    nearest(w / scale).clamp(-LAST_WEIGHT, LAST_WEIGHT)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn ties_go_to_even() {
        for (x, y) in [(0.5, 0.0), (1.5, 2.0), (-2.5, -2.0), (-0.49, 0.0), (254.5, 254.0), (1e9, 2_097_152.0)]
        {
            assert_eq!(nearest(x), y, "{x}");
        }
        assert!((0..4000).map(|i| i as f32 * 0.37 - 700.0).all(|x| nearest(x) == x.round_ties_even()));
        assert!(nearest(f32::NAN).is_nan());
    }
}
