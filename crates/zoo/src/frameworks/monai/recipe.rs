//! A bundle's transforms, inferer and metadata as a recipe.

use super::super::config::Config;
use super::form::Form;
use super::transforms::{After, Before, list};
use crate::Result;
use ampoule_pipeline::Recipe;
use ampoule_pipeline::recipe::{self, *};
use serde_json::Value;

/// Largest side of a window.
const SIDE: usize = 8192;

/// The first of the bundle's inputs or outputs, as metadata.json describes it.
pub(super) fn described<'a>(metadata: &Config<'a>, side: &str) -> Option<Config<'a>> {
    let all = metadata.get("network_data_format")?.get(side)?;
    all.entries().ok()?.into_iter().next().map(|e| e.1)
}

/// The names of channels, by `channel_def`; numbers where it says nothing.
fn channel_names(c: Option<Config>, n: usize, what: &str) -> Vec<String> {
    let defined = c.and_then(|c| c.get("channel_def"));
    (0..n)
        .map(|i| {
            let told = defined.as_ref().and_then(|d| d.get(&i.to_string()));
            told.and_then(|t| t.text().ok().map(str::to_owned))
                .filter(|t| !t.trim().is_empty())
                .unwrap_or(format!("{what} {i}"))
        })
        .collect()
}

/// Equal names get their numbers.
fn different(names: Vec<String>) -> Vec<String> {
    let twice = |i: usize| names.iter().enumerate().any(|(k, n)| k != i && n.eq_ignore_ascii_case(&names[i]));
    (0..names.len()).map(|i| if twice(i) { format!("{} {i}", names[i]) } else { names[i].clone() }).collect()
}

pub(super) fn recipe(
    config: &Config,
    metadata: &Config,
    form: Form,
    notes: &mut Vec<String>,
) -> Result<Recipe> {
    let Form { axes, channels, outputs, classifier } = form;
    let kind = if axes == 3 { Kind::Volume } else { Kind::Image };
    let mut before = Before::default();
    if let Some(c) = config.get("preprocessing") {
        for t in list(&c)? {
            before.take(&t)?;
        }
    } else {
        notes.push("the bundle names no preprocessing; images go to the network as they are".into());
    }
    let mut after = After::default();
    if let Some(c) = config.get("postprocessing") {
        for t in list(&c)? {
            after.take(&t)?;
        }
    }
    let task = if classifier { Task::Classification } else { Task::Segmentation };
    let label = labels(&described(metadata, "outputs"), outputs, classifier, &after);
    let rule = match (classifier, after.argmax) {
        (true, _) => Rule::Argmax,
        (false, true) => Rule::Argmax,
        (false, false) if outputs == 1 => Rule::Threshold,
        (false, false) => Rule::Regions,
    };
    let activation = match after.activation {
        Activation::None if after.argmax || classifier => Activation::Softmax,
        // A threshold on logits is none on probabilities; MONAI's bundles activate first.
        other => other,
    };
    let mut preprocess: Vec<Step> =
        before.orient.into_iter().map(|to| Step::Orient { to }).chain(before.steps).collect();
    let back = after.back.unwrap_or(Back::Nearest);
    for step in &mut preprocess {
        if let Step::Resample { back: way, .. } | Step::Resize { back: way, .. } = step {
            *way = back;
        }
    }
    let post = after.largest.as_ref().map(|c| Post {
        step: PostStep::Largest { neighbours: c.neighbours, ties: Ties::First },
        labels: label
            .iter()
            .filter(|l| c.labels.contains(&usize::from(l.value)))
            .map(|l| l.name.clone())
            .collect(),
        together: c.together,
    });
    let text = |key: &str| {
        metadata
            .get(key)
            .and_then(|c| c.text().ok().map(|t| t.replace(char::is_control, " ")))
            .unwrap_or_default()
    };
    let name = text("name");
    Ok(Recipe {
        version: VERSION,
        model: About {
            name: if name.trim().is_empty() { "monai".into() } else { name },
            task,
            description: text("description"),
            reference: String::new(),
            license: text("copyright"),
            intended_use: text("intended_use"),
        },
        input: inputs(&described(metadata, "inputs"), channels, kind, config)?,
        preprocess,
        network: vec![recipe::Network {
            outputs: vec!["prediction".into()],
            activation,
            combine: match (classifier, after.logits) {
                (true, _) => Combine::Probabilities,
                (false, true) => Combine::Logits,
                (false, false) => Combine::WindowLogits,
            },
            // nibabel's order; readers of photos turn them so that the width comes first.
            axes: Axes::Xyz,
            window: window(config, axes)?,
            ..recipe::Network::plain()
        }],
        decide: Decide {
            rule,
            threshold: after.threshold.unwrap_or(0.5),
            at_least: after.threshold.is_some(),
        },
        label,
        dropped: Vec::new(),
        postprocess: post.into_iter().collect(),
        slide: None,
        tiles: None,
        outputs: Outputs::default(),
    })
}

