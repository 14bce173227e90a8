//! Affinity, control groups (versions 1 and 2) where permitted, and limits of the process elsewhere.

use super::Error;
use crate::groups::{Hierarchy, hierarchies};
use rustix::process::{Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// Beginning of the names of groups that this program makes; the number of the process follows.
const NAME: &str = "ampoule-study-";

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
    if group_of_its_own(mib << 20).is_some() {
        return Ok(Some("cgroup"));
    }
    let bytes = Some(mib << 20);
    setrlimit(Resource::Data, Rlimit { current: bytes, maximum: bytes })
        .map_err(refused("memory cannot be limited"))?;
    Ok(Some("rlimit"))
}

pub(super) fn end_with_parent(parent: u32) -> Result<(), Error> {
    let refused = refused("the process cannot be tied to the one that started it");
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(refused)?;
    // It may have ended before that was asked for. One that was started through another process has another parent.
    let own = getppid().is_some_and(|p| p.as_raw_nonzero().get().unsigned_abs() == parent);
    match own || Path::new("/proc").join(parent.to_string()).exists() {
        true => Ok(()),
        false => Err(Error::Orphan),
    }
}

/// Moves this process into a control group with so many bytes and no swap, where that is permitted and the kernel
/// says afterwards that it is so.
fn group_of_its_own(bytes: u64) -> Option<()> {
    hierarchies().into_iter().find_map(|h| {
        let parent = h.folder();
        remove_stale(&parent);
        let folder = parent.join(format!("{NAME}{}", std::process::id()));
        std::fs::create_dir(&folder).ok()?;
        let held = moved(&h, &folder, bytes).filter(|()| is_held(&folder, h.file, bytes));
        if held.is_none() {
            let _ = std::fs::write(parent.join("cgroup.procs"), std::process::id().to_string());
            let _ = std::fs::remove_dir(&folder);
        }
        held
    })
}

fn moved(h: &Hierarchy, folder: &Path, bytes: u64) -> Option<()> {
    // Only files that the kernel made: elsewhere none would limit anything.
    let write = |name: &str, text: String| {
        let file = std::fs::File::options().write(true).open(folder.join(name));
        file.and_then(|mut f| std::io::Write::write_all(&mut f, text.as_bytes())).ok()
    };
    write(h.file, bytes.to_string())?;
    // Version 1 counts memory and swap together. Kernels without accounts of swap have no such file.
    let _ = match h.version {
        1 => write("memory.memsw.limit_in_bytes", bytes.to_string()),
        _ => write("memory.swap.max", "0".into()),
    };
    write("cgroup.procs", std::process::id().to_string())
}

/// Whether the kernel says that this process is in the group `folder`, and that its limit is so many bytes.
fn is_held(folder: &Path, file: &str, bytes: u64) -> bool {
    let limit = std::fs::read_to_string(folder.join(file)).ok().and_then(|t| t.trim().parse::<u64>().ok());
    limit.is_some_and(|l| l > 0 && l <= bytes) && hierarchies().iter().any(|h| h.folder() == folder)
}

/// Removes groups of processes that are gone, which somebody killed before they were left.
fn remove_stale(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let id = name.to_str().and_then(|n| n.strip_prefix(NAME)).and_then(|n| n.parse::<u32>().ok());
        if id.is_some_and(|id| !Path::new("/proc").join(id.to_string()).exists()) {
            // One that holds a process is not removed.
            let _ = std::fs::remove_dir(entry.path());
        }
    }
}

/// Where the control groups of process `pid` may be, below this process's own.
fn groups(pid: u32) -> impl Iterator<Item = PathBuf> {
    hierarchies().into_iter().map(move |h| h.folder().join(format!("{NAME}{pid}")))
}

pub(super) fn leave(pid: u32) {
    groups(pid).for_each(|folder| drop(std::fs::remove_dir(folder)));
}

pub(super) fn killed(status: &ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(Signal::KILL.as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_no_kernel_made_hold_nothing() {
        let root = tempfile::tempdir().unwrap();
        let mounts =
            ["31 23 0:28 / /g rw - cgroup2 cgroup2 rw\n", "31 23 0:28 / /g rw - cgroup cgroup rw,memory\n"];
        std::fs::create_dir_all(root.path().join("proc/self")).unwrap();
        std::fs::create_dir(root.path().join("g")).unwrap();
        std::fs::write(root.path().join("proc/self/cgroup"), "4:memory:/\n0::/\n").unwrap();
        for mount in mounts {
            std::fs::write(root.path().join("proc/self/mountinfo"), mount).unwrap();
            let all = crate::groups::hierarchies_below(root.path());
            let folder = all[0].folder().join("own");
            std::fs::create_dir(&folder).unwrap();
            assert!(moved(&all[0], &folder, 1 << 20).is_none());
            // Files that somebody put there are no answer of a kernel either.
            std::fs::write(folder.join(all[0].file), "0").unwrap();
            std::fs::write(folder.join("cgroup.procs"), "").unwrap();
            assert!(moved(&all[0], &folder, 1 << 20).is_some());
            assert!(!is_held(&folder, all[0].file, 1 << 20));
            std::fs::remove_dir_all(&folder).unwrap();
        }
    }

    #[test]
    fn groups_of_processes_that_are_gone_are_removed() {
        let root = tempfile::tempdir().unwrap();
        let own = std::process::id();
        let names = [format!("{NAME}{}", u32::MAX), format!("{NAME}{own}"), "other".to_owned()];
        names.iter().for_each(|n| std::fs::create_dir(root.path().join(n)).unwrap());
        remove_stale(root.path());
        assert_eq!(names.map(|n| root.path().join(n).exists()), [false, true, true]);
    }
}
