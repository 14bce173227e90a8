//! A checkpoint in any of the formats, or an archive that holds a program.
#![no_main]

use ampoule_torch::{Budget, Content, content, from_bytes, graph};
use libfuzzer_sys::fuzz_target;

/// What one read may ask for at a time.
fn beyond(bytes: u64) -> Option<[u64; 2]> {
    (bytes > 256 << 20).then_some([bytes >> 20, 256])
}

fuzz_target!(|data: &[u8]| {
    let budget = Budget::of(beyond);
    let _ = match content(data, budget) {
        Ok(Content::Program) => graph(data, &[], budget).map(|_| ()),
        Ok(Content::Weights | Content::Other) | Err(_) => from_bytes(data, budget).map(|_| ()),
    };
});
