//! Bytes of a checkpoint.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = ampoule_zoo::torch::read(data);
});
