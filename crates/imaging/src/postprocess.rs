//! What is done to labels after prediction: components, holes, morphology, mapping.
//!
//! All works on `Volume<u16>` and, with label 1, on masks (`Volume<u8>`); background is 0. Besides
//! the labels themselves, components need memory for their runs along x and morphology two masks.

mod morphology;

pub use morphology::{Operation, Structure, morphology, morphology_of};

use crate::Volume;
use crate::regions::{Connectivity, Runs};
use rayon::prelude::*;

/// A type of labels: `u8` or `u16`.
pub trait Label: Copy + Ord + Default + Send + Sync + Into<u32> {}

impl Label for u8 {}
impl Label for u16 {}

/// The voxels a step works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select<'a, T> {
    /// All labels together.
    Foreground,
    /// One label.
    Label(T),
    /// Several labels as one region.
    Labels(&'a [T]),
}

impl<'a, T: Label> Select<'a, T> {
    /// These labels as one region.
    pub fn of(labels: &'a [T]) -> Self {
        match labels {
            [one] => Select::Label(*one),
            several => Select::Labels(several),
        }
    }

    /// Whether a voxel of this label belongs; background does not, unless it is named.
    pub fn holds(&self, label: T) -> bool {
        match self {
            Select::Foreground => label != T::default(),
            Select::Label(l) => label == *l,
            Select::Labels(list) => list.contains(&label),
        }
    }

    /// The selected voxels as a mask of 0 and 1.
    pub fn mask(&self, labels: &Volume<T>) -> Volume<u8> {
        let data = labels.data.par_iter().map(|&v| self.holds(v) as u8).collect();
        Volume { dims: labels.dims, data }
    }
}

/// Which components stay when several are largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ties {
    /// The one whose first voxel comes first: scipy's and scikit-image's `argmax` of the sizes, MONAI.
    First,
    /// All of them: nnU-Net.
    All,
}

/// What a step took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Components.
    pub components: u64,
    /// Voxels.
    pub voxels: u64,
}

/// Keeps the largest component of the selected voxels; the others become background.
///
/// nnU-Net's `remove_all_but_largest_component_from_segmentation` is [`Connectivity::Full`] and
/// [`Ties::All`], for one label or for several as one region.
pub fn keep_largest<T: Label>(
    labels: &mut Volume<T>,
    select: Select<T>,
    connectivity: Connectivity,
    ties: Ties,
) -> Removed {
    let mut runs = Runs::new(labels, |v| select.holds(v), connectivity);
    let sizes = runs.sizes();
    let largest = sizes.iter().copied().max().unwrap_or(0);
    let first = sizes.iter().position(|&s| s == largest).unwrap_or(0);
    remove(labels, &mut runs, &sizes, |root| match ties {
        Ties::First => root == first,
        Ties::All => sizes[root] == largest,
    })
}

/// Keeps the components of the selected voxels that have at least `least` voxels
/// ([`voxels_of`] makes them from mm³).
pub fn remove_small<T: Label>(
    labels: &mut Volume<T>,
    select: Select<T>,
    connectivity: Connectivity,
    least: u64,
) -> Removed {
    let mut runs = Runs::new(labels, |v| select.holds(v), connectivity);
    let sizes = runs.sizes();
    remove(labels, &mut runs, &sizes, |root| sizes[root] >= least)
}

/// The components whose root does not pass become background.
fn remove<T: Label>(
    labels: &mut Volume<T>,
    runs: &mut Runs,
    sizes: &[u64],
    keep: impl Fn(usize) -> bool,
) -> Removed {
    let gone = sizes.iter().enumerate().filter(|&(root, &size)| size > 0 && !keep(root));
    let removed = gone.fold(Removed::default(), |r, (_, &size)| Removed {
        components: r.components + 1,
        voxels: r.voxels + size,
    });
    if removed.components > 0 {
        runs.each(|voxels, root| {
            if !keep(root) {
                labels.data[voxels].fill(T::default());
            }
        });
    }
    removed
}

