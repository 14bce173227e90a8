//! Shared by the kernel tests: seeded data, tiers, comparison.
#![allow(dead_code)]

use ampoule_kernels::{Isa, available};

/// Tiers under test: all of this CPU, or only the one that `AMPOULE_ISA` forces. Printed, so that
/// a skipped tier is seen.
pub fn tiers() -> Vec<Isa> {
    let list = match std::env::var("AMPOULE_ISA") {
        Ok(name) if !name.is_empty() => vec![ampoule_kernels::choose(Some(&name)).unwrap()],
        _ => available(),
    };
    println!("tiers tested: {}", list.iter().map(|i| i.name()).collect::<Vec<_>>().join(" "));
    list
}

/// Uniform values in -1..1 from a seed.
pub fn random(n: usize, seed: u64) -> Vec<f32> {
    let mut s = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..n)
        .map(|_| {
            s ^= s << 13;
            s ^= s >> 7;
            s ^= s << 17;
            (s >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// Largest difference relative to the largest magnitude.
pub fn error(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let scale = b.iter().fold(1e-6f32, |m, x| m.max(x.abs()));
    a.iter().zip(b).fold(0f32, |m, (x, y)| m.max((x - y).abs())) / scale
}
