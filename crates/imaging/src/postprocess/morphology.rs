//! Dilation, erosion, opening and closing of masks and labels.

use super::{Label, Select};
use crate::Volume;
use rayon::prelude::*;

/// The neighbours that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Structure {
    /// The whole box of 3 voxels along each axis; otherwise the cross of the nearest neighbours.
    pub full: bool,
    /// Axes it extends along: all for three dimensions, two for slices.
    pub axes: [bool; 3],
}

impl Structure {
    /// `scipy.ndimage.generate_binary_structure(3, 1)`, scipy's default.
    pub const CROSS: Structure = Structure { full: false, axes: [true; 3] };
    /// `generate_binary_structure(3, 3)`; max-pooling with a kernel of 3.
    pub const CUBE: Structure = Structure { full: true, axes: [true; 3] };
}

/// What to do to a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Grow by the structure.
    Dilate,
    /// Shrink by the structure.
    Erode,
    /// Erode, then dilate: thin parts go.
    Open,
    /// Dilate, then erode: thin gaps close.
    Close,
}

/// `scipy.ndimage.binary_dilation`, `binary_erosion`, `binary_opening` and `binary_closing` with
/// `iterations = times` (an opening erodes that often, then dilates that often). `border` is what an
/// erosion takes the voxels beyond the volume to be: false is scipy's default, so that a closing
/// nibbles at what touches the border; true is max-pooling in PyTorch (GaNDLF's `morphology`). Voxels
/// above 0 are in the mask; the result is 0 and 1.
pub fn morphology(
    mask: &Volume<u8>,
    operation: Operation,
    structure: Structure,
    times: usize,
    border: bool,
) -> Volume<u8> {
    let mut now = mask.map(|v| (v != 0) as u8);
    let steps: &[bool] = match operation {
        Operation::Dilate => &[true],
        Operation::Erode => &[false],
        Operation::Open => &[false, true],
        Operation::Close => &[true, false],
    };
    // The box is as a line along each axis in turn.
    let parts: Vec<[bool; 3]> = if structure.full {
        (0..3).filter(|&i| structure.axes[i]).map(|i| [i == 0, i == 1, i == 2]).collect()
    } else {
        vec![structure.axes]
    };
    let mut next = Volume::filled(mask.dims, 0u8);
    for &grow in steps {
        for _ in 0..times {
            for &axes in &parts {
                step(&now, &mut next, axes, grow, border);
                std::mem::swap(&mut now, &mut next);
            }
        }
    }
    now
}

/// One dilation (`grow`) or erosion by the cross along `axes`.
fn step(from: &Volume<u8>, to: &mut Volume<u8>, axes: [bool; 3], grow: bool, border: bool) {
    let [nx, ny, nz] = from.dims;
    if from.data.is_empty() {
        return;
    }
    let row = |y: usize, z: usize| &from.data[nx * (y + ny * z)..][..nx];
    let combine = |out: &mut [u8], other: &[u8]| {
        let pairs = out.iter_mut().zip(other);
        if grow { pairs.for_each(|(o, v)| *o |= v) } else { pairs.for_each(|(o, v)| *o &= v) }
    };
    // Beyond the volume there is nothing to grow from; an erosion may end there.
    let clears = !grow && !border;
    to.data.par_chunks_mut(nx).enumerate().for_each(|(i, out)| {
        let (y, z) = (i % ny, i / ny);
        let here = row(y, z);
        out.copy_from_slice(here);
        if axes[0] {
            combine(&mut out[1..], &here[..nx - 1]);
            combine(&mut out[..nx - 1], &here[1..]);
            if clears {
                (out[0], out[nx - 1]) = (0, 0);
            }
        }
        for (axis, at, n) in [(1, y, ny), (2, z, nz)] {
            if !axes[axis] {
                continue;
            }
            let neighbour = |k: usize| if axis == 1 { row(k, z) } else { row(y, k) };
            if at > 0 {
                combine(out, neighbour(at - 1));
            }
            if at + 1 < n {
                combine(out, neighbour(at + 1));
            }
            if clears && (at == 0 || at + 1 == n) {
                out.fill(0);
            }
        }
    });
}

/// [`morphology`] of the selected region within a volume of labels: background that joins the region
/// becomes `with`, voxels that leave it become background, other labels are neither grown over nor
/// changed.
pub fn morphology_of<T: Label>(
    labels: &mut Volume<T>,
    select: Select<T>,
    with: T,
    operation: Operation,
    structure: Structure,
    times: usize,
    border: bool,
) {
    let changed = morphology(&select.mask(labels), operation, structure, times, border);
    labels.data.par_iter_mut().zip(&changed.data).for_each(|(v, &m)| {
        if m != 0 && *v == T::default() {
            *v = with;
        } else if m == 0 && select.holds(*v) {
            *v = T::default();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_do_not_grow_over_others() {
        let mut v = Volume::new([5, 1, 1], vec![0u16, 1, 2, 0, 2]);
        let line = Structure { full: false, axes: [true, false, false] };
        morphology_of(&mut v, Select::Label(1), 1, Operation::Dilate, line, 2, false);
        assert_eq!(v.data, [1, 1, 2, 1, 2]);
        morphology_of(&mut v, Select::Label(2), 2, Operation::Erode, line, 1, false);
        assert_eq!(v.data, [1, 1, 0, 1, 0]);
    }

    #[test]
    fn small_and_empty_volumes() {
        for dims in [[0, 2, 2], [1, 1, 1], [2, 1, 3]] {
            let mask = Volume::filled(dims, 3u8);
            for structure in [Structure::CROSS, Structure::CUBE] {
                assert_eq!(morphology(&mask, Operation::Erode, structure, 1, true), mask.map(|_| 1));
                assert_eq!(morphology(&mask, Operation::Dilate, structure, 0, true), mask.map(|_| 1));
                let gone = morphology(&mask, Operation::Erode, structure, 1, false);
                assert!(gone.data.iter().all(|&v| v == 0));
            }
        }
    }
}
