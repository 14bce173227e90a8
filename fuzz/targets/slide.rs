//! A pyramidal slide.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::Write;

/// What a read may take.
const MOST: u64 = 256 << 20;

fuzz_target!(|data: &[u8]| {
    let mut file = tempfile::Builder::new().suffix(".tif").tempfile().expect("a temporary file");
    file.write_all(data).expect("a temporary file");
    if ampoule_imaging::slide::Slide::is_one(file.path(), MOST) {
        let Ok(slide) = ampoule_imaging::slide::Slide::open(file.path(), 1 << 20) else { return };
        for level in 0..slide.levels.len().min(3) {
            let _ = slide.region(level, -5, 3, 300, 40);
        }
    }
});
