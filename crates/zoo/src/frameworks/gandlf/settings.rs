//! The network that a configuration of GaNDLF asks for.

use super::super::config::Config;
use super::recipe;
use crate::architectures::gandlf::{self, Ending, Kind, Options, Settings};
use crate::architectures::vision::segmentation;
use crate::{Result, Weights};
use ampoule_pipeline::recipe::Task;

/// Most channels, filters and the like.
const MOST: usize = 1 << 16;
/// Most stages of networks whose depth the configuration gives.
const STAGES: usize = 12;

/// Functions at the end that stand for none.
const NOTHING: [&str; 5] =
    ["none", "logits", "regression", "classification_but_not_softmax", "classification_without_softmax"];

/// `final_layer` in lower case.
fn last(m: &Config) -> Option<String> {
    m.get("final_layer").and_then(|l| l.value().as_str().map(str::to_lowercase))
}

/// What the network is for (`find_problem_type`): a network that gives one row has values where nothing stands at its
/// end, and classes otherwise.
pub(super) fn task(config: &Config, dense: bool) -> Result<Task> {
    let stated = config.get("problem_type").map(|p| p.text()).transpose()?;
    let last = last(&config.need("model")?);
    Ok(match (stated, last.as_deref()) {
        _ if dense => Task::Segmentation,
        (Some("regression"), _) | (None, None | Some("none" | "regression")) => Task::Regression,
        _ => Task::Classification,
    })
}

/// How many values a network that gives one row has, by the weights of its last layer.
pub(super) fn values(weights: &Weights) -> Option<usize> {
    let names = ["classifier.weight", "classifier.1.weight", "classifier.4.weight"];
    let found = |n: &&str| weights.dims(n).or(weights.dims(&format!("module.{n}"))).map(<[usize]>::to_vec);
    names.iter().find_map(found)?.first().copied()
}

/// The network.
pub(super) fn settings(config: &Config, weights: &Weights, classes: usize) -> Result<Settings> {
    let m = config.need("model")?;
    let given = m.need("architecture")?;
    let architecture = given.text()?.to_lowercase();
    if gandlf::is_dense(&architecture).is_none() {
        let why = match architecture.as_str() {
            "sdnet" => "draws random numbers for every image, also outside training".to_owned(),
            _ => format!("is not known; known are {}", gandlf::names().join(", ")),
        };
        return Err(given.wrong(format_args!("is `{architecture}`, which {why}")));
    }
    let (patch, axes) = recipe::patch(config)?;
    let number = |key: &str, usual: usize| m.get(key).map_or(Ok(usual), |c| c.size(MOST));
    if let Some(c) = m.get("converter_type").filter(|_| architecture == "imagenet_unet") {
        return Err(c.wrong("converts a network of images to volumes, which is not known"));
    }
    let patch = patch[..axes].to_vec();
    let depth = depth(&patch, number("depth", 4)?.min(STAGES));
    let free = architecture.ends_with("multilayer") || architecture == "transunet";
    if free && depth < 2 {
        return Err(m.wrong("has a patch_size that can be halved less than twice"));
    }
    let norm = norm(&m)?;
    let options = options(config, &m, &architecture, &patch)?;
    Ok(Settings {
        axes,
        channels: channels(&m, weights)?,
        classes: number("num_classes", classes)?,
        base: number("base_filters", 32)?,
        norm,
        ending: ending(&m, &architecture)?,
        sigmoid_multiplier: m.get("sigmoid_input_multiplier").map_or(Ok(1.0), |c| c.number())? as f32,
        depth,
        patch,
        options,
        architecture,
    })
}

fn norm(m: &Config) -> Result<Kind> {
    let norm = m.get("norm_type");
    match norm.as_ref().map(|n| n.text()).transpose()?.map(str::to_lowercase).as_deref() {
        Some("batch") | None => Ok(Kind::Batch),
        Some("instance") => Ok(Kind::Instance),
        Some("none") => Ok(Kind::None),
        Some(other) => {
            Err(m.wrong(format_args!("has the norm_type `{other}`; batch, instance and none are known")))
        }
    }
}

