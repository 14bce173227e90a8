//! A small picture of a whole slide.

use super::{Error, Slide};
use crate::photo::{Filter, Photo};
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

/// Rows of a level that are read at a time at least.
const ROWS: u64 = 64;
/// What is twice as large as the picture, and more often so, is reduced by whole blocks first (Pillow's `reducing_gap`).
const GAP: u64 = 2;

impl Slide {
    /// The slide within a square of `longest` pixels as OpenSlide and tiffslide give it: the coarsest level that is large
    /// enough, brought to its size by Pillow's `thumbnail` with Lanczos' filter. Beside it how many pixels of level 0 one of
    /// its pixels is across and down.
    pub fn thumbnail_by_lanczos(&self, longest: u64) -> Result<(Photo, [f64; 2]), Error> {
        let (level, [w, h]) = self.for_thumbnail(longest);
        let l = &self.levels[level];
        let by = (l.width.max(l.height) / longest / GAP).max(1);
        let rows = strip(self.chunk_size(level)[1], by);
        let strips: Result<Vec<Photo>, Error> = (0..l.height.div_ceil(rows))
            .into_par_iter()
            .map(|i| {
                let n = rows.min(l.height - i * rows) as usize;
                let part = self.region(level, 0, (i * rows) as i64, l.width as usize, n)?;
                let part = if by > 1 { blocks(&part, by as usize) } else { part };
                // First across, then down, with whole numbers in between, as Pillow does.
                Ok(part.resized(w, part.height, Filter::Lanczos))
            })
            .collect();
        let all: Vec<u8> = strips?.into_iter().flat_map(|p| p.rgb).collect();
        let photo = Photo::new(w, all.len() / 3 / w.max(1), all).resized(w, h, Filter::Lanczos);
        let base = &self.levels[0];
        Ok((photo, [base.width as f64 / w as f64, base.height as f64 / h as f64]))
    }

    /// The most bytes that [`Slide::thumbnail_by_lanczos`] takes in all, and besides on each thread.
    pub fn thumbnail_bytes(&self, longest: u64) -> [u64; 2] {
        let (level, [w, h]) = self.for_thumbnail(longest);
        let l = &self.levels[level];
        let by = (l.width.max(l.height) / longest / GAP).max(1);
        let across = w as u64 * 3 * (l.height.div_ceil(by) + 1);
        let rows = strip(self.chunk_size(level)[1], by);
        [2 * across + 3 * (w * h) as u64, 3 * l.width * rows * 2]
    }

    /// The level for a picture within a square, and the picture's size.
    fn for_thumbnail(&self, longest: u64) -> (usize, [usize; 2]) {
        let base = &self.levels[0];
        let wanted = base.width.max(base.height) as f64 / longest as f64;
        let level = self.levels.iter().rposition(|l| l.downsample <= wanted).unwrap_or(0);
        let l = &self.levels[level];
        (level, within([l.width, l.height], longest))
    }
}

/// Rows that are read at a time: whole chunks, and whole blocks.
fn strip(chunk: u64, by: u64) -> u64 {
    chunk.max(ROWS).next_multiple_of(by)
}

/// The size of Pillow's `thumbnail` within a square: the shorter side is rounded to what keeps the shape best.
fn within([w, h]: [u64; 2], side: u64) -> [usize; 2] {
    if w <= side && h <= side {
        return [w as usize, h as usize];
    }
    let aspect = w as f64 / h as f64;
    let best = |exact: f64, off: &dyn Fn(f64) -> f64| {
        let (down, up) = (exact.floor(), exact.ceil());
        (if off(up) < off(down) { up } else { down }).max(1.0) as usize
    };
    let s = side as f64;
    match aspect <= 1.0 {
        true => [best(s * aspect, &|n| (aspect - n / s).abs()), side as usize],
        false => [side as usize, best(s / aspect, &|n| if n == 0.0 { 0.0 } else { (aspect - s / n).abs() })],
    }
}

/// Means of blocks of `k` by `k` pixels, fewer at the right and below.
fn blocks(photo: &Photo, k: usize) -> Photo {
    let sums = reduced(photo, [0; 2], k as u64);
    let mean = |(sum, &n): (&[u32; 3], &u32)| sum.map(|s| ((s + n / 2) / n.max(1)) as u8);
    let rgb = sums.rgb.iter().zip(&sums.counts).flat_map(mean).collect();
    Photo::new(sums.width, photo.height.div_ceil(k), rgb)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes that Pillow 13 gives.
    #[test]
    fn thumbnails_have_the_sizes_of_pillow() {
        for (from, to) in [
            ([1300, 900], [1300, 900]),
            ([3000, 2000], [2048, 1365]),
            ([2000, 3001], [1365, 2048]),
            ([5001, 5000], [2048, 2048]),
            ([40000, 7], [2048, 1]),
        ] {
            assert_eq!(within(from, 2048), to, "{from:?}");
        }
    }
}
