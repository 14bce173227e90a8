//! What differs between operating systems in memory, in what a process may use, and in what can be asked of the
//! machine: one folder a subject, one file a system in it, and the same functions in each.
//!
//! | subject | Linux | Windows | elsewhere |
//! |---|---|---|---|
//! | [`Pages`]: zeroed memory that can be given back | anonymous mapping, huge pages | `VirtualAlloc` | the allocator |
//! | [`Mapped`]: a file in memory | mapping that can be given back | mapping | mapping |
//! | [`give_back`]: freed memory | returned at once | as it is | as it is |
//! | [`figures`]: memory, CPU, names | `/proc` | Win32 | the crate `sysinfo` |
//! | [`console`]: whether a window opened for this program alone | never | asked | never |
//! | [`groups`]: control groups that limit memory | files of `/proc` | none | none |
//! | [`confine`]: cores and memory of a process | affinity, control groups, limits | number of threads | the same |
//!
//! How files are opened, told apart and replaced is in `ampoule-files`; what stops a process is in the command line.

mod allocator;
pub mod confine;
pub mod console;
pub mod figures;
pub mod groups;
mod mapped;
mod pages;

pub use allocator::give_back;
pub use mapped::Mapped;
pub use pages::Pages;
