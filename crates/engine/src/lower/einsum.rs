//! Einstein sums as matrix products of permuted views, two operands at a time.

use super::{Lower, R};
use crate::error::LowerError;
use crate::step::Kind;
use ampoule_graph::Node;
use ampoule_graph::op::{einsum_labels, einsum_sizes};
use ampoule_kernels::reduce::Fold;
use ampoule_kernels::{Elem, eltwise};
use ampoule_runtime::View;
use ampoule_runtime::run::loops::Loops;
use ampoule_runtime::run::reduce::{Finish, Reduce};
use ampoule_runtime::view::row_major;

/// A view whose axes have labels, each once.
struct Term {
    view: View,
    labels: Vec<u32>,
}

impl Term {
    /// The axis of `label`.
    fn axis(&self, label: u32) -> Option<usize> {
        self.labels.iter().position(|l| *l == label)
    }

    fn size(&self, label: u32) -> usize {
        self.axis(label).map_or(1, |a| self.view.dims[a])
    }

    /// Takes the diagonal of axes with one label.
    fn diagonal(mut self) -> Self {
        let mut a = 0;
        while a < self.labels.len() {
            if let Some(b) = (a + 1..self.labels.len()).find(|b| self.labels[*b] == self.labels[a]) {
                // An axis of size 1 broadcasts.
                let own = if self.view.dims[a] == 1 { 0 } else { self.view.strides[a] };
                let other = if self.view.dims[b] == 1 { 0 } else { self.view.strides[b] };
                self.view.dims[a] = self.view.dims[a].max(self.view.dims[b]);
                self.view.strides[a] = own + other;
                self.view.dims.remove(b);
                self.view.strides.remove(b);
                self.labels.remove(b);
            } else {
                a += 1;
            }
        }
        self
    }

    /// The view with its axes in the order of `labels`; those that it lacks have size 1.
    fn ordered(&self, labels: &[u32]) -> View {
        let at = |l: &u32| self.axis(*l);
        View {
            dims: labels.iter().map(|l| at(l).map_or(1, |a| self.view.dims[a])).collect(),
            strides: labels.iter().map(|l| at(l).map_or(0, |a| self.view.strides[a])).collect(),
            ..self.view.clone()
        }
    }
}

