//! Stopping early: what a signal asks for, and which files must be gone when the process ends before it is done.
//!
//! Work that goes case by case looks at [`requested`] between cases and says so with [`Polite`]; everything else is
//! ended where it stands, after [`discard`] has removed its temporary files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

/// How often the removal of a folder is tried.
const TRIES: usize = 5;

/// The signal that asked for an end, 0 while there was none.
static SIGNAL: AtomicI32 = AtomicI32::new(0);
/// How much work goes on that looks for a request.
static POLITE: AtomicUsize = AtomicUsize::new(0);
/// Files that are nothing if this process does not finish them.
static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Asks all work to end; `signal` is why.
pub fn request(signal: i32) {
    SIGNAL.store(signal, Ordering::SeqCst);
}

/// The signal that asked for an end, if one did.
pub fn requested() -> Option<i32> {
    match SIGNAL.load(Ordering::SeqCst) {
        0 => None,
        signal => Some(signal),
    }
}

/// Work that ends by itself soon after a request, for as long as this lives.
#[derive(Debug)]
pub struct Polite(());

impl Polite {
    /// Says that such work begins.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Polite {
        POLITE.fetch_add(1, Ordering::SeqCst);
        Polite(())
    }
}

impl Drop for Polite {
    fn drop(&mut self) {
        POLITE.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Whether work goes on that ends by itself soon after a request.
pub fn polite() -> bool {
    POLITE.load(Ordering::SeqCst) > 0
}

/// Notes a file or folder that [`discard`] removes, before it is made.
pub fn unfinished(path: &Path) {
    UNFINISHED.lock().unwrap_or_else(|e| e.into_inner()).insert(path.to_owned());
}

/// Notes that `path` is finished, or gone.
pub fn finished(path: &Path) {
    UNFINISHED.lock().unwrap_or_else(|e| e.into_inner()).remove(path);
}

/// Removes all unfinished files and folders.
pub fn discard() {
    remove(&mut UNFINISHED.lock().unwrap_or_else(|e| e.into_inner()));
}

/// The same for a process that ends now: whoever begins or finishes a file from here on waits for that end, so that no
/// new one appears and nobody complains of those that are gone.
pub fn discard_for_good() {
    let mut all = UNFINISHED.lock().unwrap_or_else(|e| e.into_inner());
    remove(&mut all);
    std::mem::forget(all);
}

fn remove(all: &mut BTreeSet<PathBuf>) {
    for path in std::mem::take(all) {
        // Links are removed, not followed.
        let is_folder = std::fs::symlink_metadata(&path).is_ok_and(|m| m.is_dir());
        if !is_folder {
            let _ = std::fs::remove_file(path);
            continue;
        }
        // A process that was started for its content may write until this one ends, but makes no folder again.
        let _ = (0..TRIES).any(|_| std::fs::remove_dir_all(&path).is_ok());
    }
}
