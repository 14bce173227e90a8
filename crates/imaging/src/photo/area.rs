//! Resampling by any factor without rounding: means over the area that a pixel covers.

use super::Photo;

/// Weights of one output pixel: the first input pixel and one weight for each from there on.
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

/// Taps along an axis of `n` input pixels for `count` outputs; output `i` covers the inputs from
/// `origin + i * factor` to `origin + (i + 1) * factor`. Where outputs are smaller than inputs
/// (`factor` below 1), inputs are interpolated linearly between their centres.
fn taps(n: usize, origin: f64, factor: f64, count: usize) -> Vec<Taps> {
    if factor < 1.0 {
        return between(n, origin, factor, count);
    }
    let last = n - 1;
    let one = |i: usize| {
        let (from, to) = (origin + i as f64 * factor, origin + (i + 1) as f64 * factor);
        let first = (from.max(0.0) as usize).min(last);
        let end = (to.min(n as f64).ceil() as usize).clamp(first + 1, n);
        let cover = |j: usize| (to.min((j + 1) as f64) - from.max(j as f64)).max(0.0);
        let sum: f64 = (first..end).map(cover).sum();
        let weights = match sum > 0.0 {
            true => (first..end).map(|j| (cover(j) / sum) as f32).collect(),
            false => vec![1.0],
        };
        Taps { first, weights }
    };
    (0..count).map(one).collect()
}

/// Taps that interpolate linearly between the centres of neighbours, whatever the factor.
fn between(n: usize, origin: f64, factor: f64, count: usize) -> Vec<Taps> {
    let last = n - 1;
    let one = |i: usize| {
        let centre = (origin + (i as f64 + 0.5) * factor - 0.5).clamp(0.0, last as f64);
        let first = (centre as usize).min(last.saturating_sub(1));
        let share = (centre - first as f64) as f32;
        let weights = if last == 0 { vec![1.0] } else { vec![1.0 - share, share] };
        Taps { first, weights }
    };
    (0..count).map(one).collect()
}

/// `size` pixels (across, down) of three channels, interpolated linearly between the centres of the photo's
/// pixels without rounding and without regard to what lies between (TensorFlow's `image.resize`).
pub fn linear(photo: &Photo, size: [usize; 2]) -> Vec<f32> {
    let taps = |n: usize, count: usize| between(n, 0.0, n as f64 / count as f64, count);
    apply(photo, &taps(photo.width, size[0]), &taps(photo.height, size[1]))
}

/// `size` pixels (across, down) of three channels in 0 to 255, channels innermost: each the mean of the
/// square of `factor` photo pixels a side that begins at `origin` for the first. Parts beyond the photo
/// do not count; pixels wholly beyond repeat its border. With a whole `factor` and origin these are means
/// of blocks.
pub fn area(photo: &Photo, origin: [f64; 2], factor: f64, size: [usize; 2]) -> Vec<f32> {
    let across = taps(photo.width, origin[0], factor, size[0]);
    let down = taps(photo.height, origin[1], factor, size[1]);
    apply(photo, &across, &down)
}

/// Weighted sums along columns, then along rows.
fn apply(photo: &Photo, across: &[Taps], down: &[Taps]) -> Vec<f32> {
    let stride = 3 * photo.width;
    let mut row = vec![0f32; stride];
    let mut out = Vec::with_capacity(3 * across.len() * down.len());
    for t in down {
        row.fill(0.0);
        for (k, &w) in t.weights.iter().enumerate() {
            let source = &photo.rgb[(t.first + k) * stride..][..stride];
            row.iter_mut().zip(source).for_each(|(sum, &v)| *sum += w * v as f32);
        }
        for t in across {
            let mut sum = [0f32; 3];
            for (pixel, &w) in row[3 * t.first..].chunks_exact(3).zip(&t.weights) {
                (0..3).for_each(|c| sum[c] += w * pixel[c]);
            }
            out.extend(sum);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean by its definition, on a grid fine enough for the factors tried.
    fn plain(p: &Photo, origin: [f64; 2], factor: f64, x: usize, y: usize, c: usize) -> f64 {
        let fine = 20;
        let (mut sum, mut n) = (0.0, 0);
        for v in 0..fine {
            for u in 0..fine {
                let at =
                    |o: f64, i: usize, k: usize| o + (i as f64 + (k as f64 + 0.5) / fine as f64) * factor;
                let (px, py) = (at(origin[0], x, u), at(origin[1], y, v));
                if px < p.width as f64 && py < p.height as f64 {
                    sum += p.at(px as usize, py as usize)[c] as f64;
                    n += 1;
                }
            }
        }
        sum / n as f64
    }

    #[test]
    fn means_are_those_of_the_area_covered() {
        let photo = Photo::new(23, 17, (0..3 * 23 * 17).map(|i| (i * 37 % 256) as u8).collect());
        for (origin, factor) in [([0.0, 0.0], 2.0), ([1.5, 0.5], 2.5), ([3.0, 2.0], 1.0), ([0.25, 0.0], 1.25)]
        {
            let size = [6, 6];
            let got = area(&photo, origin, factor, size);
            for (i, &v) in got.iter().enumerate() {
                let (x, y, c) = (i / 3 % size[0], i / 3 / size[0], i % 3);
                let want = plain(&photo, origin, factor, x, y, c);
                assert!((v as f64 - want).abs() < 1e-3, "{v} for {want} at {x},{y}, factor {factor}");
            }
        }
    }

    #[test]
    fn smaller_pixels_are_interpolated_and_borders_hold() {
        let photo = Photo::new(2, 1, vec![0, 0, 0, 100, 100, 100]);
        let got: Vec<f32> = area(&photo, [0.0, 0.0], 0.5, [4, 1]).into_iter().step_by(3).collect();
        assert_eq!(got, [0.0, 25.0, 75.0, 100.0]);
        let beyond = area(&photo, [0.0, 0.0], 2.0, [3, 2]);
        assert_eq!((beyond[0], beyond[3], beyond[15]), (50.0, 100.0, 100.0));
    }
}
