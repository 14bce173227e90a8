//! One folder of tables from several: shards that ran on their own disks, or a folder whose run was killed before it wrote
//! its tables.

use super::tables::{LOCK, Row, at, cases_row, written};
use super::{Outcome, gallery, gandlf, kinds, population};
use crate::case::Case;
use crate::claim::Claim;
use crate::population::Reference;
use crate::record::{RECORD_ENDING, Record};
use crate::run::paths::Paths;
use crate::table::Table;
use crate::{Error, Recipe, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Folders within folders that are searched for records.
const DEEPEST: usize = 64;

/// What was merged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Cases with results.
    pub made: usize,
    /// Cases that failed everywhere.
    pub failed: usize,
    /// Files that failed or were skipped.
    pub failures: usize,
    /// Cases that stand in several folders, each of which has one row now.
    pub doubled: usize,
    /// Cases that no table had, found by their records.
    pub found: usize,
}

/// Merges the tables of `folders` into `output`, which may be one of them. Results stay where they are: a column `folder` says
/// where. Several models or recipes are refused.
pub fn merge_folders(folders: &[PathBuf], output: &Path, reference: Option<&Reference>) -> Result<Merged> {
    std::fs::create_dir_all(output).map_err(Error::io(output))?;
    let _claim = Claim::wait(&output.join(LOCK))?;
    keeps_its_own(folders, output)?;
    let runs = runs(folders)?;
    let mut all = Cases::default();
    let mut failures: BTreeMap<String, String> = BTreeMap::new();
    for folder in folders {
        all.add(folder, output, &runs)?;
        for row in rows(&folder.join("failures.csv"))? {
            failures.entry(at(&row, "file")).or_insert_with(|| at(&row, "reason"));
        }
    }
    let predictions =
        PREDICTIONS.iter().map(|(name, key)| of_folders(folders, name, key)).collect::<Result<Vec<_>>>()?;
    // What failed in one place and is done in another did not fail.
    let made = |row: &&Row| at(row, "status") != "failed";
    let done: BTreeSet<String> = all.rows.values().filter(made).map(|r| at(r, "file")).collect();
    failures.retain(|file, _| !done.contains(file));
    let mut merged =
        Merged { failures: failures.len(), doubled: all.doubled, found: all.found, ..Merged::default() };
    merged.made = all.rows.values().filter(made).count();
    merged.failed = all.rows.len() - merged.made;
    write(output, all, failures, predictions, &runs)?;
    let cases = Table::read(&output.join("cases.csv"))?;
    let (name, sha256) = named(&runs);
    let recipe = runs.last().and_then(recipe_of);
    let title = recipe.as_ref().map_or(name, |r| r.model.name.clone());
    if let Some(recipe) = &recipe {
        gallery::write(gallery::head(recipe, &sha256), output)?;
    }
    population::write_population(output, &title, &cases, reference)?;
    Ok(merged)
}

/// Tables of what was predicted, with the column that a row is known by.
const PREDICTIONS: [(&str, &str); 3] =
    [("predictions.csv", "file"), (gandlf::CLASSES, "SubjectID"), (gandlf::NUMBERS, "SubjectID")];

/// Rows of the table `name` of all folders, the first of those with the same value of column `key`.
fn of_folders(folders: &[PathBuf], name: &str, key: &str) -> Result<Vec<Row>> {
    let (mut seen, mut all) = (BTreeSet::new(), Vec::new());
    for folder in folders {
        all.extend(rows(&folder.join(name))?.into_iter().filter(|r| seen.insert(at(r, key))));
    }
    Ok(all)
}

