//! Resolves the paths that modules name to the modules that define them.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Crate, Module};

/// Renames and re-exports followed before a path counts as unresolved (a circle of re-exports has no end).
const MOST_STEPS: usize = 24;
/// Globs in a row that are followed to find where another glob leads.
const GLOB_ROUNDS: usize = 3;

/// For every module of a crate (by index) the modules it names, itself excluded.
pub(crate) fn named_modules(krate: &Crate) -> Vec<BTreeSet<usize>> {
    let resolver = Resolver::new(&krate.modules);
    let of_module = |from: usize| {
        let paths = &krate.modules[from].imports.paths;
        paths.iter().filter_map(|p| resolver.resolve(from, p, 0)).filter(|&to| to != from).collect()
    };
    (0..krate.modules.len()).map(of_module).collect()
}

struct Resolver<'a> {
    modules: &'a [Module],
    by_path: BTreeMap<&'a [String], usize>,
    /// For every module those that its globs import.
    globs: Vec<BTreeSet<usize>>,
}

impl<'a> Resolver<'a> {
    fn new(modules: &'a [Module]) -> Self {
        let by_path = modules.iter().enumerate().map(|(i, m)| (m.path.as_slice(), i)).collect();
        let mut resolver = Self { modules, by_path, globs: vec![BTreeSet::new(); modules.len()] };
        // A glob may be named through another glob; every round follows one more.
        for _ in 0..GLOB_ROUNDS {
            resolver.globs = (0..modules.len()).map(|at| resolver.resolve_globs(at)).collect();
        }
        resolver
    }

    fn resolve_globs(&self, at: usize) -> BTreeSet<usize> {
        let globs = self.modules[at].imports.globs.iter();
        globs.filter_map(|p| self.resolve(at, p, 0)).filter(|&g| g != at).collect()
    }

    fn child(&self, of: usize, name: &str) -> Option<usize> {
        let mut path = self.modules[of].path.clone();
        path.push(name.to_string());
        self.by_path.get(path.as_slice()).copied()
    }

    fn parent(&self, of: usize) -> Option<usize> {
        let (_, path) = self.modules[of].path.split_last()?;
        self.by_path.get(path).copied()
    }

    /// The module of this crate that defines what `path` names inside module `from`; `None` for names of
    /// other crates, of the prelude and of function bodies.
    fn resolve(&self, from: usize, path: &[String], steps: usize) -> Option<usize> {
        if steps > MOST_STEPS {
            return None;
        }
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => return self.descend(0, rest, steps),
            "self" => return self.descend(from, rest, steps),
            "super" => {
                let (mut at, mut rest) = (self.parent(from)?, rest);
                while let Some((next, after)) = rest.split_first().filter(|(n, _)| *n == "super") {
                    debug_assert_eq!(next, "super");
                    (at, rest) = (self.parent(at)?, after);
                }
                return self.descend(at, rest, steps);
            }
            _ => {}
        }
        if !self.provides(from, first, &mut BTreeSet::new()) {
            return None;
        }
        self.descend(from, path, steps)
    }

    /// Follows `path` from module `at`; ends at `at` where the next name is not known.
    fn descend(&self, at: usize, path: &[String], steps: usize) -> Option<usize> {
        let Some((name, rest)) = path.split_first() else { return Some(at) };
        if steps > MOST_STEPS {
            return None;
        }
        if let Some(child) = self.child(at, name) {
            return self.descend(child, rest, steps + 1);
        }
        let module = &self.modules[at];
        if module.items.contains(name) {
            return Some(at);
        }
        if let Some(alias) = module.imports.aliases.get(name) {
            // An alias of itself (`use anyhow::anyhow`) names another crate.
            let full: Vec<String> = alias.iter().chain(rest).cloned().collect();
            let resolved =
                if alias.first() == Some(name) { None } else { self.resolve(at, &full, steps + 1) };
            return resolved.or(Some(at));
        }
        let mut seen = BTreeSet::from([at]);
        match self.globs[at].iter().find(|&&g| self.provides(g, name, &mut seen)) {
            Some(&g) => self.descend(g, path, steps + 1),
            None => Some(at),
        }
    }

    /// Whether a module knows a name: as a child, an item, an import, or through a glob. `seen` holds the
    /// modules already asked.
    fn provides(&self, at: usize, name: &str, seen: &mut BTreeSet<usize>) -> bool {
        let module = &self.modules[at];
        seen.insert(at)
            && (self.child(at, name).is_some()
                || module.items.contains(name)
                || module.imports.aliases.contains_key(name)
                || self.globs[at].iter().any(|&g| self.provides(g, name, seen)))
    }
}
