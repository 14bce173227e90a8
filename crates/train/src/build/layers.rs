//! Normalisation, sums, pooling and changes of shape.

use super::{Building, R};
use crate::error::LayerError;
use crate::layer::join::Sum;
use crate::layer::norm::{Kind, Norm};
use crate::layer::product::Product;
use crate::layer::reshape::Flatten;
use crate::layer::sample::{Sample, mean};
use crate::layer::{Dims, len};
use crate::param::{ParamId, Role};
use ampoule_graph::op::{Binary, Pool, Resolved};
use ampoule_graph::{Node, Op, ValueId};
use ampoule_kernels::grad::Curve;

impl Building<'_> {
    pub(super) fn norm(
        &mut self,
        n: &Node,
        y: ValueId,
        x: usize,
        kind: Kind,
        affine: [ParamId; 2],
        epsilon: f32,
    ) -> R<()> {
        let dims = self.values[x];
        let (y, curve) = self.curve_after(y);
        let layer = Norm::new(dims, kind, Some(affine), epsilon, curve);
        self.add(n, Box::new(layer), vec![x], dims, y, true);
        Ok(())
    }

    pub(super) fn sum(&mut self, n: &Node, y: ValueId, inputs: Vec<usize>) -> R<()> {
        let dims = self.dims(y)?;
        if inputs.iter().any(|&v| self.values[v] != dims) {
            return Err(LayerError::Form { supported: "a sum of values of one size" });
        }
        self.add(n, Box::new(Sum { dims }), inputs, dims, y, false);
        Ok(())
    }

    pub(super) fn binary(&mut self, n: &Node, y: ValueId, op: Binary) -> R<()> {
        let constant = |k: usize| n.input(k).filter(|v| self.graph.constants.contains_key(v));
        let dims = self.dims(y)?;
        let ranks = [0, 1].map(|k| n.input(k).and_then(|v| self.graph.value(v).shape.as_ref()).map(Vec::len));
        let images = self.sizes(y)?.len();
        if !matches!(op, Binary::Add | Binary::Mul) || !(2..=5).contains(&images) {
            return self.pairwise(n, y, op);
        }
        let side = match (constant(0), constant(1)) {
            (None, None) if ranks != [Some(images); 2] => return self.pairwise(n, y, op),
            (None, None) => {
                let inputs = vec![self.input(n, 0)?, self.input(n, 1)?];
                if op == Binary::Add {
                    let same = inputs.iter().all(|&v| self.values[v] == dims);
                    return if same { self.sum(n, y, inputs) } else { self.pairwise(n, y, op) };
                }
                let sides = [0, 1].map(|k| self.values[inputs[k]]);
                self.add(n, Box::new(Product { dims, sides }), inputs, dims, y, false);
                return Ok(());
            }
            (Some(_), Some(_)) => return Err(LayerError::Form { supported: "one constant operand" }),
            (a, b) => usize::from(a.is_none() && b.is_some()),
        };
        // One number for each channel, or for all.
        let v = n.input(side).ok_or(LayerError::MissingInput { index: 0 })?;
        let t = self.graph.constants.get(&v).ok_or(LayerError::Computed { what: "operands" })?;
        let rank = self.graph.value(y).shape.as_ref().map_or(0, Vec::len);
        let td = t.dims();
        let per_channel = t.len() == 1
            || (t.len() == dims[4] && td.iter().rev().position(|&d| d != 1) == Some(rank.saturating_sub(2)));
        let x = self.input(n, 1 - side)?;
        if !per_channel || self.values[x] != dims {
            return self.pairwise(n, y, op);
        }
        let own = self.param(Some(v), Role::Affine)?;
        let neutral = if op == Binary::Add { 1.0 } else { 0.0 };
        let other = self.params.fixed(neutral);
        let affine = if op == Binary::Add { [other, own] } else { [own, other] };
        self.norm(n, y, x, Kind::Affine, affine, 0.0)
    }

    pub(super) fn pool(&mut self, n: &Node, y: ValueId, p: &Pool) -> R<(usize, Dims, Resolved)> {
        let r = p.window.resolve(&self.spatial(n)?, &[], p.ceil_mode)?;
        Ok((self.input(n, 0)?, self.dims(y)?, r))
    }

    pub(super) fn average(&mut self, n: &Node, y: ValueId) -> R<()> {
        let x = self.input(n, 0)?;
        let (from, dims) = (self.values[x], self.dims(y)?);
        let samples = [1, 2, 3].map(|k| mean(from[k]));
        let pooled = [from[0], 1, 1, 1, from[4]];
        if len(&pooled) != len(&dims) {
            return Err(LayerError::Form { supported: "one value for each channel" });
        }
        self.add(n, Box::new(Sample::new(from, pooled, samples)), vec![x], pooled, y, false);
        Ok(())
    }

    /// Group normalisation as exporters spell it: groups become channels of an instance normalisation
    /// without parameters, and are taken apart again.
    pub(super) fn grouped(&mut self, n: &Node, y: ValueId) -> R<bool> {
        let only = |v: ValueId| match self.readers[v.0][..] {
            [r] if self.uses[v.0] == 1 => Some(r),
            _ => None,
        };
        let Some(norm) = only(y) else { return Ok(false) };
        let node = &self.graph.nodes[norm];
        let (Op::InstanceNorm { epsilon }, Some(z)) = (&node.op, node.output()) else { return Ok(false) };
        let all = |k: usize, v: f32| self.floats(node.input(k)).is_some_and(|t| t.iter().all(|x| *x == v));
        let Some(back) = only(z).filter(|_| all(1, 1.0) && all(2, 0.0)) else { return Ok(false) };
        let after = &self.graph.nodes[back];
        let (Op::Reshape { .. }, Some(out)) = (&after.op, after.output()) else { return Ok(false) };
        let x = n.input(0).ok_or(LayerError::MissingInput { index: 0 })?;
        if self.graph.value(x).dims() != self.graph.value(out).dims() {
            return Ok(false);
        }
        let groups = self.graph.value(y).dims().and_then(|d| d.get(1).copied());
        let x = self.input(n, 0)?;
        let dims = self.values[x];
        let Some(groups) = groups.filter(|g| *g > 0 && dims[4].is_multiple_of(*g)) else { return Ok(false) };
        let layer = Norm::new(dims, Kind::Groups(groups), None, *epsilon, Curve::None);
        self.fused[norm] = true;
        self.fused[back] = true;
        self.add(n, Box::new(layer), vec![x], dims, out, false);
        Ok(true)
    }

    /// A change of shape that leaves rows of values.
    pub(super) fn reshape(&mut self, n: &Node, y: ValueId) -> R<()> {
        let x = self.input(n, 0)?;
        let (from, to) = (self.values[x], self.dims(y)?);
        let v = n.input(0).ok_or(LayerError::MissingInput { index: 0 })?;
        if self.sizes(v)?.len().max(self.sizes(y)?.len()) > 5 {
            return self.relocate(n);
        }
        if from == to {
            self.at.insert(y, x);
            return Ok(());
        }
        if from[0] != to[0] || to[1..4] != [1, 1, 1] || len(&from) != len(&to) || self.sizes(y)?.len() != 2 {
            return self.relocate(n);
        }
        // With one pixel the order is the same.
        self.add(n, Box::new(Flatten { dims: from }), vec![x], to, y, false);
        Ok(())
    }
}
