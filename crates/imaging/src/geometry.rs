//! Affines, spacing, orientation.

use crate::Volume;

/// A voxel-to-world map in millimetres, world axes right, anterior, superior (RAS+), the last row
/// `[0, 0, 0, 1]` left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine(pub [[f64; 4]; 3]);

impl Affine {
    /// The linear part.
    pub fn linear(&self) -> [[f64; 3]; 3] {
        self.0.map(|r| [r[0], r[1], r[2]])
    }

    /// Determinant of the linear part; its absolute value is the voxel volume in mm³.
    pub fn determinant(&self) -> f64 {
        det(&self.linear())
    }

    /// Length of each voxel axis in mm.
    pub fn spacing(&self) -> [f64; 3] {
        [0, 1, 2].map(|c| (0..3).map(|r| self.0[r][c].powi(2)).sum::<f64>().sqrt())
    }

    /// Voxel index of a world position; `None` where the axes do not span space.
    pub fn inverse(&self) -> Option<Affine> {
        let m = self.linear();
        let d = det(&m);
        if d == 0.0 || !d.is_finite() {
            return None;
        }
        let t = inverse_transposed(&m);
        let row = |i: usize| [t[0][i], t[1][i], t[2][i]];
        let shift = |i: usize| -(0..3).map(|k| row(i)[k] * self.0[k][3]).sum::<f64>();
        Some(Affine([0, 1, 2].map(|i| [row(i)[0], row(i)[1], row(i)[2], shift(i)])))
    }

    /// World position of a voxel index.
    pub fn apply(&self, p: [f64; 3]) -> [f64; 3] {
        self.0.map(|r| r[0] * p[0] + r[1] * p[1] + r[2] * p[2] + r[3])
    }

    /// World coordinates multiplied by `factor`, for another unit of length.
    pub fn scaled(&self, factor: f64) -> Affine {
        Affine(self.0.map(|r| r.map(|v| v * factor)))
    }

    /// How far apart this and another map place a voxel of a volume of `dims` voxels, at most, in mm: the
    /// largest distance is at a corner.
    pub fn largest_displacement(&self, other: &Affine, dims: [usize; 3]) -> f64 {
        let corner = |i: usize| [0, 1, 2].map(|a| if i >> a & 1 == 1 { dims[a] as f64 - 1.0 } else { 0.0 });
        let apart = |i| {
            let (a, b) = (self.apply(corner(i)), other.apply(corner(i)));
            (0..3).map(|k| (a[k] - b[k]).powi(2)).sum::<f64>().sqrt()
        };
        (0..8).map(apart).fold(0.0, f64::max)
    }

    /// Whether all entries are finite and the axes span space.
    pub fn usable(&self) -> bool {
        let spacing = self.spacing();
        let finite = self.0.iter().flatten().all(|v| v.is_finite());
        finite
            && self.determinant().abs() > 1e-6 * spacing.iter().product::<f64>()
            && spacing.iter().all(|&s| s > 0.0)
    }
}

fn det(m: &[[f64; 3]; 3]) -> f64 {
    m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
        + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
}

/// Inverse transposed.
fn inverse_transposed(m: &[[f64; 3]; 3]) -> [[f64; 3]; 3] {
    let d = det(m);
    let cofactor = |r: usize, c: usize| {
        let (r1, r2, c1, c2) = ((r + 1) % 3, (r + 2) % 3, (c + 1) % 3, (c + 2) % 3);
        m[r1][c1] * m[r2][c2] - m[r1][c2] * m[r2][c1]
    };
    [0, 1, 2].map(|r| [0, 1, 2].map(|c| cofactor(r, c) / d))
}

/// How voxel axes lie in the world: for each voxel axis the world axis it follows most, and
/// whether it runs against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orientation {
    /// World axis (0 right, 1 anterior, 2 superior) of each voxel axis; a permutation.
    pub axis: [usize; 3],
    /// Whether each voxel axis runs towards left, posterior or inferior.
    pub flip: [bool; 3],
}

impl Orientation {
    /// Axes as they are: right, anterior, superior.
    pub const STORED: Orientation = Orientation { axis: [0, 1, 2], flip: [false; 3] };

    /// The orientation that three letters name, the inverse of [`Orientation::codes`].
    pub fn parse(codes: &str) -> Option<Self> {
        let mut out = Self::STORED;
        let mut seen = [false; 3];
        if codes.chars().count() != 3 {
            return None;
        }
        for (i, c) in codes.chars().enumerate() {
            let at = "RLAPSI".find(c.to_ascii_uppercase())?;
            (out.axis[i], out.flip[i]) = (at / 2, at % 2 == 1);
            if std::mem::replace(&mut seen[at / 2], true) {
                return None;
            }
        }
        Some(out)
    }

