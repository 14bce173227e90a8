//! Normalisation, scaling of channels, softmax.

use super::fuse::Residual;
use super::quantized::Quantization;
use super::{Lower, OUTPUT, R};
use crate::error::LowerError;
use crate::step::{Kind, Norm, Quantized};
use ampoule_graph::infer::axis;
use ampoule_graph::passes::missed::{Matched, Miss, Near, Part, Pattern, Reason};
use ampoule_graph::{Node, ValueId};
use ampoule_kernels::Elem;
use ampoule_runtime::View;

impl Lower<'_> {
    /// `x · s` where `s` has one value per channel, as squeeze-and-excitation has.
    pub(super) fn scale(&mut self, n: &Node, x: ValueId, s: ValueId, y: ValueId) -> R<bool> {
        let dims = self.dims(y)?;
        let (vx, vs) = (self.get(x)?, self.get(s)?);
        if !(3..=5).contains(&dims.len()) || vs.dims.len() != dims.len() || vx.dims != dims {
            return Ok(false);
        }
        let channels = dims[1];
        let factors = vs.dims != dims
            && (vs.dims[0] == 1 || vs.dims[0] == dims[0])
            && vs.dims[1] == channels
            && vs.dims[2..].iter().all(|&d| d == 1)
            && (channels == 1 || vs.strides[1] == 1);
        if !factors || !vx.grid().is_some_and(|g| g.uniform()) {
            return Ok(false);
        }
        let alike = vx.elem == vs.elem && matches!(vx.elem, Elem::F32 | Elem::Bf16);
        if !alike {
            return Ok(false);
        }
        let (id, quantization) = self.fuse_quantizer(y)?;
        let out = self.place_image(id, &dims);
        if !out.grid().is_some_and(|g| g.uniform()) {
            return Err(LowerError::Layout { value: "the output", wanted: "evenly spaced" });
        }
        self.set(id, out.clone());
        let quantization = quantization.map_or([1.0, 0.0], Quantization::quantize);
        self.push(n, Kind::Scale(quantization), vec![vx, vs], vec![out], 0);
        Ok(true)
    }

    pub(super) fn batch_norm(&mut self, n: &Node, epsilon: f32) -> R<bool> {
        let p: Option<Vec<Vec<f32>>> = (1..5).map(|i| self.floats(n, i)).collect();
        let Some(p) = p else { return Ok(self.computed_norm(n)) };
        let gamma: Vec<f32> = (0..p[0].len())
            .map(|c| (p[0][c] as f64 / (p[3][c] as f64 + epsilon as f64).sqrt()) as f32)
            .collect();
        let beta =
            (0..gamma.len()).map(|c| (p[1][c] as f64 - p[2][c] as f64 * gamma[c] as f64) as f32).collect();
        self.norm(n, gamma, beta, None, epsilon)
    }

    pub(super) fn instance_norm(&mut self, n: &Node, group: usize, epsilon: f32) -> R<bool> {
        let (Some(gamma), Some(beta)) = (self.floats(n, 1), self.floats(n, 2)) else {
            return Ok(self.computed_norm(n));
        };
        self.norm(n, gamma, beta, Some(group), epsilon)
    }

    /// Notes which parameter of a normalisation is not constant; no step does it.
    fn computed_norm(&mut self, n: &Node) -> bool {
        let parts = [Part::Scale, Part::Shift, Part::Mean, Part::Variance];
        let computed = parts.iter().enumerate().find(|(k, _)| self.floats(n, k + 1).is_none());
        let part = computed.map_or(Part::Scale, |(_, part)| *part);
        self.miss(n, Pattern::Norm, Miss::Because(Reason::NotConstant(part)));
        false
    }

    fn norm(
        &mut self,
        n: &Node,
        gamma: Vec<f32>,
        beta: Vec<f32>,
        group: Option<usize>,
        epsilon: f32,
    ) -> R<bool> {
        let Some(y) = n.output() else { return Ok(false) };
        let x = self.input(n, 0)?;
        if !(2..=5).contains(&x.dims.len()) {
            return Ok(false);
        }
        let (x, _) = self.channels_last(n, x)?;
        let exact = n.input(0).and_then(|x| self.exact.remove(&x));
        let (id, residual, act) = self.fuse(y, Residual::Quantized)?;
        let (id, quantization) = self.fuse_quantizer(id)?;
        let dims = self.dims(id)?;
        let out = self.place_image(id, &dims);
        if !out.grid().is_some_and(|g| g.uniform()) {
            return Err(LowerError::Layout { value: "the output", wanted: "evenly spaced" });
        }
        self.set(id, out.clone());
        let mut reads = vec![x];
        let map = residual.as_ref().map_or([1.0, 0.0], |r| r.1);
        reads.extend(residual.map(|r| r.0));
        let sums = group.and_then(|_| self.sums_of(&reads[0]));
        if exact.is_some() && sums.is_none() {
            return Err(LowerError::Internal("integer sums that nobody adds up"));
        }
        let output = quantization.map_or([1.0, 0.0], Quantization::quantize);
        let quantized = Quantized { residual: map, output, exact };
        self.push(
            n,
            Kind::Norm(Norm { quantized, gamma, beta, group, epsilon, act, sums }),
            reads,
            vec![out],
            0,
        );
        Ok(true)
    }

    pub(super) fn layer_norm(&mut self, n: &Node, a: i64, epsilon: f32) -> R<bool> {
        let Some(y) = n.output() else { return Ok(false) };
        let x = self.input_rows(n, 0)?;
        let size: usize = x.dims[axis(a, x.dims.len())?..].iter().product();
        let (scale, shift) = match self.row_parameters(n, size) {
            Ok(found) => found,
            Err(miss) => {
                self.miss(n, Pattern::Norm, miss);
                return Ok(false);
            }
        };
        self.slices.remove(&y);
        let out = self.fresh(&x.dims.clone(), x.strides.clone(), x.elem);
        self.set(y, out.clone());
        self.push(n, Kind::LayerNorm { scale, shift, epsilon, centred: true }, vec![x], vec![out], 0);
        Ok(true)
    }

    /// Factors and summands of a normalisation of rows of `size` values.
    fn row_parameters(&self, n: &Node, size: usize) -> Matched<(Vec<f32>, Vec<f32>)> {
        (size > 0).because(Reason::Shape(Part::Input))?;
        (n.outputs.iter().flatten().count() == 1).because(Reason::Outputs)?;
        let list = |k: usize, part: Part| {
            let list = self.floats(n, k).because(Reason::NotConstant(part))?;
            Some(list).filter(|s| s.len() == size).because(Reason::Shape(part))
        };
        let shift = if n.input(2).is_some() { list(2, Part::Shift)? } else { vec![0.0; size] };
        Ok((list(1, Part::Scale)?, shift))
    }

    /// Makes the convolution that wrote the whole of `x` add up its outputs, if one did.
    fn sums_of(&mut self, x: &View) -> Option<usize> {
        let step = self.out.steps.iter_mut().rev().find(|s| s.writes.iter().any(|w| w.home == x.home))?;
        let Kind::Conv(c) = &mut step.kind else { return None };
        let [part] = c.parts.list() else { return None };
        // Sums are taken before a function is applied to what was stored.
        if step.writes[0] != *x || x.dims[0] != 1 || c.post.is_some() || !part.algorithm.sums() {
            return None;
        }
        let sums = *c.sums.get_or_insert(self.out.sums);
        self.out.sums = self.out.sums.max(sums + 1);
        Some(sums)
    }

    pub(super) fn softmax(&mut self, n: &Node, a: i64) -> R<bool> {
        let Some(y) = n.output() else { return Ok(false) };
        let x = self.input(n, 0)?;
        let rank = x.dims.len();
        let a = axis(a, rank)?;
        let size = x.dims[a];
        if let (Some(g), true, true) = (x.grid().filter(|g| g.uniform()), a == 1, rank >= 3) {
            let dims = self.dims(y)?;
            let out = self.place_image(y, &dims);
            self.set(y, out.clone());
            let to = out.grid().filter(|g| g.uniform()).ok_or(OUTPUT)?;
            let kind = Kind::Softmax { rows: g.pixels(), n: size, from: g.pixel(), to: to.pixel() };
            self.push(n, kind, vec![x], vec![out], 0);
            return Ok(true);
        }
        // Any other axis: bring it to the end, work on dense rows, and view the result back.
        let mut perm: Vec<usize> = (0..rank).filter(|&i| i != a).collect();
        perm.push(a);
        let moved = self.dense_rows(n, x.permuted(&perm));
        let out = self.fresh(&moved.dims.clone(), moved.strides.clone(), moved.elem);
        let mut back = vec![0; rank];
        for (i, &p) in perm.iter().enumerate() {
            back[p] = i;
        }
        self.set(y, out.permuted(&back));
        let rows = moved.len() / size.max(1);
        self.push(n, Kind::Softmax { rows, n: size, from: size, to: size }, vec![moved], vec![out], 0);
        Ok(true)
    }
}
