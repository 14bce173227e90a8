//! Pruned graphs compute what the original computes when nobody reads the channels that are gone; and what
//! can be expressed by others is not missed.

mod drawn;

use ampoule_engine::{Options, Session};
use ampoule_graph::op::*;
use ampoule_graph::{Graph, Op, Tensor, passes};
use ampoule_optimize::prune::{
    Importance, Moments, Ratio, Structure, importance, reconstruct, remove, select,
};
use ampoule_testing::{Network, known, largest_error, random};

/// The defaults, with the features that `AMPOULE_ISA` asks for.
fn defaults() -> Options {
    Options { isa: ampoule_testing::asked_tier(), ..Default::default() }
}

/// Sums, a concatenation, depthwise, batch and instance normalisation, transposed and strided convolutions,
/// PReLU, constants for each channel, resampling.
fn unet() -> Graph {
    let mut n = Network::new("unet", 0);
    let x = n.b.input("x", &known(&[2, 3, 16, 12]));
    let same = Window::of(&[3, 3]).pad(1);
    let a = n.conv(x, [3, 24], same.clone());
    let a = n.batch_norm(a, 24);
    let a = n.b.unary(a, Unary::Relu);
    let b = n.conv(a, [24, 24], same.clone());
    let slope = n.tensor(&[24, 1, 1]);
    let slope = n.b.constant("slope", slope);
    let b = n.b.node(Op::Binary(Binary::PRelu), &[b, slope]);
    let b = n.b.add(a, b);
    let c = n.conv(b, [24, 40], same.clone().stride(2));
    let (s, t) = (n.tensor(&[40]), n.tensor(&[40]));
    let c = n.b.instance_norm(c, s, t, 1e-5);
    let w = n.tensor(&[40, 1, 3, 3]);
    let w = n.b.constant("depthwise", w);
    let c = n.b.node(Op::Conv { window: same.clone(), group: 40 }, &[c, w]);
    let factor = n.tensor(&[1, 40, 1, 1]);
    let factor = n.b.constant("factor", factor);
    let c = n.b.node(Op::Binary(Binary::Mul), &[c, factor]);
    let (w, bias) = (n.tensor(&[40, 32, 2, 2]), n.tensor(&[32]));
    let up = n.b.conv_transpose(c, w, Some(bias), Window::of(&[2, 2]).stride(2), vec![]);
    let low = n.conv(c, [40, 16], Window::of(&[1, 1]));
    let low = n.b.resize_linear(low, &[2.0, 2.0], Coordinates::HalfPixel);
    let y = n.b.concat(&[up, low, b]);
    let y = n.conv(y, [72, 24], same.clone());
    let y = n.b.unary(y, Unary::Relu);
    let y = n.conv(y, [24, 3], Window::of(&[1, 1]));
    n.b.output(y, "y", &known(&[2, 3, 16, 12]));
    n.b.finish()
}

/// A classifier: pooling, an image that becomes a row, a hidden layer.
fn classifier() -> Graph {
    let mut n = Network::new("classifier", 50);
    let x = n.b.input("x", &known(&[2, 3, 16, 12]));
    let a = n.conv(x, [3, 32], Window::of(&[3, 3]).pad(1));
    let pool = Pool { window: Window::of(&[4, 4]).stride(4), ceil_mode: false, count_include_pad: false };
    let a = n.b.node(Op::MaxPool(pool), &[a]);
    let a = n.b.unary(a, Unary::Relu);
    let a = n.b.node(Op::Flatten { axis: 1 }, &[a]);
    let gemm = Op::Gemm { alpha: 1.0, beta: 1.0, trans_a: false, trans_b: true };
    let (w, b) = (n.tensor(&[24, 32 * 12]), n.tensor(&[24]));
    let (w, b) = (n.b.constant("w1", w), n.b.constant("b1", b));
    let h = n.b.node(gemm, &[a, w, b]);
    let h = n.b.unary(h, Unary::Relu);
    let w = n.tensor(&[24, 4]);
    let w = n.b.constant("w2", w);
    let y = n.b.node(Op::MatMul, &[h, w]);
    n.b.output(y, "y", &known(&[2, 4]));
    n.b.finish()
}

