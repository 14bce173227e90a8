//! Which cases belong together, such as photos of one patient or tiles of one slide.

use crate::case::Case;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How cases are grouped where their manifest does not say it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Grouping {
    /// Cases of one folder belong together.
    Folder,
    /// Cases whose names have the same text at `{group}` do; `*` stands for any text within a name.
    Pattern(String),
}

/// Where a pattern has the group's name.
const PLACE: &str = "{group}";

impl std::str::FromStr for Grouping {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match (text, text.matches(PLACE).count()) {
            ("folder", _) => Ok(Grouping::Folder),
            (_, 1) => Ok(Grouping::Pattern(text.into())),
            _ => Err(format!("`folder`, or a pattern of names with one {PLACE}, for example {PLACE}_*")),
        }
    }
}

impl TryFrom<String> for Grouping {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse()
    }
}

impl From<Grouping> for String {
    fn from(g: Grouping) -> String {
        match g {
            Grouping::Folder => "folder".into(),
            Grouping::Pattern(text) => text,
        }
    }
}

impl Grouping {
    /// The group of a name, which may have folders before it, with `/`, and no ending; `None` where the pattern does not fit.
    pub fn of(&self, name: &str) -> Option<String> {
        let (folder, stem) = name.rsplit_once('/').unwrap_or(("", name));
        match self {
            Grouping::Folder => Some(folder.to_owned()),
            Grouping::Pattern(pattern) => {
                // A pattern without folders is one of the file's name.
                let text = if pattern.contains('/') { name } else { stem };
                let mut group = None;
                fits(pattern, text, &mut group).then_some(group).flatten()
            }
        }
    }

    /// Groups all cases that have no group yet, by the names of their first files. A name that the pattern does not fit is an
    /// error.
    pub fn apply(&self, cases: &mut [Case]) -> Result<()> {
        for case in cases.iter_mut().filter(|c| c.group.is_none()) {
            let name = place(case);
            case.group = Some(self.of(&name).ok_or_else(|| Error::Content {
                path: case.main().into(),
                reason: format!(
                    "its name does not fit the pattern of groups `{}`",
                    String::from(self.clone())
                ),
            })?);
        }
        Ok(())
    }
}

/// Folder and name of a case's file, without ending.
fn place(case: &Case) -> String {
    let folder = case.main().parent().map(|p| p.to_string_lossy().replace('\\', "/")).unwrap_or_default();
    format!("{folder}/{}", crate::stem(case.main()))
}

/// Whether a pattern fits a whole text; the group is as short as can be.
fn fits(pattern: &str, text: &str, group: &mut Option<String>) -> bool {
    let ends = |from: usize| text.char_indices().map(|(i, c)| i + c.len_utf8()).filter(move |i| *i > from);
    if let Some(rest) = pattern.strip_prefix(PLACE) {
        return ends(0).take_while(|i| !text[..*i].contains('/')).any(|i| {
            let fit = fits(rest, &text[i..], group);
            if fit {
                *group = Some(text[..i].to_owned());
            }
            fit
        });
    }
    if let Some(rest) = pattern.strip_prefix('*') {
        return std::iter::once(0)
            .chain(ends(0))
            .take_while(|i| !text[..*i].contains('/'))
            .any(|i| fits(rest, &text[i..], group));
    }
    match (pattern.chars().next(), text.chars().next()) {
        (None, None) => true,
        (Some(a), Some(b)) if a == b => fits(&pattern[a.len_utf8()..], &text[b.len_utf8()..], group),
        _ => false,
    }
}

/// The subject of a name by the Brain Imaging Data Structure: `sub-` and what follows it.
pub fn bids_subject(name: &str) -> Option<String> {
    let parts = name.split(['/', '_']);
    parts.into_iter().find(|p| p.len() > 4 && p.starts_with("sub-")).map(str::to_owned)
}

