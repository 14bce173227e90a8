//! The sets of CPU features that a test runs on.

use ampoule_kernels::{Features, available, choose};

/// The set that `AMPOULE_ISA` names, if it names one.
pub fn asked_tier() -> Option<String> {
    std::env::var("AMPOULE_ISA").ok().filter(|name| !name.is_empty())
}

/// The sets a test runs on: all of this CPU, or only the one that `AMPOULE_ISA` names. Prints them, so that
/// one that is missing is seen: `scripts/test.sh` reads that line.
///
/// # Panics
/// Where `AMPOULE_ISA` names no set, or one that this CPU lacks: a test that would run on nothing must fail.
pub fn tiers() -> Vec<Features> {
    let list = match asked_tier() {
        Some(name) => vec![choose(Some(&name)).unwrap_or_else(|e| panic!("AMPOULE_ISA: {e}"))],
        None => available(),
    };
    print_tiers(&list);
    list
}

/// Prints the sets a test runs on, as `tiers` does.
///
/// # Panics
/// Where the list is empty.
pub fn print_tiers(list: &[Features]) {
    assert!(!list.is_empty(), "a test that runs on no tier tests nothing");
    println!("tiers tested: {}", list.iter().map(|f| f.name()).collect::<Vec<_>>().join(" "));
}
