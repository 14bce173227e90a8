//! Boxes around what an image holds.

use crate::Volume;
use crate::regions::{Connectivity, fill_holes, keep_largest};

/// A box of voxels; `end` is one past the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First voxel along x, y, z.
    pub start: [usize; 3],
    /// One past the last voxel along x, y, z.
    pub end: [usize; 3],
}

impl Region {
    /// Voxels along each axis.
    pub fn dims(&self) -> [usize; 3] {
        [0, 1, 2].map(|i| self.end[i] - self.start[i])
    }

    /// That part of a volume, which must contain the box.
    pub fn of<T: Copy>(&self, v: &Volume<T>) -> Volume<T> {
        v.crop(self.start, self.end)
    }
}

/// The smallest box around the voxels that are not 0; `None` where there are none.
pub fn bounding_box(mask: &Volume<u8>) -> Option<Region> {
    let [nx, ny, _] = mask.dims;
    let (mut start, mut end) = ([usize::MAX; 3], [0; 3]);
    for (row, line) in mask.data.chunks(nx.max(1)).enumerate() {
        let Some(first) = line.iter().position(|&v| v != 0) else { continue };
        let last = line.iter().rposition(|&v| v != 0).unwrap_or(first);
        let ends = [(first, last), (row % ny, row % ny), (row / ny, row / ny)];
        for (i, (low, high)) in ends.into_iter().enumerate() {
            start[i] = start[i].min(low);
            end[i] = end[i].max(high + 1);
        }
    }
    (end[0] > 0).then_some(Region { start, end })
}

/// Where any channel passes the test; channels of other sizes than the first are passed over.
fn any_channel(channels: &[&Volume<f32>], test: impl Fn(f32) -> bool) -> Option<Volume<u8>> {
    let dims = channels.first()?.dims;
    let mut mask = Volume::filled(dims, 0u8);
    for channel in channels.iter().filter(|c| c.dims == dims) {
        for (m, &v) in mask.data.iter_mut().zip(&channel.data) {
            *m |= test(v) as u8;
        }
    }
    Some(mask)
}

/// nnU-Net's `create_nonzero_mask`: 1 where any channel is not 0, holes in three dimensions filled
/// (in a volume of one slice there are none, as in nnU-Net). `None` without channels.
pub fn nonzero_mask(channels: &[&Volume<f32>]) -> Option<Volume<u8>> {
    let mut mask = any_channel(channels, |v| v != 0.0)?;
    fill_holes(&mut mask);
    Some(mask)
}

/// Where the middle `part` of `whole` voxels begins, as torchvision's `CenterCrop` has it: half of the difference,
/// rounded to the even neighbour. Below 0 where `part` is larger, as torchvision pads first and rounds that down.
pub fn centre_start(whole: usize, part: usize) -> i64 {
    match whole >= part {
        true => ((whole - part) as f64 / 2.0).round_ties_even() as i64,
        false => -(((part - whole) / 2) as i64),
    }
}

/// The same as torchio's `CropOrPad` has it: of an odd difference the first side has the larger half, whether voxels are
/// taken away there or added.
pub fn centre_start_first(whole: usize, part: usize) -> i64 {
    match whole >= part {
        true => (whole - part).div_ceil(2) as i64,
        false => -((part - whole).div_ceil(2) as i64),
    }
}

/// A box that may reach beyond the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// First voxel along x, y, z; below 0 outside of the volume.
    pub start: [i64; 3],
    /// One past the last voxel.
    pub end: [i64; 3],
}

impl Frame {
    /// The box of `size` voxels from `start` on.
    pub fn sized(start: [i64; 3], size: [usize; 3]) -> Frame {
        Frame { start, end: [0, 1, 2].map(|i| start[i] + size[i] as i64) }
    }

    /// That part of a volume, `outside` where the box reaches beyond it.
    pub fn of<T: Copy>(&self, v: &Volume<T>, outside: T) -> Volume<T> {
        let dims = [0, 1, 2].map(|i| (self.end[i] - self.start[i]).max(0) as usize);
        let mut out = Volume::filled(dims, outside);
        let inner = |i: usize| {
            let n = v.dims[i] as i64;
            (self.start[i].clamp(0, n) as usize, self.end[i].clamp(0, n) as usize)
        };
        let [(x0, x1), (y0, y1), (z0, z1)] = [0, 1, 2].map(inner);
        if x0 >= x1 {
            return out;
        }
        let to = |i: usize, at: usize| (at as i64 - self.start[i]) as usize;
        for z in z0..z1 {
            for y in y0..y1 {
                let (to, from) = (out.index(to(0, x0), to(1, y), to(2, z)), v.index(x0, y, z));
                out.data[to..to + (x1 - x0)].copy_from_slice(&v.data[from..from + (x1 - x0)]);
            }
        }
        out
    }
}