/// The least number of voxels of a `spacing` (mm) that have a volume of `mm3`; 0 where either is
/// not a positive number.
pub fn voxels_of(mm3: f64, spacing: [f64; 3]) -> u64 {
    let n = mm3 / spacing.iter().product::<f64>();
    // A hair less, so that rounding does not ask for a voxel more than 10 mm³ at 0.1 mm³ each.
    if n.is_finite() { (n - 1e-6).ceil().max(0.0) as u64 } else { 0 }
}

/// Where holes are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holes {
    /// In three dimensions: enclosed by the region on all sides.
    Volume,
    /// In every slice across this axis by itself (2 for axial slices of a volume along right,
    /// anterior, superior).
    Slices(usize),
}

/// Fills the holes of the selected region: `scipy.ndimage.binary_fill_holes` with its default
/// structure, of the volume or of each slice. A hole is what no path of faces outside of the region
/// leads out of. Its background voxels become `with`; other labels within it stay as they are. Returns
/// how many voxels were filled.
pub fn fill_holes<T: Label>(labels: &mut Volume<T>, select: Select<T>, with: T, holes: Holes) -> u64 {
    let enclosed: Vec<usize> = match holes {
        Holes::Volume => {
            let list = enclosed(labels, select, [true; 3]);
            list.into_iter().flatten().collect()
        }
        Holes::Slices(axis) => (0..labels.dims.get(axis).copied().unwrap_or(0))
            .into_par_iter()
            .flat_map_iter(|k| in_slice(labels, select, axis, k))
            .collect(),
    };
    let mut filled = 0;
    for i in enclosed {
        if labels.data[i] == T::default() && with != T::default() {
            labels.data[i] = with;
            filled += 1;
        }
    }
    filled
}

/// Runs of voxels outside of the region that no path leads out from.
fn enclosed<T: Label>(labels: &Volume<T>, select: Select<T>, ends: [bool; 3]) -> Vec<std::ops::Range<usize>> {
    let mut runs = Runs::new(labels, |v| !select.holds(v), Connectivity::Faces);
    let open = runs.open(ends);
    let mut list = Vec::new();
    runs.each(|voxels, root| {
        if !open[root] {
            list.push(voxels);
        }
    });
    list
}

/// Positions in the volume of the holes of one slice.
fn in_slice<T: Label>(labels: &Volume<T>, select: Select<T>, axis: usize, k: usize) -> Vec<usize> {
    let strides = labels.strides();
    let (a, b) = [(1, 2), (0, 2), (0, 1)][axis];
    let (na, nb) = (labels.dims[a], labels.dims[b]);
    let at = |i: usize| k * strides[axis] + i % na * strides[a] + i / na * strides[b];
    let slice = Volume::new([na, nb, 1], (0..na * nb).map(|i| labels.data[at(i)]).collect());
    let list = enclosed(&slice, select, [true, true, false]);
    list.into_iter().flatten().map(at).collect()
}

/// What becomes of labels that [`map`]'s table does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// They stay.
    Keep,
    /// They become background: GaNDLF's `mapping`.
    Background,
}

/// Replaces labels by a table of `(from, to)`, all at once; of two rows for a label the last counts.
pub fn map(labels: &mut Volume<u16>, table: &[(u16, u16)], others: Others) {
    let start = |v| if others == Others::Keep { v } else { 0 };
    let mut to: Vec<u16> = (0..=u16::MAX).map(start).collect();
    table.iter().for_each(|&(a, b)| to[a as usize] = b);
    labels.data.par_iter_mut().for_each(|v| *v = to[*v as usize]);
}

