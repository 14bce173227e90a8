//! Root-mean-square and response normalisations, and squeeze-and-excitation, as exporters spell them.

use super::defaults;
use super::transformers::{binary, ints, number, reshape, times, weights};
use ampoule_engine::{Options, Session};
use ampoule_graph::op::*;
use ampoule_graph::{Graph, Op, Tensor, ValueId, eval};
use ampoule_testing::{Network, known, random, relative_error, tiers};

/// How the root is divided by.
#[derive(Clone, Copy, PartialEq)]
enum Root {
    /// `x / sqrt(…)`
    Quotient,
    /// `x · reciprocal(sqrt(…))`, as `torch.rsqrt` is exported
    Reciprocal,
    /// `(1 / sqrt(…)) · x`, as older exporters write it
    Inverse,
}

fn reduce(n: &mut Network, kind: Reduction, x: ValueId, axes: &[i64]) -> ValueId {
    let axes = ints(n, axes);
    n.b.node(Op::Reduce { kind, keep_dims: true, noop_with_empty_axes: false }, &[x, axes])
}

/// `x / sqrt(mean(x²) + ε)`, with factors of the shape `each`.
fn rms_norm(n: &mut Network, x: ValueId, axes: &[i64], root: Root, each: &[usize]) -> ValueId {
    let two = number(n, 2.0);
    let square = binary(n, Binary::Pow, x, two);
    let mean = reduce(n, Reduction::Mean, square, axes);
    let epsilon = number(n, 1e-6);
    let sum = binary(n, Binary::Add, mean, epsilon);
    let r = n.b.unary(sum, Unary::Sqrt);
    let y = match root {
        Root::Quotient => binary(n, Binary::Div, x, r),
        Root::Reciprocal => {
            let r = n.b.unary(r, Unary::Reciprocal);
            binary(n, Binary::Mul, x, r)
        }
        Root::Inverse => {
            let one = number(n, 1.0);
            let r = binary(n, Binary::Div, one, r);
            binary(n, Binary::Mul, r, x)
        }
    };
    if each.is_empty() {
        return y;
    }
    let scale = weights(n, each);
    // Llama's form has the factors first.
    binary(n, Binary::Mul, scale, y)
}

fn linear(n: &mut Network, x: ValueId, sizes: [usize; 2]) -> ValueId {
    let w = weights(n, &sizes);
    n.b.node(Op::MatMul, &[x, w])
}

fn finished(mut n: Network, y: ValueId, dims: &[usize], from: &[usize]) -> (Graph, Vec<usize>) {
    n.b.output(y, "y", &known(dims));
    (n.b.finish(), from.to_vec())
}

/// Tokens through four normalisations, one of them over two axes.
fn rms_tokens(width: usize) -> (Graph, Vec<usize>) {
    let dims = [2, 7, width];
    let mut n = Network::new("rms_tokens", 31 + width as u64);
    let mut x = n.b.input("x", &known(&dims));
    for (root, each) in
        [(Root::Quotient, &[width][..]), (Root::Reciprocal, &[1, 1, width]), (Root::Inverse, &[])]
    {
        x = rms_norm(&mut n, x, &[-1], root, each);
        x = linear(&mut n, x, [width, width]);
    }
    let y = rms_norm(&mut n, x, &[-2, -1], Root::Quotient, &[7, width]);
    finished(n, y, &dims, &dims)
}

/// Channels of an image.
fn rms_channels() -> (Graph, Vec<usize>) {
    let dims = [1, 3, 6, 7];
    let mut n = Network::new("rms_channels", 41);
    let x = n.b.input("x", &known(&dims));
    let x = n.conv(x, [3, 21], Window::of(&[3, 3]).pad(1));
    let x = rms_norm(&mut n, x, &[1], Root::Reciprocal, &[21, 1, 1]);
    let y = n.conv(x, [21, 2], Window::of(&[1, 1]));
    finished(n, y, &[1, 2, 6, 7], &dims)
}

