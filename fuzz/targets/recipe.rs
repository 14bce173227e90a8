//! A recipe; what is read can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(recipe) = ampoule_pipeline::Recipe::parse(text, "recipe") {
        ampoule_pipeline::Recipe::parse(&recipe.to_text(), "written").expect("what was written can be read");
    }
});
