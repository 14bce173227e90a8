//! Nodes that do nothing, or whose results nobody reads.

use crate::{Graph, Op, Result, ValueId};

/// Removes `Identity` (dropout at inference included), casts to the type a value already has, reshapes to the shape it
/// already has and pads by nothing.
pub(super) fn remove_identities(g: &mut Graph, budget: usize) -> Result<usize> {
    let uses = g.uses();
    let mut alias: Vec<ValueId> = (0..g.values.len()).map(ValueId).collect();
    let mut n = 0;
    for node in &g.nodes {
        if n == budget {
            break;
        }
        let (Some(x), Some(y)) = (node.input(0), node.output()) else { continue };
        let idle = match &node.op {
            Op::Identity => true,
            Op::Cast { to } => g.value(x).dtype == Some(*to),
            // A function of one tensor in one piece.
            Op::Concat { .. } | Op::Variadic(_) => node.inputs.len() == 1,
            // From one shape to the same.
            Op::Reshape { .. } | Op::Flatten { .. } | Op::Squeeze | Op::Unsqueeze | Op::Expand => {
                g.value(x).dims().is_some_and(|d| Some(d) == g.value(y).dims())
            }
            Op::Pad { .. } => pads_nothing(g, node),
            Op::Tile => g.value(x).dims().is_some_and(|d| Some(d) == g.value(y).dims()),
            _ => false,
        };
        // A graph output keeps its own name, so its producer stays.
        if idle && !g.outputs.contains(&y) && uses[y.0] > 0 {
            // Nodes are in order, so x has its final name already.
            alias[y.0] = alias[x.0];
            n += 1;
        }
    }
    for v in g.nodes.iter_mut().flat_map(|n| n.inputs.iter_mut().flatten()) {
        *v = alias[v.0];
    }
    Ok(n)
}

/// Whether every pad is 0.
fn pads_nothing(g: &Graph, n: &crate::Node) -> bool {
    let pads = n.input(1).and_then(|p| g.constants.get(&p)).and_then(crate::Tensor::to_i64);
    pads.is_some_and(|p| p.iter().all(|&p| p == 0))
}

/// Removes nodes and constants that no output depends on.
pub(super) fn remove_dead(g: &mut Graph, budget: usize) -> Result<usize> {
    if g.nodes.iter().any(|n| matches!(&n.op, Op::Unknown(u) if u.subgraphs)) {
        // Subgraphs may read any outer value by name.
        return Ok(0);
    }
    // Backwards, a node is read only by nodes that were seen before it.
    let mut needed = vec![false; g.values.len()];
    g.outputs.iter().for_each(|o| needed[o.0] = true);
    let mut keep = vec![true; g.nodes.len()];
    let mut n = 0;
    for (i, node) in g.nodes.iter().enumerate().rev() {
        if n < budget && node.outputs.iter().flatten().all(|o| !needed[o.0]) {
            keep[i] = false;
            n += 1;
        } else {
            node.inputs.iter().flatten().for_each(|v| needed[v.0] = true);
        }
    }
    let mut at = 0;
    g.nodes.retain(|_| {
        at += 1;
        keep[at - 1]
    });
    let uses = g.uses();
    g.constants.retain(|id, _| uses[id.0] > 0);
    Ok(n)
}
