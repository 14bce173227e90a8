//! Windows that hold one value a channel throughout, such as air, glass or a zeroed background: equal ones are computed
//! once a case.

use ampoule_imaging::Volume;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Most different constant inputs of a case whose results are kept. Air, padding and glass are one each.
pub(crate) const KEPT: usize = 4;

/// Bits of the values that a network's input holds, one a channel of each window.
pub(crate) type Constant = Vec<u32>;

/// The constant input that these windows, one an entry of the batch, are together.
pub(crate) fn of_windows(windows: &[Cow<[Volume<f32>]>]) -> Option<Constant> {
    windows.iter().flat_map(|channels| channels.iter()).map(|v| value(&v.data)).collect()
}

/// The constant input that pixels of `channels` values are.
pub(crate) fn of_pixels(values: &[f32], channels: usize) -> Option<Constant> {
    let first = values.get(..channels)?;
    let same = |p: &[f32]| p.iter().zip(first).all(|(a, b)| a.to_bits() == b.to_bits());
    values.chunks_exact(channels).all(same).then(|| first.iter().map(|v| v.to_bits()).collect())
}

fn value(data: &[f32]) -> Option<u32> {
    let first = data.first()?.to_bits();
    // By parts, so that each is looked at without a branch.
    let same = |part: &[f32]| part.iter().fold(true, |all, v| all & (v.to_bits() == first));
    data.chunks(256).all(same).then_some(first)
}

/// Windows of a case that networks were to see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Windows {
    /// All of them, of all networks.
    pub all: usize,
    /// Those that were not computed, because an equal one had been.
    pub reused: usize,
}

impl Windows {
    /// Adds others.
    pub fn add(&mut self, more: Windows) {
        self.all += more.all;
        self.reused += more.reused;
    }

    /// The share that was not computed, in words; `None` where all were.
    pub fn saved(&self) -> Option<String> {
        let percent = (100.0 * self.reused as f64 / self.all.max(1) as f64).floor();
        (self.reused > 0).then(|| {
            format!(
                "{} of {} windows ({percent} %) equal others and were not computed again",
                self.reused, self.all
            )
        })
    }
}

/// Results by constant input, as many as there is room for.
pub(crate) struct Kept<T> {
    results: Vec<(Constant, T)>,
    most: usize,
}

impl<T: Default> Kept<T> {
    /// With room for `most` results.
    pub fn new(most: usize) -> Kept<T> {
        Kept { results: Vec::new(), most }
    }

    /// The number of the result of this input, and whether it is to be computed first; `None` where there is no room.
    pub fn find(&mut self, input: &Constant) -> Option<(usize, bool)> {
        if let Some(i) = self.results.iter().position(|r| r.0 == *input) {
            return Some((i, false));
        }
        if self.results.len() == self.most {
            return None;
        }
        self.results.push((input.clone(), T::default()));
        Some((self.results.len() - 1, true))
    }

    /// Most results that are kept.
    pub fn most(&self) -> usize {
        self.most
    }

    pub fn get(&self, i: usize) -> &T {
        &self.results[i].1
    }

    pub fn set(&mut self, i: usize, result: T) {
        self.results[i].1 = result;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_equal_bits_are_constant() {
        let one = |data: Vec<f32>| of_windows(&[Cow::Owned(vec![Volume { dims: [data.len(), 1, 1], data }])]);
        assert_eq!(one(vec![2.0; 600]), Some(vec![2f32.to_bits()]));
        let mut data = vec![0.0; 600];
        data[599] = -0.0;
        assert_eq!(one(data), None);
        assert_eq!(of_pixels(&[1.0, 2.0, 1.0, 2.0], 2), Some(vec![1f32.to_bits(), 2f32.to_bits()]));
        assert_eq!(of_pixels(&[1.0, 2.0, 2.0, 1.0], 2), None);
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let mut kept: Kept<u8> = Kept::new(1);
        assert_eq!(kept.find(&vec![1]), Some((0, true)));
        assert_eq!(kept.find(&vec![1]), Some((0, false)));
        assert_eq!(kept.find(&vec![2]), None);
        assert_eq!(Kept::<u8>::new(0).find(&vec![1]), None);
    }
}
