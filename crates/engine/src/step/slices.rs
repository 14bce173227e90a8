//! Running a step on some of its output slices, for networks that stream along depth.

use super::{Absorbed, Context, Kind, Norm, Step, grid};
use crate::error::StepError;
use ampoule_kernels::conv::Axis;
use ampoule_runtime::View;
use ampoule_runtime::run::loops::Loops;
use ampoule_runtime::run::{depthwise, sampling};
use std::ops::Range;

/// The axis along which values of rank 5 are streamed.
pub(crate) const DEPTH: usize = 2;

/// Slices `z` of a view.
fn slices(v: &View, z: &Range<usize>) -> View {
    let mut plan: Vec<(usize, usize, i64)> = v.dims.iter().map(|&d| (0, d, 1)).collect();
    plan[DEPTH] = (z.start, z.len(), 1);
    v.sliced(&plan)
}

impl Step {
    /// Whether the step can compute some slices of its output from some slices of its inputs.
    pub fn sliced(&self) -> bool {
        let deep = |v: &View| v.dims.len() == 5 && v.dims[0] == 1;
        if self.writes.len() != 1 || !self.writes.iter().chain(&self.reads).all(deep) {
            return false;
        }
        let depth = self.writes[0].dims[DEPTH];
        match &self.kind {
            Kind::Conv(c) => c.sliced(depth),
            Kind::Norm(_) | Kind::Depthwise { .. } | Kind::Pool(_) | Kind::Resize(_) => true,
            Kind::Unary(..) | Kind::Table(..) | Kind::Binary(..) | Kind::Chain(..) => true,
            Kind::Copy(_) | Kind::Map(..) => true,
            Kind::Softmax { .. } => self.reads[0].grid().is_some_and(|g| g.uniform()),
            Kind::Separable(_)
            | Kind::LayerNorm { .. }
            | Kind::Scale(_)
            | Kind::GlobalAverage
            | Kind::Fill(_) => false,
            Kind::MatMul(_) | Kind::Attention(_) | Kind::Reduce(_) | Kind::Take(_) => false,
            Kind::Scan(..) | Kind::Indexed(_) => false,
            Kind::GridSample(_) | Kind::Recurrent(..) | Kind::Reference { .. } => false,
        }
    }

    /// The normalisation whose statistics are those of the whole first input.
    fn statistics(&self) -> Option<&Norm> {
        let norm = match &self.kind {
            Kind::Conv(c) => match c.prologue.as_ref()? {
                Absorbed::Norm(n) => n,
                Absorbed::Factors => return None,
            },
            Kind::Norm(n) => n,
            Kind::Depthwise { .. } | Kind::Separable(_) | Kind::Pool(_) => return None,
            Kind::LayerNorm { .. } | Kind::Scale(_) => return None,
            Kind::GlobalAverage | Kind::Unary(..) | Kind::Table(..) | Kind::Binary(..) => return None,
            Kind::Chain(..) | Kind::Copy(_) | Kind::Fill(_) => return None,
            Kind::Softmax { .. } | Kind::Resize(_) => return None,
            Kind::MatMul(_) | Kind::Attention(_) | Kind::Reduce(_) | Kind::Map(..) | Kind::Take(_) => {
                return None;
            }
            Kind::Scan(..) => return None,
            Kind::Indexed(_) | Kind::GridSample(_) | Kind::Recurrent(..) | Kind::Reference { .. } => {
                return None;
            }
        };
        norm.group.is_some().then_some(norm)
    }

    /// Whether no output slice can be computed before the first input is whole.
    pub fn waits(&self) -> bool {
        self.statistics().is_some()
    }

    /// Slices of input `read` that output slices `z` need.
    pub fn receptive_field(&self, read: usize, z: Range<usize>) -> Range<usize> {
        let size = self.reads[read].dims[DEPTH];
        let main = read == 0;
        let along = |a: &Axis| a.receptive_field(z.clone(), size);
        // Statistics that nobody has added up before are taken from the whole input every time.
        if main && self.statistics().is_some_and(|n| n.sums.is_none()) {
            return 0..size;
        }
        match &self.kind {
            Kind::Conv(c) if main => c.parts.receptive_field(&z),
            Kind::Depthwise { plan, .. } if main => along(&plan.axes[0]),
            Kind::Pool(plan) if main => along(&plan.axes[0]),
            Kind::Resize(plan) if main => sampling::sampled(&plan.axes[0], &z),
            _ if size == 1 => 0..1,
            _ => z,
        }
    }

