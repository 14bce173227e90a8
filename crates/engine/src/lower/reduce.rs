//! Reductions, positions of extremes, sorted elements, running sums, logarithms of softmax.

use super::{Lower, R};
use crate::error::LowerError;
use crate::step::{Kind, Scan};
use ampoule_graph::infer::{axes, axis};
use ampoule_graph::op::{Reduction, cumsum_axis};
use ampoule_graph::{Node, Tensor, ValueId};
use ampoule_kernels::reduce::Fold;
use ampoule_kernels::{Elem, eltwise};
use ampoule_runtime::View;
use ampoule_runtime::run::fibres::Fibres;
use ampoule_runtime::run::loops::Loops;
use ampoule_runtime::run::reduce::{Finish, Reduce};
use ampoule_runtime::view::row_major;

/// How a reduction is computed, for values that are floating-point numbers or integers.
fn plan(kind: Reduction, floats: bool) -> Option<(Fold, Finish)> {
    let any = match kind {
        Reduction::Sum => (Fold::Sum, Finish::Total),
        Reduction::Max => (Fold::Max, Finish::Total),
        Reduction::Min => (Fold::Min, Finish::Total),
        Reduction::Prod => (Fold::Product, Finish::Total),
        Reduction::L1 => (Fold::Abs, Finish::Total),
        Reduction::SumSquare => (Fold::Square, Finish::Total),
        // Of integers these are rounded, which the reference does.
        Reduction::Mean if floats => (Fold::Sum, Finish::Mean),
        Reduction::L2 if floats => (Fold::Square, Finish::Root),
        Reduction::LogSum if floats => (Fold::Sum, Finish::Log),
        Reduction::LogSumExp if floats => (Fold::Exp, Finish::LogSumExp),
        Reduction::Mean | Reduction::L2 | Reduction::LogSum | Reduction::LogSumExp => return None,
    };
    Some(any)
}

/// `v` with an axis of size 1 before each axis that `list` names, counted in the result.
pub(super) fn with_axes(v: &View, list: &[usize]) -> View {
    let mut v = v.clone();
    for &a in list {
        v.dims.insert(a, 1);
        v.strides.insert(a, 0);
    }
    v
}

/// Checks that float32 holds every position of an axis.
fn countable(size: usize) -> R<()> {
    match size <= 1 << f32::MANTISSA_DIGITS {
        true => Ok(()),
        false => Err(LowerError::Positions { size }),
    }
}

