//! The tables of an output folder: what every case gave, what failed, and with which settings. Several runs, and
//! several processes, write into the same tables, row by row.

use super::paths::Paths;
use super::{CaseResult, Outcome, Summary};
use super::{gallery, gandlf, kinds, population};
use crate::batch::Batch;
use crate::case::Case;
use crate::claim::Claim;
use crate::field::field;
use crate::measure::Measured;
use crate::population::{POPULATION_KEY, Reference};
use crate::recipe::{Kind, Recipe, Tables, Task};
use crate::record::Record;
use crate::table::Table;
use crate::{Error, Model, Result};
use ampoule_files::write_atomic;
use ampoule_imaging::rounding::round_to;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Refuses folders with tables of others, or with results of another model or recipe, and notes what kind of run begins; whether
/// it is the first of its kind there.
pub(super) fn begin(model: &Model, output: &Path, batch: &Batch) -> Result<bool> {
    ours(output)?;
    std::fs::create_dir_all(output).map_err(Error::io(output))?;
    let _claim = Claim::wait(&output.join(LOCK))?;
    kinds::begin(model, output, batch)
}

/// The lock of a folder's tables.
pub(super) const LOCK: &str = ".tables.ampoule-lock";

/// Least cases of a folder whose population is described where the model says nothing of its own.
const POPULATION: usize = 20;

/// The population of a folder's cases, where there are enough or the model has one to compare with.
fn population(model: &Model, output: &Path) -> Result<()> {
    let reference = model.graph().meta(POPULATION_KEY).and_then(Reference::parse);
    let cases = Table::read(&output.join("cases.csv"))?;
    if reference.is_none() && cases.rows.len() < POPULATION {
        return Ok(());
    }
    population::write_population(output, &model.recipe.model.name, &cases, reference.as_ref())
}

/// Writes all tables of a run into `output`; whether it is the `first` of its kind there.
pub(super) fn write(
    model: &Model,
    output: &Path,
    summary: &Summary,
    batch: &Batch,
    first: bool,
) -> Result<()> {
    std::fs::create_dir_all(output).map_err(Error::io(output))?;
    let _claim = Claim::wait(&output.join(LOCK))?;
    // Whoever has the claim is the only one to write these.
    for name in [
        "cases.csv",
        "predictions.csv",
        "failures.csv",
        gandlf::CLASSES,
        gandlf::NUMBERS,
        "runs.json",
        "qc.html",
        "population.csv",
        "population.html",
        "dataset_description.json",
    ] {
        super::one::remove_temporaries(&output.join(name));
    }
    let paths = Paths { redact: batch.outputs.redact_paths };
    failures(output, summary, paths)?;
    let [done, kept, ..] = summary.counts();
    if first && done + kept == 0 {
        kinds::unused(model, output, batch)?;
    }
    if summary.results.is_empty() {
        return Ok(());
    }
    let recipe = &model.recipe;
    let all = output.join("cases.csv");
    let stand = standing(&all)?;
    // A case whose results were made otherwise and stay keeps its row.
    let refused = |r: &CaseResult| matches!(r.outcome, Outcome::Failed(Error::Exists { .. }));
    let new = summary.results.iter().filter(|r| !(refused(r) && stand.contains(&r.case.name)));
    merge(&all, "case", new.map(|r| cases_row(recipe, &r.case, &r.outcome, paths)).collect())?;
    if recipe.is_image_level() || recipe.kind() == Kind::Image {
        let rows: Vec<Row> =
            summary.results.iter().filter_map(|r| prediction(recipe, &r.case, &r.outcome, paths)).collect();
        if !rows.is_empty() {
            merge(&output.join("predictions.csv"), "file", rows)?;
        }
    }
    if recipe.outputs.tables == Tables::Gandlf {
        let (name, rows) = gandlf::rows(recipe, output, summary)?;
        if !rows.is_empty() {
            merge(&output.join(name), "SubjectID", rows)?;
        }
    }
    let head = gallery::head(&model.recipe, &model.sha256);
    gallery::write(head, output)?;
    population(model, output)?;
    if summary.results.iter().any(|r| r.case.bids) {
        bids(output, &model.recipe.model.name)?;
    }
    Ok(())
}

