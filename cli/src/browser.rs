//! Opening a page in the user's browser.

#[cfg(not(any(windows, target_os = "macos")))]
#[path = "browser/unix.rs"]
mod system;
#[cfg(target_os = "macos")]
#[path = "browser/macos.rs"]
mod system;
#[cfg(windows)]
#[path = "browser/windows.rs"]
mod system;

use std::process::Stdio;

/// Asks the system to open `address`; false where it cannot.
pub fn open(address: &str) -> bool {
    let mut command = system::opener(address);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return false };
    // Some stay as long as the browser does.
    let _ = std::thread::Builder::new().name("browser".into()).spawn(move || child.wait());
    true
}