/// ConvNeXt v2's block, channels last.
pub fn response_norm() -> (Graph, Vec<usize>) {
    let dims = [1, 6, 5, 24];
    let mut n = Network::new("response_norm", 43);
    let x = n.b.input("x", &known(&dims));
    let x = linear(&mut n, x, [24, 24]);
    let x = n.b.unary(x, Unary::Gelu { tanh: false });
    let norm = reduce(&mut n, Reduction::L2, x, &[1, 2]);
    let mean = reduce(&mut n, Reduction::Mean, norm, &[-1]);
    let epsilon = number(&mut n, 1e-6);
    let mean = binary(&mut n, Binary::Add, mean, epsilon);
    let norm = binary(&mut n, Binary::Div, norm, mean);
    let (gamma, beta) = (weights(&mut n, &[1, 1, 1, 24]), weights(&mut n, &[1, 1, 1, 24]));
    let y = binary(&mut n, Binary::Mul, x, norm);
    let y = binary(&mut n, Binary::Mul, gamma, y);
    let y = binary(&mut n, Binary::Add, y, beta);
    let x = binary(&mut n, Binary::Add, y, x);
    let y = linear(&mut n, x, [24, 8]);
    finished(n, y, &[1, 6, 5, 8], &dims)
}

/// What reads a gated image.
#[derive(Clone, Copy)]
enum Reader {
    /// A convolution of single pixels.
    Pixels,
    /// One to which the image before the gate is added.
    Residual,
    /// A convolution of 3×3.
    Window,
    /// A convolution of single pixels, and a sum.
    Twice,
}

/// Squeeze-and-excitation of convolutions, or of matrix products.
fn squeeze_excitation(products: bool, reader: Reader) -> (Graph, Vec<usize>) {
    let dims = [1, 4, 8, 8];
    let mut n = Network::new("squeeze_excitation", 47 + products as u64);
    let x = n.b.input("x", &known(&dims));
    let x = n.conv(x, [4, 32], Window::of(&[3, 3]).pad(1));
    let gate = match products {
        false => {
            let s = reduce(&mut n, Reduction::Mean, x, &[2, 3]);
            let s = n.conv(s, [32, 8], Window::of(&[1, 1]));
            let s = n.b.unary(s, Unary::Relu);
            let s = n.conv(s, [8, 32], Window::of(&[1, 1]));
            n.b.unary(s, Unary::Sigmoid)
        }
        true => {
            let axes = ints(&mut n, &[2, 3]);
            let op = Op::Reduce { kind: Reduction::Mean, keep_dims: false, noop_with_empty_axes: false };
            let s = n.b.node(op, &[x, axes]);
            let s = linear(&mut n, s, [32, 8]);
            let bias = weights(&mut n, &[8]);
            let s = binary(&mut n, Binary::Add, s, bias);
            let s = n.b.unary(s, Unary::Relu);
            let s = linear(&mut n, s, [8, 32]);
            let s = n.b.unary(s, Unary::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 });
            reshape(&mut n, s, &[1, 32, 1, 1])
        }
    };
    let gated = binary(&mut n, Binary::Mul, x, gate);
    let window = match reader {
        Reader::Window => Window::of(&[3, 3]).pad(1),
        Reader::Pixels | Reader::Residual | Reader::Twice => Window::of(&[1, 1]),
    };
    let y = n.conv(gated, [32, 32], window);
    let y = match reader {
        Reader::Pixels | Reader::Window => y,
        Reader::Residual => binary(&mut n, Binary::Add, y, x),
        Reader::Twice => binary(&mut n, Binary::Add, y, gated),
    };
    let y = n.conv(y, [32, 2], Window::of(&[1, 1]));
    finished(n, y, &[1, 2, 8, 8], &dims)
}

