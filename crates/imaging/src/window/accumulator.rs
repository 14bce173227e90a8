//! Weighted means of overlapping windows, accumulated in blocks of a grid.
//!
//! A block exists only where windows lie, and only until the last of its windows is added: memory grows with the
//! blocks that are open, not with the grid.

use crate::Volume;
use std::collections::{BTreeMap, HashMap};

/// Position of a block: its place along z, y and x, in blocks.
type Place = [u32; 3];

/// Weighted sums of scores, scores innermost, and sums of weights.
struct Block {
    sums: Vec<f32>,
    weights: Vec<f32>,
    /// Windows that are still to come.
    left: u32,
}

/// A block to which no window will be added any more.
pub struct Finished {
    /// First pixel along x, y, z.
    pub start: [u64; 3],
    /// Pixels along x, y, z.
    pub size: [usize; 3],
    /// Weighted means of the scores of all pixels, scores innermost, x fastest; NaN where no window lies.
    pub scores: Vec<f32>,
}

/// Accumulates weighted windows and gives their means block by block.
pub struct Accumulator {
    scores: usize,
    /// Pixels of the whole grid and of a block.
    grid: [u64; 3],
    block: [usize; 3],
    /// How many windows touch each block.
    touched: HashMap<Place, u32>,
    blocks: BTreeMap<Place, Block>,
}

/// A window's place: its first pixel and its sizes along x, y, z.
pub type Placed = ([u64; 3], [usize; 3]);

/// The blocks that a window touches, along z, y and x.
fn places((at, size): Placed, block: [usize; 3]) -> impl Iterator<Item = Place> {
    let range = move |i: usize| {
        let b = block[i] as u64;
        (at[i] / b) as u32..=((at[i] + size[i].max(1) as u64 - 1) / b) as u32
    };
    range(2).flat_map(move |z| range(1).flat_map(move |y| range(0).map(move |x| [z, y, x])))
}

impl Accumulator {
    /// An accumulator for `scores` scores a pixel of a `grid` (pixels along x, y, z) in blocks of `block` pixels, to which the windows of `all` will be added, each once.
    pub fn new(
        scores: usize,
        grid: [u64; 3],
        block: [usize; 3],
        all: impl Iterator<Item = Placed>,
    ) -> Accumulator {
        let mut touched = HashMap::new();
        for w in all {
            places(w, block).for_each(|p| *touched.entry(p).or_insert(0) += 1);
        }
        Accumulator { scores, grid, block, touched, blocks: BTreeMap::new() }
    }

    fn size_of(&self, p: Place) -> [usize; 3] {
        let at = [p[2], p[1], p[0]];
        [0, 1, 2].map(|i| self.block[i].min((self.grid[i] - at[i] as u64 * self.block[i] as u64) as usize))
    }

    /// Adds the scores of a window, weighted by the first pixels of `map`, and gives the blocks that are finished
    /// by it.
    pub fn add(&mut self, window: Placed, map: &Volume<f32>, values: &[f32]) -> Vec<Finished> {
        let mut done = Vec::new();
        for place in places(window, self.block) {
            let size = self.size_of(place);
            let pixels: usize = size.iter().product();
            let left = self.touched.get(&place).copied().unwrap_or(1);
            let n = self.scores;
            let block = self.blocks.entry(place).or_insert_with(|| Block {
                sums: vec![0.0; n * pixels],
                weights: vec![0.0; pixels],
                left,
            });
            let start = [place[2], place[1], place[0]];
            let start = [0, 1, 2].map(|i| start[i] as u64 * self.block[i] as u64);
            add_to_block(block, start, size, n, window, map, values);
            block.left = block.left.saturating_sub(1);
            if block.left == 0
                && let Some(block) = self.blocks.remove(&place)
            {
                done.push(Finished { start, size, scores: means(block, n) });
            }
        }
        done
    }
}

