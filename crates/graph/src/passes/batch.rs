//! Sizes of the batch and of channels that exporters wrote out, where the operator can take them from its input: what
//! stays is right for any batch, and for channels that pruning removes.

use crate::{Graph, Op, Result, Tensor, ValueId};

/// Lets `Reshape` copy a first size of 1 from its input, and `Resize` leave batch and channels alone, where sizes say
/// just that.
pub(super) fn free(g: &mut Graph, budget: usize) -> Result<usize> {
    let mut n = 0;
    let mut i = 0;
    while i < g.nodes.len() && n < budget {
        n += match g.nodes[i].op {
            Op::Reshape { allow_zero: false } => reshape(g, i),
            Op::Resize(_) => resize(g, i),
            _ => None,
        }
        .is_some() as usize;
        i += 1;
    }
    Ok(n)
}

/// Replaces the constant at input `k` of node `i`.
fn replace(g: &mut Graph, i: usize, k: usize, list: &[i64]) {
    let name = g.node_name(&g.nodes[i]).to_owned();
    let own = g.constant(&format!("{name}.sizes"), Tensor::i64s(list));
    g.nodes[i].inputs[k] = Some(own);
}

fn reshape(g: &mut Graph, i: usize) -> Option<()> {
    let (x, target) = (g.nodes[i].input(0)?, g.nodes[i].input(1)?);
    if g.constants.contains_key(&x) {
        return None;
    }
    let first = g.value(x).shape.as_ref()?.first()?.known();
    let mut list = g.constants.get(&target)?.to_i64()?;
    if list.first() != Some(&1) || first != Some(1) {
        return None;
    }
    list[0] = 0;
    replace(g, i, 1, &list);
    Some(())
}

fn resize(g: &mut Graph, i: usize) -> Option<()> {
    let node = &g.nodes[i];
    let Op::Resize(r) = &node.op else { return None };
    let (x, sizes, y) = (node.input(0)?, node.input(3)?, node.output()?);
    let [from, to] = [x, y].map(|v| g.value(v).shape.clone());
    let (from, to) = (from?, to?);
    let rank = from.len();
    let same = |a: usize| from[a].known().is_some() && from[a] == to[a];
    if rank < 3 || to.len() != rank || !r.axes.is_empty() || r.aspect != 0 || !(same(0) && same(1)) {
        return None;
    }
    let spatial = spatial_sizes(g, i, sizes)?;
    // A node that computes sizes may stand before it.
    let at = g.nodes.iter().position(|n| n.output() == Some(y))?;
    let Op::Resize(r) = &mut g.nodes[at].op else { return None };
    r.axes = (2..rank as i64).collect();
    // The region of interest that some files give has a place for each axis.
    g.nodes[at].inputs[1] = None;
    g.nodes[at].inputs[3] = Some(spatial);
    Some(())
}

/// The sizes behind the first two of `sizes`, which node `i` reads; computed before it where they are computed.
fn spatial_sizes(g: &mut Graph, i: usize, sizes: ValueId) -> Option<ValueId> {
    let name = g.node_name(&g.nodes[i]).to_owned();
    if let Some(list) = g.constants.get(&sizes).map(Tensor::to_i64) {
        return Some(g.constant(&format!("{name}.sizes"), Tensor::i64s(list?.get(2..)?)));
    }
    let [start, end] = [2, i64::MAX].map(|v| g.constant(&format!("{name}.bound"), Tensor::i64s(&[v])));
    let out = g.fresh(&format!("{name}.sizes"));
    let inputs = vec![Some(sizes), Some(start), Some(end)];
    let name = g.value(out).name.clone();
    g.nodes.insert(i, crate::Node { name, op: Op::Slice, inputs, outputs: vec![Some(out)] });
    Some(out)
}

#[cfg(test)]
mod tests {
    use crate::build::Builder;
    use crate::op::{Coordinates, Interpolation, Resize, Unary};
    use crate::{Dim, Graph, Op, Tensor, infer, passes};

    /// An image is halved into a row, or its size is doubled as `nc + 2·hw` says.
    fn network(resize: bool) -> Graph {
        let mut b = Builder::new("sizes");
        let size = |name: &str| Dim::Symbol(name.into());
        let x = b.input("x", &[Dim::Known(1), Dim::Known(4), size("h"), size("w")]);
        let x = b.unary(x, Unary::Relu);
        let y = if resize {
            let shape = b.node(Op::Shape { start: 2, end: None }, &[x]);
            let first = b.constant("nc", Tensor::i64s(&[1, 4]));
            let sizes = b.node(Op::Concat { axis: 0 }, &[first, shape]);
            let (interpolation, coordinates) = (Interpolation::Linear, Coordinates::HalfPixel);
            let r = Resize { interpolation, coordinates, antialias: false, axes: vec![], aspect: 0 };
            b.node_opt(Op::Resize(r), &[Some(x), None, None, Some(sizes)])
        } else {
            let target = b.constant("target", Tensor::i64s(&[1, -1]));
            b.node(Op::Reshape { allow_zero: false }, &[x, target])
        };
        b.output(y, "y", &[]);
        let mut g = b.finish();
        let y = g.outputs[0];
        g.values[y.0].shape = None;
        g
    }

    #[test]
    fn sizes_that_were_written_out_follow_the_batch() {
        for (resize, wanted) in [(true, vec![3, 4, 6, 8]), (false, vec![3, 192])] {
            let mut g = network(resize);
            passes::trainable(&mut g).unwrap();
            g.set_input_dims(0, &[3, 4, 6, 8]);
            let y = g.outputs[0];
            let inputs = g.inputs.clone();
            for (i, v) in g.values.iter_mut().enumerate() {
                let id = crate::ValueId(i);
                if !inputs.contains(&id) && !g.constants.contains_key(&id) {
                    v.shape = None;
                }
            }
            infer::infer(&mut g).unwrap();
            assert_eq!(g.value(y).dims(), Some(wanted), "{:?}", g.nodes);
        }
    }
}
