//! `ampoule generate`.

use super::{print, read_model};
use crate::args::{Document, Generate, Global};
use crate::exit::{Code, Failure, Outcome};
use clap_complete::Shell;

pub fn run(g: &Global, a: &Generate) -> Outcome {
    let mut command = crate::args::command();
    let shell = match a.what {
        Document::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page).map_err(|e| Failure::input(e.to_string()))?;
            print(String::from_utf8_lossy(&page));
            return Ok(Code::Done);
        }
        Document::Recipe => {
            let name = a
                .model
                .as_deref()
                .ok_or_else(|| Failure::usage("say whose recipe: `ampoule generate recipe deepbet`"))?;
            print(recipe(g, name)?);
            return Ok(Code::Done);
        }
        Document::CompleteBash => Shell::Bash,
        Document::CompleteZsh => Shell::Zsh,
        Document::CompleteFish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "ampoule", &mut script);
    print(String::from_utf8_lossy(&script));
    Ok(Code::Done)
}

/// The recipe of a known model, or the one inside a file.
fn recipe(g: &Global, model: &str) -> Result<String, Failure> {
    if let Some(text) = ampoule_zoo::shipped_recipe(model) {
        return Ok(text.to_owned());
    }
    let graph = read_model(g, model)?.graph;
    match graph.meta(ampoule_pipeline::RECIPE_KEY) {
        Some(text) => Ok(text.to_owned()),
        None => {
            let name = std::path::Path::new(model).file_stem().unwrap_or_default().to_string_lossy();
            Ok(ampoule_pipeline::recipe::skeleton(&graph, &name))
        }
    }
}
