//! A zip archive: every entry is read within its limits.
#![no_main]

use libfuzzer_sys::fuzz_target;

/// What one read may ask for at a time.
fn beyond(bytes: u64) -> Option<[u64; 2]> {
    (bytes > 256 << 20).then_some([bytes >> 20, 256])
}

fuzz_target!(|data: &[u8]| {
    let archive = ampoule_torch::Archive::new(std::io::Cursor::new(data), ampoule_torch::Budget::of(beyond));
    let Ok(mut archive) = archive else { return };
    for name in archive.names().iter().take(20) {
        let _ = archive.read(name);
    }
});
