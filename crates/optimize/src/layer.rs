//! Layers: operators whose output channels are weighted sums of input channels (`Op::is_layer`: Conv, ConvTranspose, Gemm,
//! MatMul), with constant weights. Everything in this crate that looks for layers asks here.

use ampoule_graph::op::Quantized;
use ampoule_graph::{Graph, Node, Op};

/// How the weights of a layer are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weights {
    Float,
    Int8,
}

/// The weights of a layer: floats, or integers behind a DequantizeLinear. `None` for nodes that are no layers.
fn weights(g: &Graph, producers: &[Option<usize>], node: &Node) -> Option<Weights> {
    let value = node.input(1).filter(|_| node.op.is_layer())?;
    if g.constants.contains_key(&value) {
        return Some(Weights::Float);
    }
    let from = &g.nodes[producers[value.0]?];
    let constant = from.input(0).is_some_and(|x| g.constants.contains_key(&x));
    (constant && matches!(from.op, Op::Dequantize { .. })).then_some(Weights::Int8)
}

/// Whether a node is a layer that INT8 can compute: a product of integers by the operator table, with float weights of two
/// axes or more and an input that is computed.
pub(crate) fn is_quantizable(g: &Graph, node: &Node) -> bool {
    let weights = node.input(1).and_then(|w| g.constants.get(&w));
    let computed = node.input(0).is_some_and(|x| !g.constants.contains_key(&x));
    let product = node.op.row().quantized == Quantized::Product;
    product && computed && weights.is_some_and(|t| t.dims().len() >= 2 && t.dtype().is_float())
}

/// The axes of its weights that output and input channels lie on, if a node is a layer that computes new channels from all
/// of its input's: no grouped convolution, and no Gemm with a transposed first input.
pub(crate) fn mixed_channels(g: &Graph, node: &Node) -> Option<[usize; 2]> {
    let all = match node.op {
        Op::Conv { group, .. } | Op::ConvTranspose { group, .. } => group == 1,
        Op::Gemm { trans_a, .. } => !trans_a,
        // Products with a stack of matrices mix other channels in each.
        Op::MatMul => node.input(1).and_then(|w| g.constants.get(&w)).is_some_and(|w| w.dims().len() == 2),
        // Other operators compute no channels from others, or have not been thought about here: they are left whole.
        _ => false,
    };
    let constant = node.input(1).is_some_and(|w| g.constants.contains_key(&w));
    node.op.weight_axes().filter(|_| constant && all)
}

/// The axes of a layer's weights on which its output and input channels lie.
pub(crate) fn weight_axes(op: &Op) -> [usize; 2] {
    op.weight_axes().unwrap_or([1, 0])
}

/// Layers of a network, and those of them in INT8.
pub(crate) fn count(g: &Graph) -> [usize; 2] {
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
                let quantized =
                    b.constant("quantized", Tensor::from_i64(DType::I8, &[2, 2], &[1, 2, 3, 4]).unwrap());
                let scale = b.constant("scale", Tensor::f32(&[], &[0.5]));
                b.node(Op::Dequantize { axis: 0 }, &[quantized, scale])
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
