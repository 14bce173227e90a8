//! Networks of a recipe that lead to one another: boxes, labels as channels, means and part models.

use super::labelling::{Labelled, Mean};
use super::{Plan, Settings, Workspace, run, segment};
use crate::prepare::{Content, Image, Kept, prepare};
use crate::recipe::{Bounds, Cascade, Role};
use crate::tensor::Reading;
use crate::{Model, Result};
use ampoule_imaging::Volume;
use ampoule_imaging::crop::{Frame, PlaneRule, foreground_planes};

/// Labels by the recipe's last network, by the mean probabilities of all that are averaged, or those of part models
/// one over the other.
pub(super) fn members(
    model: &mut Model,
    mut image: Image<'_>,
    settings: Settings,
    kept: &mut Kept,
    ws: &mut Workspace,
) -> Result<Content<Labelled>> {
    let recipe = model.recipe.clone();
    let giving = |i: &usize| match recipe.network[*i].role() {
        Role::Average | Role::Join | Role::Result => true,
        Role::Bounds(_) | Role::Crop | Role::Cascade(_) => false,
    };
    let members: Vec<usize> = (0..recipe.network.len()).filter(giving).collect();
    let averaged = recipe.network.iter().any(|n| n.average);
    let mut mean = averaged.then(|| Mean::of(members.len()));
    let mut joined: Option<Labelled> = None;
    for (k, &i) in members.iter().enumerate() {
        let last = k + 1 == members.len();
        // The image is needed again where another member follows.
        let own = match last {
            true => std::mem::replace(&mut image, Image::of_volumes(Vec::new(), [1.0; 3])),
            false => image.clone(),
        };
        let seen = match seen_by(model, i, own, settings.fast, kept, ws)? {
            Ok(seen) => seen,
            Err(reason) => return Ok(Err(reason)),
        };
        let mut found = segment(model, i, seen, settings, mean.take(), ws)?;
        mean = found.mean.take();
        if let (Some(below), false) = (joined.take(), averaged) {
            found = found.over(below);
        }
        if last {
            return Ok(Ok(found));
        }
        joined = Some(found);
        model.forget_all(&recipe.network[i], settings.fast);
    }
    Ok(Err("the recipe has no last network".into()))
}

/// What network `to` is to see: the image after its steps, cut down by the networks before it that bound it, and with
/// the labels of those that are its cascade.
pub(crate) fn seen_by<'a>(
    model: &mut Model,
    to: usize,
    mut image: Image<'a>,
    fast: bool,
    kept: &mut Kept,
    ws: &mut Workspace,
) -> Result<Content<Image<'a>>> {
    let recipe = model.recipe.clone();
    // Networks before a member of a mean, or a part model, lead to that one.
    let ends = |i: &usize| matches!(recipe.network[*i].role(), Role::Average | Role::Join);
    let first = (0..to).rev().find(ends).map_or(0, |i| i + 1);
    let mut labels: Option<(Volume<u16>, Cascade)> = None;
    for i in first..=to {
        let network = &recipe.network[i];
        // Its box was cut out before all steps.
        if network.role() == Role::Crop {
            continue;
        }
        // The image is needed again where another network follows.
        let mut own = match i == to {
            true => std::mem::replace(&mut image, Image::of_volumes(Vec::new(), [1.0; 3])),
            false => image.clone(),
        };
        if let Err(reason) = ws.time("prepare", || prepare(&mut own, &network.preprocess, kept)) {
            return Ok(Err(reason));
        }
        own.floats();
        if let Some((labels, how)) = labels.take()
            && let Err(reason) = ws.time("prepare", || own.add_labels(&labels, how, &recipe.cascade_values()))
        {
            return Ok(Err(reason));
        }
        if i == to {
            return Ok(Ok(own));
        }
        match network.role() {
            Role::Bounds(bounds) => {
                let scores = coarse(model, i, &mut own, bounds, fast, ws)?;
                let rule = PlaneRule {
                    threshold: bounds.threshold,
                    plane_fraction: bounds.plane_fraction,
                    margin: bounds.margin,
                };
                match ws.time("box", || foreground_planes(&scores, image.dims(), rule)) {
                    Some(found) => image = image.part(found.start, found.end),
                    None => {
                        return Ok(Err(
                            "nothing was found in it by the first network; is it an image of the right kind?"
                                .into(),
                        ));
                    }
                }
            }
            Role::Cascade(how) => {
                let settings = Settings { fast, ..Settings::default() };
                labels = Some((segment(model, i, own, settings, None, ws)?.labels, how));
            }
            // These end a chain, and none lies between its first network and `to`.
            Role::Average | Role::Join | Role::Result | Role::Crop => {}
        }
        model.forget_all(network, fast);
    }
    Ok(Err("the recipe has no last network".into()))
}

/// The scores of one channel of a network that finds a box.
fn coarse(
    model: &mut Model,
    i: usize,
    image: &mut Image<'_>,
    bounds: Bounds,
    fast: bool,
    ws: &mut Workspace,
) -> Result<Volume<f32>> {
    let dims = image.dims();
    let plan = Plan::new(model, i, dims)?;
    let network = &model.recipe.network[i];
    let runs = model.folds() * network.active_outputs(fast).len() * network.versions(fast).len();
    let voxels = plan.grid.iter().product::<usize>() as u64;
    model.reserve(plan.bytes(1, runs, false) + 4 * voxels);
    let mut scores = Volume::filled(plan.grid, 0f32);
    let activation = model.recipe.network[i].activation;
    let what = Reading { activation, channels: &[bounds.channel], logits: false, all: &[], highest: false };
    run(model, i, &plan, image.floats(), &what, fast, ws, &mut |start, size, values| {
        for z in 0..size[2] {
            for y in 0..size[1] {
                let to = scores.index(start[0], start[1] + y, start[2] + z);
                let from = size[0] * (y + size[1] * z);
                scores.data[to..to + size[0]].copy_from_slice(&values[from..from + size[0]]);
            }
        }
    })?;
    // What was added so that the image fills a window is no part of it.
    Ok(match plan.changes.first() {
        Some(crate::grid::Change::Window { start, .. }) if plan.changes.len() == 1 => {
            Frame::sized(start.map(|s| -s), dims).of(&scores, 0.0)
        }
        _ => scores,
    })
}
