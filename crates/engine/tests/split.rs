//! Float32 networks whose products are of split values, as CPUs with a matrix unit choose: constants under which this
//! CPU's bfloat16 products seem as fast. Installed for the process, so these tests have one of their own.

use ampoule_engine::{Options, Precision, Session};
use ampoule_graph::op::*;
use ampoule_graph::{Graph, Op, Tensor, eval};
use ampoule_kernels::costs::{self, Costs, OPERANDS};
use ampoule_kernels::gemm::{Operand, micro_kernels};
use ampoule_kernels::{FEATURE_SETS, Features};
use ampoule_testing::{Network, known, random, relative_error, tiers};
use std::sync::Once;

/// The sets of this CPU that multiply bfloat16, which from now on seem to do so thirty times as fast, and all else as many
/// times slower.
fn sets() -> Vec<Features> {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        let fast = |isa: Features| {
            let shipped = Costs::shipped(isa);
            let rates = std::array::from_fn(|i| match OPERANDS[i] {
                Operand::Bf16 => 30.0 * shipped.rates[i],
                Operand::F32 | Operand::U8 | Operand::I16 => shipped.rates[i] / 30.0,
            });
            (isa, Costs { rates, ..shipped })
        };
        costs::install(FEATURE_SETS.iter().map(|s| fast(s.features)).collect()).unwrap();
    });
    tiers().into_iter().filter(|isa| micro_kernels(*isa, Operand::Bf16).next().is_some()).collect()
}

/// Convolutions with strides, a normalisation and factors before them, after a depthwise one, transposed ones, and a
/// matrix product.
fn network() -> (Graph, Vec<usize>) {
    let dims = vec![1, 16, 23, 19];
    let mut n = Network::new("split", 3);
    let x = n.b.input("x", &known(&dims));
    let a = n.conv(x, [16, 40], Window::of(&[3, 3]).pad(1));
    let a = n.b.unary(a, Unary::Relu);
    let b = n.conv(a, [40, 32], Window::of(&[5, 5]).stride(2).pad(2));
    let b = n.instance_norm(b, 32);
    let b = n.b.unary(b, Unary::Relu);
    let b = n.conv(b, [32, 33], Window::of(&[1, 1]));
    let axes = n.b.constant("axes", Tensor::from_i64(ampoule_graph::DType::I64, &[2], &[2, 3]).unwrap());
    let kind = Op::Reduce { kind: Reduction::Mean, keep_dims: true, noop_with_empty_axes: false };
    let mean = n.b.node(kind, &[b, axes]);
    let gate = n.b.unary(mean, Unary::Sigmoid);
    let c = n.b.node(Op::Binary(Binary::Mul), &[b, gate]);
    let c = n.conv(c, [33, 120], Window::of(&[1, 1]));
    let weights = n.tensor(&[120, 110, 2, 2]);
    let weights = n.b.constant("w", weights);
    let window = Window::of(&[2, 2]).stride(2);
    let up = Op::ConvTranspose { window, group: 1, output_padding: vec![0, 0], output_shape: vec![] };
    let d = n.b.node(up, &[c, weights]);
    let weights = n.tensor(&[110, 1, 3, 3]);
    let weights = n.b.constant("w", weights);
    let d = n.b.node(Op::Conv { window: Window::of(&[3, 3]).pad(1), group: 110 }, &[d, weights]);
    let d = n.conv(d, [110, 64], Window::of(&[1, 1]));
    let columns = n.tensor(&[64, 70]);
    let columns = n.b.constant("columns", columns);
    let d = n.b.node(Op::Transpose { perm: vec![0, 2, 3, 1] }, &[d]);
    let y = n.b.node(Op::MatMul, &[d, columns]);
    n.b.output(y, "y", &known(&[1, 24, 20, 70]));
    (n.b.finish(), dims)
}

#[test]
fn products_of_split_values_are_those_of_float32() {
    let (graph, dims) = network();
    let input = random(dims.iter().product(), 5);
    let mut inferred = graph.clone();
    ampoule_graph::infer::infer(&mut inferred).unwrap();
    let want = eval::run(&inferred, &[Tensor::f32(&dims, &input)]).unwrap()[0].to_f32().unwrap();
    for isa in sets() {
        let run = |threads: usize, precision: Precision| {
            let options = Options { isa: Some(isa.name().into()), threads, precision, ..Options::default() };
            let mut s = Session::new(graph.clone(), std::slice::from_ref(&dims), &options).unwrap();
            s.set_input(0, &input).unwrap();
            s.run().unwrap();
            let kernels: Vec<String> = s.steps().into_iter().map(|s| s.kernel).collect();
            (s.output(0).unwrap().to_vec(), kernels)
        };
        let split = |kernels: &[String]| kernels.iter().filter(|k| k.contains("split ")).count();
        let (first, kernels) = run(1, Precision::Fp32);
        assert!(split(&kernels) == 7, "{kernels:?} on {}", isa.name());
        assert!(run(3, Precision::Fp32).0 == first, "other bits with three threads");
        let (strict, kernels) = run(2, Precision::Fp32Strict);
        assert_eq!(split(&kernels), 0, "{kernels:?}");
        let errors = [&first, &strict].map(|got| relative_error(got, &want));
        println!("{}: split {:.1e}, float32 {:.1e}", isa.name(), errors[0], errors[1]);
        assert!(errors[0] < 3e-6 && errors[1] < 1e-6, "{errors:?} on {}", isa.name());
    }
}