/// How the box of [`foreground`] is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Foreground {
    /// Voxels above this are foreground; MONAI's default is 0.
    pub above: f32,
    /// Voxels added at both ends of each axis.
    pub margin: [usize; 3],
    /// The box ends with the volume (MONAI's `allow_smaller`).
    pub allow_smaller: bool,
    /// Each side becomes a multiple of this, half of the growth in front, the odd voxel behind.
    pub divisible: [usize; 3],
}

impl Default for Foreground {
    fn default() -> Self {
        Foreground { above: 0.0, margin: [0; 3], allow_smaller: false, divisible: [1; 3] }
    }
}

/// MONAI's `CropForeground`: the box around the voxels of any channel that pass the threshold.
/// `None` where none do (MONAI then makes an empty image).
pub fn foreground(channels: &[&Volume<f32>], rule: &Foreground) -> Option<Frame> {
    let mask = any_channel(channels, |v| v > rule.above)?;
    let tight = bounding_box(&mask)?;
    let mut frame = Frame { start: [0; 3], end: [0; 3] };
    for i in 0..3 {
        let margin = rule.margin[i] as i64;
        let (mut start, mut end) = (tight.start[i] as i64 - margin, tight.end[i] as i64 + margin);
        if rule.allow_smaller {
            (start, end) = (start.max(0), end.min(mask.dims[i] as i64));
        }
        let (size, k) = (end - start, rule.divisible[i].max(1) as i64);
        let grown = (size + k - 1) / k * k;
        frame.start[i] = start - (grown - size) / 2;
        frame.end[i] = frame.start[i] + grown;
    }
    Some(frame)
}

/// How the box of [`foreground_planes`] is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlaneRule {
    /// Scores above this are foreground.
    pub threshold: f64,
    /// A plane counts where more than this share of its voxels is foreground.
    pub plane_fraction: f64,
    /// Added on each side, as a share of the box.
    pub margin: f64,
}

/// deepbet's box: from the first to the last plane along each axis that holds enough of the largest component of the
/// foreground of `scores`, grown by a margin, in voxels of an image of `dims` voxels over the same space. Centre and
/// size are rounded to even halves and truncated as deepbet does with tensors. `None` where there is no such plane.
pub fn foreground_planes(scores: &Volume<f32>, dims: [usize; 3], c: PlaneRule) -> Option<Region> {
    let mut mask = scores.map(|v| (v as f64 > c.threshold) as u8);
    keep_largest(&mut mask, Connectivity::Full);
    let mut planes = [0, 1, 2].map(|i| vec![0u32; mask.dims[i]]);
    for (i, &m) in mask.data.iter().enumerate() {
        if m != 0 {
            planes[0][i % mask.dims[0]] += 1;
            planes[1][i / mask.dims[0] % mask.dims[1]] += 1;
            planes[2][i / mask.dims[0] / mask.dims[1]] += 1;
        }
    }
    let (mut start, mut end) = ([0; 3], dims);
    for i in 0..3 {
        let area = (mask.data.len() / mask.dims[i]) as f32;
        let full = |n: &u32| *n as f32 / area > c.plane_fraction as f32;
        let (first, last) = (planes[i].iter().position(full)?, planes[i].iter().rposition(full)?);
        let scale = dims[i] as f32 / mask.dims[i] as f32;
        let centre = (scale * ((last + 1 + first) as f32 / 2.0)).round_ties_even();
        let size = ((1.0 + 2.0 * c.margin as f32) * (scale * (last + 1 - first) as f32)).round_ties_even();
        start[i] = ((centre - size / 2.0) as i64).max(0) as usize;
        end[i] = ((centre + size / 2.0) as i64).clamp(0, dims[i] as i64) as usize;
        if end[i] <= start[i] {
            return None;
        }
    }
    Some(Region { start, end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_voxels_go_where_torchio_puts_them() {
        // 4, 0 and 7 voxels are parted to 2 and 2, 0 and 0, 4 and 3.
        for (less, first) in [(4, 2), (0, 0), (7, 4), (1, 1)] {
            assert_eq!(centre_start_first(20, 20 - less), first, "{less} taken away");
            assert_eq!(centre_start_first(20, 20 + less), -first, "{less} added");
        }
        assert_eq!((centre_start(20, 15), centre_start(20, 27)), (2, -3));
    }

    #[test]
    fn boxes_of_nothing() {
        assert_eq!(nonzero_mask(&[]), None);
        let empty = Volume::filled([4, 3, 2], 0f32);
        assert_eq!(bounding_box(&nonzero_mask(&[&empty]).unwrap()), None);
        assert_eq!(foreground(&[&empty], &Foreground::default()), None);
        assert_eq!(bounding_box(&Volume::filled([0, 3, 2], 1)), None);
    }

    #[test]
    fn a_box_beyond_the_volume_is_filled() {
        let v = Volume::new([2, 1, 1], vec![1, 2]);
        let f = Frame { start: [-1, 0, 0], end: [2, 2, 1] };
        assert_eq!(f.of(&v, 9).data, [9, 1, 2, 9, 9, 9]);
        let far = Frame { start: [5, 0, 0], end: [7, 1, 1] };
        assert_eq!(far.of(&v, 9).data, [9, 9]);
    }
}
