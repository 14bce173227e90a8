//! Attention as exporters write it: a product of queries and transposed keys, scaled, with biases and masks added,
//! its softmax, and the product with the values. All of it becomes one step.

use super::quantized::stored_offset;
use super::{Lower, R};
use crate::error::LowerError;
use crate::step::Kind;
use ampoule_graph::infer::axis;
use ampoule_graph::op::Binary;
use ampoule_graph::{Node, Op, ValueId};
use ampoule_kernels::softmax::{Change, Rounding};
use ampoule_kernels::{Elem, gemm};
use ampoule_runtime::View;
use ampoule_runtime::run::attention::{Attention, BIASES};
use ampoule_runtime::view::{Home, row_major};

/// Scores on their way to the softmax.
struct Scores {
    /// The value that has been followed so far, and its dimensions.
    value: ValueId,
    dims: Vec<usize>,
    changes: Vec<Change>,
    /// What is added, with the dimensions of the scores where it is.
    biases: Vec<(ValueId, Vec<usize>)>,
    /// What happens to the softmax.
    rounding: Option<Rounding>,
    /// Nodes that the step covers.
    nodes: Vec<usize>,
}

/// What is known of an attention before its values and biases are computed.
pub(super) struct Pending {
    queries: ValueId,
    keys: ValueId,
    scores: Scores,
}

