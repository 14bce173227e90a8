//! A study whose objects arrive.

use super::folders::{self, write_json};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::Instant;

/// A study whose objects arrive.
#[derive(Debug)]
pub(super) struct Study {
    /// Title of its first sender.
    pub calling: String,
    /// Associations that have sent objects of it and go on.
    pub associations: BTreeSet<u64>,
    /// Where a sender was cut off: how many associations had begun by then. Only one that began later can make it whole.
    pub cut: Option<u64>,
    pub touched: Instant,
    pub objects: usize,
}

/// What is on the disk of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Note {
    pub calling: String,
    /// All senders have released, and nothing was refused.
    whole: bool,
}

const FILE: &str = "study.json";

impl Note {
    pub fn read(folder: &Path) -> Option<Note> {
        serde_json::from_slice(&std::fs::read(folder.join(FILE)).ok()?).ok()
    }

    pub fn write(&self, folder: &Path) -> io::Result<()> {
        write_json(&folder.join(FILE), self)
    }
}

impl Study {
    pub fn new(calling: &str) -> Study {
        Study {
            calling: calling.to_owned(),
            associations: BTreeSet::new(),
            cut: None,
            touched: Instant::now(),
            objects: 0,
        }
    }

    /// One that an earlier process left.
    pub fn resumed(folder: &Path) -> Study {
        let note = Note::read(folder);
        let whole = note.as_ref().is_some_and(|n| n.whole);
        let objects = folders::inside(&folder.join("objects")).map_or(0, |all| all.len());
        let calling = note.map_or_else(String::new, |n| n.calling);
        Study { cut: (!whole).then_some(0), objects, ..Study::new(&calling) }
    }

    pub fn note(&self) -> Note {
        Note { calling: self.calling.clone(), whole: self.associations.is_empty() && self.cut.is_none() }
    }

    /// An association sends objects of it; whether that is new.
    pub fn joins(&mut self, association: u64) -> bool {
        self.associations.insert(association)
    }

    /// An association ended, of `begun` so far; whether it had sent objects of this study.
    pub fn leaves(&mut self, association: u64, whole: bool, begun: u64) -> bool {
        if !self.associations.remove(&association) {
            return false;
        }
        self.touched = Instant::now();
        match whole {
            false => self.cut = Some(begun),
            true if self.cut.is_some_and(|c| association > c) => self.cut = None,
            true => {}
        }
        true
    }
}
