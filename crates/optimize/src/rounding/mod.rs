//! Rounding of weights: quantized weights chosen by what they do to a layer's outputs on patches of its inputs, instead of
//! by how near they are to the weights.
//!
//! The error of an output channel is `Σ (x·(w - s·q))²` over patches `x`. Of all scales `s` the one with the
//! least error is taken (the objective of AIMET's SeqMSE). Adaptive rounding then lets each quantized weight `q` be
//! either neighbour of `w / s` (AdaRound: Nagel et al., "Up or Down? Adaptive Rounding for Post-Training
//! Quantization", 2020). Its binary quadratic problem is solved here by coordinate descent from rounding to
//! nearest: each change lowers the error, and a few sweeps end in a local minimum, where the paper relaxes
//! the problem and trains for thousands of steps. A share of the plain squared error of the weights is added, so
//! that a sample of patches is not learned by heart.

mod patches;

pub use patches::Patches;

use crate::progress::Progress;
use crate::quantize::Plan;
use crate::state::State;
use crate::{Error, Result};
use ampoule_engine::Options;
use ampoule_graph::{Graph, Tensor};
use clap::{Args, ValueEnum};
use patches::{Columns, add_scaled, dot};
use serde::{Deserialize, Serialize};

/// Rounding of weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rounding {
    /// To nearest, with the scale of the least squared error of the weights.
    #[default]
    Nearest,
    /// To nearest, with the scale of the least squared error of the layer's outputs on samples of its inputs.
    Outputs,
    /// With that scale, each weight up or down by the same error (adaptive rounding).
    Adaptive,
}

/// Options of weight rounding.
#[derive(Clone, Debug, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[command(next_help_heading = "Quantization")]
pub struct RoundingOptions {
    /// Rounding of weights: to nearest (nearest); to nearest, with the scale that minimises the error of the layer's
    /// outputs on samples of its inputs (outputs); or each weight up or down, to minimise that error (adaptive).
    /// Only without --qat, and with --precision int8 or auto.
    #[arg(long, value_enum, default_value_t, value_name = "HOW", hide_possible_values = true)]
    pub rounding: Rounding,
}

/// Chooses the quantized weights of the network's layers on samples of their inputs.
pub(crate) fn apply(state: &mut State, how: Rounding, progress: &mut Progress) -> Result<()> {
    let Some(q) = &mut state.int8 else { return Err(Error::NotInt8) };
    let patches = Patches::of(&q.float, &q.plan);
    let cases = &state.cases;
    let options = Options { observe: Some(patches.observe()), ..cases.engine.clone() };
    cases.watch((&q.float, &state.recipe), &options, "sample inputs", progress)?;
    progress("round weights", 0, 1);
    q.prepared = round_weights(&q.float, &q.plan, &patches, how)?.0;
    Ok(())
}

/// Scales that are tried: that of the largest magnitude, and ever smaller ones.
const TRIES: usize = 24;
/// Sweeps over the weights of a channel, at most.
const SWEEPS: usize = 8;
/// Share of the mean power of a patch's value that weights' own errors cost besides.
const DAMPING: f64 = 0.02;

/// `g` whose convolutions among the plan's layers have the values of their quantized weights; how many do.
/// [`crate::quantize()`] finds the same quantized weights again, because the largest is 127.
pub fn round_weights(g: &Graph, plan: &Plan, patches: &Patches, how: Rounding) -> Result<(Graph, usize)> {
    let mut out = g.clone();
    let mut count = 0;
    for &i in plan.layers.iter().filter(|_| how != Rounding::Nearest) {
        let Some(columns) = patches.columns(i) else { continue };
        let n = &g.nodes[i];
        let Some((w, t)) = n.input(1).and_then(|w| Some((w, g.constants.get(&w)?))) else { continue };
        let mut values = t.to_f32().ok_or_else(|| Error::not_numeric(g, w))?;
        let size = values.len() / t.dims()[0].max(1);
        let powers: Vec<f64> = (0..size).map(|k| dot(columns.of(k), columns.of(k))).collect();
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
        let share = t.dims()[0].div_ceil(threads).max(1) * size.max(1);
        std::thread::scope(|s| {
            for part in values.chunks_mut(share) {
                let (columns, powers) = (&columns, &powers);
                s.spawn(move || {
                    for channel in part.chunks_exact_mut(size) {
                        round(channel, columns, powers, how == Rounding::Adaptive);
                    }
                });
            }
        });
        let name = format!("{}/rounded", g.value(w).name);
        let rounded = out.constant(&name, Tensor::f32(t.dims(), &values));
        out.nodes[i].inputs[1] = Some(rounded);
        count += 1;
    }
    let uses = out.uses();
    out.constants.retain(|id, _| uses[id.0] > 0);
    Ok((out, count))
}

