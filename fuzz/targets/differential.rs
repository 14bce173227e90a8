//! Networks drawn by bytes: every feature set of this CPU, in float32, bfloat16 and INT8, against the float64 reference.
#![no_main]

use ampoule_engine::{Options, Precision, Session};
use ampoule_graph::{Graph, Tensor, eval, infer, passes};
use ampoule_optimize::{Collector, Method, Plan, Preset, quantize};
use ampoule_testing::{drawn, random, relative_error};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;

fuzz_target!(|data: &[u8]| {
    let Some(d) = drawn(data) else { return };
    let input = random(d.dims.iter().product(), 1);
    let Some(want) = reference(&d.graph, &d.dims, &input) else { return };
    // Normalisations over few values divide by what is nearly nothing, and few outputs may cancel.
    let float32 = if d.sensitive { 1e-2 } else { 1e-4 };
    let bfloat16 = if d.sensitive || want.len() < 32 { f64::MAX } else { 0.1 };
    for (precision, most) in [(Precision::Fp32, float32), (Precision::Bf16, bfloat16)] {
        for features in ampoule_kernels::available() {
            let e = relative_error(&run(&d.graph, &d.dims, &input, features.name(), precision), &want);
            assert!(e <= most, "{} {precision:?}: off by {e:.1e}: {:#?}", features.name(), d.layers);
        }
    }
    let preset = [Preset::Performance, Preset::All, Preset::Mixed][data.len() % 3];
    let Some(q) = quantized(&d.graph, &d.dims, &input, preset) else { return };
    let Some(want) = reference(&q, &d.dims, &input) else { return };
    for features in ampoule_kernels::available() {
        let e = relative_error(&run(&q, &d.dims, &input, features.name(), Precision::Fp32), &want);
        assert!(e <= 0.2, "{} {preset:?}: off by {e:.1e}: {:#?}", features.name(), d.layers);
    }
});

fn run(g: &Graph, dims: &[usize], input: &[f32], isa: &str, precision: Precision) -> Vec<f32> {
    let options = Options { isa: Some(isa.into()), threads: 1, precision, ..Options::default() };
    let mut session = Session::new(g.clone(), &[dims.to_vec()], &options).expect("a session");
    session.set_input(0, input).expect("an input");
    session.run().expect("a run");
    session.output(0).expect("an output").to_vec()
}

/// What float64 gives; nothing where it is not finite, or nothing but zeros.
fn reference(g: &Graph, dims: &[usize], input: &[f32]) -> Option<Vec<f32>> {
    let mut inferred = g.clone();
    infer::infer(&mut inferred).expect("shapes");
    let found = eval::run(&inferred, &[Tensor::f32(dims, input)]).expect("a reference")[0].to_f32().expect("floats");
    let size = found.iter().fold(0f32, |m, v| m.max(v.abs()));
    (size.is_finite() && size > 1e-6 && found.iter().all(|v| v.is_finite())).then_some(found)
}

fn quantized(g: &Graph, dims: &[usize], input: &[f32], preset: Preset) -> Option<Graph> {
    let mut g = g.clone();
    passes::optimize(&mut g).expect("passes");
    let plan = Plan::of(&g, preset, &BTreeSet::new());
    if plan.layers.is_empty() {
        return None;
    }
    let seen = Collector::new(plan.tensors(&g));
    let options = Options { observe: Some(seen.observe()), threads: 1, ..Options::default() };
    let mut session = Session::new(g.clone(), &[dims.to_vec()], &options).expect("a session");
    session.set_input(0, input).expect("an input");
    session.run().expect("a run");
    seen.end_case("input").expect("a case");
    let ranges = seen.ranges(&plan.tensors(&g), Method::MinMax).expect("ranges");
    Some(quantize(&g, &plan, &ranges, preset).expect("a quantized graph"))
}
