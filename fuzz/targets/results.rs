//! Results of a study of others: drawn or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(results) = serde_json::from_str::<ampoule_study::results::Results>(text) {
        let _ = serde_json::to_string(&results);
    }
});
