//! Whole networks in the engine against the float64 reference, on every tier, with and without the
//! graph passes, and bit for bit the same on every thread count.

use ampoule_engine::{Error, ExternalBackend, ExternalNetwork, Options, Precision, Rewrites, Session};
use ampoule_graph::op::*;
use ampoule_graph::{DType, Graph, Op, Tensor, ValueId, eval, passes};
use ampoule_testing::{Network, known, random, relative_error, tiers};

/// The defaults, with the features that `AMPOULE_ISA` asks for.
fn defaults() -> Options {
    Options { isa: ampoule_testing::asked_tier(), ..Default::default() }
}

/// A 3D U-Net with concatenated and added skips, strides, transposed convolution and resampling.
fn unet3d() -> (Graph, Vec<usize>) {
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
fn classifier() -> (Graph, Vec<usize>) {
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

fn finished_classifier() -> (Graph, Vec<usize>) {
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
fn dressed() -> (Graph, Vec<usize>) {
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
fn pooled_codes() -> (Graph, Vec<usize>) {
    let dims = vec![1, 4, 8, 10];
    let mut n = Network::new("pooled_codes", 900);
    let x = n.b.input("x", &known(&dims));
    let scale = n.b.constant("scale", Tensor::f32(&[], &[0.01]));
    let zero = n.b.constant("zero", Tensor::from_i64(DType::U8, &[], &[120]).unwrap());
    let coded = |n: &mut Network, x: ValueId| {
        let q = n.b.node(Op::Quantize { axis: 1, to: DType::U8 }, &[x, scale, zero]);
        n.b.node(Op::Dequantize { axis: 1 }, &[q, scale, zero])
    };
    let a = coded(&mut n, x);
    let a = coded(&mut n, a);
    let pool = |pad: i64| Pool {
        window: Window::of(&[2; 2]).stride(2).pad(pad),
        ceil_mode: false,
        count_include_pad: false,
    };
    let p = n.b.node(Op::MaxPool(pool(0)), &[a]);
    let p = coded(&mut n, p);
    let m = n.b.node(Op::AveragePool(pool(0)), &[a]);
    let m = coded(&mut n, m);
    let c = n.b.concat(&[p, m]);
    let c = coded(&mut n, c);
    let c = n.b.resize_linear(c, &[2.0; 2], Coordinates::HalfPixel);
    let c = coded(&mut n, c);
    let c = n.conv(c, [8, 5], Window::of(&[3, 3]).pad(1));
    n.b.output(c, "y", &known(&[1, 5, 8, 10]));
    (n.b.finish(), dims)
}

/// A 3D network wide enough for Winograd tiles, statistics in items and few output channels.
fn wide3d() -> (Graph, Vec<usize>) {
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
fn chain3d() -> (Graph, Vec<usize>) {
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
fn local3d() -> (Graph, Vec<usize>) {
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
    let y = n.conv(u, [16, 3], Window::of(&[1, 1, 1]));
    let y = n.b.softmax(y);
    n.b.output(y, "y", &known(&[1, 3, 96, 12, 14]));
    (n.b.finish(), dims)
}

/// Dense blocks (concatenations that grow) and squeeze-and-excitation with depthwise convolutions.
fn dense() -> (Graph, Vec<usize>) {
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

/// Precisions and the error that each may cost these networks, whose random weights magnify it.
const PRECISIONS: [(Precision, f64); 3] =
    [(Precision::Fp32, 1e-5), (Precision::Bf16, 6e-2), (Precision::Bf16Fast, 2e-1)];

#[test]
fn networks_match_the_reference_on_every_tier() {
    for (graph, dims) in [unet3d(), finished_classifier(), dressed(), wide3d(), local3d(), dense()] {
        let input = random(dims.iter().product(), 42);
        let mut inferred = graph.clone();
        ampoule_graph::infer::infer(&mut inferred).unwrap();
        let want = eval::run(&inferred, &[Tensor::f32(&dims, &input)]).unwrap()[0].to_f32().unwrap();
        for (isa, (precision, most)) in tiers().into_iter().flat_map(|i| PRECISIONS.map(|p| (i, p))) {
            let mut first: Option<Vec<f32>> = None;
            for (threads, rewrites) in [
                (1, Rewrites::All),
                (2, Rewrites::All),
                (5, Rewrites::All),
                (2, Rewrites::Fold),
                (2, Rewrites::None),
            ] {
                let isa = Some(isa.name().into());
                let options = Options { isa, threads, rewrites, precision, ..defaults() };
                let mut s = Session::new(graph.clone(), std::slice::from_ref(&dims), &options).unwrap();
                // Twice: memory left over from the first run must not matter.
                for _ in 0..2 {
                    s.set_input(0, &input).unwrap();
                    s.run().unwrap();
                }
                let got = s.output(0).unwrap().to_vec();
                let e = relative_error(&got, &want);
                let what = format!("{} in {} on {:?}", graph.name, precision.name(), options.isa);
                assert!(e < most, "{what}, {threads} threads: {e:.2e}");
                if threads == 1 {
                    println!("{what}: {e:.1e}");
                }
                if rewrites == Rewrites::All {
                    let first = first.get_or_insert_with(|| got.clone());
                    assert!(*first == got, "{what}: other bits with {threads} threads");
                }
            }
        }
    }
}

/// The reference in another engine's place.
struct Reference(Graph);

impl ExternalNetwork for Reference {
    fn run(&mut self, inputs: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, String> {
        let dims = |i: usize| self.0.value(self.0.inputs[i]).dims().unwrap();
        let given: Vec<Tensor> = inputs.iter().enumerate().map(|(i, v)| Tensor::f32(&dims(i), v)).collect();
        let found = eval::run(&self.0, &given).map_err(|e| e.to_string())?;
        Ok(found.iter().map(|t| t.to_f32().unwrap()).collect())
    }
}

#[test]
fn another_engine_takes_this_ones_place() {
    let (graph, dims) = unet3d();
    let input = random(dims.iter().product(), 42);
    let load = |g: &Graph| -> Result<Box<dyn ExternalNetwork>, String> { Ok(Box::new(Reference(g.clone()))) };
    let external = Some(ExternalBackend(std::sync::Arc::new(load)));
    let options = Options { external, ..defaults() };
    let mut s = Session::new(graph.clone(), std::slice::from_ref(&dims), &options).unwrap();
    let mut own = Session::new(graph, std::slice::from_ref(&dims), &defaults()).unwrap();
    // Twice, set as a whole and in its own layout.
    for _ in 0..2 {
        own.set_input(0, &input).unwrap();
        own.run().unwrap();
        s.set_input(0, &input).unwrap();
        s.run().unwrap();
        assert_eq!(s.output(0).unwrap().dims, own.output(0).unwrap().dims);
        assert!(relative_error(&own.output(0).unwrap().to_vec(), &s.output(0).unwrap().to_vec()) < 1e-5);
    }
    assert!(
        s.is_external()
            && !own.is_external()
            && s.sharing_weights(std::sync::Arc::new(ampoule_engine::Pool::new(1))).is_err()
    );
    let fails = |_: &Graph| -> Result<Box<dyn ExternalNetwork>, String> { Err("it is not there".into()) };
    let options = Options { external: Some(ExternalBackend(std::sync::Arc::new(fails))), ..defaults() };
    let (graph, dims) = unet3d();
    let refused = Session::new(graph, &[dims], &options);
    assert!(matches!(refused, Err(Error::External { reason }) if reason == "it is not there"));
}

#[test]
fn what_should_be_chosen_is_chosen() {
    let kernels = |(graph, dims): (Graph, Vec<usize>)| -> Vec<String> {
        let options = Options { threads: 1, ..defaults() };
        let s = Session::new(graph, &[dims], &options).unwrap();
        s.steps().into_iter().map(|s| s.kernel).collect()
    };
    let wide = kernels(wide3d());
    if ampoule_kernels::choose(ampoule_testing::asked_tier().as_deref()).unwrap()
        != ampoule_kernels::Features::NONE
    {
        assert!(wide.iter().any(|k| k.starts_with("winograd")), "{wide:?}");
        assert!(wide.iter().any(|k| k.contains("x1_")), "{wide:?}");
    }
    let dense = kernels(dense());
    assert!(!dense.iter().any(|k| ["copy", "unary", "affine"].contains(&k.as_str())), "{dense:?}");
    assert!(dense.iter().any(|k| k == "scale"), "{dense:?}");
}

/// A 3D U-Net with instance normalisation everywhere: streamed in passes between the normalisations.
fn norms3d() -> (Graph, Vec<usize>) {
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

/// A 2D U-Net without whole-image operators, of sizes that its strides do not divide.
fn local2d() -> (Graph, Vec<usize>) {
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
fn norms2d() -> (Graph, Vec<usize>) {
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

/// What a network did to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum How {
    Planned,
    Streamed,
    Tiled,
}

/// Runs with at most `max` bytes, and says what was needed and how it was done.
fn limited(
    graph: &Graph,
    dims: &[usize],
    input: &[f32],
    precision: Precision,
    max: u64,
) -> Option<(Vec<f32>, u64, How)> {
    let options = Options { max_bytes: Some(max), threads: 2, precision, ..defaults() };
    let mut s = Session::new(graph.clone(), &[dims.to_vec()], &options).ok()?;
    let need = s.arena_bytes() + s.weight_bytes();
    assert!(need <= max);
    for _ in 0..2 {
        s.set_input(0, input).unwrap();
        s.run().unwrap();
    }
    let how = match (s.streamed(), s.tiles()) {
        (true, _) => How::Streamed,
        (false, 1) => How::Planned,
        (false, _) => How::Tiled,
    };
    Some((s.output(0).unwrap().to_vec(), need, how))
}

#[test]
fn less_memory_gives_the_same_outputs() {
    let nets = [
        (local3d(), &[How::Planned, How::Streamed][..]),
        (chain3d(), &[How::Planned]),
        (norms3d(), &[How::Planned, How::Streamed]),
        (local2d(), &[How::Planned, How::Tiled]),
        (norms2d(), &[How::Planned, How::Streamed]),
    ];
    let cases = nets.into_iter().flat_map(|n| [Precision::Fp32, Precision::Bf16].map(|p| (n.clone(), p)));
    let mut fulls = Vec::new();
    for (((graph, dims), ways), precision) in cases {
        let input = random(dims.iter().product(), 11);
        let (want, full, _) = limited(&graph, &dims, &input, precision, u64::MAX).unwrap();
        let (mut max, mut least, mut seen) = (full - 1, full, vec![How::Planned]);
        while let Some((got, need, how)) = limited(&graph, &dims, &input, precision, max) {
            if how == How::Streamed && graph.name == "local3d" {
                assert!(got == want, "{}: other bits within {max} bytes", graph.name);
            } else {
                let most = if precision == Precision::Fp32 { 5e-6 } else { 1e-2 };
                let e = relative_error(&got, &want);
                assert!(e < most, "{} within {max} bytes, {how:?}: {e:.1e}", graph.name);
            }
            (least, max) = (need, need - 1);
            seen.push(how);
        }
        seen.sort();
        seen.dedup();
        println!("{} in {}: {full} bytes, at least {least}", graph.name, precision.name());
        fulls.push(full);
        assert_eq!(seen, ways, "{}", graph.name);
        // A chain may be planned tightly unasked.
        let share = if seen.len() > 1 { 0.9 } else { 1.0 };
        assert!(least as f64 <= share * full as f64, "{}: {full} to {least}", graph.name);
        // The refusal names the least.
        let max_bytes = Some(least - 1);
        let options = Options { max_bytes, threads: 2, precision, ..defaults() };
        let Err(ampoule_engine::Error::Memory { needed_mib, .. }) = Session::new(graph, &[dims], &options)
        else {
            panic!("less than the least is enough");
        };
        assert_eq!(needed_mib, least.div_ceil(1 << 20));
    }
    // bfloat16 takes clearly less (inputs, outputs and weights stay float32).
    assert!(fulls.chunks(2).all(|f| 10 * f[1] < 9 * f[0]), "{fulls:?}");
}

#[test]
fn every_prefix_of_the_passes_leaves_outputs_unchanged() {
    let mut seen = std::collections::BTreeMap::new();
    for (graph, dims) in [unet3d(), finished_classifier(), dressed(), pooled_codes()] {
        let input = Tensor::f32(&dims, &random(dims.iter().product(), 3));
        let mut inferred = graph.clone();
        ampoule_graph::infer::infer(&mut inferred).unwrap();
        let want = eval::run(&inferred, std::slice::from_ref(&input)).unwrap()[0].to_f32().unwrap();
        let mut whole = graph.clone();
        let counts = passes::optimize(&mut whole).unwrap();
        let total: usize = counts.iter().map(|c| c.1).sum();
        for (name, n) in &counts {
            *seen.entry(*name).or_insert(0) += n;
        }
        for limit in 0..=total {
            let mut g = graph.clone();
            passes::optimize_until(&mut g, limit).unwrap();
            let got = eval::run(&g, std::slice::from_ref(&input)).unwrap()[0].to_f32().unwrap();
            let e = relative_error(&got, &want);
            // Means of codes that lie between two may be rounded to either.
            let most = if graph.name == "pooled_codes" { 2e-2 } else { 1e-5 };
            assert!(e < most, "{} after {limit} rewrites: {e:.2e}", graph.name);
        }
    }
    println!("rewrites: {seen:?}");
    assert!(seen.values().all(|&n| n > 0), "a pass was never exercised: {seen:?}");
}

#[test]
fn the_plan_is_a_promise_and_limits_hold() {
    let (graph, dims) = unet3d();
    let s = Session::new(graph.clone(), std::slice::from_ref(&dims), &defaults()).unwrap();
    let need = s.arena_bytes() + s.weight_bytes();
    let with = |max| Options { max_bytes: Some(max), ..defaults() };
    assert!(Session::new(graph.clone(), std::slice::from_ref(&dims), &with(need)).is_ok());
    let refused = Session::new(graph.clone(), std::slice::from_ref(&dims), &with(need - 1));
    assert!(matches!(refused, Err(ampoule_engine::Error::Memory { .. })));
    let wrong = Session::new(graph, &[vec![1, 3, 12, 10, 9]], &defaults());
    assert!(matches!(wrong, Err(ampoule_engine::Error::InputShape { .. })));
}

#[test]
fn groups_of_values_may_be_stored_as_bfloat16() {
    use ampoule_engine::mixed_precision;
    use ampoule_kernels::Elem;
    for (graph, dims) in [unet3d(), finished_classifier(), dressed(), wide3d(), dense(), pooled_codes()] {
        let input = random(dims.iter().product(), 42);
        let mut base = graph.clone();
        passes::optimize(&mut base).unwrap();
        let want = eval::run(&base, &[Tensor::f32(&dims, &input)]).unwrap()[0].to_f32().unwrap();
        let name = |g: &Graph, v: &ValueId| g.value(*v).name.clone();
        let groups: Vec<String> =
            mixed_precision::groups(&base).iter().map(|g| name(&base, &g[g.len() - 1])).collect();
        assert!(!groups.is_empty(), "{}: no groups", graph.name);
        let whole = [groups.clone()];
        let mut stored = 0;
        for (isa, chosen) in tiers()
            .into_iter()
            .flat_map(|i| groups.iter().map(|g| vec![g.clone()]).chain(whole.clone()).map(move |g| (i, g)))
        {
            let mut g = base.clone();
            mixed_precision::record(&mut g, chosen.iter().map(String::as_str));
            let mut first: Option<Vec<f32>> = None;
            for threads in [1, 3] {
                let options = Options { isa: Some(isa.name().into()), threads, ..defaults() };
                let mut s = Session::new(g.clone(), std::slice::from_ref(&dims), &options).unwrap();
                s.set_input(0, &input).unwrap();
                s.run().unwrap();
                let got = s.output(0).unwrap().to_vec();
                let e = relative_error(&got, &want);
                assert!(e < 6e-2, "{} with {chosen:?} on {}: {e:.2e}", graph.name, isa.name());
                assert!(*first.get_or_insert_with(|| got.clone()) == got, "{}: other bits", graph.name);
                stored += s.steps().iter().filter(|s| s.stored == Some(Elem::Bf16)).count();
            }
        }
        assert!(stored > 0, "{}: nothing is stored as bfloat16", graph.name);
        // Nothing recorded, or what no value is called: float32.
        mixed_precision::record(&mut base, ["nobody"]);
        let s = Session::new(base.clone(), std::slice::from_ref(&dims), &defaults()).unwrap();
        assert!(s.steps().iter().all(|s| s.stored != Some(Elem::Bf16)));
        mixed_precision::record(&mut base, []);
        assert!(base.meta(mixed_precision::KEY).is_none());
    }
}

/// Activations between quantizers, as other tools' files have them: a swish of two operators with codes in
/// between, a hard swish of four, and a function of two tensors, which is no table.
fn coded_activations() -> (Graph, Vec<usize>) {
    let dims = vec![1, 4, 7, 9];
    let mut n = Network::new("coded_activations", 77);
    let x = n.b.input("x", &known(&dims));
    let coded = |n: &mut Network, x: ValueId, scale: f32, zero: i64, to: DType| {
        let scale = n.b.constant("scale", Tensor::f32(&[], &[scale]));
        let zero = n.b.constant("zero", Tensor::from_i64(to, &[], &[zero]).unwrap());
        let q = n.b.node(Op::Quantize { axis: 1, to }, &[x, scale, zero]);
        n.b.node(Op::Dequantize { axis: 1 }, &[q, scale, zero])
    };
    let a = n.conv(x, [4, 6], Window::of(&[3, 3]).pad(1));
    let a = coded(&mut n, a, 0.03, 110, DType::U8);
    let s = n.b.unary(a, Unary::Sigmoid);
    let s = coded(&mut n, s, 1.0 / 256.0, -128, DType::I8);
    let s = n.b.node(Op::Binary(Binary::Mul), &[a, s]);
    let s = coded(&mut n, s, 0.02, 20, DType::U8);
    let b = n.conv(s, [6, 6], Window::of(&[1, 1]));
    let b = coded(&mut n, b, 0.05, 0, DType::I8);
    let [three, zero, six] = [3.0, 0.0, 6.0].map(|v| n.b.constant("c", Tensor::f32(&[], &[v])));
    let h = n.b.node(Op::Binary(Binary::Add), &[b, three]);
    let h = n.b.node(Op::Clip, &[h, zero, six]);
    let h = n.b.node(Op::Binary(Binary::Mul), &[b, h]);
    let h = n.b.node(Op::Binary(Binary::Div), &[h, six]);
    let h = coded(&mut n, h, 0.04, 5, DType::U8);
    let both = n.b.node(Op::Binary(Binary::Mul), &[h, s]);
    let both = coded(&mut n, both, 0.05, 128, DType::U8);
    let y = n.conv(both, [6, 3], Window::of(&[3, 3]));
    n.b.output(y, "y", &known(&[1, 3, 5, 7]));
    (n.b.finish(), dims)
}

#[test]
fn activations_between_codes_are_tables() {
    let (graph, dims) = coded_activations();
    let input = random(dims.iter().product(), 5);
    let mut inferred = graph.clone();
    ampoule_graph::infer::infer(&mut inferred).unwrap();
    let want = eval::run(&inferred, &[Tensor::f32(&dims, &input)]).unwrap()[0].to_f32().unwrap();
    let run = |options: &Options| {
        let mut s = Session::new(graph.clone(), std::slice::from_ref(&dims), options).unwrap();
        s.set_input(0, &input).unwrap();
        s.run().unwrap();
        (s.output(0).unwrap().to_vec(), s.steps().into_iter().map(|s| s.kernel).collect::<Vec<_>>())
    };
    for isa in tiers() {
        for (threads, rewrites) in [(1, Rewrites::All), (3, Rewrites::All), (1, Rewrites::None)] {
            let options = Options { isa: Some(isa.name().into()), threads, rewrites, ..defaults() };
            let (got, kernels) = run(&options);
            // A convolution before a quantizer may round to another code.
            let e = relative_error(&got, &want);
            assert!(e < 2e-3, "{}: {e:.1e}", isa.name());
            if rewrites == Rewrites::All {
                assert_eq!(kernels.iter().filter(|k| *k == "table").count(), 2, "{kernels:?}");
                assert!(!kernels.iter().any(|k| k == "unary"), "{kernels:?}");
            }
        }
    }
    // A value in between that is watched is computed, and the codes are the same.
    let mut g = graph.clone();
    passes::optimize(&mut g).unwrap();
    let sigmoid =
        g.nodes.iter().find(|n| matches!(n.op, Op::Unary(Unary::Sigmoid) | Op::Unary(Unary::Swish { .. })));
    let name = g.value(sigmoid.unwrap().output().unwrap()).name.clone();
    let seen = std::sync::Arc::new(std::sync::Mutex::new(0));
    let count = seen.clone();
    let sink = move |v: &ampoule_engine::Observed<'_>| *count.lock().unwrap() += v.to_vec().len();
    let observe = Some(ampoule_engine::Observe {
        names: std::sync::Arc::new(vec![name]),
        sink: std::sync::Arc::new(sink),
    });
    let (watched, _) = run(&Options { threads: 1, observe, ..defaults() });
    assert_eq!(*seen.lock().unwrap(), 6 * 7 * 9);
    assert!(watched == run(&Options { threads: 1, ..defaults() }).0);
}

#[test]
fn inputs_and_outputs_that_are_not_there_are_errors() {
    let (graph, dims) = unet3d();
    let mut s = Session::new(graph, std::slice::from_ref(&dims), &Options::default()).unwrap();
    let values = vec![0.0; dims.iter().product()];
    assert!(matches!(s.set_input(3, &values), Err(Error::NoInput { index: 3, inputs: 1 })));
    assert!(matches!(s.input(1).err(), Some(Error::NoInput { index: 1, .. })));
    assert!(matches!(s.input_dims(1).err(), Some(Error::NoInput { index: 1, .. })));
    assert!(matches!(s.output(9).err(), Some(Error::NoOutput { index: 9, outputs: 1 })));
    assert!(matches!(s.set_input(0, &values[1..]), Err(Error::InputLength { index: 0, .. })));
    let wide = Tensor::f32(&[1, 1], &[0.0]);
    assert!(matches!(s.run_tensors(&[wide.clone()]), Err(Error::InputShape { index: 0, .. })));
    assert!(matches!(s.run_tensors(&[wide.clone(), wide]), Err(Error::InputCount { given: 2, inputs: 1 })));
    let more = std::sync::Arc::new(ampoule_engine::Pool::new(s.threads() + 1));
    assert!(matches!(s.sharing_weights(more).err(), Some(Error::Threads { .. })));
}
