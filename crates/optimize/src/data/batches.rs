//! Which patches a step sees.

use super::augment::{Augment, Freedom, Patch, cut};
use super::examples::Examples;
use crate::Result;
use ampoule_pipeline::{Example, UNKNOWN};
use ampoule_random::Random;

/// A batch: inputs channels innermost, one label for each place (or each case), and the probabilities that are
/// taught, where there are any.
#[derive(Default)]
pub(crate) struct Batch {
    pub values: Vec<f32>,
    pub labels: Vec<u8>,
    pub taught: Vec<f32>,
}

/// Draws batches.
#[derive(Clone)]
pub(crate) struct Batches {
    /// Patches in a batch.
    pub size: usize,
    /// Depth, height and width of a patch.
    pub patch: [usize; 3],
    pub channels: usize,
    pub free: Freedom,
    pub seed: u64,
    /// Steps of an epoch.
    pub steps: usize,
    /// The class of each case, if cases have one: all classes are drawn equally often.
    pub classes: Option<Vec<u8>>,
}

/// Share of the patches that are put on a place of a class drawn at random, rather than anywhere.
const FOCUSED: f32 = 0.5;

impl Batches {
    /// The cases of an epoch in the order in which they are drawn. Where cases have a class, classes take turns.
    fn order(&self, cases: usize, epoch: usize) -> Vec<usize> {
        let mut r = Random::at(&[self.seed, epoch as u64]);
        let wanted = self.steps * self.size;
        let mut rounds: Vec<Vec<usize>> = match &self.classes {
            Some(classes) => {
                let present: std::collections::BTreeSet<u8> = classes.iter().copied().collect();
                let own = |c: u8| (0..cases).filter(|&i| classes[i] == c).collect();
                present.into_iter().map(own).collect()
            }
            None => vec![(0..cases).collect()],
        };
        rounds.iter_mut().for_each(|l| r.shuffle(l));
        let mut at = vec![0usize; rounds.len()];
        let mut order = Vec::with_capacity(wanted);
        while order.len() < wanted {
            for (list, at) in rounds.iter_mut().zip(&mut at) {
                if *at == list.len() {
                    r.shuffle(list);
                    *at = 0;
                }
                order.push(list[*at]);
                *at += 1;
            }
        }
        order.truncate(wanted);
        order
    }

    /// The same, without augmentation.
    pub fn still(&self) -> Batches {
        Batches { free: Freedom { augment: Augment::None, ..self.free }, ..self.clone() }
    }

    /// Batch `step` of epoch `epoch` of a phase.
    pub fn draw(&self, from: &mut Examples, phase: usize, epoch: usize, step: usize) -> Result<Batch> {
        // The epochs of all phases draw differently.
        let epoch = 10_000 * phase + epoch;
        let order = self.order(from.paths.len(), epoch);
        let voxels: usize = self.patch.iter().product();
        let mut batch = Batch { values: vec![0.0; self.size * voxels * self.channels], ..Batch::default() };
        for (i, values) in batch.values.chunks_exact_mut(voxels * self.channels).enumerate() {
            let at = step * self.size + i;
            let mut r = Random::at(&[self.seed, epoch as u64, at as u64]);
            let e = from.get(order[at])?;
            let focus = focus(&e, &mut r);
            let mut patch =
                Patch { dims: self.patch, values, labels: &mut batch.labels, taught: &mut batch.taught };
            cut(&e, &mut patch, focus, &self.free, &mut r);
        }
        Ok(batch)
    }
}

/// A place of a class that is drawn among those that the example shows.
fn focus(e: &Example, r: &mut Random) -> Option<[usize; 3]> {
    let n: usize = e.dims.iter().product();
    if r.between(0.0, 1.0) >= FOCUSED || (e.labels.len() != n && e.taught.len() != n) {
        return None;
    }
    let class = |i: usize| match e.labels.len() == n {
        true => e.labels[i],
        false => (e.taught[i] > 0.5) as u8,
    };
    let mut seen = [false; 256];
    (0..n).for_each(|i| seen[class(i) as usize] = true);
    let present: Vec<u8> = (0..UNKNOWN).filter(|&c| seen[c as usize]).collect();
    if present.is_empty() {
        return None;
    }
    let wanted = present[r.below(present.len())];
    // Somewhere from a random place on.
    let start = r.below(n);
    let i = (0..n).map(|k| (start + k) % n).find(|&i| class(i) == wanted)?;
    let [_, h, w] = e.dims;
    Some([i / (h * w), i / w % h, i % w])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_classes_take_their_turn() {
        let free = Freedom { flips: [false; 3], quarters: false, augment: Augment::None };
        let classes = Some((0..100).map(|i| (i % 10 == 0) as u8).collect());
        let mut b = Batches { size: 4, patch: [1, 8, 8], channels: 3, free, seed: 3, steps: 25, classes };
        let rare = |b: &Batches, e: usize| b.order(100, e).iter().filter(|&&i| i % 10 == 0).count();
        assert_eq!(rare(&b, 0), 50);
        assert_ne!(b.order(100, 0), b.order(100, 1));
        assert_eq!(b.order(100, 2), b.order(100, 2));
        b.classes = None;
        let mut all = b.order(100, 0);
        all.sort();
        assert!(all.into_iter().eq(0..100), "every case once");
    }

    #[test]
    fn small_objects_are_looked_at() {
        let mut labels = vec![0u8; 4096];
        labels[2345] = 1;
        let e = Example { dims: [1, 64, 64], channels: 1, values: vec![0.0; 4096], labels, taught: vec![] };
        let hits = (0..400).filter_map(|s| focus(&e, &mut Random::at(&[s]))).filter(|f| *f == [0, 36, 41]);
        let n = hits.count();
        assert!((60..140).contains(&n), "{n}");
    }
}
