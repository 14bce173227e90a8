//! Damaged models never panic: they are read, refused, or rewritten. Built with overflow checks.

use ampoule_graph::build::Builder;
use ampoule_graph::op::*;
use ampoule_graph::{Dim, Op, Tensor, infer, passes};
use ampoule_onnx as onnx;
use proptest::prelude::*;

fn model() -> Vec<u8> {
    let mut b = Builder::new("small");
    let x = b.input("x", &[Dim::Known(1), Dim::Known(2), Dim::Symbol("h".into()), Dim::Known(7)]);
    let pads = b.constant("pads", Tensor::i64s(&[0, 0, 1, 1, 0, 0, 1, 1]));
    let p = b.node(Op::Pad { mode: PadMode::Constant }, &[x, pads]);
    let w = Tensor::f32(&[4, 2, 3, 3], &[0.1; 72]);
    let c = b.conv(p, w, Some(Tensor::f32(&[4], &[0.5; 4])), Window::of(&[3, 3]).stride(2));
    let t = Tensor::f32(&[4, 2, 2, 2], &[0.2; 32]);
    let u = b.conv_transpose(c, t, None, Window::of(&[2, 2]).stride(2), vec![]);
    let pool =
        Pool { window: Window::of(&[3, 3]).stride(2).pad(1), ceil_mode: true, count_include_pad: true };
    let a = b.node(Op::AveragePool(pool), &[u]);
    let r = b.resize_linear(a, &[2.0, 1.5], Coordinates::HalfPixel);
    let (s, e) = (b.constant("starts", Tensor::i64s(&[1])), b.constant("ends", Tensor::i64s(&[-1])));
    let axes = b.constant("axes", Tensor::i64s(&[2]));
    let sliced = b.node(Op::Slice, &[r, s, e, axes]);
    let shape = b.node(Op::Shape { start: 0, end: Some(2) }, &[sliced]);
    let rest = b.constant("rest", Tensor::i64s(&[-1]));
    let target = b.node(Op::Concat { axis: 0 }, &[shape, rest]);
    let y = b.node(Op::Reshape { allow_zero: false }, &[sliced, target]);
    let y = b.node(Op::Softmax { axis: 1, log: false }, &[y]);
    b.output(y, "y", &[]);
    let mut g = b.finish();
    let last = g.outputs[0];
    g.values[last.0].shape = None;
    onnx::to_bytes(&g).unwrap()
}

fn digest(bytes: Vec<u8>) {
    let limits = onnx::Limits { constant_bytes: 1 << 24, ..Default::default() };
    let Ok(mut g) = onnx::from_bytes(bytes.into(), None, &limits) else { return };
    let _ = onnx::to_bytes(&g);
    for i in 0..g.inputs.len() {
        let shape = g.value(g.inputs[i]).shape.clone().unwrap_or_default();
        let dims: Vec<usize> = shape.iter().map(|d| d.known().unwrap_or(9)).collect();
        if dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).is_some_and(|n| n < 1 << 20) {
            g.set_input_dims(i, &dims);
        }
    }
    if infer::infer(&mut g).is_ok() {
        let _ = passes::optimize(&mut g);
    }
}

#[test]
fn the_undamaged_model_is_fine() {
    let g = onnx::from_bytes(model().into(), None, &onnx::Limits::default()).unwrap();
    assert!(g.unsupported().is_empty());
}

/// A graph of one node over constants, built, written, read and folded.
fn folded(op: Op, inputs: &[Tensor]) {
    let mut b = Builder::new("one");
    let ids: Vec<_> = inputs.iter().map(|t| b.constant("c", t.clone())).collect();
    let y = b.node(op, &ids);
    b.output(y, "y", &[]);
    let mut g = b.finish();
    g.values[y.0].shape = None;
    digest(onnx::to_bytes(&g).unwrap());
}

#[test]
fn extremes_that_once_got_through() {
    let empty = Tensor::f32(&[0], &[]);
    let one = |v: i64| Tensor::i64s(&[v]);
    folded(Op::Slice, &[empty.clone(), one(-1), one(-100), one(0), one(-1)]);
    folded(Op::DepthToSpace { block: 1 << 32, column_row: false }, &[Tensor::f32(&[1, 4, 1, 1], &[0.0; 4])]);
    let huge = Tensor::i64s(&[3, 6_148_914_691_236_517_206]);
    folded(Op::Expand, &[Tensor::f32(&[3, 1], &[0.0; 3]), huge]);
    let wrap = Tensor::i64s(&[i64::MAX, i64::MAX, 4]);
    folded(Op::Split { axis: 0 }, &[Tensor::f32(&[2], &[0.0; 2]), wrap]);
    let scalar = Tensor::f32(&[], &[1.0]);
    folded(Op::GroupNorm { groups: 1, epsilon: 0.0 }, &[scalar.clone(), scalar.clone(), scalar]);
    let window = Window { padding: Padding::Explicit(vec![(1 << 34) - 1, 0]), ..Window::of(&[1 << 34]) };
    let pool = Pool { window, ceil_mode: false, count_include_pad: false };
    folded(Op::MaxPool(pool), &[Tensor::f32(&[1, 1, 1], &[0.0])]);
    // Doubling concatenations of shape data.
    let mut b = Builder::new("double");
    let mut c = b.constant("c", Tensor::i64s(&[1; 64]));
    for _ in 0..60 {
        c = b.node(Op::Concat { axis: 0 }, &[c, c]);
    }
    b.output(c, "y", &[]);
    let mut g = b.finish();
    g.values[c.0].shape = None;
    digest(onnx::to_bytes(&g).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn damaged_bytes(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        whole in prop::bool::weighted(0.9),
    ) {
        let mut bytes = model();
        for (at, value) in changes {
            let i = at.index(bytes.len());
            bytes[i] = value;
        }
        if !whole {
            bytes.truncate(cut.index(bytes.len()));
        }
        digest(bytes);
    }

    #[test]
    fn random_integers_in_place_of_shapes(values in prop::collection::vec(prop_oneof![any::<i64>(), -9i64..9], 8)) {
        let mut g = onnx::from_bytes(model().into(), None, &onnx::Limits::default()).unwrap();
        let ids: Vec<_> = g.constants.iter().filter(|(_, t)| t.to_i64().is_some()).map(|(id, t)| (*id, t.len())).collect();
        for (id, n) in ids {
            g.set_constant(id, Tensor::i64s(&values[..n.min(8)]));
        }
        digest(onnx::to_bytes(&g).unwrap());
    }
}
