//! Operators that only rename axes: views of what is there, copied where a view cannot say it.

use super::{Lower, R};
use crate::error::LowerError;
use ampoule_graph::infer::{axis, slice_plan, split_sizes};
use ampoule_graph::{Node, Op, Tensor, ValueId};
use ampoule_runtime::View;

impl Lower<'_> {
    /// Lowers `n` as views of its input; `false` when it is another kind of operator.
    pub(super) fn as_view(&mut self, n: &Node) -> R<bool> {
        let ints = |i: usize| self.constant(n, i).and_then(Tensor::to_i64);
        let Some(y) = n.output() else { return Ok(false) };
        let view = match &n.op {
            Op::Identity => self.input(n, 0)?,
            Op::Transpose { perm } => {
                let x = self.input(n, 0)?;
                let reversed: Vec<usize> = (0..x.dims.len()).rev().collect();
                x.permuted(if perm.is_empty() { &reversed } else { perm })
            }
            Op::Slice => {
                let (Some(s), Some(e)) = (ints(1), ints(2)) else { return Ok(false) };
                let opt = |i: usize| match n.input(i) {
                    None => Some(None),
                    Some(_) => ints(i).map(Some),
                };
                let (Some(a), Some(st)) = (opt(3), opt(4)) else { return Ok(false) };
                let x = self.input(n, 0)?;
                let plan = slice_plan(&x.dims, &s, &e, a.as_deref(), st.as_deref())?;
                x.sliced(&plan)
            }
            Op::Split { axis: a } => return self.split(n, *a),
            Op::Expand => {
                let dims = self.dims(y)?;
                self.input(n, 0)?.expanded(&dims)
            }
            Op::Reshape { .. } | Op::Flatten { .. } | Op::Squeeze | Op::Unsqueeze => {
                let dims = self.dims(y)?;
                let x = self.input(n, 0)?;
                match x.reshaped(&dims) {
                    Some(v) => v,
                    None => self.reshaped_copy(n, y, x, &dims)?,
                }
            }
            _ => return Ok(false),
        };
        self.slices.remove(&y);
        self.set(y, view);
        Ok(true)
    }

    /// The elements of `x` under other dimensions where no view can say that: copied to where those who read `y` want
    /// them, if a view of that place has the dimensions of `x`, else into dense rows.
    fn reshaped_copy(&mut self, n: &Node, y: ValueId, x: View, dims: &[usize]) -> R<View> {
        let image = |&r: &usize| {
            use Op::{AveragePool, BatchNorm, Conv, ConvTranspose, GroupNorm, InstanceNorm, MaxPool, Resize};
            let op = &self.graph.nodes[r].op;
            matches!(op, Conv { .. } | ConvTranspose { .. } | MaxPool(_) | AveragePool(_) | Resize(_))
                || matches!(op, BatchNorm { .. } | InstanceNorm { .. } | GroupNorm { .. })
        };
        if (3..=5).contains(&dims.len()) && self.readers[y.0].iter().any(image) {
            let out = self.fresh(dims, super::natural(dims), x.elem);
            if let Some(to) = out.reshaped(&x.dims) {
                self.copy(n, x, to);
                return Ok(out);
            }
            // What was made for nothing takes no room.
            self.out.buffers.pop();
        }
        let x = self.dense_rows(n, x);
        x.reshaped(dims).ok_or(LowerError::Layout { value: "what is reshaped", wanted: "dense" })
    }

    fn split(&mut self, n: &Node, a: i64) -> R<bool> {
        let x = self.input(n, 0)?;
        let a = axis(a, x.dims.len())?;
        let given = match n.input(1) {
            None => None,
            Some(_) => match self.constant(n, 1).and_then(Tensor::to_i64) {
                Some(v) => Some(v),
                None => return Ok(false),
            },
        };
        let sizes = split_sizes(x.dims[a], given.as_deref(), n.outputs.len())?;
        let mut start = 0;
        for (id, size) in n.outputs.iter().zip(sizes) {
            let mut plan: Vec<(usize, usize, i64)> = x.dims.iter().map(|&d| (0, d, 1)).collect();
            plan[a] = (start, size, 1);
            start += size;
            if let Some(id) = id {
                self.slices.remove(id);
                self.set(*id, x.sliced(&plan));
            }
        }
        Ok(true)
    }
}
