//! Writes a TorchScript or `torch.export` archive as ONNX: `to_onnx FILE OUTPUT [SHAPE…]`, shapes as `1x3x?x?`.

use ampoule_torch::{Budget, InputShape};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [file, output, shapes @ ..] = &args[..] else {
        return Err("usage: to_onnx FILE OUTPUT [SHAPE…]".into());
    };
    let shape = |s: &String| -> InputShape { s.split('x').map(|n| n.parse().ok()).collect() };
    let shapes: Vec<InputShape> = shapes.iter().map(shape).collect();
    let graph = ampoule_torch::graph(&std::fs::read(file)?, &shapes, Budget::default())?;
    for i in &graph.inputs {
        println!("{} {:?}", graph.value(*i).name, graph.value(*i).shape);
    }
    ampoule_onnx::write_file(&graph, output.as_ref())?;
    Ok(())
}
