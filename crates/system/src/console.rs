//! The console that a program runs in.

#[cfg(not(windows))]
mod other;
#[cfg(windows)]
mod windows;

#[cfg(not(windows))]
use other as system;
#[cfg(windows)]
use windows as system;

/// Whether the system opened a console for this program alone, as it does where somebody double-clicks it. The console
/// closes with the program.
pub fn is_own() -> bool {
    system::is_own()
}
