//! Steps along an axis, and steps whose source or target positions a tensor of indices holds.

use super::{Context, Step};
use crate::error::StepError;
use ampoule_graph::op::OpError;
use ampoule_graph::op::{index_in, slice_offsets};
use ampoule_runtime::View;
use ampoule_runtime::run::fibres::{self, Fibres, Join, Outside};
use ampoule_runtime::run::take::{self, Along, Take};
use ampoule_runtime::run::values::gather;

/// What is done along an axis.
pub(crate) enum Scan {
    /// Running sums.
    Sum { exclusive: bool, reverse: bool },
    /// Positions of the largest or smallest elements.
    Extreme { max: bool, last: bool },
    /// The first elements in order, and where they were.
    Top { k: usize, largest: bool },
    /// Elements that indices (the first input) name, of the second input with `size` elements along the axis.
    Gather { size: usize },
    /// Elements of the output with `size` elements along the axis, which indices (the first input) name, joined with
    /// those of the second input.
    Scatter { size: usize, join: Join },
}

/// Slices that indices name, where these are computed.
pub(crate) enum Indexed {
    /// Along one axis of the output's view, which has an axis for all indices.
    Gather { axis: usize },
    /// Slices of the first input that tuples of indices name, behind common axes.
    GatherNd { batch: usize },
    /// Slices of the output, which tuples of indices (the first input) name, joined with those of the second input.
    ScatterNd { join: Join },
}

impl From<Outside> for StepError {
    fn from(o: Outside) -> Self {
        StepError::Reference(OpError::Index { index: o.index, size: o.size as i64 })
    }
}

/// The integers of a view.
fn integers(cx: &Context, v: &View) -> Vec<i64> {
    gather(cx.area(v), v).into_iter().map(|x| x as i64).collect()
}

impl Step {
    pub(super) fn scan(&self, cx: &Context, scan: &Scan, f: &Fibres) -> Result<(), StepError> {
        let read = |i: usize| cx.area(&self.reads[i]);
        let write = |i: usize| cx.area(&self.writes[i]);
        match scan {
            Scan::Sum { exclusive, reverse } => {
                fibres::cumsum(cx.cpu, f, *exclusive, *reverse, read(0), write(0));
            }
            Scan::Extreme { max, last } => fibres::extreme(cx.cpu, f, *max, *last, read(0), write(0)),
            Scan::Top { k, largest } => {
                fibres::top(cx.cpu, f, *k, *largest, read(0), [write(0), write(1)]);
            }
            Scan::Gather { size } => {
                fibres::gather_elements(cx.cpu, f, (read(1), *size), read(0), write(0))?;
            }
            Scan::Scatter { size, join } => {
                fibres::scatter_elements(cx.cpu, f, *join, [read(0), read(1)], (write(0), *size))?;
            }
        }
        Ok(())
    }

    pub(super) fn indexed(&self, cx: &Context, op: &Indexed) -> Result<(), StepError> {
        let y = &self.writes[0];
        match op {
            Indexed::Gather { axis } => {
                let (x, list) = (&self.reads[0], integers(cx, &self.reads[1]));
                let rows = list.iter().map(|&i| index_in(i, x.dims[*axis])).collect::<Result<Vec<_>, _>>()?;
                let plan = along_axis(x, y, *axis, &rows);
                take::run(cx.cpu, &plan, cx.area(x), cx.area(y));
            }
            Indexed::GatherNd { batch } => {
                let (x, index) = (&self.reads[0], &self.reads[1]);
                let (rows, n) = slice_offsets(&x.dims, &index.dims, &integers(cx, index), *batch)?;
                take::run(cx.cpu, &rows_of(y, rows, n), cx.area(x), cx.area(y));
            }
            Indexed::ScatterNd { join } => {
                let index = &self.reads[0];
                let (rows, n) = slice_offsets(&y.dims, &index.dims, &integers(cx, index), 0)?;
                fibres::scatter_rows(*join, &rows, n, cx.area(&self.reads[1]), cx.area(y));
            }
        }
        Ok(())
    }
}

/// Copies into `y`, along `axis`, the slices `rows` of `x`.
pub(crate) fn along_axis(x: &View, y: &View, axis: usize, rows: &[usize]) -> Take {
    let from = (0..x.dims.len())
        .map(|i| match i == axis {
            true => table(x.strides[i], rows.iter().map(|r| Some(*r))),
            false => Along::Step(x.strides[i]),
        })
        .collect();
    Take::new(y, from, 0.0)
}

/// Positions along an axis as offsets; evenly spaced ones from the first on become a step.
pub(crate) fn table(stride: isize, rows: impl Iterator<Item = Option<usize>>) -> Along {
    let rows: Vec<Option<usize>> = rows.collect();
    if rows.iter().enumerate().all(|(i, r)| *r == Some(i)) {
        return Along::Step(stride);
    }
    Along::Table(rows.into_iter().map(|r| r.map(|r| r * stride.unsigned_abs())).collect())
}

/// Copies dense rows of `n` elements from `rows` on, one after another, into the dense `y`.
pub(crate) fn rows_of(y: &View, rows: Vec<usize>, n: usize) -> Take {
    let flat = View { dims: vec![rows.len(), n], strides: vec![n as isize, 1], ..y.clone() };
    Take::new(&flat, vec![Along::Table(rows.into_iter().map(Some).collect()), Along::Step(1)], 0.0)
}
