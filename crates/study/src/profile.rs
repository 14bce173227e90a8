//! What the machine is, and the energy that it uses (on Linux, where it tells).

use ampoule_system::figures::{cpu_model, operating_system, total_memory};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

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
        Machine {
            cpu: cpu_model().unwrap_or_else(|| "unknown".into()),
            cores: std::thread::available_parallelism().map_or(1, |n| n.get()),
            memory_mib: total_memory().unwrap_or(0) >> 20,
            tiers: ampoule_kernels::available().iter().map(|i| i.name().to_owned()).collect(),
            system: operating_system(),
        }
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
}
