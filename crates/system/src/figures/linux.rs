//! Files of `/proc`.

fn text(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

fn field(path: &str, key: &str) -> Option<u64> {
    let text = text(path)?;
    let line = text.lines().find(|l| l.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}

pub(super) fn peak_rss_bytes() -> Option<u64> {
    // Emulated processes (qemu-user) have no high-water mark.
    field("/proc/self/status", "VmHWM:").or_else(rss_bytes)
}

pub(super) fn rss_bytes() -> Option<u64> {
    field("/proc/self/status", "VmRSS:")
}

pub(super) fn total_memory() -> Option<u64> {
    field("/proc/meminfo", "MemTotal:")
}

pub(super) fn available_memory() -> Option<u64> {
    field("/proc/meminfo", "MemAvailable:")
}

pub(super) fn cpu_model() -> Option<String> {
    let of = |key: &str| {
        let text = text("/proc/cpuinfo")?;
        let line = text.lines().find(|l| l.starts_with(key))?;
        line.split(':').nth(1).map(|s| s.trim().to_owned())
    };
    // ARM's file names the board, if anything.
    of("model name").or_else(|| of("Model"))
}

pub(super) fn host() -> Option<String> {
    text("/proc/sys/kernel/hostname").map(|n| n.trim().to_owned())
}

pub(super) fn version() -> Option<String> {
    text("/proc/sys/kernel/osrelease").map(|n| n.trim().to_owned())
}
