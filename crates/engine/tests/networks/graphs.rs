//! The networks that the tests run.

use ampoule_graph::op::*;
use ampoule_graph::{DType, Graph, Op, Tensor, ValueId};
use ampoule_testing::{Network, known, random};

/// A 3D U-Net with concatenated and added skips, strides, transposed convolution and resampling.
pub fn unet3d() -> (Graph, Vec<usize>) {
    let dims = vec![1, 2, 12, 10, 9];
    let mut n = Network::new("unet3d", 0);
    let x = n.b.input("x", &known(&dims));
    let k3 = [3, 3, 3];
    let same = Window::of(&k3).pad(1);
    let a = n.conv(x, [2, 5], same.clone());
    let a = n.instance_norm(a, 5);
    let a = n.b.unary(a, Unary::LeakyRelu { alpha: 0.1 });
    let c = n.conv(a, [5, 5], same.clone());
    let c = n.b.add(c, a);
    let c = n.b.unary(c, Unary::Relu);
    let d = n.conv_without_bias(c, [5, 8], Window::of(&k3).stride(2).pad(1));
    let d = n.instance_norm(d, 8);
    let skip = n.conv_without_bias(c, [5, 8], Window::of(&[1, 1, 1]).stride(2));
    let d = n.b.add(d, skip);
    let d = n.b.unary(d, Unary::Relu);
    let w = n.tensor(&[8, 5, 3, 3, 3]);
    let mut window = Window::of(&k3).stride(2);
    window.padding = Padding::Explicit(vec![1, 1, 1, 1, 1, 1]);
    let u = n.b.conv_transpose(d, w, None, window, vec![1, 1, 0]);
    let u = n.b.concat(&[c, u]);
    let u = n.batch_norm(u, 10);
    let u = n.b.unary(u, Unary::Mish);
    let u = n.conv(u, [10, 4], same);
    let small = n.b.node(
        Op::MaxPool(Pool {
            window: Window::of(&[2; 3]).stride(2),
            ceil_mode: true,
            count_include_pad: false,
        }),
        &[u],
    );
    let back = n.b.resize_linear(small, &[2.0, 2.0, 9.0 / 5.0 + 1e-4], Coordinates::AlignCorners);
    let both = n.b.add(back, u);
    let y = n.conv(both, [4, 2], Window::of(&[1, 1, 1]));
    let y = n.b.softmax(y);
    n.b.output(y, "y", &known(&[1, 2, 12, 10, 9]));
    (n.b.finish(), dims)
}

/// A 2D classifier: depthwise and grouped convolutions, squeeze and excitation, global pooling,
/// a dense layer; batch of two.
pub fn classifier() -> (Graph, Vec<usize>) {
    let dims = vec![2, 3, 17, 19];
    let mut n = Network::new("classifier", 100);
    let x = n.b.input("x", &known(&dims));
    let same = Window::of(&[3, 3]).pad(1);
    let a = n.conv_without_bias(x, [3, 12], Window::of(&[3, 3]).stride(2).pad(1));
    let a = n.batch_norm(a, 12);
    let a = n.b.unary(a, Unary::HardSwish);
    let w = n.tensor(&[12, 1, 3, 3]);
    let w = n.b.constant("dw", w);
    let d = n.b.node(Op::Conv { window: same.clone(), group: 12 }, &[a, w]);
    let d = n.batch_norm(d, 12);
    let s = n.b.unary(d, Unary::Sigmoid);
    let d = n.b.node(Op::Binary(Binary::Mul), &[d, s]);
    let g = n.b.node(Op::GlobalAveragePool, &[d]);
    let g = n.conv(g, [12, 12], Window::of(&[1, 1]));
    let g = n.b.unary(g, Unary::Sigmoid);
    let d = n.b.node(Op::Binary(Binary::Mul), &[d, g]);
    let w = n.tensor(&[8, 4, 3, 3]);
    let w = n.b.constant("grouped", w);
    let e = n.b.node(Op::Conv { window: same, group: 3 }, &[d, w]);
    n.b.output(e, "unused", &[]);
    (n.b.finish(), dims)
}

