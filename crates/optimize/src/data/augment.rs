//! Patches of examples, changed at random as patients, scanners and stains differ.

use ampoule_pipeline::Example;
use ampoule_random::Random;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Augmentation: how far patches are changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Augment {
    /// Not at all.
    None,
    /// Mirrored, and turned by quarters where no direction is special.
    #[default]
    Light,
    /// Also turned and scaled freely, brighter and darker, in other colours, with noise.
    Full,
}

/// What may happen to images of a kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freedom {
    /// Axes of the tensor (depth, height, width) that may be mirrored.
    pub flips: [bool; 3],
    /// Whether height and width may change places.
    pub quarters: bool,
    /// How far.
    pub augment: Augment,
}

/// Largest angle of free turns, in radians, and the range of scales.
const TURN: f32 = 0.26;
const SCALE: [f32; 2] = [0.85, 1.2];

/// Where a patch lies in its example: `source = centre + matrix · (place - middle of the patch)`.
struct Pose {
    matrix: [[f32; 3]; 3],
    centre: [f32; 3],
    /// Whether every place is one of the example's own.
    exact: bool,
}

impl Pose {
    /// A pose that keeps the patch inside the example if it fits, about `focus` if that is given.
    fn draw(
        dims: [usize; 3],
        patch: [usize; 3],
        focus: Option<[usize; 3]>,
        free: &Freedom,
        r: &mut Random,
    ) -> Pose {
        let mut matrix = [[0f32; 3]; 3];
        let mut axes = [0, 1, 2];
        let augment = free.augment != Augment::None;
        if augment && free.quarters && patch[1] == patch[2] && r.coin() {
            axes.swap(1, 2);
        }
        for (i, &a) in axes.iter().enumerate() {
            let flip = augment && free.flips[a] && r.coin();
            matrix[a][i] = if flip { -1.0 } else { 1.0 };
        }
        let mut centre = [0f32; 3];
        for i in 0..3 {
            let room = dims[i] as i64 - patch[i] as i64;
            let start = match focus {
                Some(f) => (f[i] as i64 - r.below(patch[i]) as i64).clamp(room.min(0), room.max(0)),
                None if room > 0 => r.below(room as usize + 1) as i64,
                None => room / 2,
            };
            centre[i] = start as f32 + (patch[i] as f32 - 1.0) / 2.0;
        }
        let mut exact = true;
        if free.augment == Augment::Full && r.coin() {
            exact = false;
            let scale = 1.0 / r.between(SCALE[0], SCALE[1]);
            // About the axis that stands on the image; volumes also about the others.
            let about = if dims[0] == 1 { 0 } else { r.below(3) };
            let (a, b) = ([1, 0, 0][about], [2, 2, 1][about]);
            let (sin, cos) = libm::sincosf(r.between(-TURN, TURN));
            for i in 0..3 {
                let (u, v) = (matrix[a][i], matrix[b][i]);
                matrix[a][i] = cos * u - sin * v;
                matrix[b][i] = sin * u + cos * v;
            }
            let flat = (dims[0] == 1) as usize;
            matrix[flat..].iter_mut().flatten().for_each(|m| *m *= scale);
        }
        Pose { matrix, centre, exact }
    }
}

/// Position `i` continued by reflection about the first and the last of `n`.
fn reflected(i: i64, n: usize) -> usize {
    if n == 1 {
        return 0;
    }
    let k = i.rem_euclid(2 * n as i64 - 2) as usize;
    if k < n { k } else { 2 * n - 2 - k }
}

/// A patch: channels innermost, labels and taught probabilities with it (empty where the example has none).
pub(super) struct Patch<'a> {
    pub dims: [usize; 3],
    pub values: &'a mut [f32],
    pub labels: &'a mut Vec<u8>,
    pub taught: &'a mut Vec<f32>,
}

/// Cuts a patch at a random place and pose. Labels are taken from the nearest place, values between places.
pub(super) fn cut(e: &Example, patch: &mut Patch, focus: Option<[usize; 3]>, free: &Freedom, r: &mut Random) {
    let (d, p, c) = (e.dims, patch.dims, e.channels);
    let pose = Pose::draw(d, p, focus, free, r);
    let dense = e.labels.len() > 1;
    let tone = Tone::draw(c, free.augment, r);
    let at = |q: [usize; 3]| (q[0] * d[1] + q[1]) * d[2] + q[2];
    let middle = p.map(|n| (n as f32 - 1.0) / 2.0);
    let mut to = patch.values.chunks_exact_mut(c);
    for z in 0..p[0] {
        for y in 0..p[1] {
            for x in 0..p[2] {
                let q = [z, y, x].map(|v| v as f32);
                let mut s = pose.centre;
                for i in 0..3 {
                    s[i] += (0..3).map(|k| pose.matrix[i][k] * (q[k] - middle[k])).sum::<f32>();
                }
                let nearest = [0, 1, 2].map(|i| reflected(s[i].round() as i64, d[i]));
                let near = at(nearest);
                let Some(to) = to.next() else { return };
                if dense {
                    patch.labels.push(e.labels[near]);
                }
                if pose.exact {
                    to.copy_from_slice(&e.values[c * near..c * (near + 1)]);
                    if !e.taught.is_empty() {
                        patch.taught.push(e.taught[near]);
                    }
                } else {
                    let corners = corners(s, d);
                    to.fill(0.0);
                    let mut taught = 0.0;
                    for (q, w) in corners.into_iter().filter(|k| k.1 > 0.0) {
                        let from = at(q);
                        to.iter_mut().zip(&e.values[c * from..]).for_each(|(t, v)| *t += w * v);
                        taught += w * e.taught.get(from).copied().unwrap_or(0.0);
                    }
                    if !e.taught.is_empty() {
                        patch.taught.push(taught);
                    }
                }
                tone.apply(to, r);
            }
        }
    }
    if !dense {
        patch.labels.extend(&e.labels);
    }
}

