//! Convolutions.

use crate::args::Args;
use crate::net::{Followed, Net, Stop, wrong};
use crate::value::Value;
use ampoule_graph::op::{Padding, Window};
use ampoule_graph::{Dim, Op, ValueId};

/// Everything that a convolution is described by.
struct Layer {
    x: ValueId,
    weight: ValueId,
    bias: Option<ValueId>,
    window: Window,
    transposed: bool,
    output_padding: Vec<usize>,
    group: usize,
}

/// Spatial axes of the weights at place 1, and their sizes.
fn kernel(net: &mut Net, a: &Args) -> Followed<(usize, Vec<usize>)> {
    let weight = a.tensor(net, 1)?;
    let w = net.sizes(weight, "the weights of a convolution have free sizes")?;
    if w.len() < 3 {
        return wrong("the weights of a convolution have no spatial axis");
    }
    Ok((w.len() - 2, w[2..].to_vec()))
}

/// Says that the axis of channels has to have `size`, where it is free.
pub(super) fn channels(net: &Net, x: ValueId, axis: usize, size: usize) -> Followed<()> {
    match net.dims(x)?.get(axis) {
        Some(Dim::Symbol(symbol)) => Err(Stop::Size { symbol: symbol.clone(), size }),
        _ => Ok(()),
    }
}

fn layer(net: &mut Net, l: Layer) -> Followed<Value> {
    let (rank, w) = (net.rank(l.x)?, net.sizes(l.weight, "the weights of a convolution have free sizes")?);
    if rank != w.len() && net.guessed {
        return Err(Stop::Rank(w.len()));
    }
    let batched = rank == w.len();
    let mut x = l.x;
    let first = net.ints(&[0])?;
    if rank + 1 == w.len() {
        x = net.one(Op::Unsqueeze, &[x, first])?;
    }
    channels(net, x, 1, if l.transposed { w[0] } else { w[1] * l.group })?;
    let op = match l.transposed {
        true => Op::ConvTranspose {
            window: l.window,
            group: l.group,
            output_padding: l.output_padding,
            output_shape: vec![],
        },
        false => Op::Conv { window: l.window, group: l.group },
    };
    let out = net.node(op, vec![Some(x), Some(l.weight), l.bias], 1)?[0];
    let out = if batched { out } else { net.one(Op::Squeeze, &[out, first])? };
    Ok(net.tensor(out))
}

fn window(
    kernel: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    pads: (Vec<i64>, Vec<i64>),
) -> Window {
    let padding = Padding::Explicit([pads.0, pads.1].concat());
    Window { kernel, strides, dilations, padding }
}

fn symmetric(p: Vec<usize>) -> (Vec<i64>, Vec<i64>) {
    let p: Vec<i64> = p.into_iter().map(|p| p as i64).collect();
    (p.clone(), p)
}

/// `convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups)`.
pub(super) fn convolution(net: &mut Net, a: &Args) -> Followed<Value> {
    let (n, kernel) = kernel(net, a)?;
    let dilations = a.per_axis(net, 5, n, 1)?;
    let transposed = a.flag(6, false)?;
    let pads = symmetric(a.per_axis(net, 4, n, 0)?);
    let output_padding = if transposed { a.per_axis(net, 7, n, 0)? } else { vec![] };
    let window = window(kernel, a.per_axis(net, 3, n, 1)?, dilations, pads);
    let group = a.int_or(net, 8, 1)?.max(1) as usize;
    let (x, weight, bias) = (a.tensor(net, 0)?, a.tensor(net, 1)?, a.maybe(net, 2)?);
    layer(net, Layer { x, weight, bias, window, transposed, output_padding, group })
}

/// `conv2d(input, weight, bias, stride, padding, dilation, groups)`; the padding may be a word.
pub(super) fn conv(net: &mut Net, a: &Args) -> Followed<Value> {
    let (n, kernel) = kernel(net, a)?;
    let dilations = a.per_axis(net, 5, n, 1)?;
    let pads = match a.get(4) {
        Value::Text(word) if &**word == "same" => {
            let total = kernel.iter().zip(&dilations).map(|(k, d)| (d * (k - 1)) as i64);
            // The odd element is behind.
            total.map(|t| (t / 2, t - t / 2)).unzip()
        }
        Value::Text(_) => symmetric(vec![0; n]),
        _ => symmetric(a.per_axis(net, 4, n, 0)?),
    };
    let window = window(kernel, a.per_axis(net, 3, n, 1)?, dilations, pads);
    let group = a.int_or(net, 6, 1)?.max(1) as usize;
    let (x, weight, bias) = (a.tensor(net, 0)?, a.tensor(net, 1)?, a.maybe(net, 2)?);
    layer(net, Layer { x, weight, bias, window, transposed: false, output_padding: vec![], group })
}

/// `conv_transpose2d(input, weight, bias, stride, padding, output_padding, groups, dilation)`.
pub(super) fn transposed(net: &mut Net, a: &Args) -> Followed<Value> {
    let (n, kernel) = kernel(net, a)?;
    let dilations = a.per_axis(net, 7, n, 1)?;
    let pads = symmetric(a.per_axis(net, 4, n, 0)?);
    let window = window(kernel, a.per_axis(net, 3, n, 1)?, dilations, pads);
    let output_padding = a.per_axis(net, 5, n, 0)?;
    let group = a.int_or(net, 6, 1)?.max(1) as usize;
    let (x, weight, bias) = (a.tensor(net, 0)?, a.tensor(net, 1)?, a.maybe(net, 2)?);
    layer(net, Layer { x, weight, bias, window, transposed: true, output_padding, group })
}