/// Adds the part of a window that lies on a block.
fn add_to_block(
    block: &mut Block,
    start: [u64; 3],
    size: [usize; 3],
    n: usize,
    (at, extent): Placed,
    map: &Volume<f32>,
    values: &[f32],
) {
    let range = |i: usize| {
        let from = at[i].max(start[i]);
        let to = (at[i] + extent[i] as u64).min(start[i] + size[i] as u64);
        (from, to.max(from))
    };
    let [(x0, x1), (y0, y1), (z0, z1)] = [0, 1, 2].map(range);
    let run = (x1 - x0) as usize;
    for z in z0..z1 {
        for y in y0..y1 {
            let own = [x0 - at[0], y - at[1], z - at[2]].map(|v| v as usize);
            let to = (x0 - start[0]) as usize
                + size[0] * ((y - start[1]) as usize + size[1] * (z - start[2]) as usize);
            let from = own[0] + extent[0] * (own[1] + extent[1] * own[2]);
            let weights = &map.data[map.index(own[0], own[1], own[2])..][..run];
            block.weights[to..to + run].iter_mut().zip(weights).for_each(|(s, w)| *s += w);
            let sums = block.sums[n * to..n * (to + run)].chunks_exact_mut(n);
            for ((s, v), w) in sums.zip(values[n * from..n * (from + run)].chunks_exact(n)).zip(weights) {
                s.iter_mut().zip(v).for_each(|(s, v)| *s += w * v);
            }
        }
    }
}

fn means(block: Block, n: usize) -> Vec<f32> {
    let mut sums = block.sums;
    for (s, w) in sums.chunks_exact_mut(n).zip(&block.weights) {
        s.iter_mut().for_each(|v| *v = if *w == 0.0 { f32::NAN } else { *v / w });
    }
    sums
}

/// Most bytes of blocks at one time when windows are added in order. With `by_plane`, what is finished is copied into
/// planes of the whole grid, which stay until all of their blocks are finished.
pub fn peak_bytes(
    scores: usize,
    grid: [u64; 3],
    block: [usize; 3],
    by_plane: bool,
    all: impl Iterator<Item = Placed> + Clone,
) -> u64 {
    let empty = Accumulator::new(scores, grid, block, all.clone());
    let mut left = empty.touched.clone();
    // Blocks that are still to finish, by their place along z.
    let mut layers: HashMap<u32, u32> = HashMap::new();
    left.keys().for_each(|p| *layers.entry(p[0]).or_insert(0) += 1);
    let whole = layers.clone();
    let (mut alive, mut most, mut held) = (HashMap::new(), 0u64, 0u64);
    for w in all {
        let mut ended = 0;
        for p in places(w, block) {
            let size = empty.size_of(p);
            let bytes = size.iter().product::<usize>() as u64 * 4 * (scores as u64 + 1);
            if alive.insert(p, ()).is_none() {
                held += bytes;
            }
            let n = left.entry(p).or_insert(1);
            *n -= 1;
            if *n > 0 {
                continue;
            }
            alive.remove(&p);
            ended += bytes;
            if by_plane {
                let planes = grid[0] * grid[1] * size[2] as u64 * 4 * scores as u64;
                let open = layers.entry(p[0]).or_insert(1);
                held += if *open == whole[&p[0]] { planes } else { 0 };
                *open -= 1;
                ended += if *open == 0 { planes } else { 0 };
            }
        }
        most = most.max(held);
        held -= ended;
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::{Style, importance};

    #[test]
    fn windows_of_one_value_blend_to_it_across_blocks() {
        let map = importance(Style::Monai, [100, 80, 1]);
        let at: Vec<Placed> = [0, 60, 120, 176, 256]
            .into_iter()
            .flat_map(|y| [200, 270, 340].map(|x| ([x, y, 0], [100, 80, 1])))
            .collect();
        let (grid, block) = ([440, 336, 1], [256, 256, 1]);
        let mut accumulator = Accumulator::new(2, grid, block, at.iter().copied());
        let mut seen = Vec::new();
        for w in &at {
            for f in accumulator.add(*w, &map, &[0.25, 0.75].repeat(8000)) {
                let pixel = |x: u64, y: u64| {
                    let i = (x - f.start[0]) as usize + f.size[0] * (y - f.start[1]) as usize;
                    [f.scores[2 * i], f.scores[2 * i + 1]]
                };
                if f.start == [0, 0, 0] {
                    let [a, b] = pixel(255, 3);
                    assert!((a - 0.25).abs() < 1e-6 && (b - 0.75).abs() < 1e-6);
                    assert!(pixel(199, 3)[0].is_nan());
                }
                seen.push(f.start);
            }
        }
        assert_eq!(seen.len(), 4);
        // The upper blocks are finished before the last row of windows begins.
        assert!(seen[..2].iter().all(|s| s[1] == 0), "{seen:?}");
        assert!(accumulator.blocks.is_empty());
        let most = peak_bytes(2, grid, block, false, at.iter().copied());
        assert!(most <= 4 * 256 * 256 * 12 && most > 0, "{most}");
        // All of it is one plane.
        let planes = peak_bytes(2, grid, block, true, at.iter().copied());
        assert!(planes > most && planes <= most + 440 * 336 * 8, "{planes}");
    }
}
