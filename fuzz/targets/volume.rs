//! A volume in any of the formats.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::Write;

/// What a read may take.
const MOST: u64 = 256 << 20;

fuzz_target!(|data: &[u8]| {
    let mut file = tempfile::Builder::new().suffix(".nii").tempfile().expect("a temporary file");
    file.write_all(data).expect("a temporary file");
    let _ = ampoule_imaging::formats::read_volume(file.path(), Some(0), MOST);
});
