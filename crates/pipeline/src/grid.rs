//! How grids lie on one another: the way from an image to what a network sees, and back.
//!
//! Every change of grid that a recipe can ask for treats the three axes apart, so the way back is a sparse linear
//! map along each axis ([`AxisMap`]), and changes that follow one another are one map.

use crate::recipe::Back;
use ampoule_imaging::resample::Coordinates;
use ampoule_imaging::{Volume, resample};

/// One change of grid on the way to the network.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// A part of the grid, or the grid and more: position `i` shows position `start + i` of before.
    Window {
        /// First position along each axis.
        start: [i64; 3],
        /// Sizes before and after.
        from: [usize; 3],
        /// Sizes after.
        to: [usize; 3],
    },
    /// Other voxels over the same space.
    Scale {
        /// Sizes before.
        from: [usize; 3],
        /// Sizes after.
        to: [usize; 3],
        /// How scores return along each axis.
        back: [Return; 3],
    },
    /// Means of blocks; what does not fill a block is dropped.
    Blocks {
        /// Sizes before.
        from: [usize; 3],
        /// Pixels along a side of a block in x and y.
        by: usize,
    },
}

/// How scores return along an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Return {
    /// By half-pixel coordinates.
    Corner(Back),
    /// By another convention of coordinates, that of the way there.
    At {
        /// Where voxels of after lie among those of before.
        there: Coordinates,
        /// Between two neighbours rather than the nearest.
        linear: bool,
    },
}

impl Change {
    /// Sizes after.
    pub fn to(&self) -> [usize; 3] {
        match self {
            Change::Window { to, .. } | Change::Scale { to, .. } => *to,
            Change::Blocks { from, by } => blocks(*from, *by),
        }
    }

    fn back(&self, axis: usize) -> AxisMap {
        match self {
            Change::Window { start, from, to } => AxisMap::window(-start[axis], to[axis], from[axis]),
            Change::Scale { from, to, back } => match back[axis] {
                Return::Corner(b) => AxisMap::corner(b, to[axis], from[axis]),
                Return::At { there, linear } => {
                    let positions = there.inverse().positions(to[axis], from[axis]);
                    AxisMap::at(to[axis], positions.into_iter(), linear)
                }
            },
            Change::Blocks { from, by } => {
                let (n, k) = (self.to()[axis], if axis < 2 { *by } else { 1 });
                AxisMap::select(n, (0..from[axis]).map(|i| Some((i / k).min(n - 1))))
            }
        }
    }

    /// The labels of before as the network's grid has them; what lies outside is `outside`.
    pub fn labels(&self, v: &Volume<u16>, outside: u16) -> Volume<u16> {
        match self {
            Change::Window { start, to, .. } => window(v, *start, *to, outside),
            Change::Scale { from, to, .. } => {
                let at = [0, 1, 2].map(|i| resample::nearest_exact(from[i], to[i]));
                resample::gather(v, [&at[0], &at[1], &at[2]])
            }
            Change::Blocks { by, .. } => commonest(v, self.to(), *by),
        }
    }
}

/// Sizes of an image whose blocks became pixels.
pub(crate) fn blocks(from: [usize; 3], by: usize) -> [usize; 3] {
    [(from[0] / by).max(1), (from[1] / by).max(1), from[2]]
}

