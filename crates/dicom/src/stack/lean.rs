//! Stacks that lean against the normal of their slices, as of a tilted CT gantry: each slice is moved back within its plane.

use super::vector::{dot, length, minus, times};
use super::{SAME_MM, STRAIGHT};
use crate::Error;
use ampoule_imaging::Volume;

/// Largest angle in degrees that a gantry is tilted by.
const MOST: f64 = 40.0;
/// Pixels over the whole stack that are no shift.
const NONE: f64 = 0.05;

/// How slices are shifted against one another, in pixels along rows and along columns.
#[derive(Clone, Debug)]
pub(crate) struct Lean {
    /// Degrees between the stack and the normal of its slices.
    pub degrees: f64,
    /// Columns and rows by which each slice lies further than the one before.
    per_slice: [f64; 2],
    /// Columns and rows of a slice.
    slice: [usize; 2],
    /// Where the straight grid begins, in columns and rows of the first slice. Its last row is that of the slice that lies
    /// furthest down, as dcm2niix has it.
    pub start: [f64; 2],
    /// Columns and rows of the straight grid, which holds all slices.
    pub size: [usize; 2],
}

impl Lean {
    /// For `n` slices of `slice` columns and rows, each a `step` from the one before, whose `axes` are the ways from a column
    /// and from a row to the next; `None` where the stack is straight.
    pub fn of(
        step: [f64; 3],
        normal: [f64; 3],
        axes: [[f64; 3]; 2],
        slice: [usize; 2],
        n: usize,
    ) -> Result<Option<Lean>, Error> {
        let along = dot(step, normal);
        let beside = length(minus(step, times(normal, along)));
        let degrees = beside.atan2(along).to_degrees();
        let last = (n - 1) as f64;
        let tolerance = NONE * length(axes[0]).min(length(axes[1]));
        if beside * last <= tolerance.max(SAME_MM) || degrees <= STRAIGHT {
            return Ok(None);
        }
        if degrees > MOST {
            return Err(Error::Tilt { degrees });
        }
        let shift = |axis: [f64; 3]| dot(step, axis) / dot(axis, axis);
        let per_slice = axes.map(shift).map(|v| if (v * last).abs() < NONE { 0.0 } else { v });
        let size = [0, 1].map(|i| slice[i] + (per_slice[i] * last).abs().ceil() as usize);
        let left = (per_slice[0] * last).min(0.0).floor();
        let up = (per_slice[1] * last).max(0.0) + slice[1] as f64 - size[1] as f64;
        let start = [left, up];
        Ok(Some(Lean { degrees, per_slice, slice, start, size }))
    }

    /// Where slice `k` shows column or row `i` of the straight grid.
    fn source(&self, axis: usize, i: usize, k: usize) -> f64 {
        i as f64 + self.start[axis] - k as f64 * self.per_slice[axis]
    }

    /// Slice `k`, rows from the first one down, on the straight grid; not a number where it shows nothing.
    pub fn straightened(&self, values: &[f32], k: usize) -> Vec<f32> {
        let [w, h] = self.slice;
        // Two neighbours and the share of the second; the last has none behind it.
        let between = |axis: usize, i: usize, n: usize| {
            let at = self.source(axis, i, k);
            // Above the first row it goes on for less than a row.
            let before = if axis == 1 { -1.0 + 1e-6 } else { -1e-6 };
            let inside = at > before && at < (n - 1) as f64 + 1e-6;
            let at = at.clamp(0.0, (n - 1) as f64);
            let low = at as usize;
            inside.then(|| (low, (low + 1).min(n - 1), (at - low as f64) as f32))
        };
        let columns: Vec<_> = (0..self.size[0]).map(|x| between(0, x, w)).collect();
        let mut out = Vec::with_capacity(self.size[0] * self.size[1]);
        for y in 0..self.size[1] {
            let Some((above, below, down)) = between(1, y, h) else {
                out.extend(std::iter::repeat_n(f32::NAN, self.size[0]));
                continue;
            };
            out.extend(columns.iter().map(|column| match column {
                None => f32::NAN,
                Some((left, right, across)) => {
                    let row = |y: usize| {
                        let (a, b) = (values[y * w + left], values[y * w + right]);
                        a + across * (b - a)
                    };
                    let (a, b) = (row(above), row(below));
                    a + down * (b - a)
                }
            }));
        }
        out
    }

    /// Labels on the straight grid, rows from the last one up, as the slices show them: the nearest ones.
    pub fn back(&self, labels: &Volume<u16>) -> Volume<u16> {
        let ([w, h], n) = (self.slice, labels.dims[2]);
        let place = |axis: usize, c: usize, k: usize| {
            let at = (c as f64 + k as f64 * self.per_slice[axis] - self.start[axis]).round();
            (at.max(0.0) as usize).min(self.size[axis] - 1)
        };
        let mut data = Vec::with_capacity(w * h * n);
        for k in 0..n {
            for y in 0..h {
                let row = self.size[1] - 1 - place(1, h - 1 - y, k);
                data.extend((0..w).map(|x| labels.data[labels.index(place(0, x, k), row, k)]));
            }
        }
        Volume { dims: [w, h, n], data }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lean() -> Lean {
        // Each slice lies half a row further down.
        let axes = [[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]];
        Lean::of([0.0, 1.0, 3.0], [0.0, 0.0, 1.0], axes, [2, 3], 3).unwrap().unwrap()
    }

    #[test]
    fn slices_are_moved_back_within_their_planes() {
        let lean = lean();
        assert_eq!((lean.size, lean.start), ([2, 4], [0.0, 0.0]));
        assert!((lean.degrees - 18.4349).abs() < 1e-3);
        let values = [0.0, 10.0, 1.0, 11.0, 2.0, 12.0];
        let nan = |v: &[f32]| v.iter().map(|v| if v.is_nan() { -1.0 } else { *v }).collect::<Vec<_>>();
        assert_eq!(nan(&lean.straightened(&values, 0)), [0.0, 10.0, 1.0, 11.0, 2.0, 12.0, -1.0, -1.0]);
        assert_eq!(nan(&lean.straightened(&values, 1)), [0.0, 10.0, 0.5, 10.5, 1.5, 11.5, -1.0, -1.0]);
        assert_eq!(nan(&lean.straightened(&values, 2)), [-1.0, -1.0, 0.0, 10.0, 1.0, 11.0, 2.0, 12.0]);
    }

    #[test]
    fn labels_go_back_to_the_slices() {
        let lean = lean();
        // Rows from the last one up.
        let plane: Vec<u16> = (0..8).collect();
        let labels = Volume { dims: [2, 4, 3], data: [&plane[..]; 3].concat() };
        let back = lean.back(&labels);
        assert_eq!(back.dims, [2, 3, 3]);
        assert_eq!(back.data[..6], [2, 3, 4, 5, 6, 7]);
        assert_eq!(back.data[12..], [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn straight_stacks_stay_and_steep_ones_are_refused() {
        let axes = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]];
        let of = |x: f64| Lean::of([x, 0.0, 1.0], [0.0, 0.0, 1.0], axes, [4, 4], 10);
        assert!(of(0.0).unwrap().is_none() && of(1e-4).unwrap().is_none());
        assert!(of(0.3).unwrap().is_some_and(|l| l.size == [7, 4]));
        assert!(of(-0.3).unwrap().is_some_and(|l| l.start == [-3.0, 0.0]));
        assert!(of(1.0).is_err());
    }
}
