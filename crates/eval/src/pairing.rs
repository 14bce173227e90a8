//! Which file belongs to which: rows of two tables by their paths, files of two folders by their place in them.

use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Paths of a table, each once, that paths of other tables or cases are paired with.
#[derive(Debug)]
pub(crate) struct Paths {
    all: Vec<String>,
    /// Components of each path from its end, with its number, in order: paths with a common end are neighbours.
    sorted: Vec<(Vec<String>, usize)>,
}

/// Components of a path from its end, with either separator; empty ones and `.` are left out.
fn reversed(path: &str) -> Vec<String> {
    path.split(['/', '\\']).rev().filter(|c| !c.is_empty() && *c != ".").map(str::to_owned).collect()
}

/// Components that two paths share at their ends.
fn common(a: &[String], b: &[String]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

impl Paths {
    /// Paths as a table has them. A path that occurs twice is an error.
    pub fn new(all: Vec<String>) -> std::result::Result<Self, String> {
        let mut sorted: Vec<_> = all.iter().enumerate().map(|(i, path)| (reversed(path), i)).collect();
        sorted.sort();
        match sorted.windows(2).find(|w| w[0].0 == w[1].0) {
            Some(w) => {
                Err(format!("`{}` occurs in more than one row; keep one row for each file", all[w[1].1]))
            }
            None => Ok(Paths { all, sorted }),
        }
    }

    /// The number of the path that shares the longest end (whole components) with `path`. The file's name alone is
    /// enough where one of them has no more; where both name a folder, at least one folder must be equal too. Two that
    /// match equally well are an error that names both.
    fn best(&self, path: &str) -> std::result::Result<Option<usize>, String> {
        let parts = reversed(path);
        let at = match self.sorted.binary_search_by(|s| s.0.cmp(&parts)) {
            Ok(same) => return Ok((!parts.is_empty()).then_some(self.sorted[same].1)),
            Err(at) => at,
        };
        let shared = |i: usize| self.sorted.get(i).map_or(0, |s| common(&s.0, &parts));
        let most = shared(at).max(at.checked_sub(1).map_or(0, shared));
        if most == 0 {
            return Ok(None);
        }
        if most == 1 && parts.len() > 1 {
            // Of the paths that share no folder, only the name by itself belongs to it.
            let name = self.sorted.binary_search_by(|s| s.0[..].cmp(&parts[..1]));
            return Ok(name.ok().map(|i| self.sorted[i].1));
        }
        // Those that share the most lie side by side.
        let first = if at > 0 && shared(at - 1) == most { at - 1 } else { at };
        let second = if first < at && first > 0 && shared(at) < most { first - 1 } else { first + 1 };
        match shared(second) == most {
            true => Err(self.tie(path, self.sorted[first].1, self.sorted[second].1)),
            false => Ok(Some(self.sorted[first].1)),
        }
    }

    fn tie(&self, path: &str, a: usize, b: usize) -> String {
        format!(
            "`{path}` matches `{}` and `{}` equally well; write the folders of each file in both tables",
            self.all[a.min(b)],
            self.all[a.max(b)]
        )
    }

    /// The number of the path that belongs to `path`, if one does.
    pub fn find(&self, path: &str) -> std::result::Result<Option<usize>, String> {
        self.best(path)
    }

    /// For each of `self`'s paths the number of the one of `others` that belongs to it, if one does: each is the
    /// best match of the other, and no path is used twice.
    pub fn pair(&self, others: &Paths) -> std::result::Result<Vec<Option<usize>>, String> {
        let mut found = vec![None; self.all.len()];
        for (i, path) in self.all.iter().enumerate() {
            let Some(j) = others.best(path)? else { continue };
            if self.best(&others.all[j])? == Some(i) {
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
    if let Ok(meta) = std::fs::metadata(root)
        && !meta.is_dir()
    {
        let kind = ampoule_pipeline::file_kind(&meta);
        let reason = format!("it is {kind}; give a file or a folder");
        return Err(Error::Input { path: root.into(), reason });
    }
    let mut files = BTreeMap::new();
    collect(root, "", naming, &mut Vec::new(), &mut files)?;
    Ok(files.into_iter().collect())
}

fn collect(
    folder: &Path,
    within: &str,
    naming: &Naming,
    above: &mut Vec<PathBuf>,
    into: &mut BTreeMap<String, PathBuf>,
) -> Result<()> {
    let fail = |e: std::io::Error| Error::Input { path: folder.into(), reason: e.to_string() };
    // Links must not lead in circles; a link to another folder is a folder of its own.
    let place = folder.canonicalize().map_err(fail)?;
    if above.contains(&place) {
        return Ok(());
    }
    above.push(place);
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
        collect(&inner, &within, naming, above, into)?;
    }
    above.pop();
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

/// The ground truths that a list names, by the names of their cases. A case that is listed with two ground truths is an error.
fn listed(list: &Path) -> Result<Keyed> {
    let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
    for case in ampoule_pipeline::labelled(list)? {
        let Some(file) = case.ground_truth else { continue };
        if let Some(first) = files.insert(case.name.clone(), file.clone()).filter(|first| *first != file) {
            let reason = format!(
                "it names {} and {} as the ground truth of {}; keep one of them",
                first.display(),
                file.display(),
                case.name
            );
            return Err(Error::Input { path: list.into(), reason });
        }
    }
    Ok(files.into_iter().collect())
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
    let p = keyed(predictions, naming)?;
    let t = match ampoule_pipeline::names_ground_truth(reference) {
        true => listed(reference)?,
        false => keyed(reference, naming)?,
    };
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
            None => unpaired.push(format!("{key} (no ground truth)")),
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
        // Only the photo of the folder that the table names has a ground truth.
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
        assert_eq!(found.unpaired, ["b/x (no ground truth)", "x (no prediction)"]);
        assert!(pairs(&d.path().join("p/b"), &d.path().join("p/.old"), &naming).is_ok());
        assert!(pairs(&d.path().join("p/b"), &d.path().join("missing"), &naming).is_err());
    }

    #[test]
    fn many_files_of_one_name_are_paired_soon() {
        let list = |root: &str| {
            Paths::new((0..20_000).map(|i| format!("{root}/case_{i}/image.png")).collect()).unwrap()
        };
        let (truth, predictions) = (list("/data/truth"), list("out"));
        let start = std::time::Instant::now();
        let found = predictions.pair(&truth).unwrap();
        assert!(found.iter().enumerate().all(|(i, f)| *f == Some(i)));
        assert!(start.elapsed() < std::time::Duration::from_secs(5), "{:?}", start.elapsed());
    }

    /// The rule, over all rows: the number of the best match, or the first two of a tie.
    fn slowly(rows: &[&str], path: &str) -> std::result::Result<Option<usize>, ()> {
        let q = reversed(path);
        let score = |row: &&str| {
            let r = reversed(row);
            let n = common(&r, &q);
            let whole = n == r.len() || n == q.len();
            (n > 1 || (n == 1 && whole)).then_some((n, r == q))
        };
        let scores: Vec<_> = rows.iter().map(score).collect();
        let Some(most) = scores.iter().flatten().max() else { return Ok(None) };
        let mut best = (0..rows.len()).filter(|&i| scores[i].as_ref() == Some(most));
        let first = best.next();
        if best.next().is_some() { Err(()) } else { Ok(first) }
    }

    #[test]
    fn neighbours_find_what_a_search_of_all_rows_finds() {
        let names = ["x", "a/x", "b/x", "c/x", "b/a/x", "c/a/x", "d/b/a/x", "a/y", "b/a/y", "c/b/y", "y/x"];
        let queries =
            ["x", "y", "z", "a/x", "z/x", "e/a/x", "z/b/a/x", "e/d/b/a/x", "b/y", "z/y", "", "x/y/x"];
        for chosen in 0..1u32 << names.len() {
            let rows: Vec<&str> =
                (0..names.len()).filter(|i| chosen >> i & 1 == 1).map(|i| names[i]).collect();
            let table = paths(&rows);
            for q in queries {
                assert_eq!(table.find(q).map_err(drop), slowly(&rows, q), "{q} in {rows:?}");
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_are_folders_of_their_own_and_lead_in_no_circles() {
        let d = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(d.path().join("real/inner")).unwrap();
        std::fs::write(d.path().join("real/inner/x.txt"), "").unwrap();
        std::os::unix::fs::symlink(d.path().join("real"), d.path().join("link")).unwrap();
        std::os::unix::fs::symlink(d.path(), d.path().join("real/inner/up")).unwrap();
        let naming = Naming {
            wanted: |p| p.extension().is_some_and(|e| e == "txt"),
            preferred: &[],
            name: |p| p.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        };
        let found = keyed(d.path(), &naming).unwrap();
        let keys: Vec<&str> = found.iter().map(|f| f.0.as_str()).collect();
        assert_eq!(keys, ["link/inner/x", "real/inner/x"]);
    }
}
