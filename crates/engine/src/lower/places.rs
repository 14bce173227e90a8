//! Where values lie: buffers, slices of concatenations, constants, and copies that lie otherwise.

use super::{Lower, NO_GRID, R};
use crate::error::LowerError;
use crate::step::{Kind, Step, Stored};
use ampoule_graph::{DType, Node, Op, Tensor, ValueId};
use ampoule_kernels::{Elem, Grid};
use ampoule_runtime::run::loops::Loops;
use ampoule_runtime::view::{Home, View, channels_last, row_major};

/// How a value lies when nothing asks for anything else: channels-last for ranks 3 to 5.
pub(super) fn natural(dims: &[usize]) -> Vec<isize> {
    match dims.len() {
        3..=5 => channels_last(dims, dims[1]),
        _ => row_major(dims),
    }
}

impl Lower<'_> {
    /// Converts an input once to how values are stored, unless only convolutions read it: they take
    /// float32 as it is.
    pub(super) fn store_input(&mut self, id: ValueId, view: View) {
        let elem = self.elem(id);
        let convolution = |&r: &usize| {
            let n = &self.graph.nodes[r];
            matches!(n.op, Op::Conv { .. } | Op::ConvTranspose { .. }) && n.input(0) == Some(id)
        };
        let readers = &self.readers[id.0];
        if elem == view.elem || (readers.iter().all(convolution) && self.uses[id.0] == readers.len()) {
            return;
        }
        let Some(&first) = readers.first() else { return };
        let stored = self.stored_as(&self.graph.nodes[first], view, elem);
        self.views[id.0] = Some(stored);
    }

    /// Finds values that can be written into the concatenation that reads them, and concatenations
    /// that are the beginning of a longer one (as in DenseNet), which then hold the same memory.
    pub(super) fn plan_slices(&mut self) {
        let g = self.graph;
        let joined: Vec<(ValueId, Vec<ValueId>, Vec<usize>)> =
            g.nodes.iter().filter_map(|n| self.channel_concat(n)).collect();
        for (y, parts, channels) in &joined {
            let mut offset = 0;
            for (x, c) in parts.iter().zip(channels) {
                if !self.constants.contains_key(x) && !self.slices.contains_key(x) && !g.outputs.contains(x) {
                    self.slices.insert(*x, (*y, offset));
                }
                offset += c;
            }
        }
        // A beginning lies in the shortest longer list, whose own beginning may lie further on.
        for (y, parts, _) in &joined {
            let longer =
                joined.iter().filter(|(z, p, _)| z != y && p.len() > parts.len() && p.starts_with(parts));
            if let Some((z, ..)) = longer.min_by_key(|(_, p, _)| p.len())
                && parts.len() > 1
                && !self.slices.contains_key(y)
                && !g.outputs.contains(y)
            {
                self.slices.insert(*y, (*z, 0));
            }
        }
    }

    /// Output, inputs and their channels of a node that concatenates float images along channels.
    pub(super) fn channel_concat(&self, n: &Node) -> Option<(ValueId, Vec<ValueId>, Vec<usize>)> {
        let Op::Concat { axis } = n.op else { return None };
        let y = n.output()?;
        let rank = self.graph.value(y).dims()?.len() as i64;
        let stored = self.is_float(y) || self.stored_u8[y.0];
        if !(3..=5).contains(&rank) || (axis != 1 && axis != 1 - rank) || !stored || self.row_major[y.0] {
            return None;
        }
        let parts: Vec<ValueId> = n.inputs.iter().flatten().copied().collect();
        let channels: Option<Vec<usize>> =
            parts.iter().map(|x| self.graph.value(*x).dims().map(|d| d[1])).collect();
        Some((y, parts, channels?))
    }

    pub(super) fn is_float(&self, id: ValueId) -> bool {
        self.graph.value(id).dtype.is_none_or(DType::is_float)
    }

    /// How a value is stored.
    pub(super) fn elem(&self, id: ValueId) -> Elem {
        if self.stored_u8[id.0] {
            return Elem::U8;
        }
        match (self.is_float(id), self.bf16[id.0]) {
            (true, true) => Elem::Bf16,
            (true, false) => self.precision.elem(),
            (false, _) => Elem::F32,
        }
    }

    pub(super) fn dims(&self, id: ValueId) -> R<Vec<usize>> {
        let v = self.graph.value(id);
        v.dims().ok_or_else(|| LowerError::UnknownShape { value: v.name.clone() })
    }

    /// A fresh arena buffer of `size` bytes.
    pub(super) fn buffer(&mut self, size: usize) -> usize {
        self.out.buffers.push(size);
        self.out.buffers.len() - 1
    }

    pub(super) fn fresh(&mut self, dims: &[usize], strides: Vec<isize>, elem: Elem) -> View {
        let home = Home::Arena(self.buffer(dims.iter().product::<usize>() * elem.size()));
        View { home, elem, offset: 0, dims: dims.to_vec(), strides }
    }

    /// A new view for value `id`, which lies as the operators around it want: row-major, or as an image does.
    pub(super) fn place(&mut self, id: ValueId, dims: &[usize]) -> View {
        match self.row_major[id.0] {
            true => self.fresh(dims, row_major(dims), self.elem(id)),
            false => self.place_image(id, dims),
        }
    }

    /// A new view for value `id`: its slice of a concatenation, or a dense buffer, channels-last
    /// for ranks 3 to 5.
    pub(super) fn place_image(&mut self, id: ValueId, dims: &[usize]) -> View {
        // Up through nested concatenations to one that has a place, then down again.
        let mut chain = Vec::new();
        let mut top = id;
        while self.views[top.0].is_none() || top == id {
            let Some(&(parent, offset)) = self.slices.get(&top) else { break };
            chain.push((top, offset));
            top = parent;
        }
        if !chain.is_empty()
            && let Some(d) = self.graph.value(top).dims()
        {
            let mut whole = match &self.views[top.0] {
                Some(v) => v.clone(),
                None => {
                    let v = self.fresh(&d, channels_last(&d, d[1]), self.elem(top));
                    self.views[top.0] = Some(v.clone());
                    v
                }
            };
            for (value, offset) in chain.into_iter().rev() {
                let known = self.graph.value(value).dims();
                whole.offset += offset;
                whole.dims = if value == id { dims.to_vec() } else { known.unwrap_or_else(|| dims.to_vec()) };
                if value != id {
                    self.views[value.0] = Some(whole.clone());
                }
            }
            return whole;
        }
        self.fresh(dims, natural(dims), self.elem(id))
    }

    /// The view of a value that has been computed, is an input, or is constant.
    pub(super) fn get(&mut self, id: ValueId) -> R<View> {
        if let Some(v) = &self.views[id.0] {
            return Ok(v.clone());
        }
        if let Some(v) = self.values_of(id)? {
            return Ok(v);
        }
        let value = || self.graph.value(id).name.clone();
        let t = self.constants.get(&id).ok_or_else(|| LowerError::NotComputed { value: value() })?;
        let dtype = t.dtype();
        let data = t.to_f32().ok_or_else(|| LowerError::ConstantType { value: value(), dtype })?;
        // A constant output has no step that could widen it again.
        let elem = if self.graph.outputs.contains(&id) { Elem::F32 } else { self.elem(id) };
        self.out.constants.push(Stored::new(data, elem));
        let home = Home::Constant(self.out.constants.len() - 1);
        let v = View { home, elem, offset: 0, dims: t.dims().to_vec(), strides: row_major(t.dims()) };
        self.views[id.0] = Some(v.clone());
        Ok(v)
    }

    pub(super) fn input(&mut self, n: &Node, i: usize) -> R<View> {
        let id = n.input(i).ok_or(LowerError::MissingInput { index: i })?;
        self.get(id)
    }

    /// The constant behind input `i` of a node.
    pub(super) fn constant(&self, n: &Node, i: usize) -> Option<&Tensor> {
        self.constants.get(&n.input(i)?)
    }

    /// Drops the constant behind input `i` of a node, which is packed, unless another node reads it.
    pub(super) fn packed(&mut self, n: &Node, i: usize) {
        let Some(id) = n.input(i) else { return };
        if self.uses[id.0] == 1 {
            self.drop_constant(id);
        }
        self.graph.release();
    }

    /// Drops a constant that nothing needs any more.
    pub(super) fn drop_constant(&mut self, id: ValueId) {
        if let Some(t) = self.constants.remove(&id) {
            self.made_bytes = self.made_bytes.saturating_sub(self.given.made(&t));
        }
    }

    pub(super) fn floats(&self, n: &Node, i: usize) -> Option<Vec<f32>> {
        self.constant(n, i).filter(|t| t.dtype().is_float())?.to_f32()
    }

    pub(super) fn push(&mut self, n: &Node, kind: Kind, reads: Vec<View>, writes: Vec<View>, macs: u64) {
        let same = reads.iter().all(|r| writes.iter().all(|w| r.elem == w.elem));
        let in_place = same
            && matches!(
                kind,
                Kind::Norm(_)
                    | Kind::LayerNorm { .. }
                    | Kind::Scale(_)
                    | Kind::Unary(..)
                    | Kind::Table(..)
                    | Kind::Binary(..)
                    | Kind::Chain(..)
                    | Kind::Map(..)
                    | Kind::Softmax { .. }
            );
        let node = self.graph.node_name(n).to_owned();
        let scratch = match &kind {
            Kind::Conv(c) => c.parts.scratch(),
            Kind::Separable(plan) => plan.scratch(),
            Kind::Attention(a) => a.scratch(),
            _ => 0,
        };
        let floats = scratch * self.pool.threads();
        let scratch = (floats > 0).then(|| self.fresh(&[floats], vec![1], Elem::F32));
        self.out.steps.push(Step {
            node,
            op: n.op.name(),
            kind,
            reads,
            writes,
            in_place,
            macs,
            scratch,
            rounds: None,
        });
    }

    pub(super) fn set(&mut self, id: ValueId, v: View) {
        self.views[id.0] = Some(v);
    }

    /// Copies `from` into `to`.
    pub(super) fn copy(&mut self, n: &Node, from: View, to: View) {
        let loops = Loops::new(&[&from, &to]);
        self.push(n, Kind::Copy(loops), vec![from], vec![to], 0);
    }

    /// A dense copy of `v` that is stored as `elem` and lies as `v` does, by nature where `v` is not dense.
    pub(super) fn stored_as(&mut self, n: &Node, v: View, elem: Elem) -> View {
        let strides = if v.is_row_major() { row_major(&v.dims) } else { natural(&v.dims) };
        let copy = self.fresh(&v.dims.clone(), strides, elem);
        self.copy(n, v, copy.clone());
        copy
    }

    /// `v` as a channels-last grid with evenly spaced pixels, copied if it does not lie so.
    pub(super) fn channels_last(&mut self, n: &Node, v: View) -> R<(View, Grid)> {
        if let Some(g) = v.grid()
            && g.uniform()
        {
            return Ok((v, g));
        }
        if !(2..=5).contains(&v.dims.len()) {
            return Err(LowerError::Axes { axes: v.dims.len() });
        }
        let dense = self.fresh(&v.dims.clone(), channels_last(&v.dims, v.dims[1]), v.elem);
        self.copy(n, v, dense.clone());
        let g = dense.grid().ok_or(NO_GRID)?;
        Ok((dense, g))
    }

    /// Input `i` of a node in dense row-major order. A copy takes the place of the value, for all that read it later.
    pub(super) fn input_rows(&mut self, n: &Node, i: usize) -> R<View> {
        let id = n.input(i).ok_or(LowerError::MissingInput { index: i })?;
        self.rows(n, id)
    }

    /// A value in dense row-major order. A copy takes its place, for all that read it later.
    pub(super) fn rows(&mut self, n: &Node, id: ValueId) -> R<View> {
        let v = self.get(id)?;
        let rows = self.dense_rows(n, v.clone());
        if rows.home != v.home {
            self.set(id, rows.clone());
        }
        Ok(rows)
    }

    /// `v` in dense row-major order, copied if it does not lie so.
    pub(super) fn dense_rows(&mut self, n: &Node, v: View) -> View {
        if v.is_row_major() {
            return View { strides: row_major(&v.dims), ..v };
        }
        let dense = self.fresh(&v.dims.clone(), row_major(&v.dims), v.elem);
        self.copy(n, v, dense.clone());
        dense
    }
}
