//! `plans.json`: a configuration with what it inherits, and the network that it plans.

use super::super::config::Config;
use crate::Result;
use crate::architectures::dynamic_unet::{DynamicUnet, Stages};
use crate::architectures::layers::Norm;
use ampoule_graph::op::Unary;
use serde_json::{Map, Value};

/// Configurations that inherit from one another.
const DEPTH: usize = 32;
/// Most channels, stages and the like of a plan.
const MOST: usize = 1 << 16;
/// Most stages of a network.
const STAGES: usize = 32;

/// The configuration `name` with everything that it inherits.
pub(super) fn configuration(plans: &Config, name: &str) -> Result<Value> {
    let all = plans.need("configurations")?;
    let mut merged = Map::new();
    let mut next = Some(name.to_owned());
    for _ in 0..DEPTH {
        let Some(name) = next.take() else { return Ok(Value::Object(merged)) };
        let own = all.get(&name).ok_or_else(|| {
            let known: Vec<&str> = all.entries().unwrap_or_default().iter().map(|e| e.0).collect();
            all.wrong(format_args!("has no configuration `{name}`; there are {}", known.join(", ")))
        })?;
        for (key, value) in own.entries()? {
            if key == "inherits_from" {
                next = Some(value.text()?.to_owned());
            } else if !merged.contains_key(key) {
                merged.insert(key.to_owned(), value.value().clone());
            }
        }
    }
    Err(all.wrong(format_args!("`{name}` inherits from itself")))
}

/// The network of a configuration.
pub(super) fn network(c: &Config, channels: usize, classes: usize, batch_norm: bool) -> Result<DynamicUnet> {
    let mut net = match c.get("architecture") {
        Some(a) => planned(&a, channels, classes)?,
        None => by_older_plans(c, channels, classes)?,
    };
    // `nnUNetTrainerBN` sets its own arguments, whatever those of the plans' normalisation are.
    if batch_norm && net.norm != Norm::None {
        net.norm = Norm::Running { epsilon: 1e-5, affine: true };
    }
    Ok(net)
}

