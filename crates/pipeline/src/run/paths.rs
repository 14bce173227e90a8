//! How tables name the files of cases.

use crate::sha256_hex;
use std::path::{Path, PathBuf};

/// Whether folders are named, or stand as hashes: names of folders may be names of patients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Paths {
    pub redact: bool,
}

/// Hexadecimal digits of a folder's hash.
const DIGITS: usize = 12;

impl Paths {
    /// One name for a file, however and wherever it is typed: its absolute path, or a hash of the folder's and the
    /// file's own name.
    pub fn of(self, path: &Path) -> String {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        match (self.redact, path.file_name()) {
            (true, Some(name)) => format!("{}/{}", tag(&path), name.to_string_lossy()),
            _ => path.display().to_string(),
        }
    }

    /// `text`, which speaks of the file `path`, without its folder.
    pub fn clean(self, text: &str, path: &Path) -> String {
        if !self.redact {
            return text.to_owned();
        }
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let folder = |p: &Path| p.parent().map(Path::to_owned).filter(|p| !p.as_os_str().is_empty());
        let folders: Vec<PathBuf> = [folder(&absolute), folder(path)].into_iter().flatten().collect();
        folders.iter().fold(text.to_owned(), |text, f| text.replace(&*f.to_string_lossy(), &tag(&absolute)))
    }
}

/// What stands for the folder of the absolute path `path`.
fn tag(path: &Path) -> String {
    let folder = path.parent().map_or_else(String::new, |p| p.to_string_lossy().into_owned());
    sha256_hex(folder.as_bytes()).chars().take(DIGITS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_stand_as_hashes_that_tell_them_apart() {
        let (a, b) = (Path::new("/data/Jane Doe/T1.nii"), Path::new("/data/John Roe/T1.nii"));
        let hidden = Paths { redact: true };
        let [x, y] = [a, b].map(|p| hidden.of(p));
        assert!(x != y && x.ends_with("/T1.nii") && !x.contains("Doe"), "{x} {y}");
        let reason = hidden.clean("/data/Jane Doe/T1.nii: cut short", a);
        assert_eq!(reason, format!("{x}: cut short"));
        assert_eq!(Paths { redact: false }.of(a), "/data/Jane Doe/T1.nii");
    }
}
