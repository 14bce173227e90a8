//! Classes of photos, the likeliest first.
//!
//! `cargo run --release -p ampoule --example classify_photo -- MODEL.onnx RECIPE.toml PHOTO...`
//!
//! `recipes/dfu.toml` is such a recipe.

use ampoule::{Error, Model};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [network, recipe, photos @ ..] = &arguments[..] else {
        eprintln!("give MODEL.onnx RECIPE.toml PHOTO...");
        return ExitCode::from(2);
    };
    match classify(network, recipe, photos) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn classify(network: &str, recipe: &str, photos: &[String]) -> Result<(), Error> {
    let mut model = Model::builder().recipe_file(recipe)?.open(network)?;
    for photo in photos {
        let mut found = model.predict(photo)?;
        found.scores.sort_by(|a, b| b.1.total_cmp(&a.1));
        let list: Vec<String> = found.scores.iter().map(|(c, p)| format!("{c} {:.1} %", 100.0 * p)).collect();
        println!("{photo}: {} ({})", found.classes.join(", "), list.join(", "));
        found.warnings.iter().for_each(|w| println!("  note: {w}"));
    }
    Ok(())
}
