//! Hardware profiles: what a process may use, and what the machine is.

use crate::spec::Profile;
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What the numbers were measured on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Marketing name of the CPU.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Instruction-set tiers, the best last.
    pub tiers: Vec<String>,
    /// Operating system and its kernel.
    pub system: String,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        let text = |p: &str| std::fs::read_to_string(p).unwrap_or_default().trim().to_owned();
        Machine {
            cpu: ampoule_pipeline::cpu_model().unwrap_or_else(|| "unknown".into()),
            cores: std::thread::available_parallelism().map_or(1, |n| n.get()),
            memory_mib: ampoule_pipeline::total_memory().unwrap_or(0) >> 20,
            tiers: ampoule_kernels::available().iter().map(|i| i.name().to_owned()).collect(),
            system: format!("{} {}", std::env::consts::OS, text("/proc/sys/kernel/osrelease"))
                .trim()
                .to_owned(),
        }
    }
}

/// Holds this process to a profile; says how memory is held.
pub(crate) fn enter(p: &Profile) -> Result<Option<&'static str>, String> {
    let allowed = sched_getaffinity(None).map_err(|e| format!("the cores cannot be asked for: {e}"))?;
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&i| allowed.is_set(i)).collect();
    if cores.len() < p.threads {
        return Err(format!("the profile wants {} cores, this machine has {}", p.threads, cores.len()));
    }
    let mut own = CpuSet::new();
    cores.iter().take(p.threads).for_each(|&i| own.set(i));
    sched_setaffinity(None, &own).map_err(|e| format!("the cores cannot be chosen: {e}"))?;
    let Some(mib) = p.memory_mib else { return Ok(None) };
    if cgroup(mib).is_some() {
        return Ok(Some("cgroup"));
    }
    let bytes = Some(mib << 20);
    setrlimit(Resource::Data, Rlimit { current: bytes, maximum: bytes })
        .map_err(|e| format!("memory cannot be limited: {e}"))?;
    Ok(Some("rlimit"))
}

/// The control group of process `pid`, below this process's own.
fn group(pid: u32) -> Option<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = text.lines().find_map(|l| l.strip_prefix("0::/"))?;
    Some(Path::new("/sys/fs/cgroup").join(own).join(format!("ampoule-study-{pid}")))
}

/// Moves this process into a control group (version 2) with so much memory and no swap, where that is
/// permitted.
fn cgroup(mib: u64) -> Option<()> {
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

/// Removes what a process that ended left.
pub(crate) fn leave(pid: u32) {
    if let Some(folder) = group(pid) {
        let _ = std::fs::remove_dir(folder);
    }
}

/// Energy that the CPU's packages have used since some time, in joules (RAPL), and where the count starts
/// again; `None` where it cannot be read.
pub(crate) fn energy() -> Option<(f64, f64)> {
    let number = |p: PathBuf| std::fs::read_to_string(p).ok()?.trim().parse::<f64>().ok();
    let mut sum = None;
    for entry in std::fs::read_dir("/sys/class/powercap").ok()?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // Packages only: their parts are counted in them.
        if name.strip_prefix("intel-rapl:").is_some_and(|n| !n.contains(':')) {
            let (used, range) = sum.unwrap_or((0.0, 0.0));
            let own = number(entry.path().join("energy_uj"))? / 1e6;
            let wraps = number(entry.path().join("max_energy_range_uj"))? / 1e6;
            sum = Some((used + own, range + wraps));
        }
    }
    sum
}

/// Joules between two readings.
pub(crate) fn spent(before: (f64, f64), after: (f64, f64)) -> f64 {
    if after.0 >= before.0 { after.0 - before.0 } else { after.0 + before.1 - before.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_wrap() {
        assert_eq!(spent((10.0, 100.0), (30.0, 100.0)), 20.0);
        assert_eq!(spent((90.0, 100.0), (5.0, 100.0)), 15.0);
    }

    #[test]
    fn more_cores_than_there_are_cannot_be_had() {
        let p = Profile { name: "many".into(), isa: None, threads: 1024, memory_mib: None };
        assert!(enter(&p).unwrap_err().contains("wants 1024 cores"));
    }
}
