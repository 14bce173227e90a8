//! Root-mean-square normalisation (Zhang and Sennrich, 2019) as exporters spell it: `x / sqrt(mean(x²) + ε) · scale`. All
//! of it becomes one step over rows.

use super::{Lower, R};
use crate::step::Kind;
use ampoule_graph::op::{Binary, Reduction, Unary};
use ampoule_graph::passes::missed::{Matched, Miss, Near, Part, Pattern, Reason};
use ampoule_graph::{Node, Op, Tensor, ValueId};

/// A normalisation whose square node begins it.
struct RmsNorm {
    x: ValueId,
    y: ValueId,
    scale: Vec<f32>,
    epsilon: f32,
    /// The axis that is normalised, where it is not at the end.
    moved: Option<usize>,
    /// Nodes that the step covers.
    nodes: Vec<usize>,
}

/// The axes that a mean is over.
enum Axes {
    /// All from this one to the last.
    From(usize),
    /// Channels of an image.
    Channels,
}

impl Axes {
    /// Whether a constant has at most one value for each index of these axes.
    fn takes(&self, t: &Tensor, dims: &[usize]) -> bool {
        if !t.dtype().is_float() || t.dims().len() > dims.len() {
            return false;
        }
        let lead = dims.len() - t.dims().len();
        let own = |axis: usize| match self {
            Axes::From(first) => axis >= *first,
            Axes::Channels => axis == 1,
        };
        t.dims().iter().enumerate().all(|(k, &n)| n == 1 || (own(lead + k) && n == dims[lead + k]))
    }

    /// Values of one row.
    fn row(&self, dims: &[usize]) -> usize {
        match self {
            Axes::From(first) => dims[*first..].iter().product(),
            Axes::Channels => dims[1],
        }
    }
}

