//! Quantizes a model on seeded noise, for measuring speed: `quantize IN.onnx OUT.onnx [mixed | all]
//! [winograd]`;
//! with `winograd`, layers of 32 channels and more are Winograd INT8.

use ampoule_engine::{Options, Session, winograd_int8};
use ampoule_graph::{Graph, infer, passes};
use ampoule_onnx as onnx;
use ampoule_optimize::{Collector, LayerSteps, Method, Plan, Preset, Transforms, quantize};
use std::collections::BTreeSet;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, input, output, rest @ ..] = &args[..] else {
        return Err("quantize IN.onnx OUT.onnx [mixed | all] [winograd]".into());
    };
    let mut g = onnx::read_file(input.as_ref())?;
    passes::optimize(&mut g)?;
    let asked = |name: &str| rest.iter().any(|a| a == name);
    let preset = match (asked("mixed"), asked("all")) {
        (true, _) => Preset::Mixed,
        (_, true) => Preset::All,
        _ => Preset::Performance,
    };
    let plan = Plan::of(&g, preset, &BTreeSet::new());
    let seen = Collector::new(plan.tensors(&g));
    let shapes: Option<Vec<Vec<usize>>> = g.inputs.iter().map(|i| g.value(*i).dims()).collect();
    let shapes = shapes.ok_or("the inputs' shapes must be fixed")?;
    let options = Options { observe: Some(seen.observe()), ..Options::default() };
    run(&g, &shapes, &options)?;
    seen.end_case("noise")?;
    let mut q = quantize(&g, &plan, &seen.ranges(&plan.tensors(&g), Method::Mse)?, preset)?;
    println!("{} layers in INT8, {} scales", plan.layers.len(), plan.groups.len());
    if asked("winograd") {
        infer::infer(&mut q)?;
        let transforms = Transforms::of(&q);
        run(&g, &shapes, &Options { observe: Some(transforms.observe()), ..Options::default() })?;
        let wide = |r: &&LayerSteps| {
            let y = q.value_named(&r.output).and_then(|v| q.value(v).dims());
            y.is_some_and(|d| d[1] >= 32)
        };
        let all = transforms.steps();
        let layers = LayerSteps::record(all.iter().filter(wide));
        println!("{} layers in Winograd INT8", layers.len());
        winograd_int8::record(&mut q, &layers);
    }
    onnx::write_file(&q, output.as_ref())?;
    Ok(())
}

/// Runs a network on seeded noise.
fn run(g: &Graph, shapes: &[Vec<usize>], options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let mut session = Session::new(g.clone(), shapes, options)?;
    for i in 0..session.inputs() {
        let mut random = ampoule_random::Random::new(7);
        session.input(i)?.iter_mut().for_each(|v| *v = random.between(-1.0, 1.0));
    }
    session.run()?;
    Ok(())
}
