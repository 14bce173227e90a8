//! Concatenation, padding and casts.

use super::{Lower, R};
use crate::step::{Kind, table};
use ampoule_graph::infer::{axis, pad_plan};
use ampoule_graph::op::{PadMode, pad_source};
use ampoule_graph::{DType, Node, Tensor};
use ampoule_runtime::View;
use ampoule_runtime::run::take::Take;

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
        let x = self.ascending(n, x);
        let plan = pad_plan(x.dims.len(), &pads, list.as_deref())?;
        // Filling a slice of a concatenation would overwrite its neighbours: every element is written once.
        let dims = self.dims(y)?;
        let out = self.place(y, &dims);
        if out.elem != x.elem || x.is_empty() {
            return Ok(false);
        }
        self.set(y, out.clone());
        let mut from = Vec::new();
        for (i, p) in plan.iter().enumerate() {
            let source = |k: usize| pad_source(mode, k as i64 - p.0, x.dims[i]);
            if mode != PadMode::Constant && (0..dims[i]).any(|k| source(k).is_none()) {
                return Ok(false);
            }
            let along = table(x.strides[i], (0..dims[i]).map(source));
            from.push(along);
        }
        let plan = Take::new(&out, from, value);
        self.push(n, Kind::Take(plan), vec![x], vec![out], 0);
        Ok(true)
    }

    /// Between wide floating-point types a cast is a view: everything is computed in float32.
    pub(super) fn cast(&mut self, n: &Node, to: DType) -> R<bool> {
        let (Some(x), Some(y)) = (n.input(0), n.output()) else { return Ok(false) };
        let from = self.graph.value(x).dtype.unwrap_or(DType::F32);
        let floats = matches!(to, DType::F32 | DType::F64) && self.is_float(x);
        if !floats && !Self::carried_alike(from, to) {
            return self.function(n);
        }
        let mut v = self.get(x)?;
        self.slices.remove(&y);
        if v.elem != self.elem(y) && !floats {
            v = self.stored_as(n, v, self.elem(y));
        }
        self.set(y, v);
        Ok(true)
    }

    /// `v`, copied where it runs backwards along an axis.
    pub(super) fn ascending(&mut self, n: &Node, v: View) -> View {
        if v.strides.iter().all(|s| *s >= 0) {
            return v;
        }
        let elem = v.elem;
        self.stored_as(n, v, elem)
    }
}