fn ending(m: &Config, architecture: &str) -> Result<Ending> {
    match last(m).as_deref() {
        Some("sigmoid" | "sig") => Ok(Ending::Sigmoid),
        Some("softmax" | "soft") => Ok(Ending::Softmax),
        None => Ok(Ending::None),
        Some(other) if NOTHING.contains(&other) => Ok(Ending::None),
        Some("identity") if architecture == "imagenet_unet" => Ok(Ending::None),
        Some(other) => {
            Err(m.wrong(format_args!("has the final_layer `{other}`; sigmoid, softmax and none are known")))
        }
    }
}

/// What single networks are made from.
fn options(config: &Config, m: &Config, architecture: &str, patch: &[usize]) -> Result<Options> {
    let mut o = Options::default();
    match architecture {
        "unetr" | "transunet" => tokens(m, architecture, patch, &mut o)?,
        "dynunet" => dynunet(config, m, patch, &mut o)?,
        "imagenet_unet" => imagenet_unet(m, patch.len(), &mut o)?,
        _ => {}
    }
    Ok(o)
}

fn tokens(m: &Config, architecture: &str, patch: &[usize], o: &mut Options) -> Result<()> {
    let number = |key: &str, usual: usize| m.get(key).map_or(Ok(usual), |c| c.size(MOST));
    (o.heads, o.embedding) = (number("num_heads", 12)?, number("embed_dim", 768)?);
    if o.heads == 0 || o.embedding == 0 || !o.embedding.is_multiple_of(o.heads) {
        return Err(m.wrong(format_args!(
            "has an embed_dim of {}, which is no multiple of its num_heads, {}",
            o.embedding, o.heads
        )));
    }
    if architecture == "unetr" {
        o.inner_patch = number("inner_patch_size", patch[0])?;
        let fits = |n: &usize| n.is_multiple_of(o.inner_patch);
        if o.inner_patch < 4 || !o.inner_patch.is_power_of_two() || !patch.iter().all(fits) {
            return Err(m.wrong(format_args!(
                "has an inner_patch_size of {}; it must be a power of two from 4 on, and the patch_size its multiple",
                o.inner_patch
            )));
        }
    }
    Ok(())
}

/// A list of `n` numbers for every stage, each given as one number or as a list.
fn stages(c: &Config, n: usize) -> Result<Vec<Vec<usize>>> {
    let list = c.list()?;
    let all: Result<Vec<Vec<usize>>> = list.iter().map(|s| s.sizes_or_one(n, 64)).collect();
    match all? {
        all if all.len() >= 2 && all.len() <= STAGES && all.iter().flatten().all(|v| *v > 0) => Ok(all),
        _ => Err(c.wrong(format_args!("must have 2 to {STAGES} stages of numbers above 0"))),
    }
}

fn dynunet(config: &Config, m: &Config, patch: &[usize], o: &mut Options) -> Result<()> {
    let n = patch.len();
    (o.kernels, o.strides) = match (m.get("kernel_size"), m.get("strides")) {
        (Some(kernels), Some(strides)) => (stages(&kernels, n)?, stages(&strides, n)?),
        _ => {
            let spacing = config.get("spacing_for_internal_computations");
            kernels_and_strides(m, patch, spacing.map_or(Ok(vec![1.0; n]), |s| s.numbers())?)?
        }
    };
    let usual = |i: usize| (32usize << i).min(if n == 3 { 320 } else { 512 });
    o.filters = match m.get("filters") {
        Some(f) => f.sizes(MOST)?,
        None => (0..o.strides.len()).map(usual).collect(),
    };
    if o.kernels.len() != o.strides.len() || o.filters.len() < o.strides.len() {
        return Err(m.wrong(format_args!(
            "has {} kernel_size, {} strides and {} filters; one a stage is expected",
            o.kernels.len(),
            o.strides.len(),
            o.filters.len()
        )));
    }
    o.filters.truncate(o.strides.len());
    o.residual = m.get("res_block").map_or(Ok(true), |c| c.flag())?;
    o.up_bias = m.get("trans_bias").map_or(Ok(false), |c| c.flag())?;
    match m.get("act_name") {
        Some(c) => Err(c.wrong("names another activation, which is not known")),
        None => Ok(()),
    }
}

