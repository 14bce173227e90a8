//! How far a whole network is from the float64 reference in every precision, on random input:
//! `cargo run --release -p ampoule-engine --example float64 -- MODEL SIZE [TIER]`
//! (spatial axes that the model leaves free have SIZE; the reference is plain code, so large networks take minutes).
//! Prints a row of a Markdown table: network, input, and the relative L2 error in each precision.

use ampoule_engine::{Options, Precision, Session};
use ampoule_graph::{Tensor, eval, infer};
use ampoule_onnx as onnx;
use ampoule_random::Random;
use std::path::Path;

/// Relative L2 distance.
fn error(got: &[f32], want: &[f32]) -> f64 {
    let square = |x: f64| x * x;
    let off: f64 = got.iter().zip(want).map(|(a, b)| square(*a as f64 - *b as f64)).sum();
    let signal: f64 = want.iter().map(|b| square(*b as f64)).sum();
    (off / signal).sqrt()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, size, tier @ ..] = &arguments[..] else { return Err("MODEL SIZE [TIER]".into()) };
    let (mut graph, size) = (onnx::read_file(model.as_ref())?, size.parse::<usize>()?);
    let declared = graph.value(graph.inputs[0]).shape.clone().unwrap_or_default();
    let free = |i: usize| if i < 2 { 1 } else { size };
    let dims: Vec<usize> = declared.iter().enumerate().map(|(i, d)| d.known().unwrap_or(free(i))).collect();
    let mut random = Random::new(1);
    let input: Vec<f32> = (0..dims.iter().product()).map(|_| random.unit()).collect();
    graph.set_input_dims(0, &dims);
    let mut inferred = graph.clone();
    infer::infer(&mut inferred)?;
    let want = eval::run(&inferred, &[Tensor::f32(&dims, &input)])?[0].to_f32().ok_or("not numeric")?;
    let name = Path::new(model).file_stem().unwrap_or_default().to_string_lossy();
    let shape = dims.iter().map(usize::to_string).collect::<Vec<_>>().join("×");
    let mut row = format!("| {name} | {shape} |");
    for precision in Precision::ALL {
        let options = Options { isa: tier.first().cloned(), precision, ..Default::default() };
        let mut session = Session::new(graph.clone(), std::slice::from_ref(&dims), &options)?;
        session.set_input(0, &input)?;
        session.run()?;
        row += &format!(" {:.1e} |", error(&session.output(0)?.to_vec(), &want));
    }
    println!("{row}");
    Ok(())
}