/// Channels that are normalised in groups: four of four channels after a sum, and each by itself; as one operator, or as the
/// exporters of PyTorch spell it.
fn grouped(spelled: bool) -> Graph {
    let mut n = Network::new("grouped", 60);
    let x = n.b.input("x", &known(&[2, 3, 16, 12]));
    let same = Window::of(&[3, 3]).pad(1);
    let norm = |n: &mut Network, x, groups, channels: usize| {
        let each: &[usize] = if spelled { &[channels, 1, 1] } else { &[channels] };
        let (s, t) = (n.tensor(each), n.tensor(each));
        let (s, t) = (n.b.constant("scale", s), n.b.constant("shift", t));
        if spelled {
            let ints = |n: &mut Network, v: &[i64]| n.b.constant("shape", Tensor::i64s(v));
            let all = |n: &mut Network, v| n.b.constant("all", Tensor::f32(&[groups], &vec![v; groups]));
            let (inside, back) = (ints(n, &[0, groups as i64, -1]), ints(n, &[2, channels as i64, 16, 12]));
            let (ones, zeros) = (all(n, 1.0), all(n, 0.0));
            let y = n.b.node(Op::Reshape { allow_zero: false }, &[x, inside]);
            let y = n.b.node(Op::InstanceNorm { epsilon: 1e-5 }, &[y, ones, zeros]);
            let y = n.b.node(Op::Reshape { allow_zero: false }, &[y, back]);
            let y = n.b.node(Op::Binary(Binary::Mul), &[y, s]);
            return n.b.node(Op::Binary(Binary::Add), &[y, t]);
        }
        n.b.node(Op::GroupNorm { groups, epsilon: 1e-5 }, &[x, s, t])
    };
    let a = n.conv(x, [3, 64], same.clone());
    let a = norm(&mut n, a, 16, 64);
    let b = n.conv(a, [64, 64], same.clone());
    let a = n.b.add(a, b);
    let a = norm(&mut n, a, 32, 64);
    let a = n.b.unary(a, Unary::Relu);
    let c = n.conv(a, [64, 24], same);
    let c = norm(&mut n, c, 24, 24);
    let y = n.conv(c, [24, 3], Window::of(&[1, 1]));
    n.b.output(y, "y", &known(&[2, 3, 16, 12]));
    n.b.finish()
}

/// Two blocks of rows as transformers have them, whose hidden channels lie on the last axis; there are as many rows as channels of
/// one of them.
fn rows() -> Graph {
    let mut n = Network::new("rows", 80);
    let x = n.b.input("x", &known(&[2, 3, 16, 12]));
    let (w, b) = (n.tensor(&[12, 16]), n.tensor(&[16]));
    let (w, b) = (n.b.constant("w0", w), n.b.constant("b0", b));
    let x = n.b.node(Op::MatMul, &[x, w]);
    let mut y = n.b.add(x, b);
    for hidden in [16, 40] {
        let (w, b) = (n.tensor(&[16, hidden]), n.tensor(&[hidden]));
        let (w, b) = (n.b.constant("w", w), n.b.constant("b", b));
        let h = n.b.node(Op::MatMul, &[y, w]);
        let h = n.b.add(h, b);
        let h = n.b.unary(h, Unary::Relu);
        let factor = n.tensor(&[1, 1, hidden]);
        let factor = n.b.constant("factor", factor);
        let h = n.b.node(Op::Binary(Binary::Mul), &[h, factor]);
        let w = n.tensor(&[hidden, 16]);
        let w = n.b.constant("w", w);
        let h = n.b.node(Op::MatMul, &[h, w]);
        y = n.b.add(h, y);
    }
    n.b.output(y, "y", &known(&[2, 3, 16, 16]));
    n.b.finish()
}