/// `get_kernels_strides`: axes are halved while they are long enough and not much coarser than the finest.
fn kernels_and_strides(
    m: &Config,
    patch: &[usize],
    spacing: Vec<f64>,
) -> Result<(Vec<Vec<usize>>, Vec<Vec<usize>>)> {
    let n = patch.len();
    if spacing.len() != n || spacing.iter().any(|s| *s <= 0.0) {
        return Err(m.wrong("has a spacing_for_internal_computations that does not fit its patch_size"));
    }
    let (mut sizes, mut spacing) = (patch.to_vec(), spacing);
    let (mut kernels, mut strides) = (Vec::new(), vec![vec![1; n]]);
    loop {
        let least = spacing.iter().copied().fold(f64::INFINITY, f64::min);
        let near: Vec<bool> = spacing.iter().map(|s| s / least <= 2.0).collect();
        let stride: Vec<usize> = (0..n).map(|i| if near[i] && sizes[i] >= 8 { 2 } else { 1 }).collect();
        if stride.iter().all(|s| *s == 1) {
            break;
        }
        if let Some(i) = (0..n).find(|i| !sizes[*i].is_multiple_of(stride[*i])) {
            return Err(m.wrong(format_args!("has a patch_size of {}, which cannot be halved", patch[i])));
        }
        for i in 0..n {
            sizes[i] /= stride[i];
            spacing[i] *= stride[i] as f64;
        }
        kernels.push(near.iter().map(|near| if *near { 3 } else { 1 }).collect());
        strides.push(stride);
    }
    kernels.push(vec![3; n]);
    match strides.len() {
        2..=STAGES => Ok((kernels, strides)),
        _ => Err(m.wrong("has a patch_size that cannot be halved as the network needs it")),
    }
}

fn imagenet_unet(m: &Config, axes: usize, o: &mut Options) -> Result<()> {
    if axes == 3 {
        return Err(m.wrong("makes a network of images one of volumes, which is not known"));
    }
    let encoder = m.get("encoder_name");
    let name = encoder.as_ref().map_or(Ok("resnet34"), |e| e.text())?;
    if !segmentation::encodes(name) {
        return Err(
            m.wrong(format_args!("has the encoder_name `{name}`; known are {}", segmentation::ENCODED))
        );
    }
    o.encoder = name.to_owned();
    Ok(())
}

/// First weights of the networks, by which channels are told.
const FIRST: [&str; 11] = [
    "ins.conv0.weight",
    "features.0.weight",
    "features.conv1.weight",
    "conv0_1x1.conv.weight",
    "input_conv.conv1.conv.weight",
    "layers.0.weight",
    "model.input_block.conv1.conv.weight",
    "model.encoder.conv1.weight",
    "input_block.conv1.conv.weight",
    "encoder.conv1.weight",
    "conv1.weight",
];

/// Channels of the image: the configuration may leave them to the table of cases, and then the first weights tell.
fn channels(m: &Config, weights: &Weights) -> Result<usize> {
    let told =
        FIRST.iter().flat_map(|n| [weights.dims(n), weights.dims(&format!("module.{n}"))]).flatten().next();
    match told.and_then(|d| d.get(1).copied()) {
        Some(n) => Ok(n),
        None => m.need("num_channels")?.size(MOST),
    }
}

/// How often a patch can be halved, at most `wanted` times (`checkPatchDimensions`).
fn depth(patch: &[usize], wanted: usize) -> usize {
    if patch.iter().all(|n| *n >= 1 << (wanted + 1) && n % (1 << wanted) == 0) {
        return wanted;
    }
    let halvings = |n: &usize| {
        let k = n.trailing_zeros() as usize;
        if *n >> k == 1 { k.saturating_sub(1) } else { k }
    };
    patch.iter().map(halvings).min().unwrap_or(0)
}