    /// Computes output slices `z`; only the slices that [`Step::receptive_field`] names need be there.
    pub fn run_slices(&self, cx: &Context, z: Range<usize>) -> Result<(), StepError> {
        match &self.kind {
            Kind::Conv(c) => c.run_slices(self, cx, z)?,
            Kind::Depthwise { plan, filters, post } => {
                depthwise::run(cx.cpu, plan, filters, *post, Some(z), cx.places(self));
            }
            Kind::Pool(plan) => {
                let (x, y) = (cx.area(&self.reads[0]), cx.area(&self.writes[0]));
                sampling::pool(cx.cpu, plan, Some(z), x, y);
            }
            Kind::Resize(plan) => {
                let (x, y) = (cx.area(&self.reads[0]), cx.area(&self.writes[0]));
                sampling::resize(cx.cpu, plan, Some(z), x, y);
            }
            Kind::Norm(n) if n.group.is_some() => {
                let (gamma, beta) = self.affine(cx, n, &grid(&self.reads[0])?, 0);
                let affine = Norm { gamma, beta, group: None, sums: None, ..n.clone() };
                self.part(Kind::Norm(affine), &z).run(cx)?;
            }
            kind => self.part(self.kind_of_slices(kind, &z)?, &z).run(cx)?,
        }
        Ok(())
    }

    /// The view restricted to slices `z`, unless it has one slice for all.
    fn restricted(v: &View, z: &Range<usize>) -> View {
        if v.dims[DEPTH] == 1 { v.clone() } else { slices(v, z) }
    }

    /// `kind` for slices `z`, for kinds that only follow views.
    fn kind_of_slices(&self, kind: &Kind, z: &Range<usize>) -> Result<Kind, StepError> {
        let views: Vec<View> =
            self.reads.iter().chain(&self.writes).map(|v| Self::restricted(v, z)).collect();
        let loops = || Loops::new(&views.iter().collect::<Vec<_>>());
        Ok(match kind {
            Kind::Unary(f, _) => Kind::Unary(*f, loops()),
            Kind::Table(t, _) => Kind::Table(t.clone(), loops()),
            Kind::Binary(f, _) => Kind::Binary(*f, loops()),
            Kind::Chain(calls, _) => Kind::Chain(calls.clone(), loops()),
            Kind::Copy(_) => Kind::Copy(loops()),
            Kind::Map(f, _) => Kind::Map(f.clone(), loops()),
            Kind::Norm(n) => Kind::Norm(n.clone()),
            Kind::Softmax { n, from, to, .. } => {
                let rows = views[0].len() / (*n).max(1);
                Kind::Softmax { rows, n: *n, from: *from, to: *to }
            }
            Kind::Conv(_)
            | Kind::Depthwise { .. }
            | Kind::Separable(_)
            | Kind::LayerNorm { .. }
            | Kind::Scale(_)
            | Kind::Pool(_)
            | Kind::GlobalAverage
            | Kind::Fill(_)
            | Kind::Resize(_)
            | Kind::MatMul(_)
            | Kind::Attention(_)
            | Kind::Reduce(_)
            | Kind::Take(_)
            | Kind::Scan(..)
            | Kind::Indexed(_)
            | Kind::GridSample(_)
            | Kind::Recurrent(..)
            | Kind::Reference { .. } => return Err(StepError::NotSliced),
        })
    }

    /// The step restricted to slices `z`.
    fn part(&self, kind: Kind, z: &Range<usize>) -> Step {
        let part = |v: &View| Self::restricted(v, z);
        Step {
            node: self.node.clone(),
            op: self.op.clone(),
            kind,
            reads: self.reads.iter().map(part).collect(),
            writes: self.writes.iter().map(part).collect(),
            in_place: self.in_place,
            macs: 0,
            scratch: None,
            rounds: None,
        }
    }
}
