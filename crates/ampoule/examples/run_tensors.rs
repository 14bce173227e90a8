//! A network on raw tensors: what a model takes and gives, and a run.
//!
//! `cargo run --release -p ampoule --example run_tensors -- [MODEL.onnx [SIZE]]`
//!
//! Without arguments it runs a small network of this repository.

use ampoule::{Dim, Model, Result, Tensor, TensorInfo};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let small = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/quick/discs.onnx");
    let path = arguments.next().unwrap_or_else(|| small.into());
    let size = arguments.next().and_then(|s| s.parse().ok()).unwrap_or(64);

    let mut model = Model::open(path)?;
    for (what, list) in [("input", model.inputs()), ("output", model.outputs())] {
        for t in list {
            println!("{what:6} {} {}", t.name, axes(t));
        }
    }

    // The batch is 1 where it is free, every other free axis SIZE.
    let given: Vec<(String, Tensor)> = model
        .inputs()
        .iter()
        .map(|info| {
            let free = |k: usize| if k == 0 { 1 } else { size };
            let shape: Vec<usize> =
                info.shape.iter().enumerate().map(|(k, d)| d.known().unwrap_or_else(|| free(k))).collect();
            let mut tensor = Tensor::filled(&shape, 0.0);
            tensor.values_mut().iter_mut().enumerate().for_each(|(i, v)| *v = (i % 97) as f32 / 97.0);
            (info.name.clone(), tensor)
        })
        .collect();
    let by_name: Vec<(&str, Tensor)> = given.iter().map(|(n, t)| (n.as_str(), t.clone())).collect();

    let outputs = model.run(&by_name)?;
    for (name, t) in outputs.iter() {
        let (least, most) =
            t.values().iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
        println!("{name}: shape {:?}, values {least} to {most}", t.shape());
    }
    Ok(())
}

fn axes(info: &TensorInfo) -> String {
    info.shape.iter().map(Dim::to_string).collect::<Vec<_>>().join("x")
}
