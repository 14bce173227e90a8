//! Running a step on some of its output slices, for networks that stream along depth.

use super::{Context, Kind, Loops, Norm, Step, grid};
use ampoule_kernels::conv::Axis;
use ampoule_runtime::view::View;
use std::ops::Range;

/// The axis along which values of rank 5 are streamed.
pub(crate) const DEPTH: usize = 2;

/// Slices `z` of a view.
fn cut(v: &View, z: &Range<usize>) -> View {
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
            Kind::Unary(..) | Kind::Table(..) | Kind::Binary(..) | Kind::Copy(_) => true,
            Kind::Softmax { .. } => self.reads[0].grid().is_some_and(|g| g.uniform()),
            _ => false,
        }
    }

    /// The normalisation whose statistics are those of the whole first input.
    fn statistics(&self) -> Option<&Norm> {
        let norm = match &self.kind {
            Kind::Conv(c) => c.prologue.as_ref()?,
            Kind::Norm(n) => n,
            _ => return None,
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
            Kind::Conv(c) if main => c.receptive_field(z),
            Kind::Depthwise { plan, .. } if main => along(&plan.axes[0]),
            Kind::Pool(plan) if main => along(&plan.axes[0]),
            Kind::Resize(plan) if main => {
                let axis = &plan.axes[0];
                let at = &axis.at[z.start * axis.width..z.end * axis.width];
                match (at.iter().min(), at.iter().max()) {
                    (Some(&a), Some(&b)) => a..b + 1,
                    _ => 0..0,
                }
            }
            _ if size == 1 => 0..1,
            _ => z,
        }
    }

    /// Computes output slices `z`.
    ///
    /// # Safety
    /// As for [`Step::run`], but only the slices that [`Step::receptive_field`] names need be readable.
    pub unsafe fn run_slices(&self, cx: &Context, z: Range<usize>) -> Result<(), String> {
        let rows = |height: usize| z.start * height..z.end * height;
        let isa = cx.isa;
        match &self.kind {
            // SAFETY: passed on from the caller.
            Kind::Conv(c) => unsafe { c.run_slices(self, cx, z)? },
            Kind::Depthwise { plan, .. } => {
                let items = rows(plan.items() / plan.output.dims[1].max(1));
                // SAFETY: passed on from the caller.
                cx.pool.run(items.len(), &|i, _| unsafe { self.depthwise(cx, items.start + i) });
            }
            Kind::Pool(plan) => {
                let (p, items) = (cx.pointers(self), rows(plan.output.dims[2]));
                // SAFETY: passed on from the caller.
                cx.pool.run(items.len(), &|i, _| unsafe { plan.run(isa, items.start + i, p) });
            }
            Kind::Resize(plan) => {
                let (p, items) = (cx.pointers(self), rows(plan.output.dims[2]));
                cx.pool.run(items.len(), &|i, _| {
                    let mut line = vec![0.0; plan.scratch()];
                    // SAFETY: passed on from the caller.
                    unsafe { plan.run(isa, items.start + i, p, &mut line) };
                });
            }
            Kind::Norm(n) if n.group.is_some() => {
                // SAFETY: passed on from the caller.
                let (gamma, beta) = unsafe { self.affine_of(cx, n, &grid(&self.reads[0])?) };
                let affine = Norm { gamma, beta, group: None, sums: None, ..n.clone() };
                // SAFETY: passed on from the caller.
                unsafe { self.part(Kind::Norm(affine), &z).run(cx)? };
            }
            // SAFETY: passed on from the caller.
            kind => unsafe { self.part(self.narrowed(kind, &z)?, &z).run(cx)? },
        }
        Ok(())
    }

    /// The view restricted to slices `z`, unless it has one slice for all.
    fn narrow(v: &View, z: &Range<usize>) -> View {
        if v.dims[DEPTH] == 1 { v.clone() } else { cut(v, z) }
    }

    /// `kind` for slices `z`, for kinds that only follow views.
    fn narrowed(&self, kind: &Kind, z: &Range<usize>) -> Result<Kind, String> {
        let views: Vec<View> = self.reads.iter().chain(&self.writes).map(|v| Self::narrow(v, z)).collect();
        let loops = || Loops::new(&views.iter().collect::<Vec<_>>());
        Ok(match kind {
            Kind::Unary(f, _) => Kind::Unary(*f, loops()),
            Kind::Table(t, _) => Kind::Table(t.clone(), loops()),
            Kind::Binary(f, _) => Kind::Binary(*f, loops()),
            Kind::Copy(_) => Kind::Copy(loops()),
            Kind::Norm(n) => Kind::Norm(n.clone()),
            Kind::Softmax { n, from, to, .. } => {
                let rows = views[0].len() / (*n).max(1);
                Kind::Softmax { rows, n: *n, from: *from, to: *to }
            }
            _ => return Err(format!("{} cannot run slice by slice", self.op)),
        })
    }

    /// The step restricted to slices `z`.
    fn part(&self, kind: Kind, z: &Range<usize>) -> Step {
        let narrow = |v: &View| Self::narrow(v, z);
        Step {
            node: self.node.clone(),
            op: self.op.clone(),
            kind,
            reads: self.reads.iter().map(narrow).collect(),
            writes: self.writes.iter().map(narrow).collect(),
            in_place: self.in_place,
            macs: 0,
            scratch: None,
            rounds: None,
        }
    }
}