/// The places around `s` and their shares.
fn corners(s: [f32; 3], d: [usize; 3]) -> [([usize; 3], f32); 8] {
    let low = s.map(f32::floor);
    std::array::from_fn(|k| {
        let mut share = 1.0;
        let q = std::array::from_fn(|i| {
            let up = k >> i & 1;
            let part = if d[i] == 1 { 0.0 } else { s[i] - low[i] };
            share *= if up == 1 { part } else { 1.0 - part };
            reflected(low[i] as i64 + up as i64, d[i])
        });
        (q, share)
    })
}

/// Brightness, contrast, colour and noise.
struct Tone {
    gain: Vec<f32>,
    shift: Vec<f32>,
    noise: f32,
}

impl Tone {
    fn draw(channels: usize, augment: Augment, r: &mut Random) -> Tone {
        if augment != Augment::Full {
            return Tone { gain: Vec::new(), shift: Vec::new(), noise: 0.0 };
        }
        let (gain, shift) = (r.between(0.85, 1.18), r.between(-0.15, 0.15));
        let own = |r: &mut Random, by: f32| if channels > 1 { r.between(-by, by) } else { 0.0 };
        Tone {
            gain: (0..channels).map(|_| gain * (1.0 + own(r, 0.06))).collect(),
            shift: (0..channels).map(|_| shift + own(r, 0.06)).collect(),
            noise: if r.coin() { r.between(0.0, 0.06) } else { 0.0 },
        }
    }

    fn apply(&self, values: &mut [f32], r: &mut Random) {
        for ((v, g), s) in values.iter_mut().zip(&self.gain).zip(&self.shift) {
            *v = *v * g + s;
            if self.noise > 0.0 {
                *v += self.noise * r.normal();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Example {
        let dims = [1, 6, 8];
        let values: Vec<f32> = (0..48).flat_map(|i| [i as f32, 100.0 + i as f32]).collect();
        let (labels, taught) = ((0..48).collect(), (0..48).map(|i| i as f32 / 48.0).collect());
        Example { dims, channels: 2, values, labels, taught }
    }

    fn patch(free: Freedom, focus: Option<[usize; 3]>, seed: u64) -> (Vec<f32>, Vec<u8>, Vec<f32>) {
        let (mut values, mut labels, mut taught) = (vec![0.0; 32], Vec::new(), Vec::new());
        let mut p = Patch { dims: [1, 4, 4], values: &mut values, labels: &mut labels, taught: &mut taught };
        cut(&example(), &mut p, focus, &free, &mut Random::at(&[seed]));
        (values, labels, taught)
    }

    const STILL: Freedom = Freedom { flips: [true; 3], quarters: true, augment: Augment::None };

    #[test]
    fn labels_stay_with_their_values() {
        let mut poses = std::collections::BTreeSet::new();
        for seed in 0..64 {
            for augment in [Augment::None, Augment::Light] {
                let (v, l, t) = patch(Freedom { augment, ..STILL }, None, seed);
                assert!(l.iter().zip(v.chunks(2)).all(|(l, v)| *l as f32 == v[0] && v[1] == v[0] + 100.0));
                assert!(l.iter().zip(&t).all(|(l, t)| *l as f32 / 48.0 == *t));
                let unique: std::collections::BTreeSet<_> = l.iter().collect();
                assert_eq!(unique.len(), 16, "a pose is a permutation");
                if augment == Augment::Light {
                    poses.insert((l[1] as i64 - l[0] as i64, l[4] as i64 - l[0] as i64));
                }
            }
        }
        assert_eq!(poses.len(), 8, "{poses:?}");
    }

    #[test]
    fn a_focus_is_inside() {
        for seed in 0..40 {
            let (_, l, _) = patch(STILL, Some([0, 5, 7]), seed);
            assert!(l.contains(&47), "{l:?}");
        }
    }

    #[test]
    fn free_turns_interpolate() {
        let linear = Freedom { augment: Augment::Full, ..STILL };
        let mut between = 0;
        for seed in 0..40 {
            let (v, l, t) = patch(linear, None, seed);
            assert!(v.iter().chain(&t).all(|x| x.is_finite()) && l.len() == 16 && t.len() == 16);
            between += t.iter().filter(|t| (*t * 48.0).fract().abs() > 0.01).count();
        }
        assert!(between > 100);
        assert!((corners([0.0, 2.5, 3.25], [1, 6, 8]).iter().map(|c| c.1).sum::<f32>() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn small_examples_are_continued() {
        let e =
            Example { dims: [1, 2, 3], channels: 1, values: vec![1.0; 6], labels: vec![1], taught: vec![] };
        let (mut values, mut labels, mut taught) = (vec![0.0; 64], Vec::new(), Vec::new());
        let mut p = Patch { dims: [1, 8, 8], values: &mut values, labels: &mut labels, taught: &mut taught };
        cut(&e, &mut p, None, &STILL, &mut Random::at(&[1]));
        assert!(values.iter().all(|v| *v == 1.0) && labels == [1] && taught.is_empty());
    }
}
