//! Sliding windows over volumes: positions, importance maps, blending, mirroring.

mod accumulator;

use crate::Volume;
pub use accumulator::{Accumulator, Finished, Placed, peak_bytes};

/// Whose conventions to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// nnU-Net: evenly spread, the last window ends at the border; Gaussian about `T/2` cut off at
    /// four standard deviations.
    NnUnet,
    /// MONAI: fixed interval, the last window moved back; Gaussian about `(T-1)/2` with a floor of
    /// 1e-3.
    Monai,
}

/// How windows are laid along an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tiling {
    /// nnU-Net's `compute_steps_for_sliding_window` with `tile_step_size = 1 - overlap`: evenly
    /// spread, halves rounded to even, the last window ends at the border.
    NnUnet {
        /// Share of the window that neighbours have in common at least, 0 to below 1.
        overlap: f64,
    },
    /// MONAI's `dense_patch_slices` as `sliding_window_inference` calls it: a fixed interval of
    /// `int(window·(1 - overlap))`, the last window moved back.
    Monai {
        /// Share of the window that neighbours have in common at least, 0 to below 1.
        overlap: f64,
    },
    /// torchio's `GridSampler` without padding: a fixed interval of `window - overlap`, one more
    /// window at the end.
    TorchIo {
        /// Voxels that neighbours have in common at least.
        overlap: usize,
    },
}

/// Window starts along one axis of `size`, ascending, 0 first. Where `size` is below `window` there
/// is one window, which the caller pads for.
///
/// With `multiple_of` above 1 the starts are rounded down to multiples of it, so that the outputs of a
/// strided network fall on one grid; where that would leave a gap, windows are added. The last window
/// then ends at `size` if `size - window` is such a multiple;
/// otherwise fewer than `multiple_of` voxels are left at the end.
pub fn positions(tiling: Tiling, size: usize, window: usize, multiple_of: usize) -> Vec<usize> {
    let span = size.saturating_sub(window);
    let list = match tiling {
        Tiling::NnUnet { overlap } => evenly(span, window as f64 * (1.0 - overlap)),
        Tiling::Monai { overlap } => at_interval(span, (window as f64 * (1.0 - overlap)) as usize),
        Tiling::TorchIo { overlap } => at_interval(span, window.saturating_sub(overlap)),
    };
    if multiple_of > 1 { aligned(&list, window, multiple_of) } else { list }
}

fn evenly(span: usize, step: f64) -> Vec<usize> {
    // nnU-Net asserts a step above 0; below a voxel it would only repeat windows.
    let count = (span as f64 / step.max(1.0)).ceil() as usize + 1;
    let actual = if count > 1 { span as f64 / (count - 1) as f64 } else { 0.0 };
    (0..count).map(|i| (i as f64 * actual).round_ties_even() as usize).collect()
}

fn at_interval(span: usize, interval: usize) -> Vec<usize> {
    let mut list: Vec<usize> = (0..span).step_by(interval.max(1)).collect();
    list.push(span);
    list
}

fn aligned(starts: &[usize], window: usize, multiple: usize) -> Vec<usize> {
    let mut list: Vec<usize> = Vec::with_capacity(starts.len());
    for &start in starts {
        let start = start / multiple * multiple;
        match list.last() {
            Some(&last) if last == start => {}
            // The longest aligned step without a gap; a window below `multiple` cannot do better.
            Some(&last) => {
                let step = (window / multiple * multiple).max(multiple);
                list.extend((last + step..start).step_by(step));
                list.push(start);
            }
            None => list.push(start),
        }
    }
    list
}

/// Window starts along one axis of `size` (at least `window`), neighbours overlapping by `overlap`
/// (0 to below 1) of the window.
pub fn starts(style: Style, size: usize, window: usize, overlap: f64) -> Vec<usize> {
    let tiling = match style {
        Style::NnUnet => Tiling::NnUnet { overlap },
        Style::Monai => Tiling::Monai { overlap },
    };
    positions(tiling, size, window, 1)
}

/// How much the voxels of a window count where windows overlap.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weights {
    /// nnU-Net's `compute_gaussian`: about voxel `n/2`, cut off at four standard deviations; weights of
    /// 0 become the least other weight.
    NnUnet {
        /// Standard deviation as a share of the window; nnU-Net's is 1/8.
        sigma: f64,
        /// The largest weight; 10 in nnU-Net's predictor.
        peak: f64,
        /// Rounded to float16, as nnU-Net's predictor keeps them.
        half: bool,
    },
    /// MONAI's `compute_importance_map("gaussian")`: about `(n - 1)/2`, at least 1e-3.
    Monai {
        /// Standard deviation as a share of the window; MONAI's is 0.125.
        sigma: f64,
    },
    /// All alike: MONAI's `constant`, torchio's `average`.
    Constant,
    /// torchio's `hann`: the product of Hann windows of `n + 2`, without their zero ends.
    Hann,
}

