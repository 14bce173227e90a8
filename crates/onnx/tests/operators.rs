//! Every operator comes back from a file as it was written, attributes included.

use ampoule_graph::build::Builder;
use ampoule_graph::op::*;
use ampoule_graph::{DType, Dim, Graph, Op, Tensor};

/// Writes a graph of one node and reads it back.
fn round_trip(op: &Op) -> Op {
    let mut b = Builder::new("one");
    let inputs: Vec<_> =
        (0..op.row().inputs.0).map(|i| b.input(&format!("x{i}"), &[Dim::Known(2)])).collect();
    let y = b.node(op.clone(), &inputs);
    b.output(y, "y", &[]);
    let bytes = ampoule_onnx::to_bytes(&b.finish()).unwrap();
    let g = ampoule_onnx::from_bytes(bytes.into(), None, &Default::default()).unwrap();
    assert!(g.opset >= op.row().since, "{} in a file of operator set {}", op.name(), g.opset);
    g.nodes[0].op.clone()
}

/// The functions of the table, with attributes other than the defaults.
fn functions() -> Vec<Op> {
    let unary = Unary::ALL.iter().map(|u| {
        let mut u = *u;
        for (k, (_, number)) in u.numbers().into_iter().enumerate() {
            *number += 0.125 * (k + 1) as f32;
        }
        if let Unary::Gelu { tanh } = &mut u {
            *tanh = true;
        }
        Op::Unary(u)
    });
    let binary = Binary::ALL.iter().map(|b| match b {
        Binary::Mod { .. } => Op::Binary(Binary::Mod { fmod: true }),
        b => Op::Binary(*b),
    });
    let variadic = Variadic::ALL.iter().map(|v| Op::Variadic(*v));
    let reduce = |k: &Reduction| Op::Reduce { kind: *k, keep_dims: false, noop_with_empty_axes: true };
    unary.chain(binary).chain(variadic).chain(Reduction::ALL.iter().map(reduce)).collect()
}

fn window() -> Window {
    let padding = Padding::Explicit(vec![1, 0, 2, 3]);
    Window { kernel: vec![3, 2], strides: vec![2, 1], dilations: vec![1, 2], padding }
}

fn others() -> Vec<Op> {
    let same = Window { padding: Padding::SameLower, ..window() };
    let pool = |window| Pool { window, ceil_mode: true, count_include_pad: false };
    let resize = |interpolation, coordinates| Resize {
        interpolation,
        coordinates,
        antialias: true,
        axes: vec![2, 3],
        aspect: 2,
    };
    vec![
        Op::Conv { window: window(), group: 3 },
        Op::ConvTranspose {
            window: same.clone(),
            group: 2,
            output_padding: vec![1, 0],
            output_shape: vec![9, 8],
        },
        Op::MaxPool(pool(same)),
        Op::AveragePool(Pool { count_include_pad: true, ..pool(window()) }),
        Op::GlobalAveragePool,
        Op::GlobalMaxPool,
        Op::BatchNorm { epsilon: 0.5 },
        Op::InstanceNorm { epsilon: 0.5 },
        Op::LayerNorm { axis: 1, epsilon: 0.5 },
        Op::GroupNorm { groups: 4, epsilon: 0.5 },
        Op::Clip,
        Op::Where,
        Op::Cast { to: DType::I64 },
        Op::Quantize { axis: 2, to: DType::U8 },
        Op::Dequantize { axis: 2 },
        Op::MatMul,
        Op::Gemm { alpha: 0.5, beta: 2.0, trans_a: true, trans_b: true },
        Op::Softmax { axis: 1, log: false },
        Op::Softmax { axis: 1, log: true },
        Op::ArgExtreme { max: false, axis: 2, keep_dims: false, last: true },
        Op::TopK { axis: 2, largest: false },
        Op::Resize(resize(
            Interpolation::Cubic { a: -0.5, exclude_outside: true },
            Coordinates::AlignCorners,
        )),
        Op::Resize(resize(Interpolation::Nearest(Nearest::Ceil), Coordinates::HalfPixelSymmetric)),
        Op::Concat { axis: 2 },
        Op::Split { axis: 2 },
        Op::Slice,
        Op::Pad { mode: PadMode::Wrap },
        Op::Reshape { allow_zero: true },
        Op::Flatten { axis: 2 },
        Op::Transpose { perm: vec![1, 0, 2] },
        Op::Squeeze,
        Op::Unsqueeze,
        Op::Expand,
        Op::Tile,
        Op::Gather { axis: 2 },
        Op::Shape { start: 1, end: Some(-1) },
        Op::Size,
        Op::ConstantOfShape { value: Tensor::i64(&[1], &[7]) },
        Op::Range,
        Op::Identity,
        Op::DepthToSpace { block: 2, column_row: true },
        Op::SpaceToDepth { block: 2 },
    ]
}

#[test]
fn operators_survive_a_file() {
    for op in functions().into_iter().chain(others()) {
        assert_eq!(round_trip(&op), op);
    }
}

#[test]
fn too_many_inputs_or_outputs_are_refused() {
    let mut b = Builder::new("two outputs");
    let x = b.input("x", &[Dim::Known(2)]);
    let y = b.node(Op::Identity, &[x]);
    b.output(y, "y", &[]);
    let mut g = b.finish();
    let (second, relu) = (g.fresh("second"), Op::Unary(Unary::Relu));
    g.nodes[0].op = relu;
    g.nodes[0].outputs.push(Some(second));
    let read = |g: &Graph| {
        let bytes = ampoule_onnx::to_bytes(g).unwrap();
        ampoule_onnx::from_bytes(bytes.into(), None, &Default::default()).unwrap().unsupported()
    };
    assert_eq!(read(&g)[0].reason, "2 outputs, at most 1 expected");
    g.nodes[0].outputs.pop();
    g.nodes[0].inputs.push(Some(x));
    assert_eq!(read(&g)[0].reason, "2 inputs, 1 expected");
}
