//! The cases that judging is done on: where they are, and that no case is in two sets.

use crate::{Error, Result};
use ampoule_pipeline::recipe::Kind;
use ampoule_pipeline::{Case, Grouping, Recipe, collect, looks_grouped, sha256_case, sha256_hex};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The cases that a path names, for a recipe: a file, a folder, or a manifest. Those that no manifest and no data set gives a
/// group are grouped by `grouping`, where there is one.
pub fn cases(path: &Path, recipe: &Recipe, grouping: Option<&Grouping>) -> Result<Vec<Case>> {
    if !ampoule_pipeline::input_exists(path) && !path.to_string_lossy().contains("://") {
        return Err(Error::Input { path: path.into(), reason: "there is no such file or folder".into() });
    }
    let mut found = collect(recipe, &[path.to_path_buf()], None)?;
    if let Some((path, reason)) = found.skipped.into_iter().next() {
        return Err(Error::Input { path, reason });
    }
    if found.cases.is_empty() {
        let kind = match recipe.kind() {
            Kind::Image => "photos or tiles",
            Kind::Volume => "volumes",
        };
        return Err(Error::Input { path: path.into(), reason: format!("there are no {kind} in it") });
    }
    if let Some(grouping) = grouping {
        grouping.apply(&mut found.cases)?;
    }
    group_copies(&mut found.cases);
    Ok(found.cases)
}

/// At most so many of the cases, spread over all of them.
pub fn spread(cases: Vec<Case>, at_most: Option<usize>) -> Vec<Case> {
    let Some(most) = at_most.filter(|most| *most < cases.len()) else { return cases };
    let all = cases.len();
    let kept = |i: usize| (i + 1) * most / all > i * most / all;
    cases.into_iter().enumerate().filter(|(i, _)| kept(*i)).map(|(_, c)| c).collect()
}

/// How the names of groups begin whose cases are copies of one.
const COPIES: &str = "copies of ";

/// Whether the group of a case is one of copies.
pub(crate) fn are_copies(case: &Case) -> bool {
    case.group.as_deref().is_some_and(|g| g.starts_with(COPIES))
}

/// Makes cases of the same content one group: a case that stands there several times says nothing more than once.
pub fn group_copies(cases: &mut [Case]) {
    // Only those of one size can be the same.
    let mut sizes: BTreeMap<Vec<u64>, Vec<usize>> = BTreeMap::new();
    for (i, case) in cases.iter().enumerate() {
        let size = |p: &PathBuf| std::fs::metadata(p).map(|m| m.len()).unwrap_or(0);
        sizes.entry(case.files.iter().map(size).collect()).or_default().push(i);
    }
    for list in sizes.values().filter(|l| l.len() > 1) {
        let mut seen: BTreeMap<Vec<String>, usize> = BTreeMap::new();
        for &i in list {
            // A file that cannot be read fails as a case.
            let Ok(hashes) = sha256_case(&cases[i]) else { continue };
            let hash: String = hashes.first().map_or(String::new(), |h| h.chars().take(12).collect());
            let Some(&first) = seen.get(&hashes) else {
                seen.insert(hashes, i);
                continue;
            };
            let own = format!("{COPIES}{} ({hash})", cases[first].name);
            let group = cases[first].group.get_or_insert(own).clone();
            cases[i].group = Some(group);
        }
    }
}

/// What a user should know of cases none of which has a group, where their names look as if some belonged together.
pub fn grouping_note(cases: &[Case]) -> Option<String> {
    let copies = cases.iter().filter(|c| are_copies(c)).count();
    if copies > 0 {
        return Some(format!(
            "{copies} cases are copies of one another by content; copies of a case count once"
        ));
    }
    let none = cases.iter().all(|c| c.group.is_none());
    none.then(|| looks_grouped(cases.iter().map(|c| c.name.as_str()))).flatten()
}

