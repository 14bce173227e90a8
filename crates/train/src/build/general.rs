//! Operators on values of any axes: element-wise functions with broadcasting, products, normalisation and softmax
//! along any axis, sums. They turn values into rows, compute on these, and turn them back.

use super::places::storage;
use super::{Building, R};
use crate::error::LayerError;
use crate::layer::Layer;
use crate::layer::contract::Contract;
use crate::layer::function::Function;
use crate::layer::norm::{Kind, Norm};
use crate::layer::pairwise::{Pair, Pairwise};
use crate::layer::rows::{Extremes, Rows};
use crate::layer::softmax::Softmax;
use crate::layer::source::Source;
use crate::param::Role;
use ampoule_graph::op::{Binary, Reduction, Unary, einsum_labels};
use ampoule_graph::{Node, ValueId, infer};
use ampoule_kernels::grad::Curve;

/// Constants below this are masks of attention: they stay as they are.
const MASKED: f32 = -50.0;

impl Building<'_> {
    /// Operand `i` of an element-wise function, and its sizes: computed, or a parameter.
    pub(super) fn operand(&mut self, n: &Node, i: usize) -> R<(usize, Vec<usize>)> {
        let v = n.input(i).ok_or(LayerError::MissingInput { index: i })?;
        let Some(t) = self.graph.constants.get(&v) else { return Ok((self.input(n, i)?, self.sizes(v)?)) };
        let dims = t.dims().to_vec();
        let values =
            t.to_f32().ok_or_else(|| LayerError::NotNumbers { value: self.graph.value(v).name.clone() })?;
        // Single numbers belong to formulas, and masks say where nothing is to be seen.
        let name = &self.graph.value(v).name;
        let own = self.given.value_named(name).is_some_and(|id| self.given.constants.contains_key(&id));
        let trains = own && values.len() > 1 && !values.iter().any(|v| *v < MASKED || !v.is_finite());
        let order = super::places::places(&dims);
        let param = match trains {
            true => self.param(Some(v), Role::Affine)?,
            false => self.params.fixed_list(values),
        };
        let rows =
            self.push(n, Box::new(Source { param, trains }), Vec::new(), storage(&[order.len()]), trains);
        let mut from = vec![0u32; order.len()];
        order.iter().enumerate().for_each(|(i, p)| from[*p as usize] = i as u32);
        Ok((self.moved(n, vec![rows], from, 0.0, storage(&dims)), dims))
    }

    /// A function of two operands of any sizes that broadcast.
    pub(super) fn pairwise(&mut self, n: &Node, y: ValueId, op: Binary) -> R<()> {
        let op = Pair::of(op).ok_or(LayerError::NoGradient)?;
        let dims = self.sizes(y)?;
        let mut sides = Vec::new();
        for i in 0..2 {
            let (x, own) = self.operand(n, i)?;
            sides.push(if own == dims { x } else { self.broadcast(n, x, &own, &dims) });
        }
        self.add(n, Box::new(Pairwise { op }), sides, storage(&dims), y, false);
        Ok(())
    }

    /// A function of one value that no kernel joins with a normalisation.
    pub(super) fn function(&mut self, n: &Node, y: ValueId, u: Unary) -> R<()> {
        let (value, slope) = derivative(u).ok_or(LayerError::NoGradient)?;
        let x = self.input(n, 0)?;
        let dims = self.values[x];
        self.add(n, Box::new(Function { value, slope }), vec![x], dims, y, false);
        Ok(())
    }

    /// Softmax along any axis.
    pub(super) fn softmax_along(&mut self, n: &Node, y: ValueId, axis: i64) -> R<()> {
        let dims = self.sizes(y)?;
        let axis = infer::axis(axis, dims.len())?;
        let perm: Vec<usize> = (0..dims.len()).filter(|&i| i != axis).chain([axis]).collect();
        let x = self.input(n, 0)?;
        let rows = self.unrolled(n, x, &dims, &perm, dims[axis]);
        let size = self.values[rows];
        let rows = self.push(n, Box::new(Softmax { dims: size }), vec![rows], size, false);
        self.rolled(n, rows, y, &perm)
    }

    /// Normalisation of the axes from `axis` on, with a factor and a summand for each of their elements.
    pub(super) fn layer_norm(&mut self, n: &Node, y: ValueId, axis: i64, epsilon: f32) -> R<()> {
        let dims = self.sizes(y)?;
        let axis = infer::axis(axis, dims.len())?;
        let columns: usize = dims[axis..].iter().product();
        let scale = self.param(n.input(1), Role::Affine)?;
        let shift = match n.input(2) {
            Some(b) => self.param(Some(b), Role::Affine)?,
            None => self.params.fixed(0.0),
        };
        let perm: Vec<usize> = (0..dims.len()).collect();
        let x = self.input(n, 0)?;
        let rows = self.unrolled(n, x, &dims, &perm, columns);
        let size = self.values[rows];
        let layer = Norm::new(size, Kind::Groups(1), Some([scale, shift]), epsilon, Curve::None);
        let rows = self.push(n, Box::new(layer), vec![rows], size, true);
        self.rolled(n, rows, y, &perm)
    }

    /// Sums, means, norms and extremes over any axes.
    pub(super) fn reduce(
        &mut self,
        n: &Node,
        y: ValueId,
        kind: Reduction,
        noop_with_empty_axes: bool,
    ) -> R<()> {
        let v = n.input(0).ok_or(LayerError::MissingInput { index: 0 })?;
        let dims = self.sizes(v)?;
        let over = match n.input(1) {
            Some(a) => {
                let listed = self.graph.constants.get(&a).and_then(|t| t.to_i64());
                infer::axes(&listed.ok_or(LayerError::Computed { what: "axes" })?, dims.len())?
            }
            None => Vec::new(),
        };
        let all_axes = over.is_empty() && !noop_with_empty_axes;
        let over = if all_axes { (0..dims.len()).collect() } else { over };
        let size: usize = over.iter().map(|&a| dims[a]).product();
        let kept = (0..dims.len()).filter(|i| !over.contains(i));
        let perm: Vec<usize> = kept.chain(over.iter().copied()).collect();
        let x = self.input(n, 0)?;
        let rows = self.unrolled(n, x, &dims, &perm, size);
        let (all, each) = (self.values[rows], [self.values[rows][0], 1, 1, 1, 1]);
        let sum = |factor| -> Box<dyn Layer> { Box::new(Rows { n: size, factor }) };
        let of = |[value, slope]: [fn(f32) -> f32; 2]| -> Option<Box<dyn Layer>> {
            Some(Box::new(Function { value, slope }))
        };
        let square: [fn(f32) -> f32; 2] = [|x| x * x, |x| 2.0 * x];
        // The norm of zeros has no slope; PyTorch takes 0 for it.
        let root: [fn(f32) -> f32; 2] = [f32::sqrt, |x| if x > 0.0 { 0.5 / x.sqrt() } else { 0.0 }];
        let (before, main, after) = match kind {
            Reduction::Sum => (None, sum(1.0), None),
            Reduction::Mean => (None, sum(1.0 / size.max(1) as f32), None),
            Reduction::L1 => (of([f32::abs, sign]), sum(1.0), None),
            Reduction::L2 => (of(square), sum(1.0), of(root)),
            Reduction::SumSquare => (of(square), sum(1.0), None),
            Reduction::LogSum => (None, sum(1.0), of([libm::logf, |x| 1.0 / x])),
            Reduction::Max | Reduction::Min => {
                let max = kind == Reduction::Max;
                (None, Box::new(Extremes { n: size, max }) as Box<dyn Layer>, None)
            }
            Reduction::Prod | Reduction::LogSumExp => return Err(LayerError::NoGradient),
        };
        let rows = before.map_or(rows, |layer| self.push(n, layer, vec![rows], all, false));
        let sums = self.push(n, main, vec![rows], each, false);
        let sums = after.map_or(sums, |layer| self.push(n, layer, vec![sums], each, false));
        let rank = self.sizes(y)?.len();
        self.rolled(n, sums, y, &(0..rank).collect::<Vec<_>>())
    }

    /// The product of rows of any axes with a constant matrix.
    pub(super) fn row_product(&mut self, n: &Node, y: ValueId, turned: bool) -> R<()> {
        let v = n.input(0).ok_or(LayerError::MissingInput { index: 0 })?;
        let (dims, out) = (self.sizes(v)?, self.sizes(y)?);
        let (Some(&inner), Some(&outer)) = (dims.last(), out.last()) else {
            return Err(LayerError::Axes { axes: dims.len() });
        };
        let perm: Vec<usize> = (0..dims.len()).collect();
        let x = self.input(n, 0)?;
        let rows = self.unrolled(n, x, &dims, &perm, inner);
        let count = self.values[rows][0];
        let rows = self.product_of(n, rows, [count, 1, 1, 1, outer], turned)?;
        self.rolled(n, rows, y, &perm)
    }

    /// A product of two computed operands, as an Einstein sum.
    pub(super) fn contract(&mut self, n: &Node, y: ValueId, equation: &str) -> R<()> {
        if n.inputs.len() != 2 {
            return Err(LayerError::Form { supported: "a product of two operands" });
        }
        let (x, xd) = self.operand(n, 0)?;
        let (w, wd) = self.operand(n, 1)?;
        let labels = einsum_labels(equation, &[xd.len(), wd.len()])?;
        let [la, lb] = &labels.inputs[..] else { return Err(LayerError::Attributes) };
        let size = |c: u32| {
            let of = |l: &[u32], d: &[usize]| l.iter().position(|k| *k == c).map(|i| d[i]);
            of(la, &xd).unwrap_or(1).max(of(lb, &wd).unwrap_or(1))
        };
        let repeated = |l: &[u32]| l.iter().enumerate().any(|(i, c)| l[..i].contains(c));
        if repeated(la) || repeated(lb) {
            return Err(LayerError::Form { supported: "an Einstein sum without diagonals" });
        }
        // Operands of one size along the axes that they share.
        let full = |l: &[u32]| -> Vec<usize> { l.iter().map(|c| size(*c)).collect() };
        let (fa, fb) = (full(la), full(lb));
        let x = if fa == xd { x } else { self.broadcast(n, x, &xd, &fa) };
        let w = if fb == wd { w } else { self.broadcast(n, w, &wd, &fb) };
        let out = |c: &u32| labels.output.contains(c);
        let batch: Vec<u32> = la.iter().copied().filter(|c| lb.contains(c) && out(c)).collect();
        let summed: Vec<u32> = la.iter().copied().filter(|c| lb.contains(c) && !out(c)).collect();
        let left: Vec<u32> = la.iter().copied().filter(|c| !lb.contains(c)).collect();
        let right: Vec<u32> = lb.iter().copied().filter(|c| !la.contains(c)).collect();
        if !left.iter().chain(&right).all(out) {
            return Err(LayerError::Form { supported: "an Einstein sum over axes that both operands have" });
        }
        let order = |l: &[u32], parts: [&[u32]; 3]| -> Vec<usize> {
            parts.iter().flat_map(|p| p.iter()).filter_map(|c| l.iter().position(|k| k == c)).collect()
        };
        let count = |l: &[u32]| l.iter().map(|c| size(*c)).product::<usize>();
        let (m, k, columns) = (count(&left), count(&summed), count(&right));
        let rows_a = self.unrolled(n, x, &fa, &order(la, [&batch, &left, &summed]), k);
        let rows_b = self.unrolled(n, w, &fb, &order(lb, [&batch, &summed, &right]), columns);
        let dims = [count(&batch) * m, 1, 1, 1, columns];
        let layer = Contract { m, k, n: columns };
        let rows = self.push(n, Box::new(layer), vec![rows_a, rows_b], dims, false);
        let perm = order(&labels.output, [&batch, &left, &right]);
        self.rolled(n, rows, y, &perm)
    }

    /// A matrix product of two operands as an Einstein sum.
    pub(super) fn matmul_equation(&self, n: &Node) -> R<String> {
        let rank = |i: usize| -> R<usize> {
            let v = n.input(i).ok_or(LayerError::MissingInput { index: i })?;
            Ok(self.graph.value(v).dims().ok_or_else(|| self.unknown_size(v))?.len())
        };
        match [rank(0)?, rank(1)?] {
            [0 | 1, _] | [_, 0 | 1] => Err(LayerError::Form { supported: "a product of matrices" }),
            _ => Ok("...mk,...kn->...mn".into()),
        }
    }
}

