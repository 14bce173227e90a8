//! What is run when nothing was typed, as where somebody double-clicks the program.

use std::ffi::OsString;

/// Arguments of a double click: the model that comes with the program, on a page in the browser. The ports are free ones, so
/// that a second click is no mistake.
const CLICKED: [&str; 6] = ["serve", "deepbet", "--open", "--port", "0", "--no-grpc"];

/// Whether this is a double click: nothing was typed, and the console was opened for this program.
fn is_clicked() -> bool {
    cfg!(feature = "serve") && std::env::args_os().len() < 2 && ampoule_system::console::is_own()
}

/// What was typed, or what a double click stands for.
pub fn line() -> Vec<OsString> {
    let typed: Vec<OsString> = wild::args_os().collect();
    match is_clicked() {
        true => typed.into_iter().chain(CLICKED.map(OsString::from)).collect(),
        false => typed,
    }
}

/// Keeps the window of a double click open until its message was read.
pub fn stay() {
    if is_clicked() {
        eprintln!("Press Enter to close this window.");
        let _ = std::io::stdin().read_line(&mut String::new());
    }
}

#[cfg(all(test, feature = "serve"))]
mod tests {
    use super::*;

    #[test]
    fn a_double_click_is_a_command() {
        let line = ["ampoule"].into_iter().chain(CLICKED);
        let matches = crate::args::command().try_get_matches_from(line).unwrap();
        assert_eq!(matches.subcommand_name(), Some("serve"));
    }
}
