//! One run on raw values, for comparing with other engines: `tensor MODEL IN.f32 1x3x128x128 OUT.f32`,
//! where files hold little-endian float32 in ONNX's row-major order.

use ampoule_engine::{Options, Session};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, model, input, dims, output] = &args[..] else { return Err("tensor MODEL IN DIMS OUT".into()) };
    let dims: Vec<usize> = dims.split('x').map(str::parse).collect::<Result<_, _>>()?;
    let bytes = std::fs::read(input)?;
    let values: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    let graph = ampoule_onnx::read_file(model.as_ref())?;
    let mut session = Session::new(graph, &[dims], &Options::default())?;
    session.set_input(0, &values)?;
    session.run()?;
    let out: Vec<u8> = session.output(0)?.to_vec().iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(output, out)?;
    Ok(())
}
