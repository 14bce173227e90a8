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
        let _ = ampoule_imaging::slide::Slide::open(file.path(), 1 << 20);
    }
});
