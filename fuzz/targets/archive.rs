//! A zip archive: every entry is read within its limits.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(mut archive) = ampoule_zoo::Archive::new(std::io::Cursor::new(data)) else { return };
    for name in archive.names().iter().take(20) {
        let _ = archive.read(name);
    }
});
