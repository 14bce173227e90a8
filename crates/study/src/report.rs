//! `report.html` and `results.csv` of studies.

mod csv;
mod html;
mod merge;
mod svg;

use crate::results::Results;
use crate::{Error, Result};
use ampoule_files::write_atomic;
pub use csv::csv;
pub use html::html;
pub use merge::{comparison, read};
use std::path::Path;

/// Writes `results.json`, `results.csv` and `report.html` of a study into `folder`, each whole or not at all.
pub fn write(results: &Results, folder: &Path) -> Result<()> {
    let put = |name: &str, text: &str| {
        let path = folder.join(name);
        // What a killed study left half-written.
        ampoule_files::remove_left_over(&path);
        let written = write_atomic(&path, |out| out.write_all(text.as_bytes()));
        written.map_err(|e| Error::File { path, reason: e.to_string() })
    };
    let failed = |e: serde_json::Error| Error::File { path: folder.into(), reason: e.to_string() };
    put("results.json", &serde_json::to_string_pretty(results).map_err(failed)?)?;
    put("results.csv", &csv(results)?)?;
    put("report.html", &html(std::slice::from_ref(results), &[], &[folder.into()]))
}
