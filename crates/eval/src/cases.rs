//! The cases that judging is done on: where they are, and that no case is in two sets.

use crate::{Error, Result};
use ampoule_pipeline::recipe::Kind;
use ampoule_pipeline::{Case, Recipe, collect, sha256_file, sha256_hex};
use std::collections::BTreeMap;
use std::path::Path;

/// The cases that a path names, for a recipe: a file, a folder, or a manifest.
pub fn cases(path: &Path, recipe: &Recipe) -> Result<Vec<Case>> {
    if !path.exists() {
        return Err(Error::Input { path: path.into(), reason: "there is no such file or folder".into() });
    }
    let found = collect(recipe, &[path.to_path_buf()], None)?;
    if let Some((path, reason)) = found.skipped.into_iter().next() {
        return Err(Error::Input { path, reason });
    }
    if found.cases.is_empty() {
        let kind = match recipe.kind() {
            Kind::Image => "photos or tiles",
            Kind::Volume => "volumes",
        };
        return Err(Error::Input { path: path.into(), reason: format!("there are no {kind} in it") });
    }
    Ok(found.cases)
}

/// Refuses a case that is in two of the named sets, by content; returns a hash of all.
pub fn disjoint(sets: &[(&str, &[Case])]) -> Result<String> {
    let mut seen: BTreeMap<String, (&str, &Path)> = BTreeMap::new();
    let mut text = String::new();
    for &(set, cases) in sets {
        for path in cases.iter().flat_map(|c| &c.files) {
            let hash = sha256_file(path)?;
            text += &hash;
            if let Some((other, first)) = seen.get(&hash).filter(|s| s.0 != set) {
                let reason = format!(
                    "this {set} case has the same content as the {other} case {}; a case must be in one set only",
                    first.display()
                );
                return Err(Error::Input { path: path.clone(), reason });
            }
            seen.insert(hash, (set, path));
        }
        text.push('/');
    }
    Ok(sha256_hex(text.as_bytes()))
}
