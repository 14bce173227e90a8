//! Products with broadcasting: attention gates and squeeze-and-excitation.

use super::{Backward, Dims, Forward, Layer, Reads, len};

/// `a · b`, where axes of size 1 are repeated.
pub(crate) struct Product {
    pub dims: Dims,
    pub sides: [Dims; 2],
}

/// Distances between neighbours along each axis, 0 where a value is repeated.
fn strides(d: &Dims) -> [usize; 5] {
    let mut out = [0; 5];
    let mut step = 1;
    for i in (0..5).rev() {
        out[i] = if d[i] == 1 { 0 } else { step };
        step *= d[i];
    }
    out
}

/// Calls `f(output, [a, b])` with the places of every value of `rows` of pixels.
fn places(
    dims: &Dims,
    sides: &[Dims; 2],
    rows: std::ops::Range<usize>,
    mut f: impl FnMut(usize, [usize; 2]),
) {
    let st = sides.map(|s| strides(&s));
    let [_, d, h, w, c] = *dims;
    for row in rows {
        let at = [row / (d * h), row / h % d, row % h];
        let base = st.map(|s| (0..3).map(|i| at[i] * s[i]).sum::<usize>());
        for x in 0..w {
            for k in 0..c {
                f((row * w + x) * c + k, [0, 1].map(|i| base[i] + x * st[i][3] + k * st[i][4]));
            }
        }
    }
}

impl Product {
    fn rows(&self) -> usize {
        self.dims[0] * self.dims[1] * self.dims[2]
    }
}

impl Layer for Product {
    fn reads(&self) -> Reads {
        Reads::INPUTS
    }

    fn cheap(&self) -> bool {
        true
    }

    fn forward(&mut self, run: Forward) {
        let (a, b) = (run.x[0], run.x[1]);
        let per = self.dims[3] * self.dims[4];
        assert_eq!(run.y.len(), len(&self.dims));
        run.on.pool.chunks(self.rows(), (run.y, per), |row, y| {
            let first = row * per;
            places(&self.dims, &self.sides, row..row + 1, |o, [i, j]| y[o - first] = a[i] * b[j]);
        });
    }

    fn backward(&mut self, mut run: Backward) {
        // One side after the other, each image by itself: only images share no repeated values. A side
        // that is the same for all images is summed by one thread.
        for side in (0..2).rev() {
            let Some(add) = run.gradients.add(side) else { continue };
            let other = run.x[1 - side];
            let (dy, dx) = run.gradients.separate(side);
            if !add {
                dx.fill(0.0);
            }
            let images = if self.sides[side][0] == 1 { 1 } else { self.dims[0] };
            let per = self.rows() / images;
            let own = len(&self.sides[side]) / images;
            run.on.pool.chunks(images, (dx, own), |image, dx| {
                let first = image * own;
                places(&self.dims, &self.sides, image * per..(image + 1) * per, |o, places| {
                    dx[places[side] - first] += dy[o] * other[places[1 - side]];
                });
            });
        }
    }
}
