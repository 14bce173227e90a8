//! Attention as exporters write it: a product of queries and transposed keys, scaled, with biases and masks added,
//! its softmax, and the product with the values. All of it becomes one step.

use super::quantized::stored_offset;
use super::{Lower, R};
use crate::error::LowerError;
use crate::step::Kind;
use ampoule_graph::infer::axis;
use ampoule_graph::op::Binary;
use ampoule_graph::passes::missed::{Matched, Miss, Near, Part, Pattern, Reason};
use ampoule_graph::{Node, Op, ValueId};
use ampoule_kernels::softmax::{Change, Rounding};
use ampoule_kernels::{Elem, gemm};
use ampoule_runtime::View;
use ampoule_runtime::run::attention::{Attention, BIASES};
use ampoule_runtime::view::{Home, row_major};

/// Most nodes between a product and its softmax for which it is told why they are no attention.
const MOST_BETWEEN: usize = 8;

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
        match self.attention_of(n) {
            Ok((end, pending)) => {
                pending.scores.nodes.iter().for_each(|&i| self.fused[i] = true);
                self.attention.insert(end, pending);
                Ok(true)
            }
            Err(miss) => {
                self.miss(n, Pattern::Attention, miss);
                Ok(false)
            }
        }
    }

    /// The attention that begins with the product `n`, and the node that it ends with.
    fn attention_of(&self, n: &Node) -> Matched<(usize, Pending)> {
        let (y, a, b) = (n.output().or_other()?, n.input(0).or_other()?, n.input(1).or_other()?);
        let (end, scores) = self.scores(y)?;
        let computed = |v| !self.constants.contains_key(&v);
        (computed(a) && computed(b)).because(Reason::Differs(Part::Scores))?;
        let elem = self.elem(a);
        matches!(elem, Elem::F32 | Elem::Bf16).because(Reason::NotFloat(Part::Scores))?;
        let ranks = [a, b].map(|v| self.graph.value(v).shape.as_ref().map_or(0, Vec::len));
        let fits = ranks.iter().all(|r| *r >= 2) && !scores.dims.contains(&0);
        fits.because(Reason::Shape(Part::Scores))?;
        for (id, at) in &scores.biases {
            let dims = self.graph.value(*id).dims().because(Reason::Shape(Part::Summand))?;
            // Dense, as it is made to lie where it does not fit otherwise.
            let dense = View { home: Home::Arena(0), elem, offset: 0, strides: row_major(&dims), dims };
            dense.expanded(at).reshaped(&scores.dims).because(Reason::Shape(Part::Summand))?;
        }
        Ok((end, Pending { queries: a, keys: b, scores }))
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
    fn scores(&self, y: ValueId) -> Matched<(usize, Scores)> {
        let dims = self.graph.value(y).dims().or_other()?;
        let mut s = Scores {
            value: y,
            dims: dims.clone(),
            changes: Vec::new(),
            biases: Vec::new(),
            rounding: None,
            nodes: Vec::new(),
        };
        loop {
            let reader = self.only_reader(s.value).or_other()?;
            let n = &self.graph.nodes[reader];
            let y = n.output().or_other()?;
            match &n.op {
                Op::Binary(op) => match self.scaled_or_biased(&mut s, n, *op) {
                    Err(Miss::Because(_)) if !self.reaches_softmax(y) => return Err(Miss::Other),
                    found => found?,
                },
                Op::Quantize { .. } => {
                    let rounding = self.rounded(&mut s, reader).or_other()?;
                    s.changes.push(Change::Rounded(rounding));
                    continue;
                }
                Op::Reshape { .. } => s.dims = self.graph.value(y).dims().or_other()?,
                Op::Softmax { axis: a, log: false } => {
                    let last = axis(*a, dims.len()).is_ok_and(|a| a + 1 == dims.len());
                    (last && s.dims == dims).because(Reason::Shape(Part::Values))?;
                    s.nodes.push(reader);
                    s.value = y;
                    return self.weighted(s);
                }
                _ => return Err(Miss::Other),
            }
            s.nodes.push(reader);
            s.value = y;
        }
    }

    /// Whether a softmax follows `v`, only element-wise operators and reshapes between them.
    fn reaches_softmax(&self, mut v: ValueId) -> bool {
        for _ in 0..MOST_BETWEEN {
            let Some(n) = self.only_reader(v).map(|r| &self.graph.nodes[r]) else { return false };
            match (&n.op, n.output()) {
                (Op::Softmax { log: false, .. }, _) => return true,
                (Op::Binary(_) | Op::Reshape { .. }, Some(y)) => v = y,
                _ => return false,
            }
        }
        false
    }

    /// The product with the values that reads the softmax `s.value`, perhaps rounded.
    fn weighted(&self, mut s: Scores) -> Matched<(usize, Scores)> {
        let alone = Reason::Shared(Part::Values);
        let mut end = self.only_reader(s.value).because(alone)?;
        if matches!(self.graph.nodes[end].op, Op::Quantize { .. }) {
            s.rounding = Some(self.rounded(&mut s, end).because(Reason::Differs(Part::Factor))?);
            end = self.only_reader(s.value).because(alone)?;
        }
        let product = &self.graph.nodes[end];
        (product.op == Op::MatMul).or_other()?;
        let fits = product.input(0) == Some(s.value) && product.input(1) != Some(s.value);
        fits.because(Reason::Differs(Part::Values))?;
        Ok((end, s))
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
    fn scaled_or_biased(&self, s: &mut Scores, n: &Node, op: Binary) -> Matched<()> {
        let other = n.inputs.iter().flatten().copied().find(|&i| i != s.value).or_other()?;
        let number = || {
            let t = self.constants.get(&other).because(Reason::NotConstant(Part::Factor))?;
            let one = t.len() == 1 && t.dims().len() <= s.dims.len();
            let list = t.to_f32().filter(|_| one).because(Reason::Shape(Part::Factor))?;
            list.first().copied().or_other()
        };
        match op {
            Binary::Mul => s.changes.push(Change::Times(number()?)),
            Binary::Div if n.input(0) == Some(s.value) => s.changes.push(Change::Times(1.0 / number()?)),
            Binary::Add => {
                (s.biases.len() < BIASES).because(Reason::Most(BIASES))?;
                let same = n.output().and_then(|y| self.graph.value(y).dims()).as_ref() == Some(&s.dims);
                same.because(Reason::Shape(Part::Summand))?;
                self.is_float(other).because(Reason::NotFloat(Part::Summand))?;
                s.changes.push(Change::Plus(s.biases.len()));
                s.biases.push((other, s.dims.clone()));
            }
            _ => return Err(Miss::Other),
        }
        Ok(())
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
