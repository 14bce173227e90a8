//! Steps with statistics or factors per channel: normalisation, means, squeeze-and-excitation.

use super::conv::Affine;
use super::{Context, Exact, Norm, Step, grid};
use crate::error::StepError;
use ampoule_kernels::gemm::Act;
use ampoule_kernels::{Grid, norm};
use ampoule_runtime::run::norm::{Map, Totals, affine, totals};
use ampoule_runtime::run::values;

impl Step {
    /// Scale and shift per channel of a normalisation of batch entry `entry` of the first input.
    pub(super) fn affine(&self, cx: &Context, n: &Norm, g: &Grid, entry: usize) -> Affine {
        let Some(group) = n.group else { return (n.gamma.clone(), n.beta.clone()) };
        if let (Some(s), Some(exact)) = (n.sums, &n.quantized.exact) {
            return exact_affine(cx.sums[s].exact_totals(g.channels()), g.volume(), n, exact);
        }
        let all = match n.sums {
            Some(s) => cx.sums[s].totals(g.channels()),
            None => totals(cx.cpu, cx.area(&self.reads[0]), g, entry),
        };
        let (shift, sum, square) = grouped(group, g.volume(), all);
        norm::instance_affine(g.volume(), n.epsilon, &shift, &sum, &square, &n.gamma, &n.beta)
    }

    pub(super) fn normalise(&self, cx: &Context, n: &Norm) -> Result<(), StepError> {
        let (gi, go) = (grid(&self.reads[0])?, grid(&self.writes[0])?);
        let gr = self.reads.get(1).map(grid).transpose()?;
        let (x, y) = ((cx.area(&self.reads[0]), &gi), (cx.area(&self.writes[0]), &go));
        let residual = self.reads.get(1).zip(gr.as_ref()).map(|(v, g)| (cx.area(v), g));
        for entry in 0..gi.dims[0] {
            let (scale, shift) = self.affine(cx, n, &gi, entry);
            let (added, output) = (n.quantized.residual, n.quantized.output);
            let map = Map { scale: &scale, shift: &shift, act: n.act, residual: added, output };
            affine(cx.cpu, map, entry, x, y, residual);
        }
        Ok(())
    }

    /// Multiplies channels by computed factors; `output` quantizes the result.
    pub(super) fn scale(&self, cx: &Context, output: [f32; 2]) -> Result<(), StepError> {
        let (gi, go) = (grid(&self.reads[0])?, grid(&self.writes[0])?);
        let zeros = vec![0f32; gi.channels()];
        let (x, y) = ((cx.area(&self.reads[0]), &gi), (cx.area(&self.writes[0]), &go));
        let factors = &self.reads[1];
        let per_entry = if factors.dims[0] == 1 { 0 } else { factors.strides[0].unsigned_abs() };
        for entry in 0..gi.dims[0] {
            let scale = values::load(cx.area(factors).skip(entry * per_entry), gi.channels());
            let map = Map { scale: &scale, shift: &zeros, act: Act::None, residual: [1.0, 0.0], output };
            affine(cx.cpu, map, entry, x, y, None);
        }
        Ok(())
    }

    pub(super) fn average(&self, cx: &Context) -> Result<(), StepError> {
        let (gi, go) = (grid(&self.reads[0])?, grid(&self.writes[0])?);
        for entry in 0..gi.dims[0] {
            let (shift, sum, _) = totals(cx.cpu, cx.area(&self.reads[0]), &gi, entry);
            let mean = |(s, t): (&f32, &f64)| (*s as f64 + t / gi.volume() as f64) as f32;
            let means: Vec<f32> = shift.iter().zip(&sum).map(mean).collect();
            values::store(cx.area(&self.writes[0]).skip(entry * go.strides[0]), &means);
        }
        Ok(())
    }
}

/// Replaces per-channel totals by those of its group of `group` channels, all relative to the
/// group's first shift and scaled to one channel's count.
fn grouped(group: usize, count: usize, (mut shift, mut sum, mut square): Totals) -> Totals {
    if group == 1 {
        return (shift, sum, square);
    }
    let n = count as f64;
    for first in (0..sum.len()).step_by(group) {
        let base = shift[first];
        let (mut s, mut q) = (0.0, 0.0);
        for c in first..first + group {
            // Σ(x-base) and Σ(x-base)² from the sums about this channel's own shift.
            let d = shift[c] as f64 - base as f64;
            s += sum[c] + n * d;
            q += square[c] + 2.0 * d * sum[c] + n * d * d;
        }
        for c in first..first + group {
            sum[c] = s / group as f64;
            square[c] = q / group as f64;
            shift[c] = base;
        }
    }
    (shift, sum, square)
}

/// Scale and shift per channel of what an integer convolution stored, from the exact totals of its
/// sums over `count` pixels: mean and variance are ratios of integers, rounded once.
fn exact_affine((sum, square): (Vec<i128>, Vec<i128>), count: usize, n: &Norm, exact: &Exact) -> Affine {
    let volume = count.max(1) as i128;
    (0..sum.len())
        .map(|c| {
            let mean = sum[c] as f64 / volume as f64;
            let spread = (square[c] * volume - sum[c] * sum[c]).max(0);
            let variance = spread as f64 / (volume as f64 * volume as f64);
            let unit = exact.unit[c];
            let scale = n.gamma[c] as f64 / (variance + n.epsilon as f64 / (unit * unit)).sqrt();
            ((scale * exact.factor) as f32, (n.beta[c] as f64 - mean * scale) as f32)
        })
        .unzip()
}