/// Channels that are taken apart again: two halves of a layer that are multiplied, as gated units have them, on axis 1 and on the
/// last one, and a split whose parts have readers of their own.
fn taken_apart() -> Graph {
    let mut n = Network::new("taken apart", 90);
    let x = n.b.input("x", &known(&[2, 3, 16, 12]));
    let half = |n: &mut Network, x, axis: i64, [start, end]: [i64; 2]| {
        let [start, end, axes] = [start, end, axis].map(|v| n.b.constant("at", Tensor::i64s(&[v])));
        n.b.node(Op::Slice, &[x, start, end, axes])
    };
    let h = n.conv(x, [3, 64], Window::of(&[3, 3]).pad(1));
    let (a, b) = (half(&mut n, h, 1, [0, 32]), half(&mut n, h, -3, [32, i64::MAX]));
    let a = n.b.unary(a, Unary::Sigmoid);
    let h = n.b.node(Op::Binary(Binary::Mul), &[a, b]);
    let h = n.conv(h, [32, 40], Window::of(&[1, 1]));
    // Every other row: all channels stay.
    let [start, end, axes, steps] = [0, 16, 2, 2].map(|v| n.b.constant("at", Tensor::i64s(&[v])));
    let h = n.b.node(Op::Slice, &[h, start, end, axes, steps]);
    let sizes = n.b.constant("sizes", Tensor::i64s(&[24, 16]));
    let split = n.b.node(Op::Split { axis: 1 }, &[h, sizes]);
    // Becomes the second output of the split below.
    let q = n.b.node(Op::Identity, &[h]);
    let p = n.conv(split, [24, 16], Window::of(&[1, 1]));
    let h = n.b.node(Op::Concat { axis: 1 }, &[p, q]);
    let h = n.conv(h, [32, 3], Window::of(&[1, 1]));
    let w = n.tensor(&[12, 64]);
    let w = n.b.constant("w", w);
    let h = n.b.node(Op::MatMul, &[h, w]);
    let (a, b) = (half(&mut n, h, -1, [0, 32]), half(&mut n, h, 3, [32, 64]));
    // Some of the channels go through a convolution of each by itself, on axis 1.
    let (whole, part) = (half(&mut n, b, -1, [0, 16]), half(&mut n, b, -1, [16, 32]));
    let part = n.b.node(Op::Transpose { perm: vec![0, 3, 1, 2] }, &[part]);
    let weight = n.tensor(&[16, 1, 3, 3]);
    let weight = n.b.constant("w", weight);
    let part = n.b.node(Op::Conv { window: Window::of(&[3, 3]).pad(1), group: 16 }, &[part, weight]);
    let part = n.b.node(Op::Transpose { perm: vec![0, 2, 3, 1] }, &[part]);
    let b = n.b.node(Op::Concat { axis: 3 }, &[whole, part]);
    let h = n.b.node(Op::Binary(Binary::Mul), &[a, b]);
    let w = n.tensor(&[32, 5]);
    let w = n.b.constant("w", w);
    let y = n.b.node(Op::MatMul, &[h, w]);
    n.b.output(y, "y", &known(&[2, 3, 8, 5]));
    let mut g = n.b.finish();
    g.nodes.retain(|n| n.output() != Some(q));
    g.nodes.iter_mut().filter(|n| n.output() == Some(split)).for_each(|n| n.outputs.push(Some(q)));
    g
}

fn prepared(mut g: Graph) -> Graph {
    passes::trainable(&mut g).unwrap();
    g
}

fn run(g: &Graph, observe: Option<&Moments>) -> Vec<f32> {
    let options = Options { observe: observe.map(Moments::observe), threads: 2, ..defaults() };
    let mut s = Session::new(g.clone(), &[vec![2, 3, 16, 12]], &options).unwrap();
    s.set_input(0, &random(2 * 3 * 16 * 12, 77)).unwrap();
    s.run().unwrap();
    s.output(0).unwrap().to_vec()
}

/// The original in which nobody reads a class that goes.
fn deaf(g: &Graph, s: &Structure, keep: &[bool]) -> Graph {
    let mut out = g.clone();
    for n in &g.nodes {
        let Some((x, w)) = n.input(0).zip(n.input(1)) else { continue };
        let Some(t) = g.constants.get(&w) else { continue };
        let axis = match n.op {
            Op::Conv { group: 1, .. } | Op::Gemm { trans_b: true, .. } => 1,
            Op::ConvTranspose { .. } | Op::MatMul => 0,
            _ => continue,
        };
        let (dims, mut v) = (t.dims().to_vec(), t.to_f32().unwrap());
        let inner: usize = dims[axis + 1..].iter().product();
        let gone = s.gone(x, keep);
        // Channels that lie on another axis than the product's all stay.
        if gone.len() != dims[axis] {
            continue;
        }
        for (i, v) in v.iter_mut().enumerate() {
            if gone[i / inner % dims[axis]] {
                *v = 0.0;
            }
        }
        out.set_constant(w, Tensor::f32(&dims, &v));
    }
    out
}

#[test]
fn removal_is_not_reading() {
    for g in [unet(), classifier(), rows(), grouped(false), grouped(true), taken_apart()] {
        let g = prepared(g);
        let s = Structure::of(&g);
        assert!(s.groups.len() >= 2, "{:?}", s.groups);
        for kind in [Importance::L1, Importance::L2, Importance::Median] {
            let scores = importance(&g, &s, kind, None);
            for ratio in [Ratio::Each(0.3), Ratio::Each(0.7), Ratio::Global(0.5), Ratio::Each(1.0)] {
                let keep = select(&s, &scores, &ratio);
                let small = remove(&g, &s, &keep).unwrap();
                assert!(small.parameter_count() < g.parameter_count());
                let e = largest_error(&run(&small, None), &run(&deaf(&g, &s, &keep), None));
                assert!(e < 1e-4, "{} {kind:?} {ratio:?}: {e}", g.name);
            }
        }
        let keep = select(&s, &importance(&g, &s, Importance::L2, None), &Ratio::Each(0.0));
        assert!(keep.iter().all(|k| *k), "a ratio of 0 keeps everything");
        assert_eq!(run(&remove(&g, &s, &keep).unwrap(), None), run(&g, None));
    }
}

