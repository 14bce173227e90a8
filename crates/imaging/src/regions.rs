//! Connected components and holes of binary masks, by union-find over runs along x.

use crate::Volume;
use std::ops::Range;

/// Which voxels touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connectivity {
    /// Faces (6 neighbours; 4 within a slice).
    Faces,
    /// Faces and edges (18 neighbours; 8 within a slice).
    Edges,
    /// Faces, edges and corners (26 neighbours; 8 within a slice).
    Full,
}

/// A maximal run of voxels along x.
struct Run {
    start: u32,
    end: u32,
}

impl Run {
    /// Positions of the run's voxels in a volume whose rows have `nx` voxels.
    fn of_row(&self, row: usize, nx: usize) -> Range<usize> {
        row * nx + self.start as usize..row * nx + self.end as usize
    }
}

/// Runs of the voxels for which `inside` holds, and the component of each.
pub(crate) struct Runs {
    dims: [usize; 3],
    runs: Vec<Run>,
    /// First run of each row; one more entry than rows.
    rows: Vec<usize>,
    parent: Vec<usize>,
}

impl Runs {
    fn find(&mut self, mut i: usize) -> usize {
        while self.parent[i] != i {
            self.parent[i] = self.parent[self.parent[i]];
            i = self.parent[i];
        }
        i
    }

    /// Joins two components under the one that begins first.
    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        self.parent[a.max(b)] = a.min(b);
    }

    pub(crate) fn new<T: Copy>(
        mask: &Volume<T>,
        inside: impl Fn(T) -> bool,
        connectivity: Connectivity,
    ) -> Self {
        let [nx, ny, nz] = mask.dims;
        let mut r = Runs { dims: mask.dims, runs: Vec::new(), rows: vec![0], parent: Vec::new() };
        if mask.data.is_empty() {
            return r;
        }
        for row in mask.data.chunks(nx) {
            let mut x = 0;
            while x < nx {
                if !inside(row[x]) {
                    x += 1;
                    continue;
                }
                let start = x as u32;
                while x < nx && inside(row[x]) {
                    x += 1;
                }
                r.runs.push(Run { start, end: x as u32 });
            }
            r.rows.push(r.runs.len());
        }
        r.parent = (0..r.runs.len()).collect();
        // How far apart along x two voxels may be: of rows that share a face, of rows that share an edge.
        let (same_plane, across) = match connectivity {
            Connectivity::Faces => (0, None),
            Connectivity::Edges => (1, Some(0)),
            Connectivity::Full => (1, Some(1)),
        };
        for z in 0..nz {
            for y in 0..ny {
                let here = z * ny + y;
                if y > 0 {
                    r.join_rows(here, here - 1, same_plane);
                }
                if z == 0 {
                    continue;
                }
                r.join_rows(here, here - ny, same_plane);
                let Some(across) = across else { continue };
                if y > 0 {
                    r.join_rows(here, here - ny - 1, across);
                }
                if y + 1 < ny {
                    r.join_rows(here, here - ny + 1, across);
                }
            }
        }
        r
    }

    /// Joins touching runs of two rows; both lists are sorted, so one sweep suffices.
    fn join_rows(&mut self, a: usize, b: usize, reach: u32) {
        let (mut i, mut j) = (self.rows[a], self.rows[b]);
        while i < self.rows[a + 1] && j < self.rows[b + 1] {
            let (p, q) = (&self.runs[i], &self.runs[j]);
            if p.start < q.end + reach && q.start < p.end + reach {
                let (pe, qe) = (p.end, q.end);
                self.join(i, j);
                if pe < qe { i += 1 } else { j += 1 }
            } else if p.end <= q.start {
                i += 1;
            } else {
                j += 1;
            }
        }
    }

    /// Voxels of each component, by its root run; 0 for runs that are no root.
    pub(crate) fn sizes(&mut self) -> Vec<u64> {
        let mut sizes = vec![0; self.runs.len()];
        for i in 0..self.runs.len() {
            let root = self.find(i);
            sizes[root] += (self.runs[i].end - self.runs[i].start) as u64;
        }
        sizes
    }

    /// Calls `f(voxels, root)` for every run: positions in the volume, and the component's root.
    pub(crate) fn each(&mut self, mut f: impl FnMut(Range<usize>, usize)) {
        for row in 0..self.rows.len() - 1 {
            for i in self.rows[row]..self.rows[row + 1] {
                let root = self.find(i);
                f(self.runs[i].of_row(row, self.dims[0]), root);
            }
        }
    }

    /// Which components, by their root, touch a border across x, y, or z if `ends` says so.
    pub(crate) fn open(&mut self, ends: [bool; 3]) -> Vec<bool> {
        let [nx, ny, nz] = self.dims;
        let mut open = vec![false; self.runs.len()];
        for row in 0..self.rows.len() - 1 {
            let (y, z) = (row % ny, row / ny);
            let border = ends[1] && (y == 0 || y + 1 == ny) || ends[2] && (z == 0 || z + 1 == nz);
            for i in self.rows[row]..self.rows[row + 1] {
                if border || ends[0] && (self.runs[i].start == 0 || self.runs[i].end as usize == nx) {
                    let root = self.find(i);
                    open[root] = true;
                }
            }
        }
        open
    }
}

