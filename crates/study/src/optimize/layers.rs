//! How many layers a network has, and how many of them are in INT8.

use ampoule_graph::{Graph, Node, Op};

/// How the weights of a layer are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weights {
    Float,
    Int8,
}

/// The weights of a layer, which is a Conv, ConvTranspose, Gemm or MatMul with constant weights: floats, or integers
/// behind a DequantizeLinear. `None` for other nodes.
fn weights(g: &Graph, producers: &[Option<usize>], node: &Node) -> Option<Weights> {
    let kind = matches!(node.op, Op::Conv { .. } | Op::ConvTranspose { .. } | Op::Gemm { .. } | Op::MatMul);
    let value = node.input(1).filter(|_| kind)?;
    if g.constants.contains_key(&value) {
        return Some(Weights::Float);
    }
    let from = &g.nodes[producers[value.0]?];
    let constant = from.input(0).is_some_and(|x| g.constants.contains_key(&x));
    (constant && matches!(from.op, Op::Dequantize { .. })).then_some(Weights::Int8)
}

/// Layers of a network, and those of them in INT8.
pub(super) fn count(g: &Graph) -> [usize; 2] {
    let producers = g.producers();
    let layers: Vec<Weights> = g.nodes.iter().filter_map(|n| weights(g, &producers, n)).collect();
    [layers.len(), layers.iter().filter(|w| **w == Weights::Int8).count()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use ampoule_graph::build::Builder;
    use ampoule_graph::{DType, Dim, Tensor};

    /// Two products with constant weights, of which `int8` are stored as integers, and one of two computed values.
    fn products(int8: usize) -> Graph {
        let mut b = Builder::new("products");
        let x = b.input("x", &[Dim::Known(2), Dim::Known(2)]);
        let mut y = x;
        for i in 0..2 {
            let w = if i < int8 {
                let codes = b.constant("codes", Tensor::from_i64(DType::I8, &[2, 2], &[1, 2, 3, 4]).unwrap());
                let scale = b.constant("scale", Tensor::f32(&[], &[0.5]));
                b.node(Op::Dequantize { axis: 0 }, &[codes, scale])
            } else {
                b.constant("w", Tensor::f32(&[2, 2], &[1.0; 4]))
            };
            y = b.node(Op::MatMul, &[y, w]);
        }
        let y = b.node(Op::MatMul, &[y, x]);
        b.output(y, "y", &[Dim::Known(2), Dim::Known(2)]);
        b.finish()
    }

    #[test]
    fn both_numbers_count_the_same_layers() {
        for int8 in 0..3 {
            assert_eq!(count(&products(int8)), [2, int8]);
        }
    }
}
