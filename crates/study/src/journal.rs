//! What was done so far, line by line, so that a killed study goes on where it was.

use crate::cell::{Labelled, Round};
use crate::prepare::Prepared;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Something that is done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// The study that the others belong to: a hash of its text, cases and program.
    Study {
        key: String,
    },
    Prepared(Box<Prepared>),
    Labelled {
        workload: String,
        variant: String,
        found: std::result::Result<Vec<Labelled>, String>,
    },
    Round {
        workload: String,
        variant: String,
        profile: String,
        round: usize,
        result: std::result::Result<Box<Round>, String>,
    },
}

pub(crate) struct Journal {
    path: PathBuf,
    pub entries: Vec<Entry>,
}

impl Journal {
    /// Opens the journal of a study in `folder`, which may hold one of the same study only. The last line of
    /// a killed one may be cut: it is dropped.
    pub fn open(folder: &Path, key: &str, overwrite: bool) -> Result<Self> {
        let path = folder.join("journal.jsonl");
        let fail = |reason: String| Error::File { path: path.clone(), reason };
        let text = match std::fs::read_to_string(&path) {
            Ok(t) => t,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(fail(e.to_string())),
        };
        let mut entries: Vec<Entry> = text.lines().map_while(|l| serde_json::from_str(l).ok()).collect();
        let same = matches!(entries.first(), Some(Entry::Study { key: k }) if k == key);
        if !text.is_empty() && !same {
            if !overwrite {
                let reason = "it is of another study, or its cases, models or this program have changed since; \
                              choose another folder, or --overwrite";
                return Err(fail(reason.into()));
            }
            entries.clear();
        }
        if entries.is_empty() {
            entries.push(Entry::Study { key: key.into() });
        }
        let mut whole = String::new();
        for e in &entries {
            whole += &serde_json::to_string(e).map_err(|e| fail(e.to_string()))?;
            whole.push('\n');
        }
        std::fs::write(&path, whole).map_err(|e| fail(e.to_string()))?;
        Ok(Journal { path, entries })
    }

    pub fn add(&mut self, entry: Entry) -> Result<()> {
        let fail = |reason: String| Error::File { path: self.path.clone(), reason };
        let mut line = serde_json::to_string(&entry).map_err(|e| fail(e.to_string()))?;
        line.push('\n');
        let file = std::fs::OpenOptions::new().append(true).open(&self.path);
        file.and_then(|mut f| f.write_all(line.as_bytes())).map_err(|e| fail(e.to_string()))?;
        self.entries.push(entry);
        Ok(())
    }
}
