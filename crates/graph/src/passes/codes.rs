//! Operators between a dequantizer and a quantizer of the same scale and zero point: what only moves or
//! averages values does the same to their codes.

use crate::{DType, Graph, Node, Op, Result, Tensor, ValueId};

/// What a code means: one scale and one zero point for the whole tensor, and the codes' type.
#[derive(PartialEq)]
struct Meaning(f32, i64, DType);

/// Lets operators take and give codes; removes quantizers of what was just dequantized.
pub(super) fn move_codes(g: &mut Graph, budget: usize) -> Result<usize> {
    let mut n = 0;
    while n < budget {
        let producers = g.producers();
        let uses = g.uses();
        let found = (0..g.nodes.len()).find_map(|q| candidate(g, q, &producers, &uses));
        let Some((q, node)) = found else { break };
        let (Some(y), Some(x)) = (g.nodes[q].output(), g.nodes[q].input(0)) else { break };
        match node {
            None => {
                let codes = source(g, &producers, x).map(|s| s.0);
                let Some(codes) = codes else { break };
                g.nodes[q].op = Op::Identity;
                g.nodes[q].inputs = vec![Some(codes)];
            }
            Some(i) => {
                let inputs: Vec<_> = g.nodes[i].inputs[..data(&g.nodes[i])]
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

/// How many of a node's inputs are data.
fn data(n: &Node) -> usize {
    if matches!(n.op, Op::Concat { .. }) { n.inputs.len() } else { 1 }
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
    let meaning = meaning(g, node, to)?;
    if source(g, producers, x).is_some_and(|s| s.1 == meaning) && !g.outputs.contains(&y) {
        return Some((q, None));
    }
    let i = producers[x.0]?;
    let before = &g.nodes[i];
    let moves = match &before.op {
        Op::AveragePool(p) => !p.count_include_pad,
        Op::Resize(_) | Op::MaxPool(_) | Op::Concat { .. } => before.outputs.len() == 1,
        _ => false,
    };
    let same = |v: &Option<ValueId>| v.and_then(|v| source(g, producers, v)).is_some_and(|s| s.1 == meaning);
    let whole = before.inputs[..data(before)].iter().all(same);
    (moves && whole && uses[x.0] == 1 && !g.outputs.contains(&x)).then_some((q, Some(i)))
}

/// The codes behind a dequantized value, and their meaning.
fn source(g: &Graph, producers: &[Option<usize>], v: ValueId) -> Option<(ValueId, Meaning)> {
    let n = &g.nodes[producers[v.0]?];
    let Op::Dequantize { .. } = n.op else { return None };
    let codes = n.input(0).filter(|c| !g.constants.contains_key(c))?;
    Some((codes, meaning(g, n, g.value(codes).dtype?)?))
}

fn meaning(g: &Graph, n: &Node, t: DType) -> Option<Meaning> {
    let constant = |i: usize| n.input(i).map(|v| g.constants.get(&v));
    let scale = constant(1)??.to_f32()?;
    let zero = match constant(2) {
        None => vec![0],
        Some(t) => t.and_then(Tensor::to_i64)?,
    };
    match (&scale[..], &zero[..]) {
        ([s], [z]) => Some(Meaning(*s, *z, t)),
        _ => None,
    }
}
