//! Heat maps of classifiers: how much each part of what the network sees holds up the score of a class.
//!
//! A part is hidden by the mean of each channel, the network runs again, and the score of the class is compared (Zeiler
//! and Fergus, "Visualizing and understanding convolutional networks", 2014). This asks nothing of the network but
//! its scores, so it holds for every network that runs, in float32 and INT8.

use super::{Workspace, whole};
use crate::prepare::{Image, Pixels};
use crate::{Model, Result};
use ampoule_imaging::Volume;
use ampoule_imaging::resample::{AxisMap, map_plane};
use ampoule_imaging::window::{Tiling, positions};
use std::borrow::Cow;

/// Hidden squares along a side of the image; each overlaps its neighbours by half.
const SQUARES: usize = 6;
/// Longest side of a map: pictures are not much larger.
const LONGEST: usize = 1024;
/// A score that changes by less in all places is drawn as one that hardly changes.
const LEAST: f32 = 0.01;

/// What a classifier saw where, over a photo.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatMap {
    /// The label, by its number in the recipe.
    pub label: usize,
    /// From 0 to 1, row by row; not a number where the network sees nothing.
    pub values: Vec<f32>,
    /// Values across and down, which together cover the photo.
    pub size: [usize; 2],
    /// What 1 stands for.
    pub top: f32,
    /// What is drawn, behind the label's name.
    pub what: String,
}

/// Places of the squares along `n` pixels, and their side.
fn squares(n: usize) -> (Vec<usize>, usize) {
    let side = n.div_ceil(SQUARES).max(1);
    (positions(Tiling::Monai { overlap: 0.5 }, n, side, 1), side)
}

/// Runs that a map takes for an image of so many pixels that the network sees.
pub(crate) fn runs(dims: [usize; 3]) -> usize {
    squares(dims[0]).0.len() * squares(dims[1]).0.len()
}

/// The map of `label`, whose score for `seen`, the image as the network sees it, is `score`. `from` are the pixels of the
/// photo that it was made of.
pub(super) fn hidden_parts(
    model: &mut Model,
    mut seen: Image<'_>,
    from: [usize; 3],
    (label, score): (usize, f32),
    fast: bool,
    ws: &mut Workspace,
) -> Result<HeatMap> {
    let channels = seen.floats().to_vec();
    let dims = seen.dims();
    let means: Vec<f32> = channels.iter().map(mean).collect();
    let ((across, w), (down, h)) = (squares(dims[0]), squares(dims[1]));
    let mut sum = vec![0f32; dims[0] * dims[1]];
    let mut count = vec![0u32; dims[0] * dims[1]];
    for (row, &y) in down.iter().enumerate() {
        model.note(row, down.len());
        for &x in &across {
            model.go_on()?;
            let (to_x, to_y) = ((x + w).min(dims[0]), (y + h).min(dims[1]));
            let rows = || (y..to_y).map(|y| y * dims[0] + x..y * dims[0] + to_x);
            let mut hidden = channels.clone();
            for (channel, mean) in hidden.iter_mut().zip(&means) {
                rows().for_each(|r| channel.data[r].fill(*mean));
            }
            let mut image = Image { pixels: Pixels::Floats(Cow::Owned(hidden)), ..seen.clone() };
            let found = whole::numbers(model, &mut image, fast, ws)?;
            let drop = score - found.get(label).copied().unwrap_or(score);
            for r in rows() {
                sum[r.clone()].iter_mut().for_each(|s| *s += drop);
                count[r].iter_mut().for_each(|c| *c += 1);
            }
        }
    }
    let drops: Vec<f32> = sum.iter().zip(&count).map(|(s, c)| s / (*c).max(1) as f32).collect();
    let most = drops.iter().fold(0f32, |most, v| most.max(*v));
    let top = most.max(LEAST);
    let shares: Vec<f32> = drops.iter().map(|v| v.max(0.0) / top).collect();
    let size = [0, 1].map(|i| from[i].min(LONGEST));
    let back = seen.history.back(dims);
    let [along_x, along_y] = [0, 1].map(|i| back[i].then(&AxisMap::nearest_exact(from[i], size[i])));
    let mut values = map_plane(&shares, 1, &along_x, &along_y);
    for (i, v) in values.iter_mut().enumerate() {
        let outside = along_x.row(i % size[0]).1.is_empty() || along_y.row(i / size[0]).1.is_empty();
        *v = if outside { f32::NAN } else { *v };
    }
    let what = format!("{score:.3}, and how much less where hidden");
    Ok(HeatMap { label, values, size, top, what })
}

fn mean(v: &Volume<f32>) -> f32 {
    let sum: f64 = v.data.iter().map(|x| f64::from(*x)).sum();
    (sum / v.data.len().max(1) as f64) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_cover_every_pixel() {
        for n in [1, 2, 5, 6, 7, 128, 224, 299] {
            let (list, side) = squares(n);
            assert_eq!((list[0], list[list.len() - 1] + side), (0, n), "{n}");
            assert!(list.windows(2).all(|p| p[1] > p[0] && p[1] <= p[0] + side), "{n}");
        }
        assert_eq!(runs([128, 128, 1]), 11 * 11);
    }
}
