//! Studies of several machines in one comparison.

use crate::results::{Results, VERSION};
use crate::{Error, Result};
use serde::Deserialize;
use std::path::Path;

/// Reads a study's `results.json`, or that of its folder.
pub fn read(path: &Path) -> Result<Results> {
    let file = if path.is_dir() { path.join("results.json") } else { path.to_owned() };
    let fail = |reason: String| Error::File { path: file.clone(), reason };
    let text = crate::plain_text(&file).map_err(|e| fail(e.to_string()))?;
    let wrong = |e: serde_json::Error| match e.is_data() {
        true => fail(format!("it is damaged: {e}")),
        false => fail(format!("not JSON: {e}")),
    };
    // Nothing but what it is of is kept at first, so that a file of another kind takes no memory.
    let head: Head = serde_json::from_str(&text).map_err(wrong)?;
    if head.format.as_deref() != Some("ampoule-study") {
        return Err(fail("it is no result of `ampoule study`".into()));
    }
    if head.version != Some(VERSION) {
        let version = head.version.map_or("no version".into(), |v| format!("version {v}"));
        return Err(fail(format!("{version} of the format; this program reads version {VERSION}")));
    }
    serde_json::from_str(&text).map_err(wrong)
}

/// What the file is of.
#[derive(Deserialize)]
struct Head {
    format: Option<String>,
    version: Option<u32>,
}

/// Whether studies can be compared: the same models on the same cases. Says which are not.
pub fn comparison(all: &[Results]) -> Result<Vec<String>> {
    let Some((first, others)) = all.split_first() else {
        return Err(Error::Results { reason: "there are no studies to compare".into() });
    };
    let mut notes = Vec::new();
    for r in others {
        for w in &r.workloads {
            let Some(own) = first.workloads.iter().find(|x| x.name == w.name) else {
                notes.push(format!("{}: the first study has no workload `{}`", r.machine.cpu, w.name));
                continue;
            };
            if own.model_sha256 != w.model_sha256 {
                notes.push(format!("{}: workload `{}` is of another model file", r.machine.cpu, w.name));
            }
            if own.cases_sha256 != w.cases_sha256 {
                notes.push(format!("{}: workload `{}` has other cases", r.machine.cpu, w.name));
            }
        }
    }
    Ok(notes)
}
