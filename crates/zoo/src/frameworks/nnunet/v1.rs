//! Model folders of nnU-Net v1: `TRAINER__PLANS` with `plans.pkl`, and `fold_…/model_final_checkpoint.model`.
//!
//! Its plans and its weights say the same as version 2's under other names; they are read as those. What version 1 does
//! otherwise, the recipe tells: intensities are normalised after resampling, and probabilities are averaged, not logits.

use super::super::checkpoint::{self, Checkpoint};
use super::super::config::Config;
use super::super::files::Files;
use super::configuration::{Configuration, Names, add, folds, folds_text};
use super::labels::Labels;
use super::target::{Member, PLANS_1 as PLANS};
use super::{plans, recipe};
use crate::architectures::dynamic_unet::DynamicUnet;
use crate::architectures::free_image;
use crate::architectures::layers::Norm;
use crate::torch::budget;
use crate::{Error, Result, Weights};
use ampoule_graph::Tensor;
use ampoule_graph::build::Builder;
use ampoule_pipeline::recipe::{Combine, Neighbours, Outside, Post, PostStep, Step, Ties};
use serde_json::{Map, Value, json};

const NAMES: Names = Names { finished: "model_final_checkpoint.model", best: "model_best.model", all: "all" };
/// Most channels, and most stages.
const MOST: usize = 1 << 16;
const STAGES: usize = 32;

/// A pickle of plain values and small arrays.
fn pickled(files: &Files, file: &str) -> Result<Value> {
    let about = |e: ampoule_torch::Error| Error::from(e).about(&files.path(file));
    let read = ampoule_torch::from_pickle(&files.read(file)?, budget()).map_err(about)?;
    Ok(checkpoint::with_arrays(&read.values, &read.tensors))
}

/// What was trained: the stage of the plans, and the trainer's name.
struct Trained {
    stage: Option<usize>,
    trainer: String,
}

fn trained(files: &Files, fold: &str) -> Result<Trained> {
    let file = format!("{fold}.pkl");
    let by_folder = files.name().split("__").next().unwrap_or_default().to_owned();
    if !files.has(&file) {
        return Ok(Trained { stage: None, trainer: by_folder });
    }
    let value = pickled(files, &file)?;
    let c = Config::root(&value, files.path(&file));
    // The sixth argument of its trainers.
    let stage = c.get("init").and_then(|i| i.value().get(5)?.as_u64()).map(|n| n as usize);
    let trainer = c.get("name").map(|n| n.text()).transpose()?.map_or(by_folder, str::to_owned);
    Ok(Trained { stage, trainer })
}

/// What a trainer changes beyond the plans, as its name says.
fn refuse_unknown(files: &Files, trainer: &str) -> Result<()> {
    for (part, what) in [
        ("Cascade", "sees the labels of another configuration; give the folder of 3d_fullres or 3d_lowres"),
        ("Regions", "decides regions, which its plans do not list"),
        ("Resenc", "has a residual encoder, which its plans do not tell"),
    ] {
        if trainer.to_lowercase().contains(&part.to_lowercase()) {
            return Err(files.wrong("", format!("its trainer {trainer} {what}")));
        }
    }
    Ok(())
}

/// The table with the entries 0, 1, … of one of version 1's, in order.
fn by_number<'a>(c: &Config<'a>, count: usize) -> Result<Vec<Config<'a>>> {
    (0..count).map(|i| c.need(&i.to_string())).collect()
}

