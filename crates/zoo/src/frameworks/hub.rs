//! Folders as timm and segmentation-models-pytorch save and share them: `config.json` beside the weights.

use super::checkpoint::Checkpoint;
use super::config::Config;
use super::files::Files;
use super::{Found, json};
use crate::Result;
use crate::architectures::vision;
use ampoule_pipeline::{RECIPE_KEY, Recipe};
use serde_json::Value;

const CONFIG: &str = "config.json";
/// Names of the weights, the first that is there.
pub(super) const WEIGHTS: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];

/// A folder whose configuration names an architecture.
pub(super) struct Model {
    config: Value,
    weights: &'static str,
}

/// The model of a folder; `None` where its configuration is none of these packages'.
pub(super) fn find(files: &Files) -> Result<Option<Model>> {
    let Some(weights) = WEIGHTS.into_iter().find(|w| files.has(w)).filter(|_| files.has(CONFIG)) else {
        return Ok(None);
    };
    let config = json(files, CONFIG)?;
    let has = |key: &str| config.get(key).is_some_and(Value::is_string);
    let known = has("architecture") && config.get("class_names").is_none()
        || has("_model_class") && has("encoder_name");
    Ok(known.then_some(Model { config, weights }))
}

/// Opens the model.
pub(super) fn open(files: &Files, m: &Model) -> Result<Found> {
    let c = Config::root(&m.config, files.path(CONFIG));
    let name = match c.get("_model_class") {
        Some(class) => format!("{}-{}", class.text()?.to_lowercase(), c.need("encoder_name")?.text()?),
        None => c.need("architecture")?.text()?.to_owned(),
    };
    let mut notes = Vec::new();
    let recipe = if c.get("_model_class").is_some() {
        usual(&c)?;
        notes.push(
            "its configuration tells no preprocessing; give a recipe (`ampoule generate recipe`)".into(),
        );
        None
    } else {
        Some(classifier(&c, &name)?)
    };
    let weights = Checkpoint::of(files, m.weights)?.weights;
    let built = vision::build(&name, weights).map_err(|e| e.about(&files.path(m.weights)))?;
    let mut graph = built.ok_or_else(|| {
        let known = vision::names().join(", ");
        c.wrong(format_args!(
            "names the network `{name}`, which is not known; known are {known} (# is a number)"
        ))
    })?;
    if let Some(recipe) = recipe {
        graph.set_meta(RECIPE_KEY, recipe.to_text());
    }
    graph.set_meta("ampoule.source", name);
    Ok(Found { graph, notes })
}

/// Refuses what weights do not tell and what is not the package's default.
fn usual(c: &Config) -> Result<()> {
    let defaults: [(&str, &[Value]); 6] = [
        ("encoder_output_stride", &[16.into()]),
        ("decoder_atrous_rates", &[serde_json::json!([12, 24, 36])]),
        ("upsampling", &[4.into()]),
        ("decoder_interpolation", &["nearest".into()]),
        ("decoder_interpolation_mode", &["nearest".into()]),
        ("activation", &["identity".into()]),
    ];
    for (key, usual) in defaults {
        if let Some(given) = c.get(key).filter(|g| !usual.contains(g.value())) {
            return Err(given.wrong(format_args!("is {}; {} is known", given.value(), usual[0])));
        }
    }
    Ok(())
}

/// timm's preprocessing for validation: the shorter side resized so that the crop is its `crop_pct`, the crop, the mean
/// and deviation of colours.
fn classifier(c: &Config, name: &str) -> Result<Recipe> {
    let about = match c.get("pretrained_cfg") {
        Some(own) => own,
        None => c.clone(),
    };
    let size = about.need("input_size")?.sizes(1 << 14)?;
    let [_, height, width] = size[..] else {
        return Err(about.need("input_size")?.wrong("must be channels, height and width"));
    };
    let part = about.get("crop_pct").map_or(Ok(0.875), |p| p.number())?;
    if let Some(mode) = about.get("crop_mode").filter(|m| m.value() != "center") {
        return Err(mode.wrong(format_args!("is {}; center is known", mode.value())));
    }
    if height != width || part <= 0.0 {
        return Err(about.need("input_size")?.wrong("is not square, or its crop_pct is not above 0"));
    }
    let method = match about.get("interpolation").map_or(Ok("bilinear"), |i| i.text())? {
        known @ ("bilinear" | "bicubic" | "nearest" | "lanczos") => known,
        other => return Err(about.wrong(format_args!("has the interpolation `{other}`, which is not known"))),
    };
    let three = |key: &str| about.need(key)?.numbers();
    let (mean, deviation) = (three("mean")?, three("std")?);
    let classes = c.need("num_classes")?.size(1 << 20)?;
    let names = c.get("label_names").map(|n| n.list()).transpose()?;
    let mut text = format!(
        "version = 2\n[model]\nname = {name:?}\ntask = \"classification\"\n[[input]]\nname = \"image\"\nkind = \"image\"\n\
         [[preprocess]]\nstep = \"resize\"\nshorter = {}\nmethod = \"{method}\"\n\
         [[preprocess]]\nstep = \"centre-crop\"\nsize = [{width}, {height}]\n\
         [[preprocess]]\nstep = \"mean-deviation\"\nmean = {mean:?}\ndeviation = {deviation:?}\n\
         [[network]]\noutputs = [\"logits\"]\nactivation = \"softmax\"\n",
        (height as f64 / part).floor() as usize,
    );
    for i in 0..classes {
        let name = match names.as_ref().and_then(|n| n.get(i)) {
            Some(own) => own.text()?.to_owned(),
            None => format!("class {i}"),
        };
        text.push_str(&format!("[[label]]\nname = {name:?}\n"));
    }
    Recipe::parse(&text, "recipe").map_err(|e| c.wrong(e))
}
