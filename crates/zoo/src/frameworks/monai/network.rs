//! `network_def`: a class of `monai.networks.nets` with its arguments.

use super::super::config::Config;
use super::arguments::*;
use super::form::{Form, Frame};
use super::references::{known, known_itself};
use super::transform::own;
use super::transformers::{swin_unetr, unetr};
use crate::architectures::layers::{Net, Norm};
use crate::architectures::monai::*;
use crate::{Error, Result, Weights};
use ampoule_graph::ValueId;
use ampoule_graph::build::Builder;
use ampoule_graph::op::Unary;

/// A network with its arguments.
#[derive(Debug)]
pub(super) enum Network {
    Unet(Unet),
    Basic(BasicUnet),
    SegRes(SegResNet),
    Dyn(DynUnet),
    Dense(DenseNet),
    Attention(AttentionUnet),
    V(VNet),
    HighRes(HighResNet),
    SegResDs(SegResNetDs),
    Unetr(Unetr),
    Swin(SwinUnetr),
}

/// The networks that are known, for messages.
const KNOWN: &str = "UNet, BasicUNet, AttentionUnet, VNet, SegResNet, SegResNetDS, DynUNet, HighResNet, UNETR, SwinUNETR and DenseNet121 to 264";

/// Their classes, in lower case.
const NAMES: [&str; 15] = [
    "unet",
    "basicunet",
    "segresnet",
    "dynunet",
    "attentionunet",
    "vnet",
    "highresnet",
    "segresnetds",
    "unetr",
    "swinunetr",
    "densenet",
    "densenet121",
    "densenet169",
    "densenet201",
    "densenet264",
];

fn unknown(target: &Config) -> Error {
    target.wrong(format_args!(
        "is {}, a network that is not known ({KNOWN} are); a bundle with models/model.ts needs none, and torch.onnx.export makes an ONNX file",
        target.value()
    ))
}

fn unet(d: &Config, axes: usize) -> Result<Unet> {
    let own = ["channels", "strides", "kernel_size", "up_kernel_size", "num_res_units", "norm", "bias"];
    only(d, &[&COMMON[..], &own, &["adn_ordering"]].concat())?;
    fixed(d, "adn_ordering", "NDA")?;
    let channels = d.need("channels")?.sizes(MOST)?;
    let strides = d.need("strides")?.sizes(64)?;
    if channels.len() < 2 || strides.len() + 1 < channels.len() {
        let (n, stages) = (strides.len(), channels.len());
        return Err(d.need("strides")?.wrong(format_args!("has {n} numbers for {stages} stages")));
    }
    Ok(Unet {
        axes,
        io: io(d, None)?,
        channels,
        strides,
        kernel: number(d, "kernel_size", 3)?,
        up_kernel: number(d, "up_kernel_size", 3)?,
        residual_units: number(d, "num_res_units", 0)?,
        act: act(d, "act", Act::Prelu)?,
        norm: norm(d, "norm", Norm::Instance { epsilon: EPSILON, affine: false })?,
        bias: flag(d, "bias", true)?,
    })
}

fn basic_unet(d: &Config, axes: usize) -> Result<BasicUnet> {
    only(d, &[&COMMON[..], &["features", "norm", "bias", "upsample"]].concat())?;
    fixed(d, "upsample", "deconv")?;
    let list = sizes(d, "features", &[32, 32, 64, 128, 256, 32])?;
    Ok(BasicUnet {
        axes,
        io: io(d, Some([1, 2]))?,
        features: list.try_into().map_err(|_| d.wrong("has `features` that are not six numbers"))?,
        act: act(d, "act", Act::Function(Unary::LeakyRelu { alpha: 0.1 }))?,
        norm: norm(d, "norm", Norm::Instance { epsilon: EPSILON, affine: true })?,
        bias: flag(d, "bias", true)?,
    })
}

