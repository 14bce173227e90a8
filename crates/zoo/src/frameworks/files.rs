//! The files of a model: a folder on disk, or a part of a zip archive.

use crate::torch::budget;
use crate::{Error, Result};
use ampoule_torch::Archive;
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Most bytes of a configuration file.
const TEXT: u64 = 64 << 20;
/// Most files of a folder that are looked at.
const ENTRIES: usize = 10_000;

/// Where files come from.
#[derive(Clone)]
enum Root {
    Folder(PathBuf),
    Zip { path: PathBuf, archive: Rc<RefCell<Archive<BufReader<File>>>> },
}

/// Hashes of what was read, by name, so that a model of several files has one fingerprint.
type Seen = Rc<RefCell<BTreeMap<String, String>>>;

/// A folder of a model, or one within an archive.
#[derive(Clone)]
pub(crate) struct Files {
    root: Root,
    /// Path within the root, with `/`; empty or ending in `/`.
    within: String,
    seen: Seen,
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { path, source }
}

impl Files {
    /// Those of a folder.
    pub fn folder(path: &Path) -> Files {
        Files { root: Root::Folder(path.into()), within: String::new(), seen: Seen::default() }
    }

    /// Those of a zip archive, from a path within it on.
    pub fn zip(path: &Path, within: &str) -> Result<Files> {
        let file = ampoule_files::open_plain(path).map_err(io(path))?;
        let archive = Archive::new(BufReader::new(file), budget())?;
        let root = Root::Zip { path: path.into(), archive: Rc::new(RefCell::new(archive)) };
        let within = if within.is_empty() { String::new() } else { format!("{}/", within.trim_matches('/')) };
        Ok(Files { root, within, seen: Seen::default() })
    }

    /// The folder of this name in it.
    pub fn within(&self, name: &str) -> Files {
        Files { within: format!("{}{name}/", self.within), ..self.clone() }
    }

    /// The folder around it, of the same root; `None` where the root has nothing above.
    pub fn around(&self) -> Option<Files> {
        if let (Root::Folder(path), "") = (&self.root, self.within.as_str()) {
            let path = std::path::absolute(path).ok()?;
            let root = Root::Folder(path.parent()?.to_owned());
            return Some(Files { root, within: String::new(), seen: self.seen.clone() });
        }
        let trimmed = self.within.trim_end_matches('/');
        let parent = trimmed.rfind('/').map_or(String::new(), |at| trimmed[..=at].to_owned());
        (!trimmed.is_empty()).then(|| Files { within: parent, ..self.clone() })
    }

    /// The path of a file or folder in it, for messages.
    pub fn path(&self, name: &str) -> PathBuf {
        let root = match &self.root {
            Root::Folder(path) | Root::Zip { path, .. } => path,
        };
        let mut path = root.clone();
        let inside = format!("{}{name}", self.within);
        inside.split('/').filter(|p| !p.is_empty()).for_each(|p| path.push(p));
        path
    }

    /// The name of the folder itself.
    pub fn name(&self) -> String {
        let path = self.path("");
        let absolute = std::path::absolute(&path).unwrap_or(path);
        absolute.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// An error about a file in it.
    pub fn wrong(&self, name: &str, reason: impl Into<String>) -> Error {
        Error::Folder { path: self.path(name), reason: reason.into() }
    }

    /// Names of files and, with a `/` at the end, folders directly in it, in order.
    pub fn names(&self) -> Result<Vec<String>> {
        let mut out: Vec<String> = match &self.root {
            Root::Folder(_) => {
                let path = self.path("");
                let mut list = Vec::new();
                for entry in std::fs::read_dir(&path).map_err(io(&path))?.take(ENTRIES) {
                    let entry = entry.map_err(io(&path))?;
                    let slash = if entry.path().is_dir() { "/" } else { "" };
                    list.push(format!("{}{slash}", entry.file_name().to_string_lossy()));
                }
                list
            }
            Root::Zip { archive, .. } => {
                let names = archive.borrow().names();
                let inside = names.iter().filter_map(|n| n.strip_prefix(&self.within));
                let direct = inside.map(|n| n.find('/').map_or(n, |at| &n[..=at]).to_owned());
                direct.filter(|n| !n.is_empty()).collect()
            }
        };
        out.sort();
        out.dedup();
        Ok(out)
    }

    /// Names of folders in it.
    pub fn folders(&self) -> Result<Vec<String>> {
        Ok(self.names()?.iter().filter_map(|n| n.strip_suffix('/')).map(str::to_owned).collect())
    }

    /// Whether it has a file of this name, which may name folders.
    pub fn has(&self, name: &str) -> bool {
        match &self.root {
            Root::Folder(_) => self.path(name).is_file(),
            Root::Zip { archive, .. } => archive.borrow().names().contains(&format!("{}{name}", self.within)),
        }
    }

    /// The bytes of a file.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        let bytes = match &self.root {
            Root::Folder(_) => {
                let path = self.path(name);
                let size = std::fs::metadata(&path).map_err(io(&path))?;
                if !size.is_file() {
                    return Err(self.wrong(name, "it is not a plain file"));
                }
                budget().ask(name, size.len())?;
                std::fs::read(&path).map_err(io(&path))?
            }
            Root::Zip { archive, .. } => archive.borrow_mut().read(&format!("{}{name}", self.within))?,
        };
        let hash = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        self.seen.borrow_mut().insert(format!("{}{name}", self.within), hash);
        Ok(bytes)
    }

    /// The text of a configuration file.
    pub fn text(&self, name: &str) -> Result<String> {
        let bytes = self.read(name)?;
        if bytes.len() as u64 > TEXT {
            return Err(self.wrong(name, "it is too large for a configuration"));
        }
        String::from_utf8(bytes).map_err(|_| self.wrong(name, "it is no text in UTF-8"))
    }

    /// A hash of all files that were read so far.
    pub fn fingerprint(&self) -> String {
        let mut all = Sha256::new();
        for (name, hash) in self.seen.borrow().iter() {
            all.update(format!("{name} {hash}\n"));
        }
        all.finalize().iter().map(|b| format!("{b:02x}")).collect()
    }
}