pub fn finished_classifier() -> (Graph, Vec<usize>) {
    let (mut g, dims) = classifier();
    // Eight outputs do not divide into three groups; make it nine.
    let id = *g.constants.iter().find(|(id, _)| g.value(**id).name == "grouped").unwrap().0;
    g.set_constant(id, Tensor::f32(&[9, 4, 3, 3], &random(9 * 36, 7)));
    let last = g.outputs[0];
    g.values[last.0].shape = None;
    let pool = g.fresh("pool");
    let flat = g.fresh("flat");
    let y = g.fresh("y");
    let w = g.constant("fc", Tensor::f32(&[5, 9], &random(45, 8)));
    let c = g.constant("fc_bias", Tensor::f32(&[5], &random(5, 9)));
    let node = |op, inputs: &[ValueId], out| ampoule_graph::Node {
        name: String::new(),
        op,
        inputs: inputs.iter().map(|&i| Some(i)).collect(),
        outputs: vec![Some(out)],
    };
    g.nodes.push(node(Op::GlobalMaxPool, &[last], pool));
    g.nodes.push(node(Op::Flatten { axis: 1 }, &[pool], flat));
    g.nodes.push(node(Op::Gemm { alpha: 0.5, beta: 2.0, trans_a: false, trans_b: true }, &[flat, w, c], y));
    g.outputs = vec![y];
    (g, dims)
}

/// Everything that a pass rewrites, as exporters write it.
pub fn dressed() -> (Graph, Vec<usize>) {
    let dims = vec![1, 3, 9, 8];
    let mut n = Network::new("dressed", 300);
    let x = n.b.input("x", &known(&dims));
    let k = [3, 3];
    let x1 = n.b.node(Op::Identity, &[x]);
    let pads = n.b.constant("pads", Tensor::i64s(&[0, 0, 1, 2, 0, 0, 0, 1]));
    let p = n.b.node(Op::Pad { mode: PadMode::Constant }, &[x1, pads]);
    let a = n.conv(p, [3, 6], Window::of(&k));
    let a = n.batch_norm(a, 6);
    let s = n.b.unary(a, Unary::Sigmoid);
    let a = n.b.node(Op::Binary(Binary::Mul), &[a, s]);
    let w = n.tensor(&[6, 2, 2, 2]);
    let w = n.b.constant("up", w);
    let window = Window::of(&[2, 2]).stride(2);
    let op = Op::ConvTranspose { window, group: 2, output_padding: vec![], output_shape: vec![] };
    let u = n.b.node(op, &[a, w]);
    let u = n.batch_norm(u, 4);
    let soft = n.b.unary(u, Unary::Softplus);
    let soft = n.b.unary(soft, Unary::Tanh);
    let u = n.b.node(Op::Binary(Binary::Mul), &[soft, u]);
    let c = n.conv(u, [4, 5], Window::of(&[1, 1]));
    let scale = n.tensor(&[1, 5, 1, 1]);
    let scale = n.b.constant("scale", scale);
    let c = n.b.node(Op::Binary(Binary::Mul), &[scale, c]);
    let shift = n.tensor(&[5, 1, 1]);
    let shift = n.b.constant("shift", shift);
    let c = n.b.node(Op::Binary(Binary::Sub), &[shift, c]);
    let c = n.conv(c, [5, 4], Window::of(&k).pad(1));
    let c = n.instance_norm(c, 4);
    let (root, one, half) =
        (Tensor::f32(&[], &[std::f32::consts::SQRT_2]), Tensor::f32(&[], &[1.0]), Tensor::f32(&[], &[0.5]));
    let (root, one, half) =
        (n.b.constant("root", root), n.b.constant("one", one), n.b.constant("half", half));
    let e = n.b.node(Op::Binary(Binary::Div), &[c, root]);
    let e = n.b.unary(e, Unary::Erf);
    let e = n.b.node(Op::Binary(Binary::Add), &[e, one]);
    let e = n.b.node(Op::Binary(Binary::Mul), &[c, e]);
    let g = n.b.node(Op::Binary(Binary::Mul), &[e, half]);
    let g = n.b.resize_linear(g, &[1.0, 1.0], Coordinates::HalfPixel);
    let shape = n.b.node(Op::Shape { start: 0, end: None }, &[g]);
    let y = n.b.node(Op::Reshape { allow_zero: false }, &[g, shape]);
    n.b.unary(y, Unary::Exp);
    let y = n.b.unary(y, Unary::Tanh);
    n.b.output(y, "y", &[]);
    let mut graph = n.b.finish();
    let last = graph.outputs[0];
    graph.values[last.0].shape = None;
    (graph, dims)
}

