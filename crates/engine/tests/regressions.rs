//! Small graphs in which an engine once computed something else, each named for what was wrong,
//! against the reference.

use ampoule_engine::{Options, Session};
use ampoule_graph::build::Builder;
use ampoule_graph::op::*;
use ampoule_graph::{DType, Dim, Graph, Op, Tensor, ValueId, eval};

/// The defaults, with the features that `AMPOULE_ISA` asks for.
fn defaults() -> Options {
    Options { isa: ampoule_testing::asked_tier(), ..Default::default() }
}

fn values(n: usize, seed: u64) -> Vec<f32> {
    (0..n).map(|i| ((i as u64 * 2_654_435_761 + seed * 97) % 1000) as f32 / 250.0 - 2.0).collect()
}

fn check(dims: &[usize], build: impl FnOnce(&mut Builder, ValueId) -> ValueId) {
    let mut b = Builder::new("case");
    let x = b.input("x", &dims.iter().map(|&d| Dim::Known(d)).collect::<Vec<_>>());
    let y = build(&mut b, x);
    b.output(y, "y", &[]);
    let mut g: Graph = b.finish();
    g.values[y.0].shape = None;
    let input = values(dims.iter().product(), 1);
    let mut inferred = g.clone();
    ampoule_graph::infer::infer(&mut inferred).unwrap();
    let want = eval::run(&inferred, &[Tensor::f32(dims, &input)]).unwrap()[0].to_f32().unwrap();
    for isa in ampoule_testing::tiers() {
        let options = Options { isa: Some(isa.name().into()), threads: 2, ..defaults() };
        let mut s = Session::new(g.clone(), &[dims.to_vec()], &options).unwrap();
        s.set_input(0, &input).unwrap();
        s.run().unwrap();
        for (i, (a, b)) in s.output(0).unwrap().to_vec().iter().zip(&want).enumerate() {
            assert!((a - b).abs() < 1e-4, "{} [{i}]: {a} instead of {b}", isa.name());
        }
    }
}

fn conv(b: &mut Builder, x: ValueId, io: [usize; 2], window: Window) -> ValueId {
    let dims = [&[io[1], io[0]], &window.kernel[..]].concat();
    let w = Tensor::f32(&dims, &values(dims.iter().product(), 5));
    b.conv(x, w, None, window)
}

#[test]
fn in_place_sum_with_its_own_transpose() {
    check(&[3, 3], |b, x| {
        let x = b.unary(x, Unary::Relu);
        let t = b.node(Op::Transpose { perm: vec![1, 0] }, &[x]);
        b.add(x, t)
    });
}

#[test]
fn in_place_product_with_its_own_slice() {
    check(&[2, 3, 4, 5], |b, x| {
        let x = b.unary(x, Unary::Tanh);
        let c: Vec<ValueId> = [0, 1, 2].iter().map(|&v| b.constant("c", Tensor::i64s(&[v]))).collect();
        let s = b.node(Op::Slice, &[x, c[0], c[1], c[2]]);
        b.node(Op::Binary(Binary::Mul), &[x, s])
    });
}

#[test]
fn residual_that_is_a_concatenation_not_yet_whole() {
    check(&[1, 2, 4, 4], |b, x| {
        let a = b.unary(x, Unary::Relu);
        let z = conv(b, x, [2, 4], Window::of(&[3, 3]).pad(1));
        let n = b.unary(x, Unary::Neg);
        let c = b.concat(&[a, n]);
        b.add(z, c)
    });
}

#[test]
fn pointwise_convolution_with_an_end_pad() {
    check(&[1, 1, 3, 4], |b, x| {
        let window = Window { padding: Padding::Explicit(vec![0, 0, 0, 1]), ..Window::of(&[1, 1]) };
        conv(b, x, [1, 3], window)
    });
}

#[test]
fn normalised_slices_whose_last_axis_is_one() {
    for dims in [[1, 2, 4, 1], [2, 2, 1, 1], [1, 2, 1, 5], [2, 2, 3, 1]] {
        check(&dims, |b, x| {
            let (s, t) = (Tensor::f32(&[2], &[1.5, -0.5]), Tensor::f32(&[2], &[0.1, 0.2]));
            let n = b.instance_norm(x, s, t, 1e-5);
            let r = b.unary(x, Unary::Relu);
            let soft = b.softmax(x);
            b.concat(&[r, n, soft])
        });
    }
}

#[test]
fn nested_concatenations() {
    check(&[1, 2, 3, 3], |b, x| {
        let mut c = b.unary(x, Unary::Relu);
        for i in 0..5 {
            let k = conv(b, c, [2 + i, 1], Window::of(&[1, 1]));
            c = b.concat(&[c, k]);
        }
        b.unary(c, Unary::Tanh)
    });
}

