//! Matrix products, with constant weights or of two computed matrices.

use super::fuse::Residual;
use super::quantized::{Int8Operands, Quantization};
use super::reduce::with_axes;
use super::weights::ConstantWeights;
use super::{Lower, R};
use crate::error::LowerError;
use crate::step::{Convolution, Kind};
use ampoule_graph::{Node, ValueId};
use ampoule_kernels::conv::{Axis, Conv, Quantized, Spec, Weights};
use ampoule_kernels::{Elem, Grid, eltwise, gemm};
use ampoule_runtime::run::conv::{Algorithm, ConvPart, ConvParts};
use ampoule_runtime::run::loops::Loops;
use ampoule_runtime::run::matmul::MatMul;
use ampoule_runtime::{OutOfMemory, View};

impl Lower<'_> {
    /// `rows` dense rows of `k` values by constant `[k, m]` weights, as a pointwise convolution.
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
        // An activation may follow; a residual would have to lie row-major, so it is left out.
        let (id, _, mut act) = self.fuse(y, Residual::No)?;
        let (id, quantization) = if integer.is_some() { self.fuse_quantizer(id)? } else { (id, None) };
        let dims = self.dims(id)?;
        let output = self.fresh(&dims, ampoule_runtime::view::row_major(&dims), self.elem(id));
        self.set(id, output.clone());
        let one = Axis { kernel: 1, stride: 1, dilation: 1, pad: 0 };
        let elems = [x.elem, output.elem];
        let mut quantized = integer.as_ref().map(|i| Quantized {
            zero_point: i.quantization.zero_point as i32,
            residual: (Elem::F32, [1.0, 0.0]),
            post: None,
            output: quantization.map_or([1.0, 0.0], Quantization::quantize),
            totals: None,
        });
        let mut scale = integer.as_ref().map(|i| Self::factors(i, m));
        let mut bias = bias.map(<[f32]>::to_vec);
        if let (Some(i), Some(out), Some(q), Some(scale)) =
            (integer, quantization, &mut quantized, &mut scale)
        {
            Self::requantize_directly(i, (out, false), q, &mut act, scale, (&mut bias, m));
        }
        let bias = bias.as_deref();
        let spec = Spec { input: gx, output: go, residual: None, axes: [one; 3], act, elems, quantized };
        OutOfMemory::check(4 * k * m)?;
        let conv = Conv::new(spec, self.isa, true);
        let (panels, sizes, at) = (conv.panels(self.isa), [1, k, m], |_, i: usize, o: usize| at(i, o));
        let weights = match &scale {
            Some(scale) => Weights::pack_quantized(panels, sizes, scale, bias, &self.spread(), at),
            None => Weights::pack(panels, sizes, bias, &self.spread(), at),
        };
        let algorithm = Algorithm::Direct(conv, weights);
        let parts = vec![ConvPart { algorithm, input: 0, output: 0, residual: 0, depth: [0, 1] }];
        let kind = Kind::Conv(Convolution::plain(ConvParts::new(parts)));
        self.push(n, kind, vec![x], vec![output], (rows * k * m) as u64);
        Ok(())
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
        if let (Some(i), Some((w, [_, m]))) = (&integer, self.matrix(n)) {
            let x = self.dense_rows(n, i.x.clone());
            self.project(n, x, y, None, m, &integer, |i, o| w.get(i * m + o))?;
            return Ok(true);
        }
        let (a, b) = (self.input(n, 0)?, self.input(n, 1)?);
        if a.is_empty() || b.is_empty() || a.dims.is_empty() || b.dims.is_empty() {
            return Ok(false);
        }
        if a.dims.len() < 2 || b.dims.len() < 2 {
            return self.vector_product(n, a, b, y);
        }
        if let (Some(w), 2) = (self.constant(n, 1).and_then(ConstantWeights::of), b.dims.len()) {
            let m = b.dims[1];
            let x = self.dense_rows(n, a);
            self.project(n, x, y, None, m, &None, |i, o| w.get(i * m + o))?;
            return Ok(true);
        }
        let dims = self.dims(y)?;
        let output = self.multiply(n, a, b, &dims)?;
        self.set(y, output);
        Ok(true)
    }

    /// The products of the matrices that the last two axes of `a` and `b` are, of shape `dims` in all.
    pub(super) fn multiply(&mut self, n: &Node, a: View, b: View, dims: &[usize]) -> R<View> {
        let lead = &dims[..dims.len() - 2];
        let (m, k) = (a.dims[a.dims.len() - 2], a.dims[a.dims.len() - 1]);
        let cols = b.dims[b.dims.len() - 1];
        let (a, b) = (self.dense_rows(n, a), self.dense_rows(n, b));
        let offsets = |v: &View, size: usize| -> Vec<usize> {
            let own = View {
                dims: v.dims[..v.dims.len() - 2].to_vec(),
                strides: ampoule_runtime::view::row_major(&v.dims[..v.dims.len() - 2]),
                ..v.clone()
            };
            let wide = own.expanded(lead);
            let count: usize = lead.iter().product();
            (0..count)
                .map(|mut i| {
                    let mut at = 0;
                    for d in (0..lead.len()).rev() {
                        at += (i % lead[d]) * wide.strides[d] as usize;
                        i /= lead[d];
                    }
                    at * size
                })
                .collect()
        };
        let (oa, ob) = (offsets(&a, m * k), offsets(&b, k * cols));
        let batch = oa.iter().zip(&ob).enumerate().map(|(i, (a, b))| [*a, *b, i * m * cols]).collect();
        let output = self.fresh(dims, ampoule_runtime::view::row_major(dims), a.elem);
        let operand = gemm::operand(self.isa, a.elem);
        let product = MatMul { m, k, n: cols, batch, panels: gemm::panels(self.isa, operand, cols, 0) };
        let macs = (product.batch.len() * m * k * cols) as u64;
        self.push(n, Kind::MatMul(product), vec![a, b], vec![output.clone()], macs);
        Ok(output)
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
        let mut v = self.multiply(n, a, b, &dims)?;
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
        let mut v = self.multiply(n, a, b, &dims)?;
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
        let out = self.fresh(&v.dims.clone(), ampoule_runtime::view::row_major(&v.dims), v.elem);
        let loops = Loops::new(&[&v, &out]);
        let f = eltwise::Unary::Dequantize { scale: by, zero: 0.0 };
        self.push(n, Kind::Unary(f, loops), vec![v], vec![out.clone()], 0);
        out
    }
}
