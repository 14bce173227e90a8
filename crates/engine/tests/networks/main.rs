//! Whole networks in the engine against the float64 reference, on every tier, with and without the
//! graph passes, and bit for bit the same on every thread count.

mod drawn;
mod gates;
mod graphs;
mod groups;
mod limits;
mod operators;
mod separable;
mod transformers;

use ampoule_engine::{
    Error, ExternalBackend, ExternalError, ExternalNetwork, Options, Precision, Rewrites, Session,
};
use ampoule_graph::op::*;
use ampoule_graph::{DType, Graph, Op, Tensor, ValueId, eval, passes};
use ampoule_testing::{Network, known, random, relative_error, tiers};
use graphs::*;
use transformers::transformer;

/// The defaults, with the features that `AMPOULE_ISA` asks for.
fn defaults() -> Options {
    Options { isa: ampoule_testing::asked_tier(), ..Default::default() }
}

/// Precisions and the error that each may cost these networks, whose random weights magnify it.
const PRECISIONS: [(Precision, f64); 3] =
    [(Precision::Fp32, 1e-5), (Precision::Bf16, 6e-2), (Precision::Bf16Fast, 2e-1)];

#[test]
fn networks_match_the_reference_on_every_tier() {
    let transformers = [transformer(1), transformer(2)];
    let others = [unet3d(), finished_classifier(), dressed(), wide3d(), local3d(), dense()];
    for (graph, dims) in others.into_iter().chain(transformers) {
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
    fn run(&mut self, inputs: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, ExternalError> {
        let dims = |i: usize| self.0.value(self.0.inputs[i]).dims().unwrap();
        let given: Vec<Tensor> = inputs.iter().enumerate().map(|(i, v)| Tensor::f32(&dims(i), v)).collect();
        let found = eval::run(&self.0, &given)?;
        Ok(found.iter().map(|t| t.to_f32().unwrap()).collect())
    }
}

#[test]
fn another_engine_takes_this_ones_place() {
    let (graph, dims) = unet3d();
    let input = random(dims.iter().product(), 42);
    let load =
        |g: &Graph| -> Result<Box<dyn ExternalNetwork>, ExternalError> { Ok(Box::new(Reference(g.clone()))) };
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
    let fails =
        |_: &Graph| -> Result<Box<dyn ExternalNetwork>, ExternalError> { Err("it is not there".into()) };
    let options = Options { external: Some(ExternalBackend(std::sync::Arc::new(fails))), ..defaults() };
    let (graph, dims) = unet3d();
    let refused = Session::new(graph, &[dims], &options);
    assert!(matches!(refused, Err(Error::External { source }) if source.to_string() == "it is not there"));
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
    // Factors of channels are a step, or part of the convolution that reads them.
    assert!(!dense.iter().any(|k| ["copy", "unary", "binary", "affine"].contains(&k.as_str())), "{dense:?}");
    for (batch, attentions) in [(1, 2), (2, 1)] {
        let all = kernels(transformer(batch));
        let count = |name: &str| all.iter().filter(|k| *k == name).count();
        assert_eq!(count("attention"), attentions, "{all:?}");
        assert_eq!((count("layer_norm"), count("instance_norm"), count("chain")), (3, 1, 1), "{all:?}");
        assert_eq!((count("unary"), count("reduce")), (0, 0), "{all:?}");
    }
}

#[test]
fn every_prefix_of_the_passes_leaves_outputs_unchanged() {
    let mut seen = std::collections::BTreeMap::new();
    let others = [pooled_int8(), powers(), transformer(1), gates::response_norm()];
    for (graph, dims) in [unet3d(), finished_classifier(), dressed()].into_iter().chain(others) {
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
            // Means of quantized values that lie between two may be rounded to either.
            let most = if graph.name == "pooled_int8" { 2e-2 } else { 1e-5 };
            assert!(e < most, "{} after {limit} rewrites: {e:.2e}", graph.name);
        }
    }
    println!("rewrites: {seen:?}");
    assert!(seen.values().all(|&n| n > 0), "a pass was never exercised: {seen:?}");
}

#[test]
fn groups_of_values_may_be_stored_as_bfloat16() {
    use ampoule_engine::mixed_precision;
    use ampoule_kernels::Elem;
    for (graph, dims) in [unet3d(), finished_classifier(), dressed(), wide3d(), dense(), pooled_int8()] {
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

/// Activations between quantizers, as other tools' files have them: a swish of two operators with quantized values in
/// between, a hard swish of four, and a function of two tensors, which is no table.
fn quantized_activations() -> (Graph, Vec<usize>) {
    let dims = vec![1, 4, 7, 9];
    let mut n = Network::new("quantized_activations", 77);
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

/// A transposed convolution of quantized single channels, twice as large as its input.
fn quantized_depthwise_transposed() -> (Graph, Vec<usize>) {
    const CHANNELS: usize = 70;
    let dims = vec![2, CHANNELS, 5, 9];
    let mut n = Network::new("quantized_depthwise_transposed", 81);
    let x = n.b.input("x", &known(&dims));
    let number = |n: &mut Network, v: f32| n.b.constant("scale", Tensor::f32(&[], &[v]));
    let (scale, step) = (number(&mut n, 0.02), number(&mut n, 0.01));
    let zero = n.b.constant("zero", Tensor::from_i64(DType::U8, &[], &[100]).unwrap());
    let weights: Vec<i64> = (0..CHANNELS * 9).map(|i| (i * 37 % 255) as i64 - 127).collect();
    let weights = Tensor::from_i64(DType::I8, &[CHANNELS, 1, 3, 3], &weights).unwrap();
    let none = n.b.constant("none", Tensor::from_i64(DType::I8, &[], &[0]).unwrap());
    let q = n.b.node(Op::Quantize { axis: 1, to: DType::U8 }, &[x, scale, zero]);
    let a = n.b.node(Op::Dequantize { axis: 1 }, &[q, scale, zero]);
    let w = n.b.constant("w", weights);
    let w = n.b.node(Op::Dequantize { axis: 1 }, &[w, step, none]);
    let window = Window::of(&[3, 3]).stride(2).pad(1);
    let op = Op::ConvTranspose { window, group: CHANNELS, output_padding: vec![1, 1], output_shape: vec![] };
    let y = n.b.node(op, &[a, w]);
    let y = n.b.unary(y, Unary::Relu);
    n.b.output(y, "y", &known(&[2, CHANNELS, 10, 18]));
    (n.b.finish(), dims)
}

#[test]
fn quantized_transposed_convolutions_of_single_channels_are_depthwise() {
    let (graph, dims) = quantized_depthwise_transposed();
    let input = random(dims.iter().product(), 6);
    let mut inferred = graph.clone();
    ampoule_graph::infer::infer(&mut inferred).unwrap();
    let want = eval::run(&inferred, &[Tensor::f32(&dims, &input)]).unwrap()[0].to_f32().unwrap();
    let mut first = None;
    for isa in tiers() {
        let options = Options { isa: Some(isa.name().into()), threads: 2, ..defaults() };
        let mut s = Session::new(graph.clone(), std::slice::from_ref(&dims), &options).unwrap();
        s.set_input(0, &input).unwrap();
        s.run().unwrap();
        let got = s.output(0).unwrap().to_vec();
        assert!(relative_error(&got, &want) < 1e-6, "on {}", isa.name());
        assert_eq!(s.steps().iter().filter(|s| s.kernel == "depthwise u8").count(), 4, "on {}", isa.name());
        assert!(*first.get_or_insert_with(|| got.clone()) == got, "other bits on {}", isa.name());
    }
}

#[test]
fn activations_between_quantizers_are_tables() {
    let (graph, dims) = quantized_activations();
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
    // A value in between that is watched is computed, and the quantized values are the same.
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
    assert!(matches!(s.run_tensors(std::slice::from_ref(&wide)), Err(Error::InputShape { index: 0, .. })));
    assert!(matches!(s.run_tensors(&[wide.clone(), wide]), Err(Error::InputCount { given: 2, inputs: 1 })));
    let more = std::sync::Arc::new(ampoule_engine::Pool::new(s.threads() + 1));
    assert!(matches!(s.sharing_weights(more).err(), Some(Error::Threads { .. })));
}
