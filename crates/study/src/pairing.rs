//! Which file belongs to which: rows of two tables by their paths, files of two folders by their place in them.

use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// Paths of a table, each once, that paths of other tables or cases are paired with.
#[derive(Debug)]
pub(crate) struct Paths {
    all: Vec<String>,
    by_name: HashMap<String, Vec<usize>>,
}

/// How well two paths match: components that are equal at their ends, and whether they are equal as a whole.
type Match = (usize, bool);

/// Components of a path, with either separator; empty ones and `.` are left out.
fn components(path: &str) -> Vec<&str> {
    path.split(['/', '\\']).filter(|c| !c.is_empty() && *c != ".").collect()
}

/// How well two paths match. The file's name alone is enough where one of them has no more; where both name a
/// folder, at least one folder must be equal too.
fn compare(a: &str, b: &str) -> Option<Match> {
    let (a, b) = (components(a), components(b));
    let equal = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    let whole = equal == a.len() || equal == b.len();
    (equal > 1 || (equal == 1 && whole)).then_some((equal, a.len() == b.len() && whole))
}

impl Paths {
    /// Paths as a table has them. A path that occurs twice is an error.
    pub fn new(all: Vec<String>) -> std::result::Result<Self, String> {
        let mut seen = BTreeSet::new();
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (i, path) in all.iter().enumerate() {
            let parts = components(path);
            if let Some(name) = parts.last() {
                by_name.entry((*name).to_owned()).or_default().push(i);
            }
            if !seen.insert(parts) {
                return Err(format!("`{path}` occurs in more than one row; keep one row for each file"));
            }
        }
        Ok(Paths { all, by_name })
    }

    /// The path that shares the longest end (whole components) with `path`, and how well it matches. Two that match
    /// equally well are an error that names both.
    fn best(&self, path: &str) -> std::result::Result<Option<(usize, Match)>, String> {
        let parts = components(path);
        let same_name = parts.last().and_then(|name| self.by_name.get(*name)).map_or(&[][..], Vec::as_slice);
        let matches = same_name.iter().filter_map(|&i| Some((i, compare(path, &self.all[i])?)));
        let mut best: Option<(usize, Match)> = None;
        let mut tie = None;
        for (i, m) in matches {
            match best {
                Some((_, most)) if m < most => {}
                Some((first, most)) if m == most => tie = Some((first, i)),
                Some(_) | None => (best, tie) = (Some((i, m)), None),
            }
        }
        match tie {
            Some((a, b)) => Err(format!(
                "`{path}` matches `{}` and `{}` equally well; write the folders of each file in both tables",
                self.all[a], self.all[b]
            )),
            None => Ok(best),
        }
    }

    /// The number of the path that belongs to `path`, if one does.
    pub fn find(&self, path: &str) -> std::result::Result<Option<usize>, String> {
        Ok(self.best(path)?.map(|b| b.0))
    }

    /// For each of `self`'s paths the number of the one of `others` that belongs to it, if one does: each is the
    /// best match of the other, and no path is used twice.
    pub fn pair(&self, others: &Paths) -> std::result::Result<Vec<Option<usize>>, String> {
        let mut found = vec![None; self.all.len()];
        for (i, path) in self.all.iter().enumerate() {
            let Some((j, _)) = others.best(path)? else { continue };
            if self.best(&others.all[j])?.is_some_and(|(back, _)| back == i) {
                found[i] = Some(j);
            }
        }
        Ok(found)
    }
}

/// Files by a key, the folder within the root and the name of the case.
pub(crate) type Keyed = Vec<(String, PathBuf)>;

/// Which files of a folder are compared, and how they are named.
pub(crate) struct Naming {
    /// Whether a file is of the kind.
    pub wanted: fn(&Path) -> bool,
    /// Where a folder holds files of one of these kinds, only those count in it.
    pub preferred: &'static [fn(&Path) -> bool],
    /// The name of a file's case.
    pub name: fn(&Path) -> String,
}

/// The files of a folder and its subfolders by their place in it, or a single file by its name. Hidden files and
/// folders are left out. Two files of one case are an error that names both.
pub(crate) fn keyed(root: &Path, naming: &Naming) -> Result<Keyed> {
    if root.is_file() {
        return Ok(vec![((naming.name)(root), root.into())]);
    }
    let mut files = BTreeMap::new();
    collect(root, "", naming, &mut BTreeSet::new(), &mut files)?;
    Ok(files.into_iter().collect())
}

fn collect(
    folder: &Path,
    within: &str,
    naming: &Naming,
    seen: &mut BTreeSet<PathBuf>,
    into: &mut BTreeMap<String, PathBuf>,
) -> Result<()> {
    let fail = |e: std::io::Error| Error::Input { path: folder.into(), reason: e.to_string() };
    // Links must not lead in circles.
    if !seen.insert(folder.canonicalize().map_err(fail)?) {
        return Ok(());
    }
    let (folders, mut files) = entries(folder).map_err(fail)?;
    files.retain(|p| (naming.wanted)(p));
    for kind in naming.preferred {
        if files.iter().any(|p| kind(p)) {
            files.retain(|p| kind(p));
        }
    }
    for file in files {
        let key = format!("{within}{}", (naming.name)(&file));
        if let Some(first) = into.insert(key, file.clone()) {
            let reason = format!("{} is of the same case; keep one of them", first.display());
            return Err(Error::Input { path: file, reason });
        }
    }
    for inner in folders {
        let within = format!("{within}{}/", inner.file_name().unwrap_or_default().to_string_lossy());
        collect(&inner, &within, naming, seen, into)?;
    }
    Ok(())
}

