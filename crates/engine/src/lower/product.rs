//! Matrix products, with constant weights or of two computed matrices.

use super::fuse::Residual;
use super::quantized::{Int8Operands, Quantization};
use super::reduce::with_axes;
use super::{Lower, R};
use crate::error::LowerError;
use crate::step::{Convolution, Kind};
use ampoule_graph::op::Binary;
use ampoule_graph::{Node, Op, Tensor, ValueId};
use ampoule_kernels::conv::{Axis, How, Quantized, Spec};
use ampoule_kernels::{Act, Elem, Grid, eltwise, gemm};
use ampoule_runtime::run::conv::{Algorithm, ConvPart, ConvParts};
use ampoule_runtime::run::loops::Loops;
use ampoule_runtime::run::matmul::MatMul;
use ampoule_runtime::view::row_major;
use ampoule_runtime::{OutOfMemory, View};

impl Lower<'_> {
    /// `rows` dense rows of `k` values by constant `[k, m]` weights, as a pointwise convolution. What follows joins
    /// it: a constant bias, a residual that lies row-major, an activation, a quantizer.
    pub(super) fn project(
        &mut self,
        n: &Node,
        x: View,
        y: ValueId,
        bias: Option<&[f32]>,
        m: usize,
        integer: &Option<Int8Operands>,
        at: impl Fn(usize, usize) -> f32 + Sync,
    ) -> R<()> {
        let k = *x.dims.last().ok_or(LowerError::Axes { axes: 0 })?;
        let rows: usize = x.dims[..x.dims.len() - 1].iter().product();
        let gx = Grid::dense([1, 1, 1, rows, k]);
        let go = Grid::dense([1, 1, 1, rows, m]);
        let (id, bias) = self.fuse_bias(y, bias, m)?;
        let which = if integer.is_some() { Residual::QuantizedRows } else { Residual::Rows };
        let (id, residual, mut act) = self.fuse(id, which)?;
        let (id, post) = match act {
            Act::None => self.fuse_function(id),
            Act::Leaky(_) | Act::Clamp(..) => (id, None),
        };
        let (id, quantization) = if integer.is_some() { self.fuse_quantizer(id)? } else { (id, None) };
        let dims = self.dims(id)?;
        let output = self.fresh(&dims, row_major(&dims), self.elem(id));
        self.set(id, output.clone());
        let one = Axis { kernel: 1, stride: 1, dilation: 1, pad: 0 };
        let elems = [x.elem, output.elem];
        let mut quantized = integer.as_ref().map(|i| Quantized {
            zero_point: i.quantization.zero_point as i32,
            residual: residual.as_ref().map_or((Elem::F32, [1.0, 0.0]), |(v, map)| (v.elem, *map)),
            post,
            output: quantization.map_or([1.0, 0.0], Quantization::quantize),
            totals: None,
        });
        let mut scale = integer.as_ref().map(|i| Self::factors(i, m));
        let mut bias = bias;
        if let (Some(i), Some(out), Some(q), Some(scale)) =
            (integer, quantization, &mut quantized, &mut scale)
        {
            Self::requantize_directly(i, (out, residual.is_some()), q, &mut act, scale, (&mut bias, m));
        }
        let bias = bias.as_deref();
        let added = residual.as_ref().map(|_| go);
        let post = post.filter(|_| quantized.is_none());
        let spec = Spec { input: gx, output: go, residual: added, axes: [one; 3], act, elems, quantized };
        OutOfMemory::check(4 * k * m)?;
        let (sizes, at) = ([1, k, m], |_: usize, i: usize, o: usize| at(i, o));
        let conv = self.direct(spec, How { merge: true, ..How::default() });
        let weights = self.direct_weights(&conv, sizes, (bias, scale.as_deref()), at);
        let algorithm = Algorithm::Direct(conv, weights);
        let parts = vec![ConvPart { algorithm, input: 0, output: 0, residual: 0, depth: [0, 1] }];
        let kind = Kind::Conv(Convolution { post, ..Convolution::plain(ConvParts::new(parts)) });
        let reads = [Some(x), residual.map(|r| r.0)].into_iter().flatten().collect();
        self.push(n, kind, reads, vec![output], (rows * k * m) as u64);
        Ok(())
    }

    /// Follows `y`, of `m` columns, through the addition of a constant row, which is added to `bias`.
    fn fuse_bias(&mut self, y: ValueId, bias: Option<&[f32]>, m: usize) -> R<(ValueId, Option<Vec<f32>>)> {
        let own = bias.map(<[f32]>::to_vec);
        let Some(reader) = self.only_reader(y) else { return Ok((y, own)) };
        let n = &self.graph.nodes[reader];
        let other = n.inputs.iter().flatten().copied().find(|&i| i != y);
        let (Op::Binary(Binary::Add), Some(other), Some(sum)) = (&n.op, other, n.output()) else {
            return Ok((y, own));
        };
        let row = |t: &&Tensor| t.dtype().is_float() && t.dims().last() == Some(&m) && t.len() == m;
        let Some(row) = self.constants.get(&other).filter(row).and_then(Tensor::to_f32) else {
            return Ok((y, own));
        };
        if self.dims(sum)? != self.dims(y)? {
            return Ok((y, own));
        }
        self.fused[reader] = true;
        let total = match own {
            Some(own) => own.iter().zip(&row).map(|(a, b)| a + b).collect(),
            None => row,
        };
        Ok((sum, Some(total)))
    }

    pub(super) fn gemm(&mut self, n: &Node, alpha: f32, beta: f32, trans_a: bool, trans_b: bool) -> R<bool> {
        let Some(y) = n.output() else { return Ok(false) };
        let Some((w, [p, q])) = self.matrix(n) else {
            return self.computed_gemm(n, y, [alpha, beta], [trans_a, trans_b]);
        };
        let (k, m) = if trans_b { (q, p) } else { (p, q) };
        let bias = match n.input(2) {
            None => None,
            Some(_) => {
                let dims = self.constant(n, 2).map(|t| t.dims().to_vec()).unwrap_or_default();
                let row = dims.iter().rev().skip(1).all(|&d| d == 1);
                match self.floats(n, 2).filter(|v| row && (v.len() == m || v.len() == 1)) {
                    Some(v) => Some((0..m).map(|i| beta * v[i % v.len()]).collect::<Vec<f32>>()),
                    None => return self.computed_gemm(n, y, [alpha, beta], [trans_a, trans_b]),
                }
            }
        };
        let integer = self.int8_operands(n);
        let x = match &integer {
            Some(i) => i.x.clone(),
            None => self.input(n, 0)?,
        };
        let x = if trans_a { x.permuted(&[1, 0]) } else { x };
        let x = self.dense_rows(n, x);
        let at = |i: usize, o: usize| alpha * w.get(if trans_b { o * k + i } else { i * m + o });
        self.project(n, x, y, bias.as_deref(), m, &integer, at)?;
        drop(w);
        self.packed_weights(n, &integer);
        Ok(true)
    }

    pub(super) fn matmul(&mut self, n: &Node) -> R<bool> {
        let Some(y) = n.output() else { return Ok(false) };
        let integer = self.int8_operands(n);
        // Constants other than weights of two axes are copied as they are.
        if let Some((w, [k, m])) = self.matrix(n)
            && k * m > 0
            && n.input(0)
                .is_some_and(|x| self.graph.value(x).dims().is_some_and(|d| d.len() > 1 && !d.contains(&0)))
        {
            let x = match &integer {
                Some(i) => self.dense_rows(n, i.x.clone()),
                None => self.input_rows(n, 0)?,
            };
            self.project(n, x, y, None, m, &integer, |i, o| w.get(i * m + o))?;
            drop(w);
            self.packed_weights(n, &integer);
            return Ok(true);
        }
        if self.begin_attention(n)? {
            return Ok(true);
        }
        let (a, b) = (self.input(n, 0)?, self.input(n, 1)?);
        if a.is_empty() || b.is_empty() || a.dims.is_empty() || b.dims.is_empty() {
            return Ok(false);
        }
        if a.dims.len() < 2 || b.dims.len() < 2 {
            return self.vector_product(n, a, b, y);
        }
        let dims = self.dims(y)?;
        let output = self.multiply(n, a, b, &dims, Some(y))?;
        self.slices.remove(&y);
        self.set(y, output);
        Ok(true)
    }

    /// The products of the matrices that the last two axes of `a` and `b` are, of shape `dims` in all, for value `y`.
    pub(super) fn multiply(
        &mut self,
        n: &Node,
        a: View,
        b: View,
        dims: &[usize],
        y: Option<ValueId>,
    ) -> R<View> {
        let rank = dims.len();
        let lead = &dims[..rank - 2];
        let (m, k) = (a.dims[a.dims.len() - 2], a.dims[a.dims.len() - 1]);
        let cols = b.dims[b.dims.len() - 1];
        let (a, b) = (self.side_by_side(n, a), self.ascending(n, b));
        let strides = match y {
            Some(y) => self.strides_for_reader(y, dims),
            None => row_major(dims),
        };
        let output = self.fresh(dims, strides, a.elem);
        let steps = [&a, &b, &output].map(|v| self.leading(v, lead));
        let batch = (0..rank - 2).map(|i| (lead[i], [0, 1, 2].map(|k| steps[k][i]))).collect();
        let last = |v: &View, i: usize| v.strides[v.strides.len() - i].unsigned_abs();
        let operand = gemm::operand(self.isa, a.elem);
        let product = MatMul {
            m,
            k,
            n: cols,
            a_row: last(&a, 2),
            b: [last(&b, 2), last(&b, 1)],
            c_row: last(&output, 2),
            batch,
            panels: gemm::panels(self.isa, operand, cols, 0),
        };
        let macs = (lead.iter().product::<usize>() * m * k * cols) as u64;
        self.push(n, Kind::MatMul(product), vec![a, b], vec![output.clone()], macs);
        Ok(output)
    }

    /// `v` with the elements of its last axis side by side, copied where they lie apart.
    pub(super) fn side_by_side(&mut self, n: &Node, v: View) -> View {
        let apart = v.dims.last().is_some_and(|&d| d > 1) && v.strides.last() != Some(&1);
        if apart || v.strides.iter().any(|s| *s < 0) { self.dense_rows(n, v) } else { v }
    }

    /// How far apart the matrices that the last two axes of `v` are lie along the axes `lead` of the whole batch.
    pub(super) fn leading(&self, v: &View, lead: &[usize]) -> Vec<usize> {
        let own = v.dims.len() - 2;
        let axes = View { dims: v.dims[..own].to_vec(), strides: v.strides[..own].to_vec(), ..v.clone() };
        axes.expanded(lead).strides.iter().map(|s| s.unsigned_abs()).collect()
    }

    /// Strides of a matrix product `y`: where a transposition that keeps the last axis alone reads it, those by
    /// which what that gives is row-major.
    pub(super) fn strides_for_reader(&self, y: ValueId, dims: &[usize]) -> Vec<isize> {
        let perm = self.only_reader(y).and_then(|r| match &self.graph.nodes[r].op {
            Op::Transpose { perm } if perm.last() == Some(&(dims.len() - 1)) => Some(perm),
            _ => None,
        });
        let Some(perm) = perm.filter(|p| p.len() == dims.len()) else { return row_major(dims) };
        let turned: Vec<usize> = perm.iter().map(|&p| dims[p]).collect();
        let mut strides = vec![0; dims.len()];
        for (&p, s) in perm.iter().zip(row_major(&turned)) {
            strides[p] = s;
        }
        strides
    }

    /// A product with a vector: as a matrix of one row or one column.
    fn vector_product(&mut self, n: &Node, a: View, b: View, y: ValueId) -> R<bool> {
        let mut dims = self.dims(y)?;
        let (row, column) = (a.dims.len() == 1, b.dims.len() == 1);
        let a = if row { with_axes(&a, &[0]) } else { a };
        let b = if column { with_axes(&b, &[1]) } else { b };
        if column {
            dims.push(1);
        }
        if row {
            dims.insert(dims.len() - 1, 1);
        }
        let mut v = self.multiply(n, a, b, &dims, None)?;
        if column {
            v.dims.pop();
            v.strides.pop();
        }
        if row {
            let at = v.dims.len() - if column { 1 } else { 2 };
            v.dims.remove(at);
            v.strides.remove(at);
        }
        self.set(y, v);
        Ok(true)
    }

    /// `alpha · a · b + beta · c` of computed operands.
    fn computed_gemm(&mut self, n: &Node, y: ValueId, factors: [f32; 2], turned: [bool; 2]) -> R<bool> {
        let turn = |v: View, t: bool| if t { v.permuted(&[1, 0]) } else { v };
        let (a, b) = (self.input(n, 0)?, self.input(n, 1)?);
        let (a, b) = (turn(a, turned[0]), turn(b, turned[1]));
        let dims = self.dims(y)?;
        if a.is_empty() || b.is_empty() || a.elem != self.elem(y) || b.elem != a.elem {
            return Ok(false);
        }
        let mut v = self.multiply(n, a, b, &dims, None)?;
        if factors[0] != 1.0 {
            v = self.scaled(n, v, factors[0]);
        }
        if n.input(2).is_some() {
            let c = self.input(n, 2)?;
            let c = if factors[1] == 1.0 { c } else { self.scaled(n, c, factors[1]) };
            if c.elem != v.elem {
                return Ok(false);
            }
            let out = self.fresh(&dims, v.strides.clone(), v.elem);
            let c = c.expanded(&dims);
            let loops = Loops::new(&[&v, &c, &out]);
            self.push(n, Kind::Binary(eltwise::Binary::Add, loops), vec![v, c], vec![out.clone()], 0);
            v = out;
        }
        self.slices.remove(&y);
        self.set(y, v);
        Ok(true)
    }

    /// `v` times a number.
    pub(super) fn scaled(&mut self, n: &Node, v: View, by: f32) -> View {
        let out = self.fresh(&v.dims.clone(), row_major(&v.dims), v.elem);
        let loops = Loops::new(&[&v, &out]);
        let f = eltwise::Unary::Dequantize { scale: by, zero: 0.0 };
        self.push(n, Kind::Unary(f, loops), vec![v], vec![out.clone()], 0);
        out
    }
}