#[test]
fn they_match_the_reference_and_take_few_steps() {
    let all: [((Graph, Vec<usize>), &[(&str, usize)]); 9] = [
        (rms_tokens(12), &[("rms_norm", 4), ("reduce", 0), ("chain", 0), ("binary", 0)]),
        (rms_tokens(40), &[("rms_norm", 4), ("reduce", 0)]),
        (rms_channels(), &[("rms_norm", 1), ("reduce", 0), ("copy", 0)]),
        (response_norm(), &[("reduce", 2), ("reference", 0)]),
        (
            squeeze_excitation(false, Reader::Pixels),
            &[("global_average", 1), ("scale", 0), ("unary", 0), ("reduce", 0)],
        ),
        (squeeze_excitation(true, Reader::Pixels), &[("scale", 0), ("copy", 0)]),
        (squeeze_excitation(false, Reader::Residual), &[("scale", 0), ("binary", 0)]),
        // Whether the estimate takes the algorithm that can absorb factors depends on the CPU.
        (squeeze_excitation(false, Reader::Window), &[("global_average", 1)]),
        (squeeze_excitation(false, Reader::Twice), &[("scale", 1)]),
    ];
    for ((graph, dims), kernels) in all {
        let input = random(dims.iter().product(), 5);
        let mut inferred = graph.clone();
        ampoule_graph::infer::infer(&mut inferred).unwrap();
        let want = eval::run(&inferred, &[Tensor::f32(&dims, &input)]).unwrap()[0].to_f32().unwrap();
        for isa in tiers() {
            let mut first: Option<Vec<f32>> = None;
            for threads in [1, 3] {
                let options = Options { isa: Some(isa.name().into()), threads, ..defaults() };
                let mut s = Session::new(graph.clone(), std::slice::from_ref(&dims), &options).unwrap();
                s.set_input(0, &input).unwrap();
                s.run().unwrap();
                let got = s.output(0).unwrap().to_vec();
                let e = relative_error(&got, &want);
                assert!(e < 1e-5, "{} on {}: {e:.2e}", graph.name, isa.name());
                assert!(*first.get_or_insert_with(|| got.clone()) == got, "{}: other bits", graph.name);
                let steps: Vec<String> = s.steps().into_iter().map(|s| s.kernel).collect();
                for (name, count) in kernels {
                    let found = steps.iter().filter(|k| k == name).count();
                    assert_eq!(found, *count, "{} of {}: {steps:?}", name, graph.name);
                }
            }
        }
    }
}

#[test]
fn a_response_normalisation_touches_the_image_twice() {
    let (graph, dims) = response_norm();
    let s = Session::new(graph, std::slice::from_ref(&dims), &Options { threads: 1, ..defaults() }).unwrap();
    // Its norm reads the image; one step applies it.
    let whole = s.steps().into_iter().filter(|s| s.dims == [1, 6, 5, 24]);
    let applied: Vec<String> = whole.map(|s| s.kernel).filter(|k| !k.contains("gemm")).collect();
    assert_eq!(applied, ["chain"], "{:?}", s.steps());
}

/// What a network says of patterns that did not apply.
fn missed(graph: Graph, dims: &[usize]) -> Vec<String> {
    let options = Options { threads: 1, explain: true, ..defaults() };
    let s = Session::new(graph.clone(), &[dims.to_vec()], &options).unwrap();
    let quiet = Session::new(graph, &[dims.to_vec()], &Options { threads: 1, ..defaults() }).unwrap();
    assert!(quiet.missed().is_empty());
    s.missed().iter().map(ToString::to_string).collect()
}