/// Folders and files directly in a folder, sorted, hidden ones left out.
fn entries(folder: &Path) -> std::io::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            all.push(entry.path());
        }
    }
    all.sort();
    Ok(all.into_iter().partition(|p| p.is_dir()))
}

/// Files of predictions and of the reference that belong together.
pub(crate) struct Pairs {
    /// Key, prediction, reference.
    pub pairs: Vec<(String, PathBuf, PathBuf)>,
    /// Those of either side without the other, with what is missing.
    pub unpaired: Vec<String>,
}

/// Pairs two lists of files by key. Two single files are a pair whatever their names; where nothing pairs it is an
/// error.
pub(crate) fn pairs(predictions: &Path, reference: &Path, naming: &Naming) -> Result<Pairs> {
    let (p, t) = (keyed(predictions, naming)?, keyed(reference, naming)?);
    if let ([(key, a)], [(_, b)]) = (&p[..], &t[..])
        && predictions.is_file()
        && reference.is_file()
    {
        return Ok(Pairs { pairs: vec![(key.clone(), a.clone(), b.clone())], unpaired: Vec::new() });
    }
    let mut rest: BTreeMap<String, PathBuf> = t.into_iter().collect();
    let (mut pairs, mut unpaired) = (Vec::new(), Vec::new());
    for (key, path) in p {
        match rest.remove(&key) {
            Some(other) => pairs.push((key, path, other)),
            None => unpaired.push(format!("{key} (no truth)")),
        }
    }
    unpaired.extend(rest.into_keys().map(|key| format!("{key} (no prediction)")));
    if pairs.is_empty() {
        let reason = format!(
            "none of its files has the same name and subfolder as one of {}; rename them or give the matching folder",
            reference.display()
        );
        return Err(Error::Input { path: predictions.into(), reason });
    }
    Ok(Pairs { pairs, unpaired })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(list: &[&str]) -> Paths {
        Paths::new(list.iter().map(|p| (*p).to_owned()).collect()).unwrap()
    }

    #[test]
    fn the_longest_common_end_decides() {
        let truth = paths(&["a/x.png", "b/x.png", "y.png"]);
        let find = |p: &str| truth.find(p).unwrap();
        assert_eq!(find("/data/photos/b/x.png"), Some(1));
        assert_eq!(find("photos\\a\\x.png"), Some(0));
        assert_eq!(find("photos/y.png"), Some(2));
        // Another folder is another photo, and an end of a name is no component.
        assert_eq!((find("c/x.png"), find("photos/xy.png")), (None, None));
        let e = truth.find("x.png").unwrap_err();
        assert!(e.contains("`a/x.png` and `b/x.png`"), "{e}");
        // The whole path is better than a part of it.
        assert_eq!(paths(&["a/x.png", "x.png"]).find("./x.png").unwrap(), Some(1));
        // Roots may differ.
        assert_eq!(paths(&["/mnt/a/x.png"]).find("/data/a/x.png").unwrap(), Some(0));
    }

    #[test]
    fn a_row_is_used_once_and_occurs_once() {
        let e = Paths::new(vec!["a/x.png".into(), "./a\\x.png".into()]).unwrap_err();
        assert!(e.contains("more than one row"), "{e}");
        // Only the photo of the folder that the table names has a truth.
        let found = paths(&["a/x.png", "b/x.png"]).pair(&paths(&["b/x.png", "c/x.png"])).unwrap();
        assert_eq!(found, [None, Some(0)]);
        let e = paths(&["a/x.png", "b/x.png"]).pair(&paths(&["x.png"])).unwrap_err();
        assert!(e.contains("`x.png` matches `a/x.png` and `b/x.png`"), "{e}");
    }

    #[test]
    fn folders_are_searched_as_trees() {
        let d = tempfile::tempdir().unwrap();
        let put = |name: &str| {
            let path = d.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };
        for name in ["p/a/x.txt", "p/b/x.txt", "p/.old/x.txt", "p/._x.txt", "t/a/x.txt", "t/x.txt"] {
            put(name);
        }
        let naming = Naming {
            wanted: |p| p.extension().is_some_and(|e| e == "txt"),
            preferred: &[],
            name: |p| p.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        };
        let found = pairs(&d.path().join("p"), &d.path().join("t"), &naming).unwrap();
        let keys: Vec<&str> = found.pairs.iter().map(|p| p.0.as_str()).collect();
        assert_eq!(keys, ["a/x"]);
        assert_eq!(found.unpaired, ["b/x (no truth)", "x (no prediction)"]);
        assert!(pairs(&d.path().join("p/b"), &d.path().join("p/.old"), &naming).is_ok());
        assert!(pairs(&d.path().join("p/b"), &d.path().join("missing"), &naming).is_err());
    }
}
