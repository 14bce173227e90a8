//! The handler of addresses, without a shell, which would take signs in them for its own.

use std::process::Command;

pub(super) fn opener(address: &str) -> Command {
    let mut command = Command::new("rundll32.exe");
    command.arg("url.dll,FileProtocolHandler").arg(address);
    command
}
