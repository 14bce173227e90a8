//! Operators between a dequantizer and a quantizer of the same scale and zero point: what only moves or
//! averages values does the same to quantized ones.

use crate::op::Quantized;
use crate::{DType, Graph, Node, Op, Result, Tensor, ValueId};

/// How quantized values become real ones: one scale and one zero point for the whole tensor, and the element type.
#[derive(PartialEq)]
struct Parameters {
    scale: f32,
    zero_point: i64,
    dtype: DType,
}

/// Lets operators take and give quantized values; removes quantizers of what was just dequantized.
pub(super) fn carry(g: &mut Graph, budget: usize) -> Result<usize> {
    let mut n = 0;
    while n < budget {
        let producers = g.producers();
        let uses = g.uses();
        let found = (0..g.nodes.len()).find_map(|q| candidate(g, q, &producers, &uses));
        let Some((q, node)) = found else { break };
        let (Some(y), Some(x)) = (g.nodes[q].output(), g.nodes[q].input(0)) else { break };
        match node {
            None => {
                let Some((quantized, _)) = source(g, &producers, x) else { break };
                g.nodes[q].op = Op::Identity;
                g.nodes[q].inputs = vec![Some(quantized)];
            }
            Some(i) => {
                let inputs: Vec<_> = data(&g.nodes[i])
                    .iter()
                    .map(|v| v.and_then(|v| source(g, &producers, v)).map(|s| s.0))
                    .collect();
                g.nodes[i].inputs[..inputs.len()].copy_from_slice(&inputs);
                // The operator takes the quantizer's place, which is behind all that it reads.
                let mut moved = g.nodes[i].clone();
                moved.outputs = vec![Some(y)];
                g.nodes[q] = moved;
                g.nodes.remove(i);
            }
        }
        n += 1;
    }
    Ok(n)
}

/// Moves dequantizers behind what only moves values about, which then moves quantized ones: bytes, and often up to a
/// quantizer that is not needed then.
pub(super) fn sink(g: &mut Graph, budget: usize) -> Result<usize> {
    let (mut n, mut i) = (0, 0);
    let mut producers = g.producers();
    while i < g.nodes.len() && n < budget {
        if let Some(behind) = sinks(g, i, &producers) {
            g.nodes[i].inputs[0] = g.nodes[behind].input(0);
            let (op, inputs) = (g.nodes[behind].op.clone(), g.nodes[behind].inputs.clone());
            let name = g.nodes[i].name.clone();
            for k in 0..g.nodes[i].outputs.len() {
                let Some(y) = g.nodes[i].outputs[k] else { continue };
                let quantized = g.fresh(&name);
                g.nodes[i].outputs[k] = Some(quantized);
                let mut inputs = inputs.clone();
                inputs[0] = Some(quantized);
                g.nodes.insert(
                    i + 1,
                    Node { name: name.clone(), op: op.clone(), inputs, outputs: vec![Some(y)] },
                );
            }
            producers = g.producers();
            n += 1;
        }
        i += 1;
    }
    Ok(n)
}

/// The dequantizer of one scale before node `i`, if that is a view of what it dequantizes.
fn sinks(g: &Graph, i: usize, producers: &[Option<usize>]) -> Option<usize> {
    let node = &g.nodes[i];
    if node.op.row().quantized != Quantized::View || matches!(node.op, Op::Identity) {
        return None;
    }
    let x = node.input(0)?;
    let (_, parameters) = source(g, producers, x)?;
    matches!(parameters.dtype, DType::U8 | DType::I8).then(|| producers[x.0]).flatten()
}

/// The inputs of a node that are data.
fn data(n: &Node) -> &[Option<ValueId>] {
    &n.inputs[..n.op.data_inputs(n.inputs.len())]
}

/// Whether quantizer `q` can go: with the operator before it, or by itself.
fn candidate(
    g: &Graph,
    q: usize,
    producers: &[Option<usize>],
    uses: &[usize],
) -> Option<(usize, Option<usize>)> {
    let node = &g.nodes[q];
    let Op::Quantize { to, .. } = node.op else { return None };
    if !matches!(to, DType::U8 | DType::I8) {
        return None;
    }
    let (x, y) = (node.input(0)?, node.output()?);
    let wanted = parameters(g, node, to)?;
    if source(g, producers, x).is_some_and(|s| s.1 == wanted) && !g.outputs.contains(&y) {
        return Some((q, None));
    }
    let i = producers[x.0]?;
    let before = &g.nodes[i];
    let moves = before.op.row().quantized == Quantized::Carried && before.outputs.len() == 1;
    let same = |v: &Option<ValueId>| v.and_then(|v| source(g, producers, v)).is_some_and(|s| s.1 == wanted);
    let whole = data(before).iter().all(same);
    (moves && whole && uses[x.0] == 1 && !g.outputs.contains(&x)).then_some((q, Some(i)))
}

/// The quantized values behind a dequantized one, and their parameters.
fn source(g: &Graph, producers: &[Option<usize>], v: ValueId) -> Option<(ValueId, Parameters)> {
    let n = &g.nodes[producers[v.0]?];
    let Op::Dequantize { .. } = n.op else { return None };
    let quantized = n.input(0).filter(|x| !g.constants.contains_key(x))?;
    Some((quantized, parameters(g, n, g.value(quantized).dtype?)?))
}

fn parameters(g: &Graph, n: &Node, dtype: DType) -> Option<Parameters> {
    let constant = |i: usize| n.input(i).map(|v| g.constants.get(&v));
    let scale = constant(1)??.to_f32()?;
    let zero = match constant(2) {
        None => vec![0],
        Some(t) => t.and_then(Tensor::to_i64)?,
    };
    match (&scale[..], &zero[..]) {
        ([scale], [zero]) => Some(Parameters { scale: *scale, zero_point: *zero, dtype }),
        _ => None,
    }
}