/// The commonest label of each block, the smallest of equals.
fn commonest(v: &Volume<u16>, to: [usize; 3], k: usize) -> Volume<u16> {
    let mut out = Volume::filled(to, 0u16);
    let mut seen: Vec<(u16, usize)> = Vec::new();
    for z in 0..to[2] {
        for y in 0..to[1] {
            for x in 0..to[0] {
                seen.clear();
                for b in (y * k..(y + 1) * k).take_while(|b| *b < v.dims[1]) {
                    for a in (x * k..(x + 1) * k).take_while(|a| *a < v.dims[0]) {
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

/// A part of a volume that may reach beyond it; what lies outside is `outside`.
pub(crate) fn window<T: Copy>(v: &Volume<T>, start: [i64; 3], size: [usize; 3], outside: T) -> Volume<T> {
    let mut out = Volume::filled(size, outside);
    let range = |i: usize| {
        let from = start[i].clamp(0, v.dims[i] as i64);
        let to = (start[i] + size[i] as i64).clamp(from, v.dims[i] as i64);
        (from as usize, to as usize)
    };
    let [(x0, x1), (y0, y1), (z0, z1)] = [0, 1, 2].map(range);
    if x0 == x1 {
        return out;
    }
    for z in z0..z1 {
        for y in y0..y1 {
            let to = out.index(
                (x0 as i64 - start[0]) as usize,
                (y as i64 - start[1]) as usize,
                (z as i64 - start[2]) as usize,
            );
            let from = v.index(x0, y, z);
            out.data[to..to + (x1 - x0)].copy_from_slice(&v.data[from..from + (x1 - x0)]);
        }
    }
    out
}

/// The way from an image to a network's grid.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Trail(pub Vec<Change>);

impl Trail {
    /// The way back, along each axis, for a network's grid of `dims`.
    pub fn back(&self, dims: [usize; 3]) -> [AxisMap; 3] {
        [0, 1, 2].map(|axis| {
            let start = AxisMap::select(dims[axis], (0..dims[axis]).map(Some));
            self.0.iter().rev().fold(start, |map, change| map.then(&change.back(axis)))
        })
    }

    /// Labels of the image on the network's grid; `outside` where there is no image.
    pub fn labels(&self, v: &Volume<u16>, outside: u16) -> Volume<u16> {
        let mut out: Option<Volume<u16>> = None;
        for change in &self.0 {
            out = Some(change.labels(out.as_ref().unwrap_or(v), outside));
        }
        out.unwrap_or_else(|| v.clone())
    }
}

/// A linear map along one axis: each output is a weighted sum of neighbouring inputs, or lies outside.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AxisMap {
    /// Number of inputs.
    pub inputs: usize,
    first: Vec<u32>,
    /// Where the weights of each output begin; one more than outputs.
    begin: Vec<u32>,
    weights: Vec<f32>,
}

impl AxisMap {
    fn empty(inputs: usize) -> AxisMap {
        AxisMap { inputs, first: Vec::new(), begin: vec![0], weights: Vec::new() }
    }

    fn push(&mut self, first: usize, weights: impl IntoIterator<Item = f32>) {
        self.first.push(first as u32);
        self.weights.extend(weights);
        self.begin.push(self.weights.len() as u32);
    }

    /// Outputs that have inputs; they lie without gaps.
    pub fn covered(&self) -> std::ops::Range<usize> {
        let some = |i: &usize| self.begin[*i] < self.begin[*i + 1];
        let first = (0..self.outputs()).find(some).unwrap_or(0);
        first..(0..self.outputs()).rfind(some).map_or(first, |i| i + 1)
    }

    /// From the first input that any output has to the last.
    pub fn needed(&self) -> std::ops::Range<usize> {
        let rows = || self.covered().map(|i| self.row(i)).map(|(first, w)| first..first + w.len());
        rows().map(|r| r.start).min().unwrap_or(0)..rows().map(|r| r.end).max().unwrap_or(0)
    }

    /// Each output is one input, or nothing.
    pub fn select(inputs: usize, list: impl IntoIterator<Item = Option<usize>>) -> AxisMap {
        let mut map = AxisMap::empty(inputs);
        for i in list {
            match i {
                Some(i) => map.push(i, [1.0]),
                None => map.push(0, []),
            }
        }
        map
    }

    /// Output `i` is input `i + start`, where there is one.
    fn window(start: i64, inputs: usize, outputs: usize) -> AxisMap {
        let at = |i: usize| usize::try_from(i as i64 + start).ok().filter(|i| *i < inputs);
        AxisMap::select(inputs, (0..outputs).map(at))
    }

    /// Between `n` inputs and `m` outputs over the same space.
    pub fn corner(back: Back, n: usize, m: usize) -> AxisMap {
        if n == m {
            return AxisMap::select(n, (0..n).map(Some));
        }
        let scale = n as f64 / m as f64;
        match back {
            Back::Nearest => AxisMap::select(n, resample::nearest(n, m).into_iter().map(Some)),
            Back::NearestExact => AxisMap::select(n, resample::nearest_exact(n, m).into_iter().map(Some)),
            Back::Linear => AxisMap::at(n, (0..m).map(|i| (i as f64 + 0.5) * scale - 0.5), true),
            Back::LinearAntialiased => AxisMap::antialiased(n, m),
        }
    }

    /// Outputs at positions among the inputs, held at the ends.
    fn at(n: usize, positions: impl Iterator<Item = f64>, linear: bool) -> AxisMap {
        let mut map = AxisMap::empty(n);
        for p in positions {
            let p = p.clamp(0.0, (n - 1) as f64);
            if !linear {
                map.push((p + 0.5).floor().min((n - 1) as f64) as usize, [1.0]);
                continue;
            }
            let first = (p.floor() as usize).min(n.saturating_sub(2));
            let share = p - first as f64;
            match share {
                0.0 => map.push(first, [1.0]),
                1.0 => map.push(first + 1, [1.0]),
                _ => map.push(first, [(1.0 - share) as f32, share as f32]),
            }
        }
        map
    }

    /// Linear after a Gaussian of scikit-image's width where it shrinks; zero outside.
    fn antialiased(n: usize, m: usize) -> AxisMap {
        let scale = n as f64 / m as f64;
        let sigma = ((scale - 1.0) / 2.0).max(0.0);
        let radius = if sigma > 0.0 { (4.0 * sigma + 0.5) as i64 } else { 0 };
        let bell = |d: i64| if sigma > 0.0 { (-0.5 * (d as f64 / sigma).powi(2)).exp() } else { 1.0 };
        let total: f64 = (-radius..=radius).map(bell).sum();
        let mut map = AxisMap::empty(n);
        for o in 0..m {
            let x = (o as f64 + 0.5) * scale - 0.5;
            let (low, t) = (x.floor() as i64, x - x.floor());
            // Taps of both neighbours' bells; neighbours outside count as zero.
            let mut taps = vec![0.0; (2 * radius + 2) as usize];
            for (centre, share) in [(low, 1.0 - t), (low + 1, t)] {
                if !(0..n as i64).contains(&centre) {
                    continue;
                }
                for d in -radius..=radius {
                    taps[(centre + d - (low - radius)) as usize] += share * bell(d) / total;
                }
            }
            let first = (low - radius).max(0);
            let skip = (first - (low - radius)) as usize;
            let count = (n as i64 - first).clamp(0, taps.len() as i64 - skip as i64) as usize;
            map.push(first as usize, taps[skip..skip + count].iter().map(|w| *w as f32));
        }
        map
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.first.len()
    }

    /// The first input of output `i` and the weights from there on; none where it lies outside.
    pub fn row(&self, i: usize) -> (usize, &[f32]) {
        let range = self.begin[i] as usize..self.begin[i + 1] as usize;
        (self.first[i] as usize, &self.weights[range])
    }

    /// Whether each output is an input as it is, or outside.
    pub fn selects(&self) -> bool {
        (0..self.outputs()).all(|i| matches!(self.row(i).1, [] | [1.0]))
    }

    /// Whether nothing is changed.
    pub fn is_identity(&self) -> bool {
        self.inputs == self.outputs() && (0..self.inputs).all(|i| self.row(i) == (i, &[1.0]))
    }

    /// The input of each output, for maps that select; `None` outside.
    pub fn selection(&self) -> Vec<Option<usize>> {
        (0..self.outputs()).map(|i| self.row(i).1.first().map(|_| self.row(i).0)).collect()
    }

    /// This map and then `next`, whose inputs are this map's outputs.
    pub fn then(&self, next: &AxisMap) -> AxisMap {
        let mut map = AxisMap::empty(self.inputs);
        for i in 0..next.outputs() {
            let (first, weights) = next.row(i);
            if let [1.0] = weights {
                let (first, weights) = self.row(first);
                map.push(first, weights.iter().copied());
                continue;
            }
            let parts = || weights.iter().enumerate().map(|(k, w)| (self.row(first + k), *w));
            let low = parts().filter(|p| !p.0.1.is_empty()).map(|p| p.0.0).min();
            let high = parts().map(|p| p.0.0 + p.0.1.len()).max().unwrap_or(0);
            let Some(low) = low else {
                map.push(0, []);
                continue;
            };
            let mut sum = vec![0f32; high - low];
            for ((first, own), w) in parts() {
                own.iter().enumerate().for_each(|(k, v)| sum[first + k - low] += w * v);
            }
            map.push(low, sum);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ampoule_imaging::resample::{Border, Order, resize};

    fn apply(map: &AxisMap, line: &[f32]) -> Vec<f32> {
        let one = |i| {
            let (first, w) = map.row(i);
            w.iter().enumerate().map(|(k, w)| w * line[first + k]).sum()
        };
        (0..map.outputs()).map(one).collect()
    }

    #[test]
    fn maps_are_what_resizing_does() {
        let line: Vec<f32> = (0..37).map(|i| ((i * 7) % 11) as f32).collect();
        let v = Volume { dims: [37, 1, 1], data: line.clone() };
        for m in [5, 20, 37, 61, 200] {
            for (back, border, aa) in
                [(Back::Linear, Border::Edge, false), (Back::LinearAntialiased, Border::Zero, true)]
            {
                let want = resize(&v, [m, 1, 1], Order::Linear, border, aa).data;
                let got = apply(&AxisMap::corner(back, 37, m), &line);
                for (a, b) in want.iter().zip(&got) {
                    assert!((a - b).abs() < 2e-5, "{back:?} {m}: {a} {b}");
                }
            }
            let map = AxisMap::corner(Back::NearestExact, 37, m);
            assert!(map.selects());
            let at = resample::nearest_exact(37, m);
            assert_eq!(apply(&map, &line), at.iter().map(|&i| line[i]).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_way_back_undoes_crops_and_pads() {
        // 10 voxels, of which 3 to 8 stay, become 12, and are padded to 16.
        let trail = Trail(vec![
            Change::Window { start: [3, 0, 0], from: [10, 1, 1], to: [6, 1, 1] },
            Change::Scale { from: [6, 1, 1], to: [12, 1, 1], back: [Return::Corner(Back::Linear); 3] },
            Change::Window { start: [-1, 0, 0], from: [12, 1, 1], to: [16, 1, 1] },
        ]);
        let [x, y, _] = trail.back([16, 1, 1]);
        assert_eq!((x.inputs, x.outputs(), y.is_identity()), (16, 10, true));
        assert!(x.row(0).1.is_empty() && x.row(9).1.is_empty());
        // Halving by half-pixel coordinates is the mean of two, one further by the padding.
        assert_eq!(x.row(3), (1, &[0.5, 0.5][..]));
        assert_eq!(x.row(8), (11, &[0.5, 0.5][..]));
        let labels = Volume { dims: [10, 1, 1], data: (0..10).collect() };
        let seen = trail.labels(&labels, 99);
        assert_eq!(seen.data, [99, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 99, 99, 99]);
    }

    #[test]
    fn blocks_repeat_and_the_last_covers_the_rest() {
        let trail = Trail(vec![Change::Blocks { from: [5, 4, 1], by: 2 }]);
        let [x, y, z] = trail.back([2, 2, 1]);
        assert_eq!(x.selection(), [0, 0, 1, 1, 1].map(Some));
        assert_eq!((y.selection().len(), z.is_identity()), (4, true));
        let labels = Volume { dims: [5, 4, 1], data: (0..20).map(|i| (i % 5 >= 2) as u16).collect() };
        assert_eq!(trail.labels(&labels, 9).data, [0, 1, 0, 1]);
        assert_eq!(commonest(&labels, [1, 1, 1], 4).data, [0], "of as many, the smallest");
    }
}
