//! What an output folder holds: its cases with their records, as its tables list them.

use crate::Result;
use crate::place::RECORDS;
use crate::record::{RECORD_ENDING, Record};
use crate::table::Table;
use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

/// A case of an output folder, or a file that became none.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// Name of the case; of a file that became none, the file.
    pub name: String,
    /// The (first) file, as the tables name it.
    pub file: String,
    /// `done`, `kept`, `failed`, or `skipped` for a file that became no case.
    pub status: String,
    /// Why there are no results.
    pub reason: Option<String>,
    /// What is recorded of it.
    pub record: Option<Record>,
    /// The folder of its files.
    pub folder: PathBuf,
}

impl Made {
    /// The path of an output of a kind, the first of them.
    pub fn output(&self, kind: &str) -> Option<PathBuf> {
        self.outputs(kind).into_iter().next()
    }

    /// Paths of all outputs of a kind; names that lead out of the folder are none.
    pub fn outputs(&self, kind: &str) -> Vec<PathBuf> {
        let own = self.record.iter().flat_map(|r| &r.outputs).filter(|w| w.kind == kind);
        own.filter(|w| plain(&w.file).is_some_and(|p| p.len() == 1))
            .map(|w| self.folder.join(&w.file))
            .collect()
    }
}

/// All cases of `cases.csv`, then files of `failures.csv` that became none.
pub fn results(output: &Path) -> Result<Vec<Made>> {
    let cases = Table::read(&output.join("cases.csv"))?;
    let failures = output.join("failures.csv");
    let failed = match failures.is_file() {
        true => Table::read(&failures)?,
        false => Table::default(),
    };
    Ok(of_tables(output, &cases, &failed))
}

fn of_tables(output: &Path, cases: &Table, failed: &Table) -> Vec<Made> {
    let mut out = Vec::new();
    let (Some(name), Some(file), Some(status)) =
        (cases.column(&["case"]), cases.column(&["file"]), cases.column(&["status"]))
    else {
        return out;
    };
    let elsewhere = cases.column(&["folder"]);
    let reasons: Vec<(String, String)> = match (failed.column(&["file"]), failed.column(&["reason"])) {
        (Some(f), Some(r)) => failed.rows.iter().map(|(_, x)| (x[f].clone(), x[r].clone())).collect(),
        _ => Vec::new(),
    };
    let by_file: HashMap<&str, &str> = reasons.iter().map(|r| (r.0.as_str(), r.1.as_str())).collect();
    for (_, fields) in &cases.rows {
        let reason = by_file.get(fields[file].as_str()).map(|r| (*r).to_owned());
        // Of merged tables, results lie in other folders.
        let root = elsewhere.map_or_else(|| output.to_owned(), |c| output.join(&fields[c]));
        let (record, folder) = match plain(&fields[name]) {
            Some(parts) => of_case(&root, &parts),
            None => (None, root),
        };
        let status = match fields[status].as_str() {
            known @ ("done" | "kept") => known,
            _ => "failed",
        };
        out.push(Made {
            name: fields[name].clone(),
            file: fields[file].clone(),
            status: status.into(),
            reason: if status == "failed" { Some(reason.unwrap_or_default()) } else { None },
            record,
            folder,
        });
    }
    let known: HashSet<&String> = cases.rows.iter().map(|r| &r.1[file]).collect();
    for (path, reason) in reasons.iter().filter(|r| !known.contains(&r.0)) {
        out.push(Made {
            name: path.clone(),
            file: path.clone(),
            status: "skipped".into(),
            reason: Some(reason.clone()),
            record: None,
            folder: output.to_owned(),
        });
    }
    out
}

/// The parts of a path with `/` that stays below where it begins.
fn plain(path: &str) -> Option<Vec<&str>> {
    let below =
        |part: &&str| matches!(Path::new(part).components().collect::<Vec<_>>()[..], [Component::Normal(_)]);
    let parts: Vec<&str> = path.split('/').collect();
    parts.iter().all(below).then_some(parts)
}

/// The record of a case whose results lie in `output`; none for a name that leads out of it.
pub(crate) fn record_of(output: &Path, case: &str) -> Option<Record> {
    of_case(output, &plain(case)?).0
}

/// A case's record, and the folder of its files.
fn of_case(output: &Path, name: &[&str]) -> (Option<Record>, PathBuf) {
    let (stem, folders) = name.split_last().unwrap_or((&"", &[]));
    let within = |root: PathBuf| folders.iter().fold(root, |p, part| p.join(part));
    let file = format!("{stem}{RECORD_ENDING}");
    let folder = within(output.to_owned());
    let record =
        Record::read(&folder.join(&file)).or_else(|| Record::read(&within(output.join(RECORDS)).join(&file)));
    (record, folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_out_have_no_record() {
        let d = tempfile::tempdir().unwrap();
        let inside = d.path().join("out");
        std::fs::create_dir(&inside).unwrap();
        let record = Record { case: "x".into(), ..Record::default() };
        let text = serde_json::to_string(&record).unwrap();
        std::fs::write(d.path().join("x_ampoule.json"), &text).unwrap();
        std::fs::write(inside.join("x_ampoule.json"), &text).unwrap();
        let table =
            "case,file,status\nx,/a/x.nii,done\n../x,/a/y.nii,done\n/x,/a/z.nii,done\n.,/a/w.nii,done\n";
        std::fs::write(inside.join("cases.csv"), table).unwrap();
        std::fs::write(inside.join("failures.csv"), "file,reason\n/a/v.nii,cut short\n").unwrap();
        let all = results(&inside).unwrap();
        let found: Vec<(&str, &str, bool)> =
            all.iter().map(|m| (&*m.name, &*m.status, m.record.is_some())).collect();
        assert_eq!(
            found,
            [
                ("x", "done", true),
                ("../x", "done", false),
                ("/x", "done", false),
                (".", "done", false),
                ("/a/v.nii", "skipped", false)
            ]
        );
    }

    #[test]
    fn outputs_stay_in_their_folder() {
        let written =
            |file: &str| crate::Written { kind: "labels".into(), file: file.into(), sha256: String::new() };
        let outputs = ["../a.png", "/etc/passwd", "b/c.png", "ok.png"].map(written).to_vec();
        let record = Record { outputs, ..Record::default() };
        let made = Made {
            name: "x".into(),
            file: String::new(),
            status: "done".into(),
            reason: None,
            record: Some(record),
            folder: "out".into(),
        };
        assert_eq!(made.outputs("labels"), [Path::new("out").join("ok.png")]);
    }
}
