//! Sliding windows over volumes: positions, importance maps, blending, mirroring.

use crate::Volume;

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

/// Window starts along one axis of `size` (at least `window`), neighbours overlapping by `overlap`
/// (0 to below 1) of the window.
pub fn starts(style: Style, size: usize, window: usize, overlap: f64) -> Vec<usize> {
    let span = size.saturating_sub(window);
    match style {
        Style::NnUnet => {
            let step = window as f64 * (1.0 - overlap);
            let count = (span as f64 / step).ceil() as usize + 1;
            let actual = if count > 1 { span as f64 / (count - 1) as f64 } else { 0.0 };
            (0..count).map(|i| (i as f64 * actual).round_ties_even() as usize).collect()
        }
        Style::Monai => {
            let interval =
                if window == size { window } else { ((window as f64 * (1.0 - overlap)) as usize).max(1) };
            let mut list: Vec<usize> = Vec::new();
            for i in 0.. {
                let at = (i * interval).min(span);
                list.push(at);
                if at == span {
                    break;
                }
            }
            list
        }
    }
}

/// Importance along one axis of a window of `n`, peak 1, standard deviation `n/8`.
fn gaussian(style: Style, n: usize) -> Vec<f64> {
    let sigma = n as f64 / 8.0;
    match style {
        Style::NnUnet => {
            // scipy's gaussian_filter of a delta, border zero, truncated at four sigma.
            let (centre, radius) = (n / 2, (4.0 * sigma + 0.5) as i64);
            let at = |i: usize| {
                let d = i as i64 - centre as i64;
                if d.abs() > radius { 0.0 } else { (-0.5 * (d as f64 / sigma).powi(2)).exp() }
            };
            (0..n).map(at).collect()
        }
        Style::Monai => {
            let centre = (n as f64 - 1.0) / 2.0;
            (0..n).map(|i| (-0.5 * ((i as f64 - centre) / sigma).powi(2)).exp()).collect()
        }
    }
}

/// The importance map of a window, peak 1 (up to the style's rounding), all weights positive.
pub fn importance(style: Style, window: [usize; 3]) -> Volume<f32> {
    let g = window.map(|n| gaussian(style, n));
    let mut map = Volume::filled(window, 0f32);
    for z in 0..window[2] {
        for y in 0..window[1] {
            for x in 0..window[0] {
                let at = map.index(x, y, z);
                map.data[at] = (g[0][x] * g[1][y] * g[2][z]) as f32;
            }
        }
    }
    let top = map.data.iter().copied().fold(0f32, f32::max);
    match style {
        Style::NnUnet => {
            map.data.iter_mut().for_each(|v| *v /= top);
            let least = map.data.iter().copied().filter(|&v| v > 0.0).fold(f32::INFINITY, f32::min);
            map.data.iter_mut().filter(|v| **v == 0.0).for_each(|v| *v = least);
        }
        Style::Monai => {
            let least = map.data.iter().copied().fold(f32::INFINITY, f32::min).max(1e-3);
            map.data.iter_mut().for_each(|v| *v = v.max(least));
        }
    }
    map
}

/// Accumulates weighted windows.
pub struct Blend {
    channels: Vec<Volume<f32>>,
    weights: Volume<f32>,
}

impl Blend {
    /// An accumulator of `channels` volumes.
    pub fn new(dims: [usize; 3], channels: usize) -> Self {
        Blend { channels: vec![Volume::filled(dims, 0.0); channels], weights: Volume::filled(dims, 0.0) }
    }

    /// Adds a window of `map`'s size at `start`; `value(channel, voxel)` with voxels x fastest.
    pub fn add(&mut self, start: [usize; 3], map: &Volume<f32>, value: impl Fn(usize, usize) -> f32) {
        for z in 0..map.dims[2] {
            for y in 0..map.dims[1] {
                let to = self.weights.index(start[0], start[1] + y, start[2] + z);
                let from = map.index(0, y, z);
                for x in 0..map.dims[0] {
                    let w = map.data[from + x];
                    self.weights.data[to + x] += w;
                    for (c, v) in self.channels.iter_mut().enumerate() {
                        v.data[to + x] += w * value(c, from + x);
                    }
                }
            }
        }
    }

    /// The weighted means.
    pub fn finish(mut self) -> Vec<Volume<f32>> {
        for v in &mut self.channels {
            for (x, w) in v.data.iter_mut().zip(&self.weights.data) {
                *x /= w.max(f32::MIN_POSITIVE);
            }
        }
        self.channels
    }
}

/// All combinations of mirrored axes, none first: `2^k` for `k` allowed axes.
pub fn mirrors(allowed: [bool; 3]) -> Vec<[bool; 3]> {
    (0..8u8)
        .map(|m| [m & 1 > 0, m & 2 > 0, m & 4 > 0])
        .filter(|m| (0..3).all(|i| !m[i] || allowed[i]))
        .collect()
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
    fn blending_equal_windows_returns_the_value() {
        for style in [Style::NnUnet, Style::Monai] {
            let map = importance(style, [8, 8, 16]);
            assert!(map.data.iter().all(|&w| w > 0.0));
            let mut b = Blend::new([12, 8, 24], 2);
            for x in starts(style, 12, 8, 0.5) {
                for z in starts(style, 24, 16, 0.5) {
                    b.add([x, 0, z], &map, |c, _| c as f32 + 0.5);
                }
            }
            for (c, v) in b.finish().iter().enumerate() {
                assert!(v.data.iter().all(|x| (x - (c as f32 + 0.5)).abs() < 1e-5));
            }
        }
        assert_eq!(mirrors([true; 3]).len(), 8);
        assert_eq!(mirrors([true, false, true])[0], [false; 3]);
    }
}
