//! How far a whole network in float32 is from the float64 reference, on random input:
//! `cargo run --release -p ampoule-engine --example float64 -- MODEL SIZE [TIER]`
//! (spatial axes of SIZE each; the reference is plain code, so large networks take minutes).

use ampoule_engine::{Options, Session};
use ampoule_graph::{Tensor, eval, infer};
use ampoule_onnx as onnx;
use ampoule_random::Random;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, size, tier @ ..] = &arguments[..] else { return Err("MODEL SIZE [TIER]".into()) };
    let (mut graph, size) = (onnx::read_file(model.as_ref())?, size.parse::<usize>()?);
    let declared = graph.value(graph.inputs[0]).shape.clone().unwrap_or_default();
    let dims: Vec<usize> =
        declared.iter().enumerate().map(|(i, d)| if i < 2 { d.known().unwrap_or(1) } else { size }).collect();
    let mut random = Random::new(1);
    let input: Vec<f32> = (0..dims.iter().product()).map(|_| random.unit()).collect();
    graph.set_input_dims(0, &dims);
    let options = Options { isa: tier.first().cloned(), ..Default::default() };
    let mut session = Session::new(graph.clone(), std::slice::from_ref(&dims), &options)?;
    session.set_input(0, &input)?;
    session.run()?;
    let got = session.output(0)?.to_vec();
    infer::infer(&mut graph)?;
    let want = eval::run(&graph, &[Tensor::f32(&dims, &input)])?[0].to_f32().ok_or("not numeric")?;
    let square = |x: f64| x * x;
    let error: f64 = got.iter().zip(&want).map(|(a, b)| square(*a as f64 - *b as f64)).sum();
    let signal: f64 = want.iter().map(|b| square(*b as f64)).sum();
    println!("{model} at {dims:?} on {}: relative L2 {:.2e}", session.isa().name(), (error / signal).sqrt());
    Ok(())
}
