//! Nodes that do nothing, or whose results nobody reads.

use crate::onnx::holds_subgraph;
use crate::{Graph, Op, Result};

/// Removes `Identity` (dropout at inference included) and casts to the type a value already has.
pub(super) fn remove_identities(g: &mut Graph, budget: usize) -> Result<usize> {
    let mut n = 0;
    for i in 0..g.nodes.len() {
        if n == budget {
            break;
        }
        let node = &g.nodes[i];
        let (Some(x), Some(y)) = (node.input(0), node.output()) else { continue };
        let idle = match &node.op {
            Op::Identity => true,
            Op::Cast { to } => g.value(x).dtype == Some(*to),
            // A function of one tensor in one piece.
            Op::Concat { .. } | Op::Variadic(_) => node.inputs.len() == 1,
            _ => false,
        };
        // A graph output keeps its own name, so its producer stays.
        if !idle || g.outputs.contains(&y) || g.uses()[y.0] == 0 {
            continue;
        }
        g.replace_uses(y, x);
        n += 1;
    }
    Ok(n)
}

/// Removes nodes and constants that no output depends on.
pub(super) fn remove_dead(g: &mut Graph, budget: usize) -> Result<usize> {
    if g.nodes.iter().any(|n| holds_subgraph(&n.op)) {
        // Subgraphs may read any outer value by name.
        return Ok(0);
    }
    let mut n = 0;
    loop {
        let uses = g.uses();
        let dead = g.nodes.iter().position(|x| x.outputs.iter().flatten().all(|o| uses[o.0] == 0));
        let Some(i) = dead.filter(|_| n < budget) else { break };
        g.nodes.remove(i);
        n += 1;
    }
    let uses = g.uses();
    g.constants.retain(|id, _| uses[id.0] > 0);
    Ok(n)
}