fn write(
    output: &Path,
    all: Cases,
    failures: BTreeMap<String, String>,
    predictions: Vec<Vec<Row>>,
    runs: &[Value],
) -> Result<()> {
    let cases: Vec<Row> = all.rows.into_values().collect();
    written(&output.join("cases.csv"), &header(&cases, &["case", "file", "status"]), &cases)?;
    for ((name, key), rows) in PREDICTIONS.iter().zip(&predictions).filter(|(_, rows)| !rows.is_empty()) {
        let first: &[&str] = if *name == gandlf::NUMBERS { &["Epoch", key] } else { &[key] };
        written(&output.join(name), &header(rows, first), rows)?;
    }
    let failures: Vec<Row> = failures
        .into_iter()
        .map(|(file, reason)| vec![("file".to_owned(), file), ("reason".to_owned(), reason)])
        .collect();
    let path = output.join("failures.csv");
    if !failures.is_empty() {
        written(&path, &["file".into(), "reason".into()], &failures)?;
    } else if path.is_file() {
        std::fs::remove_file(&path).map_err(Error::io(&path))?;
    }
    kinds::write(&output.join("runs.json"), runs)
}

/// Cases by name.
#[derive(Default)]
struct Cases {
    rows: BTreeMap<String, Row>,
    /// The folder that each row is of.
    from: BTreeMap<String, PathBuf>,
    doubled: usize,
    found: usize,
}

impl Cases {
    /// Adds the rows of a folder, and records that no row tells of.
    fn add(&mut self, folder: &Path, output: &Path, runs: &[Value]) -> Result<()> {
        let place = relative(folder, output);
        let mut known = BTreeSet::new();
        for mut row in rows(&folder.join("cases.csv"))? {
            known.insert(at(&row, "case"));
            row = placed(row, &place);
            self.one(row, folder)?;
        }
        let mut records = Vec::new();
        found(folder, output, 0, &mut records)?;
        for record in records.into_iter().filter(|r| !known.contains(&r.case)) {
            let entry = runs
                .iter()
                .find(|v| v.get("fingerprint").and_then(Value::as_str) == Some(&record.fingerprint));
            // Without the kind of run nothing says what its numbers are.
            let Some(recipe) = entry.and_then(recipe_of) else { continue };
            let file = record.inputs.first().map(|i| PathBuf::from(&i.file)).unwrap_or_default();
            let case = Case { name: record.case.clone(), files: vec![file], ..Case::default() };
            let row = cases_row(&recipe, &case, &Outcome::Kept(Box::new(record)), Paths { redact: false });
            self.found += 1;
            self.one(placed(row, &place), folder)?;
        }
        Ok(())
    }

    /// Adds a row; of two of one case the one with results stays.
    fn one(&mut self, row: Row, folder: &Path) -> Result<()> {
        let name = at(&row, "case");
        if let Some(there) = self.rows.get(&name) {
            let made = |r: &Row| at(r, "status") != "failed";
            let file = |r: &Row| Path::new(&at(r, "file")).file_name().map(|n| n.to_owned());
            if file(there) != file(&row) {
                let reason = format!(
                    "its case `{name}` is made of {}, and that of {} of {}; run both into one folder, which tells them apart",
                    at(&row, "file"),
                    self.from[&name].display(),
                    at(there, "file")
                );
                return Err(Error::Content { path: folder.into(), reason });
            }
            self.doubled += 1;
            if made(there) || !made(&row) {
                return Ok(());
            }
        }
        self.from.insert(name.clone(), folder.to_owned());
        self.rows.insert(name, row);
        Ok(())
    }
}

/// A row with the folder of its results, where that is another.
fn placed(mut row: Row, place: &str) -> Row {
    let own = at(&row, "folder");
    row.retain(|c| c.0 != "folder");
    let folder = match (place.is_empty(), own.is_empty()) {
        (_, true) => place.to_owned(),
        (true, _) => own,
        (false, false) => format!("{place}/{own}"),
    };
    if !folder.is_empty() {
        row.push(("folder".into(), folder));
    }
    row
}

/// Refuses to write over results of the output folder itself that are not among those to merge.
fn keeps_its_own(folders: &[PathBuf], output: &Path) -> Result<()> {
    let named = folders.iter().any(|f| relative(f, output).is_empty());
    let own = rows(&output.join("cases.csv"))?.iter().any(|r| at(r, "folder").is_empty());
    match own && !named {
        true => {
            let reason =
                "it holds results of its own; name it among the folders too, or choose another one".into();
            Err(Error::Content { path: output.into(), reason })
        }
        false => Ok(()),
    }
}

