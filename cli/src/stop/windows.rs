//! Ctrl+C, Ctrl+Break, the window closed, the user logged off.

use std::sync::mpsc;

/// The number that Ctrl+C has on other systems, of which the exit code is made.
const INTERRUPT: i32 = 2;

pub(super) fn install() {
    let (asked, wait) = mpsc::channel();
    let watch = move || {
        if wait.recv().is_ok() {
            super::end(INTERRUPT, &mut || wait.try_recv().is_ok());
        }
    };
    let watches = std::thread::Builder::new().name("signals".into()).spawn(watch).is_ok();
    if watches {
        let handler = move || {
            // Nobody waits any more once the process ends.
            let _ = asked.send(());
        };
        let _ = ctrlc::set_handler(handler);
    }
}

pub(super) fn name(_: i32) -> &'static str {
    "Ctrl+C, or by the window being closed"
}