impl Lower<'_> {
    /// Whether the product `n` of queries and keys is the beginning of an attention, which is then a step at the
    /// product with the values.
    pub(super) fn begin_attention(&mut self, n: &Node) -> R<bool> {
        let (Some(y), Some(a), Some(b)) = (n.output(), n.input(0), n.input(1)) else { return Ok(false) };
        let Some((end, scores)) = self.scores(y) else { return Ok(false) };
        if self.constants.contains_key(&a) || self.constants.contains_key(&b) {
            return Ok(false);
        }
        let elem = self.elem(a);
        let ranks = [a, b].map(|v| self.graph.value(v).shape.as_ref().map_or(0, Vec::len));
        if !matches!(elem, Elem::F32 | Elem::Bf16) || ranks.iter().any(|r| *r < 2) || scores.dims.contains(&0)
        {
            return Ok(false);
        }
        for (id, at) in &scores.biases {
            let dims = self.dims(*id)?;
            // Dense, as it is made to lie where it does not fit otherwise.
            let dense = View { home: Home::Arena(0), elem, offset: 0, strides: row_major(&dims), dims };
            if dense.expanded(at).reshaped(&scores.dims).is_none() {
                return Ok(false);
            }
        }
        scores.nodes.iter().for_each(|&i| self.fused[i] = true);
        self.attention.insert(end, Pending { queries: a, keys: b, scores });
        Ok(true)
    }

    /// A bias of the scores as rows of those, which lie side by side or are all the same.
    fn bias(&mut self, n: &Node, id: ValueId, at: &[usize], dims: &[usize], elem: Elem) -> R<View> {
        let v = self.get(id)?;
        let v = if v.elem == elem { v } else { self.stored_as(n, v, elem) };
        let rows = |v: &View| v.expanded(at).reshaped(dims);
        let fits = |v: &View| v.strides.iter().all(|s| *s >= 0) && v.strides.last().is_none_or(|s| *s <= 1);
        if let Some(fit) = rows(&v).filter(fits) {
            return Ok(fit);
        }
        let v = self.dense_rows(n, v);
        rows(&v).ok_or(LowerError::Layout { value: "a bias", wanted: "rows of the scores" })
    }

    /// Follows the scores `y` to the product with the values that alone reads their softmax.
    fn scores(&self, y: ValueId) -> Option<(usize, Scores)> {
        let dims = self.graph.value(y).dims()?;
        let mut s = Scores {
            value: y,
            dims: dims.clone(),
            changes: Vec::new(),
            biases: Vec::new(),
            rounding: None,
            nodes: Vec::new(),
        };
        loop {
            let reader = self.only_reader(s.value)?;
            let n = &self.graph.nodes[reader];
            match &n.op {
                Op::Binary(op) => self.scaled_or_biased(&mut s, n, *op)?,
                Op::Quantize { .. } => {
                    let rounding = self.rounded(&mut s, reader)?;
                    s.changes.push(Change::Rounded(rounding));
                    continue;
                }
                Op::Reshape { .. } => s.dims = self.graph.value(n.output()?).dims()?,
                Op::Softmax { axis: a, log: false } => {
                    let last = axis(*a, dims.len()).ok()? + 1 == dims.len();
                    if !last || s.dims != dims {
                        return None;
                    }
                    s.nodes.push(reader);
                    s.value = n.output()?;
                    return self.weighted(s);
                }
                _ => return None,
            }
            s.nodes.push(reader);
            s.value = n.output()?;
        }
    }

    /// The product with the values that reads the softmax `s.value`, perhaps rounded.
    fn weighted(&self, mut s: Scores) -> Option<(usize, Scores)> {
        let mut end = self.only_reader(s.value)?;
        if matches!(self.graph.nodes[end].op, Op::Quantize { .. }) {
            s.rounding = Some(self.rounded(&mut s, end)?);
            end = self.only_reader(s.value)?;
        }
        let product = &self.graph.nodes[end];
        let fits = product.op == Op::MatMul
            && product.input(0) == Some(s.value)
            && product.input(1) != Some(s.value);
        fits.then_some((end, s))
    }

    /// What the quantizer `reader` and the dequantizer that alone reads it do to the scores.
    fn rounded(&self, s: &mut Scores, reader: usize) -> Option<Rounding> {
        let n = &self.graph.nodes[reader];
        let Op::Quantize { to, .. } = &n.op else { return None };
        let stored = n.output()?;
        let next = self.only_reader(stored)?;
        let back = &self.graph.nodes[next];
        if !matches!(back.op, Op::Dequantize { .. })
            || n.input(0) != Some(s.value)
            || back.input(0) != Some(stored)
        {
            return None;
        }
        let [one, other] = [n, back].map(|n| self.quantization(n, *to).ok().flatten());
        let (q, (low, high)) = (one.filter(|_| one == other)?, to.range()?);
        s.nodes.extend([reader, next]);
        s.value = back.output()?;
        Some(Rounding {
            scale: q.scale,
            zero: q.zero_point - stored_offset(*to),
            range: [low as f32, high as f32],
        })
    }

    /// A factor or a summand of the scores.
    fn scaled_or_biased(&self, s: &mut Scores, n: &Node, op: Binary) -> Option<()> {
        let other = n.inputs.iter().flatten().copied().find(|&i| i != s.value)?;
        let number = || {
            let t = self.constants.get(&other).filter(|t| t.len() == 1 && t.dims().len() <= s.dims.len())?;
            t.to_f32()?.first().copied()
        };
        match op {
            Binary::Mul => s.changes.push(Change::Times(number()?)),
            Binary::Div if n.input(0) == Some(s.value) => s.changes.push(Change::Times(1.0 / number()?)),
            Binary::Add if s.biases.len() < BIASES => {
                let same = self.graph.value(n.output()?).dims()? == s.dims;
                if !same || !self.is_float(other) {
                    return None;
                }
                s.changes.push(Change::Plus(s.biases.len()));
                s.biases.push((other, s.dims.clone()));
            }
            _ => return None,
        }
        Some(())
    }

    /// The product with the values that ends an attention.
    pub(super) fn end_attention(&mut self, n: &Node, pending: Pending) -> R<()> {
        let (Some(y), Some(v)) = (n.output(), n.input(1)) else { return Ok(()) };
        let Pending { queries, keys, scores } = pending;
        let (queries, keys, values) = (self.get(queries)?, self.get(keys)?, self.get(v)?);
        let keys = if keys.elem == queries.elem { keys } else { self.stored_as(n, keys, queries.elem) };
        let keys = self.ascending(n, keys);
        let mut biases = Vec::new();
        for (id, at) in &scores.biases {
            biases.push(self.bias(n, *id, at, &scores.dims, queries.elem)?);
        }
        let dims = self.dims(y)?;
        let rank = dims.len();
        let (lead, [rows, columns]) = (&dims[..rank - 2], [dims[rank - 2], dims[rank - 1]]);
        let queries = self.side_by_side(n, queries);
        let values =
            if values.elem == queries.elem { values } else { self.stored_as(n, values, queries.elem) };
        let values = self.ascending(n, values);
        let last = |v: &View| [v.dims[v.dims.len() - 2], v.dims[v.dims.len() - 1]];
        let steps = |v: &View| [0, 1].map(|i| v.strides[v.strides.len() - 2 + i].unsigned_abs());
        let ([_, width], [_, count]) = (last(&queries), last(&keys));
        let out = self.fresh(&dims, self.strides_for_reader(y, &dims), queries.elem);
        let leading = |v: &View| self.leading(v, lead);
        let operands: Vec<Vec<usize>> =
            [&queries, &keys, &values, &out].into_iter().chain(&biases).map(leading).collect();
        let along = |axis: usize| std::array::from_fn(|k| operands.get(k).map_or(0, |o| o[axis]));
        let batch = lead.iter().enumerate().map(|(axis, &size)| (size, along(axis))).collect();
        let operand = gemm::operand(self.isa, queries.elem);
        let plan = Attention {
            rows,
            keys: count,
            width,
            values: columns,
            query_row: steps(&queries)[0],
            key: steps(&keys),
            value: steps(&values),
            out_row: steps(&out)[0],
            biases: biases.iter().map(steps).collect(),
            changes: scores.changes,
            rounding: scores.rounding,
            batch,
            panels: [count, columns].map(|c| gemm::panels(self.isa, operand, c, 0)),
        };
        let macs = plan.macs();
        let mut reads = vec![queries, keys, values];
        reads.extend(biases);
        self.slices.remove(&y);
        self.set(y, out.clone());
        self.push(n, Kind::Attention(Box::new(plan)), reads, vec![out], macs);
        Ok(())
    }
}