/// The derivative of the absolute value.
fn sign(x: f32) -> f32 {
    if x > 0.0 {
        1.0
    } else if x < 0.0 {
        -1.0
    } else {
        0.0
    }
}

/// A function and its derivative, where steps count as flat.
fn derivative(u: Unary) -> Option<(fn(f32) -> f32, fn(f32) -> f32)> {
    const ROOT_2_PI: f32 = 0.797_884_6;
    fn tanh_gelu(x: f32) -> f32 {
        0.5 * x * (1.0 + libm::tanhf(ROOT_2_PI * (x + 0.044_715 * x * x * x)))
    }
    Some(match u {
        Unary::Neg => (|x| -x, |_| -1.0),
        Unary::Exp => (libm::expf, libm::expf),
        Unary::Log => (libm::logf, |x| 1.0 / x),
        Unary::Sqrt => (f32::sqrt, |x| 0.5 / x.sqrt()),
        Unary::Reciprocal => (|x| 1.0 / x, |x| -1.0 / (x * x)),
        Unary::Abs => (f32::abs, sign),
        Unary::Sin => (libm::sinf, libm::cosf),
        Unary::Cos => (libm::cosf, |x| -libm::sinf(x)),
        Unary::Softplus => {
            (|x| x.max(0.0) + libm::log1pf(libm::expf(-x.abs())), |x| 1.0 / (1.0 + libm::expf(-x)))
        }
        Unary::Softsign => (|x| x / (1.0 + x.abs()), |x| (1.0 + x.abs()).powi(-2)),
        Unary::Selu { alpha, gamma } if [alpha, gamma] == [1.673_263_2, 1.050_701] => (
            |x| 1.050_701 * if x > 0.0 { x } else { 1.673_263_2 * libm::expm1f(x) },
            |x| 1.050_701 * if x > 0.0 { 1.0 } else { 1.673_263_2 * libm::expf(x) },
        ),
        Unary::Gelu { tanh: true } => (tanh_gelu, |x| {
            let inner = ROOT_2_PI * (x + 0.044_715 * x * x * x);
            let (t, step) = (libm::tanhf(inner), ROOT_2_PI * (1.0 + 3.0 * 0.044_715 * x * x));
            0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * step
        }),
        _ => return None,
    })
}
