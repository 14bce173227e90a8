//! A small network from bytes: each byte chooses a layer.

use ampoule_graph::build::Builder;
use ampoule_graph::op::{Op, Pool, Unary, Window};
use ampoule_graph::{Dim, Graph, Tensor};

/// A network, the sizes of its input, and values for it.
pub fn of(data: &[u8]) -> Option<(Graph, Vec<usize>, Vec<f32>)> {
    let (&[channels, height, width], layers) = data.split_first_chunk::<3>()?;
    let dims = vec![1, channels as usize % 9 + 1, height as usize % 20 + 4, width as usize % 20 + 4];
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let mut b = Builder::new("fuzz");
    let known: Vec<Dim> = dims.iter().map(|&d| Dim::Known(d)).collect();
    let mut x = b.input("x", &known);
    let (mut c, mut skip) = (dims[1], None);
    for layer in layers.iter().take(12) {
        let kind = layer % 8;
        x = match kind {
            0 | 1 => {
                let (out, side) = (*layer as usize / 8 % 12 + 1, if kind == 0 { 3 } else { 1 });
                let scale = 1.0 / ((c * side * side) as f32).sqrt();
                let w: Vec<f32> = (0..out * c * side * side).map(|_| next() * scale).collect();
                let bias: Vec<f32> = (0..out).map(|_| next()).collect();
                c = out;
                let from = w.len() / (out * side * side);
                let weight = Tensor::f32(&[out, from, side, side], &w);
                let window = Window::of(&[side, side]).pad(side as i64 / 2);
                skip = None;
                b.conv(x, weight, Some(Tensor::f32(&[out], &bias)), window)
            }
            2 => b.unary(x, Unary::Relu),
            3 => b.unary(x, Unary::Sigmoid),
            4 => b.unary(x, Unary::Swish { alpha: 1.0 }),
            5 => {
                let window = Window::of(&[3, 3]).pad(1);
                b.node(Op::MaxPool(Pool { window, ceil_mode: false, count_include_pad: false }), &[x])
            }
            6 => match skip {
                Some((other, channels)) if channels == c => b.add(x, other),
                _ => x,
            },
            _ => {
                skip = Some((x, c));
                let (scale, bias) = (vec![1.0; c], vec![0.1; c]);
                b.instance_norm(x, Tensor::f32(&[c], &scale), Tensor::f32(&[c], &bias), 1e-3)
            }
        };
    }
    b.output(x, "y", &[]);
    let mut graph = b.finish();
    let y = graph.outputs[0];
    if graph.inputs.contains(&y) {
        return None;
    }
    graph.values[y.0].shape = None;
    let values = (0..dims.iter().product::<usize>()).map(|_| next()).collect();
    Some((graph, dims, values))
}
