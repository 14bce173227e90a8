//! Windows blended into blocks of the network's grid, which exist only where windows lie.

use super::grid::Grid;
use ampoule_imaging::Volume;
use ampoule_imaging::pyramid::TILE;
use std::collections::{BTreeMap, HashSet};

const SIDE: u64 = TILE as u64;

/// Weighted sums of probabilities, channels innermost, and sums of weights.
pub(super) struct Block {
    sums: Vec<f32>,
    weights: Vec<f32>,
}

impl Block {
    /// Probabilities of pixel `i`; `None` where no window lies.
    pub fn mean(&self, i: usize, classes: usize, into: &mut [f32]) -> bool {
        let w = self.weights[i];
        if w == 0.0 {
            return false;
        }
        let own = &self.sums[i * classes..(i + 1) * classes];
        into.iter_mut().zip(own).for_each(|(p, s)| *p = s / w);
        true
    }
}

/// Blocks of a row by their columns.
pub(super) type Row = BTreeMap<u64, Block>;

pub(super) struct Canvas {
    classes: usize,
    rows: BTreeMap<u64, Row>,
}

impl Canvas {
    pub fn new(classes: usize) -> Self {
        Canvas { classes, rows: BTreeMap::new() }
    }

    /// Adds the probabilities of `size` pixels from `at` on, weighted by the first `size` of `map`.
    pub fn add(&mut self, at: [u64; 2], size: [usize; 2], map: &Volume<f32>, values: &[f32]) {
        let n = self.classes;
        for y in 0..size[1] {
            let gy = at[1] + y as u64;
            let row = self.rows.entry(gy / SIDE).or_default();
            let mut x = 0;
            while x < size[0] {
                let gx = at[0] + x as u64;
                let run = ((SIDE - gx % SIDE) as usize).min(size[0] - x);
                let block = row.entry(gx / SIDE).or_insert_with(|| Block {
                    sums: vec![0.0; n * TILE * TILE],
                    weights: vec![0.0; TILE * TILE],
                });
                let to = (gy % SIDE * SIDE + gx % SIDE) as usize;
                let weights = &map.data[map.index(x, y, 0)..][..run];
                let from = &values[n * (y * size[0] + x)..][..n * run];
                block.weights[to..to + run].iter_mut().zip(weights).for_each(|(s, w)| *s += w);
                let sums = block.sums[n * to..n * (to + run)].chunks_exact_mut(n);
                for ((s, v), w) in sums.zip(from.chunks_exact(n)).zip(weights) {
                    s.iter_mut().zip(v).for_each(|(s, v)| *s += w * v);
                }
                x += run;
            }
        }
    }

    /// Takes the first row of blocks that ends at or above row `y` of pixels; `None` when there is none.
    pub fn take_above(&mut self, y: u64) -> Option<(u64, Row)> {
        let first = self.rows.first_entry().filter(|e| (e.key() + 1) * SIDE <= y)?;
        Some(first.remove_entry())
    }

    /// Takes the first row of blocks.
    pub fn take(&mut self) -> Option<(u64, Row)> {
        self.rows.pop_first()
    }
}

/// Most bytes of blocks at one time when the grid's windows are added in order.
pub(super) fn planned_bytes(grid: &Grid, classes: usize, whole: bool) -> u64 {
    let mut alive: HashSet<[u64; 2]> = HashSet::new();
    let (mut most, mut row) = (0, 0);
    for w in &grid.windows {
        // A classifier has one pixel a window.
        let (at, size) = if whole { (w.cell, [1, 1]) } else { (w.at, grid.window) };
        if at[1] != row {
            row = at[1];
            alive.retain(|b| (b[1] + 1) * SIDE > row);
        }
        let last = [0, 1].map(|i| (at[i] + size[i] as u64 - 1) / SIDE);
        for y in at[1] / SIDE..=last[1] {
            for x in at[0] / SIDE..=last[0] {
                alive.insert([x, y]);
            }
        }
        most = most.max(alive.len() as u64);
    }
    most * SIDE * SIDE * 4 * (classes as u64 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ampoule_imaging::window::{Style, importance};

    #[test]
    fn windows_of_one_value_blend_to_it_across_blocks() {
        let map = importance(Style::Monai, [100, 80, 1]);
        let mut c = Canvas::new(2);
        for y in [0, 60, 120, 180, 240] {
            for x in [200, 270, 340] {
                c.add([x, y], [100, 80], &map, &[0.25, 0.75].repeat(8000));
            }
        }
        assert!(c.take_above(255).is_none());
        let (y, row) = c.take_above(256).unwrap();
        assert_eq!((y, row.keys().copied().collect::<Vec<_>>()), (0, vec![0, 1]));
        let mut p = [0.0; 2];
        assert!(row[&0].mean(255, 2, &mut p) && (p[0] - 0.25).abs() < 1e-6 && (p[1] - 0.75).abs() < 1e-6);
        assert!(!row[&0].mean(199, 2, &mut p));
        assert!(c.take().is_some() && c.take().is_none());
    }
}
