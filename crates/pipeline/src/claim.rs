//! Claims: any number of processes may share an output folder, and each case is worked on by one.
//!
//! A claim is a lock of the operating system on a file next to the results, which ends with the process that holds
//! it, however that ends; what it says (host and process) is for people. A file that is left without a lock is taken
//! over.

use crate::{Error, Result};
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A case, or the tables of a folder, that this process works on. It ends when it is dropped.
pub(crate) struct Claim {
    path: PathBuf,
    file: File,
    /// A process that had it before was killed while it wrote results.
    pub interrupted: bool,
    begun: bool,
    settled: bool,
}

/// What a claim says while results are written.
const WRITING: &str = "writing";

impl Claim {
    /// Claims what the file at `path` stands for; `None` where another process has it.
    pub fn take(path: &Path) -> Result<Option<Claim>> {
        let fail = |e: std::io::Error| Error::Io { path: path.into(), source: e };
        loop {
            if std::fs::symlink_metadata(path).is_ok_and(|m| !m.is_file()) {
                let reason =
                    "something that is no plain file stands in the place of a lock; remove it".into();
                return Err(Error::Content { path: path.into(), reason });
            }
            let (mut file, ours) = open(path).map_err(|e| match e.kind() {
                ErrorKind::PermissionDenied if path.is_file() => {
                    let reason =
                        "another user's lock, which cannot be read; remove it once nobody runs this case";
                    Error::Content { path: path.into(), reason: reason.into() }
                }
                _ => fail(e),
            })?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(e)) => return Err(fail(e)),
            }
            // Whoever had it before may have removed the name just now; then the lock is on nothing.
            if !ampoule_files::names(path, &file) {
                continue;
            }
            let mut before = String::new();
            let _ = Read::take(&mut file, 4096).read_to_string(&mut before);
            let interrupted = before.lines().any(|l| l == WRITING);
            if !ours {
                // Nobody holds it, and it cannot be written to: one of our own takes its place, with its mark.
                file = replaced(path, &before).map_err(fail)?;
            }
            let text = format!("{} {}\n", ampoule_system::figures::host(), std::process::id());
            // That results were half-written must stay known when this process is killed too.
            let emptied = if interrupted { Ok(()) } else { file.set_len(0) };
            emptied
                .and_then(|()| file.seek(SeekFrom::End(0)))
                .and_then(|_| file.write_all(text.as_bytes()))
                .map_err(fail)?;
            if !interrupted {
                ampoule_files::stop::unfinished(path);
            }
            return Ok(Some(Claim { path: path.into(), file, interrupted, begun: false, settled: false }));
        }
    }

    /// Notes that results begin to take their final names.
    pub fn writing(&mut self) -> Result<()> {
        self.begun = true;
        // A process that ends now leaves the mark.
        ampoule_files::stop::finished(&self.path);
        writeln!(self.file, "{WRITING}").map_err(Error::io(&self.path))
    }

    /// Whether results began to take their final names.
    pub fn begun(&self) -> bool {
        self.begun
    }

    /// Notes that what an interrupted process left was dealt with. Until then its mark stays.
    pub fn settle(&mut self) {
        self.settled = true;
    }

    /// Claims it as soon as nobody else has it.
    pub fn wait(path: &Path) -> Result<Claim> {
        loop {
            if let Some(claim) = Claim::take(path)? {
                return Ok(claim);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Puts a lock of our own, held and with the same text, in the place of another's that is held too.
fn replaced(path: &Path, text: &str) -> std::io::Result<File> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let own = path.with_file_name(name);
    let put = || {
        let mut file = File::options().read(true).write(true).create(true).truncate(true).open(&own)?;
        file.try_lock()?;
        file.write_all(text.as_bytes())?;
        std::fs::rename(&own, path)?;
        Ok(file)
    };
    put().inspect_err(|_| drop(std::fs::remove_file(&own)))
}

/// Opens a lock, made if it is missing; whether it may be written to. Another user's may be only readable, which is
/// enough to see whether a process holds it.
fn open(path: &Path) -> std::io::Result<(File, bool)> {
    let own = File::options().read(true).write(true).create(true).truncate(false).open(path);
    match own {
        Ok(file) => Ok((file, true)),
        Err(e) if e.kind() == ErrorKind::PermissionDenied && path.is_file() => {
            Ok((File::open(path).map_err(|_| e)?, false))
        }
        Err(e) => Err(e),
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // The name goes while the lock is held, so that nobody locks a file that is about to go.
        if self.settled || !self.interrupted {
            let _ = std::fs::remove_file(&self.path);
        }
        ampoule_files::stop::finished(&self.path);
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn one_at_a_time_and_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".x.lock");
        // What a killed process left.
        std::fs::write(&path, "elsewhere 1\n").unwrap();
        let held = Claim::take(&path).unwrap().unwrap();
        assert!(Claim::take(&path).unwrap().is_none());
        assert!(std::fs::read_to_string(&path).unwrap().contains(&std::process::id().to_string()));
        assert!(!held.interrupted);
        drop(held);
        assert!(!path.exists());
        std::fs::write(&path, "elsewhere 1\nwriting\n").unwrap();
        // The mark stays until someone has dealt with it.
        for _ in 0..2 {
            assert!(Claim::take(&path).unwrap().unwrap().interrupted);
        }
        let mut held = Claim::take(&path).unwrap().unwrap();
        assert!(held.interrupted);
        held.settle();
        drop(held);
        assert!(!path.exists());
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|s| {
            for _ in 0..8 {
                s.spawn(|| {
                    for _ in 0..20 {
                        let _claim = Claim::wait(&path).unwrap();
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(most.into_inner(), 1);
        assert!(!path.exists());
    }
}
