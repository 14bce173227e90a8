//! Checks how the workspace is built: no import circles between sibling modules, crates that depend only
//! downwards, no function and no file that is too long.
//!
//! A crate of its own that depends on no other of the workspace, so that it is built in seconds.
//!
//! The checker reads the source text with `syn` and resolves every path of `use` declarations, types,
//! expressions, patterns and macro calls to the module that defines the name; re-exports are followed.
//! Method calls carry no path and are not seen. Items under `#[cfg(test)]` do not count as imports.
#![forbid(unsafe_code)]

mod allowed;
mod arrows;
mod circles;
mod imports;
mod lengths;
mod names;
mod report;
mod source;

pub use allowed::Allowed;
pub use circles::Circle;
pub use lengths::{FileLength, FunctionLength};
pub use report::Report;
pub use source::StructureError;

/// Folder of the workspace that this crate was built in.
pub fn workspace() -> std::path::PathBuf {
    let mut folder = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    folder.pop();
    folder.pop();
    folder
}

/// Where the list of exceptions lies, from the workspace's root.
pub const EXCEPTIONS: &str = "crates/structure/exceptions.toml";
