//! Blocks of pixels in the plane that become one pixel: means of values, the most common of labels.

use crate::Volume;

/// Sizes of an image whose blocks of `by` by `by` pixels become one: what does not fill a block is dropped, and an
/// image that is smaller than a block becomes one pixel.
pub fn dims(from: [usize; 3], by: usize) -> [usize; 3] {
    [(from[0] / by).max(1), (from[1] / by).max(1), from[2]]
}

/// The mean of each block of `by` by `by` pixels; of the pixels there are where an image is smaller than a block.
pub fn means(v: &Volume<f32>, by: usize) -> Volume<f32> {
    let to = dims(v.dims, by);
    let mut out = Volume::filled(to, 0f32);
    for z in 0..to[2] {
        for y in 0..to[1] {
            for x in 0..to[0] {
                let (mut sum, mut n) = (0.0, 0u32);
                for b in y * by..(y * by + by).min(v.dims[1]) {
                    for a in x * by..(x * by + by).min(v.dims[0]) {
                        sum += v.at(a, b, z);
                        n += 1;
                    }
                }
                let at = out.index(x, y, z);
                out.data[at] = sum / n.max(1) as f32;
            }
        }
    }
    out
}

/// The most common label of each block of `by` by `by` pixels, the smallest of equals.
pub fn most_common(v: &Volume<u16>, by: usize) -> Volume<u16> {
    let to = dims(v.dims, by);
    let mut out = Volume::filled(to, 0u16);
    let mut seen: Vec<(u16, usize)> = Vec::new();
    for z in 0..to[2] {
        for y in 0..to[1] {
            for x in 0..to[0] {
                seen.clear();
                for b in (y * by..(y + 1) * by).take_while(|b| *b < v.dims[1]) {
                    for a in (x * by..(x + 1) * by).take_while(|a| *a < v.dims[0]) {
                        let l = v.at(a, b, z);
                        match seen.iter_mut().find(|s| s.0 == l) {
                            Some(s) => s.1 += 1,
                            None => seen.push((l, 1)),
                        }
                    }
                }
                let best = seen.iter().max_by_key(|s| (s.1, u16::MAX - s.0));
                let at = out.index(x, y, z);
                out.data[at] = best.map_or(0, |s| s.0);
            }
        }
    }
    out
}
