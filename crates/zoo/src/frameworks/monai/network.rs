//! `network_def`: a class of `monai.networks.nets` with its arguments.

use super::super::config::Config;
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
}

/// The networks that are known, for messages.
const KNOWN: &str = "UNet, BasicUNet, SegResNet, DynUNet and DenseNet121 to 264";

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
    let Some(c) = d.get(key) else { return Ok(usual) };
    let (name, arguments) = named(&c)?;
    let given = |key: &str| arguments.as_ref().and_then(|a| a.get(key));
    let epsilon = given("eps").map_or(Ok(EPSILON as f64), |v| v.number())? as f32;
    let affine = |usual: bool| given("affine").map_or(Ok(usual), |v| v.flag());
    Ok(match name.as_str() {
        "instance" => Norm::Instance { epsilon, affine: affine(false)? },
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

impl Network {
    pub fn read(d: &Config) -> Result<Network> {
        let target = d.need("_target_").or_else(|_| d.need("name"))?;
        let name = kind(target.text()?).to_owned();
        let axes = d
            .get("spatial_dims")
            .or_else(|| d.get("dimensions"))
            .map_or_else(|| d.need("spatial_dims")?.size(3), |c| c.size(3))?;
        if !(2..=3).contains(&axes) {
            return Err(d.wrong("has spatial_dims other than 2 and 3"));
        }
        let io = |a: &str, b: &str, usual: Option<[usize; 2]>| -> Result<[usize; 2]> {
            let one = |key: &str, usual: Option<usize>| match (d.get(key), usual) {
                (None, Some(n)) => Ok(n),
                (None, None) => d.need(key)?.size(MOST),
                (Some(c), _) => c.size(MOST),
            };
            Ok([one(a, usual.map(|u| u[0]))?, one(b, usual.map(|u| u[1]))?])
        };
        let flag = |key: &str, usual: bool| d.get(key).map_or(Ok(usual), |c| c.flag());
        let sizes = |key: &str, usual: &[usize]| d.get(key).map_or(Ok(usual.to_vec()), |c| c.sizes(MOST));
        Ok(match name.as_str() {
            "UNet" | "Unet" => {
                only(
                    d,
                    &[
                        "spatial_dims",
                        "dimensions",
                        "in_channels",
                        "out_channels",
                        "channels",
                        "strides",
                        "kernel_size",
                        "up_kernel_size",
                        "num_res_units",
                        "act",
                        "norm",
                        "bias",
                        "adn_ordering",
                    ],
                )?;
                if let Some(o) = d.get("adn_ordering").filter(|o| o.value() != "NDA") {
                    return Err(o.wrong(
                        "orders normalisation and activation otherwise than NDA, which is not known",
                    ));
                }
                let channels = d.need("channels")?.sizes(MOST)?;
                let strides = d.need("strides")?.sizes(64)?;
                if channels.len() < 2 || strides.len() + 1 < channels.len() {
                    return Err(d.need("strides")?.wrong(format_args!(
                        "has {} numbers for {} stages",
                        strides.len(),
                        channels.len()
                    )));
                }
                let number = |key: &str, usual: usize| d.get(key).map_or(Ok(usual), |c| c.size(64));
                Network::Unet(Unet {
                    axes,
                    io: io("in_channels", "out_channels", None)?,
                    channels,
                    strides,
                    kernel: number("kernel_size", 3)?,
                    up_kernel: number("up_kernel_size", 3)?,
                    residual_units: number("num_res_units", 0)?,
                    act: act(d, "act", Act::Prelu)?,
                    norm: norm(d, "norm", Norm::Instance { epsilon: EPSILON, affine: false })?,
                    bias: flag("bias", true)?,
                })
            }
            "BasicUNet" | "BasicUnet" | "Basicunet" | "basicunet" => {
                only(
                    d,
                    &[
                        "spatial_dims",
                        "dimensions",
                        "in_channels",
                        "out_channels",
                        "features",
                        "act",
                        "norm",
                        "bias",
                        "upsample",
                    ],
                )?;
                if let Some(u) = d.get("upsample").filter(|u| u.value() != "deconv") {
                    return Err(u.wrong("is another way than deconv, which is not known"));
                }
                let list = sizes("features", &[32, 32, 64, 128, 256, 32])?;
                let features =
                    list.try_into().map_err(|_| d.wrong("has `features` that are not six numbers"))?;
                Network::Basic(BasicUnet {
                    axes,
                    io: io("in_channels", "out_channels", Some([1, 2]))?,
                    features,
                    act: act(d, "act", Act::Function(Unary::LeakyRelu { alpha: 0.1 }))?,
                    norm: norm(d, "norm", Norm::Instance { epsilon: EPSILON, affine: true })?,
                    bias: flag("bias", true)?,
                })
            }
            "SegResNet" => {
                only(
                    d,
                    &[
                        "spatial_dims",
                        "init_filters",
                        "in_channels",
                        "out_channels",
                        "act",
                        "norm",
                        "num_groups",
                        "use_conv_final",
                        "blocks_down",
                        "blocks_up",
                        "upsample_mode",
                    ],
                )?;
                if let Some(u) = d.get("upsample_mode").filter(|u| u.value() != "nontrainable") {
                    return Err(u.wrong("is another way than nontrainable, which is not known"));
                }
                if !flag("use_conv_final", true)? {
                    return Err(d.wrong("has no last convolution (use_conv_final), which is not known"));
                }
                let groups = d.get("num_groups").map_or(Ok(8), |c| c.size(MOST))?;
                let (down, up) = (sizes("blocks_down", &[1, 2, 2, 4])?, sizes("blocks_up", &[1, 1, 1])?);
                if up.len() + 1 != down.len() {
                    return Err(d.wrong("must have one stage less in blocks_up than in blocks_down"));
                }
                Network::SegRes(SegResNet {
                    axes,
                    io: io("in_channels", "out_channels", Some([1, 2]))?,
                    first: d.get("init_filters").map_or(Ok(8), |c| c.size(MOST))?,
                    down,
                    up,
                    act: act(d, "act", Act::Function(Unary::Relu))?,
                    norm: norm(d, "norm", Norm::Group { groups, epsilon: EPSILON, affine: true })?,
                })
            }
            "DynUNet" | "DynUnet" => {
                only(
                    d,
                    &[
                        "spatial_dims",
                        "in_channels",
                        "out_channels",
                        "kernel_size",
                        "strides",
                        "upsample_kernel_size",
                        "filters",
                        "norm_name",
                        "act_name",
                        "deep_supervision",
                        "deep_supr_num",
                        "res_block",
                        "trans_bias",
                    ],
                )?;
                let strides = stages(&d.need("strides")?, axes)?;
                let n = strides.len();
                let most = if axes == 3 { 320 } else { 512 };
                let usual: Vec<usize> = (0..n).map(|i| (32usize << i).min(most)).collect();
                let mut filters = sizes("filters", &usual)?;
                let kernels = stages(&d.need("kernel_size")?, axes)?;
                let up_kernels = stages(&d.need("upsample_kernel_size")?, axes)?;
                if n < 3 || filters.len() < n || kernels.len() != n || up_kernels.len() + 1 != n {
                    return Err(d.wrong("has lists of different lengths for its stages"));
                }
                filters.truncate(n);
                Network::Dyn(DynUnet {
                    axes,
                    io: io("in_channels", "out_channels", None)?,
                    kernels,
                    strides,
                    up_kernels,
                    filters,
                    norm: norm(d, "norm_name", Norm::Instance { epsilon: EPSILON, affine: true })?,
                    act: act(d, "act_name", Act::Function(Unary::LeakyRelu { alpha: 0.01 }))?,
                    residual: flag("res_block", false)?,
                    up_bias: flag("trans_bias", false)?,
                })
            }
            dense if dense.to_lowercase().starts_with("densenet") => {
                only(
                    d,
                    &[
                        "spatial_dims",
                        "in_channels",
                        "out_channels",
                        "init_features",
                        "growth_rate",
                        "block_config",
                        "bn_size",
                        "act",
                        "norm",
                        "pretrained",
                        "progress",
                    ],
                )?;
                let (blocks, first, growth): (&[usize], usize, usize) = match dense.to_lowercase().as_str() {
                    "densenet169" => (&[6, 12, 32, 32], 64, 32),
                    "densenet201" => (&[6, 12, 48, 32], 64, 32),
                    "densenet264" => (&[6, 12, 64, 48], 64, 32),
                    _ => (&[6, 12, 24, 16], 64, 32),
                };
                let number = |key: &str, usual: usize| d.get(key).map_or(Ok(usual), |c| c.size(MOST));
                Network::Dense(DenseNet {
                    axes,
                    io: io("in_channels", "out_channels", None)?,
                    first: number("init_features", first)?,
                    growth: number("growth_rate", growth)?,
                    blocks: sizes("block_config", blocks)?,
                    bottleneck: number("bn_size", 4)?,
                    act: act(d, "act", Act::Function(Unary::Relu))?,
                    norm: norm(d, "norm", Norm::Running { epsilon: EPSILON, affine: true })?,
                })
            }
            other => {
                return Err(target.wrong(format_args!(
                    "is `{other}`, a network that is not known ({KNOWN} are); export it with torch.onnx.export"
                )));
            }
        })
    }

    /// Spatial axes, and channels of input and output.
    pub fn shape(&self) -> (usize, [usize; 2]) {
        match self {
            Network::Unet(n) => (n.axes, n.io),
            Network::Basic(n) => (n.axes, n.io),
            Network::SegRes(n) => (n.axes, n.io),
            Network::Dyn(n) => (n.axes, n.io),
            Network::Dense(n) => (n.axes, n.io),
        }
    }

    /// Whether it gives one row of numbers for an image.
    pub fn is_classifier(&self) -> bool {
        match self {
            Network::Dense(_) => true,
            Network::Unet(_) | Network::Basic(_) | Network::SegRes(_) | Network::Dyn(_) => false,
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
        }
    }
}
