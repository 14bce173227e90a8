//! `ampoule import`.

use super::{open_shaped, say};
use crate::args::{Global, ImportFolder};
use crate::exit::{Code, Failure, Outcome};
use ampoule_pipeline::{RECIPE_KEY, Recipe};

pub fn run(g: &Global, a: &ImportFolder) -> Outcome {
    let output = &a.output;
    if output.exists() && !g.overwrite {
        return Err(Failure::usage(format!("{} exists; use --overwrite to replace it", output.display())));
    }
    let shapes: Vec<_> = a.input_shape.iter().map(|s| s.0.clone()).collect();
    let opened = open_shaped(g, &a.folder, &shapes)?;
    let mut graph = opened.graph;
    if let Some(text) = opened.recipe {
        Recipe::parse(&text, "recipe")?;
        graph.set_meta(RECIPE_KEY, text);
    }
    ampoule_onnx::write_file(&graph, output).map_err(|e| Failure::input(e.to_string()))?;
    say(output.display());
    Ok(Code::Done)
}
