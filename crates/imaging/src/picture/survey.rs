//! Where labels lie in a volume.

use crate::Volume;

/// Voxels of each label, and of all labels in each slice along each axis.
pub(super) struct Survey {
    counts: Vec<u64>,
    slices: [Vec<u64>; 3],
}

impl Survey {
    pub fn of<L: Copy + Into<u16>>(labels: &Volume<L>) -> Self {
        let mut counts = vec![0; 1 << 16];
        let mut slices = labels.dims.map(|n| vec![0; n]);
        let [nx, ny, _] = labels.dims;
        for (row, voxels) in labels.data.chunks_exact(nx.max(1)).enumerate() {
            let mut found = 0;
            for (x, &l) in voxels.iter().enumerate() {
                let label: u16 = l.into();
                if label != 0 {
                    counts[usize::from(label)] += 1;
                    slices[0][x] += 1;
                    found += 1;
                }
            }
            slices[1][row % ny] += found;
            slices[2][row / ny] += found;
        }
        Survey { counts, slices }
    }

    pub fn is_empty(&self) -> bool {
        self.counts.iter().all(|&n| n == 0)
    }

    /// Labels that occur, in order.
    pub fn found(&self) -> impl Iterator<Item = u16> + '_ {
        (1..=u16::MAX).filter(|&l| self.counts[usize::from(l)] > 0)
    }

    /// First and last slice along an axis with a label; all slices when there is none.
    pub fn extent(&self, axis: usize) -> (usize, usize) {
        let s = &self.slices[axis];
        let first = s.iter().position(|&n| n > 0).unwrap_or(0);
        (first, s.iter().rposition(|&n| n > 0).unwrap_or(s.len().saturating_sub(1)))
    }

    /// How many different labels each slice across an axis holds. `labels` are those surveyed.
    pub fn variety<L: Copy + Into<u16>>(&self, labels: &Volume<L>, axis: usize) -> Vec<u32> {
        let mut number = vec![0; 1 << 16];
        let found = self.found().zip(0..).map(|(l, i)| number[usize::from(l)] = i).count();
        // A bit for each label of each slice.
        let words = found.div_ceil(64).max(1);
        let mut sets = vec![0u64; words * labels.dims[axis]];
        let [nx, ny, _] = labels.dims;
        for (row, voxels) in labels.data.chunks_exact(nx.max(1)).enumerate() {
            for (x, &l) in voxels.iter().enumerate() {
                let label: u16 = l.into();
                if label != 0 {
                    let (slice, bit) = ([x, row % ny, row / ny][axis], number[usize::from(label)]);
                    sets[slice * words + bit / 64] |= 1 << (bit % 64);
                }
            }
        }
        sets.chunks_exact(words).map(|set| set.iter().map(|w| w.count_ones()).sum()).collect()
    }

    /// The slices through the labels' centre of mass; where such a slice holds no label (two lesions, a
    /// vessel), the nearest that does. The middle when there are no labels.
    pub fn centre(&self) -> [usize; 3] {
        [0, 1, 2].map(|axis| {
            let s = &self.slices[axis];
            let n: u128 = s.iter().map(|&n| u128::from(n)).sum();
            if n == 0 {
                return s.len() / 2;
            }
            let sum: u128 = s.iter().enumerate().map(|(i, &n)| i as u128 * u128::from(n)).sum();
            let mean = (sum / n) as usize;
            (0..s.len()).filter(|&i| s[i] > 0).min_by_key(|&i| i.abs_diff(mean)).unwrap_or(mean)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_centre_holds_a_label() {
        let mut v = Volume::filled([9, 8, 7], 0u16);
        for x in [1, 7] {
            let at = v.index(x, 3, 5);
            v.data[at] = 300;
        }
        let s = Survey::of(&v);
        assert_eq!((s.centre(), s.extent(0), s.found().collect::<Vec<_>>()), ([1, 3, 5], (1, 7), vec![300]));
        assert_eq!(s.variety(&v, 0), [0, 1, 0, 0, 0, 0, 0, 1, 0]);
        assert_eq!(s.variety(&v, 2), [0, 0, 0, 0, 0, 1, 0]);
        let empty = Survey::of(&Volume::filled([9, 8, 7], 0u8));
        assert_eq!((empty.centre(), empty.extent(2), empty.is_empty()), ([4, 4, 3], (0, 6), true));
    }
}
