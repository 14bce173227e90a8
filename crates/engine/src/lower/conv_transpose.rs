//! Transposed convolutions: one convolution for every phase of the output.

use super::target::{Target, reads};
use super::{Lower, R};
use crate::step::{Convolution, Kind};
use ampoule_graph::Node;
use ampoule_graph::op::Window;
use ampoule_kernels::Grid;
use ampoule_kernels::conv::{Axis, How, Quantized, Spec};
use ampoule_kernels::depthwise::{Depthwise, Filters};
use ampoule_runtime::run::conv::{Algorithm, ConvPart, ConvParts};
use ampoule_runtime::{OutOfMemory, Phase, View, axes, output_phases};

impl Lower<'_> {
    pub(super) fn conv_transpose(
        &mut self,
        n: &Node,
        window: &Window,
        group: usize,
        output_padding: &[usize],
        output_shape: &[usize],
    ) -> R<bool> {
        let Some(y) = n.output() else { return Ok(false) };
        let Some((w, wd, mut bias)) = self.parameters(n)? else { return Ok(false) };
        let integer = self.int8_operands(n);
        let x = match &integer {
            Some(i) => i.x.clone(),
            None => self.input(n, 0)?,
        };
        let r = window.resolve_transposed(&x.dims[2..], &wd[2..], output_padding, output_shape)?;
        let (x, gx) = self.channels_last(n, x)?;
        let mut t = self.target(y, integer.is_some(), false)?;
        let mut quantized = Self::quantized(&integer, &t);
        // The channels of every group share the factors.
        let mut scale = integer.as_ref().map(|i| Self::factors(i, wd[1]));
        if let (Some(i), Some(out), Some(q), Some(scale)) =
            (&integer, t.quantization, &mut quantized, &mut scale)
        {
            let channels = group * wd[1];
            Self::requantize_directly(
                i,
                (out, t.residual.is_some()),
                q,
                &mut t.act,
                scale,
                (&mut bias, channels),
            );
        }
        let a = axes(&r);
        let elems = [x.elem, t.output.elem];
        let taps: usize = wd[2..].iter().product();
        let (cg, mg) = (wd[0] / group, wd[1]);
        let of_group = |grid: &Grid, c: usize| {
            let mut own = *grid;
            own.dims[4] = c;
            own
        };
        let outputs = output_phases(&a, &of_group(&t.grid, mg));
        let residuals = t.residual.as_ref().map(|r| output_phases(&a, &of_group(&r.1, mg)));
        if (cg, mg) == (1, 1) && group > 1 && !self.stream {
            let whole = output_phases(&a, &t.grid);
            if whole.iter().all(|p| !p.taps.is_empty()) {
                let residuals = t.residual.as_ref().map(|r| output_phases(&a, &r.1));
                let filters = |phase: &Phase| Filters {
                    weights: (0..phase.taps.len() * group)
                        .map(|i| w.get(i % group * taps + phase.taps[i / group]))
                        .collect(),
                    bias: bias.clone().unwrap_or_else(|| vec![0.0; group]),
                    scale: scale.as_ref().map(|s| s.repeat(group)).unwrap_or_default(),
                    ..Filters::default()
                };
                let steps = whole
                    .iter()
                    .enumerate()
                    .map(|(k, p)| (p, residuals.as_ref().map(|r| r[k].grid), filters(p)));
                let steps: Vec<_> = steps.collect();
                let same = quantized.is_some() || elems[0] == elems[1];
                let x = if same { x } else { self.stored_as(n, x, elems[1]) };
                self.depthwise_phases(n, (x, gx), (&t, quantized), &a, steps);
                drop(w);
                self.packed_weights(n, &integer);
                return Ok(true);
            }
        }
        let mut parts = Vec::new();
        for g in 0..group {
            let b = bias.as_ref().map(|b| &b[g * mg..(g + 1) * mg]);
            for (k, phase) in outputs.iter().enumerate() {
                let residual = residuals.as_ref().map(|r| &r[k]);
                let spec = Spec {
                    input: of_group(&gx, cg),
                    output: phase.grid,
                    residual: residual.map(|r| r.grid),
                    axes: phase.axes,
                    act: t.act,
                    elems,
                    quantized,
                };
                let sizes = [phase.taps.len(), cg, mg];
                OutOfMemory::check(4 * sizes.iter().product::<usize>())?;
                let at = |k: usize, i: usize, o: usize| w.get(((g * cg + i) * mg + o) * taps + phase.taps[k]);
                let conv = self.direct(spec, How { merge: !self.stream, ..How::default() });
                let weights = self.direct_weights(&conv, sizes, (b, scale.as_deref()), at);
                parts.push(ConvPart {
                    algorithm: Algorithm::Direct(conv, weights),
                    input: g * cg,
                    output: phase.offset + g * mg,
                    residual: residual.map_or(0, |r| r.offset) + g * mg,
                    depth: [phase.position[0], a[0].stride],
                });
            }
        }
        drop(w);
        self.packed_weights(n, &integer);
        let macs = (gx.pixels() * wd[0] * mg * taps) as u64;
        let reads = reads(x, &t);
        let post = if quantized.is_some() { None } else { t.post };
        let kind = Kind::Conv(Convolution { post, ..Convolution::plain(ConvParts::new(parts)) });
        self.push(n, kind, reads, vec![t.output], macs);
        Ok(true)
    }

    /// Phases of a transposed convolution of single channels: depthwise convolutions, a step each.
    fn depthwise_phases(
        &mut self,
        n: &Node,
        (x, input): (View, Grid),
        (t, quantized): (&Target, Option<Quantized>),
        axes: &[Axis; 3],
        phases: Vec<(&Phase, Option<Grid>, Filters)>,
    ) {
        for (phase, residual, mut filters) in phases {
            let part = |v: &View| {
                let spatial = v.dims.len() - 2;
                let mut plan: Vec<(usize, usize, i64)> = v.dims.iter().map(|&d| (0, d, 1)).collect();
                for i in 0..spatial {
                    let k = i + 3 - spatial;
                    plan[i + 2] = (phase.position[k], phase.grid.dims[k + 1], axes[k].stride as i64);
                }
                v.sliced(&plan)
            };
            let elems = [x.elem, t.output.elem];
            let post = if quantized.is_some() { None } else { t.post };
            let plan = Depthwise {
                input,
                output: phase.grid,
                residual,
                axes: phase.axes,
                act: t.act,
                elems,
                quantized,
            };
            plan.pack(self.isa, &mut filters);
            let mut reads = vec![x.clone()];
            reads.extend(t.residual.as_ref().map(|r| part(&r.0)));
            let macs = (phase.grid.pixels() * phase.taps.len() * phase.grid.channels()) as u64;
            self.push(
                n,
                Kind::Depthwise { plan, filters: Box::new(filters), post },
                reads,
                vec![part(&t.output)],
                macs,
            );
        }
    }
}