/// Numbers the components of the voxels above 0 from 1 on, in the order of their first voxels; returns
/// the numbers and how many there are.
pub fn components(mask: &Volume<u8>, connectivity: Connectivity) -> (Volume<u32>, usize) {
    let mut runs = Runs::new(mask, |v| v != 0, connectivity);
    let mut numbers = vec![0u32; runs.runs.len()];
    let mut out = Volume::filled(mask.dims, 0u32);
    let mut count = 0;
    runs.each(|voxels, root| {
        if numbers[root] == 0 {
            count += 1;
            numbers[root] = count;
        }
        out.data[voxels].fill(numbers[root]);
    });
    (out, count as usize)
}

/// Keeps the largest component of the voxels above 0 (the first of equals); returns how many
/// components there were.
pub fn keep_largest(mask: &mut Volume<u8>, connectivity: Connectivity) -> usize {
    let mut runs = Runs::new(mask, |v| v != 0, connectivity);
    let sizes = runs.sizes();
    let count = sizes.iter().filter(|&&s| s > 0).count();
    if count < 2 {
        return count;
    }
    // max_by_key takes the last of equals; reversed, that is the first.
    let best = (0..sizes.len()).rev().max_by_key(|&i| sizes[i]).unwrap_or(0);
    runs.each(|voxels, root| {
        if root != best {
            mask.data[voxels].fill(0);
        }
    });
    count
}

/// Fills background that no path of faces leads out of; returns how many voxels were filled.
pub fn fill_holes(mask: &mut Volume<u8>) -> u64 {
    let mut runs = Runs::new(mask, |v| v == 0, Connectivity::Faces);
    let open = runs.open([true; 3]);
    let mut filled = 0;
    runs.each(|voxels, root| {
        if !open[root] {
            filled += voxels.len() as u64;
            mask.data[voxels].fill(1);
        }
    });
    filled
}

