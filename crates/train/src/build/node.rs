//! Which layer each node becomes.

use super::{Building, R, last};
use crate::error::LayerError;
use crate::layer::fake_quantize::FakeQuantize;
use crate::layer::join::Concat;
use crate::layer::norm::{Kind, Norm};
use crate::layer::sample::{MaxPool, Sample, averages, mean};
use crate::layer::softmax::Softmax;
use crate::param::{ParamId, Role};
use ampoule_graph::eval::axis_taps;
use ampoule_graph::infer::resize_geometry;
use ampoule_graph::op::{Gradient, Pool, Reduction, Resize, Variadic};
use ampoule_graph::{Node, Op, ValueId};
use ampoule_kernels::resize::Samples;
use ampoule_runtime::axes;

impl Building<'_> {
    pub(super) fn node(&mut self, n: &Node) -> R<()> {
        if n.op.row().gradient == Gradient::None {
            return Err(LayerError::NoGradient);
        }
        let y = n.output().ok_or(LayerError::NoOutput)?;
        if let Some(curve) = self.curve(n) {
            let (x, dims) = (self.input(n, 0)?, self.dims(y)?);
            let layer = Norm::new(dims, Kind::Affine, None, 0.0, curve);
            self.add(n, Box::new(layer), vec![x], dims, y, false);
            return Ok(());
        }
        match &n.op {
            Op::Conv { window, group } => self.conv(n, y, window, *group),
            Op::ConvTranspose { window, group, output_padding, output_shape } => {
                self.conv_transpose(n, y, window, *group, (output_padding, output_shape))
            }
            Op::Gemm { alpha, beta, trans_a: false, trans_b } if *alpha == 1.0 && *beta == 1.0 => {
                self.product(n, y, *trans_b)
            }
            Op::MatMul if self.constant_matrix(n) => self.product(n, y, false),
            Op::MatMul => {
                let equation = self.matmul_equation(n)?;
                self.contract(n, y, &equation)
            }
            Op::Einsum { equation } => self.contract(n, y, equation),
            Op::LayerNorm { axis, epsilon } => self.layer_norm(n, y, *axis, *epsilon),
            Op::Unary(u) => self.function(n, y, *u),
            Op::Cast { to } if to.is_float() => {
                let x = self.input(n, 0)?;
                self.at.insert(y, x);
                Ok(())
            }
            Op::Transpose { .. }
            | Op::Pad { .. }
            | Op::DepthToSpace { .. }
            | Op::SpaceToDepth { .. }
            | Op::Slice
            | Op::Split { .. }
            | Op::Expand
            | Op::Tile
            | Op::Gather { .. } => self.relocate(n),
            Op::BatchNorm { epsilon } => {
                let affine = self.affine(n)?;
                let mean = self.param(n.input(3), Role::Running)?;
                let variance = self.param(n.input(4), Role::Running)?;
                let x = self.input(n, 0)?;
                self.norm(n, y, x, Kind::Batch { mean, variance }, affine, *epsilon)
            }
            Op::InstanceNorm { epsilon } => {
                let (x, affine) = (self.input(n, 0)?, self.affine(n)?);
                self.norm(n, y, x, Kind::Groups(self.values[x][4]), affine, *epsilon)
            }
            Op::GroupNorm { groups, epsilon } => {
                let (x, affine) = (self.input(n, 0)?, self.affine(n)?);
                self.norm(n, y, x, Kind::Groups(*groups), affine, *epsilon)
            }
            Op::Binary(b) => self.binary(n, y, *b),
            Op::Variadic(Variadic::Sum) => {
                let inputs = self.inputs(n)?;
                self.sum(n, y, inputs)
            }
            Op::Concat { axis } => self.concat(n, y, *axis),
            Op::MaxPool(p) => {
                let (x, dims, r) = self.pool(n, y, p)?;
                let layer = MaxPool::new(self.values[x], dims, axes(&r));
                self.add(n, Box::new(layer), vec![x], dims, y, false);
                Ok(())
            }
            Op::AveragePool(p) => self.average_pool(n, y, p),
            Op::GlobalAveragePool => self.average(n, y),
            Op::Reduce { kind, noop_with_empty_axes, .. } => {
                self.reduction(n, y, *kind, *noop_with_empty_axes)
            }
            Op::Resize(r) => self.resize(n, y, r),
            Op::Softmax { axis, log: false } => {
                if !self.along_channels(y, *axis) {
                    return self.softmax_along(n, y, *axis);
                }
                let (x, dims) = (self.input(n, 0)?, self.dims(y)?);
                self.add(n, Box::new(Softmax { dims }), vec![x], dims, y, false);
                Ok(())
            }
            Op::Reshape { .. } if self.grouped(n, y)? => Ok(()),
            Op::Flatten { .. } | Op::Reshape { .. } | Op::Squeeze | Op::Identity | Op::Unsqueeze => {
                self.reshape(n, y)
            }
            Op::Quantize { .. } => self.quantize(n, y),
            Op::Dequantize { .. } => {
                let v = n.input(0).ok_or(LayerError::MissingInput { index: 0 })?;
                // Weights are quantized by the layer that reads them.
                if !self.graph.constants.contains_key(&v) {
                    let x = self.input(n, 0)?;
                    self.at.insert(y, x);
                }
                Ok(())
            }
            // The table says that there is a gradient: for other attributes.
            _ => Err(LayerError::Attributes),
        }
    }

    /// Whether `axis` is that of the channels of `y`.
    fn along_channels(&self, y: ValueId, axis: i64) -> bool {
        let rank = self.graph.value(y).shape.as_ref().map_or(0, Vec::len) as i64;
        (2..=5).contains(&rank) && axis.rem_euclid(rank) == 1
    }

    /// Whether input 1 of a product is a matrix of weights, quantized or not.
    fn constant_matrix(&self, n: &Node) -> bool {
        let Some(w) = n.input(1) else { return false };
        let matrix = |v: ValueId| self.graph.constants.get(&v).is_some_and(|t| t.dims().len() == 2);
        let producer = self.graph.nodes.iter().find(|k| k.output() == Some(w));
        let quantized = producer.filter(|k| matches!(k.op, Op::Dequantize { .. })).and_then(|d| d.input(0));
        matrix(w) || quantized.is_some_and(matrix)
    }

    /// Factor and summand of each channel of a normalisation.
    fn affine(&mut self, n: &Node) -> R<[ParamId; 2]> {
        Ok([self.param(n.input(1), Role::Affine)?, self.param(n.input(2), Role::Affine)?])
    }

    fn inputs(&self, n: &Node) -> R<Vec<usize>> {
        (0..n.inputs.len()).map(|k| self.input(n, k)).collect()
    }

    fn concat(&mut self, n: &Node, y: ValueId, axis: i64) -> R<()> {
        let constant = n.inputs.iter().flatten().any(|v| self.graph.constants.contains_key(v));
        if !self.along_channels(y, axis) || constant {
            return self.relocate(n);
        }
        let inputs = self.inputs(n)?;
        let parts = inputs.iter().map(|&v| self.values[v][4]).collect();
        let dims = self.dims(y)?;
        self.add(n, Box::new(Concat { dims, parts }), inputs, dims, y, false);
        Ok(())
    }

    fn average_pool(&mut self, n: &Node, y: ValueId, p: &Pool) -> R<()> {
        let (x, dims, r) = self.pool(n, y, p)?;
        let (from, a) = (self.values[x], axes(&r));
        let ends: Vec<usize> = r.end.iter().map(|&e| e.max(0) as usize).collect();
        let end = |k: usize| match (k + ends.len()).checked_sub(3) {
            Some(s) => ends[s],
            None => 0,
        };
        let samples =
            [0, 1, 2].map(|k| averages(&a[k], from[k + 1], dims[k + 1], p.count_include_pad.then(|| end(k))));
        self.add(n, Box::new(Sample::new(from, dims, samples)), vec![x], dims, y, false);
        Ok(())
    }

    /// The mean over all of an image as pooling, and any other reduction.
    fn reduction(&mut self, n: &Node, y: ValueId, kind: Reduction, noop: bool) -> R<()> {
        let v = n.input(0).ok_or(LayerError::MissingInput { index: 0 })?;
        let rank = self.graph.value(v).shape.as_ref().map_or(0, Vec::len);
        let listed = n.input(1).and_then(|v| self.graph.constants.get(&v)).and_then(|t| t.to_i64());
        let mut over: Vec<i64> = listed.iter().flatten().map(|a| a.rem_euclid(rank.max(1) as i64)).collect();
        over.sort_unstable();
        let image = kind == Reduction::Mean
            && (3..=5).contains(&rank)
            && over == (2..rank as i64).collect::<Vec<_>>();
        if image { self.average(n, y) } else { self.reduce(n, y, kind, noop) }
    }

    fn resize(&mut self, n: &Node, y: ValueId, r: &Resize) -> R<()> {
        let x = self.input(n, 0)?;
        let v = n.input(0).ok_or(LayerError::MissingInput { index: 0 })?;
        let xd = self.graph.value(v).dims().ok_or_else(|| self.unknown_size(v))?;
        let list = |k: usize| n.input(k).and_then(|v| self.graph.constants.get(&v));
        let scales = list(2).and_then(|t| t.to_f64()).filter(|s| !s.is_empty());
        let sizes = list(3).and_then(|t| t.to_i64()).filter(|s| !s.is_empty());
        let (out, scale) = resize_geometry(r, &xd, scales.as_deref(), sizes.as_deref())?;
        if out[..2] != xd[..2] {
            return Err(LayerError::Form { supported: "resizing the axes of an image" });
        }
        let rank = xd.len();
        let samples = [0, 1, 2].map(|k| match (k + rank).checked_sub(3) {
            Some(a) if a >= 2 => Samples::of(&axis_taps(r, xd[a], out[a], scale[a])),
            _ => mean(1),
        });
        let (from, dims) = (self.values[x], last(&out)?);
        self.add(n, Box::new(Sample::new(from, dims, samples)), vec![x], dims, y, false);
        Ok(())
    }

    fn quantize(&mut self, n: &Node, y: ValueId) -> R<()> {
        let x = self.input(n, 0)?;
        let zero = self.floats(n.input(2)).filter(|z| z.len() == 1).map_or(0.0, |z| z[0]);
        let scale = self.param(n.input(1), Role::Scale)?;
        if self.params.get(scale).values.len() != 1 {
            return Err(LayerError::Form { supported: "one scale for all values" });
        }
        // Every reader of the quantized values gets them dequantized.
        let dims = self.values[x];
        // As the engine does: what a layer computed is multiplied by the reciprocal.
        let divide = n.input(0).is_some_and(|x| self.graph.inputs.contains(&x));
        self.add(n, Box::new(FakeQuantize { dims, scale, zero, divide }), vec![x], dims, y, true);
        Ok(())
    }
}
