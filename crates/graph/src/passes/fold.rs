//! Constant folding.

use crate::{DType, Graph, Op, Result, Tensor, eval, infer};

/// A folded result larger than this stays a computation: expanding a small constant would only
/// make the file and the memory larger.
const LARGEST: usize = 1 << 22;

/// Most elements of the inputs together: the reference holds them in float64.
const LARGEST_INPUTS: usize = 1 << 25;

/// Nodes that all rounds together may visit: each round may find one shape more.
const MOST_VISITED: usize = 1 << 22;

/// Computes nodes whose inputs are all constant, and `Shape` of values whose shape is known, which makes more shapes known
/// and so more constants, until there are no more.
pub(super) fn fold_constants(g: &mut Graph, budget: usize) -> Result<usize> {
    let (mut n, mut visited) = (0, 0);
    loop {
        visited += g.nodes.len();
        let more = fold_once(g, budget - n)?;
        n += more;
        // What is not found by then is computed at run time, or reported at lowering.
        if more == 0 || n == budget || visited > MOST_VISITED {
            return Ok(n);
        }
        infer::infer(g)?;
    }
}

fn fold_once(g: &mut Graph, budget: usize) -> Result<usize> {
    let mut n = 0;
    for i in 0..g.nodes.len() {
        if n == budget {
            break;
        }
        let node = &g.nodes[i];
        let Some(y) = node.output() else { continue };
        // Quantized weights stay so: the engine multiplies them as they are.
        let number = node
            .input(0)
            .and_then(|x| g.constants.get(&x))
            .is_some_and(|t| t.len() == 1 && t.dims().len() < 2);
        let kept = matches!(node.op, Op::Unknown(_)) || (matches!(node.op, Op::Dequantize { .. }) && !number);
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
    // What is no larger than a constant that it is made of takes its place.
    let given = node.inputs.iter().flatten().filter_map(|i| g.constants.get(i)).map(Tensor::len).max();
    let most = LARGEST.max(given.unwrap_or(0));
    let small = node.outputs.iter().flatten().all(|&o| size(o).is_none_or(|n| n <= most));
    let args: Option<Vec<Option<Tensor>>> = node
        .inputs
        .iter()
        .map(|id| match id {
            Some(id) => g.constants.get(id).cloned().map(Some),
            None => Some(None),
        })
        .collect();
    let args = args.filter(|_| small)?;
    // Copies and casts of large weights are folded whatever their size.
    let elements: usize = args.iter().flatten().map(Tensor::len).sum();
    if elements > LARGEST_INPUTS && node.inputs.len() > 1 {
        return None;
    }
    // What the reference cannot compute stays in the graph and is reported at lowering.
    let out = eval::node(&node.op, &args, node.outputs.len()).ok()?;
    let odd = |t: &Tensor| t.dtype() == DType::Str;
    (!out.iter().any(odd)).then_some(out)
}

#[cfg(test)]
mod tests {
    use crate::build::Builder;
    use crate::{Dim, Op, Tensor, passes};

    #[test]
    fn shapes_that_follow_from_one_another_are_all_found() {
        let mut b = Builder::new("chain");
        let mut x = b.input("x", &[Dim::Known(4), Dim::Known(6)]);
        let [one, rest] = [vec![0], vec![-1]].map(|v| b.constant("c", Tensor::i64s(&v)));
        // Each shape is computed from the one before, with a size that is found from the number of elements.
        for _ in 0..40 {
            let shape = b.node(Op::Shape { start: 0, end: None }, &[x]);
            let first = b.node(Op::Gather { axis: 0 }, &[shape, one]);
            let target = b.node(Op::Concat { axis: 0 }, &[first, rest]);
            x = b.node(Op::Reshape { allow_zero: false }, &[x, target]);
            x = b.node(Op::Transpose { perm: vec![1, 0] }, &[x]);
        }
        b.output(x, "y", &[Dim::Known(4), Dim::Known(6)]);
        let mut g = b.finish();
        passes::fold(&mut g).unwrap();
        let y = g.value(g.outputs[0]);
        assert_eq!(y.dims(), Some(vec![4, 6]));
        assert!(g.nodes.iter().all(|n| matches!(n.op, Op::Reshape { .. } | Op::Transpose { .. })));
    }
}
