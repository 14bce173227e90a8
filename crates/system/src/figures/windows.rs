//! Functions of Win32.

use windows_sys::Win32::System::ProcessStatus::{K32GetProcessMemoryInfo, PROCESS_MEMORY_COUNTERS};
use windows_sys::Win32::System::SystemInformation::{GlobalMemoryStatusEx, MEMORYSTATUSEX};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

fn counters() -> Option<PROCESS_MEMORY_COUNTERS> {
    let size = size_of::<PROCESS_MEMORY_COUNTERS>() as u32;
    let mut counters = PROCESS_MEMORY_COUNTERS { cb: size, ..Default::default() };
    // SAFETY: writes `size` bytes to `counters`.
    let done = unsafe { K32GetProcessMemoryInfo(GetCurrentProcess(), &mut counters, size) };
    (done != 0).then_some(counters)
}

fn status() -> Option<MEMORYSTATUSEX> {
    let size = size_of::<MEMORYSTATUSEX>() as u32;
    let mut status = MEMORYSTATUSEX { dwLength: size, ..Default::default() };
    // SAFETY: writes `dwLength` bytes to `status`.
    let done = unsafe { GlobalMemoryStatusEx(&mut status) };
    (done != 0).then_some(status)
}

pub(super) fn peak_rss_bytes() -> Option<u64> {
    counters().map(|c| c.PeakWorkingSetSize as u64)
}

pub(super) fn rss_bytes() -> Option<u64> {
    counters().map(|c| c.WorkingSetSize as u64)
}

pub(super) fn total_memory() -> Option<u64> {
    status().map(|s| s.ullTotalPhys)
}

pub(super) fn available_memory() -> Option<u64> {
    // What can be promised is counted when memory is taken, not when it is touched.
    status().map(|s| s.ullAvailPhys.min(s.ullAvailPageFile))
}

#[cfg(target_arch = "x86_64")]
pub(super) fn cpu_model() -> Option<String> {
    use std::arch::x86_64::__cpuid;
    const NAME: std::ops::RangeInclusive<u32> = 0x8000_0002..=0x8000_0004;
    if __cpuid(0x8000_0000).eax < *NAME.end() {
        return None;
    }
    let words: Vec<u32> = NAME.map(__cpuid).flat_map(|r| [r.eax, r.ebx, r.ecx, r.edx]).collect();
    super::brand(&words)
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn cpu_model() -> Option<String> {
    std::env::var("PROCESSOR_IDENTIFIER").ok()
}

pub(super) fn host() -> Option<String> {
    std::env::var("COMPUTERNAME").ok()
}

pub(super) fn version() -> Option<String> {
    None
}
