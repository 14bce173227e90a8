//! A brain mask of a head, by a network and a recipe.
//!
//! `cargo run --release -p ampoule --example segment_scan -- [HEAD.nii.gz [MODEL.onnx RECIPE.toml]]`
//!
//! Without arguments it takes the head and the network that the program's `demo` has inside.

use ampoule::{Model, Result};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let own = |name: &str| format!("{}/../../{name}", env!("CARGO_MANIFEST_DIR"));
    let head = arguments.next().unwrap_or_else(|| own("assets/colin27.nii.gz"));
    let network = arguments.next().unwrap_or_else(|| own("assets/deepbet_f16.onnx"));
    let recipe = arguments.next().unwrap_or_else(|| own("recipes/deepbet.toml"));

    // A recipe inside the model would do; this one overrides it.
    let mut model = Model::builder().memory_limit(2 << 30).recipe_file(recipe)?.open(network)?;
    let found = model.predict(&head)?;

    for m in &found.measured {
        println!("{}: {:.1} ml, {} voxels", m.name, m.ml.unwrap_or(0.0), m.voxels);
    }
    if let (Some(labels), Some(affine)) = (&found.labels, found.affine) {
        println!("label map of {:?} voxels of {:?} mm, x fastest", labels.dims, found.spacing_mm);
        let middle = labels.dims.map(|n| n / 2);
        let [x, y, z] = middle;
        let place: Vec<f64> = (0..3)
            .map(|r| {
                let row = affine.0[r];
                row[0] * x as f64 + row[1] * y as f64 + row[2] * z as f64 + row[3]
            })
            .collect();
        println!("at {place:.1?} mm the label is {}", labels.at(x, y, z));
    }
    found.warnings.iter().for_each(|w| println!("note: {w}"));
    Ok(())
}