/// Tables, and columns by which one is known to be this program's.
const TABLES: [(&str, &[&[&str]]); 5] = [
    ("cases.csv", &[&["case"], &["file"], &["status"]]),
    ("predictions.csv", &[&["file"], &["model", "class"]]),
    ("failures.csv", &[&["file"], &["reason"]]),
    (gandlf::CLASSES, &[&["SubjectID"], &["PredictedClass"]]),
    (gandlf::NUMBERS, &[&["SubjectID"], &["PredictedValue"]]),
];

/// Refuses files of others that stand in the place of tables: rows are added to those.
fn ours(output: &Path) -> Result<()> {
    let not_ours = |path: &Path| {
        let reason = "it is none of this program's tables, which results are added to; move it, or choose another output folder";
        Err(Error::Content { path: path.into(), reason: reason.into() })
    };
    let filled = |path: &Path| path.metadata().is_ok_and(|m| m.len() > 0 || !m.is_file());
    for (name, columns) in TABLES {
        let path = output.join(name);
        // GaNDLF writes tables of the same names itself.
        if [gandlf::CLASSES, gandlf::NUMBERS].contains(&name)
            && filled(&path)
            && !filled(&output.join("cases.csv"))
        {
            return not_ours(&path);
        }
        if filled(&path) {
            let table = Table::read(&path)?;
            if !columns.iter().all(|c| table.column(c).is_some()) {
                return not_ours(&path);
            }
        }
    }
    let path = output.join("runs.json");
    if filled(&path) && kinds::listed(&path).is_none() {
        return not_ours(&path);
    }
    let path = output.join("qc.html");
    if filled(&path) && !std::fs::read(&path).is_ok_and(|page| gallery::made(&page)) {
        return not_ours(&path);
    }
    Ok(())
}

/// Cases of a table that have results.
fn standing(path: &Path) -> Result<BTreeSet<String>> {
    if path.symlink_metadata().is_err() {
        return Ok(BTreeSet::new());
    }
    let table = Table::read(path)?;
    let (Some(case), Some(status)) = (table.column(&["case"]), table.column(&["status"])) else {
        return Ok(BTreeSet::new());
    };
    let made = table.rows.into_iter().filter(|(_, r)| r[status] != "failed");
    Ok(made.map(|(_, mut r)| std::mem::take(&mut r[case])).collect())
}

/// Columns and their values.
pub(super) type Row = Vec<(String, String)>;

