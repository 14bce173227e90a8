//! The plan of a volume.

use super::ledger::{Ledger, voxels};
use super::{CasePlan, Described, Planner};
use crate::batch::Batch;
use crate::case::Case;
use crate::predict::{Planned, planned, planned_coarse};
use crate::prepare::{Content, Sizes};
use crate::recipe::{PostStep, Recipe, Role, Step};
use crate::{Allowance, Error, Model, Result, Settings, series};
use ampoule_imaging::formats;
use ampoule_imaging::geometry::Orientation;
use std::path::Path;

/// Voxels that are sampled of a volume to say what is implausible.
const SAMPLED: u64 = 400_000;
/// The picture that a case is checked by, as it is drawn and packed.
const PICTURE: u64 = 17 << 19;

/// What the headers of a case say, and its grid along the recipe's axes.
pub(super) fn described(recipe: &Recipe, case: &Case) -> Result<(Described, Sizes)> {
    let path = case.main();
    if recipe.kind() == crate::recipe::Kind::Volume
        && case.series.is_empty()
        && (path.is_dir() || series::is_dicom(path))
    {
        let series = vec![series::only(path)?];
        return described(recipe, &Case { series, ..case.clone() });
    }
    // All others are brought to the grid of the first.
    if let Some(first) = case.series.first() {
        let scan = ampoule_dicom::scan(first, Allowance::of_process().room);
        let fail = |source| Error::Dicom { path: path.into(), source };
        let Some(found) = scan.series.into_iter().next() else {
            let reason = "there is no series of a volume in it".into();
            return Err(Error::Content { path: path.into(), reason });
        };
        let shape = found.shape.map_err(fail)?;
        let image = Described {
            dims: shape.dims,
            spacing: shape.spacing,
            voxel_bytes: 4,
            canonical: false,
            files: case.series.len(),
        };
        let sizes = Sizes { dims: shape.dims, spacing: shape.spacing, flat: false };
        return Ok((image, sizes));
    }
    let (mut first, mut widest) = (None, 0);
    for file in &case.files {
        let allowed = Allowance::of_process();
        let d = formats::describe_volume(file).map_err(|source| Error::image(file, source, allowed))?;
        widest = widest.max(d.voxel_bytes);
        first.get_or_insert(d);
    }
    let Some(d) = first else {
        return Err(Error::Content { path: case.name.clone().into(), reason: "it names no files".into() });
    };
    let image = Described {
        dims: d.dims,
        spacing: d.spacing,
        voxel_bytes: widest,
        canonical: Orientation::of(&d.affine) == Orientation::STORED,
        files: case.files.len(),
    };
    Ok((image, turned(recipe, &d)))
}

/// The grid along the axes that the recipe works in.
fn turned(recipe: &Recipe, d: &formats::Described) -> Sizes {
    let mut sizes = Sizes { dims: d.dims, spacing: d.spacing, flat: false };
    if let Some(Step::Orient { to }) = recipe.preprocess.first() {
        let file = Orientation::of(&d.affine);
        for i in 0..3 {
            (sizes.dims[file.axis[i]], sizes.spacing[file.axis[i]]) = (d.dims[i], d.spacing[i]);
        }
        if let Some(to) = Orientation::parse(to).filter(|o| o.codes() != "RAS") {
            let canonical = sizes;
            for i in 0..3 {
                (sizes.dims[i], sizes.spacing[i]) =
                    (canonical.dims[to.axis[i]], canonical.spacing[to.axis[i]]);
            }
        }
    }
    sizes
}

/// How often the reader copies a volume so that its axes lie as the recipe wants them.
fn turns(recipe: &Recipe) -> u64 {
    match recipe.preprocess.first() {
        Some(Step::Orient { to }) if to == "RAS" => 1,
        Some(Step::Orient { .. }) => 2,
        _ => 0,
    }
}

pub(super) fn plan(
    planner: &Planner,
    model: &mut Model,
    (path, image): (&Path, &Described),
    sizes: Sizes,
    batch: &Batch,
) -> Result<CasePlan> {
    let recipe = model.recipe.clone();
    let v = voxels(image.dims);
    let stored = v * image.voxel_bytes as u64;
    let channels = recipe.channels() as u64;
    let mut ledger = Ledger::new(sizes, channels, stored + 4 * v * channels);
    // The last channel is read beside all others: as stored, as float32, and turned.
    let others = if channels > 1 { stored + 4 * v * (channels - 1) } else { 0 };
    ledger.note("read", others + stored + 4 * v * (1 + turns(&recipe)) + 4 * SAMPLED);
    let settings = crate::Settings { scores: batch.outputs.probabilities, ..batch.settings };
    let averaged = recipe.network.iter().any(|n| n.average).then_some(false);
    cut(model, &mut ledger, settings)?.map_err(|refused| refused.of(path))?;
    let to_network = prepare(model, &mut ledger, settings)?;
    to_network.map_err(|refused| refused.of(path))?;
    let (dims, history, held) = (ledger.sizes.dims, ledger.history.clone(), ledger.held());
    let last = recipe.network.len() - 1;
    let network = planned(model, (last, averaged), dims, &history, (settings, held))?;
    ledger.note("network", held + network.network + network.scores);
    if !recipe.is_image_level() {
        after(&mut ledger, &recipe, image, batch, &network, v);
    }
    planner.closed(model.max_ram, ledger, (image.dims, image.spacing), network, v * image.files as u64)
}

