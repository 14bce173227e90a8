//! What the operating system says of this process and machine; `None` where it does not tell.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(any(target_os = "linux", windows)))]
mod other;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(any(target_os = "linux", windows)))]
use other as system;
#[cfg(windows)]
use windows as system;

/// High-water mark of this process's resident memory in bytes.
pub fn peak_rss_bytes() -> Option<u64> {
    system::peak_rss_bytes()
}

/// Present resident memory of this process in bytes.
pub fn rss_bytes() -> Option<u64> {
    system::rss_bytes()
}

/// Memory of the machine in bytes.
pub fn total_memory() -> Option<u64> {
    system::total_memory()
}

/// Memory that programs can take now, in bytes.
pub fn available_memory() -> Option<u64> {
    system::available_memory()
}

/// Marketing name of the CPU.
pub fn cpu_model() -> Option<String> {
    system::cpu_model()
}

/// Name of this machine, where the system tells it.
pub fn host() -> String {
    system::host().filter(|n| !n.is_empty()).unwrap_or_else(|| "this machine".into())
}

/// Operating system and its version.
pub fn operating_system() -> String {
    let version = system::version().unwrap_or_default();
    format!("{} {version}", std::env::consts::OS).trim().to_owned()
}

/// Joins the twelve words in which x86 CPUs hold their name.
#[cfg(any(windows, test))]
fn brand(words: &[u32]) -> Option<String> {
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    let text = String::from_utf8_lossy(&bytes);
    let name = text.trim_matches(['\0', ' ']);
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_takes_memory_and_the_machine_has_some() {
        let rss = rss_bytes().unwrap();
        assert!(rss > 100_000, "{rss}");
        assert!(peak_rss_bytes().unwrap() >= rss / 2);
        assert!(total_memory().unwrap() > rss);
        assert!(available_memory().unwrap() <= total_memory().unwrap());
        assert!(!host().is_empty() && operating_system().starts_with(std::env::consts::OS));
    }

    #[test]
    fn names_of_cpus_are_trimmed() {
        assert_eq!(brand(&[u32::from_le_bytes(*b"  CP"), u32::from_le_bytes(*b"U\0\0\0")]).unwrap(), "CPU");
        assert_eq!(brand(&[0; 12]), None);
    }
}
