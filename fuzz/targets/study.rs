//! The file of a study.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = ampoule_study::Spec::parse(text);
});
