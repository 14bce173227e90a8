//! Constant folding.

use crate::{DType, Graph, Op, Result, Tensor, eval};

/// A folded result larger than this stays a computation: expanding a small constant would only
/// make the file and the memory larger.
const LARGEST: usize = 1 << 22;

/// Computes nodes whose inputs are all constant, and `Shape` of values whose shape is known.
pub(super) fn fold_constants(g: &mut Graph, budget: usize) -> Result<usize> {
    let mut n = 0;
    for i in 0..g.nodes.len() {
        if n == budget {
            break;
        }
        let node = &g.nodes[i];
        let Some(y) = node.output() else { continue };
        // Quantized weights stay so: the engine multiplies them as they are.
        let kept = matches!(node.op, Op::Unknown(_) | Op::Dequantize { .. });
        if g.constants.contains_key(&y) || kept {
            continue;
        }
        let tensors = match fold(g, i) {
            Some(t) => t,
            None => continue,
        };
        let outputs = g.nodes[i].outputs.clone();
        for (o, t) in outputs.iter().zip(tensors) {
            if let Some(o) = o {
                g.set_constant(*o, t);
            }
        }
        n += 1;
    }
    let constants = &g.constants;
    g.nodes.retain(|n| !n.output().is_some_and(|y| constants.contains_key(&y)));
    Ok(n)
}

fn fold(g: &Graph, i: usize) -> Option<Vec<Tensor>> {
    let node = &g.nodes[i];
    if let (Op::Shape { start, end }, Some(x)) = (&node.op, node.input(0))
        && let Some(dims) = g.value(x).dims()
    {
        let (a, b) = crate::op::shape_range(dims.len(), *start, *end);
        let v: Vec<i64> = dims[a..b].iter().map(|&d| d as i64).collect();
        return Some(vec![Tensor::i64s(&v)]);
    }
    if let (Op::Size, Some(x)) = (&node.op, node.input(0))
        && let Some(dims) = g.value(x).dims()
    {
        return Some(vec![Tensor::i64(&[], &[dims.iter().product::<usize>() as i64])]);
    }
    let size = |id: crate::ValueId| g.value(id).dims().map(|d| d.iter().product::<usize>());
    let small = node.outputs.iter().flatten().all(|&o| size(o).is_none_or(|n| n <= LARGEST));
    let args: Option<Vec<Option<Tensor>>> = node
        .inputs
        .iter()
        .map(|id| match id {
            Some(id) => g.constants.get(id).cloned().map(Some),
            None => Some(None),
        })
        .collect();
    let args = args.filter(|_| small)?;
    // What the reference cannot compute stays in the graph and is reported at lowering.
    let out = eval::node(&node.op, &args, node.outputs.len()).ok()?;
    let odd = |t: &Tensor| t.dtype() == DType::Str;
    (!out.iter().any(odd)).then_some(out)
}
