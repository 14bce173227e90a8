//! `participants.tsv` of BIDS data sets: who takes part, and where.

use crate::case::Case;
use crate::table::Table;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Columns that say where a participant was examined.
const SITES: [&str; 5] = ["site", "site_id", "centre", "center", "institution"];
/// Names that are told.
const TOLD: usize = 10;

/// Participants with their sites, where the table says them.
#[derive(Default)]
pub(crate) struct Participants(BTreeMap<String, Option<String>>);

impl Participants {
    /// Reads the table of a data set, where there is one; a note where it cannot be used.
    pub fn read(root: &Path, notes: &mut Vec<String>) -> Participants {
        let path = root.join("participants.tsv");
        if !path.is_file() {
            return Participants::default();
        }
        let table = match Table::read(&path) {
            Ok(table) => table,
            Err(e) => {
                notes.push(format!("{e}; sites are not known"));
                return Participants::default();
            }
        };
        let Some(id) = table.column(&["participant_id"]) else {
            notes.push(format!("{}: it has no column participant_id; sites are not known", path.display()));
            return Participants::default();
        };
        let site = table.column(&SITES);
        let told = |v: &String| !v.is_empty() && v != "n/a";
        let one =
            |(_, row): (usize, Vec<String>)| (row[id].clone(), site.map(|c| row[c].clone()).filter(told));
        Participants(table.rows.into_iter().map(one).collect())
    }

    /// Gives cases the site of their participant, and notes participants without a case and cases without a participant.
    pub fn tell(&self, cases: &mut [Case], notes: &mut Vec<String>) {
        if self.0.is_empty() {
            return;
        }
        let mut seen = BTreeSet::new();
        let mut strange = BTreeSet::new();
        for case in cases.iter_mut().filter(|c| c.bids) {
            let Some(subject) = case.group.clone() else { continue };
            match self.0.get(&subject) {
                Some(site) => case.site = case.site.take().or_else(|| site.clone()),
                None => {
                    strange.insert(subject.clone());
                }
            }
            seen.insert(subject);
        }
        let missing: Vec<&String> = self.0.keys().filter(|p| !seen.contains(*p)).collect();
        let list = |names: &[&String]| {
            let told: Vec<&str> = names.iter().take(TOLD).map(|n| n.as_str()).collect();
            told.join(", ") + if names.len() > TOLD { ", …" } else { "" }
        };
        if !missing.is_empty() {
            let (n, all) = (missing.len(), self.0.len());
            notes.push(format!("{n} of {all} participants have no image for the model: {}", list(&missing)));
        }
        if !strange.is_empty() {
            let strange: Vec<&String> = strange.iter().collect();
            notes.push(format!("participants.tsv does not name {}", list(&strange)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_have_the_site_of_their_participant() {
        let d = tempfile::tempdir().unwrap();
        let text = "participant_id\tage\tsite\nsub-01\t30\tBonn\nsub-02\t31\tn/a\nsub-03\t32\tKyiv\n";
        std::fs::write(d.path().join("participants.tsv"), text).unwrap();
        let mut notes = Vec::new();
        let all = Participants::read(d.path(), &mut notes);
        let case = |sub: &str| Case { group: Some(sub.into()), bids: true, ..Case::default() };
        let mut cases = ["sub-01", "sub-01", "sub-02", "sub-09"].map(case);
        all.tell(&mut cases, &mut notes);
        let sites = cases.map(|c| c.site);
        assert_eq!(sites, [Some("Bonn".into()), Some("Bonn".into()), None, None]);
        assert_eq!(notes.len(), 2);
        assert!(
            notes[0].contains("1 of 3") && notes[0].contains("sub-03") && notes[1].contains("sub-09"),
            "{notes:?}"
        );
    }
}
