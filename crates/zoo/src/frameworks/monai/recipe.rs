//! A bundle's transforms, inferer and metadata as a recipe.

use super::super::config::Config;
use super::after::After;
use super::before::Before;
use super::form::{Form, Frame};
use super::inferer::inferer;
use super::transform::list;
use crate::Result;
use ampoule_pipeline::Recipe;
use ampoule_pipeline::recipe::{self, *};

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
    frame: &Frame,
    notes: &mut Vec<String>,
) -> Result<Recipe> {
    let Form { axes, channels, outputs, classifier } = form;
    let inferer = inferer(config, axes)?;
    let kind = if axes == 3 || inferer.slices.is_some() { Kind::Volume } else { Kind::Image };
    let mut before = Before::of(frame);
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
    if after.blurred {
        notes.push("the bundle interpolates labels between voxels when they return to the image (Invertd after AsDiscreted, without nearest_interp); here scores return, and labels are decided there".into());
    }
    let task = if classifier { Task::Classification } else { Task::Segmentation };
    let label = labels(&described(metadata, "outputs"), outputs, classifier, &after);
    let label = match &after.regions {
        Some(regions) => overlaid(label, regions).map_err(|e| config.wrong(e))?,
        None => label,
    };
    let rule = match (classifier, after.argmax, &after.regions) {
        (true, ..) | (false, true, None) => Rule::Argmax,
        (false, true, Some(_)) => {
            return Err(config.wrong("lays regions over one another after an argmax, which is not known"));
        }
        (false, false, None) if outputs == 1 => Rule::Threshold,
        (false, false, _) => Rule::Regions,
    };
    let activation = match after.activation {
        Activation::None if after.argmax || classifier => Activation::Softmax,
        // A threshold on logits is none on probabilities; MONAI's bundles activate first.
        other => other,
    };
    let mut preprocess: Vec<Step> =
        before.orient.into_iter().map(|to| Step::Orient { to }).chain(before.steps).collect();
    for step in &mut preprocess {
        returned(step, after.back).map_err(|e| config.wrong(e))?;
    }
    let post = after.largest.as_ref().map(|c| Post {
        step: PostStep::Largest { neighbours: c.neighbours, ties: Ties::First },
        labels: label.iter().filter(|l| c.holds(l)).map(|l| l.name.clone()).collect(),
        together: c.together,
    });
    if after.largest.as_ref().is_some_and(|c| !c.labels.is_empty() && !label.iter().any(|l| c.holds(l))) {
        return Err(config.wrong("keeps the largest component of labels that the network has not"));
    }
    if after.largest.as_ref().is_some_and(|c| c.early) && preprocess.iter().any(Step::moves) {
        notes.push("the bundle keeps the largest component before labels return to the image (KeepLargestConnectedComponentd before Invertd); here it is looked for afterwards".into());
    }
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
            window: inferer.window,
            slices: inferer.slices.unwrap_or(Axis::Z),
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

/// How what a step changed returns: as the bundle inverts it, labels that it does not invert by the nearest voxel. MONAI
/// inverts a transform by that transform's own way of interpolating, or by PyTorch's `nearest`.
fn returned(step: &mut Step, inverted: Option<Back>) -> std::result::Result<(), &'static str> {
    match (step, inverted) {
        (Step::Resize { method: Method::Area, .. }, Some(Back::Linear)) => {
            return Err(
                "returns by means over areas (Resized by area, nearest_interp switched off), which is not known",
            );
        }
        (Step::Resize { method: Method::NearestExact, back, .. }, Some(Back::Linear)) => {
            *back = Back::NearestExact
        }
        (Step::Resample { method: Method::NearestExact, back, .. }, Some(Back::Linear)) => {
            *back = Back::Nearest
        }
        (Step::Resize { back, .. }, Some(Back::Nearest)) => *back = Back::NearestFloor,
        (Step::Resize { back, .. } | Step::Resample { back, .. }, way) => {
            *back = way.unwrap_or(Back::Nearest)
        }
        _ => {}
    }
    Ok(())
}

fn labels(out: &Option<Config>, n: usize, classifier: bool, after: &After) -> Vec<Label> {
    let names = different(channel_names(out.clone(), n, if classifier { "class" } else { "label" }));
    // Without an argmax every channel is a label of its own, and none is the background.
    let shift = if classifier || after.argmax { 0 } else { 1 };
    let one = |(i, name): (usize, String)| Label { value: (i + shift) as u16, ..Label::named(i, name) };
    names.into_iter().enumerate().map(one).collect()
}

/// Labels in the order in which they are laid over one another, with their numbers.
fn overlaid(label: Vec<Label>, regions: &[(usize, u16)]) -> std::result::Result<Vec<Label>, String> {
    let one = |(channel, value): &(usize, u16)| {
        let found = label.iter().find(|l| l.channel == *channel);
        let found = found
            .ok_or_else(|| format!("makes label {value} of channel {channel}, which the network has not"))?;
        Ok(Label { value: *value, ..found.clone() })
    };
    regions.iter().map(one).collect()
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
