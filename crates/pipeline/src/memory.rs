//! How much memory this process may take: what its user allows, else what its container does.

use crate::Error;
use crate::slack::{least_limit, slack};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most resident bytes that this process may hold: `asked`, else what [`limit_process`] was told, else the limit of its
/// container ([`container_memory`]). `None` where only the machine limits it.
pub fn memory_limit(asked: Option<u64>) -> Option<u64> {
    let told = Some(LIMIT.load(Ordering::Relaxed)).filter(|m| *m > 0);
    asked.or(told).or_else(container_memory)
}

/// What [`limit_process`] was told; 0 for nothing.
static LIMIT: AtomicU64 = AtomicU64::new(0);

/// Sets the most resident bytes of this process for all that asks with [`memory_room`] and [`ask_memory`]. Resident
/// memory is the process's as a whole, and so is the limit; [`Model`](crate::Model)s may have a smaller one.
pub fn limit_process(most: Option<u64>) {
    LIMIT.store(most.unwrap_or(0), Ordering::Relaxed);
}

/// What may be taken in addition to what the process holds, and the limit that it is the rest of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Bytes that may be taken.
    pub room: u64,
    /// Bytes that the process may hold in all: its limit, or the machine's memory.
    pub limit: u64,
    /// Whether that is a limit, of which some is left free.
    pub(crate) limited: bool,
}

impl Allowance {
    /// Of this process: what is left of its limit ([`memory_limit`]), or what the machine has available.
    pub fn of_process() -> Allowance {
        Allowance::of(memory_room().unwrap_or(u64::MAX), memory_limit(None))
    }

    /// What is left of `limit`, or of the machine's memory.
    pub(crate) fn of(room: u64, limit: Option<u64>) -> Allowance {
        Allowance { room, limit: limit_or_machine(limit), limited: limit.is_some() }
    }

    /// In MiB, the least limit under which the process could hold `bytes` more, and its limit: the figures that a user can act
    /// on. The first is the same whatever the second is.
    pub fn figures(&self, bytes: u64) -> [u64; 2] {
        let least = match self.limited {
            true => {
                let own = ampoule_system::figures::rss_bytes().unwrap_or(0);
                least_limit(bytes.saturating_add(self.held().saturating_sub(slack(self.limit)).max(own)))
            }
            false => bytes.saturating_add(self.held()),
        };
        [least.div_ceil(1 << 20), self.limit >> 20]
    }

    /// Bytes of the limit that are taken, or left free.
    pub fn held(&self) -> u64 {
        self.limit.saturating_sub(self.room)
    }
}

fn limit_or_machine(limit: Option<u64>) -> u64 {
    limit.or_else(|| memory_limit(None)).or_else(ampoule_system::figures::total_memory).unwrap_or(u64::MAX)
}

/// Bytes that this process may take in addition to what it holds: what is left of its limit ([`memory_limit`]), or what the machine
/// has available. `None` where nothing is known.
pub fn memory_room() -> Option<u64> {
    match memory_limit(None) {
        Some(most) => {
            Some(most.saturating_sub(slack(most) + ampoule_system::figures::rss_bytes().unwrap_or(0)))
        }
        None => ampoule_system::figures::available_memory(),
    }
}

/// Why `bytes` cannot be taken beside what the process holds: what it would hold with them, and its limit, in MiB. `None`
/// where there is room.
pub fn shortage(bytes: u64) -> Option<[u64; 2]> {
    let allowed = Allowance::of_process();
    (bytes > allowed.room).then(|| allowed.figures(bytes))
}

/// Asks for `bytes` before they are taken for something that is made of a file; an error where there is no room.
pub fn ask_memory(file: &Path, what: &str, bytes: u64) -> crate::Result<()> {
    match shortage(bytes) {
        Some([needed_mib, limit_mib]) => {
            let what = format!("{}: {what}", file.display());
            Err(Error::Memory { what, needed_mib, limit_mib })
        }
        None => Ok(()),
    }
}

/// Bytes that this process holds, with those that are left free of its `limit`.
pub fn held_bytes(limit: Option<u64>) -> u64 {
    ampoule_system::figures::rss_bytes().unwrap_or(0) + limit.map_or(0, slack)
}

/// The least limit in MiB where a plan within `limit` needs `needed_mib`, the slack of that limit included.
pub(crate) fn least_mib(needed_mib: u64, limit: u64) -> u64 {
    least_limit((needed_mib << 20).saturating_sub(slack(limit))).div_ceil(1 << 20)
}

/// The error of a network that does not fit, with the least limit that would do rather than what it needs under `limit`.
pub fn least(error: ampoule_engine::Error, limit: Option<u64>) -> ampoule_engine::Error {
    match (error, limit) {
        (ampoule_engine::Error::Memory { needed_mib, limit_mib }, Some(limit)) => {
            ampoule_engine::Error::Memory { needed_mib: least_mib(needed_mib, limit), limit_mib }
        }
        (other, _) => other,
    }
}

/// The smallest memory limit in bytes of the control groups (version 1 or 2) that this process is in, as container
/// engines, batch systems and systemd set it; `None` where there is none, and on systems without control groups.
pub fn container_memory() -> Option<u64> {
    ampoule_system::groups::memory_limit()
}

/// Readers' errors, which know what is left of a limit and not the limit.
impl Error {
    /// A photo that cannot be read in what is allowed: of memory, the limit is told rather than what is left of it, and the
    /// least that would do ([`Allowance::figures`]).
    pub fn photo(path: &Path, mut source: ampoule_imaging::photo::Error, allowed: Allowance) -> Error {
        source.tell(&|bytes| allowed.figures(bytes));
        Error::Photo { path: path.into(), source }
    }

    /// The same for a volume.
    pub fn image(path: &Path, mut source: ampoule_imaging::Error, allowed: Allowance) -> Error {
        source.tell(&|bytes| allowed.figures(bytes));
        Error::Image { path: path.into(), source }
    }

    /// The same for a DICOM series.
    pub(crate) fn dicom(path: &Path, mut source: ampoule_dicom::Error, allowed: Allowance) -> Error {
        source.tell(&|bytes| allowed.figures(bytes));
        Error::Dicom { path: path.into(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_is_the_same_whatever_the_limit() {
        for bytes in [0, 1, 5 << 20, 4 << 30] {
            let least = least_limit(bytes);
            assert!(least - slack(least) >= bytes && least - slack(least) < bytes + (1 << 6), "{bytes}");
        }
        // With so much held that all limits count it in full.
        let figure =
            |limit: u64| Allowance::of(limit - slack(limit) - (1 << 30), Some(limit)).figures(8 << 30)[0];
        assert_eq!([2u64, 3, 5].map(|g| figure(g << 30)), [figure(4 << 30); 3]);
        let needed = |limit: u64| ((100 << 20) + slack(limit)) >> 20;
        assert_eq!(least_mib(needed(64 << 20), 64 << 20), least_mib(needed(96 << 20), 96 << 20));
    }

    #[test]
    fn what_is_asked_for_counts_first() {
        assert_eq!(memory_limit(Some(7)), Some(7));
    }
}
