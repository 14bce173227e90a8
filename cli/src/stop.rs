//! SIGINT and SIGTERM: the case at hand is finished if that is soon, temporary files are removed, and the exit code
//! says which signal it was.

use ampoule_files::stop;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long the work at hand may go on after a signal.
const GRACE: Duration = Duration::from_secs(3);

/// Watches for signals in a thread of its own; where there can be none, the system's own handling stays.
pub fn install() {
    let wanted: Vec<i32> = [SIGINT, SIGTERM].into_iter().filter(|s| !ignored(*s)).collect();
    if !wanted.is_empty() {
        let _ = std::thread::Builder::new().name("signals".into()).spawn(move || watch(&wanted));
    }
}

/// Whether the process was started with the signal ignored, as shells do for work in the background.
fn ignored(signal: i32) -> bool {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = text.lines().find_map(|l| l.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|m| u64::from_str_radix(m.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

fn watch(wanted: &[i32]) {
    let Ok(mut signals) = Signals::new(wanted) else { return };
    let Some(signal) = signals.forever().next() else { return };
    stop::request(signal);
    let begun = Instant::now();
    // A second signal does not wait.
    while stop::polite() && begun.elapsed() < GRACE && signals.pending().next().is_none() {
        std::thread::sleep(Duration::from_millis(20));
    }
    // What is polite may still be writing its tables.
    if begun.elapsed() < GRACE && begun.elapsed() > Duration::from_millis(20) {
        std::thread::sleep(Duration::from_secs(1));
    }
    stop::discard();
    let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
    let _ = writeln!(
        std::io::stderr(),
        "ampoule: stopped by {name}; nothing unfinished is left under a final name, and the same command goes on"
    );
    std::process::exit(128 + signal);
}

/// The exit code of work that ended because of a signal.
pub fn code() -> Option<ExitCode> {
    stop::requested().map(|signal| ExitCode::from(128 + signal as u8))
}
