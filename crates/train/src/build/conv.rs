//! Convolutions, transposed convolutions, and products with constant weights.

use super::{Building, R};
use crate::error::LayerError;
use crate::layer::Dims;
use crate::layer::depthwise::Depthwise;
use crate::layer::linear::{Linear, WeightQuantization};
use crate::param::{ParamId, Role};
use ampoule_graph::op::{Resolved, Window};
use ampoule_graph::{Node, Op, ValueId};
use ampoule_kernels::Grid;
use ampoule_runtime::axes;
use ampoule_runtime::run::grad::ConvGeometry;

impl Building<'_> {
    /// Constant weights: themselves, or what quantized ones stand for.
    pub(super) fn weights(
        &mut self,
        n: &Node,
        outer: bool,
    ) -> R<(ParamId, Vec<usize>, Option<WeightQuantization>)> {
        let v = n.input(1).ok_or(LayerError::MissingInput { index: 1 })?;
        if let Some(t) = self.graph.constants.get(&v) {
            let dims = t.dims().to_vec();
            return Ok((self.param(Some(v), Role::Weight)?, dims, None));
        }
        let producer = self.graph.nodes.iter().find(|k| k.output() == Some(v));
        let dequantize = producer.filter(|k| matches!(k.op, Op::Dequantize { .. }));
        let Some(d) = dequantize else { return Err(LayerError::Computed { what: "weights" }) };
        let id = d.input(0).ok_or(LayerError::MissingInput { index: 0 })?;
        let name = self.graph.value(id).name.clone();
        let t = self.graph.constants.get(&id).ok_or(LayerError::Computed { what: "weights" })?;
        let dims = t.dims().to_vec();
        let scales = self.floats(d.input(1)).ok_or(LayerError::Computed { what: "scales" })?;
        let quantized = t.to_f32().ok_or_else(|| LayerError::NotNumbers { value: name.clone() })?;
        let inner = if outer { quantized.len() / scales.len().max(1) } else { dims[2..].iter().product() };
        let values = match self.options.masters.get(&name) {
            Some(m) if m.len() == quantized.len() => m.clone(),
            _ => quantized
                .iter()
                .enumerate()
                .map(|(i, c)| c * scales[i / inner.max(1) % scales.len()])
                .collect(),
        };
        let weight = self.params.add(id, &name, &dims, values, Role::Weight);
        let scale = self.param(d.input(1), Role::Scale)?;
        self.params.get_mut(weight).quantized = Some((scale, outer));
        // An input that is quantized too.
        let producer = n.input(0).and_then(|x| self.graph.nodes.iter().find(|k| k.output() == Some(x)));
        let dequantize = producer.filter(|k| matches!(k.op, Op::Dequantize { .. }));
        let input = dequantize.map(|d| self.param(d.input(1), Role::Scale)).transpose()?;
        Ok((weight, dims, Some(WeightQuantization { scale, outer, input })))
    }

    pub(super) fn spatial(&self, n: &Node) -> R<Vec<usize>> {
        let v = n.input(0).ok_or(LayerError::MissingInput { index: 0 })?;
        let dims = self.graph.value(v).dims().ok_or_else(|| self.unknown_size(v))?;
        Ok(dims.get(2..).unwrap_or_default().to_vec())
    }

    pub(super) fn conv(&mut self, n: &Node, y: ValueId, window: &Window, group: usize) -> R<()> {
        let x = self.input(n, 0)?;
        let (weight, wd, quantized) = self.weights(n, true)?;
        let r = window.resolve(&self.spatial(n)?, &wd[2..], false)?;
        let (from, to) = (self.values[x], self.dims(y)?);
        let (input, output) = (Grid::dense(from), Grid::dense(to));
        if group == from[4] && group == to[4] && group > 1 && quantized.is_none() {
            let bias = n.input(2).map(|b| self.param(Some(b), Role::Affine)).transpose()?;
            let layer = Depthwise { input, output, axes: axes(&r), weight, bias };
            self.add(n, Box::new(layer), vec![x], to, y, true);
            return Ok(());
        }
        let geometry = ConvGeometry { input, output, axes: axes(&r), groups: group };
        let out = self.linear(n, x, geometry, false, weight, quantized, to)?;
        self.at.insert(y, out);
        Ok(())
    }

    pub(super) fn conv_transpose(
        &mut self,
        n: &Node,
        y: ValueId,
        window: &Window,
        group: usize,
        (output_padding, output_shape): (&[usize], &[usize]),
    ) -> R<()> {
        let x = self.input(n, 0)?;
        let (weight, wd, quantized) = self.weights(n, false)?;
        let r = window.resolve_transposed(&self.spatial(n)?, &wd[2..], output_padding, output_shape)?;
        let (from, to) = (self.values[x], self.dims(y)?);
        let (input, output) = (Grid::dense(to), Grid::dense(from));
        let geometry = ConvGeometry { input, output, axes: axes(&r), groups: group };
        let out = self.linear(n, x, geometry, true, weight, quantized, to)?;
        self.at.insert(y, out);
        Ok(())
    }

    fn linear(
        &mut self,
        n: &Node,
        x: usize,
        geometry: ConvGeometry,
        transposed: bool,
        weight: ParamId,
        quantized: Option<WeightQuantization>,
        dims: Dims,
    ) -> R<usize> {
        let bias = n.input(2).map(|b| self.param(Some(b), Role::Affine)).transpose()?;
        let layer = Linear::new(geometry, transposed, weight, bias, quantized);
        Ok(self.push(n, Box::new(layer), vec![x], dims, true))
    }

    /// A product with a constant matrix `[outputs][inputs]` if `turned`, else `[inputs][outputs]`.
    pub(super) fn product(&mut self, n: &Node, y: ValueId, turned: bool) -> R<()> {
        let x = self.input(n, 0)?;
        let (from, to) = (self.values[x], self.dims(y)?);
        if from[1..4] != [1, 1, 1] || from[0] != to[0] || self.sizes(y)?.len() != 2 {
            return self.row_product(n, y, turned);
        }
        let out = self.product_of(n, x, to, turned)?;
        self.at.insert(y, out);
        Ok(())
    }

    /// The product of the rows of `x` with the constant matrix of `n`, of size `to`.
    pub(super) fn product_of(&mut self, n: &Node, x: usize, to: Dims, turned: bool) -> R<usize> {
        let from = self.values[x];
        let (weight, wd, quantized) = self.weights(n, turned)?;
        if wd.len() != 2 {
            return Err(LayerError::MatrixAxes { axes: wd.len() });
        }
        let one = Resolved {
            kernel: vec![1],
            strides: vec![1],
            dilations: vec![1],
            begin: vec![0],
            end: vec![0],
            out: vec![1],
        };
        let (input, output) = (Grid::dense(from), Grid::dense(to));
        let (input, output) = if turned { (input, output) } else { (output, input) };
        let geometry = ConvGeometry { input, output, axes: axes(&one), groups: 1 };
        self.linear(n, x, geometry, !turned, weight, quantized, to)
    }
}