impl Lower<'_> {
    /// A place for `y`, which has lost axes of `x` or kept them with size 1, that lies as `x` does.
    pub(super) fn place_beside(&mut self, y: ValueId, x: &View) -> R<View> {
        let dims = self.dims(y)?;
        if self.slices.contains_key(&y) || x.grid().is_some_and(|g| g.uniform()) || !x.is_row_major() {
            return Ok(self.place(y, &dims));
        }
        let elem = self.elem(y);
        Ok(self.fresh(&dims, row_major(&dims), elem))
    }

    pub(super) fn reduce(&mut self, n: &Node, kind: Reduction, keep: bool, noop: bool) -> R<bool> {
        let (Some(id), Some(y)) = (n.input(0), n.output()) else { return Ok(false) };
        let list = match n.input(1) {
            None => Vec::new(),
            Some(_) => match self.constant(n, 1).and_then(Tensor::to_i64) {
                Some(v) => v,
                None => return Ok(false),
            },
        };
        let Some((fold, finish)) = plan(kind, self.is_float(id)) else { return Ok(false) };
        let x = self.get(id)?;
        let over = match (list.is_empty(), noop) {
            (true, true) => Vec::new(),
            (true, false) => (0..x.dims.len()).collect(),
            _ => axes(&list, x.dims.len())?,
        };
        if x.is_empty() || !matches!(x.elem, Elem::F32 | Elem::Bf16) {
            return Ok(false);
        }
        let out = self.place_beside(y, &x)?;
        if out.elem != x.elem {
            return Ok(false);
        }
        self.set(y, out.clone());
        let to = if keep { out } else { with_axes(&out, &over) };
        let plan = Reduce::new(&x, &to, fold, finish);
        self.push(n, Kind::Reduce(plan), vec![x], vec![to], 0);
        Ok(true)
    }

    /// `y` as `x` reduced over `over`, which stay with size 1.
    pub(super) fn reduce_axes(
        &mut self,
        n: &Node,
        x: View,
        y: ValueId,
        over: &[usize],
        (fold, finish): (Fold, Finish),
    ) -> R<bool> {
        let out = self.place_beside(y, &x)?;
        if out.elem != x.elem || x.is_empty() || over.is_empty() || !matches!(x.elem, Elem::F32 | Elem::Bf16)
        {
            return Ok(false);
        }
        self.set(y, out.clone());
        let plan = Reduce::new(&x, &out, fold, finish);
        self.push(n, Kind::Reduce(plan), vec![x], vec![out], 0);
        Ok(true)
    }

    /// `x` reduced over one axis, which stays with size 1.
    fn reduced(&mut self, n: &Node, x: &View, a: usize, fold: Fold, finish: Finish) -> View {
        let mut dims = x.dims.clone();
        dims[a] = 1;
        let strides = if x.is_row_major() { row_major(&dims) } else { super::natural(&dims) };
        let out = self.fresh(&dims, strides, x.elem);
        let plan = Reduce::new(x, &out, fold, finish);
        self.push(n, Kind::Reduce(plan), vec![x.clone()], vec![out.clone()], 0);
        out
    }

    /// `to = x - s`, where `s` has a size of 1 along some axes.
    fn less(&mut self, n: &Node, x: View, s: &View, to: &View) {
        let s = s.expanded(&x.dims);
        let loops = Loops::new(&[&x, &s, to]);
        self.push(n, Kind::Binary(eltwise::Binary::Sub, loops), vec![x, s], vec![to.clone()], 0);
    }

    /// `x - max - ln Σ exp(x - max)`: the difference first, so that no digit is lost where values are large.
    pub(super) fn log_softmax(&mut self, n: &Node, a: i64) -> R<bool> {
        let Some(y) = n.output() else { return Ok(false) };
        let x = self.input(n, 0)?;
        let a = axis(a, x.dims.len())?;
        if x.is_empty() || !matches!(x.elem, Elem::F32 | Elem::Bf16) {
            return Ok(false);
        }
        let out = self.place_like(y, &x)?;
        if out.elem != x.elem {
            return Ok(false);
        }
        let top = self.reduced(n, &x, a, Fold::Max, Finish::Total);
        self.less(n, x, &top, &out);
        let total = self.reduced(n, &out, a, Fold::Exp, Finish::Log);
        let own = self.fresh(&out.dims.clone(), out.strides.clone(), out.elem);
        // In place where the planner finds it so; a slice of a concatenation is written once.
        let result = if self.slices.contains_key(&y) { out.clone() } else { own };
        self.less(n, out, &total, &result);
        self.set(y, result);
        Ok(true)
    }

    pub(super) fn extreme(&mut self, n: &Node, max: bool, a: i64, keep: bool, last: bool) -> R<bool> {
        let Some(y) = n.output() else { return Ok(false) };
        let x = self.input(n, 0)?;
        let a = axis(a, x.dims.len())?;
        countable(x.dims[a])?;
        if x.is_empty() {
            return Ok(false);
        }
        let out = self.place_beside(y, &x)?;
        self.set(y, out.clone());
        let to = if keep { out } else { with_axes(&out, &[a]) };
        let fibres = Fibres::new(&[&x, &to], a);
        self.push(n, Kind::Scan(Scan::Extreme { max, last }, fibres), vec![x], vec![to], 0);
        Ok(true)
    }

    pub(super) fn top(&mut self, n: &Node, a: i64, largest: bool) -> R<bool> {
        let Some([k]) =
            self.constant(n, 1).and_then(Tensor::to_i64).and_then(|v| <[i64; 1]>::try_from(v).ok())
        else {
            return Ok(false);
        };
        let x = self.input(n, 0)?;
        let a = axis(a, x.dims.len())?;
        countable(x.dims[a])?;
        let Some(k) = usize::try_from(k).ok().filter(|k| *k <= x.dims[a]) else { return Ok(false) };
        let mut dims = x.dims.clone();
        dims[a] = k;
        let mut views = Vec::new();
        for i in 0..2 {
            let id = n.outputs.get(i).copied().flatten();
            let elem = if i == 0 { x.elem } else { Elem::F32 };
            let v = match id {
                Some(id) if self.elem(id) == elem => {
                    let v = self.place(id, &dims);
                    self.set(id, v.clone());
                    v
                }
                Some(_) => return Ok(false),
                // Nobody reads it, but it is computed all the same.
                None => self.fresh(&dims, super::natural(&dims), elem),
            };
            views.push(v);
        }
        if x.is_empty() || k == 0 {
            return Ok(true);
        }
        let fibres = Fibres::new(&[&x, &views[0], &views[1]], a);
        self.push(n, Kind::Scan(Scan::Top { k, largest }, fibres), vec![x], views, 0);
        Ok(true)
    }

    pub(super) fn cumsum(&mut self, n: &Node, exclusive: bool, reverse: bool) -> R<bool> {
        let (Some(y), Some(at)) = (n.output(), self.constant(n, 1).and_then(Tensor::to_i64)) else {
            return Ok(false);
        };
        let x = self.input(n, 0)?;
        let a = cumsum_axis(&at, x.dims.len())?;
        let out = self.place_like(y, &x)?;
        if out.elem != x.elem {
            return Ok(false);
        }
        self.set(y, out.clone());
        let fibres = Fibres::new(&[&x, &out], a);
        self.push(n, Kind::Scan(Scan::Sum { exclusive, reverse }, fibres), vec![x], vec![out], 0);
        Ok(true)
    }
}
