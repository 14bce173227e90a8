//! What steps do to the grid of an image, without its voxels: a plan needs no more, and steps begin with it.

use super::Content;
use crate::grid::{Change, Return};
use crate::recipe::{Across, Back, Middle, Side, SizeKey, SpacingRule, Step};
use ampoule_imaging::photo::shorter_side;
use ampoule_imaging::resample::{Coordinates, lowres_axis};
use ampoule_imaging::{crop, spacing};

/// The grid of an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sizes {
    /// Voxels along x, y, z.
    pub dims: [usize; 3],
    /// Size of a voxel in mm; 1 where nothing is known.
    pub spacing: [f64; 3],
    /// Whether it has two axes only.
    pub flat: bool,
}

/// A change of grid, and the size of voxels after it.
pub(crate) type Changed = (Change, [f64; 3]);

impl Sizes {
    /// The change of grid that a step makes; `None` where it makes none, or where the image's content decides
    /// (`crop-nonzero`).
    pub fn change(&self, step: &Step) -> Content<Option<Changed>> {
        let (from, own) = (self.dims, self.spacing);
        Ok(match step {
            Step::CentreCrop { size, rule } => {
                let to = three(size, from);
                let start = [0, 1, 2].map(|i| match rule {
                    Middle::Torchvision => crop::centre_start(from[i], to[i]),
                    Middle::Torchio => crop::centre_start_first(from[i], to[i]),
                });
                Some((Change::Window { start, from, to }, own))
            }
            Step::Resize { size, rule, back, .. } => {
                let to = resized(size, from);
                let scaled = [0, 1, 2].map(|i| own[i] * from[i] as f64 / to[i].max(1) as f64);
                let linear = !back.is_nearest();
                let back = origin_kept(from, to).map(|there| match rule {
                    SpacingRule::Simpleitk => Return::At { there, linear },
                    SpacingRule::Nnunet
                    | SpacingRule::Monai
                    | SpacingRule::Torchio
                    | SpacingRule::TorchioCorner
                    | SpacingRule::Zoom
                    | SpacingRule::Freesurfer => Return::Corner(*back),
                });
                Some((Change::Scale { from, to, back, slices: None }, scaled))
            }
            Step::Resample { spacing, rule, separate, across, back, .. } => {
                return self.resampled(*spacing, *rule, *separate, *across, *back);
            }
            Step::Reduce { by } => (*by > 1).then_some((Change::Blocks { from, by: *by }, own)),
            Step::Pad { multiple, size, side, .. } => {
                let to = self.padded(*multiple, size);
                let start = [0, 1, 2].map(|i| match side {
                    Side::End => 0,
                    Side::Both => -(((to[i] - from[i]) / 2) as i64),
                    Side::Start => -((to[i] - from[i]) as i64),
                });
                (to != from).then_some((Change::Window { start, from, to }, own))
            }
            Step::Orient { .. }
            | Step::CropNonzero { .. }
            | Step::Stain(_)
            | Step::ZScore { .. }
            | Step::Clip { .. }
            | Step::Threshold { .. }
            | Step::PercentileClip { .. }
            | Step::Ct { .. }
            | Step::PercentileRescale { .. }
            | Step::KeptRescale { .. }
            | Step::MinMax { .. }
            | Step::Divide { .. }
            | Step::Scale { .. }
            | Step::MeanDeviation { .. }
            | Step::Brainmage {}
            | Step::Truncate {}
            | Step::HistogramMatch { .. }
            | Step::Only { .. } => None,
        })
    }

    fn resampled(
        &self,
        wanted: [f64; 3],
        rule: SpacingRule,
        separate: Option<f64>,
        across: Across,
        back: Back,
    ) -> Content<Option<Changed>> {
        let (from, own) = (self.dims, self.spacing);
        let wanted = [0, 1, 2].map(|i| if wanted[i] > 0.0 { wanted[i] } else { own[i] });
        if wanted == own {
            return Ok(None);
        }
        let grid = spacing::grid(ruled(rule), from, own, wanted).map_err(|e| e.to_string())?;
        // On the way back nnU-Net decides anew, and there the network's spacing comes first.
        let home = separate.and_then(|t| lowres_axis(wanted, own, t));
        let linear = matches!(back, Back::Linear | Back::LinearAntialiased | Back::Cubic);
        let back = [0, 1, 2].map(|i| match rule {
            SpacingRule::Nnunet if home == Some(i) && across == Across::Nearest => {
                Return::Corner(Back::Nearest)
            }
            SpacingRule::Nnunet => Return::Corner(back),
            SpacingRule::Monai
            | SpacingRule::Torchio
            | SpacingRule::TorchioCorner
            | SpacingRule::Simpleitk
            | SpacingRule::Zoom
            | SpacingRule::Freesurfer => Return::At { there: grid.coordinates[i], linear },
        });
        let there = separate.and_then(|t| lowres_axis(own, wanted, t));
        let slices = there.filter(|_| rule == SpacingRule::Nnunet);
        Ok(Some((Change::Scale { from, to: grid.dims, back, slices }, wanted)))
    }

    fn padded(&self, multiple: usize, least: &[usize]) -> [usize; 3] {
        let least = match least {
            [one] => [*one; 3],
            list => three(list, [1; 3]),
        };
        [0, 1, 2].map(|i| match self.flat && i == 2 {
            true => 1,
            false => self.dims[i].next_multiple_of(multiple).max(least[i]),
        })
    }
}

/// Three sizes of two or three.
fn three(size: &[usize], like: [usize; 3]) -> [usize; 3] {
    [0, 1, 2].map(|i| size.get(i).copied().unwrap_or(like[i]))
}

fn resized(size: &SizeKey, from: [usize; 3]) -> [usize; 3] {
    match size.shorter {
        Some(n) => {
            let [width, height] = shorter_side([from[0], from[1]], n);
            [width, height, from[2]]
        }
        None => three(&size.size, from),
    }
}

/// Where voxels lie among those of before where the first centres stay in place.
pub(super) fn origin_kept(from: [usize; 3], to: [usize; 3]) -> [Coordinates; 3] {
    [0, 1, 2].map(|i| Coordinates::Line { first: 0.0, step: from[i] as f64 / to[i].max(1) as f64 })
}

/// The rule as imaging names it.
pub(super) fn ruled(r: SpacingRule) -> spacing::Rule {
    match r {
        SpacingRule::Nnunet => spacing::Rule::NnUnet,
        SpacingRule::Monai => spacing::Rule::Monai,
        SpacingRule::Torchio => spacing::Rule::TorchIo,
        SpacingRule::TorchioCorner => spacing::Rule::TorchIoCorner,
        SpacingRule::Simpleitk => spacing::Rule::SimpleItk,
        SpacingRule::Zoom => spacing::Rule::Zoom,
        SpacingRule::Freesurfer => spacing::Rule::FreeSurfer,
    }
}
