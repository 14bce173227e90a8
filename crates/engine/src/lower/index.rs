//! Elements and slices that indices name: gathered, scattered, repeated, moved between channels and space.

use super::{Lower, R};
use crate::error::LowerError;
use crate::step::{Indexed as Step, Kind, Scan, along_axis, rows_of};
use ampoule_graph::infer::axis;
use ampoule_graph::op::{Indexed, Scatter, index_in, slice_offsets};
use ampoule_graph::{Node, Tensor, ValueId};
use ampoule_kernels::Elem;
use ampoule_runtime::View;
use ampoule_runtime::run::fibres::{Fibres, Join};
use ampoule_runtime::view::row_major;

fn join(s: Scatter) -> Join {
    match s {
        Scatter::Replace => Join::Replace,
        Scatter::Add => Join::Add,
        Scatter::Mul => Join::Mul,
        Scatter::Max => Join::Max,
        Scatter::Min => Join::Min,
    }
}

/// First element and step of evenly spaced rows, of which there is at least one.
fn evenly(rows: &[usize]) -> Option<(usize, i64)> {
    let first = *rows.first()?;
    let step = rows.get(1).map_or(1, |r| *r as i64 - first as i64);
    let even = rows.windows(2).all(|w| w[1] as i64 - w[0] as i64 == step);
    (even && step != 0).then_some((first, step))
}

/// The first `dims` elements along each axis but `but`, which stays as it is.
fn corner(v: &View, dims: &[usize], but: usize) -> View {
    let mut v = v.clone();
    (0..dims.len()).filter(|i| *i != but).for_each(|i| v.dims[i] = dims[i]);
    v
}

/// Whether indices along axis `a` stay inside `x` along the others, and lie as steps read them.
fn inside(index: &View, x: &View, a: usize) -> bool {
    let along = |i: usize| i == a || index.dims[i] <= x.dims[i];
    index.elem == Elem::F32 && index.dims.len() == x.dims.len() && (0..x.dims.len()).all(along)
}

