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
        // The first output may be one that nobody asks for.
        let Some(y) = node.outputs.iter().flatten().next().copied() else { continue };
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
    g.nodes.retain(|n| !n.outputs.iter().flatten().next().is_some_and(|y| constants.contains_key(y)));
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
    use crate::op::*;
    use crate::{Dim, Op, Tensor, passes};

    #[test]
    fn constants_are_computed_whatever_the_operator() {
        let mut b = Builder::new("constants");
        let x = b.input("x", &[Dim::Known(1)]);
        let values = |n: usize| (0..n).map(|i| (i as f32 * 0.7).sin()).collect::<Vec<_>>();
        let image = b.constant("image", Tensor::f32(&[1, 2, 4, 4], &values(32)));
        let rows = b.constant("rows", Tensor::f32(&[3, 1, 4], &values(12)));
        let mut ints = |v: &[i64]| b.constant("ints", Tensor::i64s(v));
        let (one, two, pads, last) = (ints(&[1]), ints(&[2]), ints(&[0, 0, 1, 1, 0, 0, 1, 1]), ints(&[-1]));
        let index = ints(&[0, 1]);
        let conv = b.conv(image, Tensor::f32(&[3, 2, 3, 3], &values(54)), None, Window::of(&[3, 3]));
        let lstm = Recurrent { cell: Cell::Lstm, direction: Direction::Forward, hidden: 2 };
        let gates = [[1, 8, 4], [1, 8, 2]].map(|d| Tensor::f32(&d, &values(d.iter().product())));
        let [w, r] = gates.map(|t| b.constant("gates", t));
        let pool = Pool { window: Window::of(&[2, 2]), ceil_mode: false, count_include_pad: false };
        let einsum = Op::Einsum { equation: "abc,abd->cd".into() };
        let norm = Op::Reduce { kind: Reduction::L2, keep_dims: true, noop_with_empty_axes: false };
        let all = [
            b.node(Op::MaxPool(pool), &[conv]),
            b.node(Op::GlobalAveragePool, &[image]),
            b.node(Op::Pad { mode: PadMode::Reflect }, &[image, pads]),
            b.node(einsum, &[rows, rows]),
            b.node(norm, &[image, last]),
            b.node(Op::Softmax { axis: 1, log: true }, &[rows]),
            b.node(Op::CumSum { exclusive: false, reverse: true }, &[rows, two]),
            b.node(Op::Gather { axis: 2 }, &[image, index]),
            b.node(Op::DepthToSpace { block: 1, column_row: false }, &[image]),
            b.node(Op::Recurrent(lstm), &[rows, w, r]),
            b.node(Op::Split { axis: 0 }, &[rows]),
        ];
        let sum = Op::Reduce { kind: Reduction::Sum, keep_dims: false, noop_with_empty_axes: false };
        let mut total = b.node(sum.clone(), &[image]);
        for v in all {
            let one = b.node(sum.clone(), &[v]);
            total = b.add(total, one);
        }
        let total = b.node(Op::Expand, &[total, one]);
        let y = b.add(total, x);
        b.output(y, "y", &[Dim::Known(1)]);
        let mut g = b.finish();
        // Of three outputs only the last is asked for.
        for n in g.nodes.iter_mut().filter(|n| matches!(n.op, Op::Recurrent(_) | Op::Split { .. })) {
            n.outputs = vec![None, None, n.outputs[0]];
        }
        passes::fold(&mut g).unwrap();
        let left: Vec<String> = g.nodes.iter().map(|n| n.op.name()).collect();
        assert_eq!(left, ["Add"]);
    }

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
