//! The one random generator of the workspace: SplitMix64 (Steele, Lea and Flood, *Fast splittable
//! pseudorandom number generators*, OOPSLA 2014).
//!
//! Results depend on its numbers (initial weights, augmentation, bootstrap intervals), and a resumed run must
//! draw what the first one drew. So the sequence of a seed is part of the contract: it never changes.
#![forbid(unsafe_code)]

/// A stream of random numbers; by default that of the seed 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Random(u64);

impl Random {
    /// The stream of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The stream of a place: a seed, an epoch, a case, … Every place has its own.
    pub fn at(place: &[u64]) -> Self {
        let mut random = Self::new(0x9E37_79B9_7F4A_7C15);
        for p in place {
            random.0 ^= p.wrapping_add(0x632B_E593_A5D2_37C1);
            random.0 = random.bits();
        }
        random
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 to below 1, in steps of 2⁻²⁴.
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// From `a` to below `b`.
    pub fn between(&mut self, a: f32, b: f32) -> f32 {
        a + (b - a) * self.unit()
    }

    /// From 0 to below `n`; 0 where `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((self.bits() >> 11) % (n as u64).max(1)) as usize
    }

    /// Heads or tails.
    pub fn coin(&mut self) -> bool {
        self.bits() >> 63 == 1
    }

    /// Normal with mean 0 and deviation 1 (Box and Muller).
    pub fn normal(&mut self) -> f32 {
        let (u, v) = (self.between(f32::EPSILON, 1.0), self.between(0.0, std::f32::consts::TAU));
        (-2.0 * libm::logf(u)).sqrt() * libm::cosf(v)
    }

    /// Puts a list in random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.below(i + 1));
        }
    }

    /// `n` values from -1 to below 1.
    pub fn values(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.between(-1.0, 1.0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_published_sequence() {
        // First outputs of the reference implementation (splitmix64.c) for the seed 1234567.
        let mut random = Random::new(1_234_567);
        let first = [(); 3].map(|()| random.bits());
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn places_have_streams_of_their_own() {
        let first = |p: &[u64]| Random::at(p).bits();
        assert_eq!(first(&[1, 2]), first(&[1, 2]));
        assert!(first(&[1, 2]) != first(&[2, 1]) && first(&[1]) != first(&[1, 0]));
    }

    #[test]
    fn distributions_have_their_moments() {
        let n = 20_000;
        let moments = |draw: &mut dyn FnMut() -> f32| {
            let values: Vec<f64> = (0..n).map(|_| draw() as f64).collect();
            let mean = values.iter().sum::<f64>() / n as f64;
            (mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64)
        };
        let mut random = Random::new(7);
        let (mean, variance) = moments(&mut || random.normal());
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.04, "{mean} {variance}");
        let (mean, variance) = moments(&mut || random.between(-1.0, 1.0));
        assert!(mean.abs() < 0.02 && (variance - 1.0 / 3.0).abs() < 0.01, "{mean} {variance}");
        let (mean, _) = moments(&mut || random.coin() as u8 as f32);
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
    }

    #[test]
    fn numbers_stay_below_their_limit_and_reach_all() {
        let mut random = Random::new(3);
        let mut seen = [0; 7];
        (0..7000).for_each(|_| seen[random.below(7)] += 1);
        assert!(seen.iter().all(|&n| (800..1200).contains(&n)), "{seen:?}");
        assert_eq!(random.below(0), 0);
        assert!(random.values(1000).iter().all(|v| (-1.0..1.0).contains(v)));
    }

    #[test]
    fn a_shuffled_list_holds_the_same_in_another_order() {
        let mut list: Vec<usize> = (0..50).collect();
        Random::new(7).shuffle(&mut list);
        assert!(list[..5] != [0, 1, 2, 3, 4]);
        list.sort();
        assert!(list.into_iter().eq(0..50));
    }
}
