//! A table of comma-separated values.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = ampoule_pipeline::Table::parse(text);
});
