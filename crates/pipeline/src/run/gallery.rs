//! `qc.html`: all cases of an output folder with their pictures.

use super::thumbnails::Thumbnails;
use crate::gallery::{self, Head, Quantity, Row, Status};
use crate::record::Record;
use crate::results::{Made, results};
use crate::{Error, Recipe, Result};
use ampoule_files::write_atomic;
use std::path::{Component, Path, PathBuf};

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
    let cases = results(output)?;
    let mut thumbnails = Thumbnails::new(output, cases.len());
    let mut rows = cases.into_iter().map(|made| row(made, output, &mut thumbnails));
    let path = output.join("qc.html");
    write_atomic(&path, |out| gallery::write(out, &head, &mut rows)).map_err(Error::io(&path))?;
    // Only now: until the new page stands, the old one is looked at.
    thumbnails.finish();
    Ok(())
}

/// Whether a page was written here.
pub(super) fn made(page: &[u8]) -> bool {
    let name = b"ampoule ";
    page.windows(name.len()).any(|w| w == name)
}

fn row(made: Made, output: &Path, thumbnails: &mut Thumbnails) -> Row {
    let Made { name, status, reason, record, folder, .. } = made;
    let picture = record.as_ref().and_then(|r| picture(&folder, r));
    let thumbnail = picture.as_ref().and_then(|(path, sha256)| {
        below(path, output)?;
        // The case's name says how deep below the output folder of its run it lies.
        let root = folder.ancestors().nth(name.matches('/').count()).unwrap_or(output);
        below(&thumbnails.of(path, sha256, root)?, output)
    });
    Row {
        status: match status.as_str() {
            "done" => Status::Done,
            "kept" => Status::Kept,
            "skipped" => Status::Skipped(reason.unwrap_or_default()),
            _ => Status::Failed(reason.unwrap_or_default()),
        },
        picture: picture.and_then(|(path, _)| below(&path, output)),
        thumbnail,
        class: record.as_ref().filter(|r| !r.classes.is_empty()).map(|r| r.classes.join(", ")),
        quantities: record.as_ref().map(quantities).unwrap_or_default(),
        seconds: record.as_ref().and_then(|r| r.timings_ms.get("total")?.as_f64()).map(|ms| ms / 1e3),
        warnings: record.map(|r| r.warnings).unwrap_or_default(),
        name,
    }
}

/// The picture of a case whose files lie in `folder`, and its hash.
fn picture(folder: &Path, record: &Record) -> Option<(PathBuf, String)> {
    let picture = record.outputs.iter().find(|w| w.kind == "picture")?;
    Some((folder.join(&picture.file), picture.sha256.clone()))
}

/// A path from the page; none for what does not lie below its folder: records and tables may say anything.
fn below(path: &Path, output: &Path) -> Option<PathBuf> {
    let path = path.strip_prefix(output).ok()?;
    path.components().all(|c| matches!(c, Component::Normal(_))).then(|| path.to_owned())
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
