//! Element-wise functions that follow one another: one step instead of many over whole tensors.

use super::elementwise::{two_values, vectorised};
use super::quantized::Quantization;
use super::{Lower, R};
use crate::step::Kind;
use ampoule_graph::passes::missed::{Matched, Miss, Near, Part, Pattern, Reason};
use ampoule_graph::{Node, Op, ValueId};
use ampoule_kernels::{Act, eltwise};
use ampoule_runtime::View;
use ampoule_runtime::run::chain::{Call, Chain as Functions, Operand, READS};
use ampoule_runtime::run::loops::Loops;

/// A chain as far as it has been followed.
struct Chain {
    value: ValueId,
    calls: Vec<Call>,
    reads: Vec<ValueId>,
    nodes: Vec<usize>,
}

impl Lower<'_> {
    /// Lowers node `index` with the element-wise functions that follow it as one step, if there are any.
    pub(super) fn chain(&mut self, index: usize) -> R<bool> {
        let Some((chain, end)) = self.followed(index) else { return Ok(false) };
        if let Err((next, miss)) = end {
            self.miss(&self.graph.nodes[next], Pattern::Chain, miss);
        }
        if !self.worth(index, &chain) {
            return Ok(false);
        }
        let dims = self.dims(chain.value)?;
        if dims.contains(&0) {
            return Ok(false);
        }
        let (mut views, mut dequantize) = (Vec::new(), Vec::new());
        for id in &chain.reads {
            let (view, f) = self.stored(*id)?;
            views.push(view);
            dequantize.push(f);
        }
        chain.nodes.iter().for_each(|&i| self.fused[i] = true);
        let n = &self.graph.nodes[index];
        let (value, quantization) = self.fuse_quantizer(chain.value)?;
        let quantize = quantization.map(Quantization::quantizer);
        let like = views.iter().find(|v| v.dims == dims).cloned();
        let out = match &like {
            Some(v) => self.place_like(value, v)?,
            None => self.place(value, &dims),
        };
        self.set(value, out.clone());
        let reads: Vec<View> = views.iter().map(|v| v.expanded(&dims)).collect();
        let loops = Loops::new(&reads.iter().chain([&out]).collect::<Vec<_>>());
        let plan = Functions { calls: chain.calls, dequantize, quantize };
        self.push(n, Kind::Chain(Box::new(plan), loops), reads, vec![out], 0);
        Ok(true)
    }

    /// Whether the chain that begins with node `index` saves a pass over a tensor.
    fn worth(&self, index: usize, c: &Chain) -> bool {
        let two = matches!(self.graph.nodes[index].op, Op::Binary(_));
        let quantized = |id: &ValueId| self.views[id.0].is_none() && self.dequantized.contains_key(id);
        c.nodes.len() > 1 || (two && c.reads.iter().any(quantized))
    }

    /// A value as it is stored, and what dequantizes it.
    fn stored(&mut self, id: ValueId) -> R<(View, Option<eltwise::Unary>)> {
        match self.dequantized.get(&id) {
            Some((x, q)) if self.views[id.0].is_none() => {
                let f = eltwise::Unary::Dequantize { scale: q.scale, zero: q.zero_point };
                Ok((x.clone(), Some(f)))
            }
            _ => Ok((self.get(id)?, None)),
        }
    }

    /// The chain that begins with node `index`, and the node that it does not take, and why.
    fn followed(&self, index: usize) -> Option<(Chain, Result<(), (usize, Miss)>)> {
        let n = &self.graph.nodes[index];
        let x = self.beginning(n)?;
        let mut c = Chain { value: x, calls: Vec::new(), reads: vec![x], nodes: Vec::new() };
        let dims = self.graph.value(n.output()?).dims()?;
        self.call(&mut c, index).ok()?;
        while let Some(next) = self.next_reader(c.value) {
            let shape = self.graph.nodes[next].output().and_then(|y| self.graph.value(y).dims());
            let same = match shape.as_ref() == Some(&dims) {
                true => Ok(()),
                false if matches!(self.graph.nodes[next].op, Op::Binary(_)) => {
                    Err(Miss::Because(Reason::Shape(Part::Operand)))
                }
                false => Err(Miss::Other),
            };
            if let Err(miss) = same.and_then(|()| self.call(&mut c, next)) {
                return Some((c, Err((next, miss))));
            }
        }
        Some((c, Ok(())))
    }

    /// The operand of `n` that the chain follows: the first that is computed, of all the result's elements if any is.
    fn beginning(&self, n: &Node) -> Option<ValueId> {
        let dims = self.graph.value(n.output()?).dims()?;
        let computed = |v: &ValueId| self.computed[v.0] && !self.constants.contains_key(v);
        let whole = |v: &ValueId| self.graph.value(*v).dims().as_ref() == Some(&dims);
        let all = || n.inputs.iter().flatten().copied().filter(computed);
        all().find(whole).or_else(|| all().next())
    }

    /// The only node that reads `id`, perhaps as both of its operands.
    fn next_reader(&self, id: ValueId) -> Option<usize> {
        let (first, rest) = self.readers[id.0].split_first()?;
        let same = rest.iter().all(|r| r == first) && self.uses[id.0] == rest.len() + 1;
        (same && !self.fused[*first] && !self.watched.contains(&id)).then_some(*first)
    }

    /// Adds node `index`, which reads the chain's value, to the chain; nothing is added where it does not fit.
    fn call(&self, c: &mut Chain, index: usize) -> Matched<()> {
        let n = &self.graph.nodes[index];
        matches!(n.op, Op::Unary(_) | Op::Clip | Op::Binary(_)).or_other()?;
        let y = n.output().or_other()?;
        self.is_float(y).because(Reason::NotFloat(Part::Result))?;
        let floats = n.inputs.iter().flatten().all(|i| self.is_float(*i));
        floats.because(Reason::NotFloat(Part::Operand))?;
        let mut reads = c.reads.clone();
        let calls = match &n.op {
            Op::Unary(u) => vec![Call::Unary(vectorised(*u).because(Reason::NoKernel)?)],
            Op::Clip => match self.activation(n).because(Reason::NotConstant(Part::Operand))? {
                Act::Clamp(a, b) => vec![Call::Unary(eltwise::Unary::Clamp(a, b))],
                Act::None | Act::Leaky(_) => return Err(Miss::Other),
            },
            Op::Binary(b) => {
                let (a, z) = (n.input(0).or_other()?, n.input(1).or_other()?);
                let turned = a != c.value;
                let other = if turned { a } else { z };
                let operand = self.other_operand(other, c.value, &mut reads)?;
                combined(two_values(*b).because(Reason::NoKernel)?, operand, turned)
            }
            _ => return Err(Miss::Other),
        };
        c.calls.extend(calls);
        (c.reads, c.value) = (reads, y);
        c.nodes.push(index);
        Ok(())
    }

    /// Where a function finds its other operand.
    fn other_operand(&self, other: ValueId, value: ValueId, reads: &mut Vec<ValueId>) -> Matched<Operand> {
        if other == value {
            return Ok(Operand::Last);
        }
        if let Some(t) = self.constants.get(&other).filter(|t| t.len() == 1) {
            return t.to_f32().and_then(|v| v.first().copied()).map(Operand::Number).or_other();
        }
        if let Some(k) = reads.iter().position(|r| *r == other) {
            return Ok(Operand::Read(k));
        }
        let known = self.computed[other.0] || self.constants.contains_key(&other);
        known.because(Reason::Later(Part::Operand))?;
        (reads.len() < READS).because(Reason::Most(READS))?;
        reads.push(other);
        Ok(Operand::Read(reads.len() - 1))
    }
}

/// A function of the chain's value and another, `turned` where the chain's value is the second.
fn combined(f: eltwise::Binary, other: Operand, turned: bool) -> Vec<Call> {
    let commutes = matches!(f, eltwise::Binary::Add | eltwise::Binary::Mul);
    match turned && !commutes {
        false => vec![Call::Binary(f, other)],
        true => vec![Call::Reversed(f, other)],
    }
}