/// What the networks take that find the box which all others see.
fn cut(model: &mut Model, ledger: &mut Ledger, settings: Settings) -> Result<Content<()>> {
    let recipe = model.recipe.clone();
    let settings = Settings { fast: settings.fast, ..Settings::default() };
    for (i, network) in recipe.network.iter().enumerate().filter(|(_, n)| n.role() == Role::Crop) {
        let mut own = ledger.aside();
        if let Err(refused) = own.prepare(&network.preprocess) {
            return Ok(Err(refused));
        }
        own.stages.iter().for_each(|s| ledger.note("prepare", s.bytes));
        let (dims, history, held) = (own.sizes.dims, own.history.clone(), own.held());
        let found = planned(model, (i, None), dims, &history, (settings, held))?;
        // Labels return to the image's grid, where a mask of them is made.
        let home = 3 * voxels(ledger.sizes.dims);
        ledger.note("box", held + home + found.network + found.scores);
        ledger.macs += found.macs;
        model.forget_all(network, settings.fast);
        // At most all of it is cut out.
        ledger.bound = true;
        ledger.own = ledger.floats();
    }
    Ok(Ok(()))
}

/// The image's way to the last network, and what the networks before it take.
pub(super) fn prepare(model: &mut Model, ledger: &mut Ledger, settings: Settings) -> Result<Content<()>> {
    let recipe = model.recipe.clone();
    if let Err(refused) = ledger.prepare(&recipe.preprocess) {
        return Ok(Err(refused));
    }
    let last = recipe.network.len() - 1;
    let read = voxels(ledger.history.back(ledger.sizes.dims).map(|m| m.outputs()));
    // Channels that a cascade adds to the next network's.
    let mut added = 0;
    // Bytes of the image, of labels of networks before, and of probabilities that are averaged.
    let (image, mut labels, mut summed) = (ledger.loaded, 0, 0);
    for (i, network) in recipe.network.iter().enumerate() {
        if network.role() == Role::Crop {
            continue;
        }
        if i == last {
            let done = ledger.prepare(&network.preprocess);
            ledger.add_channels(added);
            return Ok(done);
        }
        // The image stays, as others follow; what the network sees is a copy where anything is changed.
        let mut own = ledger.aside();
        if let Err(refused) = own.prepare(&network.preprocess) {
            return Ok(Err(refused));
        }
        own.add_channels(std::mem::take(&mut added));
        own.stages.iter().for_each(|s| ledger.note("prepare", s.bytes));
        if let Role::Bounds(_) = network.role() {
            let (bytes, macs) = planned_coarse(model, i, own.sizes.dims, settings.fast)?;
            ledger.note("box", own.held() + bytes);
            ledger.macs += macs;
            // At most all of it is cut out.
            ledger.bound = true;
            ledger.own = ledger.floats();
            continue;
        }
        let (dims, history, held) = (own.sizes.dims, own.history.clone(), own.held());
        let found =
            planned(model, (i, network.average.then_some(summed == 0)), dims, &history, (settings, held))?;
        ledger.note("network", held + found.network + found.scores);
        ledger.macs += found.macs;
        model.forget_all(network, settings.fast);
        // What stays while the networks that follow run.
        match network.role() {
            Role::Cascade(_) => {
                added = recipe.cascade_values().len() as u64;
                labels = 2 * read;
            }
            Role::Join => labels = 2 * read,
            Role::Average if summed == 0 => {
                labels = 2 * read;
                summed = 4 * read * recipe.scored(network).len() as u64;
            }
            Role::Average | Role::Bounds(_) | Role::Crop | Role::Result => {}
        }
        ledger.loaded = image + labels + summed;
    }
    Ok(Ok(()))
}

/// What becomes of labels when they are decided.
fn after(ledger: &mut Ledger, recipe: &Recipe, image: &Described, batch: &Batch, network: &Planned, v: u64) {
    let scores = if batch.outputs.probabilities { recipe.foreground().count() as u64 } else { 0 };
    let (labels, kept) = (2 * v, 4 * v * scores);
    let morphology = recipe.postprocess.iter().any(|p| {
        matches!(
            p.step,
            PostStep::Dilate { .. } | PostStep::Erode { .. } | PostStep::Open { .. } | PostStep::Close { .. }
        )
    });
    let inside = recipe.postprocess.iter().any(|p| matches!(p.step, PostStep::KeepInside { .. }));
    let masks = if morphology { 2 * v } else { 0 } + if inside { v } else { 0 };
    let turned = turns(recipe);
    // Each volume is turned back by itself.
    let back = turned * labels.max(if scores > 0 { 4 * v } else { 0 });
    ledger.note("labels", ledger.loaded + labels + kept + masks.max(back) + network.kept);
    if recipe.returns_late() {
        // Those on the grid of the steps, and those that return.
        let late = (2 + 4 * scores) * voxels(ledger.sizes.dims);
        ledger.note("labels", ledger.loaded + labels + kept + late + network.kept);
    }
    let stored = v * image.voxel_bytes as u64;
    let wide = recipe.label.iter().any(|l| l.value > 255);
    // The picture shows canonical planes: labels turned, and the image where the recipe works in other axes.
    let shown = turned == 1 || (turned == 0 && image.canonical);
    let picture = labels + PICTURE + v * 4 / 5 + if shown { 0 } else { 8 * v };
    let mut jobs = vec![picture, if wide { labels } else { v }];
    if !recipe.outputs.masked.is_empty() {
        jobs.push(v + stored);
    }
    jobs.extend((0..scores).map(|_| 4 * v));
    jobs.sort_unstable_by(|a, b| b.cmp(a));
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let side_by_side: u64 = jobs.iter().take(threads).sum();
    ledger.note("write", ledger.loaded + labels + kept + side_by_side + network.kept);
}