/// Selected voxels where the mask is 0 become background: a tumour outside of its organ, whose mask
/// [`Select::mask`] makes. Returns how many; `None`, and nothing done, where the sizes differ.
pub fn remove_outside<T: Label>(labels: &mut Volume<T>, select: Select<T>, mask: &Volume<u8>) -> Option<u64> {
    if labels.dims != mask.dims {
        return None;
    }
    let removed = labels
        .data
        .par_iter_mut()
        .zip(&mask.data)
        .filter(|(v, m)| **m == 0 && **v != T::default() && select.holds(**v))
        .map(|(v, _)| *v = T::default())
        .count();
    Some(removed as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ring of 1 around a 2 and a background voxel, in one slice.
    fn ring() -> Volume<u16> {
        let mut v = Volume::filled([6, 5, 1], 1u16);
        for x in 0..6 {
            for y in 0..5 {
                if (1..=4).contains(&x) && (1..=3).contains(&y) {
                    v.data[x + 6 * y] = if x == 2 && y == 2 { 2 } else { 0 };
                }
            }
        }
        v
    }

    #[test]
    fn holes_leave_enclosed_labels_alone() {
        let mut v = ring();
        assert_eq!(fill_holes(&mut v, Select::Label(1), 1, Holes::Volume), 0);
        assert_eq!(fill_holes(&mut v, Select::Label(1), 1, Holes::Slices(2)), 11);
        assert_eq!(v.data.iter().filter(|&&x| x == 2).count(), 1);
        assert_eq!(v.data.iter().filter(|&&x| x == 0).count(), 0);
        // Within the region of both labels there is no hole left.
        assert_eq!(fill_holes(&mut v, Select::Foreground, 7, Holes::Slices(2)), 0);
        assert_eq!(fill_holes(&mut v, Select::Foreground, 7, Holes::Slices(9)), 0);
    }

    #[test]
    fn mapping_and_containers() {
        let mut v = ring();
        map(&mut v, &[(1, 2), (2, 1)], Others::Keep);
        assert_eq!((v.at(0, 0, 0), v.at(2, 2, 0)), (2, 1));
        map(&mut v, &[(1, 5)], Others::Background);
        assert_eq!((v.at(0, 0, 0), v.at(2, 2, 0)), (0, 5));
        let mask = Volume::filled(v.dims, 0u8);
        assert_eq!(remove_outside(&mut v, Select::Label(4), &mask), Some(0));
        assert_eq!(remove_outside(&mut v, Select::Foreground, &mask), Some(1));
        assert_eq!(remove_outside(&mut v, Select::Foreground, &Volume::filled([1; 3], 0)), None);
    }

    #[test]
    fn nothing_selected_nothing_done() {
        for dims in [[3, 3, 3], [0, 3, 3], [1, 1, 1]] {
            let mut v = Volume::filled(dims, 0u16);
            assert_eq!(
                keep_largest(&mut v, Select::Foreground, Connectivity::Full, Ties::All),
                Removed::default()
            );
            assert_eq!(remove_small(&mut v, Select::Label(3), Connectivity::Edges, 9), Removed::default());
            for holes in [Holes::Volume, Holes::Slices(0), Holes::Slices(1), Holes::Slices(2)] {
                assert_eq!(fill_holes(&mut v, Select::Labels(&[]), 1, holes), 0);
            }
        }
        assert_eq!(voxels_of(10.0, [0.1, 1.0, 1.0]), 100);
        assert_eq!(
            (voxels_of(0.5, [1.0; 3]), voxels_of(f64::NAN, [1.0; 3]), voxels_of(1.0, [0.0; 3])),
            (1, 0, 0)
        );
    }

    #[test]
    fn masks_work_as_labels() {
        let mut mask = Volume::new([5, 1, 1], vec![1u8, 0, 1, 1, 0]);
        let removed = keep_largest(&mut mask, Select::Label(1), Connectivity::Faces, Ties::First);
        assert_eq!((removed, mask.data), (Removed { components: 1, voxels: 1 }, vec![0, 0, 1, 1, 0]));
    }
}
