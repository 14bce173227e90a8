//! Results of a study of others: drawn or refused.
#![no_main]

use ampoule_study::report;
use libfuzzer_sys::fuzz_target;
use std::io::Write;

fuzz_target!(|data: &[u8]| {
    let mut file = tempfile::Builder::new().suffix(".json").tempfile().expect("a temporary file");
    file.write_all(data).expect("a temporary file");
    let Ok(results) = report::read(file.path()) else { return };
    let _ = report::csv(&results);
    let folders = [std::path::PathBuf::from("study")];
    let page = report::html(std::slice::from_ref(&results), &[], &folders);
    assert!(!page.to_ascii_lowercase().contains("<script"), "a script in a report");
});
