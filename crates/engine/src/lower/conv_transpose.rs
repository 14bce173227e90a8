//! Transposed convolutions: one convolution for every phase of the output.

use super::target::reads;
use super::{Lower, R};
use crate::step::{Convolution, Kind};
use ampoule_graph::Node;
use ampoule_graph::op::Window;
use ampoule_kernels::Grid;
use ampoule_kernels::conv::{Conv, Phase, Spec, Weights, phases};
use ampoule_runtime::axes;
use ampoule_runtime::run::conv::{Algorithm, ConvPart, ConvParts};

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
        let mut t = self.target(y, integer.is_some())?;
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
        let per_axis: Vec<Vec<Phase>> = (0..3)
            .map(|i| phases(a[i].kernel, a[i].stride, a[i].dilation, a[i].pad, t.grid.dims[i + 1]))
            .collect();
        let taps: usize = wd[2..].iter().product();
        let (cg, mg) = (wd[0] / group, wd[1]);
        let mut parts = Vec::new();
        for g in 0..group {
            for pz in &per_axis[0] {
                for py in &per_axis[1] {
                    for px in &per_axis[2] {
                        let (ny, nx) = (py.taps.len(), px.taps.len());
                        let count = pz.taps.len() * ny * nx;
                        let phase = |grid: &Grid, c: usize| {
                            let mut p = *grid;
                            for (i, ph) in [pz, py, px].into_iter().enumerate() {
                                p.dims[i + 1] = ph.count;
                                p.strides[i + 1] *= a[i].stride;
                            }
                            p.dims[4] = c;
                            let at = pz.offset * grid.strides[1]
                                + py.offset * grid.strides[2]
                                + px.offset * grid.strides[3];
                            (p, at)
                        };
                        let (go, output) = phase(&t.grid, mg);
                        let residual = t.residual.as_ref().map(|r| phase(&r.1, mg));
                        let mut gi = gx;
                        gi.dims[4] = cg;
                        let axes = [pz.axis, py.axis, px.axis];
                        let grid_r = residual.map(|r| r.0);
                        let act = t.act;
                        let spec =
                            Spec { input: gi, output: go, residual: grid_r, axes, act, elems, quantized };
                        let conv = Conv::new(spec, self.isa, !self.stream);
                        let b = bias.as_ref().map(|b| &b[g * mg..(g + 1) * mg]);
                        let at = |k: usize, i: usize, o: usize| {
                            let z = pz.taps[k / (ny * nx)];
                            let (yy, xx) = (py.taps[k / nx % ny], px.taps[k % nx]);
                            let tap = (z * a[1].kernel + yy) * a[2].kernel + xx;
                            w.get(((g * cg + i) * mg + o) * taps + tap)
                        };
                        let (panels, sizes) = (conv.panels(self.isa), [count, cg, mg]);
                        let weights = match &scale {
                            Some(scale) => {
                                Weights::pack_quantized(panels, sizes, scale, b, &self.spread(), at)
                            }
                            None => Weights::pack(panels, sizes, b, &self.spread(), at),
                        };
                        parts.push(ConvPart {
                            algorithm: Algorithm::Direct(conv, weights),
                            input: g * cg,
                            output: output + g * mg,
                            residual: residual.map_or(0, |r| r.1) + g * mg,
                            depth: [pz.offset, a[0].stride],
                        });
                    }
                }
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
}
