//! What the tests of all crates share. Nothing here is part of the program.
//!
//! Test targets (`tests/`) use it as a development dependency. Unit tests inside `src` of the crates that
//! it depends on may use its functions on plain numbers only: there, types such as `Graph` would be those
//! of another copy of the crate.
#![forbid(unsafe_code)]

mod compare;
mod drawn;
mod files;
mod network;
mod tiers;

pub use ampoule_random::Random;
pub use compare::{assert_close, assert_same_bits, largest_error, relative_error};
pub use drawn::{Drawn, drawn, drawn_by, drawn_seeds};
pub use files::{shared, skipped, wheel, workspace};
pub use network::{Network, known, random};
pub use tiers::{asked_tier, print_tiers, tiers};
