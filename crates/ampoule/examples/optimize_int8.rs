//! A network in INT8, with what that does to its results on labelled cases.
//!
//! `cargo run --release -p ampoule --features optimize --example optimize_int8 -- [OUT.onnx]`
//!
//! It takes the small network of this repository (bright discs in tiles), calibrates on eight tiles, and compares eight others
//! with their ground truth.

use ampoule::optimize::{Data, Job, Limit, Model, Options, optimize, write};
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let output =
        std::env::args().nth(1).map_or_else(|| std::env::temp_dir().join("discs_int8.onnx"), PathBuf::from);
    let own = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
    let network = own("assets/quick/discs.onnx");
    let job = Job {
        model: Model {
            graph: ampoule_onnx::read_file(&network)?,
            recipe: std::fs::read_to_string(own("recipes/discs.toml"))?,
            sha256: ampoule_pipeline::sha256_file(&network)?,
        },
        // The defaults are post-training quantization, as `ampoule optimize` does it.
        options: Options::default(),
        engine: ampoule_engine::Options::default(),
        data: Data {
            calibrate: Some(own("assets/quick/calibrate")),
            validate: Some(own("assets/quick/validate")),
            truth: Some(own("assets/quick/truth")),
            ..Data::default()
        },
        limits: vec![Limit::new("dice", 0.02)?],
        teacher: None,
        sensitivity: false,
        fast: false,
        journal: None,
        overwrite: false,
        checkpoint: None,
    };
    let (graph, report) = optimize(&job, &mut |what, done, all| println!("{what}: {done} of {all}"))?;
    write(&graph, &output)?;

    println!("{}: {}, {}", output.display(), report.written, report.layers_done());
    for v in &report.verdicts {
        println!("{}", v.sentence());
    }
    Ok(())
}
