//! Nodes that take parts of a value apart: slices and splits, along the axis of channels or another.

use ampoule_graph::op::{slice_plan, split_sizes};
use ampoule_graph::{Graph, Node, Op, Tensor, ValueId};
use std::ops::Range;

/// A size that stands in for one that is not known.
const STAND_IN: usize = 1 << 20;

/// The integers of a constant input.
pub(super) fn ints(g: &Graph, n: &Node, input: usize) -> Option<Vec<i64>> {
    g.constants.get(&n.input(input)?)?.to_i64()
}

/// Whether node `n` lacks input `input`, or it is a constant.
fn known(g: &Graph, n: &Node, input: usize) -> bool {
    n.input(input).is_none_or(|v| g.constants.contains_key(&v))
}

/// Which of the `channels` on axis `axis` of the input of a slice or split each output takes. `None` for other nodes, and where
/// that is not a range that is known.
pub(super) fn ranges(g: &Graph, n: &Node, axis: usize, channels: usize) -> Option<Vec<Range<usize>>> {
    let shape = g.value(n.input(0)?).shape.as_ref()?;
    if shape.get(axis)?.known() != Some(channels) {
        return None;
    }
    match n.op {
        Op::Slice if (1..5).all(|i| known(g, n, i)) => {
            let dims: Vec<usize> = shape.iter().map(|d| d.known().unwrap_or(STAND_IN)).collect();
            let [starts, ends, axes, steps] = [1, 2, 3, 4].map(|i| ints(g, n, i));
            let plan = slice_plan(&dims, &starts?, &ends?, axes.as_deref(), steps.as_deref()).ok()?;
            let (first, count, step) = *plan.get(axis)?;
            (step == 1).then(|| std::iter::once(first..first + count).collect())
        }
        Op::Split { axis: along } if known(g, n, 1) => {
            if along.rem_euclid(shape.len() as i64) as usize != axis {
                return Some(vec![0..channels; n.outputs.len()]);
            }
            let sizes = split_sizes(channels, ints(g, n, 1).as_deref(), n.outputs.len()).ok()?;
            let ends = sizes.iter().scan(0, |end, size| {
                *end += size;
                Some(*end)
            });
            Some(ends.zip(&sizes).map(|(end, size)| end - size..end).collect())
        }
        _ => None,
    }
}

/// The inputs of a slice or split, by their place, for a value of which only the channels `places` of axis `axis` are left.
pub(super) fn constants(
    g: &Graph,
    n: &Node,
    axis: usize,
    channels: usize,
    places: &[usize],
) -> Vec<(usize, Tensor)> {
    let Some(ranges) = ranges(g, n, axis, channels) else { return Vec::new() };
    let before = |end: usize| places.iter().filter(|p| **p < end).count() as i64;
    let rank = n.input(0).and_then(|v: ValueId| g.value(v).shape.as_ref()).map_or(0, Vec::len) as i64;
    match n.op {
        Op::Slice => {
            let (Some(mut starts), Some(mut ends)) = (ints(g, n, 1), ints(g, n, 2)) else {
                return Vec::new();
            };
            let axes = ints(g, n, 3).unwrap_or_else(|| (0..starts.len() as i64).collect());
            for ((at, start), end) in axes.iter().zip(&mut starts).zip(&mut ends) {
                if at.rem_euclid(rank.max(1)) as usize == axis {
                    (*start, *end) = (before(ranges[0].start), before(ranges[0].end));
                }
            }
            vec![(1, Tensor::i64s(&starts)), (2, Tensor::i64s(&ends))]
        }
        Op::Split { axis: along } if along.rem_euclid(rank.max(1)) as usize == axis => {
            let sizes: Vec<i64> = ranges.iter().map(|r| before(r.end) - before(r.start)).collect();
            vec![(1, Tensor::i64s(&sizes))]
        }
        _ => Vec::new(),
    }
}
