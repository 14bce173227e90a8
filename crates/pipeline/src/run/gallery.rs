//! `qc.html`: all cases of an output folder with their pictures.

use crate::gallery::{self, Head, Quantity, Row, Status};
use crate::record::Record;
use crate::results::{Made, results};
use crate::{Error, Recipe, Result};
use ampoule_files::write_atomic;
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
    let mut rows = results(output)?.into_iter().map(|made| row(made, output));
    let path = output.join("qc.html");
    write_atomic(&path, |out| gallery::write(out, &head, &mut rows)).map_err(Error::io(&path))
}

/// Whether a page was written here.
pub(super) fn made(page: &[u8]) -> bool {
    let name = b"ampoule ";
    page.windows(name.len()).any(|w| w == name)
}

fn row(made: Made, output: &Path) -> Row {
    let Made { name, status, reason, record, folder, .. } = made;
    Row {
        status: match status.as_str() {
            "done" => Status::Done,
            "kept" => Status::Kept,
            "skipped" => Status::Skipped(reason.unwrap_or_default()),
            _ => Status::Failed(reason.unwrap_or_default()),
        },
        picture: record.as_ref().and_then(|r| picture(&folder, output, r)),
        class: record.as_ref().filter(|r| !r.classes.is_empty()).map(|r| r.classes.join(", ")),
        quantities: record.as_ref().map(quantities).unwrap_or_default(),
        seconds: record.as_ref().and_then(|r| r.timings_ms.get("total")?.as_f64()).map(|ms| ms / 1e3),
        warnings: record.map(|r| r.warnings).unwrap_or_default(),
        name,
    }
}

/// The picture of a case whose files lie in `folder`, as a path from the page.
fn picture(folder: &Path, output: &Path, record: &Record) -> Option<PathBuf> {
    let file = &record.outputs.iter().find(|w| w.kind == "picture")?.file;
    Some(folder.strip_prefix(output).unwrap_or(folder).join(file))
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
