//! The list of exceptions: each entry is an offender that exists.

use std::collections::BTreeSet;
use std::path::Path;

use crate::source::{self, StructureError};

/// Offenders, by kind. A list in a file is held against the list found: a new offender and an entry that
/// is no longer needed are both errors, so that the list only ever shrinks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Circles of sibling modules: `engine::lower: conv, elementwise`.
    pub circles: BTreeSet<String>,
    /// Dependencies that the table of crates does not have: `train -> engine`.
    pub arrows: BTreeSet<String>,
    /// Functions that are too long: `crates/engine/src/session.rs: Session::run`.
    pub functions: BTreeSet<String>,
    /// Files that are too long.
    pub files: BTreeSet<String>,
}

impl Allowed {
    /// Reads a list; a file that does not exist allows nothing.
    pub fn read(path: &Path) -> Result<Self, StructureError> {
        let mut allowed = Self::default();
        if !path.exists() {
            return Ok(allowed);
        }
        for (kind, values) in source::read_toml(path)? {
            let invalid = |message: String| StructureError::Toml { path: path.into(), message };
            let list = allowed.kinds_mut().into_iter().find(|(name, _)| *name == kind);
            let (_, list) = list.ok_or_else(|| invalid(format!("`{kind}` is not a kind of exception")))?;
            for value in values.as_array().into_iter().flatten() {
                let entry = value.as_str().ok_or_else(|| invalid(format!("`{kind}` holds {value}")))?;
                list.insert(entry.to_string());
            }
        }
        Ok(allowed)
    }

    /// The text of a list, as `read` takes it.
    pub fn to_toml(&self) -> String {
        let mut text = String::from(
            "# What the structure check lets pass; an entry that is no longer needed is an error.\n\
             # `cargo run -p ampoule-structure -- --write` writes this file.\n",
        );
        for (name, list) in self.kinds() {
            text.push_str(&format!("{name} = [\n"));
            list.iter().for_each(|entry| text.push_str(&format!("    {entry:?},\n")));
            text.push_str("]\n");
        }
        text
    }

    /// Errors where `found` has what this list lacks, or lacks what this list has.
    pub fn compare(&self, found: &Self) -> Vec<String> {
        let mut errors = Vec::new();
        for ((kind, allowed), (_, found)) in self.kinds().into_iter().zip(found.kinds()) {
            errors.extend(found.difference(allowed).map(|e| format!("{kind}: {e}")));
            errors.extend(allowed.difference(found).map(|e| format!("{kind}: no longer needed: {e}")));
        }
        errors
    }

    fn kinds(&self) -> [(&'static str, &BTreeSet<String>); 4] {
        [
            ("circles", &self.circles),
            ("arrows", &self.arrows),
            ("functions", &self.functions),
            ("files", &self.files),
        ]
    }

    fn kinds_mut(&mut self) -> [(&'static str, &mut BTreeSet<String>); 4] {
        [
            ("circles", &mut self.circles),
            ("arrows", &mut self.arrows),
            ("functions", &mut self.functions),
            ("files", &mut self.files),
        ]
    }
}
