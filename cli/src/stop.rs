//! Being stopped from outside: the case at hand is finished if that is soon, temporary files are removed, and the exit
//! code says what stopped it.

#[cfg(feature = "serve")]
#[path = "stop/service.rs"]
mod service;
#[cfg(unix)]
#[path = "stop/unix.rs"]
mod system;
#[cfg(windows)]
#[path = "stop/windows.rs"]
mod system;

use ampoule_files::stop;
#[cfg(feature = "serve")]
pub use service::{Service, serving};
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long the work at hand may go on after it was asked to end.
const GRACE: Duration = Duration::from_secs(3);

/// Watches for what stops programs in a thread of its own; where that cannot be, the system's own handling stays.
pub fn install() {
    system::install();
}

/// Ends the process: soon, if the work at hand ends by itself, and at once where `again` says that it was asked a
/// second time.
fn end(signal: i32, again: &mut dyn FnMut() -> bool) -> ! {
    #[cfg(feature = "serve")]
    service::end(signal, again);
    stop::request(signal);
    let begun = Instant::now();
    while stop::polite() && begun.elapsed() < GRACE && !again() {
        std::thread::sleep(Duration::from_millis(20));
    }
    // What is polite may still be writing its tables.
    if begun.elapsed() < GRACE && begun.elapsed() > Duration::from_millis(20) {
        std::thread::sleep(Duration::from_secs(1));
    }
    stop::discard_for_good();
    let _ = writeln!(
        std::io::stderr(),
        "ampoule: stopped by {}; nothing unfinished is left under a final name, and the same command goes on",
        system::name(signal)
    );
    std::process::exit(128 + signal);
}

/// The exit code of work that ended because it was stopped.
pub fn code() -> Option<ExitCode> {
    stop::requested().map(|signal| ExitCode::from(128 + signal as u8))
}
