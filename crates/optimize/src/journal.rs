//! What an optimization found so far, one JSON object a line, so that a killed run goes on.

use crate::quantize::Ranges;
use crate::{Error, Result};
use ampoule_eval::LimitCheck;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::{Path, PathBuf};

/// One finding.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(crate) enum Entry {
    /// What the findings belong to: a hash of the model, the cases and the choices.
    Begin { key: String },
    /// Calibration is done.
    Ranges { ranges: Ranges },
    /// Layers by what they cost: node, error, milliseconds gained.
    Ranked { layers: Vec<(String, f64, f64)> },
    /// A candidate, by the layers that fall back to FP32, was tried.
    Tried { kept: Vec<String>, verdicts: Vec<LimitCheck> },
}

/// The findings of this run and of the one that it continues.
#[derive(Default)]
pub(crate) struct Journal {
    path: Option<PathBuf>,
    /// What the findings belong to.
    key: String,
    /// Whether the file holds what `entries` does. It is made with the first finding, so that a job that is refused
    /// leaves none.
    begun: bool,
    pub entries: Vec<Entry>,
}

impl Journal {
    /// Opens the journal at `path`; findings of other models, cases or choices are dropped.
    pub fn open(path: Option<&Path>, key: &str) -> Result<Self> {
        let mut j = Journal { path: path.map(Path::to_path_buf), key: key.into(), ..Journal::default() };
        let Some(path) = path else { return Ok(j) };
        let text = std::fs::read_to_string(path).unwrap_or_default();
        // The last line of a killed run may be cut.
        let old: Vec<Entry> = text.lines().map_while(|l| serde_json::from_str(l).ok()).collect();
        if matches!(old.first(), Some(Entry::Begin { key: k }) if k == key) {
            j.entries = old;
        }
        Ok(j)
    }

    /// Adds a finding.
    pub fn add(&mut self, e: Entry) -> Result<()> {
        if self.entries.is_empty() {
            self.entries.push(Entry::Begin { key: self.key.clone() });
        }
        self.entries.push(e);
        let Some(path) = &self.path else { return Ok(()) };
        let fail = |reason: String| Error::File { path: path.clone(), reason };
        // The first time all that is known is written, in the place of what stood there.
        let new = if self.begun { self.entries.len() - 1 } else { 0 };
        let mut lines = String::new();
        for entry in &self.entries[new..] {
            lines += &serde_json::to_string(entry).map_err(|e| fail(e.to_string()))?;
            lines.push('\n');
        }
        let mut options = std::fs::OpenOptions::new();
        let file = match self.begun {
            true => options.append(true).open(path),
            false => options.write(true).create(true).truncate(true).open(path),
        };
        let written = file.and_then(|mut f| f.write_all(lines.as_bytes()));
        written.map_err(|e| fail(e.to_string()))?;
        self.begun = true;
        Ok(())
    }
}
