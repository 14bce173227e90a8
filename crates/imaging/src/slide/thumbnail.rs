//! A small picture of a whole slide.

use super::{Error, Slide};
use crate::photo::Photo;
use rayon::prelude::*;
use std::sync::Mutex;

/// Sums of the pixels that each pixel of the picture stands for.
struct Sums {
    width: usize,
    rgb: Vec<[u32; 3]>,
    counts: Vec<u32>,
}

impl Slide {
    /// The slide at most `longest` pixels along its longer side, and how many pixels of level 0 one of its
    /// pixels is along a side. Tiles of the coarsest level that is large enough are decoded one by one, on
    /// all threads; parts without data are white.
    pub fn thumbnail(&self, longest: u64) -> Result<(Photo, f64), Error> {
        let size = |l: &super::Level| l.width.max(l.height);
        let level = self.levels.iter().rposition(|l| size(l) >= longest).unwrap_or(0);
        let l = &self.levels[level];
        let k = size(l).div_ceil(longest).max(1);
        if k > 4096 {
            let what = "no level that is small enough for a thumbnail; save it as a pyramid".into();
            return Err(Error::Unsupported { what });
        }
        let [w, h] = [l.width, l.height].map(|n| n.div_ceil(k) as usize);
        let [across, down] = self.chunks(level);
        let all = Mutex::new(Sums { width: w, rgb: vec![[0; 3]; w * h], counts: vec![0; w * h] });
        (0..across * down).into_par_iter().try_for_each(|i| {
            let at = [i % across, i / across];
            let Some(photo) = self.chunk(level, at)? else { return Ok(()) };
            let origin = self.bounds(level, at).0;
            let part = reduced(&photo, origin, k);
            all.lock().unwrap_or_else(|e| e.into_inner()).add(&part, [origin[0] / k, origin[1] / k]);
            Ok::<(), Error>(())
        })?;
        let sums = all.into_inner().unwrap_or_else(|e| e.into_inner());
        let mean = |(sum, &n): (&[u32; 3], &u32)| match n {
            0 => [255; 3],
            n => sum.map(|s| ((s + n / 2) / n) as u8),
        };
        let rgb = sums.rgb.iter().zip(&sums.counts).flat_map(mean).collect();
        Ok((Photo::new(w, h, rgb), k as f64 * l.downsample))
    }
}

/// Sums of blocks of `k` by `k` pixels of the level, for a chunk at `origin`.
fn reduced(photo: &Photo, origin: [u64; 2], k: u64) -> Sums {
    let first = origin.map(|o| o / k);
    let cells = |o: u64, n: usize| ((o + n as u64 - 1) / k - o / k + 1) as usize;
    let width = cells(origin[0], photo.width);
    let n = width * cells(origin[1], photo.height);
    let mut out = Sums { width, rgb: vec![[0; 3]; n], counts: vec![0; n] };
    for (y, row) in photo.rgb.chunks_exact(3 * photo.width).enumerate() {
        let base = ((origin[1] + y as u64) / k - first[1]) as usize * width;
        for (x, p) in row.chunks_exact(3).enumerate() {
            let i = base + ((origin[0] + x as u64) / k - first[0]) as usize;
            (0..3).for_each(|c| out.rgb[i][c] += p[c] as u32);
            out.counts[i] += 1;
        }
    }
    out
}

impl Sums {
    fn add(&mut self, part: &Sums, [x, y]: [u64; 2]) {
        let rows = part.rgb.chunks_exact(part.width).zip(part.counts.chunks_exact(part.width));
        for (r, (rgb, counts)) in rows.enumerate() {
            let at = (y as usize + r) * self.width + x as usize;
            for (i, (p, n)) in rgb.iter().zip(counts).enumerate() {
                (0..3).for_each(|c| self.rgb[at + i][c] += p[c]);
                self.counts[at + i] += n;
            }
        }
    }
}