fn labels(out: &Option<Config>, n: usize, classifier: bool, after: &After) -> Vec<Label> {
    let names = different(channel_names(out.clone(), n, if classifier { "class" } else { "label" }));
    // Without an argmax every channel is a label of its own, and none is the background.
    let shift = if classifier || after.argmax { 0 } else { 1 };
    let one = |(i, name): (usize, String)| Label { value: (i + shift) as u16, ..Label::named(i, name) };
    names.into_iter().enumerate().map(one).collect()
}

fn inputs(given: &Option<Config>, n: usize, kind: Kind, config: &Config) -> Result<Vec<Input>> {
    let one = |name: String, colours| Input {
        name,
        kind,
        colours,
        suffix: Vec::new(),
        series: Vec::new(),
        modality: None,
        frame: None,
        grid: Agree::Same,
    };
    if kind == Kind::Image {
        return match n {
            1 => Ok(vec![one("image".into(), Colours::Grey)]),
            3 => Ok(vec![one("image".into(), Colours::Rgb)]),
            n => Err(config.wrong(format_args!("takes images of {n} channels; 1 and 3 are known"))),
        };
    }
    let names = different(channel_names(given.clone(), n, "channel"));
    Ok(names.into_iter().map(|name| one(name, Colours::Grey)).collect())
}

/// The sides of the sliding window in the tensor's order, where the inferer lists them.
pub(super) fn window_sizes(config: &Config) -> Result<Option<Vec<usize>>> {
    let size = config.get("inferer").and_then(|c| c.get("roi_size"));
    size.filter(|s| s.value().is_array()).map(|s| s.sizes(SIDE)).transpose()
}

/// The sliding window; none for an inferer that takes the whole image.
fn window(config: &Config, axes: usize) -> Result<Option<Window>> {
    let Some(c) = config.get("inferer") else { return Ok(None) };
    let target = c.need("_target_")?;
    match target.text()?.rsplit('.').next().unwrap_or_default() {
        "SimpleInferer" => return Ok(None),
        "SlidingWindowInferer" | "SlidingWindowInfererAdapt" => {}
        other => {
            return Err(
                target.wrong(format_args!("is `{other}`; SlidingWindowInferer and SimpleInferer are known"))
            );
        }
    }
    let size = c.need("roi_size")?.sizes_or_one(axes, SIDE)?;
    let overlap = c.get("overlap").map_or(Ok(0.25), |o| o.number())?;
    if !(0.0..=0.94).contains(&overlap) {
        return Err(c.wrong(format_args!("has windows that overlap by {overlap}; 0 to 0.94 is known")));
    }
    for (key, usual) in [("padding_mode", "constant"), ("cval", "0"), ("sigma_scale", "0.125")] {
        let is = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_lowercase);
        let other = |v: &Value| {
            !v.is_null()
                && is(v).rsplit('.').next() != Some(usual)
                && is(v) != usual
                && is(v) != format!("{usual}.0")
        };
        if let Some(said) = c.get(key).filter(|v| other(v.value())) {
            return Err(said.wrong(format_args!("is none that is known ({usual})")));
        }
    }
    let mode = c.get("mode").map(|m| m.value().clone()).unwrap_or(Value::from("constant"));
    let blend = match mode.as_str().unwrap_or_default().to_lowercase().rsplit('.').next().unwrap_or_default()
    {
        "gaussian" => Weighting::Gaussian,
        "constant" => Weighting::Average,
        other => {
            return Err(c.wrong(format_args!("blends windows by `{other}`; constant and gaussian are known")));
        }
    };
    Ok(Some(Window {
        size,
        overlap,
        overlap_voxels: None,
        blend,
        style: WindowStyle::Monai,
        border: PadMode::Constant,
    }))
}
