//! Depthwise convolutions and the pointwise ones after them as one step: against the reference, and the same bits for
//! every number of threads.

use super::{PRECISIONS, defaults};
use ampoule_engine::{Options, Precision, Session};
use ampoule_graph::op::*;
use ampoule_graph::{DType, Graph, Op, Tensor, ValueId, eval};
use ampoule_testing::{Network, known, random, relative_error, tiers};

/// What stands around both convolutions.
#[derive(Clone, Copy, Debug)]
struct Case {
    dims: [usize; 4],
    kernel: usize,
    stride: usize,
    channels: [usize; 2],
    between: Option<Unary>,
    after: Option<Unary>,
    residual: bool,
    quantized: bool,
}

const PLAIN: Case = Case {
    dims: [1, 72, 37, 29],
    kernel: 3,
    stride: 1,
    channels: [72, 24],
    between: Some(Unary::Relu),
    after: None,
    residual: false,
    quantized: false,
};

const SWISH: Unary = Unary::Swish { alpha: 1.0 };

/// Kernels, strides, batches, tails of channels, of pixels and of rows.
fn cases() -> Vec<Case> {
    let floats = [
        PLAIN,
        Case { kernel: 5, between: None, after: Some(Unary::Relu), ..PLAIN },
        Case { stride: 2, dims: [2, 70, 61, 45], channels: [70, 33], between: Some(SWISH), ..PLAIN },
        Case { kernel: 7, channels: [72, 72], residual: true, after: Some(SWISH), ..PLAIN },
        Case { kernel: 4, channels: [72, 5], residual: false, between: Some(SWISH), ..PLAIN },
    ];
    let wider = |c: Case| Case { dims: [c.dims[0], c.dims[1], 83, 47], quantized: true, ..c };
    floats.into_iter().chain(floats.map(wider)).collect()
}

/// Quantized and dequantized, where the case is.
pub(super) fn coded(n: &mut Network, quantized: bool, x: ValueId) -> ValueId {
    if !quantized {
        return x;
    }
    let scale = n.b.constant("scale", Tensor::f32(&[], &[0.03]));
    let zero = n.b.constant("zero", Tensor::from_i64(DType::U8, &[], &[100]).unwrap());
    let q = n.b.node(Op::Quantize { axis: 1, to: DType::U8 }, &[x, scale, zero]);
    n.b.node(Op::Dequantize { axis: 1 }, &[q, scale, zero])
}

pub(super) fn convolution(
    n: &mut Network,
    quantized: bool,
    x: ValueId,
    dims: [usize; 4],
    window: Window,
    group: usize,
) -> ValueId {
    let w = match quantized {
        false => {
            let t = n.tensor(&dims);
            n.b.constant("w", t)
        }
        true => {
            let values: Vec<i64> =
                (0..dims.iter().product::<usize>()).map(|i| (i * 37 % 255) as i64 - 127).collect();
            let w = n.b.constant("w", Tensor::from_i64(DType::I8, &dims, &values).unwrap());
            let steps = vec![0.02 / (dims[1] * dims[2]) as f32; dims[0]];
            let scale = n.b.constant("scale", Tensor::f32(&[dims[0]], &steps));
            let zero =
                n.b.constant("zero", Tensor::from_i64(DType::I8, &[dims[0]], &vec![0; dims[0]]).unwrap());
            n.b.node(Op::Dequantize { axis: 0 }, &[w, scale, zero])
        }
    };
    let bias = n.tensor(&dims[..1]);
    let bias = n.b.constant("bias", bias);
    n.b.node(Op::Conv { window, group }, &[x, w, bias])
}

