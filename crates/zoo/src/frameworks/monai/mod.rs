//! Bundles of MONAI: `configs/metadata.json`, `configs/inference.json` (or YAML) with the network and its transforms, and
//! `models/model.pt`, or the network as TorchScript in `models/model.ts`.

mod form;
mod network;
mod recipe;
mod script;
mod transforms;

use super::checkpoint::Checkpoint;
use super::config::Config;
use super::files::Files;
use super::{Found, json, yaml};
use crate::architectures::{checked, free_image};
use crate::{Error, Result};
use ampoule_graph::build::Builder;
use ampoule_graph::{Dim, Graph};
use ampoule_pipeline::RECIPE_KEY;
use form::Form;
use network::Network;
use serde_json::Value;

const METADATA: &str = "configs/metadata.json";
const WEIGHTS: &str = "models/model.pt";
/// Files that may say how the network is run.
const CONFIGS: [&str; 3] = ["configs/inference.json", "configs/inference.yaml", "configs/inference.yml"];
/// Deepest chain of references.
const DEPTH: usize = 16;

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

/// Values with references to others of the same file (`@name`, `@name#key`) replaced.
fn resolved(v: &Value, all: &Value, depth: usize) -> Value {
    if depth > DEPTH {
        return Value::Null;
    }
    match v {
        Value::String(s) => {
            let Some(name) = s.strip_prefix('@') else { return v.clone() };
            let found = name.split(['#', ':']).filter(|p| !p.is_empty()).try_fold(all, |at, part| match at {
                Value::Array(list) => list.get(part.parse::<usize>().ok()?),
                other => other.get(part),
            });
            found.map_or_else(|| v.clone(), |f| resolved(f, all, depth + 1))
        }
        Value::Array(list) => list.iter().map(|v| resolved(v, all, depth + 1)).collect(),
        Value::Object(map) => {
            Value::Object(map.iter().map(|(k, v)| (k.clone(), resolved(v, all, depth + 1))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => v.clone(),
    }
}

/// Opens the bundle.
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
    let value = resolved(&raw, &raw, 0);
    let config = Config::root(&value, files.path(name));
    let metadata = Config::root(&metadata, files.path(METADATA));
    let mut notes = Vec::new();
    let scripted = files.has(script::SCRIPT);
    let definition = config.get("network_def").map_or_else(|| config.need("network"), Ok);
    let (mut graph, form) = match (files.has(WEIGHTS), definition.and_then(|d| Network::read(&d))) {
        (true, Ok(network)) => defined(files, &network)?,
        (true, Err(e)) if !scripted => return Err(e),
        (false, _) if !scripted => {
            return Err(files.wrong(
                "models",
                "it has neither model.pt nor model.ts; download the bundle with its weights",
            ));
        }
        (there, defined) => {
            if let (true, Err(e)) = (there, defined) {
                notes.push(format!("the network is that of {}: {e}", script::SCRIPT));
            }
            let window = recipe::window_sizes(&config)?;
            script::open(files, &metadata, window.as_deref())?
        }
    };
    let recipe = recipe::recipe(&config, &metadata, form, &mut notes)?;
    graph.set_meta(RECIPE_KEY, recipe.to_text());
    graph.set_meta("ampoule.source", format!("MONAI bundle {}", recipe.model.name));
    Ok(Found { graph, notes })
}

/// The network that the configuration defines, with its weights.
fn defined(files: &Files, network: &Network) -> Result<(Graph, Form)> {
    let Form { axes, channels, outputs, classifier } = network.form();
    let read = Checkpoint::of(files, WEIGHTS)?;
    let about = |e: Error| e.about(&files.path(WEIGHTS));
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