/// The weights along one axis of `n` voxels, before any floor.
fn profile(weights: Weights, n: usize) -> Vec<f64> {
    let gaussian = |d: f64, sigma: f64| {
        let sigma = sigma * n as f64;
        if sigma > 0.0 { libm::exp(-0.5 * (d / sigma).powi(2)) } else { (d == 0.0) as u8 as f64 }
    };
    let at = |i: usize| match weights {
        Weights::NnUnet { sigma, .. } => {
            // scipy's gaussian_filter of a delta, border zero.
            let radius = (4.0 * sigma * n as f64 + 0.5) as i64;
            let d = i as i64 - (n / 2) as i64;
            if d.abs() > radius { 0.0 } else { gaussian(d as f64, sigma) }
        }
        Weights::Monai { sigma } => gaussian(i as f64 - (n as f64 - 1.0) / 2.0, sigma),
        Weights::Constant => 1.0,
        Weights::Hann => {
            let angle = std::f64::consts::TAU * (i + 1) as f64 / (n + 1) as f64;
            0.5 - 0.5 * libm::cos(angle)
        }
    };
    (0..n).map(at).collect()
}

/// The map of weights of a window. All are positive unless a float overflows.
pub fn weights(weights: Weights, window: [usize; 3]) -> Volume<f32> {
    let g = window.map(|n| profile(weights, n));
    let peak = if let Weights::NnUnet { peak, .. } = weights { peak } else { 1.0 };
    let mut map = Volume::filled(window, 0f32);
    for z in 0..window[2] {
        for y in 0..window[1] {
            for x in 0..window[0] {
                let at = map.index(x, y, z);
                map.data[at] = (g[0][x] * g[1][y] * g[2][z] * peak) as f32;
            }
        }
    }
    match weights {
        Weights::NnUnet { half, .. } => {
            if half {
                map.data.iter_mut().for_each(|v| *v = to_half(*v));
            }
            let least = map.data.iter().copied().filter(|&v| v > 0.0).fold(f32::INFINITY, f32::min);
            map.data.iter_mut().filter(|v| **v == 0.0).for_each(|v| *v = least);
        }
        Weights::Monai { .. } => {
            let least = map.data.iter().copied().fold(f32::INFINITY, f32::min).max(1e-3);
            map.data.iter_mut().for_each(|v| *v = v.max(least));
        }
        Weights::Constant | Weights::Hann => {}
    }
    map
}

/// A number between 0 and float16's largest, rounded to float16, halves to even.
fn to_half(v: f32) -> f32 {
    if v < 6.103_515_6e-5 {
        // Below 2^-14 float16 has steps of 2^-24.
        return (v * 16_777_216.0).round_ties_even() / 16_777_216.0;
    }
    let bits = v.to_bits();
    f32::from_bits((bits + 0xfff + (bits >> 13 & 1)) & !0x1fff)
}

/// The importance map of a window, peak 1 (up to the style's rounding), all weights positive.
pub fn importance(style: Style, window: [usize; 3]) -> Volume<f32> {
    weights(
        match style {
            Style::NnUnet => Weights::NnUnet { sigma: 0.125, peak: 1.0, half: false },
            Style::Monai => Weights::Monai { sigma: 0.125 },
        },
        window,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_everything() {
        for style in [Style::NnUnet, Style::Monai] {
            for (size, window, overlap) in
                [(256, 128, 0.5), (129, 128, 0.5), (100, 32, 0.25), (64, 64, 0.5), (90, 33, 0.7)]
            {
                let list = starts(style, size, window, overlap);
                assert_eq!((list[0], *list.last().unwrap() + window), (0, size), "{style:?} {size}");
                assert!(list.windows(2).all(|p| p[0] < p[1] && p[1] <= p[0] + window));
            }
        }
        assert_eq!(starts(Style::NnUnet, 256, 128, 0.5), [0, 64, 128]);
        assert_eq!(starts(Style::NnUnet, 205, 128, 0.5), [0, 38, 77]);
        assert_eq!(starts(Style::Monai, 100, 32, 0.25), [0, 24, 48, 68]);
    }

    #[test]
    fn aligned_windows_leave_no_gap() {
        let tilings = [
            Tiling::NnUnet { overlap: 0.0 },
            Tiling::NnUnet { overlap: 0.5 },
            Tiling::Monai { overlap: 0.0 },
            Tiling::Monai { overlap: 0.99 },
            Tiling::TorchIo { overlap: 3 },
        ];
        for tiling in tilings {
            for (size, window) in [(100, 16), (100, 17), (101, 40), (16, 16), (10, 16), (77, 5), (64, 32)] {
                for multiple in [1, 2, 4, 5] {
                    let padded = window + usize::saturating_sub(size, window).next_multiple_of(multiple);
                    assert!(padded >= size.max(window) && padded < size.max(window) + multiple);
                    let list = positions(tiling, padded, window, multiple);
                    assert_eq!((list[0], list[list.len() - 1] + window), (0, padded), "{tiling:?} {size}");
                    assert!(list.iter().all(|s| s % multiple == 0));
                    assert!(list.windows(2).all(|p| p[0] < p[1] && p[1] <= p[0] + window), "{list:?}");
                    let unpadded = positions(tiling, size, window, multiple);
                    assert!(unpadded[unpadded.len() - 1] + window + multiple > size);
                }
            }
        }
        for odd in [f64::NAN, 1.0, 7.0, -3.0, f64::INFINITY] {
            assert_eq!(positions(Tiling::NnUnet { overlap: odd }, 9, 4, 1)[0], 0);
            assert_eq!(positions(Tiling::Monai { overlap: odd }, 9, 4, 3)[0], 0);
        }
        assert_eq!(positions(Tiling::TorchIo { overlap: 9 }, 0, 0, 1), [0]);
    }

    #[test]
    fn weights_are_positive() {
        for style in [Style::NnUnet, Style::Monai] {
            assert!(importance(style, [8, 8, 16]).data.iter().all(|&w| w > 0.0));
        }
    }
}