/// The way from `output` to `folder`, with `/`.
fn relative(folder: &Path, output: &Path) -> String {
    let real = |p: &Path| p.canonicalize().unwrap_or_else(|_| p.to_owned());
    let (folder, output) = (real(folder), real(output));
    let shared = folder.components().zip(output.components()).take_while(|(a, b)| a == b).count();
    let up = output.components().skip(shared).map(|_| "..".to_owned());
    let down = folder.components().skip(shared).map(|c| c.as_os_str().to_string_lossy().into_owned());
    up.chain(down).collect::<Vec<_>>().join("/")
}

/// All records of a folder, hidden folders and the folder of results left out where it is another.
fn found(folder: &Path, output: &Path, depth: usize, into: &mut Vec<Record>) -> Result<()> {
    let entries = std::fs::read_dir(folder).map_err(Error::io(folder))?;
    let mut entries: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let link = path.symlink_metadata().is_ok_and(|m| m.is_symlink());
        if name.starts_with('.') || link {
            continue;
        }
        if path.is_dir() {
            let other = depth < DEEPEST && path != output && !path.join("cases.csv").is_file();
            if other {
                found(&path, output, depth + 1, into)?;
            }
        } else if name.ends_with(RECORD_ENDING) {
            into.extend(Record::read(&path));
        }
    }
    Ok(())
}

/// Rows of a table; none where there is no such file.
fn rows(path: &Path) -> Result<Vec<Row>> {
    if path.symlink_metadata().is_err() {
        return Ok(Vec::new());
    }
    let table = Table::read(path)?;
    let row = |(_, fields): (usize, Vec<String>)| {
        table.header.iter().cloned().zip(fields).filter(|c| !c.1.is_empty()).collect()
    };
    Ok(table.rows.into_iter().map(row).collect())
}

/// The columns of rows, these first.
fn header(rows: &[Row], first: &[&str]) -> Vec<String> {
    let mut out: Vec<String> = first.iter().map(|s| (*s).to_owned()).collect();
    let mut known: BTreeSet<String> = out.iter().cloned().collect();
    for (name, _) in rows.iter().flatten() {
        if known.insert(name.clone()) {
            out.push(name.clone());
        }
    }
    out
}

/// The kinds of run of all folders, which must be of one model and recipe.
fn runs(folders: &[PathBuf]) -> Result<Vec<Value>> {
    let mut all: Vec<Value> = Vec::new();
    for folder in folders {
        let path = folder.join("runs.json");
        let Some(list) = kinds::listed(&path) else {
            let reason = "it holds no results of `run` (runs.json is missing or damaged)".into();
            return Err(Error::Content { path: folder.clone(), reason });
        };
        for entry in list {
            if let Some(first) = all.first()
                && let Some((_, what)) = kinds::apart(&[first.clone(), entry.clone()])
            {
                return Err(Error::Cohort { path: folder.clone(), what, there: kinds::named(&entry) });
            }
            if !all.iter().any(|v| v.get("fingerprint") == entry.get("fingerprint")) {
                all.push(entry);
            }
        }
    }
    Ok(all)
}

fn recipe_of(entry: &Value) -> Option<Recipe> {
    let mut recipe = Recipe::parse(entry.get("recipe")?.as_str()?, "runs.json").ok()?;
    recipe.set_aside();
    Some(recipe)
}

/// Name and hash of the model.
fn named(runs: &[Value]) -> (String, String) {
    let text = |key: &str| {
        let last = runs.last().and_then(|v| v.get(key)).and_then(Value::as_str);
        last.unwrap_or_default().to_owned()
    };
    (text("model"), text("model_sha256"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_named_from_the_output() {
        let d = tempfile::tempdir().unwrap();
        for name in ["a/b", "out", "out/in"] {
            std::fs::create_dir_all(d.path().join(name)).unwrap();
        }
        let way = |folder: &str| relative(&d.path().join(folder), &d.path().join("out"));
        assert_eq!([way("a/b"), way("out"), way("out/in")], ["../a/b", "", "in"]);
        let row = |folder: &str| placed(vec![("folder".into(), folder.into())], "../a");
        assert_eq!((at(&row(""), "folder"), at(&row("b"), "folder")), ("../a".into(), "../a/b".into()));
    }
}