/// One layer of face neighbours added (`grow`) or removed.
pub fn dilate(mask: &Volume<u8>, grow: bool) -> Volume<u8> {
    let [nx, ny, nz] = mask.dims;
    let mut out = mask.clone();
    for z in 0..nz {
        for y in 0..ny {
            for x in 0..nx {
                if (mask.at(x, y, z) != 0) == grow {
                    continue;
                }
                let near = |dx: i64, dy: i64, dz: i64| {
                    let p = [x as i64 + dx, y as i64 + dy, z as i64 + dz];
                    let inside = (0..3).all(|i| (0..mask.dims[i] as i64).contains(&p[i]));
                    inside && (mask.at(p[0] as usize, p[1] as usize, p[2] as usize) != 0) == grow
                };
                let touch = near(1, 0, 0)
                    || near(-1, 0, 0)
                    || near(0, 1, 0)
                    || near(0, -1, 0)
                    || near(0, 0, 1)
                    || near(0, 0, -1);
                if touch {
                    let at = out.index(x, y, z);
                    out.data[at] = grow as u8;
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use ampoule_random::Random;
    use proptest::prelude::*;

    /// Flood fill, the plain way.
    fn label(mask: &Volume<u8>, value: bool, reach: i64) -> (Vec<usize>, usize) {
        let mut labels = vec![0; mask.data.len()];
        let mut next = 0;
        for s in 0..mask.data.len() {
            if (mask.data[s] != 0) != value || labels[s] != 0 {
                continue;
            }
            next += 1;
            labels[s] = next;
            let mut stack = vec![s];
            while let Some(i) = stack.pop() {
                let p = [i % mask.dims[0], i / mask.dims[0] % mask.dims[1], i / mask.dims[0] / mask.dims[1]];
                for d in 0..27 {
                    let o = [d % 3, d / 3 % 3, d / 9].map(|v| v as i64 - 1);
                    let steps: i64 = o.iter().map(|v| v.abs()).sum();
                    if steps == 0 || steps > reach {
                        continue;
                    }
                    let q = [0, 1, 2].map(|k| p[k] as i64 + o[k]);
                    if (0..3).all(|k| (0..mask.dims[k] as i64).contains(&q[k])) {
                        let j = mask.index(q[0] as usize, q[1] as usize, q[2] as usize);
                        if (mask.data[j] != 0) == value && labels[j] == 0 {
                            labels[j] = next;
                            stack.push(j);
                        }
                    }
                }
            }
        }
        (labels, next)
    }

    proptest! {
        #[test]
        fn components_and_holes_match_flood_fill(
            dims in (1usize..7, 1usize..7, 1usize..7),
            seed in any::<u64>(),
            density in 1usize..10,
        ) {
            let dims = [dims.0, dims.1, dims.2];
            let mut random = Random::new(seed);
            let data = (0..dims.iter().product::<usize>())
                .map(|_| (random.below(10) < density) as u8)
                .collect();
            let mask = Volume::new(dims, data);
            for (connectivity, reach) in [(Connectivity::Faces, 1), (Connectivity::Edges, 2), (Connectivity::Full, 3)] {
                let (labels, n) = label(&mask, true, reach);
                let sizes: Vec<usize> = (1..=n).map(|l| labels.iter().filter(|&&x| x == l).count()).collect();
                let best = sizes.iter().enumerate().rev().max_by_key(|x| x.1).map_or(0, |x| x.0 + 1);
                let mut got = mask.clone();
                prop_assert_eq!(keep_largest(&mut got, connectivity), n);
                let want: Vec<u8> = labels.iter().map(|&l| (l != 0 && l == best) as u8).collect();
                prop_assert_eq!(&got.data, &want);
            }
            let (labels, n) = label(&mask, false, 1);
            let mut open = vec![false; n + 1];
            for (i, &l) in labels.iter().enumerate() {
                let p = [i % dims[0], i / dims[0] % dims[1], i / dims[0] / dims[1]];
                open[l] |= (0..3).any(|k| p[k] == 0 || p[k] + 1 == dims[k]);
            }
            let mut got = mask.clone();
            fill_holes(&mut got);
            let want: Vec<u8> = labels.iter().zip(&mask.data).map(|(&l, &m)| (m != 0 || !open[l]) as u8).collect();
            prop_assert_eq!(&got.data, &want);
        }
    }

    #[test]
    fn an_empty_mask_stays_empty() {
        let mut m = Volume::filled([3, 3, 3], 0u8);
        assert_eq!(keep_largest(&mut m, Connectivity::Full), 0);
        assert_eq!(fill_holes(&mut m), 0);
        assert!(m.data.iter().all(|&v| v == 0));
    }
}
