//! Placement of quantizers: every layer of the plan reads a quantized tensor, and the graph stays whole.
#![no_main]

use ampoule_optimize::{Plan, Preset};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;

fuzz_target!(|data: &[u8]| {
    let Some(mut graph) = ampoule_testing::drawn(data).map(|d| d.graph) else { return };
    ampoule_graph::passes::optimize(&mut graph).expect("passes");
    for preset in [Preset::Performance, Preset::All, Preset::Mixed] {
        let plan = Plan::of(&graph, preset, &BTreeSet::new());
        let grouped: Vec<_> = plan.groups.iter().flat_map(|g| &g.values).copied().collect();
        let distinct: BTreeSet<_> = grouped.iter().copied().collect();
        assert_eq!(grouped.len(), distinct.len(), "a tensor has two scales");
        for &layer in &plan.layers {
            let x = graph.nodes[layer].input(0).expect("an input");
            assert!(distinct.contains(&x), "a layer without a quantized input");
        }
    }
});
