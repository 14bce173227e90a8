//! Sums over the pixels of a value.

use crate::machine::{Machine, pixels_per_item};
use ampoule_runtime::run::norm::partial_sums;

/// Sums of the channels of dense pixels.
pub(crate) fn channel_sums(on: &Machine, values: &[f32], channels: usize) -> Vec<f64> {
    let per = pixels_per_item(channels);
    let items = (values.len() / channels.max(1)).div_ceil(per);
    let mut partial = vec![0f64; items * channels];
    let (zeros, cpu) = (vec![0f32; channels], on.cpu());
    on.pool.chunks(items, (&mut partial, channels), |i, sums| {
        let mut squares = vec![0f64; channels];
        let own = &values[i * per * channels..values.len().min((i + 1) * per * channels)];
        partial_sums(cpu, own, &zeros, sums, &mut squares);
    });
    (0..channels).map(|c| partial.iter().skip(c).step_by(channels).sum()).collect()
}
