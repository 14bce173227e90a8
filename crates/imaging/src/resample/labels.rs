//! Label maps on another grid, by interpolating the share of each label.

use super::{Border, Order, resize, separate};
use crate::Volume;
use std::collections::BTreeSet;

/// Which label holds where the shares of several are interpolated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Every label whose share is at least one half; of two with one half each, the higher. Where none has, 0. This is
    /// nnU-Net's `resample_data_or_seg` for label maps of order 1.
    Half,
    /// The label with the largest share; of several, the lowest. This is nnU-Net's `resample_torch_simple` for label maps.
    Highest,
}

/// The least share of a voxel that counts as one half, whatever the last bit of the interpolation says.
pub const HALF: f32 = 0.5 - 1e-5;

/// `v` on a grid of `to` voxels over the same space. Shares are interpolated linearly at half-pixel places; those of
/// slices across `axis` within the slices, and the nearest slice is taken.
pub fn labels(v: &Volume<u16>, to: [usize; 3], holds: Holds, axis: Option<usize>) -> Volume<u16> {
    if v.dims == to {
        return v.clone();
    }
    let present: BTreeSet<u16> = v.data.iter().copied().collect();
    let mut out = Volume::filled(to, 0u16);
    let mut top = match holds {
        Holds::Half => Vec::new(),
        Holds::Highest => vec![f32::NEG_INFINITY; out.data.len()],
    };
    for label in present {
        let share = v.map(|l| f32::from(u8::from(l == label)));
        let share = match axis {
            Some(axis) => separate(&share, to, axis, Order::Linear, Order::Nearest),
            None => resize(&share, to, Order::Linear, Border::Edge, false),
        };
        match holds {
            Holds::Half => {
                for (l, s) in out.data.iter_mut().zip(&share.data) {
                    *l = if *s >= HALF { label } else { *l };
                }
            }
            Holds::Highest => {
                for ((l, top), s) in out.data.iter_mut().zip(&mut top).zip(&share.data) {
                    (*l, *top) = if *s > *top { (label, *s) } else { (*l, *top) };
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_the_higher_and_the_largest_share_to_the_lower() {
        // Three voxels become two: places 0.25 and 1.75.
        let v = Volume::new([3, 1, 1], vec![5u16, 2, 7]);
        assert_eq!(labels(&v, [2, 1, 1], Holds::Half, None).data, [5, 7]);
        // Four voxels become two: each lies between two.
        let v = Volume::new([4, 1, 1], vec![5u16, 2, 0, 3]);
        assert_eq!(labels(&v, [2, 1, 1], Holds::Half, None).data, [5, 3]);
        assert_eq!(labels(&v, [2, 1, 1], Holds::Highest, None).data, [2, 0]);
        assert_eq!(labels(&v, [4, 1, 1], Holds::Half, None).data, v.data);
    }

    #[test]
    fn slices_are_taken_whole_along_the_thick_axis() {
        let v = Volume::new([2, 1, 2], vec![1u16, 1, 4, 4]);
        let out = labels(&v, [4, 1, 3], Holds::Half, Some(2));
        assert_eq!(out.data, [1, 1, 1, 1, 4, 4, 4, 4, 4, 4, 4, 4]);
    }
}
