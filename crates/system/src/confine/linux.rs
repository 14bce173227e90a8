//! Affinity, control groups (version 2) where permitted, and limits of the process elsewhere.

use super::Error;
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

fn refused(what: &'static str) -> impl FnOnce(rustix::io::Errno) -> Error {
    move |e| Error::Refused { what, source: e.into() }
}

pub(super) fn enter(threads: usize, memory_mib: Option<u64>) -> Result<Option<&'static str>, Error> {
    let allowed = sched_getaffinity(None).map_err(refused("the cores cannot be asked for"))?;
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&i| allowed.is_set(i)).collect();
    if cores.len() < threads {
        return Err(Error::Cores { wanted: threads, cores: cores.len() });
    }
    let mut own = CpuSet::new();
    cores.iter().take(threads).for_each(|&i| own.set(i));
    sched_setaffinity(None, &own).map_err(refused("the cores cannot be chosen"))?;
    let Some(mib) = memory_mib else { return Ok(None) };
    if group_of_its_own(mib).is_some() {
        return Ok(Some("cgroup"));
    }
    let bytes = Some(mib << 20);
    setrlimit(Resource::Data, Rlimit { current: bytes, maximum: bytes })
        .map_err(refused("memory cannot be limited"))?;
    Ok(Some("rlimit"))
}

/// The control group of process `pid`, below this process's own.
fn group(pid: u32) -> Option<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = text.lines().find_map(|l| l.strip_prefix("0::/"))?;
    Some(Path::new("/sys/fs/cgroup").join(own).join(format!("ampoule-study-{pid}")))
}

/// Moves this process into a control group with so much memory and no swap, where that is permitted.
fn group_of_its_own(mib: u64) -> Option<()> {
    let folder = group(std::process::id())?;
    std::fs::create_dir(&folder).ok()?;
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).ok();
    let moved = write("memory.max", (mib << 20).to_string()).and_then(|()| {
        let _ = write("memory.swap.max", "0".into());
        write("cgroup.procs", std::process::id().to_string())
    });
    if moved.is_none() {
        let _ = std::fs::remove_dir(&folder);
    }
    moved
}

pub(super) fn leave(pid: u32) {
    if let Some(folder) = group(pid) {
        let _ = std::fs::remove_dir(folder);
    }
}

pub(super) fn killed(status: &ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(rustix::process::Signal::KILL.as_raw())
}
