//! How grids lie on one another: the way from an image to what a network sees, and back.
//!
//! Every change of grid that a recipe can ask for treats the three axes independently, so the way back is a sparse linear
//! map along each axis ([`AxisMap`]), and changes that follow one another are one map.

use crate::recipe::{Back, LabelResampling};
use ampoule_imaging::crop::Frame;
use ampoule_imaging::resample::{AxisMap, Coordinates, Holds};
use ampoule_imaging::{Volume, blocks, resample};

/// One change of grid on the way to the network.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// A part of the grid, or the grid and more: position `i` shows position `start + i` of before.
    Window {
        /// First position along each axis.
        start: [i64; 3],
        /// Sizes before and after.
        from: [usize; 3],
        /// Sizes after.
        to: [usize; 3],
    },
    /// Other voxels over the same space.
    Scale {
        /// Sizes before.
        from: [usize; 3],
        /// Sizes after.
        to: [usize; 3],
        /// How scores return along each axis.
        back: [Return; 3],
        /// The axis across which slices were resampled by themselves.
        slices: Option<usize>,
    },
    /// Means of blocks; what does not fill a block is dropped.
    Blocks {
        /// Sizes before.
        from: [usize; 3],
        /// Pixels along a side of a block in x and y.
        by: usize,
    },
}

/// How scores return along an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Return {
    /// By half-pixel coordinates.
    Corner(Back),
    /// By another convention of coordinates, that of the way there.
    At {
        /// Where voxels of after lie among those of before.
        there: Coordinates,
        /// Between two neighbours rather than the nearest.
        linear: bool,
    },
}

impl Change {
    /// Sizes after.
    pub fn to(&self) -> [usize; 3] {
        match self {
            Change::Window { to, .. } | Change::Scale { to, .. } => *to,
            Change::Blocks { from, by } => blocks::dims(*from, *by),
        }
    }

    /// Whether each voxel of before takes the value of one of after, or of none.
    pub fn returns_by_selection(&self) -> bool {
        match self {
            Change::Window { .. } | Change::Blocks { .. } => true,
            Change::Scale { back, .. } => back.iter().all(|b| match b {
                Return::Corner(back) => back.is_nearest(),
                Return::At { linear, .. } => !linear,
            }),
        }
    }

    fn back(&self, axis: usize) -> AxisMap {
        match self {
            Change::Window { start, from, to } => AxisMap::window(-start[axis], to[axis], from[axis]),
            Change::Scale { from, to, back, .. } => match back[axis] {
                Return::Corner(b) => half_pixel(b, to[axis], from[axis]),
                Return::At { there, linear } => {
                    let positions = there.inverse().positions(to[axis], from[axis]);
                    AxisMap::at(to[axis], positions.into_iter(), linear)
                }
            },
            Change::Blocks { from, by } => {
                let (n, k) = (self.to()[axis], if axis < 2 { *by } else { 1 });
                AxisMap::select(n, (0..from[axis]).map(|i| Some((i / k).min(n - 1))))
            }
        }
    }

    /// The labels of before as the network's grid has them; what lies outside is `outside`.
    pub fn labels(&self, v: &Volume<u16>, outside: u16, how: LabelResampling) -> Volume<u16> {
        match self {
            Change::Window { start, to, .. } => Frame::sized(*start, *to).of(v, outside),
            Change::Scale { from, to, slices, .. } => match how {
                LabelResampling::Half => resample::labels(v, *to, Holds::Half, *slices),
                LabelResampling::Highest => resample::labels(v, *to, Holds::Highest, *slices),
                LabelResampling::Nearest => {
                    let at = [0, 1, 2].map(|i| resample::nearest_exact(from[i], to[i]));
                    resample::gather(v, [&at[0], &at[1], &at[2]])
                }
            },
            Change::Blocks { by, .. } => blocks::most_common(v, *by),
        }
    }
}

/// The map between `n` inputs and `m` outputs over the same space.
fn half_pixel(back: Back, n: usize, m: usize) -> AxisMap {
    if n == m {
        return AxisMap::identity(n);
    }
    match back {
        Back::Nearest => AxisMap::nearest(n, m),
        Back::NearestExact => AxisMap::nearest_exact(n, m),
        Back::NearestFloor => AxisMap::select(n, resample::nearest_torch(n, m).into_iter().map(Some)),
        Back::Linear => AxisMap::linear(n, m),
        Back::LinearAntialiased => AxisMap::antialiased(n, m),
        Back::Cubic => AxisMap::cubic(n, m),
    }
}

/// The way from an image to a network's grid.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct GridHistory(pub Vec<Change>);

impl GridHistory {
    /// The way back, along each axis, for a network's grid of `dims`.
    pub fn back(&self, dims: [usize; 3]) -> [AxisMap; 3] {
        [0, 1, 2].map(|axis| {
            let start = AxisMap::identity(dims[axis]);
            self.0.iter().rev().fold(start, |map, change| map.then(&change.back(axis)))
        })
    }

    /// Labels of the image on the network's grid; `outside` where there is no image.
    pub fn labels(&self, v: &Volume<u16>, outside: u16, how: LabelResampling) -> Volume<u16> {
        let mut out: Option<Volume<u16>> = None;
        for change in &self.0 {
            out = Some(change.labels(out.as_ref().unwrap_or(v), outside, how));
        }
        out.unwrap_or_else(|| v.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_undoes_crops_and_pads() {
        // 10 voxels, of which 3 to 8 stay, become 12, and are padded to 16.
        let history = GridHistory(vec![
            Change::Window { start: [3, 0, 0], from: [10, 1, 1], to: [6, 1, 1] },
            Change::Scale {
                from: [6, 1, 1],
                to: [12, 1, 1],
                back: [Return::Corner(Back::Linear); 3],
                slices: None,
            },
            Change::Window { start: [-1, 0, 0], from: [12, 1, 1], to: [16, 1, 1] },
        ]);
        let [x, y, _] = history.back([16, 1, 1]);
        assert_eq!((x.inputs, x.outputs(), y.is_identity()), (16, 10, true));
        assert!(x.row(0).1.is_empty() && x.row(9).1.is_empty());
        // Halving by half-pixel coordinates is the mean of two, one further by the padding.
        assert_eq!(x.row(3), (1, &[0.5, 0.5][..]));
        assert_eq!(x.row(8), (11, &[0.5, 0.5][..]));
        let labels = Volume { dims: [10, 1, 1], data: (0..10).collect() };
        let seen = history.labels(&labels, 99, LabelResampling::Nearest);
        assert_eq!(seen.data, [99, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 99, 99, 99]);
    }

    #[test]
    fn blocks_repeat_and_the_last_covers_the_rest() {
        let history = GridHistory(vec![Change::Blocks { from: [5, 4, 1], by: 2 }]);
        let [x, y, z] = history.back([2, 2, 1]);
        assert_eq!(x.selection(), [0, 0, 1, 1, 1].map(Some));
        assert_eq!((y.selection().len(), z.is_identity()), (4, true));
        let labels = Volume { dims: [5, 4, 1], data: (0..20).map(|i| (i % 5 >= 2) as u16).collect() };
        assert_eq!(history.labels(&labels, 9, LabelResampling::Nearest).data, [0, 1, 0, 1]);
        assert_eq!(blocks::most_common(&labels, 4).data, [0], "of as many, the smallest");
    }
}
