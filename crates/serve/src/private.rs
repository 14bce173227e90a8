//! Folders that only the user can read.

#[cfg(not(unix))]
mod other;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
use other as system;
#[cfg(unix)]
use unix as system;

/// A new folder among the temporary files; gone when this is.
pub(crate) fn folder() -> std::io::Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("ampoule-serve-");
    system::folder(&mut builder)
}
