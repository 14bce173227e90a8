//! Files that stand under their final name whole, or not at all.
//!
//! Nothing is written through a link: the temporary file is always a new one, and a final name that is a
//! symbolic link, a folder or a device is refused rather than followed or replaced.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Longest name of a file, in bytes, on the file systems in use.
const NAME: usize = 255;
/// Names that are tried where others exist: leftovers, or another computer's in a shared folder.
const TRIES: usize = 1000;

/// Temporary files that this process has begun.
static BEGUN: AtomicU64 = AtomicU64::new(0);

/// A file that is being written in the folder of its final place. It is removed unless it is committed.
#[derive(Debug)]
pub struct Pending {
    path: PathBuf,
    temporary: PathBuf,
    committed: bool,
}

/// Whether a file's name is that of a temporary file for an output of the name `name`.
pub fn is_temporary_of(file: &OsStr, name: &OsStr) -> bool {
    let file = file.to_string_lossy();
    let short = format!(".{}.tmp-", name.to_string_lossy());
    file.starts_with(&short) || file.starts_with('.') && file.contains(&format!("{}.tmp-", hash_of(name)))
}

/// Removes what killed processes left of writing `path`: temporary files for it that no process of this computer writes any
/// more. For work that nobody else does at the same time.
pub fn remove_left_over(path: &Path) {
    let Some(name) = path.file_name() else { return };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let file = entry.file_name();
        let others = process_of(&file).filter(|id| *id != std::process::id());
        if is_temporary_of(&file, name)
            && others.is_some_and(|id| crate::system::abandoned(&entry.path(), id))
        {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// The process that a temporary file's name tells of.
fn process_of(file: &OsStr) -> Option<u32> {
    let text = file.to_string_lossy();
    let (_, end) = text.rsplit_once(".tmp-")?;
    end.split('-').next()?.parse().ok()
}

/// What stands for the rest of a long name.
fn hash_of(name: &OsStr) -> String {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    format!("-{:016x}", hasher.finish())
}

impl Pending {
    /// Begins the file that will stand at `path`. Fails where `path` is a symbolic link or anything else but
    /// a plain file or nothing.
    pub fn create(path: &Path) -> Result<(Pending, File)> {
        replaceable(path)?;
        let name = path.file_name().ok_or_else(|| invalid("the path of the output has no file name"))?;
        for _ in 0..TRIES {
            let count = BEGUN.fetch_add(1, Ordering::Relaxed);
            let temporary = path.with_file_name(temporary_name(name, std::process::id(), count));
            // One that stands there is another's; it is none of ours to remove.
            if std::fs::symlink_metadata(&temporary).is_ok() {
                continue;
            }
            crate::stop::unfinished(&temporary);
            match File::options().read(true).write(true).create_new(true).open(&temporary) {
                Ok(file) => {
                    return Ok((Pending { path: path.to_owned(), temporary, committed: false }, file));
                }
                Err(e) => {
                    crate::stop::finished(&temporary);
                    if e.kind() != ErrorKind::AlreadyExists {
                        return Err(e);
                    }
                }
            }
        }
        Err(Error::new(
            ErrorKind::AlreadyExists,
            "too many temporary files are left next to the output; remove them",
        ))
    }

    /// The final place.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Syncs `file`, which holds everything, and gives it its name, replacing a plain file of that name.
    pub fn commit(mut self, file: &File) -> Result<()> {
        file.sync_all()?;
        replaceable(&self.path)?;
        crate::system::replace(&self.temporary, &self.path)?;
        self.committed = true;
        crate::stop::finished(&self.temporary);
        Ok(())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.committed {
            let _ = std::fs::remove_file(&self.temporary);
            crate::stop::finished(&self.temporary);
        }
    }
}

fn invalid(sentence: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, sentence)
}

/// Whether a file may be put at `path`: nothing stands there, or a plain file.
fn replaceable(path: &Path) -> Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_symlink() => {
            Err(invalid("the output's name is a symbolic link; remove the link or choose another name"))
        }
        Ok(meta) if meta.is_dir() => Err(invalid("the output's name is a folder; choose another name")),
        Ok(meta) if !meta.is_file() => {
            Err(invalid("the output's name is not a plain file; remove it or choose another name"))
        }
        Ok(_) => Ok(()),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

/// The name of a temporary file, hidden, no longer than names can be: of a long name the beginning and a
/// hash stay.
fn temporary_name(name: &OsStr, process: u32, count: u64) -> OsString {
    let end = format!(".tmp-{process}-{count}");
    let mut out = OsString::from(".");
    if name.len() + end.len() < NAME {
        out.push(name);
    } else {
        let hash = hash_of(name);
        let text = name.to_string_lossy();
        let mut room = (NAME - 1 - end.len() - hash.len()).min(text.len());
        while !text.is_char_boundary(room) {
            room -= 1;
        }
        out.push(&text[..room]);
        out.push(hash);
    }
    out.push(end);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn write(path: &Path, text: &str) -> Result<()> {
        let (pending, mut file) = Pending::create(path)?;
        file.write_all(text.as_bytes())?;
        pending.commit(&file)
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut all: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        all.sort();
        all
    }

    #[test]
    fn files_are_replaced_whole_and_nothing_is_left() {
        let d = tempfile::tempdir().unwrap();
        let path = d.path().join("x.csv");
        write(&path, "one").unwrap();
        write(&path, "two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        let (a, _) = Pending::create(&path).unwrap();
        let (b, _) = Pending::create(&path).unwrap();
        assert_ne!(a.temporary, b.temporary);
        drop((a, b));
        assert_eq!(names(d.path()), ["x.csv"]);
    }

    #[test]
    fn what_killed_processes_left_is_removed_and_nothing_else() {
        let d = tempfile::tempdir().unwrap();
        let path = d.path().join("x.onnx");
        let own = std::process::id();
        let gone = u32::MAX;
        let kept = [
            format!(".x.onnx.tmp-{own}-0"),
            format!(".y.onnx.tmp-{gone}-0"),
            "x.onnx.tmp-1-0".into(),
            "x.onnx".into(),
        ];
        let left = [format!(".x.onnx.tmp-{gone}-0"), format!(".x.onnx.tmp-{gone}-17")];
        kept.iter().chain(&left).for_each(|n| std::fs::write(d.path().join(n), "half").unwrap());
        remove_left_over(&path);
        let mut kept = kept.to_vec();
        kept.sort();
        assert_eq!(names(d.path()), kept);
    }

    #[test]
    fn names_as_long_as_can_be_are_written() {
        let d = tempfile::tempdir().unwrap();
        for name in ["n".repeat(255), "é".repeat(127), "n".repeat(240) + ".nii.gz"] {
            write(&d.path().join(&name), "x").unwrap_or_else(|e| panic!("{} bytes: {e}", name.len()));
            assert!(names(d.path()).contains(&name));
        }
        for length in 1..=255 {
            let name = temporary_name(OsStr::new(&"n".repeat(length)), u32::MAX, u64::MAX);
            assert!(name.len() <= NAME, "{length}: {}", name.len());
        }
        // Long names that begin alike do not share one.
        let long = |last: &str| temporary_name(OsStr::new(&("n".repeat(250) + last)), 1, 1);
        assert_ne!(long("a"), long("b"));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_neither_followed_nor_replaced() {
        use std::os::unix::fs::symlink;
        let d = tempfile::tempdir().unwrap();
        let victim = d.path().join("victim");
        std::fs::write(&victim, "precious").unwrap();
        let link = d.path().join("x.csv");
        symlink(&victim, &link).unwrap();
        assert!(write(&link, "x").unwrap_err().to_string().contains("symbolic link"));
        // One that appears while the file is written.
        let other = d.path().join("y.csv");
        let (pending, file) = Pending::create(&other).unwrap();
        symlink(&victim, &other).unwrap();
        assert!(pending.commit(&file).unwrap_err().to_string().contains("symbolic link"));
        // Links under the names that temporary files would get are passed over.
        let third = d.path().join("z.csv");
        let next = BEGUN.load(Ordering::Relaxed);
        for count in next..next + 50 {
            let name = temporary_name(third.file_name().unwrap(), std::process::id(), count);
            symlink(&victim, d.path().join(name)).unwrap();
        }
        write(&third, "x").unwrap();
        assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
        assert!(write(d.path(), "x").unwrap_err().to_string().contains("a folder"));
    }
}
