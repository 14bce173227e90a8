//! A small builder: `let y = b.conv(x, weight, bias, window)`, for architectures written in code
//! and for tests.

use crate::op::*;
use crate::{DType, Dim, Graph, Node, Op, Tensor, ValueId};

/// Builds a [`Graph`] node by node.
pub struct Builder {
    graph: Graph,
}

impl Builder {
    /// An empty graph named `name`.
    pub fn new(name: &str) -> Self {
        Builder { graph: Graph::new(name) }
    }

    /// A float32 input.
    pub fn input(&mut self, name: &str, dims: &[Dim]) -> ValueId {
        let id = self.graph.fresh(name);
        self.graph.values[id.0].dtype = Some(DType::F32);
        self.graph.values[id.0].shape = Some(dims.to_vec());
        self.graph.inputs.push(id);
        id
    }

    /// A constant.
    pub fn constant(&mut self, name: &str, t: Tensor) -> ValueId {
        self.graph.constant(name, t)
    }

    /// Adds a node with one output, named after the operator.
    pub fn node(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        self.node_opt(op, &inputs.iter().map(|&i| Some(i)).collect::<Vec<_>>())
    }

    /// Adds a node with one output; `None` is an omitted input.
    pub fn node_opt(&mut self, op: Op, inputs: &[Option<ValueId>]) -> ValueId {
        let out = self.graph.fresh(&op.name().to_lowercase());
        let name = self.graph.value(out).name.clone();
        self.graph.nodes.push(Node { name, op, inputs: inputs.to_vec(), outputs: vec![Some(out)] });
        out
    }

    /// A convolution; `weight` is `[out, in/group, k…]`.
    pub fn conv(&mut self, x: ValueId, weight: Tensor, bias: Option<Tensor>, window: Window) -> ValueId {
        let w = self.constant("weight", weight);
        let b = bias.map(|b| self.constant("bias", b));
        self.node_opt(Op::Conv { window, group: 1 }, &[Some(x), Some(w), b])
    }

    /// A transposed convolution; `weight` is `[in, out/group, k…]`.
    pub fn conv_transpose(
        &mut self,
        x: ValueId,
        weight: Tensor,
        bias: Option<Tensor>,
        window: Window,
        output_padding: Vec<usize>,
    ) -> ValueId {
        let w = self.constant("weight", weight);
        let b = bias.map(|b| self.constant("bias", b));
        let op = Op::ConvTranspose { window, group: 1, output_padding, output_shape: vec![] };
        self.node_opt(op, &[Some(x), Some(w), b])
    }

    /// An instance normalisation with these per-channel parameters.
    pub fn instance_norm(&mut self, x: ValueId, scale: Tensor, bias: Tensor, epsilon: f32) -> ValueId {
        let (s, b) = (self.constant("scale", scale), self.constant("bias", bias));
        self.node(Op::InstanceNorm { epsilon }, &[x, s, b])
    }

    /// An element-wise function.
    pub fn unary(&mut self, x: ValueId, u: Unary) -> ValueId {
        self.node(Op::Unary(u), &[x])
    }

    /// An element-wise sum.
    pub fn add(&mut self, x: ValueId, y: ValueId) -> ValueId {
        self.node(Op::Binary(Binary::Add), &[x, y])
    }

    /// Concatenation of channels.
    pub fn concat(&mut self, xs: &[ValueId]) -> ValueId {
        self.node(Op::Concat { axis: 1 }, xs)
    }

    /// Softmax over channels.
    pub fn softmax(&mut self, x: ValueId) -> ValueId {
        self.node(Op::Softmax { axis: 1, log: false }, &[x])
    }

    /// Linear resampling of the spatial axes by `scale`.
    pub fn resize_linear(&mut self, x: ValueId, scale: &[f32], coordinates: Coordinates) -> ValueId {
        let scales: Vec<f32> = [1.0, 1.0].iter().chain(scale).copied().collect();
        let s = self.constant("scales", Tensor::f32(&[scales.len()], &scales));
        let op = Op::Resize(Resize {
            interpolation: Interpolation::Linear,
            coordinates,
            antialias: false,
            axes: vec![],
            aspect: 0,
        });
        self.node_opt(op, &[Some(x), None, Some(s)])
    }

    /// Declares `x` an output under `name` and its shape.
    pub fn output(&mut self, x: ValueId, name: &str, dims: &[Dim]) {
        let v = &mut self.graph.values[x.0];
        v.name = name.into();
        v.dtype = Some(DType::F32);
        v.shape = Some(dims.to_vec());
        self.graph.outputs.push(x);
    }

    /// The graph as built.
    pub fn finish(self) -> Graph {
        self.graph
    }
}