pub(super) fn cases_row(recipe: &Recipe, case: &Case, outcome: &Outcome, paths: Paths) -> Row {
    let mut row: Row = Vec::new();
    let mut add = |k: &str, v: String| row.push((k.to_owned(), v));
    let (status, record) = match outcome {
        Outcome::Done(r) => ("done", Some(r)),
        Outcome::Kept(r) => ("kept", Some(r)),
        Outcome::Failed(_) => ("failed", None),
    };
    add("case", case.name.clone());
    add("file", paths.of(case.main()));
    add("status", status.into());
    add("model", recipe.model.name.clone());
    if let Some(group) = &case.group {
        add("group", group.clone());
    }
    if let Some(site) = &case.site {
        add("site", site.clone());
    }
    let Some(r) = record else { return row };
    if recipe.model.task == Task::Classification && r.slide.is_none() {
        add("class", r.classes.join("; "));
    }
    for (name, value) in &r.scores {
        let unit = recipe.label.iter().find(|l| &l.name == name).map_or("", |l| l.unit.as_str());
        let title = match (recipe.model.task, unit) {
            (Task::Regression, "") => name.clone(),
            (Task::Regression, unit) => format!("{name} ({unit})"),
            (Task::Classification | Task::Segmentation, _) => format!("prob_{name}"),
        };
        add(&title, format!("{value:.7}"));
    }
    for m in &r.labels {
        add(&format!("voxels_{}", m.name), m.voxels.to_string());
        if let Some(ml) = m.ml {
            add(&format!("ml_{}", m.name), ml.to_string());
        }
        if let Some(mm2) = m.mm2 {
            add(&format!("mm2_{}", m.name), mm2.to_string());
        }
    }
    for (name, list) in groups(recipe, r) {
        let sum = |size: fn(&Measured) -> Option<f64>| list.iter().map(|m| size(m)).sum::<Option<f64>>();
        add(&format!("voxels_{name}"), list.iter().map(|m| m.voxels).sum::<u64>().to_string());
        for (what, size) in [("ml", sum(|m| m.ml)), ("mm2", sum(|m| m.mm2))] {
            if let Some(v) = size {
                add(&format!("{what}_{name}"), round_to(v, 1e6).to_string());
            }
        }
    }
    add("run", r.fingerprint.chars().take(12).collect());
    let seconds = r.timings_ms.get("total").and_then(|v| v.as_f64()).unwrap_or(0.0) / 1e3;
    add("seconds", format!("{seconds:.3}"));
    add("peak_mib", r.peak_rss_mib.to_string());
    add("warnings", r.warnings.len().to_string());
    add("warning_texts", r.warnings.join("; "));
    row
}

/// What a result holds of the labels of each group, by the group's name.
fn groups<'a>(recipe: &Recipe, record: &'a Record) -> BTreeMap<String, Vec<&'a Measured>> {
    let mut out: BTreeMap<String, Vec<&Measured>> = BTreeMap::new();
    for m in &record.labels {
        let label = recipe.label.iter().find(|l| l.name == m.name);
        if let Some(l) = label.filter(|l| !l.group.is_empty()) {
            out.entry(l.group.clone()).or_default().push(m);
        }
    }
    out
}

/// A row of `predictions.csv`: the class and its probabilities, or the pixels of every class.
fn prediction(recipe: &Recipe, case: &Case, outcome: &Outcome, paths: Paths) -> Option<Row> {
    let record = match outcome {
        Outcome::Done(r) | Outcome::Kept(r) => r,
        Outcome::Failed(_) => return None,
    };
    if record.slide.is_some() {
        return None;
    }
    let mut row: Row = vec![("file".into(), paths.of(case.main()))];
    match recipe.model.task {
        Task::Regression => {
            row.extend(record.scores.iter().map(|(n, v)| (n.clone(), v.to_string())));
        }
        Task::Classification => {
            row.push(("class".into(), record.classes.join("; ")));
            row.extend(record.scores.iter().map(|(n, v)| (format!("prob_{n}"), format!("{v:.7}"))));
        }
        Task::Segmentation => {
            let all: u64 = record.shape.iter().product();
            let covered: u64 = record.labels.iter().map(|m| m.voxels).sum();
            let pixels = |l: &crate::recipe::Label| match l.value {
                0 => all - covered.min(all),
                _ => record.labels.iter().find(|m| m.value == l.value).map_or(0, |m| m.voxels),
            };
            let most = recipe.label.iter().max_by_key(|l| (pixels(l), std::cmp::Reverse(l.channel)));
            row.push(("class".into(), most.map_or(String::new(), |l| l.name.clone())));
            row.extend(recipe.label.iter().map(|l| (format!("area_{}", l.name), pixels(l).to_string())));
        }
    }
    row.push(("model".into(), recipe.model.name.clone()));
    Some(row)
}

