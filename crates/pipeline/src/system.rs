//! What the operating system says of this process and machine (Linux; elsewhere unknown).

fn field(path: &str, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|l| l.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// High-water mark of this process's resident memory in bytes.
pub fn peak_rss_bytes() -> Option<u64> {
    field("/proc/self/status", "VmHWM:")
}

/// Present resident memory of this process in bytes.
pub fn rss_bytes() -> Option<u64> {
    field("/proc/self/status", "VmRSS:")
}

/// Memory of the machine in bytes.
pub fn total_memory() -> Option<u64> {
    field("/proc/meminfo", "MemTotal:")
}

/// Memory that programs can take now, in bytes.
pub fn available_memory() -> Option<u64> {
    field("/proc/meminfo", "MemAvailable:")
}

/// Marketing name of the CPU.
pub fn cpu_model() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|l| l.starts_with("model name"))?;
    line.split(':').nth(1).map(|s| s.trim().to_owned())
}

/// Name of this machine, where the system's files tell it.
pub fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    name.map(|n| n.trim().to_owned()).filter(|n| !n.is_empty()).unwrap_or_else(|| "this machine".into())
}
