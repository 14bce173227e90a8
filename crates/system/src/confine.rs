//! Holding a process to cores and memory, as profiles of studies ask for.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
use other as system;

use std::process::ExitStatus;

/// Why a process cannot be held to what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine has too few cores for it.
    #[error("the profile wants {wanted} cores, this machine has {cores}")]
    Cores {
        /// Cores asked for.
        wanted: usize,
        /// Cores that this process may use.
        cores: usize,
    },
    /// The operating system refused.
    #[error("{what}: {source}")]
    Refused {
        /// What it refused.
        what: &'static str,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The process that started this one has ended.
    #[error("the process that started this one has ended")]
    Orphan,
    /// This program cannot do it here.
    #[error(
        "profiles with `memory_mib` are held on Linux only; leave it out here, or run the study on Linux"
    )]
    NotHere,
}

/// Holds this process to the first `threads` of its cores (Linux), and to `memory_mib` MiB (Linux; refused elsewhere);
/// says how memory is held.
pub fn enter(threads: usize, memory_mib: Option<u64>) -> Result<Option<&'static str>, Error> {
    system::enter(threads, memory_mib)
}

/// Lets this process end when `parent`, which started it, does (Linux), so that a killed study leaves nothing at work.
pub fn end_with_parent(parent: u32) -> Result<(), Error> {
    system::end_with_parent(parent)
}

/// Removes what a process that was held left when it ended.
pub fn leave(pid: u32) {
    system::leave(pid);
}

/// Whether the operating system ended a process, as it does for want of memory.
pub fn killed(status: &ExitStatus) -> bool {
    system::killed(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_cores_than_there_are_cannot_be_had() {
        assert!(enter(100_000, None).unwrap_err().to_string().contains("wants 100000 cores"));
    }
}