#[test]
fn resize_by_sizes() {
    check(&[1, 2, 3, 4, 5], |b, x| {
        let sizes = b.constant("sizes", Tensor::i64s(&[1, 2, 5, 4, 9]));
        let r = Resize {
            interpolation: Interpolation::Linear,
            coordinates: Coordinates::HalfPixel,
            antialias: false,
            axes: vec![],
            aspect: 0,
        };
        b.node_opt(Op::Resize(r), &[Some(x), None, None, Some(sizes)])
    });
}

#[test]
fn a_product_over_nothing_is_the_bias() {
    check(&[3, 0], |b, x| {
        let w = b.constant("w", Tensor::f32(&[0, 4], &[]));
        let c = b.constant("c", Tensor::f32(&[4], &[1.0, 2.0, 3.0, 4.0]));
        b.node(Op::Gemm { alpha: 1.0, beta: 1.0, trans_a: false, trans_b: false }, &[x, w, c])
    });
}

/// A tight limit on a network with a constant image and a constant output: refused or kept, never a panic.
#[test]
fn constants_of_the_image_size_do_not_break_tiles() {
    let known = |d: &[usize]| d.iter().map(|&n| Dim::Known(n)).collect::<Vec<_>>();
    let mut b = Builder::new("constants");
    let x = b.input("x", &known(&[1, 3, 64, 48]));
    let image = b.constant("image", Tensor::f32(&[1, 1, 64, 48], &[0.5; 64 * 48]));
    let y = b.concat(&[x, image]);
    let w = Tensor::f32(&[8, 4, 3, 3], &[0.01; 288]);
    let y = b.conv(y, w, None, Window::of(&[3, 3]).pad(1));
    let y = b.conv(y, Tensor::f32(&[2, 8, 3, 3], &[0.02; 144]), None, Window::of(&[3, 3]).pad(1));
    b.output(y, "y", &known(&[1, 2, 64, 48]));
    b.output(image, "same", &known(&[1, 1, 64, 48]));
    let graph = b.finish();
    let dims = vec![vec![1, 3, 64, 48]];
    let run = |mut s: Session| {
        s.set_input(0, &values(3 * 64 * 48, 1)).unwrap();
        s.run().unwrap();
        s.output(0).unwrap().to_vec()
    };
    let want = run(Session::new(graph.clone(), &dims, &defaults()).unwrap());
    let (mut kept, mut refused) = (0, 0);
    for max in (10..2000).step_by(10) {
        let options = Options { max_bytes: Some(max << 10), threads: 2, ..defaults() };
        match Session::new(graph.clone(), &dims, &options) {
            Ok(s) => {
                // Where weights must be small another algorithm runs.
                ampoule_testing::assert_close(&run(s), &want, 1e-6, "within a limit");
                kept += 1;
            }
            Err(e) => {
                assert!(matches!(e, ampoule_engine::Error::Memory { .. }), "{e}");
                refused += 1;
            }
        }
    }
    assert!(kept > 0 && refused > 0, "{kept} limits are kept, {refused} refused");
}

/// Not a number has the same quantized value in the engine as in the reference.
#[test]
fn quantizers_agree_on_odd_values() {
    let mut b = Builder::new("quantized");
    let x = b.input("x", &[Dim::Known(6)]);
    let (s, z) = (b.constant("s", Tensor::f32(&[], &[0.5])), Tensor::from_i64(DType::U8, &[], &[7]).unwrap());
    let z = b.constant("z", z);
    let q = b.node(Op::Quantize { axis: 1, to: DType::U8 }, &[x, s, z]);
    let y = b.node(Op::Dequantize { axis: 1 }, &[q, s, z]);
    b.output(y, "y", &[Dim::Known(6)]);
    let graph = b.finish();
    let input = Tensor::f32(&[6], &[f32::NAN, f32::INFINITY, -1e30, 0.25, 0.75, -3.0]);
    let mut inferred = graph.clone();
    ampoule_graph::infer::infer(&mut inferred).unwrap();
    let want = eval::run(&inferred, std::slice::from_ref(&input)).unwrap()[0].to_f32().unwrap();
    let mut session = Session::new(graph, &[vec![6]], &defaults()).unwrap();
    let got = session.run_tensors(&[input]).unwrap()[0].to_f32().unwrap();
    assert_eq!(got, want);
    assert_eq!(got, [-3.5, 124.0, -3.5, 0.0, 1.0, -3.0]);
}
