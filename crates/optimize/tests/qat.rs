//! Training with quantizers: what the simulation computes is what the integer engine makes of the stored model, bit
//! for bit, and training makes it better.

use ampoule_engine::{Options as Run, Pool, Session};
use ampoule_graph::op::{Binary, Pool as Pooling, Unary, Window};
use ampoule_graph::{Dim, Graph, Op, Tensor, ValueId, passes};
use ampoule_kernels::Features;
use ampoule_optimize::{Collector, Method, Plan, Preset, quantize};
use ampoule_testing::{Network, random, tiers};
use ampoule_train::{Kind, Machine, Net, Optimizer, Options, build, logits, loss};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A convolution whose outputs are about as large as its inputs.
fn conv(n: &mut Network, x: ValueId, [i, o]: [usize; 2], k: usize, stride: usize) -> ValueId {
    let by = 1.5 / ((i * k * k) as f32).sqrt();
    let (w, b) = (n.scaled(&[o, i, k, k], by), n.scaled(&[o], 0.1));
    n.b.conv(x, w, Some(b), Window::of(&[k, k]).pad(k as i64 / 2).stride(stride))
}

const SHAPE: [usize; 4] = [2, 3, 24, 20];

/// A residual sum, strides, pooling, a depthwise layer or an ordinary one, a transposed one, a concatenation.
fn segmenter(depthwise: bool) -> Graph {
    let mut n = Network::new(if depthwise { "depthwise" } else { "segmenter" }, 0);
    let dims: Vec<Dim> = SHAPE.iter().map(|&d| Dim::Known(d)).collect();
    let x = n.b.input("x", &dims);
    let a = conv(&mut n, x, [3, 16], 3, 1);
    let a = n.b.unary(a, Unary::Relu);
    let b = conv(&mut n, a, [16, 16], 3, 1);
    let b = n.b.add(a, b);
    let b = n.b.unary(b, Unary::Relu);
    let c = conv(&mut n, b, [16, 32], 3, 2);
    let c = n.b.unary(c, Unary::Relu);
    let c = if depthwise {
        let w = n.scaled(&[32, 1, 3, 3], 0.35);
        let w = n.b.constant("depthwise", w);
        n.b.node(Op::Conv { window: Window::of(&[3, 3]).pad(1), group: 32 }, &[c, w])
    } else {
        conv(&mut n, c, [32, 32], 1, 1)
    };
    let c = n.b.unary(c, Unary::Relu);
    let (w, bias) = (n.scaled(&[32, 16, 2, 2], 0.25), n.scaled(&[16], 0.05));
    let up = n.b.conv_transpose(c, w, Some(bias), Window::of(&[2, 2]).stride(2), vec![]);
    let y = n.b.concat(&[up, b]);
    let y = conv(&mut n, y, [32, 16], 1, 1);
    let y = n.b.unary(y, Unary::Relu);
    let y = conv(&mut n, y, [16, 2], 1, 1);
    let y = n.b.softmax(y);
    let out: Vec<Dim> = [2, 2, 24, 20].iter().map(|&d| Dim::Known(d)).collect();
    n.b.output(y, "y", &out);
    n.b.finish()
}

/// Pooling between layers, a hidden layer.
fn classifier() -> Graph {
    let mut n = Network::new("classifier", 40);
    let dims: Vec<Dim> = SHAPE.iter().map(|&d| Dim::Known(d)).collect();
    let x = n.b.input("x", &dims);
    let a = conv(&mut n, x, [3, 16], 3, 1);
    let window = Window::of(&[2, 2]).stride(2);
    let a = n.b.unary(a, Unary::Relu);
    let a = n.b.node(Op::MaxPool(Pooling { window, ceil_mode: false, count_include_pad: false }), &[a]);
    let a = conv(&mut n, a, [16, 24], 3, 2);
    let a = n.b.unary(a, Unary::Relu);
    let a = n.b.node(Op::Flatten { axis: 1 }, &[a]);
    let gemm = Op::Gemm { alpha: 1.0, beta: 1.0, trans_a: false, trans_b: true };
    let (w, bias) = (n.scaled(&[32, 24 * 30], 0.05), n.scaled(&[32], 0.05));
    let (w, bias) = (n.b.constant("w1", w), n.b.constant("b1", bias));
    let h = n.b.node(gemm.clone(), &[a, w, bias]);
    let h = n.b.unary(h, Unary::Relu);
    let (w, bias) = (n.scaled(&[3, 32], 0.25), n.scaled(&[3], 0.05));
    let (w, bias) = (n.b.constant("w2", w), n.b.constant("b2", bias));
    let y = n.b.node(gemm, &[h, w, bias]);
    let y = n.b.softmax(y);
    n.b.output(y, "y", &[Dim::Known(2), Dim::Known(3)]);
    n.b.finish()
}