#[test]
fn groups_follow_sums_and_frozen_layers_say_why() {
    let g = prepared(unet());
    let s = Structure::of(&g);
    let shared = s.groups.iter().find(|g| g.layers.len() == 2).expect("the two sides of a sum");
    assert_eq!(shared.channels(), 24);
    let [last] = &s.frozen[..] else { panic!("{:?}", s.frozen) };
    assert!(last.reason.contains("model's output"), "{last:?}");
}

#[test]
fn channels_that_are_normalised_together_go_together() {
    for spelled in [false, true] {
        let g = prepared(grouped(spelled));
        let s = Structure::of(&g);
        let mut channels: Vec<usize> = s.groups.iter().map(|g| g.channels()).collect();
        channels.sort();
        assert_eq!(channels, [24, 64], "{:?}", s.frozen);
        let keep = select(&s, &importance(&g, &s, Importance::L2, None), &Ratio::Each(0.5));
        let small = remove(&g, &s, &keep).unwrap();
        let groups: Vec<usize> = small
            .nodes
            .iter()
            .filter_map(|n| if let Op::GroupNorm { groups, .. } = n.op { Some(groups) } else { None })
            .collect();
        assert_eq!(groups, [8, 16, 16]);
    }
}

#[test]
fn parts_of_a_layer_stay_apart() {
    let g = prepared(taken_apart());
    let s = Structure::of(&g);
    let channels: Vec<usize> = s.groups.iter().map(|g| g.channels()).collect();
    let mut sorted = channels.clone();
    sorted.sort();
    assert_eq!(sorted, [16, 16, 24, 32, 32, 64], "{:?}", s.frozen);
    let names: std::collections::BTreeSet<String> = s.groups.iter().map(|g| g.name()).collect();
    assert_eq!(names.len(), 6, "{names:?}");
}

#[test]
fn hidden_channels_of_rows_go_and_the_rows_themselves_stay() {
    let g = prepared(rows());
    let s = Structure::of(&g);
    let mut channels: Vec<usize> = s.groups.iter().map(|g| g.channels()).collect();
    channels.sort();
    assert_eq!(channels, [16, 40], "{:?}", s.frozen);
    // The moments are those of the rows, whatever lies on axis 1.
    let moments = Moments::new(&g);
    run(&g, Some(&moments));
    let keep = select(&s, &importance(&g, &s, Importance::Activation, Some(&moments)), &Ratio::Each(0.5));
    let fitted = remove(&reconstruct(&g, &s, &keep, &moments), &s, &keep).unwrap();
    let plain = largest_error(&run(&remove(&g, &s, &keep).unwrap(), None), &run(&g, None));
    let fitted = largest_error(&run(&fitted, None), &run(&g, None));
    assert!(fitted < plain, "{fitted} {plain}");
}

#[test]
fn what_others_express_is_not_missed() {
    // Half of the first layer's filters are sums of the other half.
    let mut n = Network::new("copies", 9);
    let x = n.b.input("x", &known(&[2, 3, 16, 12]));
    let own = random(8 * 27, 3);
    let twice: Vec<f32> = (0..8 * 27).map(|i| 0.5 * own[i] + 0.25 * own[(i + 27) % own.len()]).collect();
    let w = Tensor::f32(&[16, 3, 3, 3], &[own, twice].concat());
    let a = n.b.conv(x, w, None, Window::of(&[3, 3]).pad(1));
    let y = n.conv(a, [16, 5], Window::of(&[3, 3]).pad(1));
    n.b.output(y, "y", &known(&[2, 5, 16, 12]));
    let g = prepared(n.b.finish());
    let s = Structure::of(&g);
    let moments = Moments::new(&g);
    let want = run(&g, Some(&moments));
    let keep = select(&s, &importance(&g, &s, Importance::L2, None), &Ratio::Each(0.5));
    let plain = largest_error(&run(&remove(&g, &s, &keep).unwrap(), None), &want);
    let fitted = remove(&reconstruct(&g, &s, &keep, &moments), &s, &keep).unwrap();
    let fitted = largest_error(&run(&fitted, None), &want);
    assert!(plain > 0.05 && fitted < 2e-3, "{plain} {fitted}");
    // What carries most stays.
    let scores = importance(&g, &s, Importance::Activation, Some(&moments));
    assert!(scores.iter().all(|v| v.is_finite()));
}
