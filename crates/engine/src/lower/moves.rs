//! Concatenation, padding and casts.

use super::{Lower, R};
use crate::step::Kind;
use ampoule_graph::infer::{axis, pad_plan};
use ampoule_graph::op::PadMode;
use ampoule_graph::{DType, Node, Tensor};

impl Lower<'_> {
    pub(super) fn concat(&mut self, n: &Node, a: i64) -> R<bool> {
        let Some(y) = n.output() else { return Ok(false) };
        let dims = self.dims(y)?;
        let a = axis(a, dims.len())?;
        let out = match &self.views[y.0] {
            Some(v) => v.clone(),
            None => self.place(y, &dims),
        };
        self.set(y, out.clone());
        let mut start = 0;
        for i in 0..n.inputs.len() {
            let x = self.input(n, i)?;
            let mut plan: Vec<(usize, usize, i64)> = dims.iter().map(|&d| (0, d, 1)).collect();
            plan[a] = (start, x.dims[a], 1);
            start += x.dims[a];
            let part = out.sliced(&plan);
            // Written there already by the step that computed it.
            if part != x && !part.is_empty() {
                self.copy(n, x, part);
            }
        }
        Ok(true)
    }

    pub(super) fn pad(&mut self, n: &Node, mode: PadMode) -> R<bool> {
        let (Some(y), Some(pads)) = (n.output(), self.constant(n, 1).and_then(Tensor::to_i64)) else {
            return Ok(false);
        };
        let value = match n.input(2) {
            None => 0.0,
            Some(_) => match self.constant(n, 2).and_then(Tensor::to_f32) {
                Some(v) if v.len() == 1 => v[0],
                _ => return Ok(false),
            },
        };
        let list = match n.input(3) {
            None => None,
            Some(_) => match self.constant(n, 3).and_then(Tensor::to_i64) {
                Some(v) => Some(v),
                None => return Ok(false),
            },
        };
        let x = self.input(n, 0)?;
        let plan = pad_plan(x.dims.len(), &pads, list.as_deref())?;
        if mode != PadMode::Constant || plan.iter().any(|p| p.0 < 0 || p.1 < 0) {
            return Ok(false);
        }
        // Filling a slice of a concatenation would overwrite its neighbours.
        self.slices.remove(&y);
        let dims = self.dims(y)?;
        let out = self.place(y, &dims);
        self.set(y, out.clone());
        self.push(n, Kind::Fill(value), vec![], vec![out.clone()], 0);
        let inner: Vec<(usize, usize, i64)> =
            plan.iter().zip(&x.dims).map(|(p, &d)| (p.0 as usize, d, 1)).collect();
        self.copy(n, x, out.sliced(&inner));
        Ok(true)
    }

    /// Between wide floating-point types a cast is a view: everything is computed in float32.
    pub(super) fn cast(&mut self, n: &Node, to: DType) -> R<bool> {
        let (Some(x), Some(y)) = (n.input(0), n.output()) else { return Ok(false) };
        if !matches!(to, DType::F32 | DType::F64) || !self.is_float(x) {
            return Ok(false);
        }
        let v = self.get(x)?;
        self.slices.remove(&y);
        self.set(y, v);
        Ok(true)
    }
}
