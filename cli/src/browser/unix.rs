//! The desktop's own opener.

use std::process::Command;

pub(super) fn opener(address: &str) -> Command {
    let mut command = Command::new("xdg-open");
    command.arg(address);
    command
}