/// Puts the values of its quantized weights in the place of a channel's weights.
fn round(weights: &mut [f32], columns: &Columns, powers: &[f64], adaptive: bool) {
    let most = weights.iter().fold(0f32, |m, x| m.max(x.abs()));
    if most == 0.0 || !most.is_finite() {
        return;
    }
    let damping = DAMPING * powers.iter().sum::<f64>() / powers.len().max(1) as f64;
    let nearest = |w: f32, s: f32| (w / s).round_ties_even().clamp(-127.0, 127.0);
    let mut best: Option<(f64, f32, Vec<f32>)> = None;
    for i in 0..TRIES {
        let scale = most / 127.0 * (1.0 - 0.02 * i as f32);
        let mut residual = vec![0f32; columns.count];
        let mut own = 0.0;
        for (k, w) in weights.iter().enumerate() {
            let error = w - nearest(*w, scale) * scale;
            add_scaled(&mut residual, error, columns.of(k));
            own += (error as f64).powi(2);
        }
        let error = dot(&residual, &residual) + damping * own;
        if best.as_ref().is_none_or(|b| error < b.0) {
            best = Some((error, scale, residual));
        }
    }
    let Some((_, scale, mut residual)) = best else { return };
    let mut quantized: Vec<f32> = weights.iter().map(|w| nearest(*w, scale)).collect();
    for _ in 0..if adaptive { SWEEPS } else { 0 } {
        let mut changed = false;
        for (k, w) in weights.iter().enumerate() {
            let exact = w / scale;
            let other = if quantized[k] > exact { quantized[k] - 1.0 } else { quantized[k] + 1.0 };
            // The largest values hold the scale, and nothing lies beyond them.
            if quantized[k].abs() >= 127.0 || other.abs() > 127.0 || (other - exact).abs() >= 1.0 {
                continue;
            }
            // The residual changes by `step` times the value; so does the weight's own error.
            let step = ((quantized[k] - other) * scale) as f64;
            let error = (w - quantized[k] * scale) as f64;
            let gain = 2.0 * step * (dot(columns.of(k), &residual) + damping * error)
                + step * step * (powers[k] + damping);
            if gain < 0.0 {
                add_scaled(&mut residual, step as f32, columns.of(k));
                quantized[k] = other;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    weights.iter_mut().zip(quantized).for_each(|(w, q)| *w = q * scale);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(n: usize, seed: u64) -> Vec<f32> {
        ampoule_random::Random::at(&[seed]).values(n)
    }

    /// Squared errors of a layer's outputs with weights to nearest, by outputs and adaptive; checks that the same quantized
    /// weights are found again in what is written.
    fn errors(seed: u64) -> [f64; 3] {
        let (size, count) = (40, 512);
        // Inputs that go together, as those of a network do: there errors can make up for one another.
        let base = random(3 * count, seed);
        let values: Vec<f32> = (0..size)
            .flat_map(|k| {
                let noise = random(count, 100 * seed + k as u64);
                let base = &base[k % 3 * count..(k % 3 + 1) * count];
                base.iter().zip(noise).map(|(b, n)| b + 0.3 * n).collect::<Vec<_>>()
            })
            .collect();
        let columns = Columns { values, count };
        let powers: Vec<f64> = (0..size).map(|k| dot(columns.of(k), columns.of(k))).collect();
        let w: Vec<f32> = random(size, 1000 + seed);
        let error = |rounded: &[f32]| {
            let mut r = vec![0f32; count];
            for k in 0..size {
                add_scaled(&mut r, w[k] - rounded[k], columns.of(k));
            }
            dot(&r, &r)
        };
        let (quantized, scales) = crate::quantize::quantized_weights(&w, &[1, size], 0);
        let nearest: Vec<f32> = quantized.iter().map(|q| *q as f32 * scales[0]).collect();
        let (mut outputs, mut adaptive) = (w.clone(), w.clone());
        round(&mut outputs, &columns, &powers, false);
        round(&mut adaptive, &columns, &powers, true);
        let found = [&nearest, &outputs, &adaptive].map(|r| error(r));
        for r in [outputs, adaptive] {
            let (quantized, scales) = crate::quantize::quantized_weights(&r, &[1, size], 0);
            for (v, q) in r.iter().zip(quantized) {
                assert!((v - q as f32 * scales[0]).abs() < 1e-6, "{v} is not {q} times {}", scales[0]);
            }
        }
        found
    }

    #[test]
    fn outputs_get_nearer_and_weights_stay_quantized() {
        let mut totals = [0.0; 3];
        for seed in 1..=8 {
            let found = errors(seed);
            assert!(found[1] <= found[0] && found[2] < found[1], "seed {seed}: {found:?}");
            (0..3).for_each(|i| totals[i] += found[i]);
        }
        assert!(totals[2] < 0.6 * totals[1], "{totals:?}");
    }
}