/// Pooling, resampling and concatenation between dequantizers and quantizers of the same meaning, and a
/// quantizer of what was just dequantized.
pub fn pooled_int8() -> (Graph, Vec<usize>) {
    let dims = vec![1, 4, 8, 10];
    let mut n = Network::new("pooled_int8", 900);
    let x = n.b.input("x", &known(&dims));
    let scale = n.b.constant("scale", Tensor::f32(&[], &[0.01]));
    let zero = n.b.constant("zero", Tensor::from_i64(DType::U8, &[], &[120]).unwrap());
    let quantized = |n: &mut Network, x: ValueId| {
        let q = n.b.node(Op::Quantize { axis: 1, to: DType::U8 }, &[x, scale, zero]);
        n.b.node(Op::Dequantize { axis: 1 }, &[q, scale, zero])
    };
    let a = quantized(&mut n, x);
    let a = quantized(&mut n, a);
    let pool = |pad: i64| Pool {
        window: Window::of(&[2; 2]).stride(2).pad(pad),
        ceil_mode: false,
        count_include_pad: false,
    };
    let p = n.b.node(Op::MaxPool(pool(0)), &[a]);
    let p = quantized(&mut n, p);
    let m = n.b.node(Op::AveragePool(pool(0)), &[a]);
    let m = quantized(&mut n, m);
    let c = n.b.concat(&[p, m]);
    let c = quantized(&mut n, c);
    let c = n.b.resize_linear(c, &[2.0; 2], Coordinates::HalfPixel);
    let c = quantized(&mut n, c);
    let turned = n.b.node(Op::Transpose { perm: vec![0, 1, 3, 2] }, &[c]);
    let turned = quantized(&mut n, turned);
    let half = n.b.constant("half", Tensor::f32(&[], &[0.5]));
    let turned = n.b.node(Op::Binary(Binary::Mul), &[turned, half]);
    let c = n.b.node(Op::Transpose { perm: vec![0, 1, 3, 2] }, &[turned]);
    let c = quantized(&mut n, c);
    let c = n.conv(c, [8, 5], Window::of(&[3, 3]).pad(1));
    n.b.output(c, "y", &known(&[1, 5, 8, 10]));
    (n.b.finish(), dims)
}

/// A 3D network wide enough for Winograd tiles, statistics in items and few output channels.
pub fn wide3d() -> (Graph, Vec<usize>) {
    let dims = vec![1, 1, 12, 11, 13];
    let mut n = Network::new("wide3d", 500);
    let x = n.b.input("x", &known(&dims));
    let same = Window::of(&[3, 3, 3]).pad(1);
    let mut a = n.conv_without_bias(x, [1, 32], same.clone());
    a = n.instance_norm(a, 32);
    for act in [Unary::LeakyRelu { alpha: 0.01 }, Unary::Gelu { tanh: false }] {
        let y = n.b.unary(a, act);
        let mut w = same.clone();
        w.dilations = vec![2; 3];
        w.padding = Padding::Explicit(vec![2; 6]);
        let y = n.conv(y, [32, 32], w);
        let y = n.instance_norm(y, 32);
        let y = n.b.unary(y, Unary::Relu);
        let y = n.conv_without_bias(y, [32, 32], same.clone());
        let y = n.instance_norm(y, 32);
        a = n.b.add(y, a);
    }
    let y = n.conv(a, [32, 1], same);
    let y = n.b.unary(y, Unary::Sigmoid);
    n.b.output(y, "y", &known(&dims));
    (n.b.finish(), dims)
}