impl Lower<'_> {
    pub(super) fn einsum(&mut self, n: &Node, equation: &str) -> R<bool> {
        let Some(y) = n.output() else { return Ok(false) };
        let mut views = Vec::new();
        for i in 0..n.inputs.len() {
            views.push(self.input(n, i)?);
        }
        let labels = einsum_labels(equation, &views.iter().map(|v| v.dims.len()).collect::<Vec<_>>())?;
        let dims: Vec<&[usize]> = views.iter().map(|v| v.dims.as_slice()).collect();
        einsum_sizes(&labels, &dims)?;
        let elem = self.elem(y);
        let alike = views.iter().all(|v| v.elem == elem && !v.is_empty());
        if !alike || !matches!(elem, Elem::F32 | Elem::Bf16) {
            return Ok(false);
        }
        let mut terms: Vec<Term> = views
            .into_iter()
            .zip(&labels.inputs)
            .map(|(view, l)| Term { view, labels: l.clone() }.diagonal())
            .collect();
        let Some(mut all) = (!terms.is_empty()).then(|| terms.remove(0)) else { return Ok(false) };
        while !terms.is_empty() {
            let next = terms.remove(0);
            // Labels that something later still has.
            let later = |l: &u32| labels.output.contains(l) || terms.iter().any(|t| t.axis(*l).is_some());
            all = self.contract(n, all, next, &later)?;
        }
        all = self.summed(n, all, &|l| labels.output.contains(l));
        let wanted = self.dims(y)?;
        let mut out = all.ordered(&labels.output);
        if out.dims != wanted {
            out = out.expanded(&wanted);
        }
        self.slices.remove(&y);
        self.set(y, out);
        Ok(true)
    }

    /// Sums over the labels that are not `kept`.
    fn summed(&mut self, n: &Node, t: Term, kept: &dyn Fn(&u32) -> bool) -> Term {
        let over: Vec<usize> = (0..t.labels.len()).filter(|a| !kept(&t.labels[*a])).collect();
        if over.is_empty() {
            return t;
        }
        let mut dims = t.view.dims.clone();
        over.iter().for_each(|a| dims[*a] = 1);
        let out = self.fresh(&dims, row_major(&dims), t.view.elem);
        let plan = Reduce::new(&t.view, &out, Fold::Sum, Finish::Total);
        self.push(n, Kind::Reduce(plan), vec![t.view], vec![out.clone()], 0);
        let mut result = Term { view: out, labels: t.labels };
        for a in over.into_iter().rev() {
            result.view.dims.remove(a);
            result.view.strides.remove(a);
            result.labels.remove(a);
        }
        result
    }

    /// The product of two terms, summed over the labels that both have and nothing `later` needs.
    fn contract(&mut self, n: &Node, a: Term, b: Term, later: &dyn Fn(&u32) -> bool) -> R<Term> {
        let a = self.summed(n, a, &|l| later(l) || b.axis(*l).is_some());
        let b = self.summed(n, b, &|l| later(l) || a.axis(*l).is_some());
        let both: Vec<u32> = a.labels.iter().copied().filter(|l| b.axis(*l).is_some()).collect();
        // A label that one operand broadcasts cannot be multiplied away: its sum belongs to the other one.
        let summed: Vec<u32> =
            both.iter().copied().filter(|l| !later(l) && a.size(*l) == b.size(*l)).collect();
        let batch: Vec<u32> = both.iter().copied().filter(|l| !summed.contains(l)).collect();
        let rows: Vec<u32> = a.labels.iter().copied().filter(|l| !both.contains(l)).collect();
        let columns: Vec<u32> = b.labels.iter().copied().filter(|l| !both.contains(l)).collect();
        let sizes =
            |labels: &[u32]| -> Vec<usize> { labels.iter().map(|l| a.size(*l).max(b.size(*l))).collect() };
        let count = |labels: &[u32]| sizes(labels).iter().product::<usize>();
        let labels = [&batch[..], &rows[..], &columns[..]].concat();
        if summed.is_empty() && count(&rows).min(count(&columns)) == 1 {
            return self.element_wise(n, &a, &b, labels, later);
        }
        let left = self.operand(n, &a, [&batch, &rows, &summed], &sizes(&batch))?;
        let right = self.operand(n, &b, [&batch, &summed, &columns], &sizes(&batch))?;
        let dims = vec![count(&batch), count(&rows), count(&columns)];
        let product = self.multiply(n, left, right, &dims, None)?;
        let view = View { dims: sizes(&labels), strides: row_major(&sizes(&labels)), ..product };
        let product = Term { view, labels };
        Ok(self.summed(n, product, later))
    }

    /// The product of terms without a common sum.
    fn element_wise(
        &mut self,
        n: &Node,
        a: &Term,
        b: &Term,
        labels: Vec<u32>,
        later: &dyn Fn(&u32) -> bool,
    ) -> R<Term> {
        let dims: Vec<usize> = labels.iter().map(|l| a.size(*l).max(b.size(*l))).collect();
        let out = self.fresh(&dims, row_major(&dims), a.view.elem);
        let [x, z] = [a, b].map(|t| t.ordered(&labels).expanded(&dims));
        let loops = Loops::new(&[&x, &z, &out]);
        self.push(n, Kind::Binary(eltwise::Binary::Mul, loops), vec![x, z], vec![out.clone()], 0);
        Ok(self.summed(n, Term { view: out, labels }, later))
    }

    /// A term as `[batch, …, …]` of dense matrices.
    fn operand(&mut self, n: &Node, t: &Term, groups: [&[u32]; 3], batch: &[usize]) -> R<View> {
        let ordered = t.ordered(&groups.concat());
        let mut wide = ordered.dims.clone();
        wide[..batch.len()].copy_from_slice(batch);
        let v = self.dense_rows(n, ordered.expanded(&wide));
        let size = |g: &[u32]| g.iter().map(|l| t.size(*l)).product::<usize>();
        let dims = vec![batch.iter().product(), size(groups[1]), size(groups[2])];
        v.reshaped(&dims).ok_or(LowerError::Layout { value: "an operand", wanted: "dense" })
    }
}