fn segresnet(d: &Config, axes: usize) -> Result<SegResNet> {
    let own =
        ["init_filters", "norm", "norm_name", "num_groups", "use_conv_final", "blocks_down", "blocks_up"];
    only(d, &[&COMMON[..], &own, &["upsample_mode"]].concat())?;
    let upsample = d.get("upsample_mode");
    let deconv = match upsample.as_ref().map_or(Ok("nontrainable"), |c| c.text())?.rsplit('.').next() {
        Some("nontrainable" | "NONTRAINABLE") => false,
        Some("deconv" | "DECONV") => true,
        _ => {
            return Err(d
                .need("upsample_mode")?
                .wrong("is none that is known (nontrainable and deconv are)"));
        }
    };
    if !flag(d, "use_conv_final", true)? {
        return Err(d.wrong("has no last convolution (use_conv_final), which is not known"));
    }
    let group = |groups| Norm::Group { groups, epsilon: EPSILON, affine: true };
    // Without the old name for normalisation, MONAI does not read the number of groups beside it.
    let norm = match d.get("norm_name").map(|n| n.text().map(str::to_lowercase)).transpose()? {
        Some(name) if name == "group" => group(number(d, "num_groups", 8)?),
        Some(name) if !name.is_empty() => {
            return Err(d.need("norm_name")?.wrong("is none that is known (group)"));
        }
        Some(_) | None => norm(d, "norm", group(8))?,
    };
    let (down, up) = (sizes(d, "blocks_down", &[1, 2, 2, 4])?, sizes(d, "blocks_up", &[1, 1, 1])?);
    if up.len() + 1 != down.len() {
        return Err(d.wrong("must have one stage less in blocks_up than in blocks_down"));
    }
    Ok(SegResNet {
        axes,
        io: io(d, Some([1, 2]))?,
        first: number(d, "init_filters", 8)?,
        down,
        up,
        act: act(d, "act", Act::Function(Unary::Relu))?,
        norm,
        deconv,
    })
}

fn dynunet(d: &Config, axes: usize) -> Result<DynUnet> {
    let own = ["kernel_size", "strides", "upsample_kernel_size", "filters", "norm_name", "act_name"];
    let more = ["deep_supervision", "deep_supr_num", "res_block", "trans_bias"];
    only(d, &[&COMMON[..], &own, &more].concat())?;
    let strides = stages(&d.need("strides")?, axes)?;
    let n = strides.len();
    let most = if axes == 3 { 320 } else { 512 };
    let usual: Vec<usize> = (0..n.min(24)).map(|i| (32usize << i).min(most)).collect();
    let mut filters = sizes(d, "filters", &usual)?;
    let kernels = stages(&d.need("kernel_size")?, axes)?;
    let up_kernels = stages(&d.need("upsample_kernel_size")?, axes)?;
    if n < 3 || filters.len() < n || kernels.len() != n || up_kernels.len() + 1 != n {
        return Err(d.wrong("has lists of different lengths for its stages"));
    }
    filters.truncate(n);
    Ok(DynUnet {
        axes,
        io: io(d, None)?,
        kernels,
        strides,
        up_kernels,
        filters,
        norm: norm(d, "norm_name", Norm::Instance { epsilon: EPSILON, affine: true })?,
        act: act(d, "act_name", Act::Function(Unary::LeakyRelu { alpha: 0.01 }))?,
        residual: flag(d, "res_block", false)?,
        up_bias: flag(d, "trans_bias", false)?,
    })
}

fn densenet(d: &Config, axes: usize, blocks: &[usize]) -> Result<DenseNet> {
    let own = ["init_features", "growth_rate", "block_config", "bn_size", "norm", "pretrained", "progress"];
    only(d, &[&COMMON[..], &own].concat())?;
    Ok(DenseNet {
        axes,
        io: io(d, None)?,
        first: number(d, "init_features", 64)?,
        growth: number(d, "growth_rate", 32)?,
        blocks: sizes(d, "block_config", blocks)?,
        bottleneck: number(d, "bn_size", 4)?,
        act: act(d, "act", Act::Function(Unary::Relu))?,
        norm: norm(d, "norm", Norm::Running { epsilon: EPSILON, affine: true })?,
    })
}

fn attention_unet(d: &Config, axes: usize) -> Result<AttentionUnet> {
    only(d, &[&COMMON[..4], &["channels", "strides", "kernel_size", "up_kernel_size"]].concat())?;
    let channels = d.need("channels")?.sizes(MOST)?;
    let strides = d.need("strides")?.sizes(64)?;
    if channels.len() < 2 || strides.len() + 1 < channels.len() {
        return Err(d.wrong("has too few numbers in channels or strides"));
    }
    Ok(AttentionUnet {
        axes,
        io: io(d, None)?,
        channels,
        strides,
        kernel: number(d, "kernel_size", 3)?,
        up_kernel: number(d, "up_kernel_size", 3)?,
    })
}

fn vnet(d: &Config, axes: usize) -> Result<VNet> {
    only(d, &[&COMMON[..], &["bias"]].concat())?;
    let io = io(d, Some([1, 1]))?;
    if io[0] == 0 || !FIRST.is_multiple_of(io[0]) {
        return Err(d.wrong(format_args!("has {} channels, which do not divide {FIRST}", io[0])));
    }
    let act = act(d, "act", Act::Function(Unary::Elu { alpha: 1.0 }))?;
    Ok(VNet { axes, io, act, bias: flag(d, "bias", false)? })
}

