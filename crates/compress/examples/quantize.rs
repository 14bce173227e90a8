//! Quantizes a model on seeded noise, for measuring speed: `quantize IN.onnx OUT.onnx [mixed]`.

use ampoule_compress::{Collector, Method, Plan, Preset, quantize};
use ampoule_engine::{Options, Session};
use ampoule_graph::{onnx, passes};
use std::collections::BTreeSet;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, input, output, rest @ ..] = &args[..] else {
        return Err("quantize IN.onnx OUT.onnx [mixed]".into());
    };
    let mut g = onnx::read_file(input.as_ref())?;
    passes::optimize(&mut g)?;
    let preset = if rest.iter().any(|a| a == "mixed") { Preset::Mixed } else { Preset::Performance };
    let plan = Plan::of(&g, preset, &BTreeSet::new());
    let seen = Collector::new(plan.tensors(&g));
    let shapes: Option<Vec<Vec<usize>>> = g.inputs.iter().map(|i| g.value(*i).dims()).collect();
    let shapes = shapes.ok_or("the inputs' shapes must be fixed")?;
    let options = Options { observe: Some(seen.observe()), ..Options::default() };
    let mut session = Session::new(g.clone(), &shapes, &options)?;
    for i in 0..session.inputs() {
        let mut s = 7u64;
        session.input(i).iter_mut().for_each(|v| {
            s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            *v = (s >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
        });
    }
    session.run()?;
    seen.end_case("noise")?;
    let q = quantize(&g, &plan, &seen.ranges(&plan.tensors(&g), Method::Mse)?, preset)?;
    println!("{} layers on codes, {} scales", plan.layers.len(), plan.groups.len());
    onnx::write_file(&q, output.as_ref())?;
    Ok(())
}
