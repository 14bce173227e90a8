//! `network_def`: a class of `monai.networks.nets` with its arguments.

use super::super::config::Config;
use super::form::Form;
use crate::architectures::layers::{Net, Norm};
use crate::architectures::monai::*;
use crate::{Result, Weights};
use ampoule_graph::ValueId;
use ampoule_graph::build::Builder;
use ampoule_graph::op::Unary;

/// Most channels and the like.
const MOST: usize = 1 << 16;
/// Epsilon of normalisations.
const EPSILON: f32 = 1e-5;

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
}

/// The networks that are known, for messages.
const KNOWN: &str = "UNet, BasicUNet, AttentionUnet, VNet, SegResNet, SegResNetDS, DynUNet, HighResNet, UNETR and DenseNet121 to 264";

fn kind(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// A name, or a list of a name and its arguments.
fn named<'a>(c: &Config<'a>) -> Result<(String, Option<Config<'a>>)> {
    if c.value().is_string() {
        return Ok((c.text()?.to_lowercase(), None));
    }
    let list = c.list()?;
    match &list[..] {
        [name] => Ok((name.text()?.to_lowercase(), None)),
        [name, arguments] => Ok((name.text()?.to_lowercase(), Some(arguments.clone()))),
        _ => Err(c.wrong("must be a name, or a name with its arguments")),
    }
}

fn act(d: &Config, key: &str, usual: Act) -> Result<Act> {
    let Some(c) = d.get(key) else { return Ok(usual) };
    let (name, arguments) = named(&c)?;
    let number =
        |key: &str, usual: f64| arguments.as_ref().and_then(|a| a.get(key)).map_or(Ok(usual), |v| v.number());
    Ok(match name.as_str() {
        "prelu" => Act::Prelu,
        "relu" => Act::Function(Unary::Relu),
        "leakyrelu" => Act::Function(Unary::LeakyRelu { alpha: number("negative_slope", 0.01)? as f32 }),
        "elu" => Act::Function(Unary::Elu { alpha: number("alpha", 1.0)? as f32 }),
        "gelu" => Act::Function(Unary::Gelu { tanh: false }),
        "mish" => Act::Function(Unary::Mish),
        "swish" | "memswish" => Act::Function(Unary::Swish { alpha: 1.0 }),
        other => return Err(c.wrong(format_args!("is `{other}`, an activation that is not known"))),
    })
}

fn norm(d: &Config, key: &str, usual: Norm) -> Result<Norm> {
    norm_with(d, key, usual, false)
}

/// The same; instance normalisation learns its affine map where nothing is said if `affine_instance`.
fn norm_with(d: &Config, key: &str, usual: Norm, affine_instance: bool) -> Result<Norm> {
    let Some(c) = d.get(key) else { return Ok(usual) };
    let (name, arguments) = named(&c)?;
    let given = |key: &str| arguments.as_ref().and_then(|a| a.get(key));
    let epsilon = given("eps").map_or(Ok(EPSILON as f64), |v| v.number())? as f32;
    let affine = |usual: bool| given("affine").map_or(Ok(usual), |v| v.flag());
    Ok(match name.as_str() {
        "instance" => Norm::Instance { epsilon, affine: affine(affine_instance)? },
        "batch" => Norm::Running { epsilon, affine: affine(true)? },
        "group" => Norm::Group {
            groups: given("num_groups").map_or(Ok(8), |v| v.size(MOST))?,
            epsilon,
            affine: affine(true)?,
        },
        other => {
            return Err(
                c.wrong(format_args!("is `{other}`; instance, batch and group normalisation are known"))
            );
        }
    })
}

/// Refuses arguments that change the network and are not known.
fn only(d: &Config, known: &[&str]) -> Result<()> {
    let ours = |k: &str| k.starts_with('_') || k.starts_with("dropout") || known.contains(&k);
    match d.entries()?.iter().find(|(k, c)| !ours(k) && !c.value().is_null()) {
        Some((k, c)) => Err(c.wrong(format_args!("the argument `{k}` changes the network and is not known"))),
        None => Ok(()),
    }
}

/// Sizes along each axis of every stage.
fn stages(c: &Config, axes: usize) -> Result<Vec<Vec<usize>>> {
    c.list()?.iter().map(|s| s.sizes_or_one(axes, 64)).collect()
}

/// Channels in and out.
fn io(d: &Config, usual: Option<[usize; 2]>) -> Result<[usize; 2]> {
    let one = |key: &str, usual: Option<usize>| match (d.get(key), usual) {
        (None, Some(n)) => Ok(n),
        (None, None) => d.need(key)?.size(MOST),
        (Some(c), _) => c.size(MOST),
    };
    Ok([one("in_channels", usual.map(|u| u[0]))?, one("out_channels", usual.map(|u| u[1]))?])
}

