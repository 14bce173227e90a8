//! Numbers for a whole image: the scores of its classes, or the values of a regression.

use super::Workspace;
use crate::constant::{KEPT, Kept, Windows, of_windows};
use crate::model::{Key, Shape, Slot};
use crate::prepare::Image;
use crate::recipe::{Activation, Combine, Network, Task};
use crate::tensor::{Region, fill, sigmoid, softmax, tile};
use crate::{Error, Model, Result};
use ampoule_imaging::window::positions;
use std::time::Instant;

/// One number for each label of the recipe, averaged over the ensemble, its flips, and windows or slices where the
/// network sees the image in parts.
pub(super) fn numbers(
    model: &mut Model,
    image: &mut Image<'_>,
    fast: bool,
    ws: &mut Workspace,
) -> Result<Vec<f32>> {
    let i = model.recipe.network.len() - 1;
    let network = model.recipe.network[i].clone();
    let shape = model.shape(i).clone();
    let (size, regions) = regions(&network, &shape, image.dims())?;
    let dims = shape.tensor(size);
    let border = network.window.as_ref().map_or(network.border, |w| w.border);
    let channels = image.floats();
    let mut mean = Mean::default();
    let mut windows = Windows::default();
    let outputs = network.active_outputs(fast).to_vec();
    let reuse = !model.is_observed();
    let watch = model.watch.clone();
    for fold in 0..model.folds() {
        for output in &outputs {
            let key: Key = (fold, output.clone(), dims.clone());
            let begun = Instant::now();
            let slot = model.slot(i, &key)?;
            ws.add("load network", begun.elapsed());
            let begun = Instant::now();
            let mut kept = Kept::new(KEPT);
            for r in &regions {
                if let Some(watch) = &watch {
                    watch.check()?;
                }
                let boxes = [tile(channels, *r, border)];
                let constant = if reuse { of_windows(&boxes) } else { None };
                let found = constant.as_ref().and_then(|c| kept.find(c));
                if let Some((k, false)) = found {
                    windows.reused += 1;
                    let all: &Vec<Vec<f32>> = kept.get(k);
                    all.iter().for_each(|scores| mean.add(scores));
                    continue;
                }
                let mut all = Vec::new();
                for mirror in network.versions(fast) {
                    fill(slot, &shape, &boxes, mirror)?;
                    slot.run()?;
                    all.push(read(slot, &network)?);
                }
                if all.iter().any(|scores| !mean.fits(scores)) {
                    return Err(Error::mismatch("outputs of the ensemble have different sizes".into()));
                }
                all.iter().for_each(|scores| mean.add(scores));
                if let Some((k, true)) = found {
                    kept.set(k, all);
                }
            }
            windows.all += regions.len();
            let spent = begun.elapsed();
            ws.add("network", spent);
            model.network_time += spent;
        }
    }
    ws.windows.add(windows);
    let mut all = mean.finish();
    if network.combine != Combine::Probabilities {
        activate(&mut all, network.activation);
    }
    by_label(model, all)
}

/// What [`numbers`] takes for an image of `dims`, which is prepared.
pub(super) fn planned(model: &mut Model, dims: [usize; 3], fast: bool) -> Result<super::Planned> {
    let i = model.recipe.network.len() - 1;
    let network = model.recipe.network[i].clone();
    let shape = model.shape(i).clone();
    let (size, regions) = regions(&network, &shape, dims)?;
    let outputs = network.active_outputs(fast).to_vec();
    let nets = model.folds() * outputs.len();
    let tensor = shape.tensor(size);
    let key: Key = (0, outputs.first().cloned().unwrap_or_default(), tensor.clone());
    let (arena, weights, macs) = model.session_bytes(i, &key)?;
    let tile: u64 = 4 * shape.channels as u64 * size.iter().map(|n| *n as u64).product::<u64>();
    let runs = regions.len() * nets * network.versions(fast).len();
    Ok(super::Planned {
        windows: regions.len(),
        input: size,
        tensor,
        workers: 1,
        // Networks of an ensemble stay.
        network: nets as u64 * (arena + weights),
        kept: nets as u64 * (arena + weights),
        // A window is cut out, and put together where channels lie innermost in the file.
        scores: if regions.len() > 1 || size != dims { tile } else { 0 } + if shape.nhwc { tile } else { 0 },
        labels_at_a_time: model.recipe.label.len(),
        macs: macs * runs as u64,
    })
}

/// The mean of the numbers of several runs.
#[derive(Default)]
struct Mean {
    sum: Vec<f64>,
    /// Those of the most recent run.
    last: Vec<f32>,
    runs: usize,
}

