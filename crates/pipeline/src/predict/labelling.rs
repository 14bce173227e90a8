//! From scores on the network's grid to labels on the image's, while scores arrive.
//!
//! Where every pixel of the image takes one pixel of the network's grid, labels are decided there and then. Where
//! scores are interpolated, that happens plane by plane: a plane of the network's grid is resampled when it is
//! complete, and given up when no plane of the image needs it any more. So scores of many labels never fill a volume.

use crate::decide::Decider;
use ampoule_imaging::Volume;
use ampoule_imaging::resample::{AxisMap, map_plane, select};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Takes scores and makes labels.
pub(crate) struct Labelling<'a> {
    decider: &'a Decider,
    back: [AxisMap; 3],
    grid: [usize; 3],
    selects: bool,
    /// Labels of the recipe that the present scores are of.
    part: std::ops::Range<usize>,
    /// All labels come at once.
    together: bool,
    /// On the network's grid where labels are selected, else on the image's.
    labels: Volume<u16>,
    /// The score of each label so far, where scores come in parts.
    top: Vec<f32>,
    /// Scores of the labels that are asked for, on the grid of `labels`.
    kept: Vec<(usize, Volume<f32>)>,
    planes: Planes,
    /// Planes of the network's grid that the image needs.
    needed: std::ops::Range<usize>,
    /// Where the networks of an ensemble of configurations are averaged.
    mean: Option<Mean>,
}

/// Probabilities of the networks of an ensemble of configurations, added up on the image's grid. Where a network sees
/// nothing of the image, it adds nothing.
pub(crate) struct Mean {
    /// Labels innermost; empty before the first network.
    sum: Vec<f32>,
    /// Networks that were added.
    added: usize,
    /// All of them.
    members: usize,
}

impl Mean {
    /// Of so many networks, none of which was added yet.
    pub fn of(members: usize) -> Mean {
        Mean { sum: Vec::new(), added: 0, members }
    }

    /// Bytes that it takes in addition to what it holds, for an image at the end of `back`.
    pub fn bytes_to_come(&self, labels: usize, back: &[AxisMap; 3]) -> u64 {
        let voxels: usize = back.iter().map(AxisMap::outputs).product();
        if self.sum.is_empty() { 4 * (labels * voxels) as u64 } else { 0 }
    }

    fn begin(&mut self, values: usize) {
        self.sum.resize(values, 0.0);
    }

    /// Adds the probabilities of a pixel, and makes them the mean where this is the last network; tells whether it is.
    fn add(&mut self, at: usize, own: &mut [f32]) -> bool {
        let last = self.added + 1 == self.members;
        let sum = &mut self.sum[at * own.len()..(at + 1) * own.len()];
        for (s, v) in sum.iter_mut().zip(own) {
            *s += *v;
            *v = *s / self.members as f32;
        }
        last
    }
}

/// Planes of the network's grid that are on their way.
#[derive(Default)]
struct Planes {
    /// Scores that have arrived, and how many pixels are missing.
    arriving: BTreeMap<usize, (Vec<f32>, usize)>,
    /// Whole planes, resampled in the plane.
    ready: BTreeMap<usize, Vec<f32>>,
    /// The image's plane whose turn it is.
    next: usize,
}

/// Labels on the image's grid.
pub(crate) struct Labelled {
    pub labels: Volume<u16>,
    /// Scores of the labels that were asked for.
    pub scores: Vec<(usize, Volume<f32>)>,
    /// What was averaged so far, for the networks that follow.
    pub mean: Option<Mean>,
}

impl Labelled {
    /// Its labels over those of a part model before; voxels without one show the labels below.
    pub fn over(mut self, below: Labelled) -> Labelled {
        for (own, below) in self.labels.data.iter_mut().zip(&below.labels.data) {
            *own = if *own == 0 { *below } else { *own };
        }
        self.scores.splice(0..0, below.scores);
        self
    }
}

impl<'a> Labelling<'a> {
    /// For scores on a grid of `grid`, whose way back to the image is `back`. Scores of the labels in `keep` are kept.
    pub fn new(
        decider: &'a Decider,
        back: [AxisMap; 3],
        grid: [usize; 3],
        keep: &[usize],
        parts: usize,
        mut mean: Option<Mean>,
    ) -> Self {
        // What is averaged lies on the image's grid, whatever that of each network is.
        let selects = back.iter().all(AxisMap::selects) && mean.is_none();
        let own = if selects { grid } else { [0, 1, 2].map(|i| back[i].outputs()) };
        let voxels = own.iter().product();
        if let Some(mean) = &mut mean {
            mean.begin(decider.scores() * voxels);
        }
        Labelling {
            decider,
            selects,
            part: 0..decider.scores(),
            together: parts <= 1,
            labels: Volume::filled(own, 0),
            top: if parts > 1 { vec![f32::NAN; voxels] } else { Vec::new() },
            kept: keep.iter().map(|k| (*k, Volume::filled(own, 0f32))).collect(),
            planes: Planes::default(),
            needed: back[2].needed(),
            back,
            grid,
            mean,
        }
    }

