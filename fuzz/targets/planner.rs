//! The memory planner: no two blocks that are alive at the same step overlap.
#![no_main]

use ampoule_runtime::{Block, plan};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: Vec<(u16, u8, u8)>| {
    let blocks: Vec<Block> = data
        .iter()
        .take(200)
        .map(|(size, a, b)| Block {
            size: *size as usize,
            first: (*a).min(*b) as usize,
            last: (*a).max(*b) as usize,
        })
        .collect();
    let p = plan(&blocks);
    for (i, a) in blocks.iter().enumerate() {
        assert!(p.offsets[i] + a.size <= p.size || a.size == 0);
        for (j, b) in blocks.iter().enumerate().skip(i + 1) {
            let together = a.first <= b.last && b.first <= a.last && a.size > 0 && b.size > 0;
            let apart = p.offsets[i] + a.size <= p.offsets[j] || p.offsets[j] + b.size <= p.offsets[i];
            assert!(!together || apart, "{a:?} and {b:?} overlap");
        }
    }
});
