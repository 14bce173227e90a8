//! The crate `sysinfo`, which knows no high-water mark.

use sysinfo::{MemoryRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate, System};

fn machine() -> System {
    let mut system = System::new();
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    system
}

pub(super) fn peak_rss_bytes() -> Option<u64> {
    rss_bytes()
}

pub(super) fn rss_bytes() -> Option<u64> {
    let own = Pid::from_u32(std::process::id());
    let mut system = System::new();
    let kind = ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[own]), false, kind);
    system.process(own).map(|p| p.memory())
}

pub(super) fn total_memory() -> Option<u64> {
    Some(machine().total_memory()).filter(|b| *b > 0)
}

pub(super) fn available_memory() -> Option<u64> {
    Some(machine().available_memory()).filter(|b| *b > 0)
}

pub(super) fn cpu_model() -> Option<String> {
    let mut system = System::new();
    system.refresh_cpu_list(sysinfo::CpuRefreshKind::nothing());
    system.cpus().first().map(|c| c.brand().to_owned()).filter(|b| !b.is_empty())
}

pub(super) fn host() -> Option<String> {
    System::host_name()
}

pub(super) fn version() -> Option<String> {
    System::os_version()
}
