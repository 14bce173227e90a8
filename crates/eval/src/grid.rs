//! Grids of predictions and of ground truth: whether they are the same, and labels from one on the other.

use ampoule_imaging::Volume;
use ampoule_imaging::geometry::{Affine, Orientation};
use ampoule_pipeline::grids_differ;

/// The voxel-to-world map of a volume of `dims` voxels after [`Orientation::to_canonical`].
pub(crate) fn canonical(o: &Orientation, stored: &Affine, dims: [usize; 3]) -> Affine {
    let mut out = stored.0;
    for (row, from) in out.iter_mut().zip(&stored.0) {
        for i in 0..3 {
            let step = if o.flip[i] { -from[i] } else { from[i] };
            row[o.axis[i]] = step;
            row[3] -= if o.flip[i] { step * (dims[i] as f64 - 1.0) } else { 0.0 };
        }
    }
    Affine(out)
}

/// Labels and where they lie: size and voxel-to-world map.
pub(crate) type OnGrid = (Volume<u16>, Affine);

/// Ground truth on the grid of a prediction. On another grid it is refused with how it differs, or, on request, resampled: each
/// voxel gets the label of the nearest voxel of the ground truth, 0 outside of it.
pub(crate) fn on_grid_of(
    (dims, affine): ([usize; 3], Affine),
    truth: OnGrid,
    resample: bool,
) -> Result<Volume<u16>, String> {
    match grids_differ((dims, affine), (truth.0.dims, truth.1)) {
        None => Ok(truth.0),
        Some(_) if resample => nearest(dims, affine, &truth).ok_or_else(|| "its voxels span no space".into()),
        Some(how) => Err(format!(
            "its ground truth lies on another grid ({how}); resample it, or let --resample-truth take the nearest labels"
        )),
    }
}

fn nearest(dims: [usize; 3], affine: Affine, (truth, own): &OnGrid) -> Option<Volume<u16>> {
    let back = own.inverse()?;
    let mut out = Volume::filled(dims, 0u16);
    let mut at = 0;
    for z in 0..dims[2] {
        for y in 0..dims[1] {
            for x in 0..dims[0] {
                let place = back.apply(affine.apply([x as f64, y as f64, z as f64]));
                let voxel = place.map(|v| v.round());
                let inside = (0..3).all(|i| voxel[i] >= 0.0 && voxel[i] < truth.dims[i] as f64);
                if inside {
                    let [i, j, k] = voxel.map(|v| v as usize);
                    out.data[at] = truth.data[(k * truth.dims[1] + j) * truth.dims[0] + i];
                }
                at += 1;
            }
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(size: f64, x: f64) -> Affine {
        Affine([[size, 0.0, 0.0, x], [0.0, size, 0.0, 0.0], [0.0, 0.0, size, 0.0]])
    }

    #[test]
    fn other_grids_are_refused_or_resampled() {
        let truth = || (Volume { dims: [2, 2, 1], data: vec![1u16, 2, 3, 4] }, grid(2.0, 0.0));
        let of = |dims, affine, resample| on_grid_of((dims, affine), truth(), resample);
        assert_eq!(of([2, 2, 1], grid(2.0, 0.0), false).unwrap().data, [1, 2, 3, 4]);
        // Origin, spacing and size.
        for (dims, affine) in
            [([2, 2, 1], grid(2.0, 1.5)), ([2, 2, 1], grid(1.0, 0.0)), ([4, 4, 1], grid(2.0, 0.0))]
        {
            let e = of(dims, affine, false).unwrap_err();
            assert!(e.contains("another grid") && e.contains("--resample-truth"), "{e}");
            assert_eq!(of(dims, affine, true).unwrap().dims, dims);
        }
        // Voxels of half the size; the last lies outside.
        let fine = of([4, 2, 1], grid(1.0, 0.0), true).unwrap();
        assert_eq!(fine.data, [1, 2, 2, 0, 3, 4, 4, 0].map(|v| v * u16::from(true)), "{fine:?}");
        let apart = of([2, 1, 1], grid(2.0, 2.0), true).unwrap();
        assert_eq!(apart.data, [2, 0]);
        assert!(
            on_grid_of(([1, 1, 1], grid(1.0, 0.0)), (Volume::filled([2, 2, 1], 0), grid(0.0, 0.0)), true)
                .is_err()
        );
    }
}
