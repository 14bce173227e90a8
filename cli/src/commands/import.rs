//! `ampoule import`.

use super::{file_size, open_shaped, say};
use crate::args::{Global, ImportFolder};
use crate::exit::{Code, Failure, Outcome};
use ampoule_pipeline::{RECIPE_KEY, Recipe, ask_memory};
use std::path::Path;

/// Copies of a checkpoint's weights at one time: the file, its tensors, the graph's, and the file that is written.
pub(super) const COPIES: u64 = 4;

/// Refuses to replace a file that nobody said to replace.
fn may_write(g: &Global, output: &Path) -> Result<(), Failure> {
    if output.exists() && !g.overwrite {
        return Err(Failure::usage(format!("{} exists; use --overwrite to replace it", output.display())));
    }
    Ok(())
}

/// Writes the network of an architecture with the weights of a checkpoint.
pub(super) fn weights(g: &Global, checkpoint: &Path, arch: &str, output: &Path) -> Outcome {
    may_write(g, output)?;
    let bytes = file_size(checkpoint).saturating_mul(COPIES);
    ask_memory(checkpoint, "its weights, as read and as written", bytes)?;
    let about = |e: ampoule_zoo::Error| match e {
        // It names its file.
        ampoule_zoo::Error::Io { .. } => e.into(),
        e => Failure::from(e).about(checkpoint.display()),
    };
    let mut graph = ampoule_zoo::import(checkpoint, arch).map_err(about)?;
    if let Some(recipe) = &g.recipe {
        let text = super::read_recipe(recipe)?;
        Recipe::parse(&text, "recipe")?;
        graph.set_meta(RECIPE_KEY, text);
    }
    ampoule_onnx::write_file(&graph, output).map_err(|e| Failure::input(e.to_string()))?;
    say(output.display());
    Ok(Code::Done)
}

pub fn run(g: &Global, a: &ImportFolder) -> Outcome {
    let output = &a.output;
    if let Some(arch) = &a.arch {
        return weights(g, Path::new(&a.folder), arch, output);
    }
    may_write(g, output)?;
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
