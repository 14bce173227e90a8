//! Networks drawn at random, quantized.

use crate::{defaults, tiers};
use ampoule_engine::{Options, Session};
use ampoule_graph::{Graph, Tensor, eval, infer, passes};
use ampoule_onnx as onnx;
use ampoule_optimize::{ChannelRanges, Collector, Method, Plan, Preset, quantize};
use ampoule_testing::{drawn_by, drawn_seeds, random, relative_error};
use std::collections::BTreeSet;

/// How many seeds are drawn where nobody asks for more.
const SEEDS: u64 = 12;

fn run(g: &Graph, dims: &[usize], input: &[f32], options: &Options) -> Vec<f32> {
    let mut s = Session::new(g.clone(), &[dims.to_vec()], options).unwrap();
    s.set_input(0, input).unwrap();
    s.run().unwrap();
    s.output(0).unwrap().to_vec()
}

/// The network with quantizers, calibrated on `input`; `None` where nothing of it can be quantized.
fn quantized(graph: &Graph, dims: &[usize], input: &[f32], preset: Preset) -> Option<Graph> {
    let mut g = graph.clone();
    passes::optimize(&mut g).unwrap();
    let plan = Plan::of(&g, preset, &BTreeSet::new());
    if plan.layers.is_empty() {
        return None;
    }
    let seen = Collector::new(plan.tensors(&g));
    run(&g, dims, input, &Options { observe: Some(seen.observe()), ..defaults() });
    seen.end_case("input").unwrap();
    let ranges = seen.ranges(&plan.tensors(&g), Method::MinMax).unwrap();
    Some(quantize(&g, &plan, &ranges, preset).unwrap())
}

/// What float64 makes of the quantized graph.
fn reference(g: &Graph, dims: &[usize], input: &[f32]) -> Vec<f32> {
    let mut inferred = g.clone();
    infer::infer(&mut inferred).unwrap();
    eval::run(&inferred, &[Tensor::f32(dims, input)]).unwrap()[0].to_f32().unwrap()
}

#[test]
fn drawn_networks_in_int8_match_the_reference_on_every_tier() {
    let tiers = tiers();
    let (mut worst, mut count, mut wrong) = (0.0f64, 0, Vec::new());
    for seed in drawn_seeds(SEEDS) {
        let d = drawn_by(seed);
        let input = random(d.dims.iter().product(), seed);
        for preset in [Preset::Performance, Preset::All, Preset::Mixed] {
            let Some(q) = quantized(&d.graph, &d.dims, &input, preset) else { continue };
            let want = reference(&q, &d.dims, &input);
            count += 1;
            let written = onnx::to_bytes(&q).unwrap();
            let back = onnx::from_bytes(written.into(), None, &onnx::Limits::default()).unwrap();
            if run(&back, &d.dims, &input, &defaults()) != run(&q, &d.dims, &input, &defaults()) {
                wrong.push((seed, format!("{preset:?}: other bits after writing and reading")));
            }
            for isa in &tiers {
                let options = |threads| Options { isa: Some(isa.clone()), threads, ..defaults() };
                let got = run(&q, &d.dims, &input, &options(1));
                let e = relative_error(&got, &want);
                worst = worst.max(e);
                // A value that lies between two quantized ones may turn either way, and what follows with it.
                if e.is_nan() || e > 0.05 {
                    wrong.push((seed, format!("{preset:?} on {isa}: off by {e:.1e}")));
                }
                if got != run(&q, &d.dims, &input, &options(3)) {
                    wrong.push((seed, format!("{preset:?} on {isa}: other bits with three threads")));
                }
            }
        }
    }
    println!("drawn networks in INT8: {count}, largest error {worst:.1e}");
    let words = |(seed, what): &(u64, String)| format!("seed {seed}, {what}: {:#?}", drawn_by(*seed).layers);
    assert!(wrong.is_empty(), "{}", wrong.iter().map(words).collect::<Vec<_>>().join("\n"));
}

#[test]
fn drawn_networks_with_equalized_channels_compute_the_same() {
    let mut changed = 0;
    for seed in drawn_seeds(2 * SEEDS) {
        let d = drawn_by(seed);
        let input = random(d.dims.iter().product(), seed);
        let mut g = d.graph.clone();
        passes::optimize(&mut g).unwrap();
        let plan = Plan::of(&g, Preset::Performance, &BTreeSet::new());
        let channels = ChannelRanges::of(&g, &plan);
        if channels.is_empty() {
            continue;
        }
        run(&g, &d.dims, &input, &Options { observe: Some(channels.observe()), ..defaults() });
        let (even, count) = channels.equalized(&g).unwrap();
        changed += count;
        let e = relative_error(&reference(&even, &d.dims, &input), &reference(&g, &d.dims, &input));
        assert!(e < 1e-5, "seed {seed}: {e:.1e}: {:#?}", d.layers);
    }
    assert!(changed > 0);
}
