//! Exact Euclidean distance transform with voxel spacing (Felzenszwalb and Huttenlocher,
//! "Distance Transforms of Sampled Functions", 2012).

use crate::Volume;
use rayon::prelude::*;

/// Squared distance in mm² from each voxel to the nearest voxel above 0; infinite when there is
/// none.
pub fn squared_distances(mask: &Volume<u8>, spacing: [f64; 3]) -> Volume<f32> {
    let [nx, ny, nz] = mask.dims;
    let mut d = mask.map(|m| if m != 0 { 0f32 } else { f32::INFINITY });
    let plane = nx * ny;
    d.data.par_chunks_mut(plane.max(1)).for_each(|p| {
        let mut scratch = Scratch::new(nx.max(ny));
        for y in 0..ny {
            scratch.line(p, y * nx, 1, nx, spacing[0]);
        }
        for x in 0..nx {
            scratch.line(p, x, nx, ny, spacing[1]);
        }
    });
    // Along z whole planes interleave; work on a transposed copy, one y row of columns at a time.
    let columns: Vec<Vec<f32>> = (0..ny)
        .into_par_iter()
        .map(|y| {
            let mut scratch = Scratch::new(nz);
            let mut rows = vec![0f32; nx * nz];
            for z in 0..nz {
                rows[z * nx..(z + 1) * nx].copy_from_slice(&d.data[z * plane + y * nx..][..nx]);
            }
            for x in 0..nx {
                scratch.line(&mut rows, x, nx, nz, spacing[2]);
            }
            rows
        })
        .collect();
    d.data.par_chunks_mut(plane.max(1)).enumerate().for_each(|(z, p)| {
        for (y, rows) in columns.iter().enumerate() {
            p[y * nx..(y + 1) * nx].copy_from_slice(&rows[z * nx..(z + 1) * nx]);
        }
    });
    d
}

struct Scratch {
    values: Vec<f64>,
    /// Positions of the parabolas of the lower envelope and the borders between them.
    sites: Vec<usize>,
    borders: Vec<f64>,
}

impl Scratch {
    fn new(n: usize) -> Self {
        Scratch { values: vec![0.0; n], sites: Vec::with_capacity(n), borders: Vec::with_capacity(n + 1) }
    }

    /// Lower envelope of parabolas along `n` elements `step` apart from `at`.
    fn line(&mut self, data: &mut [f32], at: usize, step: usize, n: usize, spacing: f64) {
        let Scratch { values, sites, borders } = self;
        for i in 0..n {
            values[i] = data[at + i * step] as f64;
        }
        sites.clear();
        borders.clear();
        let s2 = spacing * spacing;
        for q in 0..n {
            if values[q].is_infinite() {
                continue;
            }
            loop {
                let Some(&p) = sites.last() else {
                    borders.push(f64::NEG_INFINITY);
                    break;
                };
                let (pf, qf) = (p as f64, q as f64);
                let cross =
                    ((values[q] + s2 * qf * qf) - (values[p] + s2 * pf * pf)) / (2.0 * s2 * (qf - pf));
                if cross > borders[sites.len() - 1] {
                    borders.push(cross);
                    break;
                }
                sites.pop();
                borders.pop();
            }
            sites.push(q);
        }
        if sites.is_empty() {
            return;
        }
        let mut k = 0;
        for i in 0..n {
            while k + 1 < sites.len() && borders[k + 1] < i as f64 {
                k += 1;
            }
            let d = (i as f64 - sites[k] as f64) * spacing;
            data[at + i * step] = (d * d + values[sites[k]]) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ampoule_random::Random;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn distances_match_brute_force(dims in (1usize..7, 1usize..7, 1usize..7), seed in any::<u64>()) {
            let dims = [dims.0, dims.1, dims.2];
            let mut random = Random::new(seed);
            let data = (0..dims.iter().product::<usize>())
                .map(|_| (random.below(7) == 0) as u8)
                .collect();
            let mask = Volume::new(dims, data);
            let spacing = [0.9, 1.0, 2.5];
            let got = squared_distances(&mask, spacing);
            let position = |i: usize| [i % dims[0], i / dims[0] % dims[1], i / dims[0] / dims[1]];
            for i in 0..mask.data.len() {
                let p = position(i);
                let want = (0..mask.data.len()).filter(|&j| mask.data[j] != 0).map(|j| {
                    let q = position(j);
                    (0..3).map(|k| ((p[k] as f64 - q[k] as f64) * spacing[k]).powi(2)).sum::<f64>()
                }).fold(f64::INFINITY, f64::min);
                prop_assert!(got.data[i] as f64 == want || (got.data[i] as f64 - want).abs() < 1e-4 * want.max(1.0));
            }
        }
    }
}
