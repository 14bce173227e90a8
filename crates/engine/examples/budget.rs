//! Whether a memory limit changes a network's outputs: one run without and one within it, on the same random input.
//! `cargo run --release -p ampoule-engine --example budget -- MODEL 1x1x240x240x144 2147483648`

use ampoule_engine::{Options, Session};
use ampoule_random::Random;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, dims, limit] = &arguments[..] else { return Err("MODEL DIMS BYTES".into()) };
    let dims: Vec<usize> = dims.split('x').map(str::parse).collect::<Result<_, _>>()?;
    let mut random = Random::new(1);
    let input: Vec<f32> = (0..dims.iter().product()).map(|_| random.unit()).collect();
    let run = |max_bytes| -> Result<(u64, Vec<f32>), Box<dyn std::error::Error>> {
        let mut graph = ampoule_onnx::read_file(model.as_ref())?;
        graph.set_input_dims(0, &dims);
        let mut session =
            Session::new(graph, std::slice::from_ref(&dims), &Options { max_bytes, ..Default::default() })?;
        session.set_input(0, &input)?;
        session.run()?;
        Ok((session.arena_bytes() + session.weight_bytes(), session.output(0)?.to_vec()))
    };
    let ((free, want), (held, got)) = (run(None)?, run(Some(limit.parse()?))?);
    let same = want.iter().zip(&got).filter(|(a, b)| a.to_bits() == b.to_bits()).count();
    println!(
        "planned {free} bytes without a limit, {held} within it; {same} of {} values with the same bits",
        want.len()
    );
    if same != want.len() {
        return Err("the limit changed the outputs".into());
    }
    Ok(())
}
