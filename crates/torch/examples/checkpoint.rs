//! Prints what a checkpoint holds: `cargo run -p ampoule-torch --example checkpoint FILE`.

use ampoule_torch::Budget;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).ok_or("usage: checkpoint FILE")?;
    let checkpoint = ampoule_torch::read(file.as_ref(), Budget::default())?;
    println!("{:#?}", checkpoint.values);
    let state = checkpoint.state(false)?;
    println!("state dict under `{}`:", state.key);
    for (name, t) in &state.tensors {
        println!("{name} {} {:?}", t.dtype().name(), t.dims());
    }
    Ok(())
}
