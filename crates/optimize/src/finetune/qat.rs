//! Quantization-aware training: quantizers are put into the network (fake quantization), and gradients pass them by the
//! straight-through estimator (Jacob and others, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
//! Inference", 2018).

use crate::data::{Batches, Examples, run_batches};
use crate::quantize::{Collector, Method, Plan, Preset, quantize};
use crate::{Error, Result};
use ampoule_engine::Options;
use ampoule_graph::{Graph, passes};
use std::collections::{BTreeMap, BTreeSet};

/// Batches that quantizers are calibrated on.
const RANGES: usize = 32;

/// `network` with quantizers whose ranges are those of batches that are not augmented, and its weights before
/// rounding, by the name of their quantized values.
pub(super) fn with_quantizers(
    network: &Graph,
    (preset, method): (Preset, Method),
    shape: &[usize],
    options: &Options,
    batches: &Batches,
    examples: &mut Examples,
) -> Result<(Graph, BTreeMap<String, Vec<f32>>)> {
    let mut g = network.clone();
    passes::optimize(&mut g)?;
    let plan = Plan::of(&g, preset, &BTreeSet::new());
    if plan.layers.is_empty() {
        return Err(Error::NothingToQuantize);
    }
    let names = plan.tensors(&g);
    let collector = Collector::new(names.clone());
    let watched = Options { observe: Some(collector.observe()), ..options.clone() };
    run_batches(&g, shape, &watched, batches, examples, RANGES, |_, _| ())?;
    collector.end_case("fine-tuning")?;
    let quantized = quantize(&g, &plan, &collector.ranges(&names, method)?, preset)?;
    let weights = plan.layers.iter().filter_map(|&i| g.nodes[i].input(1));
    let masters = weights.filter_map(|w| {
        let values = g.constants.get(&w)?.to_f32()?;
        Some((format!("{}/quantized", g.value(w).name), values))
    });
    Ok((quantized, masters.collect()))
}
