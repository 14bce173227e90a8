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
    pub entries: Vec<Entry>,
}

impl Journal {
    /// Opens the journal at `path`; findings of other models, cases or choices are dropped.
    pub fn open(path: Option<&Path>, key: &str) -> Result<Self> {
        let mut j = Journal { path: path.map(Path::to_path_buf), entries: Vec::new() };
        let Some(path) = path else { return Ok(j) };
        let text = std::fs::read_to_string(path).unwrap_or_default();
        // The last line of a killed run may be cut.
        let old: Vec<Entry> = text.lines().map_while(|l| serde_json::from_str(l).ok()).collect();
        if matches!(old.first(), Some(Entry::Begin { key: k }) if k == key) {
            j.entries = old;
        }
        let kept = std::mem::take(&mut j.entries);
        let fail = |e: std::io::Error| Error::File { path: path.into(), reason: e.to_string() };
        std::fs::write(path, "").map_err(fail)?;
        let begin = Entry::Begin { key: key.into() };
        for e in if kept.is_empty() { vec![begin] } else { kept } {
            j.add(e)?;
        }
        Ok(j)
    }

    /// Adds a finding.
    pub fn add(&mut self, e: Entry) -> Result<()> {
        if let Some(path) = &self.path {
            let fail = |reason: String| Error::File { path: path.clone(), reason };
            let line = serde_json::to_string(&e).map_err(|e| fail(e.to_string()))?;
            let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
            let mut file = file.map_err(|e| fail(e.to_string()))?;
            writeln!(file, "{line}").map_err(|e| fail(e.to_string()))?;
        }
        self.entries.push(e);
        Ok(())
    }
}
