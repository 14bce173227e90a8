//! Random numbers that depend on where they are drawn and on nothing else: a resumed run draws the same.

/// SplitMix64 (Steele and others, 2014).
pub(super) struct Random(u64);

impl Random {
    /// The stream of a place: a seed, a phase, an epoch, …
    pub fn at(place: &[u64]) -> Self {
        let mut r = Random(0x9E37_79B9_7F4A_7C15);
        for p in place {
            r.0 ^= p.wrapping_add(0x632B_E593_A5D2_37C1);
            r.0 = r.next();
        }
        r
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From `a` to below `b`.
    pub fn between(&mut self, a: f32, b: f32) -> f32 {
        a + (b - a) * ((self.next() >> 40) as f32 / (1u64 << 24) as f32)
    }

    /// From 0 to below `n`, which is above 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((self.next() >> 11) % n as u64) as usize
    }

    pub fn coin(&mut self) -> bool {
        self.next() >> 63 == 1
    }

    /// Of mean 0 and deviation 1 (Box and Muller).
    pub fn normal(&mut self) -> f32 {
        let (u, v) = (self.between(f32::EPSILON, 1.0), self.between(0.0, std::f32::consts::TAU));
        (-2.0 * u.ln()).sqrt() * v.cos()
    }

    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_streams_of_their_own() {
        let first = |p: &[u64]| Random::at(p).next();
        assert_eq!(first(&[1, 2]), first(&[1, 2]));
        assert!(first(&[1, 2]) != first(&[2, 1]) && first(&[1]) != first(&[1, 0]));
        let mut r = Random::at(&[7]);
        let n = 4000;
        let (mut mean, mut square) = (0.0, 0.0);
        for _ in 0..n {
            let v = r.normal() as f64 / n as f64;
            mean += v;
            square += v * v * n as f64;
        }
        assert!(mean.abs() < 0.05 && (square - 1.0).abs() < 0.1, "{mean} {square}");
        let mut list: Vec<usize> = (0..50).collect();
        r.shuffle(&mut list);
        assert!(list[..5] != [0, 1, 2, 3, 4]);
        list.sort();
        assert!(list.into_iter().eq(0..50));
    }
}