impl Lower<'_> {
    pub(super) fn gather(&mut self, n: &Node, a: i64) -> R<bool> {
        let (Some(index), Some(y)) = (n.input(1), n.output()) else { return Ok(false) };
        let x = self.input(n, 0)?;
        let x = self.ascending(n, x);
        let a = axis(a, x.dims.len())?;
        let (dims, index_dims) = (self.dims(y)?, self.dims(index)?);
        let count: usize = index_dims.iter().product();
        let rows = match self.constant(n, 1).and_then(Tensor::to_i64) {
            Some(list) => Some(list.iter().map(|&i| index_in(i, x.dims[a])).collect::<Result<Vec<_>, _>>()?),
            None => None,
        };
        // Rows at even distances are a view.
        if let Some((first, step)) = rows.as_deref().and_then(evenly)
            && index_dims.len() <= 1
        {
            let mut plan: Vec<(usize, usize, i64)> = x.dims.iter().map(|&d| (0, d, 1)).collect();
            plan[a] = (first, count, step);
            let mut v = x.sliced(&plan);
            if index_dims.is_empty() {
                v.dims.remove(a);
                v.strides.remove(a);
            }
            self.slices.remove(&y);
            self.set(y, v);
            return Ok(true);
        }
        let out = match index_dims.len() {
            1 => self.place(y, &dims),
            _ => self.dense(y)?,
        };
        if out.elem != x.elem {
            return Ok(false);
        }
        self.set(y, out.clone());
        if out.is_empty() {
            return Ok(true);
        }
        // All axes of the indices as one.
        let mut to = out;
        let stride = if index_dims.len() == 1 { to.strides[a] } else { row_major(&x.dims)[a] };
        to.dims.splice(a..a + index_dims.len(), [count]);
        to.strides.splice(a..a + index_dims.len(), [stride]);
        match rows {
            Some(rows) => {
                let plan = along_axis(&x, &to, a, &rows);
                self.push(n, Kind::Take(plan), vec![x], vec![to], 0);
            }
            None => {
                let index = self.get(index)?;
                self.push(n, Kind::Indexed(Step::Gather { axis: a }), vec![x, index], vec![to], 0);
            }
        }
        Ok(true)
    }

    /// A dense place for `y`, row-major.
    pub(super) fn dense(&mut self, y: ValueId) -> R<View> {
        self.slices.remove(&y);
        let dims = self.dims(y)?;
        let elem = self.elem(y);
        Ok(self.fresh(&dims, row_major(&dims), elem))
    }

    pub(super) fn indexed(&mut self, n: &Node, op: Indexed) -> R<bool> {
        let (Some(list), Some(y)) = (n.input(1), n.output()) else { return Ok(false) };
        let x = self.input(n, 0)?;
        let rank = x.dims.len();
        if self.elem(y) != x.elem || self.dims(list)?.contains(&0) || x.is_empty() {
            return Ok(false);
        }
        match op {
            Indexed::GatherElements { axis: a } => {
                let (a, index) = (axis(a, rank)?, self.get(list)?);
                if !inside(&index, &x, a) {
                    return Ok(false);
                }
                let dims = self.dims(y)?;
                let out = self.place(y, &dims);
                self.set(y, out.clone());
                let from = corner(&x, &index.dims, a);
                let fibres = Fibres::new(&[&index, &from, &out], a);
                let scan = Scan::Gather { size: x.dims[a] };
                self.push(n, Kind::Scan(scan, fibres), vec![index, from], vec![out], 0);
            }
            Indexed::GatherNd { batch_dims } => self.gather_nd(n, x, list, y, batch_dims)?,
            Indexed::ScatterElements { axis: a, reduction } => {
                let (a, index) = (axis(a, rank)?, self.get(list)?);
                let updates = self.input(n, 2)?;
                if updates.elem != x.elem || updates.dims != index.dims || !inside(&index, &x, a) {
                    return Ok(false);
                }
                let size = x.dims[a];
                let out = self.place_like(y, &x)?;
                self.set(y, out.clone());
                self.copy(n, x, out.clone());
                let to = corner(&out, &index.dims, a);
                let fibres = Fibres::new(&[&index, &updates, &to], a);
                let scan = Scan::Scatter { size, join: join(reduction) };
                self.push(n, Kind::Scan(scan, fibres), vec![index, updates], vec![to], 0);
            }
            Indexed::ScatterNd { reduction } => {
                let index = self.get(list)?;
                let updates = self.input(n, 2)?;
                let k = index.dims.last().copied().filter(|k| *k <= rank);
                let wanted = k.map(|k| [&index.dims[..index.dims.len() - 1], &x.dims[k..]].concat());
                if updates.elem != x.elem || wanted.as_ref() != Some(&updates.dims) {
                    return Ok(false);
                }
                let updates = self.dense_rows(n, updates);
                let out = self.dense(y)?;
                self.set(y, out.clone());
                self.copy(n, x, out.clone());
                let step = Step::ScatterNd { join: join(reduction) };
                self.push(n, Kind::Indexed(step), vec![index, updates], vec![out], 0);
            }
        }
        Ok(true)
    }

    fn gather_nd(&mut self, n: &Node, x: View, list: ValueId, y: ValueId, batch: usize) -> R<()> {
        let x = self.dense_rows(n, x);
        let out = self.dense(y)?;
        self.set(y, out.clone());
        let known = self.constants.get(&list).and_then(|t| Some((t.to_i64()?, t.dims().to_vec())));
        match known {
            Some((index, dims)) => {
                let (rows, each) = slice_offsets(&x.dims, &dims, &index, batch)?;
                let plan = rows_of(&out, rows, each);
                self.push(n, Kind::Take(plan), vec![x], vec![out], 0);
            }
            None => {
                let index = self.get(list)?;
                self.push(n, Kind::Indexed(Step::GatherNd { batch }), vec![x, index], vec![out], 0);
            }
        }
        Ok(())
    }

    /// Repeats along axes: each is two in the output, of which the outer one does not move in the input.
    pub(super) fn tile(&mut self, n: &Node) -> R<bool> {
        let (Some(y), Some(repeats)) = (n.output(), self.constant(n, 1).and_then(Tensor::to_i64)) else {
            return Ok(false);
        };
        let x = self.input(n, 0)?;
        let dims = self.dims(y)?;
        if repeats.len() != x.dims.len() || self.elem(y) != x.elem {
            return Ok(false);
        }
        let out = self.place(y, &dims);
        self.set(y, out.clone());
        if out.is_empty() {
            return Ok(true);
        }
        let (mut from, mut to) = (x.clone(), out);
        for a in (0..x.dims.len()).rev() {
            let times = dims[a] / x.dims[a].max(1);
            to = to.split(a, &[times, x.dims[a]]);
            from.dims.insert(a, times);
            from.strides.insert(a, 0);
        }
        self.copy(n, from, to);
        Ok(true)
    }

    /// Blocks of channels to blocks of pixels.
    pub(super) fn depth_to_space(&mut self, n: &Node, b: usize, column_row: bool) -> R<bool> {
        let Some(y) = n.output() else { return Ok(false) };
        let x = self.input(n, 0)?;
        let dims = self.dims(y)?;
        let [_, c, _, _] = dims[..] else { return Err(LowerError::Axes { axes: dims.len() }) };
        let out = self.place_image(y, &dims);
        self.set(y, out.clone());
        // The output as n, k, h, b, w, b; the input in the same order.
        let to = out.split(3, &[dims[3] / b, b]).split(2, &[dims[2] / b, b]);
        let from = match column_row {
            true => x.split(1, &[c, b, b]).permuted(&[0, 1, 4, 2, 5, 3]),
            false => x.split(1, &[b, b, c]).permuted(&[0, 3, 4, 1, 5, 2]),
        };
        self.copy_any(n, from, to);
        Ok(true)
    }

    /// Blocks of pixels to blocks of channels.
    pub(super) fn space_to_depth(&mut self, n: &Node, b: usize) -> R<bool> {
        let Some(y) = n.output() else { return Ok(false) };
        let x = self.input(n, 0)?;
        let dims = self.dims(y)?;
        let [_, _, h, w] = dims[..] else { return Err(LowerError::Axes { axes: dims.len() }) };
        let out = self.place_image(y, &dims);
        self.set(y, out.clone());
        let from = x.split(3, &[w, b]).split(2, &[h, b]).permuted(&[0, 3, 5, 1, 2, 4]);
        let to = out.split(1, &[b, b, x.dims[1]]);
        self.copy_any(n, from, to);
        Ok(true)
    }

    fn copy_any(&mut self, n: &Node, from: View, to: View) {
        if !to.is_empty() {
            self.copy(n, from, to);
        }
    }
}