fn highresnet(d: &Config, axes: usize) -> Result<HighResNet> {
    let own = ["norm_type", "acti_type", "bias", "layer_params", "channel_matching"];
    only(d, &[&COMMON[..4], &own].concat())?;
    let stage = |channels, repeat| Stage { channels, kernels: vec![3, 3], repeat };
    let (mut first, mut stages, mut last) =
        ([16, 3], vec![stage(16, 3), stage(32, 3), stage(64, 3)], ([80, 1], 1));
    if let Some(given) = d.get("layer_params") {
        let list = given.list()?;
        let [one, between @ .., wide, end] = &list[..] else {
            return Err(given.wrong("must have three layers at least"));
        };
        let conv = |c: &Config| {
            Ok::<_, crate::Error>([c.need("n_features")?.size(MOST)?, c.need("kernel_size")?.size(64)?])
        };
        first = conv(one)?;
        last = (conv(wide)?, end.need("kernel_size")?.size(64)?);
        let block = |c: &Config| {
            let (channels, kernels) = (c.need("n_features")?.size(MOST)?, c.need("kernels")?.sizes(64)?);
            Ok::<_, crate::Error>(Stage { channels, kernels, repeat: c.need("repeat")?.size(256)? })
        };
        stages = between.iter().map(block).collect::<Result<_>>()?;
    }
    let project = match d.get("channel_matching").map(|c| c.text().map(str::to_lowercase)).transpose()? {
        None => false,
        Some(how) if how == "pad" => false,
        Some(how) if how == "project" => true,
        Some(how) => {
            return Err(d.wrong(format_args!("matches channels by `{how}`; pad and project are known")));
        }
    };
    Ok(HighResNet {
        axes,
        io: io(d, Some([1, 1]))?,
        first,
        stages,
        last,
        act: act(d, "acti_type", Act::Function(Unary::Relu))?,
        norm: norm(d, "norm_type", Norm::Running { epsilon: EPSILON, affine: true })?,
        bias: flag(d, "bias", false)?,
        project,
    })
}

fn segresnet_ds(d: &Config, axes: usize) -> Result<SegResNetDs> {
    let own = ["init_filters", "norm", "blocks_down", "blocks_up", "dsdepth", "upsample_mode", "resolution"];
    only(d, &[&COMMON[..], &own].concat())?;
    fixed(d, "upsample_mode", "deconv")?;
    let down = sizes(d, "blocks_down", &[1, 2, 2, 4])?;
    if down.len() < 2 {
        return Err(d.wrong("has one stage in blocks_down; two and more are known"));
    }
    let up = match d.get("blocks_up").filter(|b| !b.value().is_null()) {
        Some(up) => up.sizes(MOST)?,
        None => vec![1; down.len() - 1],
    };
    if up.len() + 1 != down.len() {
        return Err(d.wrong("must have one stage less in blocks_up than in blocks_down"));
    }
    let resolution = match d.get("resolution").filter(|r| !r.value().is_null()) {
        Some(r) => Some(r.numbers()?)
            .filter(|l| l.len() == axes && l.iter().all(|v| *v > 0.0))
            .map_or_else(|| Err(r.wrong("must be a voxel size above 0 for each axis")), |l| Ok(Some(l)))?,
        None => None,
    };
    Ok(SegResNetDs {
        axes,
        io: io(d, Some([1, 2]))?,
        first: number(d, "init_filters", 32)?,
        scales: SegResNetDs::scales(resolution.as_deref(), down.len(), axes),
        down,
        up,
        act: act(d, "act", Act::Function(Unary::Relu))?,
        norm: norm_with(d, "norm", Norm::Running { epsilon: EPSILON, affine: true }, true)?,
    })
}