/// The network with quantizers, and its weights before rounding.
fn quantized(mut g: Graph) -> (Graph, BTreeMap<String, Vec<f32>>) {
    passes::optimize(&mut g).unwrap();
    let plan = Plan::of(&g, Preset::Performance, &BTreeSet::new());
    let names = plan.tensors(&g);
    let collector = Collector::new(names.clone());
    let options = Run { observe: Some(collector.observe()), threads: 2, ..Run::default() };
    let mut s = Session::new(g.clone(), &[SHAPE.to_vec()], &options).unwrap();
    s.input(0).unwrap().copy_from_slice(&input());
    s.run().unwrap();
    collector.end_case("x").unwrap();
    let ranges = collector.ranges(&names, Method::Mse).unwrap();
    let masters = plan
        .layers
        .iter()
        .filter_map(|&i| g.nodes[i].input(1))
        .map(|w| (format!("{}/quantized", g.value(w).name), g.constants[&w].to_f32().unwrap()));
    (quantize(&g, &plan, &ranges, Preset::Performance).unwrap(), masters.collect())
}

fn input() -> Vec<f32> {
    random(SHAPE.iter().product(), 77)
}

fn net(g: &Graph, isa: Features, exact: bool, masters: BTreeMap<String, Vec<f32>>) -> Net {
    let mut machine = Machine::new(isa, Arc::new(Pool::new(2)));
    machine.exact = exact;
    let options = Options { masters, ..Options::default() };
    let mut net = build(g, &[SHAPE.to_vec()], machine, &options).unwrap();
    net.batch_statistics = false;
    net
}

fn output(net: &mut Net) -> Vec<f32> {
    net.input(0).copy_from_slice(&input());
    net.forward();
    net.output(0).to_vec()
}

/// The engine's logits, channels innermost.
fn engine(g: &Graph, isa: Features) -> Vec<f32> {
    let mut g = g.clone();
    ampoule_graph::infer::infer(&mut g).unwrap();
    let options = Run { isa: Some(isa.name().into()), threads: 2, ..Run::default() };
    let mut s = Session::new(logits(&g), &[SHAPE.to_vec()], &options).unwrap();
    s.input(0).unwrap().copy_from_slice(&input());
    s.run().unwrap();
    let out = s.output(0).unwrap();
    let (n, c) = (out.dims[0], out.dims[1]);
    let (rows, pixels) = (out.to_vec(), out.dims[2..].iter().product::<usize>());
    let at = |i: usize| rows[(i / (pixels * c) * c + i % c) * pixels + i / c % pixels];
    (0..n * c * pixels).map(at).collect()
}

