//! Arguments of networks as a bundle gives them.

use super::super::config::Config;
use super::references::known;
use crate::Result;
use crate::architectures::layers::Norm;
use crate::architectures::monai::Act;
use ampoule_graph::op::Unary;

/// Most channels and the like.
pub(super) const MOST: usize = 1 << 16;
/// Epsilon of normalisations.
pub(super) const EPSILON: f32 = 1e-5;

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

pub(super) fn act(d: &Config, key: &str, usual: Act) -> Result<Act> {
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

pub(super) fn norm(d: &Config, key: &str, usual: Norm) -> Result<Norm> {
    norm_with(d, key, usual, false)
}

/// The same; instance normalisation learns its affine map where nothing is said if `affine_instance`.
pub(super) fn norm_with(d: &Config, key: &str, usual: Norm, affine_instance: bool) -> Result<Norm> {
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
pub(super) fn only(d: &Config, known_names: &[&str]) -> Result<()> {
    let ours = |k: &str| k.starts_with('_') || k.starts_with("dropout") || known_names.contains(&k);
    for (k, c) in d.entries()? {
        if k == "_target_" || known_names.contains(&k) {
            known(&c)?;
        } else if !ours(k) && !c.value().is_null() {
            return Err(c.wrong(format_args!("the argument `{k}` changes the network and is not known")));
        }
    }
    Ok(())
}

/// Sizes along each axis of every stage.
pub(super) fn stages(c: &Config, axes: usize) -> Result<Vec<Vec<usize>>> {
    c.list()?.iter().map(|s| s.sizes_or_one(axes, 64)).collect()
}

/// Channels in and out.
pub(super) fn io(d: &Config, usual: Option<[usize; 2]>) -> Result<[usize; 2]> {
    let one = |key: &str, usual: Option<usize>| match (d.get(key), usual) {
        (None, Some(n)) => Ok(n),
        (None, None) => d.need(key)?.size(MOST),
        (Some(c), _) => c.size(MOST),
    };
    Ok([one("in_channels", usual.map(|u| u[0]))?, one("out_channels", usual.map(|u| u[1]))?])
}

pub(super) fn flag(d: &Config, key: &str, usual: bool) -> Result<bool> {
    d.get(key).map_or(Ok(usual), |c| c.flag())
}

pub(super) fn number(d: &Config, key: &str, usual: usize) -> Result<usize> {
    d.get(key).map_or(Ok(usual), |c| c.size(MOST))
}

pub(super) fn sizes(d: &Config, key: &str, usual: &[usize]) -> Result<Vec<usize>> {
    d.get(key).map_or(Ok(usual.to_vec()), |c| c.sizes(MOST))
}

/// Refuses another value of an argument than the one that is known.
pub(super) fn fixed(d: &Config, key: &str, value: &str) -> Result<()> {
    match d.get(key).filter(|c| c.value() != value) {
        Some(c) => Err(c.wrong(format_args!("is {}; only `{value}` is known", c.value()))),
        None => Ok(()),
    }
}

/// Arguments that most networks have.
pub(super) const COMMON: [&str; 5] = ["spatial_dims", "dimensions", "in_channels", "out_channels", "act"];
