//! Transformers as exporters write them: normalisations, activations and attention in many small operators.

use ampoule_graph::op::*;
use ampoule_graph::{Graph, Op, Tensor, ValueId};
use ampoule_testing::{Network, known};

const HEADS: usize = 2;
const WIDTH: usize = 12;

pub fn number(n: &mut Network, v: f32) -> ValueId {
    n.b.constant("number", Tensor::f32(&[], &[v]))
}

pub fn ints(n: &mut Network, v: &[i64]) -> ValueId {
    n.b.constant("ints", Tensor::i64s(v))
}

pub fn binary(n: &mut Network, op: Binary, a: ValueId, b: ValueId) -> ValueId {
    n.b.node(Op::Binary(op), &[a, b])
}

pub fn times(n: &mut Network, x: ValueId, v: f32) -> ValueId {
    let v = number(n, v);
    binary(n, Binary::Mul, x, v)
}

pub fn reshape(n: &mut Network, x: ValueId, dims: &[i64]) -> ValueId {
    let dims = ints(n, dims);
    n.b.node(Op::Reshape { allow_zero: false }, &[x, dims])
}

fn transpose(n: &mut Network, x: ValueId, perm: &[usize]) -> ValueId {
    n.b.node(Op::Transpose { perm: perm.to_vec() }, &[x])
}

pub fn weights(n: &mut Network, dims: &[usize]) -> ValueId {
    let t = n.scaled(dims, 0.5);
    n.b.constant("weights", t)
}

fn mean(n: &mut Network, x: ValueId, axis: i64) -> ValueId {
    let axes = ints(n, &[axis]);
    let op = Op::Reduce { kind: Reduction::Mean, keep_dims: true, noop_with_empty_axes: false };
    n.b.node(op, &[x, axes])
}

/// Layer normalisation over `axis` in seven operators, with a scale and a shift of shape `each`.
fn spelled_layer_norm(n: &mut Network, x: ValueId, axis: i64, each: &[usize]) -> ValueId {
    let m = mean(n, x, axis);
    let d = binary(n, Binary::Sub, x, m);
    let two = number(n, 2.0);
    let square = binary(n, Binary::Pow, d, two);
    let variance = mean(n, square, axis);
    let epsilon = number(n, 1e-5);
    let sum = binary(n, Binary::Add, variance, epsilon);
    let root = n.b.unary(sum, Unary::Sqrt);
    let y = binary(n, Binary::Div, d, root);
    let (scale, shift) = (weights(n, each), weights(n, each));
    let y = binary(n, Binary::Mul, y, scale);
    binary(n, Binary::Add, y, shift)
}

/// Group normalisation as PyTorch writes it.
fn spelled_group_norm(n: &mut Network, x: ValueId, groups: usize, batch: i64, dims: &[i64]) -> ValueId {
    let g = reshape(n, x, &[batch, groups as i64, -1]);
    let ones = n.b.constant("ones", Tensor::f32(&[groups], &vec![1.0; groups]));
    let zeros = n.b.constant("zeros", Tensor::f32(&[groups], &vec![0.0; groups]));
    let g = n.b.node(Op::InstanceNorm { epsilon: 1e-5 }, &[g, ones, zeros]);
    let y = reshape(n, g, dims);
    let (scale, shift) = (weights(n, &[WIDTH, 1, 1]), weights(n, &[WIDTH, 1, 1]));
    let y = binary(n, Binary::Mul, y, scale);
    binary(n, Binary::Add, y, shift)
}

fn linear(n: &mut Network, x: ValueId, io: [usize; 2]) -> ValueId {
    let w = weights(n, &io);
    let y = n.b.node(Op::MatMul, &[x, w]);
    let b = weights(n, &[io[1]]);
    binary(n, Binary::Add, b, y)
}

/// `x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³)))`.
fn spelled_gelu(n: &mut Network, x: ValueId) -> ValueId {
    let three = number(n, 3.0);
    let cube = binary(n, Binary::Pow, x, three);
    let cube = times(n, cube, 0.044_715);
    let sum = binary(n, Binary::Add, x, cube);
    let t = times(n, sum, 0.797_884_6);
    let t = n.b.unary(t, Unary::Tanh);
    let one = number(n, 1.0);
    let t = binary(n, Binary::Add, t, one);
    let half = times(n, x, 0.5);
    binary(n, Binary::Mul, half, t)
}

/// Queries, keys, values of `[batch, tokens, WIDTH]`, each `[batch, heads, tokens, WIDTH/heads]`.
fn heads(n: &mut Network, x: ValueId, [batch, tokens]: [i64; 2]) -> [ValueId; 3] {
    let all = linear(n, x, [WIDTH, 3 * WIDTH]);
    let all = reshape(n, all, &[batch, tokens, 3, HEADS as i64, (WIDTH / HEADS) as i64]);
    let all = transpose(n, all, &[2, 0, 3, 1, 4]);
    [0, 1, 2].map(|i| {
        let index = n.b.constant("index", Tensor::i64(&[], &[i]));
        n.b.node(Op::Gather { axis: 0 }, &[all, index])
    })
}

/// Back to `[batch, tokens, WIDTH]`, with a layer scale and the residual.
fn joined(n: &mut Network, y: ValueId, x: ValueId, [batch, tokens]: [i64; 2]) -> ValueId {
    let y = transpose(n, y, &[0, 2, 1, 3]);
    let y = reshape(n, y, &[batch, tokens, WIDTH as i64]);
    let y = linear(n, y, [WIDTH, WIDTH]);
    let scale = weights(n, &[WIDTH]);
    let y = binary(n, Binary::Mul, y, scale);
    binary(n, Binary::Add, x, y)
}

