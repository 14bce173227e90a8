//! The binary, however this system starts it.

use std::process::Command;

/// The binary, run by the program that `AMPOULE_RUNNER` names (with arguments) where the system cannot start it itself,
/// as under qemu-user.
pub fn program() -> Command {
    let runner = std::env::var("AMPOULE_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace().chain([env!("CARGO_BIN_EXE_ampoule")]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    command
}
