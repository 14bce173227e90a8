//! Quantizers and dequantizers (QDQ), and what is computed on quantized values between them.
//!
//! A quantized value stays bytes as long as only dequantizers and operators that carry quantized values
//! read it. A dequantizer computes nothing by itself: integer convolutions and residual sums take the
//! bytes, and only what needs floats dequantizes them.

use super::weights::ConstantWeights;
use super::{Lower, R};
use crate::error::LowerError;
use crate::step::Kind;
use ampoule_graph::op::Quantized;
use ampoule_graph::{DType, Graph, Node, Op, Tensor, ValueId, eval};
use ampoule_kernels::eltwise;
use ampoule_runtime::run::loops::Loops;
use ampoule_runtime::view::View;
use std::collections::BTreeMap;

/// Scale and zero point of a whole tensor, as it is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Quantization {
    pub scale: f32,
    pub zero_point: f32,
}

impl Quantization {
    /// Factor and summand that dequantize.
    pub fn dequantize(self) -> [f32; 2] {
        [self.scale, -self.zero_point * self.scale]
    }

    /// The operator that quantizes to bytes.
    pub fn quantizer(self) -> eltwise::Unary {
        eltwise::Unary::Quantize { scale: self.scale, zero: self.zero_point, low: 0.0, high: 255.0 }
    }

    /// Factor and summand that quantize.
    pub fn quantize(self) -> [f32; 2] {
        [1.0 / self.scale, self.zero_point]
    }
}

/// A quantized input and what it is multiplied by: the constants behind weights that stay INT8.
#[derive(Clone)]
pub(super) struct Int8Operands {
    pub x: View,
    pub quantization: Quantization,
    /// Of the weights: one, or one per channel.
    pub scale: Vec<f32>,
    /// The constant that holds the weights, and its zero point.
    pub weights: (ValueId, i32),
}

/// How much higher quantized values of a type are stored.
pub(super) fn stored_offset(t: DType) -> f32 {
    if t == DType::I8 { 128.0 } else { 0.0 }
}

/// Which values are stored quantized, as bytes.
pub(super) fn stored_u8(graph: &Graph, constants: &BTreeMap<ValueId, Tensor>) -> Vec<bool> {
    let single = |n: &Node| {
        n.input(1).and_then(|s| constants.get(&s)).is_some_and(|t| t.dims().iter().product::<usize>() == 1)
    };
    let moves = |n: &Node| matches!(n.op.row().quantized, Quantized::Carried | Quantized::View);
    let mut list = vec![false; graph.values.len()];
    for n in &graph.nodes {
        let made = match &n.op {
            Op::Quantize { to: DType::U8 | DType::I8, .. } => {
                single(n) && n.input(0).is_some_and(|x| !constants.contains_key(&x))
            }
            _ => moves(n),
        };
        for y in n.outputs.iter().flatten() {
            list[y.0] = made && matches!(graph.value(*y).dtype, Some(DType::U8 | DType::I8));
        }
    }
    graph.outputs.iter().for_each(|y| list[y.0] = false);
    // What a reader cannot take quantized is not stored so, nor what is moved from or to that.
    loop {
        let mut changed = false;
        for n in &graph.nodes {
            let whole = n.inputs[..n.op.data_inputs(n.inputs.len())].iter().flatten().all(|x| list[x.0]);
            let out = n.outputs.iter().flatten().all(|y| list[y.0]);
            let takes = match &n.op {
                Op::Dequantize { .. } => single(n),
                _ => moves(n) && whole && out,
            };
            let made = matches!(n.op, Op::Quantize { .. });
            let inputs = n.inputs.iter().flatten().filter(|_| !takes);
            for v in inputs.chain(n.outputs.iter().flatten().filter(|_| !takes && !made)) {
                changed |= std::mem::replace(&mut list[v.0], false);
            }
        }
        if !changed {
            return list;
        }
    }
}

