//! Functions of Win32.

use windows_sys::Win32::System::Console::GetConsoleProcessList;

pub(super) fn is_own() -> bool {
    let mut processes = [0u32; 2];
    // SAFETY: writes at most as many numbers as it is told that there is room for.
    let count = unsafe { GetConsoleProcessList(processes.as_mut_ptr(), processes.len() as u32) };
    count == 1
}