/// Plans and data set as version 2 writes them.
fn translated(p: &Config, name: &str, stage: Option<usize>) -> Result<(Value, Value)> {
    let stages = p.need("plans_per_stage")?;
    let last = stages.entries()?.len().saturating_sub(1);
    let s = stages.need(&stage.unwrap_or(if name == "3d_lowres" { 0 } else { last }).to_string())?;
    let channels = p.need("num_modalities")?.size(MOST)?;
    let patch = s.need("patch_size")?;
    let axes = patch.list()?.len();
    let spacing = s.need("current_spacing")?.numbers()?;
    if spacing.len() != 3 || !(2..=3).contains(&axes) {
        return Err(s.wrong("has no patch of two or three sizes and spacing of three"));
    }
    let pools = s.need("pool_op_kernel_sizes")?;
    let mut strides = vec![vec![1; axes]];
    for stride in pools.list()? {
        strides.push(stride.sizes(64)?);
    }
    let convs = p.get("conv_per_stage").map_or(Ok(2), |c| c.size(64))?;
    if convs < 2 || strides.len() > STAGES {
        return Err(p.wrong(format_args!(
            "plans {convs} convolutions a stage and {} stages; 2 or more, and up to {STAGES}, are known",
            strides.len()
        )));
    }
    let schemes = by_number(&p.need("normalization_schemes")?, channels)?;
    let masks = by_number(&p.need("use_mask_for_norm")?, channels)?;
    let mut named = Vec::new();
    for (scheme, mask) in schemes.iter().zip(&masks) {
        let masked = mask.flag()?;
        named.push(match scheme.text()? {
            "CT" if masked => {
                return Err(mask.wrong("leaves out the outside of CT images, which is not known"));
            }
            "CT" => "CTNormalization",
            "nonCT" => "ZScoreNormalization",
            "noNorm" => "NoNormalization",
            other => return Err(scheme.wrong(format_args!("is `{other}`; CT, nonCT and noNorm are known"))),
        });
    }
    let masks: Vec<Value> = masks.iter().map(|m| m.value().clone()).collect();
    let configuration = json!({
        "patch_size": patch.value(),
        "spacing": spacing[3 - axes..],
        "normalization_schemes": named,
        "use_mask_for_norm": masks,
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": { "order": 3, "order_z": 0, "force_separate_z": null },
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": { "order": 1, "order_z": 0, "force_separate_z": null },
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": p.need("base_num_features")?.value(),
        "unet_max_num_features": if axes == 3 { 320 } else { 480 },
        "n_conv_per_stage_encoder": vec![convs; strides.len()],
        "n_conv_per_stage_decoder": vec![convs; strides.len() - 1],
        "pool_op_kernel_sizes": strides,
        "conv_kernel_sizes": s.need("conv_kernel_sizes")?.value(),
    });
    let plans = json!({
        "transpose_forward": p.need("transpose_forward")?.value(),
        "image_reader_writer": "SimpleITKIO",
        "foreground_intensity_properties_per_channel": intensities(p, &named)?,
        "configurations": { name: configuration },
    });
    Ok((plans, dataset(p, channels)?))
}

/// Intensities of the foreground, by channel, where a channel is normalised by them.
fn intensities(p: &Config, schemes: &[&str]) -> Result<Value> {
    let mut out = Map::new();
    for (i, _) in schemes.iter().enumerate().filter(|(_, s)| **s == "CTNormalization") {
        let own = p.need("dataset_properties")?.need("intensityproperties")?.need(&i.to_string())?;
        let number = |key: &str| own.need(key)?.number();
        out.insert(
            i.to_string(),
            json!({
                "mean": number("mean")?, "std": number("sd")?,
                "percentile_00_5": number("percentile_00_5")?, "percentile_99_5": number("percentile_99_5")?,
            }),
        );
    }
    Ok(Value::Object(out))
}

/// Channels and labels; the plans have numbers of labels and no names.
fn dataset(p: &Config, channels: usize) -> Result<Value> {
    let classes = p.need("all_classes")?.sizes(MOST)?;
    if !classes.iter().copied().eq(1..=classes.len()) {
        return Err(p.need("all_classes")?.wrong("are not numbered from 1 on"));
    }
    let names = by_number(&p.need("modalities")?, channels)?;
    let names: Map<String, Value> =
        names.iter().enumerate().map(|(i, n)| (i.to_string(), n.value().clone())).collect();
    let mut labels: Map<String, Value> = classes.iter().map(|c| (format!("label {c}"), json!(c))).collect();
    labels.insert("background".into(), json!(0));
    Ok(json!({ "channel_names": names, "labels": labels }))
}

