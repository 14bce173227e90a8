//! Architectures in code: each file builds one network from its weights.

pub mod deepbet;
pub mod deepbrain;
pub mod hd_bet;
pub mod sklesion;

use crate::{Result, Weights};
use ampoule_graph::build::Builder;
use ampoule_graph::{Dim, Graph, Tensor, ValueId};

/// Adds one network to a builder: from the image `[1, 1, d, h, w]` to class probabilities.
pub(crate) type Network = fn(&mut Builder, &mut Weights, ValueId) -> Result<ValueId>;

/// Free spatial sizes.
pub(crate) fn free(channels: usize, tag: &str) -> Vec<Dim> {
    let axis = |a: &str| Dim::Symbol(format!("{a}{tag}"));
    vec![Dim::Known(1), Dim::Known(channels), axis("d"), axis("h"), axis("w")]
}

/// Builds one network as a whole graph with input `image` and output `probability`, as golden tests
/// need it.
pub fn single(arch: &'static str, weights: Weights) -> Result<Graph> {
    let (network, channels): (Network, usize) = match arch {
        "deepbet" => (deepbet::network, 2),
        "hd-bet" => (hd_bet::network, 2),
        "deepbrain" => (deepbrain::network, 1),
        other => {
            return Err(crate::Error::UnknownModel { name: other.into(), known: ARCHS.join(", ") });
        }
    };
    let mut w = weights.for_arch(arch);
    let mut b = Builder::new(arch);
    let x = b.input("image", &free(1, ""));
    let y = network(&mut b, &mut w, x)?;
    w.finish()?;
    b.output(y, "probability", &free(channels, ""));
    Ok(checked(b.finish())?)
}

/// Names that `models import --arch` takes.
pub const ARCHS: &[&str] = &["deepbet", "hd-bet", "deepbrain"];

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
