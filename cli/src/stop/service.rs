//! A service, which ends by itself once it is asked to, however long what runs takes.

use std::sync::OnceLock;
use std::time::Duration;

/// What a signal does to it.
pub struct Service {
    /// Asks it to end.
    pub drain: Box<dyn Fn() + Send + Sync>,
    /// Removes what it would leave behind, where it is not waited for.
    pub discard: Box<dyn Fn() + Send + Sync>,
}

static SERVICE: OnceLock<Service> = OnceLock::new();

/// From now on the first signal asks `service` to end, and the second one ends the process at once.
pub fn serving(service: Service) {
    // A process serves once.
    let _ = SERVICE.set(service);
}

/// Where there is a service, asks it to end, which ends the process with it, and waits until that is asked for again.
pub(super) fn end(signal: i32, again: &mut dyn FnMut() -> bool) {
    let Some(service) = SERVICE.get() else { return };
    (service.drain)();
    while !again() {
        std::thread::sleep(Duration::from_millis(20));
    }
    (service.discard)();
    ampoule_files::stop::discard();
    std::process::exit(128 + signal);
}
