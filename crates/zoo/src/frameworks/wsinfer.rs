//! Folders of WSInfer's model zoo: `config.json` with the classes and transforms, and the network as TorchScript, or
//! weights of the architecture that it names.

use super::checkpoint::Checkpoint;
use super::files::Files;
use super::hub::WEIGHTS;
use super::{Found, json};
use crate::architectures::vision;
use crate::torch::budget;
use crate::{Error, Result};
use ampoule_graph::Graph;
use ampoule_pipeline::{RECIPE_KEY, Recipe};
use serde_json::Value;

const CONFIG: &str = "config.json";
const SCRIPT: &str = "torchscript_model.pt";

/// What is described in a folder of WSInfer's; `None` where it is none.
pub(super) fn find(files: &Files) -> Result<Option<Value>> {
    let weights = WEIGHTS.iter().any(|w| files.has(w));
    if !(files.has(CONFIG) && (files.has(SCRIPT) || weights)) {
        return Ok(None);
    }
    let config = json(files, CONFIG)?;
    Ok(config.get("class_names").is_some().then_some(config))
}

/// Opens the folder that `config` describes.
pub(super) fn open(files: &Files, config: &Value) -> Result<Found> {
    let recipe =
        Recipe::parse(&config.to_string(), "recipe").map_err(|e| files.wrong(CONFIG, e.to_string()))?;
    let mut graph = if files.has(SCRIPT) { scripted(files, config)? } else { named(files, config)? };
    let classes = config.get("class_names").and_then(Value::as_array).map_or(0, Vec::len);
    let own = graph.outputs.first().and_then(|o| graph.value(*o).shape.as_ref()?.get(1)?.known());
    if own.is_some_and(|n| n != classes) {
        let own = own.unwrap_or(0);
        return Err(files.wrong(CONFIG, format!("it names {classes} classes; the network gives {own}")));
    }
    graph.set_meta(RECIPE_KEY, recipe.to_text());
    graph.set_meta("ampoule.source", format!("WSInfer, {}", recipe.model.name));
    let notes = vec![
        "slides: patches lie where WSInfer lays them by its defaults, cut from the finest level; rows are in another order, and a single class has the column prob_other beside it".into(),
    ];
    Ok(Found { graph, notes })
}

/// The network that lies there as TorchScript.
fn scripted(files: &Files, config: &Value) -> Result<Graph> {
    let bytes = files.read(SCRIPT)?;
    let about = |source| Error::Program { path: files.path(SCRIPT), source };
    let free = vec![Some(1), Some(3), None, None];
    let side = side(config);
    let fixed = vec![Some(1), Some(3), side, side];
    let of = |shape| ampoule_torch::graph(&bytes, &[shape], budget());
    of(free).or_else(|e| if side.is_some() { of(fixed) } else { Err(e) }).map_err(about)
}

/// The network of the architecture that is named.
fn named(files: &Files, config: &Value) -> Result<Graph> {
    let name = config.get("architecture").and_then(Value::as_str).unwrap_or_default();
    let Some(file) = WEIGHTS.into_iter().find(|w| files.has(w)).filter(|_| vision::knows(name)) else {
        let reason = format!("its architecture is `{name}`, which is not known without {SCRIPT}");
        return Err(files.wrong(CONFIG, reason));
    };
    let built =
        vision::build(name, Checkpoint::of(files, file)?.weights).map_err(|e| e.about(&files.path(file)))?;
    built.ok_or_else(|| files.wrong(CONFIG, format!("its architecture is `{name}`, which is not known")))
}

/// The side of the images that the network sees: of the last transform with a size, else of a patch.
fn side(config: &Value) -> Option<usize> {
    let transforms = config.get("transform").and_then(Value::as_array).into_iter().flatten();
    let mut sizes = transforms.filter_map(|t| t.get("arguments")?.get("size"));
    let one = |v: &Value| v.as_u64().or_else(|| v.get(0)?.as_u64()).map(|n| n as usize);
    sizes.next_back().and_then(one).or_else(|| config.get("patch_size_pixels").and_then(one))
}
