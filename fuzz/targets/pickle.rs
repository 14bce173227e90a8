//! Bytes of a checkpoint.
#![no_main]

use libfuzzer_sys::fuzz_target;

/// What one read may ask for at a time.
fn beyond(bytes: u64) -> Option<[u64; 2]> {
    (bytes > 256 << 20).then_some([bytes >> 20, 256])
}

fuzz_target!(|data: &[u8]| {
    let _ = ampoule_torch::from_pickle(data, ampoule_torch::Budget::of(beyond));
});