    /// Whether scores on `grid` are interpolated on their `back` way to the image, plane by plane.
    pub fn by_plane(back: &[AxisMap; 3]) -> bool {
        !back.iter().all(AxisMap::selects)
    }

    /// Bytes that are held in addition to the scores of windows, for `scores` at a time of which planes arrive `thick` at once.
    pub fn bytes(
        by_plane: bool,
        back: &[AxisMap; 3],
        grid: [usize; 3],
        scores: usize,
        keep: usize,
        parts: usize,
        thick: usize,
    ) -> u64 {
        let image = [0, 1, 2].map(|i| back[i].outputs());
        let voxels = |d: [usize; 3]| d.iter().product::<usize>() as u64;
        let each = 2 + 4 * keep as u64 + if parts > 1 { 4 } else { 0 };
        if !by_plane {
            let same = back.iter().all(AxisMap::is_identity);
            return voxels(grid) * each + if same { 0 } else { voxels(image) * (2 + 4 * keep as u64) };
        }
        // Planes that wait: those that came at once, and as many as a row of the way back has. In addition one is
        // resampled, along x and then along y, and one is summed.
        let taps = (0..back[2].outputs()).map(|i| back[2].row(i).1.len()).max().unwrap_or(1);
        let across = image[0] * grid[1];
        let plane = image[0] * image[1];
        voxels(image) * each + 4 * scores as u64 * (plane * (taps + thick + 2) + across) as u64
    }

    /// Begins with the scores of the labels `part` of the recipe.
    pub fn begin(&mut self, part: std::ops::Range<usize>) {
        self.part = part;
        self.planes = Planes::default();
    }

    /// Takes the scores of a box of the network's grid, scores innermost.
    pub fn take(&mut self, start: [usize; 3], size: [usize; 3], scores: &[f32]) {
        if self.selects {
            return self.decide(start, size, scores);
        }
        let n = self.part.len();
        let [nx, ny, _] = self.grid;
        // Padding is on no way back.
        for z in (0..size[2]).filter(|z| self.needed.contains(&(start[2] + z))) {
            let plane = nx * ny;
            let entry = self.planes.arriving.entry(start[2] + z);
            let (values, missing) = entry.or_insert_with(|| (vec![0.0; plane * n], plane));
            for y in 0..size[1] {
                let to = n * (start[0] + nx * (start[1] + y));
                let from = n * (size[0] * (y + size[1] * z));
                values[to..to + n * size[0]].copy_from_slice(&scores[from..from + n * size[0]]);
            }
            *missing -= size[0] * size[1];
        }
        self.advance();
    }

    /// Decides the labels of a box of the grid that labels lie on.
    fn decide(&mut self, start: [usize; 3], size: [usize; 3], scores: &[f32]) {
        let row = self.part.len() * size[0];
        for (i, scores) in scores.chunks_exact(row.max(1)).enumerate() {
            let at = self.labels.index(start[0], start[1] + i % size[1], start[2] + i / size[1]);
            self.row(at, scores);
        }
    }

    /// Decides pixels that follow one another from `at` on.
    fn row(&mut self, at: usize, scores: &[f32]) {
        let n = self.part.len().max(1);
        let range = at..at + scores.len() / n;
        if self.together
            && self.mean.is_none()
            && self.decider.row(scores, &mut self.labels.data[range.clone()])
        {
            for (_, v) in &mut self.kept {
                v.data[range.clone()].copy_from_slice(scores);
            }
            return;
        }
        let mut own = vec![0f32; n];
        for (at, raw) in range.zip(scores.chunks_exact(n)) {
            self.one(at, raw, &mut own);
        }
    }

    fn one(&mut self, at: usize, raw: &[f32], own: &mut [f32]) {
        own.copy_from_slice(raw);
        if self.together {
            self.decider.activate(own);
            if self.mean.as_mut().is_none_or(|mean| mean.add(at, own)) {
                self.labels.data[at] = self.decider.label(own);
            }
        } else {
            let held = (self.labels.data[at], self.top[at]);
            (self.labels.data[at], self.top[at]) = self.decider.fold(held, self.part.start, raw);
            if !self.kept.is_empty() {
                self.decider.activate(own);
            }
        }
        for (k, v) in &mut self.kept {
            if self.part.contains(k) {
                v.data[at] = own[*k - self.part.start];
            }
        }
    }