fn network(c: &Case) -> Graph {
    let mut n = Network::new("separable", 7);
    let x = n.b.input("x", &known(&c.dims));
    let x = coded(&mut n, c.quantized, x);
    let [wide, out] = c.channels;
    let window = Window::of(&[c.kernel, c.kernel]).stride(c.stride).pad(c.kernel as i64 / 2);
    let mut y = convolution(&mut n, c.quantized, x, [wide, 1, c.kernel, c.kernel], window, wide);
    if let Some(f) = c.between {
        y = n.b.unary(y, f);
    }
    y = coded(&mut n, c.quantized, y);
    y = convolution(&mut n, c.quantized, y, [out, wide, 1, 1], Window::of(&[1, 1]), 1);
    if c.residual {
        y = n.b.node(Op::Binary(Binary::Add), &[y, x]);
    }
    if let Some(f) = c.after {
        y = n.b.unary(y, f);
    }
    y = coded(&mut n, c.quantized, y);
    let side = |s: usize| (s + 2 * (c.kernel / 2) - c.kernel) / c.stride + 1;
    n.b.output(y, "y", &known(&[c.dims[0], out, side(c.dims[2]), side(c.dims[3])]));
    n.b.finish()
}

/// Runs a network of one input on every tier, precision and number of threads: near the reference, the same bits for
/// every number of threads and, where it is quantized, on every tier. `check` sees the kernels.
pub(super) fn alike_everywhere(
    graph: &Graph,
    dims: &[usize],
    quantized: bool,
    what: &str,
    check: impl Fn(&[String]),
) {
    let input = random(dims.iter().product(), 11);
    let mut inferred = graph.clone();
    ampoule_graph::infer::infer(&mut inferred).unwrap();
    let want = eval::run(&inferred, &[Tensor::f32(dims, &input)]).unwrap()[0].to_f32().unwrap();
    let mut of_all_tiers: Option<Vec<f32>> = None;
    for (isa, (precision, most)) in tiers().into_iter().flat_map(|i| PRECISIONS.map(|p| (i, p))) {
        if quantized && precision != Precision::Fp32 {
            continue;
        }
        let mut first: Option<Vec<f32>> = None;
        for threads in [1, 2, 5] {
            let options = Options { isa: Some(isa.name().into()), threads, precision, ..defaults() };
            let mut s = Session::new(graph.clone(), &[dims.to_vec()], &options).unwrap();
            for _ in 0..2 {
                s.set_input(0, &input).unwrap();
                s.run().unwrap();
            }
            let got = s.output(0).unwrap().to_vec();
            check(&s.steps().into_iter().map(|s| s.kernel).collect::<Vec<_>>());
            // A value halfway between two codes may become either.
            let most = if quantized { 2e-3 } else { most };
            let e = relative_error(&got, &want);
            assert!(e < most, "{what} in {} on {}: {e:.1e}", precision.name(), isa.name());
            let same = *first.get_or_insert_with(|| got.clone()) == got;
            assert!(same, "{what}: other bits with {threads} threads");
        }
        if let (true, Some(first)) = (quantized, first) {
            let same = *of_all_tiers.get_or_insert_with(|| first.clone()) == first;
            assert!(same, "{what}: other bits on {}", isa.name());
        }
    }
}

#[test]
fn depthwise_and_pointwise_convolutions_are_one_step() {
    for c in cases() {
        let what = format!("{c:?}");
        alike_everywhere(&network(&c), &c.dims, c.quantized, &what, |kernels| {
            let one = |k: &String| k.starts_with("depthwise ") && k.contains("gemm");
            assert!(kernels.iter().any(one), "{what}: {kernels:?}");
        });
    }
}

#[test]
fn what_others_read_too_stays_a_step_of_its_own() {
    let mut n = Network::new("shared", 7);
    let c = PLAIN;
    let x = n.b.input("x", &known(&c.dims));
    let y = convolution(&mut n, c.quantized, x, [72, 1, 3, 3], Window::of(&[3, 3]).pad(1), 72);
    let z = convolution(&mut n, c.quantized, y, [24, 72, 1, 1], Window::of(&[1, 1]), 1);
    n.b.output(z, "z", &known(&[1, 24, 37, 29]));
    n.b.output(y, "y", &known(&c.dims));
    let s = Session::new(n.b.finish(), &[c.dims.to_vec()], &defaults()).unwrap();
    assert!(s.steps().iter().any(|s| s.kernel == "depthwise"), "{:?}", s.steps());
}
