//! Architectures in code: each file builds one network from its weights.

pub(crate) mod brainmage;
pub mod deepbet;
pub mod deepbrain;
pub(crate) mod dynamic_unet;
pub(crate) mod gandlf;
pub mod hd_bet;
pub(crate) mod layers;
pub(crate) mod monai;
pub mod sklesion;
pub(crate) mod synthstrip;
pub(crate) mod vision;

use crate::{Result, Weights, tf, torch};
use ampoule_graph::build::Builder;
use ampoule_graph::{Dim, Graph, Tensor, ValueId};

/// Adds one network to a builder: from the image `[1, 1, d, h, w]` to class probabilities.
pub(crate) type Network = fn(&mut Builder, &mut Weights, ValueId) -> Result<ValueId>;

/// Free spatial sizes.
pub(crate) fn free(channels: usize, tag: &str) -> Vec<Dim> {
    let axis = |a: &str| Dim::Symbol(format!("{a}{tag}"));
    vec![Dim::Known(1), Dim::Known(channels), axis("d"), axis("h"), axis("w")]
}

/// An image `[1, channels, …]` of free sizes along two or three axes.
pub(crate) fn free_image(channels: usize, axes: usize) -> Vec<Dim> {
    let mut dims = free(channels, "");
    dims.drain(2..5 - axes.min(3));
    dims
}

/// An architecture that a bare checkpoint can be imported as.
struct Architecture {
    /// Its name, as `--arch` takes it.
    name: &'static str,
    network: Network,
    /// Channels of its output, and what they are.
    channels: usize,
    output: &'static str,
    /// Reads the weights of a checkpoint's bytes.
    read: fn(&[u8]) -> Result<Weights>,
}

/// All architectures of one network.
const ARCHITECTURES: [Architecture; 4] = [
    row("deepbet", deepbet::network, 2, "probability", torch::read),
    row("hd-bet", hd_bet::network, 2, "probability", torch::read),
    row("deepbrain", deepbrain::network, 1, "probability", tf::read),
    row("synthstrip", synthstrip::network, 1, "distance", torch::read),
];

const fn row(
    name: &'static str,
    network: Network,
    channels: usize,
    output: &'static str,
    read: fn(&[u8]) -> Result<Weights>,
) -> Architecture {
    Architecture { name, network, channels, output, read }
}

/// Names that `--arch` takes; `#` in them is a number.
pub fn names() -> Vec<&'static str> {
    ARCHITECTURES.iter().map(|a| a.name).chain(vision::names()).collect()
}

/// Builds the network of an architecture from the bytes of a checkpoint: a whole graph with input `image` and
/// output `probability` (SynthStrip: `distance`), or `logits` where it is one of torchvision, timm or segmentation-models-pytorch. Fails for other names than [`names`], and for a checkpoint whose tensors are not those
/// of the architecture.
pub fn single(name: &str, checkpoint: &[u8]) -> Result<Graph> {
    let Some(arch) = ARCHITECTURES.iter().find(|a| a.name == name) else {
        if vision::knows(name)
            && let Some(graph) = vision::build(name, torch::read(checkpoint)?)?
        {
            return Ok(graph);
        }
        return Err(crate::Error::UnknownModel { name: name.into(), known: names().join(", ") });
    };
    let mut weights = (arch.read)(checkpoint)?.for_arch(arch.name);
    let mut b = Builder::new(arch.name);
    let x = b.input("image", &free(1, ""));
    let y = (arch.network)(&mut b, &mut weights, x)?;
    weights.finish()?;
    b.output(y, arch.output, &free(arch.channels, ""));
    Ok(checked(b.finish())?)
}

/// Sorts, checks and infers a graph that was built.
pub(crate) fn checked(mut g: Graph) -> ampoule_graph::Result<Graph> {
    g.sort()?;
    g.check()?;
    ampoule_graph::infer::infer(&mut g)?;
    Ok(g)
}

/// Per-channel constants for an instance normalisation without parameters.
pub(crate) fn plain_norm(c: usize) -> (Tensor, Tensor) {
    (Tensor::f32(&[c], &vec![1.0; c]), Tensor::f32(&[c], &vec![0.0; c]))
}
