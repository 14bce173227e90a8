//! Systems where a process is not held to cores or memory: as many threads as asked for are started, and which cores
//! they run on is up to the system.

use super::Error;
use std::process::ExitStatus;

pub(super) fn enter(threads: usize, memory_mib: Option<u64>) -> Result<Option<&'static str>, Error> {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    match memory_mib {
        Some(_) => Err(Error::NotHere),
        None if cores < threads => Err(Error::Cores { wanted: threads, cores }),
        None => Ok(None),
    }
}

pub(super) fn end_with_parent(_: u32) -> Result<(), Error> {
    Ok(())
}

pub(super) fn leave(_: u32) {}

pub(super) fn killed(_: &ExitStatus) -> bool {
    // Nothing here ends processes for want of memory; their own allocator does, and says so.
    false
}