    /// The orientation of `affine` as nibabel's `io_orientation` finds it: the rotation nearest to
    /// the normalised axes (polar decomposition), then the largest direction cosines first.
    pub fn of(affine: &Affine) -> Self {
        let (m, s) = (affine.linear(), affine.spacing());
        let mut r = [0, 1, 2].map(|i| [0, 1, 2].map(|j| m[i][j] / if s[j] > 0.0 { s[j] } else { 1.0 }));
        if det(&r).abs() > 1e-9 {
            // Newton's iteration for the polar factor; quadratic, so 30 rounds are plenty.
            for _ in 0..30 {
                let t = inverse_transposed(&r);
                r = [0, 1, 2].map(|i| [0, 1, 2].map(|j| 0.5 * (r[i][j] + t[i][j])));
            }
        }
        let strength = |c: usize| (0..3).map(|w| r[w][c].abs()).fold(0.0, f64::max);
        let mut order = [0, 1, 2];
        order.sort_by(|&a, &b| strength(b).total_cmp(&strength(a)));
        let mut out = Orientation { axis: [0, 1, 2], flip: [false; 3] };
        let mut free = [true; 3];
        for c in order {
            let best = (0..3).filter(|&w| free[w]).max_by(|&a, &b| r[a][c].abs().total_cmp(&r[b][c].abs()));
            let w = best.unwrap_or(c);
            free[w] = false;
            out.axis[c] = w;
            out.flip[c] = r[w][c] < 0.0;
        }
        out
    }

    /// Three letters, for example `RAS`: where each voxel axis leads.
    pub fn codes(&self) -> String {
        let letters = [['R', 'L'], ['A', 'P'], ['S', 'I']];
        (0..3).map(|i| letters[self.axis[i]][self.flip[i] as usize]).collect()
    }

    /// The volume with axes along right, anterior, superior. Lossless.
    pub fn to_canonical<T: Copy>(&self, v: &Volume<T>) -> Volume<T> {
        let mut dims = [0; 3];
        let mut step = [0isize; 3];
        let mut base = 0isize;
        for (i, &s) in v.strides().iter().enumerate() {
            let w = self.axis[i];
            dims[w] = v.dims[i];
            step[w] = if self.flip[i] { -(s as isize) } else { s as isize };
            base += if self.flip[i] { (v.dims[i] as isize - 1) * s as isize } else { 0 };
        }
        walk(v, dims, step, base)
    }

    /// The inverse of [`Orientation::to_canonical`].
    pub fn from_canonical<T: Copy>(&self, v: &Volume<T>) -> Volume<T> {
        let (mut dims, mut step, mut base) = ([0; 3], [0isize; 3], 0isize);
        let strides = v.strides();
        for i in 0..3 {
            let (n, s) = (v.dims[self.axis[i]], strides[self.axis[i]] as isize);
            dims[i] = n;
            step[i] = if self.flip[i] { -s } else { s };
            base += if self.flip[i] { (n as isize - 1) * s } else { 0 };
        }
        walk(v, dims, step, base)
    }

    /// Spacing of the canonical axes from that of the voxel axes.
    pub fn spacing(&self, voxel: [f64; 3]) -> [f64; 3] {
        let mut out = [0.0; 3];
        for i in 0..3 {
            out[self.axis[i]] = voxel[i];
        }
        out
    }
}

fn walk<T: Copy>(v: &Volume<T>, dims: [usize; 3], step: [isize; 3], base: isize) -> Volume<T> {
    let mut data = Vec::with_capacity(v.data.len());
    for z in 0..dims[2] as isize {
        for y in 0..dims[1] as isize {
            let row = base + z * step[2] + y * step[1];
            data.extend((0..dims[0] as isize).map(|x| v.data[(row + x * step[0]) as usize]));
        }
    }
    Volume { dims, data }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All 48 axis permutations with flips.
    fn all() -> Vec<Orientation> {
        let mut out = Vec::new();
        for axis in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            for f in 0..8 {
                out.push(Orientation { axis, flip: [f & 1 > 0, f & 2 > 0, f & 4 > 0] });
            }
        }
        out
    }

    #[test]
    fn every_orientation_is_found_and_undone() {
        let v = Volume::new([2, 3, 4], (0..24).collect());
        for o in all() {
            let mut a = [[0.0; 4]; 3];
            for i in 0..3 {
                a[o.axis[i]][i] = if o.flip[i] { -1.5 } else { 1.5 };
            }
            assert_eq!(Orientation::of(&Affine(a)), o);
            assert_eq!(Orientation::parse(&o.codes()), Some(o));
            assert_eq!(o.from_canonical(&o.to_canonical(&v)), v);
            // A voxel keeps its world position.
            let c = o.to_canonical(&v);
            let value = v.at(1, 0, 3);
            let p = c.data.iter().position(|&x| x == value).unwrap();
            let canonical = [p % c.dims[0], p / c.dims[0] % c.dims[1], p / c.dims[0] / c.dims[1]];
            for (i, at) in [1, 0, 3].into_iter().enumerate() {
                let want = if o.flip[i] { v.dims[i] - 1 - at } else { at };
                assert_eq!(canonical[o.axis[i]], want);
            }
        }
    }

    #[test]
    fn oblique_axes_go_to_the_nearest() {
        let (s, c) = (0.5f64.sin(), 0.5f64.cos());
        let a = Affine([[c, -s, 0.0, 1.0], [s, c, 0.0, 2.0], [0.0, 0.0, -3.0, 3.0]]);
        let o = Orientation::of(&a);
        assert_eq!(o.codes(), "RAI");
        assert!((a.determinant() + 3.0).abs() < 1e-12);
    }
}
