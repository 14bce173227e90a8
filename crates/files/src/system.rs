//! What differs between operating systems in files: one file a system, with the same functions.

#[cfg(not(any(unix, windows)))]
mod other;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(not(any(unix, windows)))]
pub(crate) use other::{abandoned, links, open, replace, same_file, special};
#[cfg(unix)]
pub(crate) use unix::{abandoned, links, open, replace, same_file, special};
#[cfg(windows)]
pub(crate) use windows::{abandoned, links, open, replace, same_file, special};