impl Lower<'_> {
    /// Lowers the normalisation that node `index`, a square, begins.
    pub(super) fn rms_norm(&mut self, index: usize) -> R<bool> {
        let n = &self.graph.nodes[index];
        let found = match self.rms_norm_of(index) {
            Ok(found) => found,
            Err(miss) => {
                self.miss(n, Pattern::RmsNorm, miss);
                return Ok(false);
            }
        };
        found.nodes.iter().for_each(|&i| self.fused[i] = true);
        let v = self.get(found.x)?;
        let rank = v.dims.len();
        let perm = match found.moved {
            Some(axis) => (0..rank).filter(|a| *a != axis).chain([axis]).collect(),
            None => (0..rank).collect::<Vec<_>>(),
        };
        let rows = self.dense_rows(n, v.permuted(&perm));
        let out = self.fresh(&rows.dims.clone(), rows.strides.clone(), rows.elem);
        let mut back = vec![0; rank];
        perm.iter().enumerate().for_each(|(i, &p)| back[p] = i);
        self.slices.remove(&found.y);
        self.set(found.y, out.permuted(&back));
        let shift = vec![0.0; found.scale.len()];
        let kind = Kind::LayerNorm { scale: found.scale, shift, epsilon: found.epsilon, centred: false };
        self.push(n, kind, vec![rows], vec![out], 0);
        Ok(true)
    }

    fn rms_norm_of(&self, index: usize) -> Matched<RmsNorm> {
        let nodes = &self.graph.nodes;
        let square = &nodes[index];
        let (x, squared) = (square.input(0).or_other()?, square.output().or_other()?);
        (square.op == Op::Binary(Binary::Mul) && square.input(1) == Some(x)).or_other()?;
        let mean = self.only_reader(squared).or_other()?;
        let Op::Reduce { kind: Reduction::Mean, keep_dims, .. } = nodes[mean].op else {
            return Err(Miss::Other);
        };
        let sum = nodes[mean].output().and_then(|v| self.only_reader(v)).or_other()?;
        let root = nodes[sum].output().and_then(|v| self.only_reader(v)).or_other()?;
        let is = |i: usize, op: Op| (nodes[i].op == op).or_other();
        is(sum, Op::Binary(Binary::Add))?;
        is(root, Op::Unary(Unary::Sqrt))?;
        // Whatever follows, this is a mean square with a root.
        keep_dims.because(Reason::Axes)?;
        let dims = self.graph.value(x).dims().because(Reason::Shape(Part::Input))?;
        let axes = self.mean_axes(&nodes[mean], &dims).because(Reason::Axes)?;
        let size = axes.row(&dims);
        (size > 0 && self.is_float(x)).because(Reason::Shape(Part::Input))?;
        let epsilon = self
            .number_beside(&nodes[sum], nodes[mean].output())
            .because(Reason::NotConstant(Part::Epsilon))?;
        let mut covered = vec![mean, sum, root];
        let (quotient, y) = self.quotient_of(x, nodes[root].output().or_other()?, &mut covered)?;
        covered.push(quotient);
        let (scale, y) = self.scale_after(y, &axes, &dims, &mut covered).unwrap_or((vec![1.0; size], y));
        let moved = matches!(axes, Axes::Channels).then_some(1);
        Ok(RmsNorm { x, y, scale, epsilon, moved, nodes: covered })
    }

    /// The axes of a mean that a step over rows has.
    fn mean_axes(&self, mean: &Node, dims: &[usize]) -> Option<Axes> {
        let list = self.constant(mean, 1)?.to_i64()?;
        let axes = ampoule_graph::infer::axes(&list, dims.len()).ok()?;
        let first = *axes.first()?;
        if axes == (first..dims.len()).collect::<Vec<_>>() {
            return Some(Axes::From(first));
        }
        (axes == [1] && (3..=5).contains(&dims.len())).then_some(Axes::Channels)
    }

    /// The one number that `n` takes beside `v`.
    fn number_beside(&self, n: &Node, v: Option<ValueId>) -> Option<f32> {
        let other = n.inputs.iter().flatten().copied().find(|i| Some(*i) != v)?;
        let t = self.constants.get(&other).filter(|t| t.len() == 1)?;
        t.to_f32()?.first().copied()
    }

    /// The node that divides `x` by `root`, or multiplies it by the reciprocal, and what it makes.
    fn quotient_of(&self, x: ValueId, root: ValueId, covered: &mut Vec<usize>) -> Matched<(usize, ValueId)> {
        let nodes = &self.graph.nodes;
        let reader = self.only_reader(root).because(Reason::Shared(Part::Variance))?;
        let n = &nodes[reader];
        let divides = n.op == Op::Binary(Binary::Div) && n.input(1) == Some(root);
        let one = n.input(0).and_then(|v| self.constants.get(&v)).filter(|t| t.len() == 1);
        let inverts = n.op == Op::Unary(Unary::Reciprocal)
            || (divides && one.and_then(Tensor::to_f32).is_some_and(|v| v == [1.0]));
        if inverts {
            let inverse = n.output().or_other()?;
            covered.push(reader);
            let product = self.only_reader(inverse).because(Reason::Shared(Part::Variance))?;
            let p = &nodes[product];
            (p.op == Op::Binary(Binary::Mul)).or_other()?;
            p.inputs.contains(&Some(x)).because(Reason::Differs(Part::Input))?;
            return Ok((product, p.output().or_other()?));
        }
        divides.or_other()?;
        (n.input(0) == Some(x)).because(Reason::Differs(Part::Input))?;
        Ok((reader, n.output().or_other()?))
    }

    /// The constant factors of each column that `y` alone is multiplied by, and the product.
    fn scale_after(
        &self,
        y: ValueId,
        axes: &Axes,
        dims: &[usize],
        covered: &mut Vec<usize>,
    ) -> Option<(Vec<f32>, ValueId)> {
        let reader = self.only_reader(y)?;
        let n = &self.graph.nodes[reader];
        let other = n.inputs.iter().flatten().copied().find(|i| *i != y)?;
        let t = self.constants.get(&other).filter(|t| axes.takes(t, dims))?;
        let (size, values) = (axes.row(dims), t.to_f32()?);
        let scale = match values.len() {
            1 => vec![values[0]; size],
            len if len == size => values,
            _ => return None,
        };
        if n.op != Op::Binary(Binary::Mul) {
            return None;
        }
        covered.push(reader);
        Some((scale, n.output()?))
    }
}
