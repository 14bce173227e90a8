//! `ampoule models`.

use super::{json, say};
use crate::args::{Global, Models};
use crate::exit::{Code, Failure, Outcome};
use ampoule_zoo::CATALOG;
use std::path::{Path, PathBuf};

pub fn run(g: &Global, action: Option<&Models>) -> Outcome {
    match action {
        None | Some(Models::List) => list(g),
        Some(Models::Fetch { name, from, output }) => fetch(g, name, from.as_deref(), output.clone()),
        Some(Models::Import { checkpoint, arch, output }) => import(g, checkpoint, arch, output),
    }
}

fn list(g: &Global) -> Outcome {
    let folder = ampoule_zoo::default_folder();
    for e in CATALOG {
        let path = folder.as_ref().map(|f| f.join(format!("{}.onnx", e.name)));
        let fetched = path.as_ref().is_some_and(|p| p.is_file());
        if g.json {
            json(&serde_json::json!({
                "name": e.name, "description": e.description, "package": e.package, "version": e.version,
                "sha256": e.sha256, "bytes": e.bytes, "license": e.license, "fetched": fetched,
            }))?;
            continue;
        }
        let state = if fetched { "fetched" } else { "not fetched" };
        say(format!("{:10} {} [{state}]", e.name, e.description));
        say(format!(
            "{:10} package {} {}, {:.0} MB, {}",
            "",
            e.package,
            e.version,
            e.bytes as f64 / 1e6,
            e.license
        ));
    }
    Ok(Code::Done)
}

fn fetch(g: &Global, name: &str, from: Option<&Path>, output: Option<PathBuf>) -> Outcome {
    let folder = output.or_else(ampoule_zoo::default_folder).ok_or_else(|| {
        Failure::usage("neither AMPOULE_MODELS nor HOME is set; say where with --output FOLDER")
    })?;
    let path = ampoule_zoo::fetch(name, from, &folder)?;
    if g.json {
        json(&serde_json::json!({ "name": name, "path": path.display().to_string() }))?;
    } else if !g.quiet {
        say(path.display());
    }
    Ok(Code::Done)
}

fn import(g: &Global, checkpoint: &Path, arch: &str, output: &Path) -> Outcome {
    if output.exists() && !g.overwrite {
        return Err(Failure::usage(format!("{} exists; use --overwrite to replace it", output.display())));
    }
    let mut graph = ampoule_zoo::import(checkpoint, arch)?;
    if let Some(recipe) = &g.recipe {
        let text = super::read_recipe(recipe)?;
        ampoule_pipeline::Recipe::parse(&text, "recipe")?;
        graph.set_meta(ampoule_pipeline::RECIPE_KEY, text);
    }
    ampoule_onnx::write_file(&graph, output).map_err(|e| Failure::input(e.to_string()))?;
    if !g.quiet {
        say(output.display());
    }
    Ok(Code::Done)
}