#[test]
fn the_engine_computes_what_was_simulated() {
    for isa in tiers() {
        for g in [segmenter(false), segmenter(true), classifier()] {
            let (mut coded, masters) = quantized(g);
            let mut learner = net(&coded, isa, false, masters);
            let mut optimizer = Optimizer::new(Kind::ADAMW, 0.0, true, &learner.params);
            let before = coded.constants.clone();
            let mut losses = Vec::new();
            for _ in 0..12 {
                let z = output(&mut learner);
                let dims = learner.outputs[0].dims;
                let pixels: usize = dims[..4].iter().product();
                let labels: Vec<u8> = (0..pixels).map(|i| (i / 5 % 2) as u8).collect();
                let mut grad = vec![0.0; z.len()];
                losses.push(loss::cross_entropy(&dims, &z, &labels, &[], 0.0, 1.0, &mut grad));
                learner.gradient(0).copy_from_slice(&grad);
                learner.backward();
                optimizer.step(&mut learner.params, 2e-3);
            }
            assert!(losses[11] < losses[0], "{losses:?}");
            learner.params.store(&mut coded);
            assert!(coded.constants != before);
            let simulated = output(&mut net(&coded, isa, true, BTreeMap::new()));
            let run = engine(&coded, isa);
            let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            let off = simulated.iter().zip(&run).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
            // Depthwise layers are simulated with floats, whose sums may round a tie the other way.
            let most = if coded.name == "depthwise" { run.len() / 100 } else { 0 };
            assert!(
                off <= most && (most > 0 || bits(&simulated) == bits(&run)),
                "{} {}: {off} of {} differ",
                isa.name(),
                coded.name,
                run.len()
            );
            // The quick simulation that training uses differs by ties of quantized values at most.
            let quick = output(&mut learner);
            let most = quick.iter().zip(&run).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
            let spread = run.iter().fold(0f32, |m, v| m.max(v.abs()));
            assert!(most < 0.1 * spread, "{most} {spread}");
        }
    }
}

#[test]
fn binary_operators_with_constants_are_no_quantizers() {
    // A product with a constant between coded layers stays what it is.
    let mut n = Network::new("scaled", 90);
    let dims: Vec<Dim> = SHAPE.iter().map(|&d| Dim::Known(d)).collect();
    let x = n.b.input("x", &dims);
    let a = conv(&mut n, x, [3, 16], 3, 1);
    let half = n.b.constant("half", Tensor::f32(&[1], &[0.5]));
    let a = n.b.node(Op::Binary(Binary::Mul), &[a, half]);
    let y = conv(&mut n, a, [16, 2], 3, 1);
    n.b.output(y, "y", &[2, 2, 24, 20].map(Dim::Known));
    let (coded, masters) = quantized(n.b.finish());
    let reference = reference(&coded);
    let signal: f64 = reference.iter().map(|v| (*v as f64).powi(2)).sum();
    for isa in tiers() {
        let simulated = output(&mut net(&coded, isa, true, masters.clone()));
        for (name, got) in [("simulated", simulated), ("engine", engine(&coded, isa))] {
            assert_eq!(got.len(), reference.len());
            let noise: f64 = got.iter().zip(&reference).map(|(a, b)| ((a - b) as f64).powi(2)).sum();
            // A value that lies at a tie may go either way; rounding otherwise shifts most of them by half a step,
            // which is some hundredths of the signal.
            let error = (noise / signal).sqrt();
            assert!(error < 2e-3, "{name} on {}: a relative error of {error:.1e}", isa.name());
        }
    }
}

/// The logits by the graph's own reference in float64, channels innermost.
fn reference(g: &Graph) -> Vec<f32> {
    let mut g = g.clone();
    ampoule_graph::infer::infer(&mut g).unwrap();
    // What the network and the engine are given lies channels innermost.
    let [_, channels, height, width] = SHAPE;
    let (given, area) = (input(), height * width);
    let of =
        |i: usize| given[i / (channels * area) * channels * area + i % area * channels + i / area % channels];
    let x: Vec<f32> = (0..given.len()).map(of).collect();
    let out = ampoule_graph::eval::run(&logits(&g), &[Tensor::f32(&SHAPE, &x)]).unwrap().remove(0);
    let (rows, dims) = (out.to_f32().unwrap(), out.dims().to_vec());
    let (c, pixels) = (dims[1], dims[2..].iter().product::<usize>());
    let at = |i: usize| rows[(i / (pixels * c) * c + i % c) * pixels + i / c % pixels];
    (0..rows.len()).map(at).collect()
}