/// A plain chain with instance normalisation and growing dilation, as MeshNet: too long to stream,
/// but every convolution can write over its input.
pub fn chain3d() -> (Graph, Vec<usize>) {
    let dims = vec![1, 1, 60, 9, 10];
    let mut n = Network::new("chain3d", 800);
    let mut y = n.b.input("x", &known(&dims));
    for (i, d) in [1usize, 2, 4, 2, 1].into_iter().enumerate() {
        let mut w = Window::of(&[3, 3, 3]);
        w.dilations = vec![d; 3];
        w.padding = Padding::Explicit(vec![d as i64; 6]);
        y = n.conv_without_bias(y, [if i == 0 { 1 } else { 16 }, 16], w);
        y = n.instance_norm(y, 16);
        y = n.b.unary(y, Unary::Gelu { tanh: false });
    }
    let y = n.conv(y, [16, 3], Window::of(&[1, 1, 1]));
    n.b.output(y, "y", &known(&[1, 3, 60, 9, 10]));
    (n.b.finish(), dims)
}

/// A 3D U-Net without whole-image operators: it can be streamed along depth.
pub fn local3d() -> (Graph, Vec<usize>) {
    let dims = vec![1, 2, 96, 12, 14];
    let mut n = Network::new("local3d", 600);
    let x = n.b.input("x", &known(&dims));
    let (k3, same) = ([3, 3, 3], Window::of(&[3, 3, 3]).pad(1));
    let a = n.conv(x, [2, 16], same.clone());
    let a = n.b.unary(a, Unary::Relu);
    let b = n.conv(a, [16, 16], same.clone());
    let b = n.b.add(b, a);
    let d = n.conv(b, [16, 24], Window::of(&k3).stride(2).pad(1));
    let d = n.b.unary(d, Unary::Mish);
    let pool = Pool { window: Window::of(&[3; 3]).pad(1), ceil_mode: false, count_include_pad: false };
    let d = n.b.node(Op::MaxPool(pool), &[d]);
    let d = n.conv(d, [24, 24], same.clone());
    let d = n.batch_norm(d, 24);
    let w = n.tensor(&[24, 16, 2, 2, 2]);
    let u = n.b.conv_transpose(d, w, None, Window::of(&[2, 2, 2]).stride(2), vec![]);
    let v = n.conv(d, [24, 8], Window::of(&[1, 1, 1]));
    let v = n.b.resize_linear(v, &[2.0; 3], Coordinates::AlignCorners);
    let u = n.b.concat(&[b, u, v]);
    let u = n.conv(u, [40, 16], same);
    let u = n.b.unary(u, Unary::LeakyRelu { alpha: 0.2 });
    // Activations grow from layer to layer; scores of such a size would make ties of the softmax of rounding errors.
    let (w, bias) = (n.scaled(&[3, 16, 1, 1, 1], 1e-4), n.scaled(&[3], 1.0));
    let y = n.b.conv(u, w, Some(bias), Window::of(&[1, 1, 1]));
    let y = n.b.softmax(y);
    n.b.output(y, "y", &known(&[1, 3, 96, 12, 14]));
    (n.b.finish(), dims)
}

/// Dense blocks (concatenations that grow) and squeeze-and-excitation with depthwise convolutions.
pub fn dense() -> (Graph, Vec<usize>) {
    let dims = vec![1, 3, 12, 20];
    let mut n = Network::new("dense", 700);
    let x = n.b.input("x", &known(&dims));
    let same = Window::of(&[3, 3]).pad(1);
    let mut parts = vec![n.conv(x, [3, 16], same.clone())];
    let mut all = parts[0];
    for i in 0..4 {
        let c = 16 + 16 * i;
        let y = n.batch_norm(all, c);
        let y = n.b.unary(y, Unary::Relu);
        let y = n.conv(y, [c, 24], Window::of(&[1, 1]));
        let y = n.conv(y, [24, 16], same.clone());
        parts.push(y);
        all = n.b.concat(&parts);
    }
    let w = n.tensor(&[80, 1, 3, 3]);
    let w = n.b.constant("dw", w);
    let d = n.b.node(Op::Conv { window: same.clone(), group: 80 }, &[all, w]);
    let d = n.b.unary(d, Unary::Swish { alpha: 1.0 });
    let g = n.b.node(Op::GlobalAveragePool, &[d]);
    let g = n.conv(g, [80, 80], Window::of(&[1, 1]));
    let g = n.b.unary(g, Unary::Sigmoid);
    let d = n.b.node(Op::Binary(Binary::Mul), &[d, g]);
    let y = n.conv(d, [80, 2], same);
    n.b.output(y, "y", &known(&[1, 2, 12, 20]));
    (n.b.finish(), dims)
}

