//! SIGINT and SIGTERM.

use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use std::sync::Arc;

pub(super) fn install() {
    // A file that grows beyond what `ulimit -f` allows is then an error of its writing, as a full disk is.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
    let wanted: Vec<i32> = [SIGINT, SIGTERM].into_iter().filter(|s| !ignored(*s)).collect();
    if !wanted.is_empty() {
        let _ = std::thread::Builder::new().name("signals".into()).spawn(move || watch(&wanted));
    }
}

pub(super) fn name(signal: i32) -> &'static str {
    if signal == SIGINT { "SIGINT" } else { "SIGTERM" }
}

/// Whether the process was started with the signal ignored, as shells do for work in the background; known on Linux.
fn ignored(signal: i32) -> bool {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = text.lines().find_map(|l| l.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|m| u64::from_str_radix(m.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

fn watch(wanted: &[i32]) {
    let Ok(mut signals) = Signals::new(wanted) else { return };
    let Some(signal) = signals.forever().next() else { return };
    super::end(signal, &mut || signals.pending().next().is_some());
}