/// What a user should know where nothing says which cases belong together and their names look as if some did: several
/// names, with a number in them, that are the beginnings (or folders) of two cases or more on average.
pub fn looks_grouped<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let names: Vec<&str> = names.collect();
    let numbered = |s: &str| s.chars().any(|c| c.is_ascii_digit());
    let of_folder = |name: &&str| name.rsplit_once('/').map(|p| p.0.to_owned());
    let of_name = |name: &&str| {
        let (stem, number) = name.trim_end_matches("_mask").rsplit_once(['_', '-'])?;
        // Places of a tile are two numbers.
        let shorter = stem.rsplit_once(['_', '-']).filter(|s| is_place(s.1) && is_place(number));
        is_place(number).then(|| shorter.map_or(stem, |s| s.0).to_owned())
    };
    for key in [&of_folder as &dyn Fn(&&str) -> Option<String>, &of_name] {
        let mut groups: BTreeMap<String, usize> = BTreeMap::new();
        names.iter().filter_map(key).for_each(|k| *groups.entry(k).or_default() += 1);
        let all: usize = groups.values().sum();
        let likely = groups.len() > 1 && groups.len() * 2 <= names.len() && all * 2 > names.len();
        let example = groups.iter().filter(|g| *g.1 > 1).map(|g| g.0).next();
        if let Some(example) = example.filter(|_| likely && groups.keys().all(|k| numbered(k))) {
            return Some(format!(
                "the names look grouped ({} names such as `{example}` in {} cases), and every case counts by itself; where cases \
                 belong to one patient or slide, say so with a `group` column, `--groups folder` or a pattern such as \
                 `--groups '{{group}}_*'`",
                groups.len(),
                names.len()
            ));
        }
    }
    None
}

/// Whether a part of a name is a number, or a letter or two with one.
fn is_place(part: &str) -> bool {
    let digits = part.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    part.len() - digits.len() <= 2 && !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn names_tell_their_group() {
        let of = |how: &str, name: &str| how.parse::<Grouping>().unwrap().of(name);
        assert_eq!(of("folder", "a/b/x"), Some("a/b".into()));
        assert_eq!(of("{group}_*", "a/p01_2_3"), Some("p01".into()));
        assert_eq!(of("img-{group}-*", "img-p1-3"), Some("p1".into()));
        assert_eq!(of("img-{group}-*", "p1-3"), None);
        assert_eq!(of("{group}", "p1"), Some("p1".into()));
        assert_eq!(of("*/{group}/*", "data/p7/x"), Some("p7".into()));
        assert_eq!(of("*/{group}/*", "more/data/p7/x"), None);
        for bad in ["", "group", "{group}{group}", "*"] {
            assert!(bad.parse::<Grouping>().is_err(), "{bad}");
        }
        let mut cases = vec![Case::of_file(Path::new("val/p1_1.png")), Case::of_file(Path::new("val/x.png"))];
        let e = "{group}_*".parse::<Grouping>().unwrap().apply(&mut cases).unwrap_err().to_string();
        assert!(e.contains("x.png") && e.contains("`{group}_*`"), "{e}");
        assert_eq!(cases[0].group.as_deref(), Some("p1"));
        assert_eq!(bids_subject("sub-01/ses-1/anat/sub-01_ses-1_T1w").as_deref(), Some("sub-01"));
        assert_eq!((bids_subject("x/y"), bids_subject("sub-")), (None, None));
    }

    #[test]
    fn names_that_look_grouped_are_noticed() {
        let note = |names: &[&str]| looks_grouped(names.iter().copied());
        assert!(note(&["p1_1", "p1_2", "p2_1", "p2_2"]).is_some_and(|n| n.contains("`p1`")));
        assert!(note(&["s1_x0_y0", "s1_x0_y1", "s2_x0_y0", "s2_x0_y1", "s2_x1_y1"]).is_some());
        assert!(note(&["sub1/a", "sub1/b", "sub2/a", "sub2/b"]).is_some());
        // Numbered one by one, or by class.
        assert!(note(&["tile_001", "tile_002", "tile_003", "tile_004"]).is_none());
        assert!(note(&["benign_1", "benign_2", "malignant_1", "malignant_2"]).is_none());
        assert!(note(&["a1_1", "a2_1", "a3_1", "a4_1"]).is_none());
        assert!(note(&[]).is_none());
    }
}