    /// Resamples planes that are whole, and decides the image's planes whose turn it is.
    fn advance(&mut self) {
        let whole: Vec<usize> =
            self.planes.arriving.iter().filter(|(_, p)| p.1 == 0).map(|(z, _)| *z).collect();
        for z in whole {
            if let Some((plane, _)) = self.planes.arriving.remove(&z) {
                let resampled = map_plane(&plane, self.part.len(), &self.back[0], &self.back[1]);
                self.planes.ready.insert(z, resampled);
            }
        }
        while self.planes.next < self.back[2].outputs() {
            let z = self.planes.next;
            let (first, weights) = self.back[2].row(z);
            if !(first..first + weights.len()).all(|i| self.planes.ready.contains_key(&i)) {
                break;
            }
            let weights = weights.to_vec();
            if !weights.is_empty() {
                self.plane(z, first, &weights);
            }
            self.planes.next += 1;
            let needed = (self.planes.next..self.back[2].outputs())
                .find(|z| !self.back[2].row(*z).1.is_empty())
                .map_or(usize::MAX, |z| self.back[2].row(z).0);
            self.planes.ready.retain(|z, _| *z >= needed);
        }
    }

    /// Plane `z` of the image from planes of the network's grid.
    fn plane(&mut self, z: usize, first: usize, weights: &[f32]) {
        let [nx, ny] = [self.back[0].outputs(), self.back[1].outputs()];
        let n = self.part.len();
        let mut sum = vec![0f32; n * nx * ny];
        for (k, w) in weights.iter().enumerate() {
            let plane = &self.planes.ready[&(first + k)];
            let set = k == 0;
            sum.par_chunks_mut(n * nx).zip(plane.par_chunks(n * nx)).for_each(|(s, p)| {
                s.iter_mut().zip(p).for_each(|(s, p)| *s = if set { w * p } else { *s + w * p });
            });
        }
        // Pixels beyond the network's grid lie around the others.
        let [xs, ys] = [0, 1].map(|i| self.back[i].covered());
        for y in ys {
            let at = self.labels.index(xs.start, y, z);
            self.row(at, &sum[n * (xs.start + nx * y)..n * (xs.end + nx * y)]);
        }
    }

    /// Labels and scores on the image's grid.
    pub fn finish(mut self) -> Labelled {
        if let Some(mean) = &mut self.mean {
            mean.added += 1;
        }
        let image = [0, 1, 2].map(|i| self.back[i].outputs());
        if !self.selects || self.back.iter().all(AxisMap::is_identity) {
            return Labelled { labels: self.labels, scores: self.kept, mean: self.mean };
        }
        let at = [0, 1, 2].map(|i| self.back[i].selection());
        let labels = select(&self.labels, &at, image, 0);
        let kept = self.kept.into_iter().map(|(k, v)| (k, select(&v, &at, image, 0.0)));
        Labelled { labels, scores: kept.collect(), mean: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_of_padding_are_not_kept() {
        let text = "version = 2\n[model]\nname = \"x\"\ntask = \"segmentation\"\n[[input]]\nname = \"a\"\n[[network]]\n[[label]]\nname = \"b\"\n[[label]]\nname = \"c\"\n";
        let decider = Decider::new(&crate::Recipe::parse(text, "").unwrap());
        // Planes 20 and 21 of 40 are the image's; along x pixels are interpolated.
        let along =
            |from: usize, n: usize, to: usize| AxisMap::select(n, (0..to).map(move |i| Some(from + i)));
        let x = AxisMap::linear(4, 6);
        let back = [x, along(0, 3, 3), along(20, 40, 2)];
        let mut l = Labelling::new(&decider, back, [4, 3, 40], &[], 1, None);
        for z in 0..40 {
            let scores: Vec<f32> = (0..12).flat_map(|i| [0.5, if i % 4 < 2 { 0.1 } else { 0.9 }]).collect();
            l.take([0, 0, z], [4, 3, 1], &scores);
            assert!(l.planes.ready.len() + l.planes.arriving.len() <= 1, "{z}");
        }
        let labels = l.finish().labels;
        assert_eq!((labels.dims, &labels.data[..6]), ([6, 3, 2], &[0, 0, 0, 1, 1, 1][..]));
    }
}