impl Lower<'_> {
    /// The scale and zero point of a node that has one for all values, as stored.
    pub(super) fn quantization(&self, n: &Node, t: DType) -> R<Option<Quantization>> {
        let Some(scale) = self.scales(n)? else { return Ok(None) };
        let zero = match n.input(2) {
            None => Some(vec![0.0; scale.len()]),
            Some(_) => self.constant(n, 2).and_then(|t| t.to_f32()),
        };
        if let (Some((low, high)), Some(z)) = (t.range(), zero.iter().flatten().next()) {
            let inside = |z: &f32| (low as f32..=high as f32).contains(z);
            if !zero.iter().flatten().all(inside) {
                return Err(LowerError::ZeroPoint { zero: *z, dtype: t, low, high });
            }
        }
        Ok(match (&scale[..], zero.as_deref()) {
            ([scale], Some([zero])) => {
                Some(Quantization { scale: *scale, zero_point: *zero + stored_offset(t) })
            }
            _ => None,
        })
    }

    /// The constant scales of a quantizer or dequantizer.
    fn scales(&self, n: &Node) -> R<Option<Vec<f32>>> {
        let Some(scale) = self.floats(n, 1) else { return Ok(None) };
        match scale.iter().find(|s| !(**s > 0.0 && s.is_finite())) {
            Some(s) => Err(LowerError::Scale { scale: *s }),
            None => Ok(Some(scale)),
        }
    }

    /// A quantizer or dequantizer: of a constant folded, unless an integer product takes it as it is; else left
    /// to the readers of the quantized values, or an element-wise function.
    pub(super) fn quantizer(&mut self, n: &Node) -> R<bool> {
        let (Some(x), Some(y)) = (n.input(0), n.output()) else { return Ok(false) };
        let Some(t) = self.graph.value(if matches!(n.op, Op::Quantize { .. }) { y } else { x }).dtype else {
            return Ok(false);
        };
        if self.constants.contains_key(&x) {
            return match self.keep_int8(n, x, y)? {
                true => Ok(true),
                false => self.fold(n, x, y),
            };
        }
        let Some(quantization) = self.quantization(n, t)? else { return Ok(false) };
        if self.look_up(n, y)? {
            return Ok(true);
        }
        let stored = self.stored_u8[if matches!(n.op, Op::Quantize { .. }) { y.0 } else { x.0 }];
        let plain = Quantization { zero_point: quantization.zero_point - stored_offset(t), ..quantization };
        match &n.op {
            Op::Quantize { to, .. } if self.is_float(x) => {
                let Some((low, high)) = to.range() else { return Ok(false) };
                let (quantization, [low, high]) =
                    if stored { (quantization, [0.0, 255.0]) } else { (plain, [low as f32, high as f32]) };
                let f = eltwise::Unary::Quantize {
                    scale: quantization.scale,
                    zero: quantization.zero_point,
                    low,
                    high,
                };
                let view = self.get(x)?;
                if stored {
                    return self.apply_to(n, f, view);
                }
                self.apply_stored(n, f, view, *to, y)
            }
            Op::Dequantize { .. } if stored => {
                let view = self.get(x)?;
                self.dequantized.insert(y, (view, quantization));
                Ok(true)
            }
            Op::Dequantize { .. } => {
                let f = eltwise::Unary::Dequantize { scale: plain.scale, zero: plain.zero_point };
                let view = self.get(x)?;
                self.apply_stored(n, f, view, t, y)
            }
            _ => Ok(false),
        }
    }

    /// `f` of a view, between floats and quantized values of type `t` that are stored as floats.
    fn apply_stored(&mut self, n: &Node, f: eltwise::Unary, mut view: View, t: DType, y: ValueId) -> R<bool> {
        if view.elem != self.elem(y) {
            // Values of eight bits are exact in bfloat16 too.
            if matches!(t, DType::U16 | DType::I16 | DType::I32) {
                return Ok(false);
            }
            view = self.stored_as(n, view, self.elem(y));
        }
        self.apply_to(n, f, view)
    }

    /// Computes a node of constants.
    fn fold(&mut self, n: &Node, x: ValueId, y: ValueId) -> R<bool> {
        let args: Option<Vec<_>> = n
            .inputs
            .iter()
            .map(|i| i.map(|i| self.constants.get(&i).cloned()).map_or(Some(None), |t| t.map(Some)))
            .collect();
        let Some(args) = args else { return Ok(false) };
        let folded = eval::node(&n.op, &args, 1)?;
        for t in folded {
            self.made_bytes += self.given.made(&t);
            self.constants.insert(y, t);
        }
        if self.uses[x.0] == 1 {
            self.drop_constant(x);
        }
        self.graph.release();
        Ok(true)
    }

    /// Dequantizes what lies behind `id`, if the dequantizer left that to its readers.
    pub(super) fn values_of(&mut self, id: ValueId) -> R<Option<View>> {
        if let (Some((x, ..)), Some(p)) = (self.int8_weights.get(&id).cloned(), self.producers[id.0]) {
            self.fold(&self.graph.nodes[p], x, id)?;
            return Ok(None);
        }
        let Some((x, quantization)) = self.dequantized.get(&id).cloned() else { return Ok(None) };
        let producer =
            self.producers[id.0].ok_or(LowerError::Internal("quantized values that nothing made"))?;
        let n = &self.graph.nodes[producer];
        let f = eltwise::Unary::Dequantize { scale: quantization.scale, zero: quantization.zero_point };
        let dims = self.dims(id)?;
        let out = self.place_like(id, &x)?;
        self.set(id, out.clone());
        let loops = Loops::new(&[&x, &out]);
        debug_assert_eq!(out.dims, dims);
        self.push(n, Kind::Unary(f, loops), vec![x], vec![out.clone()], 0);
        Ok(Some(out))
    }

    /// Whether `id` is the output of a dequantizer of bytes.
    fn is_dequantized(&self, id: ValueId) -> bool {
        let node = self.producers[id.0].map(|p| &self.graph.nodes[p]);
        node.is_some_and(|n| {
            matches!(n.op, Op::Dequantize { .. }) && n.input(0).is_some_and(|x| self.stored_u8[x.0])
        })
    }

    /// Keeps constant weights quantized when every reader multiplies quantized values by them, exactly in 32 bits.
    fn keep_int8(&mut self, n: &Node, x: ValueId, y: ValueId) -> R<bool> {
        let Op::Dequantize { axis } = n.op else { return Ok(false) };
        let readers = &self.readers[y.0];
        let suits = |&r: &usize| {
            let reader = &self.graph.nodes[r];
            let product = reader.op.row().quantized == Quantized::Product;
            let [channel, _] = reader.op.weight_axes().filter(|_| product)?.map(|a| a as i64);
            let quantized = reader.input(0).is_some_and(|a| self.is_dequantized(a));
            (quantized && reader.input(1) == Some(y) && reader.input(0) != Some(y)).then_some(channel)
        };
        let channels: Option<Vec<i64>> = readers.iter().map(suits).collect();
        let Some(t) = self.constants.get(&x) else { return Ok(false) };
        let (Some(channels), Some(scale), rank) = (channels, self.scales(n)?, t.dims().len() as i64) else {
            return Ok(false);
        };
        let axis = if axis < 0 { axis + rank } else { axis };
        let along = |c: &i64| scale.len() == 1 || *c == axis;
        if channels.is_empty() || !channels.iter().all(along) {
            return Ok(false);
        }
        let zero = match n.input(2).map(|z| self.constants.get(&z).and_then(Tensor::to_i64)) {
            None => 0,
            Some(Some(z)) if z.iter().all(|v| *v == z[0]) && !z.is_empty() => z[0],
            Some(_) => return Ok(false),
        };
        let Some(values) = ConstantWeights::quantized(t, zero as i32) else { return Ok(false) };
        if !values.exact(t.dims(), channels[0] as usize) {
            return Ok(false);
        }
        self.int8_weights.insert(y, (x, zero as i32, scale));
        Ok(true)
    }

    /// What a node multiplies in INT8, if it does.
    pub(super) fn int8_operands(&mut self, n: &Node) -> Option<Int8Operands> {
        let (x, quantization) = self.dequantized.get(&n.input(0)?)?.clone();
        let (weights, zero, scale) = self.int8_weights.get(&n.input(1)?)?.clone();
        Some(Int8Operands { x, quantization, scale, weights: (weights, zero) })
    }

    /// Drops kept weights that were packed, unless another node reads them.
    pub(super) fn drop_int8_weights(&mut self, n: &Node, integer: &Int8Operands) {
        let Some(id) = n.input(1) else { return };
        if self.uses[id.0] == 1 && self.uses[integer.weights.0.0] == 1 {
            self.drop_constant(integer.weights.0);
        }
        self.graph.release();
    }

    /// Follows `id` through the quantizer that alone reads it, if that gives bytes.
    pub(super) fn fuse_quantizer(&mut self, id: ValueId) -> R<(ValueId, Option<Quantization>)> {
        let Some(r) = self.only_reader(id) else { return Ok((id, None)) };
        let n = &self.graph.nodes[r];
        let (Op::Quantize { to, .. }, Some(y)) = (&n.op, n.output()) else { return Ok((id, None)) };
        if !self.stored_u8[y.0] || n.input(0) != Some(id) {
            return Ok((id, None));
        }
        let Some(quantization) = self.quantization(n, *to)? else { return Ok((id, None)) };
        self.fused[r] = true;
        Ok((y, Some(quantization)))
    }

    /// A residual as it lies, floats or quantized, and factor and summand that dequantize it.
    pub(super) fn residual(&mut self, id: ValueId) -> R<(View, [f32; 2])> {
        if self.views[id.0].is_none()
            && let Some((x, quantization)) = self.dequantized.get(&id)
        {
            return Ok((x.clone(), quantization.dequantize()));
        }
        Ok((self.get(id)?, [1.0, 0.0]))
    }
}
