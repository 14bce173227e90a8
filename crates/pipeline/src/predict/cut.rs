//! Networks that find the box of which all later networks see nothing more, by labels (`crop`).

use super::labelling::Labelled;
use super::{Settings, Workspace, kept_scores, segment};
use crate::grid::GridHistory;
use crate::prepare::{Content, Image, Kept, Refused, prepare};
use crate::recipe::{Crop, Empty, Role, Step};
use crate::{Model, Result};
use ampoule_imaging::Volume;
use ampoule_imaging::crop::{Region, bounding_box};
use ampoule_imaging::postprocess::{Select, Ties, keep_largest};
use ampoule_imaging::regions::Connectivity;
use ampoule_imaging::resample::select;

/// What later networks see of an image.
pub(super) enum Cut<'a> {
    /// All, or a box of it.
    Image(Image<'a>),
    /// Nothing, since it holds none of the labels that the network of this number looked for.
    Nothing(usize),
}

/// Cuts an image down to the box of the last network that finds one. Each sees the box of the one before; margins reach
/// beyond that, to the ends of the whole image.
pub(super) fn cut<'a>(
    model: &mut Model,
    image: Image<'a>,
    fast: bool,
    kept: &mut Kept,
    ws: &mut Workspace,
) -> Result<Content<Cut<'a>>> {
    let recipe = model.recipe.clone();
    let (mut part, mut start) = (image.clone(), [0; 3]);
    for (i, network) in recipe.network.iter().enumerate() {
        let Some(crop) = network.crop.as_ref() else { break };
        // The box lies on the image as it was read.
        let mut own = Image { history: GridHistory::default(), ..part };
        if let Err(reason) = ws.time("prepare", || prepare(&mut own, &network.preprocess, kept)) {
            return Ok(Err(reason));
        }
        own.floats();
        let labels = labels(model, i, own, crop, fast, ws)?;
        model.forget_all(network, fast);
        let Some(found) = ws.time("box", || around(&labels, &network.looks_for())) else {
            return Ok(match crop.empty {
                Empty::Background => Ok(Cut::Nothing(i)),
                Empty::Refuse => Err(not_found(crop)),
            });
        };
        let whole = image.dims();
        let margin = margin(crop, image.spacing);
        let from = [0, 1, 2].map(|a| (start[a] + found.start[a]).saturating_sub(margin[a]));
        let to = [0, 1, 2].map(|a| (start[a] + found.end[a] + margin[a]).min(whole[a]));
        start = from;
        if let Err(reason) = image.allow([0, 1, 2].map(|a| to[a] - from[a]).iter().product()) {
            return Ok(Err(reason));
        }
        part = image.part(from, to);
        if crop.truncate
            && let Err(reason) = prepare(&mut part, &[Step::Truncate {}], kept)
        {
            return Ok(Err(reason));
        }
    }
    Ok(Ok(Cut::Image(part)))
}

/// The same for those who can do nothing with an image in which nothing is found.
pub(crate) fn cut_or_refused<'a>(
    model: &mut Model,
    image: Image<'a>,
    fast: bool,
    kept: &mut Kept,
    ws: &mut Workspace,
) -> Result<Content<Image<'a>>> {
    Ok(match cut(model, image, fast, kept, ws)? {
        Ok(Cut::Image(image)) => Ok(image),
        Ok(Cut::Nothing(i)) => Err(model.recipe.network[i].crop.as_ref().map_or("nothing".into(), not_found)),
        Err(refused) => Err(refused),
    })
}

fn not_found(crop: &Crop) -> Refused {
    format!("nothing of {} was found in it; is it an image of the right kind?", crop.labels.join(", ")).into()
}

/// Voxels that fit into the margin. Voxel sizes have the digits of a NIfTI header, as nibabel keeps them.
fn margin(crop: &Crop, spacing: [f64; 3]) -> [usize; 3] {
    spacing.map(|s| (crop.margin_mm / f64::from(s as f32)) as usize)
}

/// The labels of network `i` on the grid of the image whose way to it is that of `image`.
fn labels(
    model: &mut Model,
    i: usize,
    mut image: Image<'_>,
    crop: &Crop,
    fast: bool,
    ws: &mut Workspace,
) -> Result<Volume<u16>> {
    // Labels are decided before steps that return to the nearest voxel are undone.
    let (outer, inner) = std::mem::take(&mut image.history).split_where_interpolated();
    image.history = inner;
    let settings = Settings { fast, ..Settings::default() };
    let mut labels = segment(model, i, image, settings, None, ws)?.labels;
    if crop.largest {
        for value in model.recipe.network[i].looks_for() {
            keep_largest(&mut labels, Select::Label(value), Connectivity::Faces, Ties::First);
        }
    }
    Ok(ws.time("resample", || outer.home(labels, 0)))
}

/// The box around the voxels of some labels; `None` where there are none.
fn around(labels: &Volume<u16>, wanted: &[u16]) -> Option<Region> {
    bounding_box(&labels.map(|l| u8::from(wanted.contains(&l))))
}

/// Background everywhere, with scores of 0 where scores are asked for.
pub(super) fn background(model: &Model, dims: [usize; 3], settings: Settings) -> Labelled {
    let recipe = &model.recipe;
    let mut scores: Vec<(usize, Volume<f32>)> = Vec::new();
    for network in recipe.network.iter().filter(|n| n.role() != Role::Crop) {
        let scored = recipe.scored(network);
        let asked = kept_scores(recipe, network, settings);
        for label in asked.into_iter().filter_map(|k| scored[k].label) {
            scores.push((label, Volume::filled(dims, 0.0)));
        }
    }
    Labelled { labels: Volume::filled(dims, 0), scores, mean: None }
}

impl GridHistory {
    /// The way up to the first change from which scores return by interpolation, and the rest.
    fn split_where_interpolated(self) -> (GridHistory, GridHistory) {
        let interpolates = self.0.iter().position(|c| !c.returns_by_selection());
        let mut outer = self.0;
        let inner = outer.split_off(interpolates.unwrap_or(outer.len()));
        (GridHistory(outer), GridHistory(inner))
    }

    /// Values back from the end of a way on which each voxel takes the value of one other; `outside` where there is none.
    pub(super) fn home<T: Copy + Send + Sync>(&self, v: Volume<T>, outside: T) -> Volume<T> {
        if self.0.is_empty() {
            return v;
        }
        let back = self.back(v.dims);
        let at = [0, 1, 2].map(|i| back[i].selection());
        select(&v, &at, [0, 1, 2].map(|i| back[i].outputs()), outside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn margins_are_whole_voxels_that_fit() {
        let crop = Crop { margin_mm: 20.0, ..Crop::default() };
        // 20 / 0.8 is 25, and 24.9999996 by the digits of a header.
        assert_eq!(margin(&crop, [0.8, 3.0, 20.0]), [24, 6, 1]);
        assert_eq!(margin(&crop, [0.5, 21.0, 1.5]), [40, 0, 13]);
    }
}
