//! Cases that a table or a list names twice.

use crate::case::Case;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Most other places of a case that are named: with all of them for each, the words would grow with the square.
const NAMED: usize = 5;

/// The cases without those whose name stands more than once: of rows that are equal one stays; of others none does, as
/// nothing says which is right. Beside them what was left out, with the reason. `place` says where a case stands.
pub(crate) fn doubled(cases: Vec<(Case, String)>) -> (Vec<Case>, Vec<(PathBuf, String)>) {
    let mut names: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (i, (case, _)) in cases.iter().enumerate() {
        names.entry(case.name.clone()).or_default().push(i);
    }
    let mut reasons: BTreeMap<usize, String> = BTreeMap::new();
    for list in names.values().filter(|l| l.len() > 1) {
        let (first, place) = &cases[list[0]];
        let equal = list.iter().all(|i| cases[*i].0 == *first);
        for (k, i) in list.iter().enumerate() {
            let name = &first.name;
            if equal && k > 0 {
                reasons.insert(
                    *i,
                    format!(
                        "the case `{name}` stands in {place} already, with the same files; it is run once"
                    ),
                );
            } else if !equal {
                let others: Vec<&str> =
                    list.iter().filter(|o| *o != i).take(NAMED).map(|o| cases[*o].1.as_str()).collect();
                let more = (list.len() - 1).saturating_sub(NAMED);
                let more = if more > 0 { format!(" and {more} more places") } else { String::new() };
                let others = others.join(", ") + &more;
                let own = &cases[*i].1;
                reasons.insert(
                    *i,
                    format!("{own}: the case `{name}` stands in {others} too, with other files; none of them is run"),
                );
            }
        }
    }
    let (mut kept, mut left) = (Vec::new(), Vec::new());
    for (i, (case, _)) in cases.into_iter().enumerate() {
        match reasons.remove(&i) {
            Some(reason) => left.push((case.main().to_owned(), reason)),
            None => kept.push(case),
        }
    }
    (kept, left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_rows_are_run_once_and_contradictions_not_at_all() {
        let case =
            |name: &str, file: &str| Case { name: name.into(), files: vec![file.into()], ..Case::default() };
        let rows = [("a", "1"), ("b", "2"), ("a", "1"), ("c", "3"), ("c", "4"), ("d", "5")];
        let rows = rows.iter().zip(2..).map(|((n, f), l)| (case(n, f), format!("line {l}"))).collect();
        let (kept, left) = doubled(rows);
        assert_eq!(kept.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["a", "b", "d"]);
        assert_eq!(left.len(), 3);
        assert!(
            left[0].1.contains("in line 2 already")
                && left[1].1.starts_with("line 5: the case `c` stands in line 6 too")
        );
    }
}
