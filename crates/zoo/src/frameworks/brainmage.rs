//! BrainMaGe's folder of weights: `resunet_ma.pt` (any contrast) or `resunet_multi_4.pt` (four contrasts), with its
//! configuration (`NAME = VALUE` lines) where one lies beside it.

use super::Found;
use super::checkpoint::Checkpoint;
use super::files::Files;
use crate::architectures::layers::Net;
use crate::architectures::{brainmage, checked, free_image};
use crate::{Error, Result};
use ampoule_graph::Graph;
use ampoule_graph::build::Builder;
use ampoule_pipeline::recipe::*;
use ampoule_pipeline::{RECIPE_KEY, Recipe};

/// The weights, and the contrasts that they take.
const WEIGHTS: [(&str, &[&str]); 2] =
    [("resunet_ma.pt", &["MRI"]), ("resunet_multi_4.pt", &["t1", "t2", "t1ce", "flair"])];
/// Sides of what the network sees, and of the volume that is brought to it.
const SIDE: usize = 128;
const PADDED: [usize; 3] = [240, 240, 160];

/// Which of the weights a folder has; `None` where it has none.
pub(super) fn find(files: &Files) -> Result<Option<usize>> {
    let there: Vec<usize> = (0..WEIGHTS.len()).filter(|i| files.has(WEIGHTS[*i].0)).collect();
    // The package keeps both in one folder; the network for any contrast is its usual one.
    let multi = there.len() > 1 && stated(files, "mode")?.is_some_and(|(_, mode)| mode.starts_with("multi"));
    Ok(if multi { Some(1) } else { there.first().copied() })
}

/// What the configuration file beside the weights says, with the name of the file.
fn stated(files: &Files, key: &str) -> Result<Option<(String, String)>> {
    let Some(name) = files.names()?.into_iter().find(|n| n.ends_with(".cfg")) else { return Ok(None) };
    for line in files.text(&name)?.lines() {
        let Some((k, v)) = line.split_once('=').filter(|_| !line.trim_start().starts_with('#')) else {
            continue;
        };
        if k.trim() == key {
            return Ok(Some((name, v.trim().to_lowercase())));
        }
    }
    Ok(None)
}

/// Filters of the first stage.
fn filters(files: &Files) -> Result<usize> {
    let Some((name, text)) = stated(files, "base_filters")? else { return Ok(16) };
    let n = text.parse().ok().filter(|n| (1..=4096).contains(n));
    n.ok_or_else(|| files.wrong(&name, format!("base_filters is `{text}`; a number is expected")))
}

/// Opens the folder.
pub(super) fn open(files: &Files, which: usize) -> Result<Found> {
    let (file, contrasts) = WEIGHTS[which];
    let base = filters(files)?;
    let read = Checkpoint::of(files, file)?;
    let mut w = read.weights.for_arch("brainmage");
    w.ignore(|k| k.ends_with("num_batches_tracked"));
    let mut b = Builder::new("brainmage");
    let x = b.input("image", &free_image(contrasts.len(), 3));
    let about = |e: Error| e.about(&files.path(file));
    let y = brainmage::build(&mut Net::new(&mut b, &mut w, 3), x, contrasts.len(), base, 1).map_err(about)?;
    w.finish().map_err(about)?;
    b.output(y, "probability", &free_image(1, 3));
    let mut graph: Graph = checked(b.finish())?;
    graph.set_meta(RECIPE_KEY, recipe(contrasts).to_text());
    graph.set_meta("ampoule.source", format!("BrainMaGe, {file}"));
    let notes = vec![
        "where voxels are not 1 mm, scores return to the image and are decided there; BrainMaGe decides before and interpolates the mask, which moves its border by less than a voxel".into(),
    ];
    Ok(Found { graph, notes })
}

fn recipe(contrasts: &[&str]) -> Recipe {
    let any = contrasts.len() == 1;
    let resample = |method, back| Step::Resample {
        spacing: [1.0; 3],
        method,
        rule: SpacingRule::Nnunet,
        separate: None,
        across: Across::Nearest,
        back,
    };
    // Across the image on both sides, along it in front only.
    let pad =
        |size: Vec<usize>, side| Step::Pad { multiple: 1, size, mode: PadMode::Constant, value: 0.0, side };
    let resize = Step::Resize {
        size: SizeKey { size: vec![SIDE; 3], shorter: None },
        method: Method::Cubic,
        rule: SpacingRule::Nnunet,
        back: Back::Cubic,
    };
    let across = pad(vec![PADDED[0], PADDED[1], 1], Side::Both);
    let along = |side| pad(vec![1, 1, PADDED[2]], side);
    let standardise = Step::Brainmage {};
    let preprocess = match any {
        true => vec![resample(Method::Cubic, Back::Cubic), across, along(Side::Start), standardise, resize],
        // Four contrasts are standardised as the network sees them.
        false => vec![resample(Method::Linear, Back::Linear), across, along(Side::End), resize, standardise],
    };
    let input = |name: &&str| Input {
        name: (*name).to_owned(),
        kind: Kind::Volume,
        colours: Colours::Grey,
        suffix: if any { Vec::new() } else { vec![format!("_{name}")] },
        series: Vec::new(),
        modality: None,
        frame: None,
        grid: Agree::Same,
    };
    Recipe {
        version: VERSION,
        model: About {
            name: "brainmage".into(),
            task: Task::Segmentation,
            description: "Brain mask of head MRI with tumours, co-registered to SRI-24".into(),
            reference:
                "Thakur et al., Brain extraction on MRI scans in presence of diffuse glioma, NeuroImage 2020"
                    .into(),
            ..About::default()
        },
        input: contrasts.iter().map(input).collect(),
        preprocess,
        network: vec![Network { outputs: vec!["probability".into()], axes: Axes::Xyz, ..Network::plain() }],
        decide: Decide { rule: Rule::Threshold, threshold: 0.9, at_least: true },
        label: vec![Label { value: 1, channel: 0, ..Label::named(0, "brain") }],
        dropped: Vec::new(),
        postprocess: vec![
            Post { step: PostStep::FillHoles { slices: Some(Axis::Z) }, labels: Vec::new(), together: false },
            Post {
                step: PostStep::Largest { neighbours: Neighbours::Full, ties: Ties::First },
                labels: Vec::new(),
                together: false,
            },
        ],
        slide: None,
        tiles: None,
        outputs: Outputs { masked: "brain".into(), ..Outputs::default() },
    }
}