impl Mean {
    fn fits(&self, scores: &[f32]) -> bool {
        self.runs == 0 || scores.len() == self.sum.len()
    }

    fn add(&mut self, scores: &[f32]) {
        self.sum.resize(scores.len(), 0.0);
        self.sum.iter_mut().zip(scores).for_each(|(s, v)| *s += *v as f64);
        self.last = scores.to_vec();
        self.runs += 1;
    }

    fn finish(self) -> Vec<f32> {
        match self.runs {
            1 => self.last,
            n => self.sum.iter().map(|s| (s / n as f64) as f32).collect(),
        }
    }
}

/// Sizes of an input, and the parts of the image that are looked at.
fn regions(network: &Network, shape: &Shape, dims: [usize; 3]) -> Result<([usize; 3], Vec<Region>)> {
    let fixed = shape.wanted();
    let mut size = [0, 1, 2].map(|k| fixed[k].unwrap_or(dims[k]));
    let mut seen = [false; 3];
    if let Some(w) = &network.window {
        let along: Vec<usize> = (0..3).filter(|a| shape.axes.contains(a)).collect();
        let list: Vec<usize> = match w.size.len() == along.len() {
            true => w.size.clone(),
            false => along.iter().map(|a| w.size.get(*a).copied().unwrap_or(1)).collect(),
        };
        for (a, n) in along.into_iter().zip(list) {
            (size[a], seen[a]) = (n, true);
        }
    }
    let tiled = |k: usize| network.window.is_some() || !shape.axes.contains(&k);
    if let Some(k) = (0..3).find(|k| size[*k] != dims[*k] && !tiled(*k)) {
        let name = ["x", "y", "z"][k];
        return Err(Error::mismatch(format!(
            "the model takes {} pixels along {name} and the image has {} after its steps; add a step `resize`, or a `window`",
            size[k], dims[k]
        )));
    }
    let padded = [0, 1, 2].map(|k| dims[k].max(size[k]));
    let tiling = |k: usize| super::plan::tiling_of(network.window.as_ref(), seen[k]);
    let list = [0, 1, 2].map(|k| positions(tiling(k), padded[k], size[k], 1));
    let before = [0, 1, 2].map(|k| ((padded[k] - dims[k]) / 2) as i64);
    let mut regions = Vec::new();
    for &z in &list[2] {
        for &y in &list[1] {
            for &x in &list[0] {
                let at = [x, y, z];
                regions.push(Region { start: [0, 1, 2].map(|k| at[k] as i64 - before[k]), size });
            }
        }
    }
    Ok((size, regions))
}

/// All values of a run's output, which must be one for each channel.
fn read(slot: &Slot, network: &Network) -> Result<Vec<f32>> {
    let out = slot.session.output(0)?;
    let values = out.to_vec();
    let entries = out.dims.first().copied().unwrap_or(1).max(1);
    let spread = out.dims.iter().skip(1).filter(|n| **n != 1).count();
    if spread > 1 || out.dims.is_empty() {
        return Err(Error::mismatch(format!(
            "the network's output is {:?}; a classification or regression has one number for each label",
            out.dims
        )));
    }
    let mut first = values[..values.len() / entries].to_vec();
    if first.iter().any(|v| !v.is_finite()) {
        let reason = "the network's output is not finite; the model or the image is damaged";
        return Err(Error::mismatch(reason.into()));
    }
    if network.combine == Combine::Probabilities {
        activate(&mut first, network.activation);
    }
    Ok(first)
}

fn activate(v: &mut [f32], activation: Activation) {
    match activation {
        Activation::None => {}
        Activation::Sigmoid => v.iter_mut().for_each(|x| *x = sigmoid(*x)),
        Activation::Softmax => softmax(v),
    }
}

/// The numbers of the recipe's labels; one channel stands for the second of two classes.
fn by_label(model: &Model, all: Vec<f32>) -> Result<Vec<f32>> {
    let labels = &model.recipe.label;
    let class = model.recipe.model.task == Task::Classification;
    if class && all.len() == 1 && labels.len() == 2 {
        super::probabilities(super::improbable(&all))?;
        return Ok(labels.iter().map(|l| if l.channel == 0 { 1.0 - all[0] } else { all[0] }).collect());
    }
    if class && all.len() != labels.len() || labels.iter().any(|l| l.channel >= all.len()) {
        return Err(Error::mismatch(format!(
            "the network's output has {} numbers; the recipe has {} labels",
            all.len(),
            labels.len()
        )));
    }
    let out: Vec<f32> = labels.iter().map(|l| all[l.channel]).collect();
    if class {
        super::probabilities(super::improbable(&out))?;
    }
    Ok(out)
}
