//! Surface elements of volumes as surface-distance has them: each place where eight voxels meet has a piece of surface by which of
//! them are set, and its area is its weight.
//!
//! The pieces are those of marching cubes: triangles between middles of the cube's edges. Cubes that are turned, mirrored or
//! filled the other way round have the same ones, so that thirteen kinds stand for all (Nikolov and others, *Clinically
//! applicable segmentation of head and neck anatomy*, 2021).

use ampoule_imaging::Volume;
use ampoule_imaging::metrics::squared_distances;

/// Parts of a triangle's normal, as long as its area in a cube of side 1, without signs.
type Normal = [f32; 3];

/// An eighth of a cube's corner, cut off.
const CUT: Normal = [0.125; 3];
const FOURTH: Normal = [0.25; 3];

/// The kinds: corners that are set (x, y, z of each), and the triangles.
const KINDS: [(&[[u8; 3]], &[Normal]); 13] = [
    (&[[1, 1, 1]], &[CUT]),
    (&[[1, 1, 0], [1, 1, 1]], &[[0.25, 0.25, 0.0]; 2]),
    (&[[1, 0, 1], [1, 1, 0]], &[CUT; 2]),
    (&[[1, 0, 1], [1, 1, 0], [1, 1, 1]], &[CUT, FOURTH, [0.5, 0.0, 0.0]]),
    (&[[1, 0, 0], [1, 0, 1], [1, 1, 0], [1, 1, 1]], &[[0.5, 0.0, 0.0]; 2]),
    (&[[0, 1, 1], [1, 0, 1], [1, 1, 0]], &[CUT; 3]),
    (&[[0, 1, 1], [1, 0, 1], [1, 1, 0], [1, 1, 1]], &[CUT, CUT, FOURTH, FOURTH]),
    (&[[0, 1, 1], [1, 0, 0]], &[CUT; 2]),
    (&[[0, 1, 1], [1, 0, 0], [1, 1, 1]], &[[0.0, 0.25, 0.25], [0.0, 0.25, 0.25], CUT]),
    (&[[0, 1, 1], [1, 0, 0], [1, 1, 0], [1, 1, 1]], &[[0.0, 0.25, 0.25], CUT, [0.25, 0.0, 0.25], [0.375; 3]]),
    (&[[0, 1, 1], [1, 0, 0], [1, 0, 1], [1, 1, 0]], &[CUT, CUT, FOURTH, [0.5, 0.0, 0.0]]),
    (&[[0, 1, 0], [0, 1, 1], [1, 0, 0], [1, 0, 1]], &[[0.25, 0.25, 0.0]; 4]),
    (&[[0, 0, 1], [0, 1, 0], [1, 0, 0], [1, 1, 1]], &[CUT; 4]),
];

/// Orders of the axes.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// A corner's bit.
fn bit(corner: [u8; 3]) -> usize {
    usize::from(corner[0]) | usize::from(corner[1]) << 1 | usize::from(corner[2]) << 2
}

/// The area in mm² for each of the 256 ways to fill a cube, whose corner (x, y, z) is the bit x + 2y + 4z.
fn areas(spacing: [f64; 3]) -> [f64; 256] {
    let [a, b, c] = spacing;
    let sides = [b * c, a * c, a * b];
    let mut out = [0.0; 256];
    for (corners, normals) in KINDS {
        for order in ORDERS {
            let turned =
                |n: &Normal| (0..3).map(|k| (f64::from(n[order[k]]) * sides[k]).powi(2)).sum::<f64>().sqrt();
            let area: f64 = normals.iter().map(turned).sum();
            for mirrored in 0..8 {
                let place = |c: &[u8; 3]| bit([0, 1, 2].map(|k| c[order[k]] ^ (mirrored >> k & 1) as u8));
                let code: usize = corners.iter().map(|c| 1 << place(c)).sum();
                out[code] = area;
                out[255 - code] = area;
            }
        }
    }
    out
}

/// Pieces of a surface: where they are (of a volume one longer along each axis), and their areas.
struct Surface {
    places: Volume<u8>,
    areas: Vec<f64>,
}

impl Surface {
    /// Of the mask, between the corners `low` and `high` (exclusive) of the box around both masks.
    fn of(m: &Volume<u8>, [low, high]: [[usize; 3]; 2], table: &[f64; 256]) -> Surface {
        let dims = [0, 1, 2].map(|k| high[k] - low[k] + 1);
        let mut places = Volume::filled(dims, 0u8);
        let mut areas = Vec::new();
        // Places are counted from one before the first voxel; beyond the box there is none.
        let set = |p: [usize; 3]| {
            let inside = (0..3).all(|k| p[k] >= 1 && p[k] < dims[k]);
            inside && m.at(low[0] + p[0] - 1, low[1] + p[1] - 1, low[2] + p[2] - 1) != 0
        };
        for z in 0..dims[2] {
            for y in 0..dims[1] {
                for x in 0..dims[0] {
                    let at = |i: usize| set([x + (i & 1), y + (i >> 1 & 1), z + (i >> 2)]);
                    let code: usize = (0..8).filter(|i| at(*i)).map(|i| 1 << i).sum();
                    if code != 0 && code != 255 {
                        let i = places.index(x, y, z);
                        places.data[i] = 1;
                        areas.push(table[code]);
                    }
                }
            }
        }
        Surface { places, areas }
    }

    /// From each piece to the nearest of another surface, with its area; infinite where there is none.
    fn distances(&self, other: &Surface, spacing: [f64; 3]) -> Vec<(f64, f64)> {
        let d = squared_distances(&other.places, spacing);
        let on = self.places.data.iter().zip(&d.data).filter(|(m, _)| **m != 0);
        on.map(|(_, d)| f64::from(d.sqrt())).zip(self.areas.iter().copied()).collect()
    }
}

/// Distances from the surface of `a` to that of `b` and back, each with its area.
pub(super) fn distances(a: &Volume<u8>, b: &Volume<u8>, spacing: [f64; 3]) -> [Vec<(f64, f64)>; 2] {
    let (mut low, mut high) = (a.dims, [0; 3]);
    let [nx, ny, _] = a.dims;
    for i in (0..a.data.len()).filter(|&i| a.data[i] != 0 || b.data[i] != 0) {
        let at = [i % nx, i / nx % ny, i / (nx * ny)];
        for k in 0..3 {
            low[k] = low[k].min(at[k]);
            high[k] = high[k].max(at[k] + 1);
        }
    }
    if high == [0; 3] {
        return [Vec::new(), Vec::new()];
    }
    let table = areas(spacing);
    let [a, b] = [a, b].map(|m| Surface::of(m, [low, high], &table));
    [a.distances(&b, spacing), b.distances(&a, spacing)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_fill_a_cube_has_an_area() {
        let all = areas([1.0; 3]);
        assert!((1..255).all(|code| all[code] > 0.2) && all[0] == 0.0 && all[255] == 0.0);
        // A plane between voxels of other sizes.
        assert!((areas([2.0, 3.0, 5.0])[0b1010_1010] - 15.0).abs() < 1e-9);
    }
}
