//! Numbers as they are written.

/// `v` rounded to multiples of `1 / per`.
pub fn round_to(v: f64, per: f64) -> f64 {
    (v * per).round() / per
}
