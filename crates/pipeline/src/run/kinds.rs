//! `runs.json`: model, recipe and settings of every kind of run that wrote into a folder.

use super::one::{fingerprint, settings};
use crate::batch::Batch;
use crate::{Error, Model, Result};
use ampoule_files::write_atomic;
use serde_json::Value;
use std::path::Path;

/// The entries of the file; `None` where it is none of this program's.
pub(super) fn listed(path: &Path) -> Option<Vec<Value>> {
    let list: Vec<Value> = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    list.iter().all(|v| v.get("fingerprint").is_some()).then_some(list)
}

/// Two entries that are not of one model and one recipe, where there are such: the second, and in what it differs.
pub(super) fn apart(all: &[Value]) -> Option<(&Value, &'static str)> {
    let first = all.first()?;
    let differs =
        |what: &'static str, key: &str| all.iter().find(|v| v.get(key) != first.get(key)).map(|v| (v, what));
    differs("model", "model_sha256").or_else(|| differs("recipe", "recipe"))
}

/// What an entry is of, for people.
pub(super) fn named(entry: &Value) -> String {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
    let run: String = text("fingerprint").chars().take(12).collect();
    format!("`{}`, run {run}", text("model"))
}

/// Notes a kind of run before its first case, and says whether it is new there. Refuses a folder with results of another model
/// or recipe unless results are overwritten, or were before.
pub(super) fn begin(model: &Model, output: &Path, batch: &Batch) -> Result<bool> {
    let path = output.join("runs.json");
    let entry = entry(model, batch);
    let mut all: Vec<Value> = listed(&path).unwrap_or_default();
    let known = all.iter().position(|v| v.get("fingerprint") == entry.get("fingerprint"));
    match known {
        Some(i) => all[i] = entry,
        None => {
            for there in all.iter().filter(|_| !batch.overwrite) {
                if let Some((_, what)) = apart(&[there.clone(), entry.clone()]) {
                    return Err(Error::Cohort { path: output.into(), what, there: named(there) });
                }
            }
            all.push(entry);
        }
    }
    write(&path, &all)?;
    Ok(known.is_none())
}

/// Takes a kind of run back that made nothing.
pub(super) fn unused(model: &Model, output: &Path, batch: &Batch) -> Result<()> {
    let path = output.join("runs.json");
    let own = fingerprint(model, batch);
    let start: String = own.chars().take(12).collect();
    // Another process, or an earlier one, may have made something.
    let table = output.join("cases.csv");
    let used = table.is_file() && {
        let table = crate::Table::read(&table)?;
        let run = table.column(&["run"]);
        run.is_some_and(|run| table.rows.iter().any(|(_, r)| r[run] == start))
    };
    if used {
        return Ok(());
    }
    let mut all: Vec<Value> = listed(&path).unwrap_or_default();
    all.retain(|v| v.get("fingerprint").and_then(Value::as_str) != Some(&own));
    match all.is_empty() {
        true => match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::Io { path, source: e }),
            _ => Ok(()),
        },
        false => write(&path, &all),
    }
}

fn entry(model: &Model, batch: &Batch) -> Value {
    serde_json::json!({
        "generated_by": format!("ampoule {}", env!("CARGO_PKG_VERSION")),
        "model": model.recipe.model.name,
        "model_sha256": model.sha256,
        "fingerprint": fingerprint(model, batch),
        "settings": settings(model, batch),
        "recipe": model.recipe.to_text(),
        "isa": batch.isa,
        "calibration": batch.calibration,
        "threads": model.threads(),
        "cpu": crate::cpu_model().unwrap_or_default(),
        "host": ampoule_system::figures::host(),
    })
}

/// Writes the entries.
pub(super) fn write(path: &Path, all: &[Value]) -> Result<()> {
    let text = serde_json::to_string_pretty(all).unwrap_or_default() + "\n";
    write_atomic(path, |out| out.write_all(text.as_bytes())).map_err(Error::io(path))
}
