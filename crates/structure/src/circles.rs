//! Import circles: sibling modules that name each other, directly or through other siblings.

use std::collections::{BTreeMap, BTreeSet};

use crate::names::named_modules;
use crate::source::Crate;

/// Sibling modules that import each other in a circle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circle {
    /// The crate's name and the parent's path, e.g. `engine::lower`.
    pub parent: String,
    /// The siblings in the circle, sorted.
    pub members: Vec<String>,
    /// Imports inside the circle, as pairs of full module paths below the parent.
    pub imports: Vec<(String, String)>,
}

impl Circle {
    /// `engine::lower: conv, elementwise`, as the list of allowances has it.
    pub fn key(&self) -> String {
        format!("{}: {}", self.parent, self.members.join(", "))
    }
}

/// Imports of one crate at all levels.
pub(crate) struct CrateCircles {
    /// Circles between siblings.
    pub circles: Vec<Circle>,
    /// Pairs `parent, child` that name each other.
    pub parent_and_child: Vec<(String, String)>,
    /// Number of modules.
    pub modules: usize,
    /// Number of modules that are members of a circle.
    pub in_circles: usize,
}

type Pair = (String, String);

/// Finds all circles of a crate.
pub(crate) fn find(krate: &Crate) -> CrateCircles {
    let named = named_modules(krate);
    let path = |i: usize| &krate.modules[i].path;
    // Parent's path -> (sibling, sibling) -> imports between modules below them.
    let mut siblings: BTreeMap<&[String], BTreeMap<(&str, &str), Vec<Pair>>> = BTreeMap::new();
    let mut upwards = BTreeSet::new();
    let mut downwards = BTreeSet::new();
    for (from, targets) in named.iter().enumerate() {
        for &to in targets {
            let (a, b) = (path(from), path(to));
            let shared = a.iter().zip(b).take_while(|(x, y)| x == y).count();
            match (a.get(shared), b.get(shared)) {
                (Some(x), Some(y)) => {
                    let pair = (a[shared..].join("::"), b[shared..].join("::"));
                    let between = siblings.entry(&a[..shared]).or_default();
                    between.entry((x.as_str(), y.as_str())).or_default().push(pair);
                }
                (Some(_), None) => _ = upwards.insert((to, &a[..=shared])),
                (None, Some(_)) => _ = downwards.insert((from, &b[..=shared])),
                (None, None) => {}
            }
        }
    }
    let mut circles = Vec::new();
    for (parent, imports) in &siblings {
        circles.extend(at_one_level(&full_name(krate, parent), imports));
    }
    let both = upwards.intersection(&downwards);
    let parent_and_child =
        both.map(|&(parent, child)| (full_name(krate, path(parent)), full_name(krate, child))).collect();
    let in_circles = circles.iter().map(|c| c.members.len()).sum();
    CrateCircles { circles, parent_and_child, modules: krate.modules.len(), in_circles }
}

fn full_name(krate: &Crate, path: &[String]) -> String {
    let mut names = vec![krate.name.clone()];
    names.extend_from_slice(path);
    names.join("::")
}

/// Groups of siblings in which every one reaches every other.
fn at_one_level(parent: &str, imports: &BTreeMap<(&str, &str), Vec<Pair>>) -> Vec<Circle> {
    let mut reach: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for &(a, b) in imports.keys() {
        reach.entry(a).or_default().insert(b);
        reach.entry(b).or_default();
    }
    let names: Vec<&str> = reach.keys().copied().collect();
    // Transitive closure (Warshall): siblings are few.
    for middle in &names {
        let further = reach[middle].clone();
        for name in &names {
            if reach[name].contains(middle) {
                reach.entry(name).or_default().extend(&further);
            }
        }
    }
    let mut seen = BTreeSet::new();
    let mut circles = Vec::new();
    for name in &names {
        let others = reach[name].iter().filter(|o| *o != name && reach[*o].contains(name));
        let members: BTreeSet<&str> = others.copied().chain([*name]).collect();
        if members.len() < 2 || !seen.insert(members.clone()) {
            continue;
        }
        let inside = imports.iter().filter(|((a, b), _)| members.contains(a) && members.contains(b));
        circles.push(Circle {
            parent: parent.to_string(),
            members: members.iter().map(|m| m.to_string()).collect(),
            imports: inside.flat_map(|(_, pairs)| pairs.iter().cloned()).collect(),
        });
    }
    circles
}