#[test]
fn what_nearly_applies_says_why_it_does_not() {
    let image = [1, 4, 6, 6];
    let tokens = [1, 5, 8];
    let case = |dims: &[usize], out: &[usize], build: &dyn Fn(&mut Network, ValueId) -> ValueId| {
        let mut n = Network::new("near", 3);
        let x = n.b.input("x", &known(dims));
        let y = build(&mut n, x);
        let (graph, dims) = finished(n, y, out, dims);
        missed(graph, &dims)
    };
    let instance = case(&image, &image, &|n, x| {
        let (scale, shift) = (n.b.node(Op::Flatten { axis: 1 }, &[x]), weights(n, &[4]));
        let (from, to) = (ints(n, &[0]), ints(n, &[4]));
        let axis = ints(n, &[1]);
        let scale = n.b.node(Op::Slice, &[scale, from, to, axis]);
        let scale = reshape(n, scale, &[4]);
        n.b.node(Op::InstanceNorm { epsilon: 1e-5 }, &[x, scale, shift])
    });
    let gelu = case(&tokens, &tokens, &|n, x| {
        let root = number(n, std::f32::consts::SQRT_2);
        let e = binary(n, Binary::Div, x, root);
        let e = n.b.unary(e, Unary::Erf);
        let one = number(n, 1.0);
        let e = binary(n, Binary::Add, e, one);
        let x = times(n, x, 0.4);
        binary(n, Binary::Mul, x, e)
    });
    let padded = case(&image, &[1, 4, 8, 8], &|n, x| {
        let (pads, value) = (ints(n, &[0, 0, 1, 1, 0, 0, 1, 1]), number(n, 1.0));
        let x = n.b.node(Op::Pad { mode: PadMode::Constant }, &[x, pads, value]);
        n.conv(x, [4, 4], Window::of(&[1, 1]))
    });
    let affine = case(&image, &image, &|n, x| {
        let x = n.conv(x, [4, 4], Window::of(&[1, 1]));
        let s = weights(n, &[4, 1, 1]);
        let y = binary(n, Binary::Mul, x, s);
        binary(n, Binary::Div, y, x)
    });
    let attention = case(&tokens, &tokens, &|n, x| {
        let k = n.b.node(Op::Transpose { perm: vec![0, 2, 1] }, &[x]);
        let scores = n.b.node(Op::MatMul, &[x, k]);
        let scale = reduce(n, Reduction::Max, x, &[-1]);
        let scores = binary(n, Binary::Mul, scores, scale);
        let scores = n.b.node(Op::Softmax { axis: -1, log: false }, &[scores]);
        n.b.node(Op::MatMul, &[scores, x])
    });
    let rms = case(&tokens, &tokens, &|n, x| {
        let square = binary(n, Binary::Mul, x, x);
        let mean = reduce(n, Reduction::Mean, square, &[0]);
        let epsilon = number(n, 1e-6);
        let sum = binary(n, Binary::Add, mean, epsilon);
        let root = n.b.unary(sum, Unary::Sqrt);
        binary(n, Binary::Div, x, root)
    });
    let chain = case(&tokens, &tokens, &|n, x| {
        let all: Vec<ValueId> = (0..5).map(|_| weights(n, &tokens)).collect();
        all.into_iter().fold(x, |y, w| binary(n, Binary::Mul, y, w))
    });
    let layer = case(&tokens, &tokens, &|n, x| {
        let mean = reduce(n, Reduction::Mean, x, &[-1]);
        let centred = binary(n, Binary::Sub, x, mean);
        let square = binary(n, Binary::Mul, x, x);
        let variance = reduce(n, Reduction::Mean, square, &[-1]);
        let epsilon = number(n, 1e-6);
        let sum = binary(n, Binary::Add, variance, epsilon);
        let root = n.b.unary(sum, Unary::Sqrt);
        binary(n, Binary::Div, centred, root)
    });
    for (told, what, why) in [
        (instance, "normalisation in one step", "its scale is not constant"),
        (gelu, "activation in one step", "its factor is 0.4"),
        (padded, "Pad into the window", "its padding's value is 1, not 0"),
        (affine, "factors of channels into weights", "its input is read elsewhere too"),
        (attention, "attention in one step", "its factor is not constant"),
        (rms, "RMSNorm", "its mean is over other axes"),
        (chain, "element-wise functions in one step", "it takes more than 3 operands"),
        (layer, "LayerNorm", "its variance is of another value"),
    ] {
        let found = told.iter().any(|t| t.starts_with(what) && t.contains(why));
        assert!(found, "{what}, {why}: {told:#?}");
    }
}