fn flag(d: &Config, key: &str, usual: bool) -> Result<bool> {
    d.get(key).map_or(Ok(usual), |c| c.flag())
}

fn number(d: &Config, key: &str, usual: usize) -> Result<usize> {
    d.get(key).map_or(Ok(usual), |c| c.size(MOST))
}

fn sizes(d: &Config, key: &str, usual: &[usize]) -> Result<Vec<usize>> {
    d.get(key).map_or(Ok(usual.to_vec()), |c| c.sizes(MOST))
}

/// Refuses another value of an argument than the one that is known.
fn fixed(d: &Config, key: &str, value: &str) -> Result<()> {
    match d.get(key).filter(|c| c.value() != value) {
        Some(c) => Err(c.wrong(format_args!("is {}; only `{value}` is known", c.value()))),
        None => Ok(()),
    }
}

const COMMON: [&str; 5] = ["spatial_dims", "dimensions", "in_channels", "out_channels", "act"];

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
    let own = ["init_filters", "norm", "num_groups", "use_conv_final", "blocks_down", "blocks_up"];
    only(d, &[&COMMON[..], &own, &["upsample_mode"]].concat())?;
    fixed(d, "upsample_mode", "nontrainable")?;
    if !flag(d, "use_conv_final", true)? {
        return Err(d.wrong("has no last convolution (use_conv_final), which is not known"));
    }
    let groups = number(d, "num_groups", 8)?;
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
        norm: norm(d, "norm", Norm::Group { groups, epsilon: EPSILON, affine: true })?,
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

fn unetr(d: &Config, axes: usize) -> Result<Unetr> {
    let own = [
        "img_size",
        "feature_size",
        "hidden_size",
        "mlp_dim",
        "num_heads",
        "proj_type",
        "pos_embed",
        "norm_name",
    ];
    let more = ["conv_block", "res_block", "qkv_bias", "save_attn"];
    only(d, &[&COMMON[..4], &own, &more].concat())?;
    let size = d.need("img_size")?;
    let window = size.sizes_or_one(axes, 1024)?;
    if window.len() != axes || window.iter().any(|n| *n == 0 || !n.is_multiple_of(PATCH)) {
        return Err(size.wrong(format_args!("must be multiples of {PATCH} along {axes} axes")));
    }
    // Older versions called the way to embed patches so.
    let embedding = d.get("proj_type").or_else(|| d.get("pos_embed"));
    let perceptron = match embedding.as_ref().map_or(Ok("conv"), |p| p.text())? {
        "conv" => false,
        "perceptron" => true,
        other => {
            return Err(d.wrong(format_args!("embeds patches by `{other}`; conv and perceptron are known")));
        }
    };
    let (hidden, heads) = (number(d, "hidden_size", 768)?, number(d, "num_heads", 12)?);
    if heads == 0 || !hidden.is_multiple_of(heads) {
        return Err(d.wrong(format_args!("has {heads} heads, which do not divide {hidden} features")));
    }
    Ok(Unetr {
        axes,
        io: io(d, None)?,
        window,
        features: number(d, "feature_size", 16)?,
        hidden,
        mlp: number(d, "mlp_dim", 3072)?,
        heads,
        perceptron,
        norm: norm(d, "norm_name", Norm::Instance { epsilon: EPSILON, affine: false })?,
        conv_block: flag(d, "conv_block", true)?,
        res_block: flag(d, "res_block", true)?,
        qkv_bias: flag(d, "qkv_bias", false)?,
    })
}

impl Network {
    pub fn read(d: &Config) -> Result<Network> {
        let target = d.need("_target_").or_else(|_| d.need("name"))?;
        let name = kind(target.text()?).to_lowercase();
        // Some of MONAI's networks are of volumes where nothing is said.
        let usual =
            ["segresnet", "segresnetds", "basicunet", "vnet", "highresnet", "unetr"].contains(&name.as_str());
        let axes = match d.get("spatial_dims").or_else(|| d.get("dimensions")) {
            Some(c) => c.size(3)?,
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
            "densenet" | "densenet121" => Network::Dense(densenet(d, axes, &[6, 12, 24, 16])?),
            "densenet169" => Network::Dense(densenet(d, axes, &[6, 12, 32, 32])?),
            "densenet201" => Network::Dense(densenet(d, axes, &[6, 12, 48, 32])?),
            "densenet264" => Network::Dense(densenet(d, axes, &[6, 12, 64, 48])?),
            _ => {
                return Err(target.wrong(format_args!(
                    "is {}, a network that is not known ({KNOWN} are); a bundle with models/model.ts needs none, and torch.onnx.export makes an ONNX file",
                    target.value()
                )));
            }
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
        }
    }

    /// The only sizes of an input, where what is learned fixes them.
    pub fn window(&self) -> Option<&[usize]> {
        match self {
            Network::Unetr(n) => Some(&n.window),
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
            | Network::Unetr(_) => false,
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
        }
    }
}