/// A vision transformer on `batch` images: a class token, attention of scaled queries and keys with a bias of
/// positions, attention as Einstein sums with masked windows, and an image again.
pub fn transformer(batch: usize) -> (Graph, Vec<usize>) {
    let dims = vec![batch, 4, 6, 6];
    let mut n = Network::new("transformer", 900 + batch as u64);
    let (b, w) = (batch as i64, WIDTH as i64);
    let x = n.b.input("x", &known(&dims));
    let x = n.conv(x, [4, WIDTH], Window::of(&[2, 2]).stride(2));
    let x = reshape(&mut n, x, &[b, w, 9]);
    let x = transpose(&mut n, x, &[0, 2, 1]);
    let class = weights(&mut n, &[batch, 1, WIDTH]);
    let x = n.b.node(Op::Concat { axis: 1 }, &[class, x]);
    let places = weights(&mut n, &[1, 10, WIDTH]);
    let x = binary(&mut n, Binary::Add, x, places);

    let y = spelled_layer_norm(&mut n, x, -1, &[WIDTH]);
    let [q, k, v] = heads(&mut n, y, [b, 10]);
    let q = times(&mut n, q, 0.6);
    let k = transpose(&mut n, k, &[0, 1, 3, 2]);
    let k = times(&mut n, k, 0.6);
    let scores = n.b.node(Op::MatMul, &[q, k]);
    let bias = weights(&mut n, &[1, HEADS, 10, 10]);
    let scores = binary(&mut n, Binary::Add, scores, bias);
    let scores = n.b.node(Op::Softmax { axis: -1, log: false }, &[scores]);
    let y = n.b.node(Op::MatMul, &[scores, v]);
    let x = joined(&mut n, y, x, [b, 10]);
    let (scale, shift) = (weights(&mut n, &[WIDTH]), weights(&mut n, &[WIDTH]));
    let y = n.b.node(Op::LayerNorm { axis: -1, epsilon: 1e-6 }, &[x, scale, shift]);
    let y = linear(&mut n, y, [WIDTH, 20]);
    let y = spelled_gelu(&mut n, y);
    let w2 = weights(&mut n, &[20, WIDTH]);
    let y = n.b.node(Op::MatMul, &[y, w2]);
    let y = reshape(&mut n, y, &[10 * b, w]);
    let y = n.batch_norm(y, WIDTH);
    let y = reshape(&mut n, y, &[b, 10, w]);
    let x = binary(&mut n, Binary::Add, x, y);

    // Windows of five tokens of the batch, with a mask for each of the two.
    let x = reshape(&mut n, x, &[2 * b, 5, w]);
    let [q, k, v] = heads(&mut n, x, [2 * b, 5]);
    let op = |e: &str| Op::Einsum { equation: e.into() };
    let scores = n.b.node(op("bhxd,bhyd->bhxy"), &[q, k]);
    let scores = times(&mut n, scores, 0.4);
    let scores = reshape(&mut n, scores, &[b, 2, HEADS as i64, 5, 5]);
    let mask = weights(&mut n, &[1, 2, 1, 5, 5]);
    let scores = binary(&mut n, Binary::Add, scores, mask);
    let scores = reshape(&mut n, scores, &[2 * b, HEADS as i64, 5, 5]);
    let scores = n.b.node(Op::Softmax { axis: -1, log: false }, &[scores]);
    let y = n.b.node(op("bhxy,bhyd->bhxd"), &[scores, v]);
    let x = joined(&mut n, y, x, [2 * b, 5]);

    // The tokens but the first as an image again.
    let x = reshape(&mut n, x, &[b, 10, w]);
    let (from, to, axis) = (ints(&mut n, &[1]), ints(&mut n, &[10]), ints(&mut n, &[1]));
    let x = n.b.node(Op::Slice, &[x, from, to, axis]);
    let x = transpose(&mut n, x, &[0, 2, 1]);
    let x = reshape(&mut n, x, &[b, w, 3, 3]);
    let x = spelled_layer_norm(&mut n, x, 1, &[1, WIDTH, 1, 1]);
    let x = spelled_group_norm(&mut n, x, 3, b, &[b, w, 3, 3]);
    let r = n.b.unary(x, Unary::Relu);
    let r = binary(&mut n, Binary::Mul, r, r);
    let r = times(&mut n, r, 0.9);
    let shift = number(&mut n, -0.4);
    let r = binary(&mut n, Binary::Add, shift, r);
    let one = number(&mut n, 1.0);
    let r = binary(&mut n, Binary::Sub, one, r);
    let x = binary(&mut n, Binary::Mul, r, x);
    let up = weights(&mut n, &[WIDTH, 1, 3, 3]);
    let window = Window::of(&[3, 3]).stride(2).pad(1);
    let op = Op::ConvTranspose { window, group: WIDTH, output_padding: vec![1, 1], output_shape: vec![] };
    let x = n.b.node(op, &[x, up]);
    let y = n.conv(x, [WIDTH, 2], Window::of(&[1, 1]));
    n.b.output(y, "y", &known(&[batch, 2, 6, 6]));
    (n.b.finish(), dims)
}