impl Network {
    /// The network of a definition in a bundle of which `frame` tells the rest.
    pub fn read(d: &Config, frame: &Frame) -> Result<Network> {
        known_itself(d)?;
        let target = d.need("_target_").or_else(|_| d.need("name"))?;
        known(&target)?;
        let name = own(target.text()?).to_lowercase();
        if !NAMES.contains(&name.as_str()) {
            return Err(unknown(&target));
        }
        // Some of MONAI's networks are of volumes where nothing is said.
        let usual = ["segresnet", "segresnetds", "basicunet", "vnet", "highresnet", "unetr", "swinunetr"];
        let usual = usual.contains(&name.as_str());
        let axes = match d.get("spatial_dims").or_else(|| d.get("dimensions")) {
            Some(c) => known(&c).and_then(|()| c.size(3))?,
            None if usual => 3,
            None => d.need("spatial_dims")?.size(3)?,
        };
        if !(2..=3).contains(&axes) {
            return Err(d.wrong("has spatial_dims other than 2 and 3"));
        }
        Ok(match name.as_str() {
            "unet" => Network::Unet(unet(d, axes)?),
            "basicunet" => Network::Basic(basic_unet(d, axes)?),
            "segresnet" => Network::SegRes(segresnet(d, axes)?),
            "dynunet" => Network::Dyn(dynunet(d, axes)?),
            "attentionunet" => Network::Attention(attention_unet(d, axes)?),
            "vnet" => Network::V(vnet(d, axes)?),
            "highresnet" => Network::HighRes(highresnet(d, axes)?),
            "segresnetds" => Network::SegResDs(segresnet_ds(d, axes)?),
            "unetr" => Network::Unetr(unetr(d, axes)?),
            "swinunetr" => Network::Swin(swin_unetr(d, axes, frame)?),
            "densenet" | "densenet121" => Network::Dense(densenet(d, axes, &[6, 12, 24, 16])?),
            "densenet169" => Network::Dense(densenet(d, axes, &[6, 12, 32, 32])?),
            "densenet201" => Network::Dense(densenet(d, axes, &[6, 12, 48, 32])?),
            "densenet264" => Network::Dense(densenet(d, axes, &[6, 12, 64, 48])?),
            _ => return Err(unknown(&target)),
        })
    }

    /// What it takes and gives.
    pub fn form(&self) -> Form {
        let (axes, [channels, outputs]) = self.shape();
        Form { axes, channels, outputs, classifier: self.is_classifier() }
    }

    /// Spatial axes, and channels of input and output.
    fn shape(&self) -> (usize, [usize; 2]) {
        match self {
            Network::Unet(n) => (n.axes, n.io),
            Network::Basic(n) => (n.axes, n.io),
            Network::SegRes(n) => (n.axes, n.io),
            Network::Dyn(n) => (n.axes, n.io),
            Network::Dense(n) => (n.axes, n.io),
            Network::Attention(n) => (n.axes, n.io),
            Network::V(n) => (n.axes, n.io),
            Network::HighRes(n) => (n.axes, n.io),
            Network::SegResDs(n) => (n.axes, n.io),
            Network::Unetr(n) => (n.axes, n.io),
            Network::Swin(n) => (n.axes, n.io),
        }
    }

    /// The only sizes of an input, where what is learned fixes them.
    pub fn window(&self) -> Option<&[usize]> {
        match self {
            Network::Unetr(n) => Some(&n.window),
            Network::Swin(n) => Some(&n.sizes),
            Network::Unet(_)
            | Network::Basic(_)
            | Network::SegRes(_)
            | Network::Dyn(_)
            | Network::Dense(_)
            | Network::Attention(_)
            | Network::V(_)
            | Network::HighRes(_)
            | Network::SegResDs(_) => None,
        }
    }

    /// Whether it gives one row of numbers for an image.
    fn is_classifier(&self) -> bool {
        match self {
            Network::Dense(_) => true,
            Network::Unet(_)
            | Network::Basic(_)
            | Network::SegRes(_)
            | Network::Dyn(_)
            | Network::Attention(_)
            | Network::V(_)
            | Network::HighRes(_)
            | Network::SegResDs(_)
            | Network::Unetr(_)
            | Network::Swin(_) => false,
        }
    }

    pub fn build(&self, b: &mut Builder, w: &mut Weights, x: ValueId) -> Result<ValueId> {
        w.ignore(|k| k.ends_with("num_batches_tracked"));
        let mut net = Net::new(b, w, self.shape().0);
        match self {
            Network::Unet(n) => n.build(&mut net, x),
            Network::Basic(n) => n.build(&mut net, x),
            Network::SegRes(n) => n.build(&mut net, x),
            Network::Dyn(n) => n.build(&mut net, x),
            Network::Dense(n) => n.build(&mut net, x),
            Network::Attention(n) => n.build(&mut net, x),
            Network::V(n) => n.build(&mut net, x),
            Network::HighRes(n) => n.build(&mut net, x),
            Network::SegResDs(n) => n.build(&mut net, x),
            Network::Unetr(n) => n.build(&mut net, x),
            Network::Swin(n) => n.build(&mut net, x),
        }
    }
}