/// A 3D U-Net with instance normalisation everywhere: streamed in passes between the normalisations.
pub fn norms3d() -> (Graph, Vec<usize>) {
    let dims = vec![1, 1, 96, 28, 30];
    let mut n = Network::new("norms3d", 900);
    let x = n.b.input("x", &known(&dims));
    let (k3, same) = ([3, 3, 3], Window::of(&[3, 3, 3]).pad(1));
    let layer = |n: &mut Network, x, io: [usize; 2], w: Window| {
        let y = n.conv_without_bias(x, io, w);
        let y = n.instance_norm(y, io[1]);
        n.b.unary(y, Unary::LeakyRelu { alpha: 0.01 })
    };
    let a = layer(&mut n, x, [1, 16], same.clone());
    let a = layer(&mut n, a, [16, 16], same.clone());
    let d = layer(&mut n, a, [16, 32], Window::of(&k3).stride(2).pad(1));
    let d = layer(&mut n, d, [32, 32], same.clone());
    let w = n.tensor(&[32, 16, 2, 2, 2]);
    let pool = Pool { window: Window::of(&[3; 3]).pad(1), ceil_mode: false, count_include_pad: false };
    let d = n.b.node(Op::MaxPool(pool), &[d]);
    // Statistics that no convolution adds up.
    let d = n.instance_norm(d, 32);
    let u = n.b.conv_transpose(d, w, None, Window::of(&[2, 2, 2]).stride(2), vec![]);
    let u = n.b.concat(&[a, u]);
    let u = layer(&mut n, u, [32, 16], same.clone());
    let y = n.conv(u, [16, 3], Window::of(&[1, 1, 1]));
    let y = n.b.softmax(y);
    n.b.output(y, "y", &known(&[1, 3, 96, 28, 30]));
    (n.b.finish(), dims)
}

/// Few pixels and many channels: weights for Winograd's algorithm take most of the memory.
pub fn heavy2d() -> (Graph, Vec<usize>) {
    let dims = vec![1, 128, 16, 16];
    let mut n = Network::new("heavy2d", 1100);
    let mut x = n.b.input("x", &known(&dims));
    for _ in 0..3 {
        x = n.conv(x, [128, 128], Window::of(&[3, 3]).pad(1));
        x = n.b.unary(x, Unary::Relu);
    }
    n.b.output(x, "y", &known(&dims));
    (n.b.finish(), dims)
}

/// A 2D U-Net without whole-image operators, of sizes that its strides do not divide.
pub fn local2d() -> (Graph, Vec<usize>) {
    let dims = vec![1, 3, 150, 131];
    let mut n = Network::new("local2d", 1000);
    let x = n.b.input("x", &known(&dims));
    let same = Window::of(&[3, 3]).pad(1);
    let a = n.conv(x, [3, 16], same.clone());
    let a = n.batch_norm(a, 16);
    let a = n.b.unary(a, Unary::Relu);
    let scale = n.tensor(&[1, 16, 1, 1]);
    let scale = n.b.constant("scale", scale);
    let a = n.b.node(Op::Binary(Binary::Mul), &[a, scale]);
    let pool = Pool { window: Window::of(&[2; 2]).stride(2), ceil_mode: true, count_include_pad: false };
    let d = n.b.node(Op::MaxPool(pool), &[a]);
    let d = n.conv(d, [16, 24], same.clone());
    let d = n.b.unary(d, Unary::Swish { alpha: 1.0 });
    let w = n.tensor(&[24, 8, 4, 4]);
    let up = Window::of(&[4, 4]).stride(2).pad(1);
    let u = n.b.conv_transpose(d, w, None, up, vec![]);
    let v = n.conv(d, [24, 8], Window::of(&[1, 1]));
    let v = n.b.resize_linear(v, &[2.0; 2], Coordinates::HalfPixel);
    let u = n.b.concat(&[u, v]);
    let mut crop = Window::of(&[3, 3]);
    crop.padding = Padding::Explicit(vec![0, 1, 1, 0]);
    let y = n.conv(u, [16, 2], crop);
    let pads = n.b.constant("pads", Tensor::i64s(&[0, 0, 2, 1, 0, 0, 0, 2]));
    let y = n.b.node(Op::Pad { mode: PadMode::Constant }, &[y, pads]);
    let y = n.b.softmax(y);
    n.b.output(y, "y", &known(&[1, 2, 151, 134]));
    (n.b.finish(), dims)
}

