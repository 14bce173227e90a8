//! Checks how the workspace is built: no import circles between sibling modules, crates that depend only
//! downwards, no function and no file that is too long.
//!
//! The checker reads the source text with `syn` and resolves every path of `use` declarations, types,
//! expressions, patterns and macro calls to the module that defines the name; re-exports are followed.
//! Method calls carry no path and are not seen. Items under `#[cfg(test)]` do not count as imports.

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

/// Where the list of exceptions lies, from the workspace's root.
pub const EXCEPTIONS: &str = "crates/testing/structure.toml";
