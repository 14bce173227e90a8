//! Resampling along one axis as a sparse linear map, which can be combined with others.

use crate::Volume;
use rayon::prelude::*;

/// Weights of a spline up to this are left out.
const LEAST: f32 = 1e-7;

/// A linear map along one axis: each output is a weighted sum of neighbouring inputs, or lies outside.
#[derive(Clone, Debug, PartialEq)]
pub struct AxisMap {
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
    pub fn window(start: i64, inputs: usize, outputs: usize) -> AxisMap {
        let at = |i: usize| usize::try_from(i as i64 + start).ok().filter(|i| *i < inputs);
        AxisMap::select(inputs, (0..outputs).map(at))
    }

    /// Every output is the input of its number.
    pub fn identity(n: usize) -> AxisMap {
        AxisMap::select(n, (0..n).map(Some))
    }

    /// `m` outputs over the same space as `n` inputs, each the nearest input as PyTorch's `nearest` has it.
    pub fn nearest(n: usize, m: usize) -> AxisMap {
        AxisMap::select(n, super::nearest(n, m).into_iter().map(Some))
    }

    /// The same by half-pixel coordinates: PyTorch's `nearest-exact`.
    pub fn nearest_exact(n: usize, m: usize) -> AxisMap {
        AxisMap::select(n, super::nearest_exact(n, m).into_iter().map(Some))
    }

    /// `m` outputs over the same space as `n` inputs, interpolated linearly by half-pixel coordinates.
    pub fn linear(n: usize, m: usize) -> AxisMap {
        let scale = n as f64 / m as f64;
        AxisMap::at(n, (0..m).map(|i| (i as f64 + 0.5) * scale - 0.5), true)
    }

    /// Outputs at positions among `n` inputs, held at the ends: between two neighbours where `linear`, else the nearest.
    pub fn at(n: usize, positions: impl Iterator<Item = f64>, linear: bool) -> AxisMap {
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

    /// `m` outputs over the same space as `n` inputs, interpolated linearly after a Gaussian of scikit-image's width
    /// where it shrinks; zero outside.
    pub fn antialiased(n: usize, m: usize) -> AxisMap {
        let scale = n as f64 / m as f64;
        let sigma = ((scale - 1.0) / 2.0).max(0.0);
        let radius = if sigma > 0.0 { (4.0 * sigma + 0.5) as i64 } else { 0 };
        let bell = |d: i64| if sigma > 0.0 { libm::exp(-0.5 * (d as f64 / sigma).powi(2)) } else { 1.0 };
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

    /// `m` outputs over the same space as `n` inputs, by cubic splines that go on as the border: scikit-image's order 3
    /// with `edge`, without a filter where it shrinks.
    pub fn cubic(n: usize, m: usize) -> AxisMap {
        // What each input alone becomes.
        let column = |i: usize| {
            let mut line = Volume::filled([n, 1, 1], 0f32);
            line.data[i] = 1.0;
            let places = [super::Coordinates::HalfPixel; 3];
            super::sample(&line, [m, 1, 1], places, super::Order::Cubic, super::Border::Edge).data
        };
        let columns: Vec<Vec<f32>> = (0..n).into_par_iter().map(column).collect();
        let mut map = AxisMap::empty(n);
        for o in 0..m {
            // A spline depends on all inputs, and on far ones by less than rounding does.
            let counts = |i: &usize| columns[*i][o].abs() > LEAST;
            let first = (0..n).find(counts).unwrap_or(0);
            let end = (0..n).rfind(counts).map_or(first, |i| i + 1);
            map.push(first, (first..end).map(|i| columns[i][o]));
        }
        map
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.first.len()
    }

    #[inline]
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

/// A plane of pixels of `n` values each, values innermost, mapped along x and y.
pub fn map_plane(plane: &[f32], n: usize, along_x: &AxisMap, along_y: &AxisMap) -> Vec<f32> {
    let (nx, mx, my) = (along_x.inputs, along_x.outputs(), along_y.outputs());
    let mut across = vec![0f32; n * mx * along_y.inputs];
    let row = |(out, line): (&mut [f32], &[f32])| {
        for x in 0..mx {
            let (first, weights) = along_x.row(x);
            for (k, w) in weights.iter().enumerate() {
                let from = &line[n * (first + k)..n * (first + k + 1)];
                let set = k == 0;
                let out = &mut out[n * x..n * (x + 1)];
                out.iter_mut().zip(from).for_each(|(o, v)| *o = if set { w * v } else { *o + w * v });
            }
        }
    };
    across.par_chunks_mut((n * mx).max(1)).zip(plane.par_chunks((n * nx).max(1))).for_each(row);
    if along_y.is_identity() {
        return across;
    }
    let mut out = vec![0f32; n * mx * my];
    out.par_chunks_mut((n * mx).max(1)).enumerate().for_each(|(y, out)| {
        let (first, weights) = along_y.row(y);
        for (k, w) in weights.iter().enumerate() {
            let from = &across[n * mx * (first + k)..n * mx * (first + k + 1)];
            let set = k == 0;
            out.iter_mut().zip(from).for_each(|(o, v)| *o = if set { w * v } else { *o + w * v });
        }
    });
    out
}

/// The voxels at the given positions along each axis; `outside` where there is none.
pub fn select<T: Copy + Send + Sync>(
    v: &Volume<T>,
    at: &[Vec<Option<usize>>; 3],
    dims: [usize; 3],
    outside: T,
) -> Volume<T> {
    // The inner part lies without gaps, so it is gathered and put in its place.
    let inner = [0, 1, 2].map(|i| at[i].iter().flatten().copied().collect::<Vec<_>>());
    let part = super::gather(v, [&inner[0], &inner[1], &inner[2]]);
    if part.dims == dims {
        return part;
    }
    let start = [0, 1, 2].map(|i| at[i].iter().position(Option::is_some).unwrap_or(0));
    let mut out = Volume::filled(dims, outside);
    if part.data.is_empty() {
        return out;
    }
    out.paste(&part, start);
    out
}

#[cfg(test)]
mod tests {
    use super::super::{Border, Order, nearest_exact, resize};
    use super::*;

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
            let linear = (AxisMap::linear as fn(usize, usize) -> AxisMap, Border::Edge, false);
            for (make, border, aa) in [linear, (AxisMap::antialiased, Border::Zero, true)] {
                let want = resize(&v, [m, 1, 1], Order::Linear, border, aa).data;
                let map = if m == 37 { AxisMap::identity(37) } else { make(37, m) };
                let got = apply(&map, &line);
                for (a, b) in want.iter().zip(&got) {
                    assert!((a - b).abs() < 2e-5, "{border:?} {m}: {a} {b}");
                }
            }
            let map = AxisMap::nearest_exact(37, m);
            assert!(map.selects());
            let at = nearest_exact(37, m);
            assert_eq!(apply(&map, &line), at.iter().map(|&i| line[i]).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_spline_is_what_resizing_by_cubic_splines_does() {
        let line: Vec<f32> = (0..37).map(|i| ((i * 7) % 11) as f32).collect();
        let v = Volume { dims: [37, 1, 1], data: line.clone() };
        for m in [5, 20, 61, 200] {
            // Resizing holds what it makes within the range of what there was.
            let want = resize(&v, [m, 1, 1], Order::Cubic, Border::Edge, false).data;
            let got = apply(&AxisMap::cubic(37, m), &line);
            for (a, b) in want.iter().zip(got.iter().map(|v| v.clamp(0.0, 10.0))) {
                assert!((a - b).abs() < 2e-5, "{a} and {b}, {m} outputs");
            }
        }
    }
}
