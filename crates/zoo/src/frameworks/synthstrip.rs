//! SynthStrip's weights (`synthstrip.1.pt`, `synthstrip.nocsf.1.pt`) with what FreeSurfer's `mri_synthstrip` does around
//! the network.

use crate::architectures::layers::Net;
use crate::architectures::{checked, free_image, synthstrip};
use crate::{Result, Weights};
use ampoule_graph::build::Builder;
use ampoule_graph::{Graph, Op, Tensor};
use ampoule_pipeline::recipe::*;
use ampoule_pipeline::{RECIPE_KEY, Recipe};

/// How its files of weights are called.
pub(super) const NAME: &str = "synthstrip";

/// What differs from FreeSurfer.
pub(super) const NOTE: &str = "SynthStrip: the mask holds what is less than 1 mm from the brain's surface, as mri_synthstrip does by default; images of more than 320 mm are seen whole, which it cuts, and the box of an image with values below 0 (CT) holds what is not 0, where its own holds what is above 0";

/// Distance in mm that counts as outside, and that FreeSurfer puts where the network saw nothing.
const FAR: f32 = 100.0;
/// Distance from the brain's surface up to which a voxel belongs to the mask, in mm.
const BORDER: f64 = 1.0;
/// Sizes are multiples of the one, and not below the other.
const MULTIPLE: usize = 64;
const LEAST: usize = 192;

/// The network of these weights, with its recipe. Its score is one half on the brain's surface and falls by 0.005 for each
/// mm: 0 where nothing is, as FreeSurfer has it, and linear, so that it can be interpolated as the distance is.
pub(super) fn build(mut weights: Weights) -> Result<Graph> {
    let mut b = Builder::new(NAME);
    let x = b.input("image", &free_image(1, 3));
    let distance = synthstrip::network(&mut b, &mut weights, x)?;
    let near = Net::new(&mut b, &mut weights, 3).scaled(distance, -0.5 / FAR);
    weights.finish()?;
    let [least, half, most] = [0.0, 0.5, 1.0].map(|v| b.constant("level", Tensor::f32(&[], &[v])));
    let score = b.add(near, half);
    let score = b.node(Op::Clip, &[score, least, most]);
    b.output(score, "score", &free_image(1, 3));
    let mut graph = checked(b.finish())?;
    graph.set_meta(RECIPE_KEY, recipe().to_text());
    Ok(graph)
}

fn recipe() -> Recipe {
    let preprocess = vec![
        Step::Orient { to: "LIA".into() },
        Step::Resample {
            spacing: [1.0; 3],
            method: Method::NearestExact,
            rule: SpacingRule::Freesurfer,
            separate: None,
            across: Across::Nearest,
            back: Back::Linear,
        },
        Step::CropNonzero { margin: 0 },
        Step::Pad {
            multiple: MULTIPLE,
            size: vec![LEAST],
            mode: PadMode::Constant,
            value: 0.0,
            side: Side::Both,
        },
        Step::PercentileRescale {
            low: 0.0,
            high: 0.99,
            over: Over::All,
            channels: Channels::Each,
            clip: true,
            to: [0.0, 1.0],
            keep: String::new(),
        },
    ];
    let post = |step| Post { step, labels: Vec::new(), together: false };
    Recipe {
        version: VERSION,
        model: About {
            name: NAME.into(),
            task: Task::Segmentation,
            description: "Brain mask of images of any contrast".into(),
            reference: "Hoopes et al., SynthStrip: skull-stripping for any brain image, NeuroImage 2022"
                .into(),
            ..About::default()
        },
        input: vec![Input {
            name: "image".into(),
            kind: Kind::Volume,
            colours: Colours::Grey,
            suffix: Vec::new(),
            series: Vec::new(),
            modality: None,
            frame: None,
            grid: Agree::Same,
        }],
        preprocess,
        network: vec![Network { outputs: vec!["score".into()], axes: Axes::Xyz, ..Network::plain() }],
        decide: Decide {
            rule: Rule::Threshold,
            threshold: 0.5 - 0.5 * BORDER / f64::from(FAR),
            at_least: false,
        },
        label: vec![Label { value: 1, channel: 0, ..Label::named(0, "brain") }],
        dropped: Vec::new(),
        postprocess: vec![
            post(PostStep::Largest { neighbours: Neighbours::Faces, ties: Ties::First }),
            post(PostStep::FillHoles { slices: None }),
        ],
        slide: None,
        tiles: None,
        outputs: Outputs { masked: "brain".into(), ..Outputs::default() },
    }
}