/// The name that version 2 gives a tensor; `None` for others. The coarsest stage, and those of the decoder, are two
/// stacks of convolutions there, of `first` and of one.
fn named(name: &str, stages: usize, first: usize) -> Option<String> {
    let part = |rest: &str| rest.replacen("instnorm", "norm", 1);
    let (kind, rest) = name.split_once('.')?;
    let (number, rest) = rest.split_once('.')?;
    let at: usize = number.parse().ok()?;
    let stacked = |rest: &str| -> Option<String> {
        let (stack, rest) = rest.split_once(".blocks.")?;
        let (i, rest) = rest.split_once('.')?;
        let i = i.parse::<usize>().ok()? + if stack == "1" { first } else { 0 };
        Some(format!("convs.{i}.{}", part(rest)))
    };
    match kind {
        "conv_blocks_context" if at + 1 < stages => {
            let (i, rest) = rest.strip_prefix("blocks.")?.split_once('.')?;
            Some(format!("encoder.stages.{at}.0.convs.{i}.{}", part(rest)))
        }
        "conv_blocks_context" => Some(format!("encoder.stages.{at}.0.{}", stacked(rest)?)),
        "conv_blocks_localization" => Some(format!("decoder.stages.{at}.{}", stacked(rest)?)),
        "tu" => Some(format!("decoder.transpconvs.{at}.{rest}")),
        "seg_outputs" => Some(format!("decoder.seg_layers.{at}.{rest}")),
        _ => None,
    }
}

/// Weights under version 2's names; biases that version 1 leaves out are 0.
fn renamed(w: Weights, net: &DynamicUnet) -> Weights {
    let (stages, first) = (net.features.len(), net.depths[0] - 1);
    let mut w = w.renamed(|n| named(n, stages, first).unwrap_or_else(|| n.to_owned()));
    for s in 0..stages - 1 {
        let fine = net.features[stages - 2 - s];
        for (name, c) in [("transpconvs", fine), ("seg_layers", net.classes)] {
            let name = format!("decoder.{name}.{s}.bias");
            if !w.has(&name) {
                w.insert(name, Tensor::f32(&[c], &vec![0.0; c]));
            }
        }
    }
    w
}

/// Adds the networks of a folder to a graph.
pub(super) fn load(
    member: &Member,
    b: &mut Builder,
    prefix: &str,
    notes: &mut Vec<String>,
) -> Result<Configuration> {
    let files = &member.files;
    let value = pickled(files, PLANS)?;
    let p = Config::root(&value, files.path(PLANS));
    let folds = folds(files, member.fold.as_deref(), &NAMES, notes)?;
    let told = trained(files, &folds[0].file)?;
    refuse_unknown(files, &told.trainer)?;
    let around = |levels: usize| (0..levels).try_fold(files.clone(), |f, _| f.around()).map(|f| f.name());
    let name = around(2).filter(|n| ["2d", "3d_fullres", "3d_lowres"].contains(&n.as_str()));
    let name = name.unwrap_or_else(|| "3d_fullres".into());
    let (plans_value, dataset_value) = translated(&p, &name, told.stage)?;
    let plans = Config::root(&plans_value, files.path(PLANS));
    let dataset = Config::root(&dataset_value, files.path(PLANS));
    let labels = Labels::read(&dataset)?;
    let merged = plans::configuration(&plans, &name)?;
    let c = Config::root(&merged, files.path(PLANS));
    let channels = recipe::channel_names(&dataset)?.len();
    let mut network = plans::network(&c, channels, labels.count(), false)?;
    // Its decoder takes the kernels of the stage below.
    network.decoder_kernels = network.kernels[1..].iter().rev().cloned().collect();
    let named = |what: &str| format!("{prefix}{what}");
    let axes = network.kernels[0].len();
    let x = b.input(&named("image"), &free_image(channels, axes));
    for f in &folds {
        let read = Checkpoint::of(files, &f.file)?;
        let tracked = read.weights.names().any(|n| n.ends_with("running_mean"));
        if let (true, Norm::Instance { epsilon, affine }) = (tracked, network.norm) {
            network.norm = Norm::Running { epsilon, affine };
        }
        let w = renamed(read.weights, &network).for_arch("of plans.pkl");
        add(b, &network, w, x, &named(&f.name)).map_err(|e| e.about(&files.path(&f.file)))?;
    }
    let mirrored =
        if told.trainer.to_lowercase().contains("nomirroring") { Vec::new() } else { (0..axes).collect() };
    let task = around(1).filter(|n| n.starts_with("Task")).unwrap_or_else(|| String::from("nnunet"));
    let parts = recipe::Parts {
        plans: &plans,
        dataset: &dataset,
        configuration: &c,
        labels: &labels,
        folds: folds.iter().map(|f| named(&f.name)).collect(),
        mirrored,
        name: task,
    };
    let mut recipe = recipe::recipe(&parts)?;
    reordered(&mut recipe.preprocess);
    recipe.network.iter_mut().for_each(|n| n.combine = Combine::Probabilities);
    recipe.postprocess = postprocess(files, &labels, notes)?;
    notes.push("nnU-Net v1: its plans have no names of labels".into());
    let folds = folds_text(&folds);
    Ok(Configuration { recipe, labels, name, trainer: told.trainer, folds, before: None })
}

