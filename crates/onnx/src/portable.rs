//! What other readers of ONNX need, though the standard does not ask for it.

use ampoule_graph::{Graph, Op, Tensor, ValueId, infer};
use std::collections::BTreeSet;

/// `graph` as other readers take it: names of nodes are unique, and a `Resize` to known sizes speaks of all axes.
pub(crate) fn portable(graph: &Graph) -> Graph {
    let mut g = graph.clone();
    // Passes leave new values without shapes. A graph that contradicts itself is written as it is.
    let mut shaped = graph.clone();
    if infer::infer(&mut shaped).is_ok() {
        (0..g.nodes.len()).for_each(|i| _ = whole_sizes(&mut g, &shaped, i));
    }
    // Nodes that passes made of one have its name; ONNX Runtime refuses the file.
    let mut taken: BTreeSet<String> = g.nodes.iter().map(|n| n.name.clone()).collect();
    let mut seen = BTreeSet::new();
    for n in g.nodes.iter_mut().filter(|n| !n.name.is_empty()) {
        if !seen.insert(n.name.clone()) {
            let free = (2..).map(|k| format!("{}_{k}", n.name)).find(|name| !taken.contains(name));
            n.name = free.unwrap_or_default();
            taken.insert(n.name.clone());
        }
    }
    g
}

/// Gives node `i`, a `Resize` of all axes but batch and channels, the sizes of those too where they are known: ONNX Runtime's
/// own layout of channels fails on the shorter list.
fn whole_sizes(g: &mut Graph, shaped: &Graph, i: usize) -> Option<()> {
    let Op::Resize(r) = &g.nodes[i].op else { return None };
    let node = &g.nodes[i];
    let (x, sizes): (ValueId, ValueId) = (node.input(0)?, node.input(3)?);
    let dims = shaped.value(x).shape.as_ref()?;
    let spatial = (2..dims.len() as i64).collect::<Vec<_>>();
    if r.axes != spatial || r.aspect != 0 || dims.len() < 3 {
        return None;
    }
    let mut list = vec![dims[0].known()? as i64, dims[1].known()? as i64];
    list.extend(g.constants.get(&sizes)?.to_i64()?);
    let whole = g.constant(&format!("{}.whole", g.value(sizes).name.clone()), Tensor::i64s(&list));
    let Op::Resize(r) = &mut g.nodes[i].op else { return None };
    r.axes.clear();
    g.nodes[i].inputs[3] = Some(whole);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ampoule_graph::Dim;
    use ampoule_graph::build::Builder;
    use ampoule_graph::op::{Coordinates, Interpolation, Resize, Unary};

    fn network(batch: Dim) -> Graph {
        let mut b = Builder::new("sizes");
        let known = Dim::Known;
        let x = b.input("x", &[batch.clone(), known(3), known(4), known(5)]);
        let sizes = b.constant("sizes", Tensor::i64s(&[8, 10]));
        let (interpolation, coordinates) = (Interpolation::Linear, Coordinates::HalfPixel);
        let r = Resize { interpolation, coordinates, antialias: false, axes: vec![2, 3], aspect: 0 };
        let y = b.node_opt(Op::Resize(r), &[Some(x), None, None, Some(sizes)]);
        let y = b.unary(y, Unary::Relu);
        b.output(y, "y", &[batch, known(3), known(8), known(10)]);
        let mut g = b.finish();
        g.nodes.iter_mut().for_each(|n| n.name = "same".into());
        g
    }

    fn sizes(g: &Graph) -> Vec<i64> {
        g.constants[&g.nodes[0].input(3).unwrap()].to_i64().unwrap()
    }

    #[test]
    fn names_are_unique_and_sizes_whole_where_they_are_known() {
        let g = portable(&network(Dim::Known(1)));
        let names: Vec<&str> = g.nodes.iter().map(|n| &n.name[..]).collect();
        assert_eq!(names, ["same", "same_2"]);
        assert_eq!(sizes(&g), [1, 3, 8, 10]);
        assert!(matches!(&g.nodes[0].op, Op::Resize(r) if r.axes.is_empty()));
        let free = portable(&network(Dim::Symbol("n".into())));
        assert_eq!(sizes(&free), [8, 10]);
    }
}
