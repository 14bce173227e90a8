//! Resampling.

use crate::args::Args;
use crate::net::{Followed, Net, Stop, wrong};
use crate::value::Value;
use ampoule_graph::op::{Between, Coordinates, GridSample, Interpolation, Nearest, Outside, Resize};
use ampoule_graph::{Op, Tensor};

/// Where the parameters of an operator lie.
struct Places {
    /// Sizes of the output.
    sizes: usize,
    /// Whether the outermost samples are aligned.
    align: Option<usize>,
    /// Scales, one a spatial axis from here on, or a list of them.
    scales: usize,
}

fn resized(
    net: &mut Net,
    a: &Args,
    p: Places,
    interpolation: Interpolation,
    coordinates: Coordinates,
) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    let rank = net.rank(x)?;
    if rank < 3 {
        return wrong("resampling without spatial axes");
    }
    let n = rank - 2;
    let align = p.align.map_or(Ok(false), |i| a.flag(i, false))?;
    let listed = a.floats(net, p.scales)?;
    let scales: Vec<f64> = if !listed.is_empty() {
        listed
    } else if (0..n).all(|k| a.given(p.scales + k)) {
        (0..n).map(|k| a.float_or(net, p.scales + k, 1.0)).collect::<Followed<_>>()?
    } else {
        vec![]
    };
    if !scales.is_empty() && scales.len() != n {
        return if net.guessed {
            Err(Stop::Rank(scales.len() + 2))
        } else {
            wrong("scales that do not fit the axes")
        };
    }
    let coordinates = if align { Coordinates::AlignCorners } else { coordinates };
    let axes: Vec<i64> = (2..rank as i64).collect();
    let op = Op::Resize(Resize { interpolation, coordinates, antialias: false, axes, aspect: 0 });
    // Aligned corners go by the size of the output, everything else by the scale where there is one.
    let dims: Option<Vec<usize>> = net.dims(x)?[2..].iter().map(|d| d.known()).collect();
    let inputs = match (scales.is_empty(), align, dims) {
        (false, true, Some(dims)) => {
            let sizes: Vec<i64> =
                dims.iter().zip(&scales).map(|(&d, s)| (d as f64 * s).floor() as i64).collect();
            vec![Some(x), None, None, Some(net.ints(&sizes)?)]
        }
        (false, ..) => {
            let values: Vec<f32> = scales.iter().map(|&s| s as f32).collect();
            vec![Some(x), None, Some(net.made(Tensor::f32(&[n], &values))?), None]
        }
        (true, ..) => {
            let sizes = a.list(net, p.sizes)?;
            if sizes.len() != n {
                return if net.guessed {
                    Err(Stop::Rank(sizes.len() + 2))
                } else {
                    wrong("sizes that do not fit the axes")
                };
            }
            vec![Some(x), None, None, Some(net.vector(&sizes)?)]
        }
    };
    let id = net.node(op, inputs, 1)?[0];
    Ok(net.tensor(id))
}

/// `upsample_nearest2d(self, output_size, scales…)`.
pub(super) fn nearest(net: &mut Net, a: &Args) -> Followed<Value> {
    let places = Places { sizes: 1, align: None, scales: 2 };
    resized(net, a, places, Interpolation::Nearest(Nearest::Floor), Coordinates::Asymmetric)
}

/// `_upsample_nearest_exact2d(self, output_size, scales…)`.
pub(super) fn nearest_exact(net: &mut Net, a: &Args) -> Followed<Value> {
    let places = Places { sizes: 1, align: None, scales: 2 };
    resized(net, a, places, Interpolation::Nearest(Nearest::RoundPreferCeil), Coordinates::HalfPixel)
}

/// `upsample_bilinear2d(self, output_size, align_corners, scales…)`, also in one and three dimensions.
pub(super) fn linear(net: &mut Net, a: &Args) -> Followed<Value> {
    let places = Places { sizes: 1, align: Some(2), scales: 3 };
    resized(net, a, places, Interpolation::Linear, Coordinates::HalfPixel)
}

/// `upsample_bicubic2d(self, output_size, align_corners, scales…)`.
pub(super) fn cubic(net: &mut Net, a: &Args) -> Followed<Value> {
    let places = Places { sizes: 1, align: Some(2), scales: 3 };
    let interpolation = Interpolation::Cubic { a: -0.75, exclude_outside: false };
    resized(net, a, places, interpolation, Coordinates::HalfPixel)
}

/// `grid_sampler(input, grid, interpolation_mode, padding_mode, align_corners)`.
pub(super) fn grid_sampler(net: &mut Net, a: &Args) -> Followed<Value> {
    let (x, grid) = (a.tensor(net, 0)?, a.tensor(net, 1)?);
    let between = match a.int_or(net, 2, 0)? {
        0 => Between::Linear,
        1 => Between::Nearest,
        2 => Between::Cubic,
        other => return wrong(format!("interpolation {other}")),
    };
    let outside = match a.int_or(net, 3, 0)? {
        0 => Outside::Zeros,
        1 => Outside::Border,
        2 => Outside::Reflection,
        other => return wrong(format!("padding {other}")),
    };
    let align_corners = a.flag(4, false)?;
    let id = net.one(Op::GridSample(GridSample { between, outside, align_corners }), &[x, grid])?;
    Ok(net.tensor(id))
}
