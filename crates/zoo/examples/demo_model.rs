//! Writes the model of `ampoule demo`: deepbet with float16 weights.
//! `cargo run --release -p ampoule-zoo --example demo_model -- WHEEL assets/deepbet_f16.onnx`

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args_os().skip(1);
    let (Some(wheel), Some(out)) = (args.next(), args.next()) else {
        return Err("usage: demo_model WHEEL OUT.onnx".into());
    };
    let mut graph = ampoule_zoo::build(ampoule_zoo::entry("deepbet")?, wheel.as_ref())?;
    let error = ampoule_zoo::half_weights(&mut graph, 64);
    ampoule_onnx::write_file(&graph, out.as_ref())?;
    println!("largest relative rounding error of a tensor: {error:.1e}");
    Ok(())
}
