//! The system's own opener.

use std::process::Command;

pub(super) fn opener(address: &str) -> Command {
    let mut command = Command::new("/usr/bin/open");
    command.arg(address);
    command
}
