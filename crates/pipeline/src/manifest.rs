//! Manifests: tables with a case a line.

use crate::case::{Case, stem};
use crate::datasets::{Found, doubled};
use crate::recipe::Recipe;
use crate::table::Table;
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::path::Path;

/// Cases of a table with one line each; an error lists all that is wrong with its columns and lines. Cases that stand twice
/// are left out ([`doubled`]).
pub(crate) fn manifest(recipe: &Recipe, path: &Path) -> Result<Found> {
    let table = Table::read(path)?;
    let wrong = |problems| Error::Manifest { path: path.into(), problems };
    let columns = Columns::of(recipe, &table).map_err(wrong)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let (mut cases, mut problems) = (Vec::new(), Vec::new());
    for (line, fields) in &table.rows {
        match columns.case(&table.header, fields, folder) {
            Ok(case) => cases.push((case, format!("line {line}"))),
            Err(reason) => problems.push((*line, reason)),
        }
    }
    if cases.is_empty() && problems.is_empty() {
        problems.push((1, "it names no cases".into()));
    }
    if !problems.is_empty() {
        return Err(wrong(problems));
    }
    if columns.name.is_none() {
        // Cases are named after their files, and equal names in different folders are told apart later.
        return Ok(Found { cases: cases.into_iter().map(|c| c.0).collect(), ..Found::default() });
    }
    let (cases, skipped) = doubled(cases);
    Ok(Found { cases, skipped, ..Found::default() })
}

/// Where a manifest has what.
struct Columns {
    /// Of each channel.
    channels: Vec<usize>,
    name: Option<usize>,
    ground_truth: Option<usize>,
    group: Option<usize>,
    site: Option<usize>,
}

impl Columns {
    fn of(recipe: &Recipe, table: &Table) -> std::result::Result<Columns, Vec<(usize, String)>> {
        let mut problems = Vec::new();
        let mut seen = BTreeSet::new();
        for twice in table.header.iter().filter(|h| !h.is_empty() && !seen.insert(h.to_lowercase())) {
            problems.push((1, format!("its column `{twice}` occurs twice")));
        }
        let mut channels = Vec::new();
        for (i, input) in recipe.input.iter().enumerate() {
            // GaNDLF counts channels from 0.
            let (other, gandlf) = (format!("channel{}", i + 1), format!("channel_{i}"));
            let mut names = vec![input.name.as_str(), other.as_str(), gandlf.as_str()];
            if recipe.input.len() == 1 {
                names.extend(["file", "image", "path", "input"]);
            }
            let have: Vec<&String> =
                table.header.iter().filter(|h| names.iter().any(|n| n.eq_ignore_ascii_case(h))).collect();
            if let [a, b, ..] = have[..] {
                problems.push((1, format!("its columns `{a}` and `{b}` are the same channel")));
            }
            match table.column(&names) {
                Some(c) => channels.push(c),
                None => {
                    let have = table.header.join(", ");
                    problems.push((1, format!("it has no column `{}`; its columns are {have}", input.name)));
                }
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        // A channel's column is nothing else. The first name counts, wherever it stands: `id` may number the rows beside `case`.
        let other = |names: &[&str]| {
            let at = |n: &&str| {
                (0..table.header.len())
                    .find(|i| n.eq_ignore_ascii_case(&table.header[*i]) && !channels.contains(i))
            };
            names.iter().find_map(at)
        };
        // A label of GaNDLF's tables is a file where the task is a segmentation.
        let masks = table.column(&["channel_0"]).is_some() && !recipe.is_image_level();
        let label = || other(&["label"]).filter(|_| masks);
        Ok(Columns {
            name: other(&["case", "id", "subjectid"]),
            ground_truth: other(&["truth", "ground_truth", "reference", "mask"]).or_else(label),
            group: other(&["group", "patient", "subject"]),
            site: other(&["site", "centre", "center"]),
            channels,
        })
    }

    /// The case of a row; paths are relative to the manifest's folder.
    fn case(&self, header: &[String], fields: &[String], folder: &Path) -> std::result::Result<Case, String> {
        let value = |c: Option<usize>| c.map(|c| fields[c].clone()).filter(|v| !v.is_empty());
        let mut files = Vec::new();
        for &c in &self.channels {
            if fields[c].is_empty() {
                return Err(format!("its column `{}` is empty", header[c]));
            }
            let path = folder.join(&fields[c]);
            if files.contains(&path) {
                return Err(format!("`{}` stands there for two channels", fields[c]));
            }
            files.push(path);
        }
        let name = match value(self.name) {
            Some(n) => clean(&n).ok_or_else(|| format!("`{n}` is no name for results"))?,
            None => stem(&files[0]),
        };
        let ground_truth = value(self.ground_truth).map(|t| folder.join(t));
        let (group, site) = (value(self.group), value(self.site));
        Ok(Case { name, files, ground_truth, group, site, ..Case::default() })
    }
}

/// A name that stays within the output folder.
fn clean(name: &str) -> Option<String> {
    let fits = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && !part.contains(['\\', ':'])
            && !part.chars().any(char::is_control)
    };
    name.split('/').all(fits).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(inputs: &[&str]) -> Recipe {
        let mut text = "version = 2\n[model]\nname = \"x\"\ntask = \"segmentation\"\n".to_owned();
        inputs.iter().for_each(|i| text += &format!("[[input]]\nname = \"{i}\"\n"));
        text += "[[network]]\n[[label]]\nname = \"a\"\nvalue = 1\n";
        Recipe::parse(&text, "").unwrap()
    }

    fn outcome(recipe: &Recipe, text: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.csv");
        std::fs::write(&path, text).unwrap();
        match manifest(recipe, &path) {
            Ok(found) => format!("{} cases", found.cases.len()),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn all_wrong_lines_are_listed_at_once() {
        let r = recipe(&["T1", "T2"]);
        let text = "case,T1,T2\na,1.nii,2.nii\nb,,2.nii\n../c,1.nii,2.nii\na,3.nii,4.nii\n";
        let message = outcome(&r, text);
        for want in ["line 3: its column `T1` is empty", "line 4: `../c`"] {
            assert!(message.contains(want), "{message}");
        }
        assert_eq!(message.lines().count(), 2);
        assert_eq!(outcome(&r, "case,T1,T2\na,1.nii,2.nii\nb,1.nii,2.nii\na,3.nii,4.nii\n"), "1 cases");
    }

    #[test]
    fn all_wrong_columns_are_listed_at_once() {
        let r = recipe(&["T1", "T2"]);
        let message = outcome(&r, "case,case,T3\na,b,c\n");
        for want in ["`case` occurs twice", "no column `T1`", "no column `T2`"] {
            assert!(message.contains(want), "{message}");
        }
        assert_eq!(outcome(&r, "T1;channel2\n1.nii;2.nii\n"), "1 cases");
        // A number of rows beside the cases' names is no name.
        assert_eq!(outcome(&r, "id,case,T1,T2\n7,a,1.nii,2.nii\n7,b,3.nii,4.nii\n"), "2 cases");
        assert!(outcome(&r, "T1,T2\n").contains("names no cases"));
        let long: String = (0..30).map(|_| ",\"\",x\n").collect();
        assert!(outcome(&r, &format!("case,T1,T2\n{long}")).ends_with("and 10 more lines"));
    }
}