/// Resampling before what changes intensities; voxels outside the mask become 0 again.
fn reordered(steps: &mut Vec<Step>) {
    fn zeros(step: &mut Step) {
        match step {
            Step::ZScore { outside, .. } => *outside = Outside::Zero,
            Step::Only { step, .. } => zeros(step),
            _ => {}
        }
    }
    let at = steps.iter().position(|s| matches!(s, Step::Resample { .. }));
    let crop = steps.iter().position(|s| matches!(s, Step::CropNonzero { .. }));
    if let (Some(at), Some(crop)) = (at, crop) {
        let resample = steps.remove(at);
        steps.insert(crop + 1, resample);
    }
    steps.iter_mut().for_each(zeros);
}

/// `postprocessing.json`: classes, or sets of them, of which only the largest component stays.
fn postprocess(files: &Files, labels: &Labels, notes: &mut Vec<String>) -> Result<Vec<Post>> {
    const FILE: &str = "postprocessing.json";
    if !files.has(FILE) {
        return Ok(Vec::new());
    }
    let value = super::super::json(files, FILE)?;
    let c = Config::root(&value, files.path(FILE));
    let sizes = c.get("min_valid_object_sizes").filter(|s| s.value() != "None");
    if let Some(sizes) = sizes {
        return Err(sizes.wrong("keeps components by their size, which is not known"));
    }
    let mut out = Vec::new();
    for class in c.need("for_which_classes")?.list()? {
        let values = if class.value().is_array() { class.sizes(MOST)? } else { vec![class.size(MOST)?] };
        let named = labels.named(&values);
        if named.is_empty() {
            return Err(class.wrong("is no label of the plans"));
        }
        out.push(Post {
            step: PostStep::Largest { neighbours: Neighbours::Faces, ties: Ties::All },
            labels: named,
            together: true,
        });
    }
    if !out.is_empty() {
        notes.push(format!("{FILE} is applied: {} times only the largest component stays", out.len()));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_have_the_names_of_version_2() {
        let of = |n: &str| named(n, 6, 1);
        let same = |a: &str, b: &str| assert_eq!(of(a).as_deref(), Some(b));
        same("conv_blocks_context.0.blocks.1.instnorm.weight", "encoder.stages.0.0.convs.1.norm.weight");
        same("conv_blocks_context.5.1.blocks.0.conv.bias", "encoder.stages.5.0.convs.1.conv.bias");
        same("conv_blocks_localization.4.0.blocks.0.conv.weight", "decoder.stages.4.convs.0.conv.weight");
        same("tu.3.weight", "decoder.transpconvs.3.weight");
        assert_eq!(of("td.0.weight"), None);
    }
}
