//! Files: opening nothing but plain ones, and writing whole ones or none.
#![forbid(unsafe_code)]

mod atomic;
mod pending;
mod plain;
mod scratch;
pub mod stop;
mod system;

pub use atomic::write_atomic;
pub use pending::{Pending, is_temporary_of, remove_left_over};
pub use plain::{kind, links, names, open as open_plain};
pub use scratch::Scratch;