/// A 2D U-Net with resampling between corners and normalisations: streamed along its height.
pub fn norms2d() -> (Graph, Vec<usize>) {
    let dims = vec![1, 3, 192, 70];
    let mut n = Network::new("norms2d", 1100);
    let x = n.b.input("x", &known(&dims));
    let (k, same) = ([3, 3], Window::of(&[3, 3]).pad(1));
    let a = n.conv(x, [3, 16], same.clone());
    let a = n.batch_norm(a, 16);
    let a = n.b.unary(a, Unary::LeakyRelu { alpha: 0.1 });
    let d = n.conv_without_bias(a, [16, 24], Window::of(&k).stride(2).pad(1));
    let d = n.instance_norm(d, 24);
    let d = n.b.unary(d, Unary::Mish);
    let w = n.tensor(&[24, 1, 3, 3]);
    let w = n.b.constant("dw", w);
    let d = n.b.node(Op::Conv { window: same.clone(), group: 24 }, &[d, w]);
    let scale = n.tensor(&[24, 1, 1]);
    let scale = n.b.constant("scale", scale);
    let d = n.b.node(Op::Binary(Binary::Mul), &[d, scale]);
    let u = n.b.resize_linear(d, &[2.0; 2], Coordinates::AlignCorners);
    let u = n.b.node(Op::Concat { axis: -3 }, &[a, u]);
    let u = n.conv(u, [40, 8], same);
    let u = n.b.unary(u, Unary::Relu);
    let y = n.conv(u, [8, 2], Window::of(&[1, 1]));
    let y = n.b.node(Op::Softmax { axis: -3, log: false }, &[y]);
    n.b.output(y, "y", &known(&[1, 2, 192, 70]));
    (n.b.finish(), dims)
}

/// Powers of constant exponents and a mean over the spatial axes.
pub fn powers() -> (Graph, Vec<usize>) {
    let dims = vec![1, 4, 6, 5];
    let mut n = Network::new("powers", 300);
    let x = n.b.input("x", &known(&dims));
    let size = n.b.unary(x, Unary::Abs);
    let [half, cube, root, axes] = [
        Tensor::f32(&[], &[0.5]),
        Tensor::f32(&[1], &[3.0]),
        Tensor::f32(&[], &[-0.5]),
        Tensor::i64s(&[-1, -2]),
    ]
    .map(|t| n.b.constant("c", t));
    let above = n.b.node(Op::Binary(Binary::Add), &[size, half]);
    let inverse = n.b.node(Op::Binary(Binary::Pow), &[above, root]);
    let cubes = n.b.node(Op::Binary(Binary::Pow), &[x, cube]);
    let both = n.b.node(Op::Binary(Binary::Mul), &[inverse, cubes]);
    let op = Op::Reduce { kind: Reduction::Mean, keep_dims: true, noop_with_empty_axes: false };
    let mean = n.b.node(op, &[both, axes]);
    let y = n.b.node(Op::Binary(Binary::Mul), &[mean, both]);
    n.b.output(y, "y", &known(&dims));
    (n.b.finish(), dims)
}
