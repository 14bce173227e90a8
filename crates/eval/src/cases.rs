//! The cases that judging is done on: where they are, and that no case is in two sets.

use crate::{Error, Result};
use ampoule_pipeline::recipe::Kind;
use ampoule_pipeline::{Case, Grouping, Recipe, collect, looks_grouped, sha256_case, sha256_hex};
use std::collections::BTreeMap;
use std::path::Path;

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
    Ok(found.cases)
}

/// What a user should know of cases none of which has a group, where their names look as if some belonged together.
pub fn grouping_note(cases: &[Case]) -> Option<String> {
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
