//! Bundles of MONAI: `configs/metadata.json`, `configs/inference.json` (or YAML) with the network and its transforms, and
//! `models/model.pt`, or the network as TorchScript in `models/model.ts`.

mod after;
mod arguments;
mod before;
mod evaluate;
mod expression;
mod form;
mod functions;
mod inferer;
mod lambda;
mod network;
mod operations;
mod recipe;
mod references;
mod script;
mod transform;
mod transformers;
mod weights;

use super::checkpoint::Checkpoint;
use super::config::Config;
use super::files::Files;
use super::{Found, json, yaml};
use crate::architectures::{checked, free_image};
use crate::{Error, Result};
use ampoule_graph::build::Builder;
use ampoule_graph::{Dim, Graph};
use ampoule_pipeline::RECIPE_KEY;
use form::{Form, Frame};
use network::Network;
use references::References;

const METADATA: &str = "configs/metadata.json";
/// Files that may say how the network is run.
const CONFIGS: [&str; 3] = ["configs/inference.json", "configs/inference.yaml", "configs/inference.yml"];
/// The parts of a configuration that are read.
const PARTS: [&str; 5] = ["network_def", "network", "preprocessing", "postprocessing", "inferer"];
/// What can be done where transforms or windows are not known.
const REMEDY: &str = "a recipe with the effect of all its transforms and windows can be given by --recipe FILE (`ampoule generate recipe` writes one to fill in)";

/// The bundle of a folder, or the only one in it; `None` where there is none.
pub(super) fn find(files: &Files) -> Result<Option<Files>> {
    if files.has(METADATA) {
        return Ok(Some(files.clone()));
    }
    let mut inside = files.folders()?.into_iter().map(|n| files.within(&n)).filter(|f| f.has(METADATA));
    Ok(match (inside.next(), inside.next()) {
        (Some(one), None) => Some(one),
        _ => None,
    })
}

/// Opens the bundle. What says what a network is must be known; where its transforms or its windows are not, it has no recipe,
/// and a note tells why.
pub(super) fn open(files: &Files) -> Result<Found> {
    let metadata = json(files, METADATA)?;
    let name = CONFIGS.iter().find(|c| files.has(c)).ok_or_else(|| {
        files.wrong(
            "configs",
            "it has no inference.json or inference.yaml, which tells the network and its transforms",
        )
    })?;
    let raw = match name.ends_with(".json") {
        true => json(files, name)?,
        false => yaml::parse(&files.text(name)?).map_err(|e| files.wrong(name, e))?,
    };
    let references = References::new(files, raw, &metadata);
    let value = references.values(&PARTS);
    let config = Config::root(&value, files.path(name));
    let metadata = Config::root(&metadata, files.path(METADATA));
    let mut notes = Vec::new();
    let version = metadata.get("monai_version").and_then(|v| form::version(v.text().ok()?));
    let frame = Frame { version, window: inferer::sizes(&config), side: inferer::side(&config) };
    let weights = weights::of(files, &references, &mut notes);
    let scripted = files.has(script::SCRIPT);
    let definition = config.get("network_def").map_or_else(|| config.need("network"), Ok);
    let network = definition.and_then(|d| Network::read(&d, &frame));
    let (mut graph, form) = match (weights, network) {
        (Some(weights), Ok(network)) => defined(files, &weights, &network)?,
        (Some(_), Err(e)) if !scripted => return Err(e),
        (None, _) if !scripted => {
            return Err(files.wrong(
                "models",
                "it has neither model.pt nor model.ts; download the bundle with its weights",
            ));
        }
        (there, defined) => {
            if let (Some(_), Err(e)) = (there, defined) {
                notes.push(format!("the network is that of {}: {e}", script::SCRIPT));
            }
            script::open(files, &metadata, frame.window.as_deref())?
        }
    };
    let mut name = metadata.get("name").and_then(|n| n.text().ok()).unwrap_or("monai").to_owned();
    let mut more = Vec::new();
    match recipe::recipe(&config, &metadata, form, &frame, &mut more) {
        Ok(recipe) => {
            graph.set_meta(RECIPE_KEY, recipe.to_text());
            inferer::absent(&config, &mut more);
            name = recipe.model.name;
            notes.append(&mut more);
        }
        // The network is there; what its transforms come to, its user can say.
        Err(e) => notes.push(format!("it has no recipe: {e}; {REMEDY}")),
    }
    graph.set_meta("ampoule.source", format!("MONAI bundle {name}"));
    Ok(Found { graph, notes })
}

/// The network that the configuration defines, with its weights.
fn defined(files: &Files, weights: &str, network: &Network) -> Result<(Graph, Form)> {
    let Form { axes, channels, outputs, classifier } = network.form();
    let read = Checkpoint::of(files, weights)?;
    let about = |e: Error| e.about(&files.path(weights));
    let mut w = read.weights.for_arch("of network_def");
    let mut b = Builder::new("monai");
    let image = |channels: usize| match network.window() {
        Some(sizes) => [1, channels].iter().chain(sizes).map(|n| Dim::Known(*n)).collect(),
        None => free_image(channels, axes),
    };
    let x = b.input("image", &image(channels));
    let y = network.build(&mut b, &mut w, x).map_err(about)?;
    w.finish().map_err(about)?;
    let dims = match classifier {
        true => vec![Dim::Known(1), Dim::Known(outputs)],
        false => image(outputs),
    };
    b.output(y, "prediction", &dims);
    Ok((checked(b.finish())?, network.form()))
}