/// The last part of a dotted name.
fn class(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Sizes along each axis, one list a stage; a number stands for all.
fn per_stage(c: &Config, stages: usize, axes: usize) -> Result<Vec<Vec<usize>>> {
    if c.value().is_number() {
        return Ok(vec![vec![c.size(64)?; axes]; stages]);
    }
    let list = c.list()?;
    if list.len() != stages {
        return Err(c.wrong(format_args!("has {} stages; the network has {stages}", list.len())));
    }
    list.iter().map(|s| s.sizes_or_one(axes, 64)).collect()
}

fn planned(a: &Config, channels: usize, classes: usize) -> Result<DynamicUnet> {
    let name = a.need("network_class_name")?;
    let k = a.need("arch_kwargs")?;
    let stages = k.need("n_stages")?.size(STAGES)?;
    if stages < 2 {
        return Err(k.need("n_stages")?.wrong("must be at least 2"));
    }
    let convolution = k.need("conv_op")?;
    let axes = match class(convolution.text()?) {
        "Conv3d" => 3,
        "Conv2d" => 2,
        other => return Err(convolution.wrong(format_args!("is `{other}`; Conv2d and Conv3d are known"))),
    };
    let features = k.need("features_per_stage")?.sizes_or_one(stages, MOST)?;
    let kind = class(name.text()?);
    let (part, residual, residual_decoder) = match kind {
        "PlainConvUNet" => ("n_conv_per_stage", false, false),
        "ResidualEncoderUNet" => ("n_blocks_per_stage", true, false),
        "ResidualUNet" => ("n_blocks_per_stage", true, true),
        other => {
            return Err(name.wrong(format_args!(
                "is `{other}`; the networks PlainConvUNet, ResidualEncoderUNet and ResidualUNet are known"
            )));
        }
    };
    for unknown in ["squeeze_excitation", "stochastic_depth_p"] {
        if let Some(c) =
            k.get(unknown).filter(|c| c.value().as_bool() != Some(false) && c.number().ok() != Some(0.0))
        {
            return Err(c.wrong("is set, which changes the network's blocks and is not known"));
        }
    }
    let stages_of = if residual { residual_stages(&k, stages, features[0])? } else { Stages::Plain };
    Ok(DynamicUnet {
        channels,
        classes,
        stages: stages_of,
        residual_decoder,
        kernels: per_stage(&k.need("kernel_sizes")?, stages, axes)?,
        strides: per_stage(&k.need("strides")?, stages, axes)?,
        decoder_kernels: Vec::new(),
        depths: k.need(part)?.sizes_or_one(stages, 64)?,
        decoder_depths: k.need("n_conv_per_stage_decoder")?.sizes_or_one(stages - 1, 64)?,
        bias: k.get("conv_bias").map_or(Ok(false), |b| b.flag())?,
        norm: norm(&k)?,
        activation: activation(&k)?,
        activation_first: k.get("nonlin_first").map_or(Ok(false), |b| b.flag())?,
        features,
    })
}

fn residual_stages(k: &Config, stages: usize, first: usize) -> Result<Stages> {
    let bottleneck = match (k.get("block"), k.get("bottleneck_channels")) {
        (Some(b), Some(c)) if class(b.text()?) == "BottleneckD" => {
            c.sizes_or_one(stages, MOST)?.into_iter().map(Some).collect()
        }
        (Some(b), _) if class(b.text()?) != "BasicBlockD" => {
            return Err(b.wrong(format_args!("is {}; BasicBlockD and BottleneckD are known", b.value())));
        }
        _ => vec![None; stages],
    };
    let stem = k.get("stem_channels").map_or(Ok(first), |c| c.size(MOST))?;
    Ok(Stages::Residual { stem, bottleneck })
}

fn norm(k: &Config) -> Result<Norm> {
    let Some(op) = k.get("norm_op") else { return Ok(Norm::None) };
    let kwargs = k.get("norm_op_kwargs");
    let given = |key: &str| kwargs.as_ref().and_then(|c| c.get(key));
    let epsilon = given("eps").map_or(Ok(1e-5), |c| c.number())? as f32;
    match class(op.text()?) {
        "InstanceNorm2d" | "InstanceNorm3d" => {
            let affine = given("affine").map_or(Ok(false), |c| c.flag())?;
            match given("track_running_stats").map_or(Ok(false), |c| c.flag())? {
                true => Ok(Norm::Running { epsilon, affine }),
                false => Ok(Norm::Instance { epsilon, affine }),
            }
        }
        "BatchNorm2d" | "BatchNorm3d" => {
            Ok(Norm::Running { epsilon, affine: given("affine").map_or(Ok(true), |c| c.flag())? })
        }
        other => Err(op.wrong(format_args!("is `{other}`; instance and batch normalisation are known"))),
    }
}

fn activation(k: &Config) -> Result<Option<Unary>> {
    let Some(op) = k.get("nonlin") else { return Ok(None) };
    let kwargs = k.get("nonlin_kwargs");
    let slope = kwargs.and_then(|c| c.get("negative_slope")).map_or(Ok(0.01), |c| c.number())?;
    Ok(Some(match class(op.text()?) {
        "LeakyReLU" => Unary::LeakyRelu { alpha: slope as f32 },
        "ReLU" => Unary::Relu,
        "SiLU" => Unary::Swish { alpha: 1.0 },
        "GELU" => Unary::Gelu { tanh: false },
        "Mish" => Unary::Mish,
        "ELU" => Unary::Elu { alpha: 1.0 },
        other => return Err(op.wrong(format_args!("is `{other}`, an activation that is not known"))),
    }))
}

/// Plans of nnU-Net 2.0 to 2.2 list the network's sizes without naming its modules.
fn by_older_plans(c: &Config, channels: usize, classes: usize) -> Result<DynamicUnet> {
    let name = c.need("UNet_class_name")?;
    let encoder = c.need("n_conv_per_stage_encoder")?;
    let stages = encoder.list()?.len();
    if !(2..=STAGES).contains(&stages) {
        return Err(encoder.wrong(format_args!("has {stages} stages; 2 to {STAGES} are possible")));
    }
    let axes = c.need("patch_size")?.list()?.len();
    let base = c.need("UNet_base_num_features")?.size(MOST)?;
    let most = c.need("unet_max_num_features")?.size(MOST)?;
    let features: Vec<usize> = (0..stages).map(|i| (base << i).min(most)).collect();
    let kind = match name.text()? {
        "PlainConvUNet" => Stages::Plain,
        "ResidualEncoderUNet" => Stages::Residual { stem: features[0], bottleneck: vec![None; stages] },
        other => {
            return Err(
                name.wrong(format_args!("is `{other}`; PlainConvUNet and ResidualEncoderUNet are known"))
            );
        }
    };
    Ok(DynamicUnet {
        channels,
        classes,
        stages: kind,
        residual_decoder: false,
        kernels: per_stage(&c.need("conv_kernel_sizes")?, stages, axes)?,
        strides: per_stage(&c.need("pool_op_kernel_sizes")?, stages, axes)?,
        decoder_kernels: Vec::new(),
        depths: encoder.sizes(64)?,
        decoder_depths: c.need("n_conv_per_stage_decoder")?.sizes_or_one(stages - 1, 64)?,
        bias: true,
        norm: Norm::Instance { epsilon: 1e-5, affine: true },
        activation: Some(Unary::LeakyRelu { alpha: 0.01 }),
        activation_first: false,
        features,
    })
}
