//! A histogram of a stream of values in bounded memory.

/// Bins on either side of zero.
const HALF: usize = 2048;

/// Counts of values in `2·2048` equal bins about zero, whose width doubles when a value falls outside:
/// then neighbours are joined, which loses nothing that the wider bins could hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// The bins reach from `-reach` to `reach`; 0 before the first value other than 0.
    reach: f64,
    counts: Vec<u64>,
    /// Values before there was a width: all of them 0.
    zeros: u64,
    min: f32,
    max: f32,
    /// Sums over cases of the extremes of each, and the number of cases.
    extremes: [f64; 2],
    cases: u64,
    /// Extremes of the case that is being watched.
    own: [f32; 2],
}

impl Default for Histogram {
    fn default() -> Self {
        let (min, max) = (f32::INFINITY, f32::NEG_INFINITY);
        Histogram {
            reach: 0.0,
            counts: vec![0; 2 * HALF],
            zeros: 0,
            min,
            max,
            extremes: [0.0; 2],
            cases: 0,
            own: [min, max],
        }
    }
}

impl Histogram {
    /// Counts `values`; false if one is not finite, and then nothing is counted.
    pub fn add(&mut self, values: &[f32]) -> bool {
        let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
        let mut finite = true;
        for &v in values {
            low = low.min(v);
            high = high.max(v);
            finite &= v.is_finite();
        }
        if !finite {
            return false;
        }
        if values.is_empty() {
            return true;
        }
        (self.min, self.max) = (self.min.min(low), self.max.max(high));
        self.own = [self.own[0].min(low), self.own[1].max(high)];
        let most = low.abs().max(high.abs()) as f64;
        if most == 0.0 && self.reach == 0.0 {
            self.zeros += values.len() as u64;
            return true;
        }
        self.widen(most);
        let scale = (HALF as f64 / self.reach) as f32;
        for &v in values {
            let bin = (v * scale + HALF as f32).max(0.0) as usize;
            self.counts[bin.min(2 * HALF - 1)] += 1;
        }
        true
    }

    /// Makes the bins reach as far as `most`.
    fn widen(&mut self, most: f64) {
        if self.reach == 0.0 {
            // A power of two, so that widths are the same whatever the order of cases.
            self.reach = 2f64.powi(libm::log2(most).ceil() as i32).max(f64::MIN_POSITIVE);
            self.counts[HALF] += std::mem::take(&mut self.zeros);
        }
        while self.reach < most {
            let old = std::mem::replace(&mut self.counts, vec![0; 2 * HALF]);
            for (i, c) in old.into_iter().enumerate() {
                self.counts[HALF / 2 + i / 2] += c;
            }
            self.reach *= 2.0;
        }
    }

    /// Ends a case: its extremes join the mean of extremes.
    pub fn end_case(&mut self) {
        if self.own[0] <= self.own[1] {
            self.extremes[0] += self.own[0] as f64;
            self.extremes[1] += self.own[1] as f64;
            self.cases += 1;
        }
        self.own = [f32::INFINITY, f32::NEG_INFINITY];
    }

    /// Adds what another histogram counted.
    pub fn merge(&mut self, other: &Histogram) {
        let reach = self.reach.max(other.reach);
        if reach > 0.0 {
            self.widen(reach);
            let factor = libm::log2(self.reach / other.reach.max(f64::MIN_POSITIVE)).round() as u32;
            if other.reach > 0.0 {
                for (i, &c) in other.counts.iter().enumerate() {
                    let from_zero = i as i64 - HALF as i64;
                    self.counts[(HALF as i64 + (from_zero >> factor.min(62))) as usize] += c;
                }
            }
            self.counts[HALF] += other.zeros;
        } else {
            self.zeros += other.zeros;
        }
        (self.min, self.max) = (self.min.min(other.min), self.max.max(other.max));
        for i in 0..2 {
            self.extremes[i] += other.extremes[i];
        }
        self.cases += other.cases;
    }

    /// Adds values of the case that is being watched, which another histogram counted.
    pub fn merge_values(&mut self, other: &Histogram) {
        let own = [self.own[0].min(other.own[0]), self.own[1].max(other.own[1])];
        self.merge(other);
        self.own = own;
    }

    /// Number of values counted.
    pub fn total(&self) -> u64 {
        self.zeros + self.counts.iter().sum::<u64>()
    }

    /// Smallest and largest value, if there was one.
    pub fn extremes(&self) -> Option<[f32; 2]> {
        (self.min <= self.max).then_some([self.min, self.max])
    }

    /// Mean over cases of the smallest and of the largest value.
    pub fn mean_extremes(&self) -> Option<[f32; 2]> {
        let n = self.cases as f64;
        (self.cases > 0).then(|| self.extremes.map(|e| (e / n) as f32)).or_else(|| self.extremes())
    }

    /// Lower edge, upper edge and count of the bins that are not empty, ascending.
    pub fn bins(&self) -> impl Iterator<Item = (f64, f64, u64)> + '_ {
        let width = self.reach / HALF as f64;
        let edge = move |i: usize| (i as f64 - HALF as f64) * width;
        let zeros = (self.zeros > 0).then_some((0.0, 0.0, self.zeros));
        let full = self.counts.iter().enumerate().filter(|(_, c)| **c > 0);
        zeros.into_iter().chain(full.map(move |(i, &c)| (edge(i), edge(i + 1), c)))
    }

    /// The value below which a share `q` of the values lies, by linear interpolation in a bin.
    pub fn quantile(&self, q: f64) -> Option<f32> {
        let [min, max] = self.extremes()?;
        let wanted = q * self.total() as f64;
        let mut below = 0.0;
        for (a, b, c) in self.bins() {
            if below + c as f64 >= wanted {
                let v = a + (b - a) * ((wanted - below) / c as f64).clamp(0.0, 1.0);
                return Some((v as f32).clamp(min, max));
            }
            below += c as f64;
        }
        Some(max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(n: usize, scale: f32) -> Vec<f32> {
        let mut random = ampoule_random::Random::new(7);
        (0..n).map(|_| random.between(-0.5, 0.5) * scale).collect()
    }

    #[test]
    fn any_order_of_parts_gives_the_same() {
        let (a, b, c) = (random(500, 0.1), vec![0.0; 9], random(900, 77.0));
        let mut one = Histogram::default();
        let mut other = Histogram::default();
        for part in [&b, &a, &c] {
            assert!(one.add(part));
            one.end_case();
        }
        for part in [&c, &b, &a] {
            let mut own = Histogram::default();
            assert!(own.add(part));
            own.end_case();
            other.merge(&own);
        }
        assert_eq!(one.counts, other.counts);
        assert_eq!((one.total(), one.extremes()), (1409, other.extremes()));
        assert_eq!(one.cases, other.cases);
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_values() {
        let mut v = random(20000, 8.0);
        let mut h = Histogram::default();
        v.chunks(777).for_each(|c| assert!(h.add(c)));
        v.sort_by(f32::total_cmp);
        for q in [0.0, 0.001, 0.1, 0.5, 0.9, 0.999, 1.0] {
            let want = v[((q * 20000.0) as usize).min(19999)];
            assert!((h.quantile(q).unwrap() - want).abs() < 0.01, "{q}");
        }
        assert!(!h.add(&[1.0, f32::NAN]));
    }
}