/// Puts rows into a table; rows with the same value of column `key` are replaced, columns that are new are added.
fn merge(path: &Path, key: &str, rows: Vec<Row>) -> Result<()> {
    let old = match path.symlink_metadata() {
        Ok(_) => Table::read(path)?,
        Err(_) => Table::default(),
    };
    let mut header: Vec<String> = Vec::new();
    let mut known: BTreeSet<String> = BTreeSet::new();
    let new = rows.iter().flat_map(|r| r.iter().map(|c| &c.0));
    for name in new.chain(&old.header) {
        if known.insert(name.clone()) {
            header.push(name.clone());
        }
    }
    let old = old.rows.into_iter().map(|(_, fields)| old.header.iter().cloned().zip(fields).collect::<Row>());
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut all: Vec<Row> = Vec::new();
    for row in old.chain(rows) {
        match places.get(&at(&row, key)) {
            Some(&i) => all[i] = row,
            None => {
                places.insert(at(&row, key), all.len());
                all.push(row);
            }
        }
    }
    written(path, &header, &all)
}

/// The value of a column; empty where a row has none.
pub(super) fn at(row: &Row, name: &str) -> String {
    row.iter().find(|c| c.0 == name).map(|c| c.1.clone()).unwrap_or_default()
}

/// Writes a table with these columns.
pub(super) fn written(path: &Path, header: &[String], rows: &[Row]) -> Result<()> {
    let mut text = header.iter().map(|h| field(h)).collect::<Vec<_>>().join(",") + "\n";
    for row in rows {
        let fields: Vec<String> = header.iter().map(|h| field(&at(row, h))).collect();
        text += &(fields.join(",") + "\n");
    }
    write_atomic(path, |out| out.write_all(text.as_bytes())).map_err(Error::io(path))
}

/// `failures.csv`: what failed or was skipped, in this run and in others whose cases are none of this one's.
/// What failed once stays until it is done.
fn failures(output: &Path, summary: &Summary, paths: Paths) -> Result<()> {
    let path = output.join("failures.csv");
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    if path.symlink_metadata().is_ok() {
        let old = Table::read(&path)?;
        if let (Some(f), Some(r)) = (old.column(&["file"]), old.column(&["reason"])) {
            for (_, row) in old.rows {
                order.push(row[f].clone());
                all.insert(row[f].clone(), row[r].clone());
            }
        }
    }
    for file in summary.results.iter().flat_map(|r| &r.case.files) {
        all.remove(&paths.of(file));
    }
    let failed = summary.failures().into_iter().map(|(p, e)| (p, e.to_string()));
    let skipped = summary.skipped.iter().map(|(p, reason)| (p.as_path(), reason.clone()));
    for (file, reason) in failed.chain(skipped) {
        order.push(paths.of(file));
        all.insert(paths.of(file), paths.clean(&reason, file));
    }
    if all.is_empty() {
        return match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::Io { path, source: e }),
            _ => Ok(()),
        };
    }
    let mut text = String::from("file,reason\n");
    for file in order {
        if let Some(reason) = all.remove(&file) {
            text += &format!("{},{}\n", field(&file), field(&reason));
        }
    }
    write_atomic(&path, |out| out.write_all(text.as_bytes())).map_err(Error::io(&path))
}

/// Files of a folder that BIDS knows nothing of, for its validator.
const NOT_BIDS: &str =
    "*_ampoule.json\n*_qc.png\n*.csv\nqc.html\npopulation.html\nruns.json\naudit.jsonl\nrecords/\n";

/// What makes the output folder a BIDS derivative data set.
fn bids(output: &Path, model: &str) -> Result<()> {
    let description = serde_json::json!({
        "Name": format!("{model}, by Ampoule"),
        "BIDSVersion": "1.8.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{ "Name": "Ampoule", "Version": env!("CARGO_PKG_VERSION") }],
    });
    let description = serde_json::to_string_pretty(&description).unwrap_or_default() + "\n";
    // What somebody else wrote there stays.
    for (name, text) in [("dataset_description.json", description.as_str()), (".bidsignore", NOT_BIDS)] {
        let path = output.join(name);
        if path.symlink_metadata().is_err() {
            write_atomic(&path, |out| out.write_all(text.as_bytes())).map_err(Error::io(&path))?;
        }
    }
    Ok(())
}
