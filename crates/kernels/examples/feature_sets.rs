//! The feature sets of this CPU that tests have to run on, best first, one a line: its name, and the
//! operations that it runs by other kernels, or another fallback, than all sets before it.
//! `scripts/test.sh` reads this.

use ampoule_kernels::registry::distinct_sets;

fn main() {
    for (set, operations) in distinct_sets() {
        let names: Vec<&str> = operations.iter().map(|o| o.name()).collect();
        println!("{} {}", set.name, names.join(","));
    }
}
