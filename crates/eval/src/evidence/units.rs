//! What counts once: groups of cases that belong together.

use std::collections::BTreeMap;

/// Losses of the units of a sample.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Units {
    /// Mean loss of each unit's cases.
    pub losses: Vec<f64>,
    /// Whether every unit is one case.
    pub single: bool,
}

impl Units {
    /// From cases with their groups; a case without one is a unit of its own.
    pub fn of<'a>(cases: impl Iterator<Item = (f64, Option<&'a str>)>) -> Self {
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        let mut sums: Vec<(f64, usize)> = Vec::new();
        for (loss, group) in cases {
            let new = sums.len();
            let at = group.map_or(new, |g| *places.entry(g).or_insert(new));
            if at == new {
                sums.push((0.0, 0));
            }
            sums[at].0 += loss;
            sums[at].1 += 1;
        }
        Units {
            single: sums.iter().all(|u| u.1 == 1),
            losses: sums.into_iter().map(|(sum, n)| sum / n as f64).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_of_a_group_count_once() {
        let u = Units::of(
            [(1.0, Some("a")), (0.5, None), (0.0, Some("a")), (0.25, Some("b")), (0.0, None)].into_iter(),
        );
        assert_eq!(u, Units { losses: vec![0.5, 0.5, 0.25, 0.0], single: false });
        // Groups of one are cases.
        assert!(Units::of([(1.0, Some("a")), (0.0, Some("b"))].into_iter()).single);
        assert!(Units::of(std::iter::empty()).losses.is_empty());
    }
}