/// Refuses a case that is in two of the named sets, by content, and a group that has cases in two of them; returns a hash of
/// all, with their groups.
pub fn disjoint(sets: &[(&str, &[Case])]) -> Result<String> {
    let mut seen: BTreeMap<String, (&str, &Path)> = BTreeMap::new();
    let mut text = String::new();
    let mut groups: BTreeMap<&str, (&str, &Path)> = BTreeMap::new();
    for &(set, cases) in sets {
        for (case, group) in cases.iter().filter_map(|c| Some((c, c.group.as_deref()?))) {
            text += &format!("{group}:");
            let &mut (other, first) = groups.entry(group).or_insert((set, case.main()));
            if other != set {
                let reason = format!(
                    "this {set} case belongs to the group `{group}`, as the {other} case {} does; all cases of a group must be in one set",
                    first.display()
                );
                return Err(Error::Input { path: case.main().into(), reason });
            }
        }
        let hashes: Vec<Vec<String>> =
            cases.iter().map(sha256_case).collect::<ampoule_pipeline::Result<_>>()?;
        let files = cases.iter().zip(hashes).flat_map(|(c, all)| c.files.iter().zip(all));
        for (path, hash) in files {
            text += &hash;
            if let Some((other, first)) = seen.get(&hash).filter(|s| s.0 != set) {
                let reason = format!(
                    "this {set} case has the same content as the {other} case {}; a case must be in one set only",
                    first.display()
                );
                return Err(Error::Input { path: path.clone(), reason });
            }
            seen.insert(hash, (set, path));
        }
        text.push('/');
    }
    Ok(sha256_hex(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_a_case_count_once() {
        let d = tempfile::tempdir().unwrap();
        let mut cases: Vec<Case> = [("a", "one"), ("b", "two"), ("c", "one"), ("d", "one"), ("e", "three")]
            .map(|(name, text)| {
                let path = d.path().join(name);
                std::fs::write(&path, text).unwrap();
                Case::of_file(&path)
            })
            .to_vec();
        cases[4].group = Some("patient 7".into());
        group_copies(&mut cases);
        let groups: Vec<Option<&str>> = cases.iter().map(|c| c.group.as_deref()).collect();
        assert!(groups[0].is_some_and(|g| g.starts_with("copies of a (")), "{groups:?}");
        assert_eq!([groups[2], groups[3]], [groups[0]; 2]);
        assert_eq!([groups[1], groups[4]], [None, Some("patient 7")]);
        assert!(grouping_note(&cases).unwrap().starts_with("3 cases are copies"));
        // A group that was given holds its copies.
        cases[0].group = Some("patient 8".into());
        (cases[2].group, cases[3].group) = (None, None);
        group_copies(&mut cases);
        assert_eq!(cases[3].group.as_deref(), Some("patient 8"));
    }

    #[test]
    fn some_cases_are_spread_over_all() {
        let all: Vec<Case> = (0..10).map(|i| Case::of_file(Path::new(&format!("{i}.png")))).collect();
        let names = |most| {
            let some = spread(all.clone(), most);
            some.iter().map(|c| c.name.clone()).collect::<String>()
        };
        assert_eq!((names(Some(2)).as_str(), names(Some(3)).as_str()), ("49", "369"));
        assert_eq!((names(None), names(Some(99))), ("0123456789".into(), "0123456789".into()));
    }

    #[test]
    fn a_case_or_a_group_is_in_one_set_only() {
        let d = tempfile::tempdir().unwrap();
        let case = |name: &str, text: &str, group: Option<&str>| {
            let path = d.path().join(name);
            std::fs::write(&path, text).unwrap();
            Case { group: group.map(str::to_owned), ..Case::of_file(&path) }
        };
        let [a, b, same] = [case("a", "1", None), case("b", "2", None), case("c", "1", None)];
        let sets =
            |x: &[Case], y: &[Case]| disjoint(&[("calibration", x), ("test", y)]).map_err(|e| e.to_string());
        assert!(sets(std::slice::from_ref(&a), &[b]).is_ok());
        assert!(sets(&[a], &[same]).unwrap_err().contains("the same content"));
        let [p, q] = ["p", "q"].map(|n| case(n, n, Some("patient 7")));
        assert!(sets(&[p.clone(), q.clone()], &[]).is_ok());
        let e = sets(&[p], &[q]).unwrap_err();
        assert!(e.contains("the group `patient 7`") && e.contains("test case"), "{e}");
    }
}
