//! `qc.html`: all cases of an output folder with their pictures.

use crate::gallery::{self, Head, Quantity, Row, Status};
use crate::place::RECORDS;
use crate::record::{RECORD_ENDING, Record};
use crate::table::Table;
use crate::{Error, Recipe, Result};
use ampoule_files::write_atomic;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// What stands above the cases of a model.
pub(super) fn head(recipe: &Recipe, sha256: &str) -> Head {
    Head {
        title: recipe.model.name.clone(),
        recipe: recipe.model.name.clone(),
        model: recipe.model.description.clone(),
        model_sha256: sha256.to_owned(),
        program: format!("ampoule {}", env!("CARGO_PKG_VERSION")),
        date: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
    }
}

/// Writes the page of the cases in `cases.csv` and the files in `failures.csv`.
pub(super) fn write(head: Head, output: &Path) -> Result<()> {
    let cases = Table::read(&output.join("cases.csv"))?;
    let failures = output.join("failures.csv");
    let failed = match failures.is_file() {
        true => Table::read(&failures)?,
        false => Table::default(),
    };
    let rows = rows(output, &cases, &failed);
    let path = output.join("qc.html");
    write_atomic(&path, |out| gallery::write(out, &head, &mut rows.iter().cloned())).map_err(Error::io(&path))
}

/// Whether a page was written here.
pub(super) fn made(page: &[u8]) -> bool {
    let name = b"ampoule ";
    page.windows(name.len()).any(|w| w == name)
}

fn rows(output: &Path, cases: &Table, failed: &Table) -> Vec<Row> {
    let mut out = Vec::new();
    let column = |t: &Table, name: &str| t.column(&[name]);
    let (Some(name), Some(file), Some(status)) =
        (column(cases, "case"), column(cases, "file"), column(cases, "status"))
    else {
        return out;
    };
    let folder = column(cases, "folder");
    let reasons: Vec<(String, String)> = match (failed.column(&["file"]), failed.column(&["reason"])) {
        (Some(f), Some(r)) => failed.rows.iter().map(|(_, x)| (x[f].clone(), x[r].clone())).collect(),
        _ => Vec::new(),
    };
    let by_file: HashMap<&str, &str> = reasons.iter().map(|r| (r.0.as_str(), r.1.as_str())).collect();
    for (_, fields) in &cases.rows {
        let case = &fields[name];
        let reason = by_file.get(fields[file].as_str()).map(|r| (*r).to_owned());
        let place = folder.map_or("", |c| fields[c].as_str());
        let record = record(&output.join(place), case);
        out.push(Row {
            name: case.clone(),
            status: match fields[status].as_str() {
                "done" => Status::Done,
                "kept" => Status::Kept,
                _ => Status::Failed(reason.unwrap_or_default()),
            },
            picture: record.as_ref().and_then(|r| picture(place, case, r)),
            class: record.as_ref().filter(|r| !r.classes.is_empty()).map(|r| r.classes.join(", ")),
            quantities: record.as_ref().map(quantities).unwrap_or_default(),
            seconds: record.as_ref().and_then(|r| r.timings_ms.get("total")?.as_f64()).map(|ms| ms / 1e3),
            warnings: record.map(|r| r.warnings).unwrap_or_default(),
        });
    }
    let known: HashSet<&String> = cases.rows.iter().map(|r| &r.1[file]).collect();
    for (path, reason) in reasons.iter().filter(|r| !known.contains(&r.0)) {
        out.push(Row {
            name: path.clone(),
            status: Status::Skipped(reason.clone()),
            picture: None,
            class: None,
            quantities: Vec::new(),
            seconds: None,
            warnings: Vec::new(),
        });
    }
    out
}

/// The record of a case in a folder of results.
pub(super) fn record(output: &Path, case: &str) -> Option<Record> {
    let place = |root: &Path| {
        let (folder, stem) = case.rsplit_once('/').unwrap_or(("", case));
        root.join(folder).join(format!("{stem}{RECORD_ENDING}"))
    };
    Record::read(&place(output)).or_else(|| Record::read(&place(&output.join(RECORDS))))
}

/// The picture of a case whose results lie in `place`, as a path from the page.
fn picture(place: &str, case: &str, record: &Record) -> Option<PathBuf> {
    let file = &record.outputs.iter().find(|w| w.kind == "picture")?.file;
    let folder = case.rsplit_once('/').map_or("", |p| p.0);
    Some(Path::new(place).join(folder).join(file))
}

fn quantities(r: &Record) -> Vec<Quantity> {
    if r.labels.is_empty() {
        let score =
            |(n, v): &(String, f32)| Quantity { name: n.clone(), value: *v as f64, unit: String::new() };
        return r.scores.iter().map(score).collect();
    }
    let one = |m: &crate::measure::Measured| {
        let (value, unit) = match (m.ml, m.mm2) {
            (Some(v), _) => (v, "ml"),
            (_, Some(v)) => (v, "mm²"),
            _ => (100.0 * m.share, "%"),
        };
        Quantity { name: m.name.clone(), value, unit: unit.into() }
    };
    r.labels.iter().map(one).collect()
}
