//! Element-wise functions, normalisation, softmax, pooling, resampling.

use super::quantized::Code;
use super::{Lower, R, Residual};
use crate::step::{Codes, Kind, Loops, Norm};
use ampoule_graph::infer::{axis, resize_geometry};
use ampoule_graph::op::{Binary, Pool, Resize, Unary, Variadic};
use ampoule_graph::{Node, Op, Tensor, ValueId, eval};
use ampoule_kernels::conv::Axis;
use ampoule_kernels::gemm::Act;
use ampoule_kernels::pool::{Pool as PoolPlan, PoolKind};
use ampoule_kernels::resize::{Resize as ResizePlan, Samples};
use ampoule_kernels::{Elem, eltwise};
use ampoule_runtime::axes;
use ampoule_runtime::view::View;

/// The vector function for an operator, if there is one.
fn vectorised(u: Unary) -> Option<eltwise::Unary> {
    use eltwise::Unary as K;
    Some(match u {
        Unary::Relu => K::Leaky(0.0),
        Unary::LeakyRelu { alpha } => K::Leaky(alpha),
        Unary::Elu { alpha } => K::Elu(alpha),
        Unary::HardSigmoid { alpha, beta } => K::HardSigmoid(alpha, beta),
        Unary::Sigmoid => K::Sigmoid,
        Unary::Tanh => K::Tanh,
        Unary::Swish { alpha } => K::Swish(alpha),
        Unary::HardSwish => K::HardSwish,
        Unary::Mish => K::Mish,
        Unary::Gelu { tanh: false } => K::Gelu,
        Unary::Gelu { tanh: true } => K::GeluTanh,
        Unary::Erf => K::Erf,
        Unary::Exp => K::Exp,
        Unary::Sqrt => K::Sqrt,
        Unary::Neg => K::Neg,
        Unary::Abs => K::Abs,
        Unary::Reciprocal => K::Reciprocal,
        _ => return None,
    })
}

impl Lower<'_> {
    /// Follows `id` through an element-wise function that is its only reader, marks that as done,
    /// and returns the value that results and the function.
    pub(super) fn fuse_function(&mut self, id: ValueId) -> (ValueId, Option<eltwise::Unary>) {
        let Some(r) = self.only_reader(id) else { return (id, None) };
        let n = &self.graph.nodes[r];
        let Op::Unary(u) = &n.op else { return (id, None) };
        match (vectorised(*u), n.output()) {
            (Some(f), Some(y)) if n.input(0) == Some(id) => {
                self.fused[r] = true;
                (y, Some(f))
            }
            _ => (id, None),
        }
    }

    /// `x · s` where `s` has one value per channel, as squeeze-and-excitation has.
    fn scale(&mut self, n: &Node, x: ValueId, s: ValueId, y: ValueId) -> R<bool> {
        let dims = self.dims(y)?;
        let (vx, vs) = (self.get(x)?, self.get(s)?);
        if !(3..=5).contains(&dims.len()) || vs.dims.len() != dims.len() || vx.dims != dims {
            return Ok(false);
        }
        let channels = dims[1];
        let factors = vs.dims != dims
            && (vs.dims[0] == 1 || vs.dims[0] == dims[0])
            && vs.dims[1] == channels
            && vs.dims[2..].iter().all(|&d| d == 1)
            && (channels == 1 || vs.strides[1] == 1);
        if !factors || !vx.grid().is_some_and(|g| g.uniform()) {
            return Ok(false);
        }
        let alike = vx.elem == vs.elem && matches!(vx.elem, Elem::F32 | Elem::Bf16);
        if !alike {
            return Ok(false);
        }
        let (id, code) = self.fuse_quantizer(y)?;
        let out = self.place(id, &dims);
        if !out.grid().is_some_and(|g| g.uniform()) {
            return Err("the output is not evenly spaced".into());
        }
        self.set(id, out.clone());
        let code = code.map_or([1.0, 0.0], Code::codes);
        self.push(n, Kind::Scale(code), vec![vx, vs], vec![out], 0);
        Ok(true)
    }

    fn apply_unary(&mut self, n: &Node, f: eltwise::Unary) -> R<bool> {
        let x = self.input(n, 0)?;
        self.apply_to(n, f, x)
    }

    /// The output of `n` as a function of `x`.
    pub(super) fn apply_to(&mut self, n: &Node, f: eltwise::Unary, x: View) -> R<bool> {
        let Some(y) = n.output() else { return Ok(false) };
        let out = self.place_like(y, &x)?;
        self.set(y, out.clone());
        let loops = Loops::new(&[&x, &out]);
        self.push(n, Kind::Unary(f, loops), vec![x], vec![out], 0);
        Ok(true)
    }

    /// A place for `y` that lies as `x` does, so that element-wise work runs flat and in place;
    /// its slice of a concatenation when it has one.
    pub(super) fn place_like(&mut self, y: ValueId, x: &View) -> R<View> {
        let dims = self.dims(y)?;
        if self.slices.contains_key(&y)
            || dims != x.dims
            || x.is_row_major() != (x.grid().is_none() || x.dims.len() < 3)
        {
            return Ok(self.place(y, &dims));
        }
        if x.is_row_major() {
            return Ok(self.fresh(&dims, ampoule_runtime::view::row_major(&dims), self.elem(y)));
        }
        Ok(self.place(y, &dims))
    }

    pub(super) fn unary(&mut self, n: &Node, u: Unary) -> R<bool> {
        match vectorised(u) {
            Some(f) => self.apply_unary(n, f),
            None => Ok(false),
        }
    }

    pub(super) fn clip(&mut self, n: &Node) -> R<bool> {
        match self.activation(n) {
            Some(Act::Clamp(a, b)) => self.apply_unary(n, eltwise::Unary::Clamp(a, b)),
            _ => Ok(false),
        }
    }

    pub(super) fn binary(&mut self, n: &Node, b: Binary) -> R<bool> {
        use eltwise::Binary as K;
        let f = match b {
            Binary::Add => K::Add,
            Binary::Sub => K::Sub,
            Binary::Mul => K::Mul,
            Binary::Div => K::Div,
            Binary::PRelu => K::PRelu,
            _ => return Ok(false),
        };
        let (Some(x), Some(z), Some(y)) = (n.input(0), n.input(1), n.output()) else { return Ok(false) };
        if b == Binary::Mul && (self.scale(n, x, z, y)? || self.scale(n, z, x, y)?) {
            return Ok(true);
        }
        self.apply_binary(n, f, x, z, y)?;
        Ok(true)
    }

    fn apply_binary(&mut self, n: &Node, f: eltwise::Binary, a: ValueId, b: ValueId, y: ValueId) -> R<()> {
        let (va, vb) = (self.get(a)?, self.get(b)?);
        let dims = self.dims(y)?;
        let main = if va.dims == dims { &va } else { &vb };
        let out = self.place_like(y, &main.clone())?;
        self.set(y, out.clone());
        let (va, vb) = (va.expanded(&dims), vb.expanded(&dims));
        let loops = Loops::new(&[&va, &vb, &out]);
        self.push(n, Kind::Binary(f, loops), vec![va, vb], vec![out], 0);
        Ok(())
    }

    pub(super) fn variadic(&mut self, n: &Node, v: Variadic) -> R<bool> {
        use eltwise::Binary as K;
        let f = match v {
            Variadic::Sum => K::Add,
            Variadic::Max => K::Max,
            Variadic::Min => K::Min,
            Variadic::Mean => return Ok(false),
        };
        let (Some(y), [Some(a), Some(b)]) = (n.output(), &n.inputs[..]) else { return Ok(false) };
        self.apply_binary(n, f, *a, *b, y)?;
        Ok(true)
    }

    pub(super) fn batch_norm(&mut self, n: &Node, epsilon: f32) -> R<bool> {
        let p: Option<Vec<Vec<f32>>> = (1..5).map(|i| self.floats(n, i)).collect();
        let Some(p) = p else { return Ok(false) };
        let gamma: Vec<f32> = (0..p[0].len())
            .map(|c| (p[0][c] as f64 / (p[3][c] as f64 + epsilon as f64).sqrt()) as f32)
            .collect();
        let beta =
            (0..gamma.len()).map(|c| (p[1][c] as f64 - p[2][c] as f64 * gamma[c] as f64) as f32).collect();
        self.norm(n, gamma, beta, None, epsilon)
    }

    pub(super) fn instance_norm(&mut self, n: &Node, group: usize, epsilon: f32) -> R<bool> {
        let (Some(gamma), Some(beta)) = (self.floats(n, 1), self.floats(n, 2)) else { return Ok(false) };
        self.norm(n, gamma, beta, Some(group), epsilon)
    }

    fn norm(
        &mut self,
        n: &Node,
        gamma: Vec<f32>,
        beta: Vec<f32>,
        group: Option<usize>,
        epsilon: f32,
    ) -> R<bool> {
        let Some(y) = n.output() else { return Ok(false) };
        let x = self.input(n, 0)?;
        if !(2..=5).contains(&x.dims.len()) {
            return Ok(false);
        }
        let (x, _) = self.channels_last(n, x)?;
        let exact = n.input(0).and_then(|x| self.exact.remove(&x));
        let (id, residual, act) = self.fuse(y, Residual::Codes)?;
        let (id, code) = self.fuse_quantizer(id)?;
        let dims = self.dims(id)?;
        let out = self.place(id, &dims);
        if !out.grid().is_some_and(|g| g.uniform()) {
            return Err("the output is not evenly spaced".into());
        }
        self.set(id, out.clone());
        let mut reads = vec![x];
        let map = residual.as_ref().map_or([1.0, 0.0], |r| r.1);
        reads.extend(residual.map(|r| r.0));
        let sums = group.and_then(|_| self.sums_of(&reads[0]));
        if exact.is_some() && sums.is_none() {
            return Err("integer sums that nobody adds up".into());
        }
        let output = code.map_or([1.0, 0.0], Code::codes);
        let codes = Codes { residual: map, output, exact };
        self.push(n, Kind::Norm(Norm { codes, gamma, beta, group, epsilon, act, sums }), reads, vec![out], 0);
        Ok(true)
    }

    pub(super) fn layer_norm(&mut self, n: &Node, a: i64, epsilon: f32) -> R<bool> {
        let Some(y) = n.output() else { return Ok(false) };
        let x = self.input(n, 0)?;
        let size: usize = x.dims[axis(a, x.dims.len())?..].iter().product();
        let Some(scale) = self.floats(n, 1).filter(|s| s.len() == size) else { return Ok(false) };
        let shift = match n.input(2) {
            None => vec![0.0; size],
            Some(_) => match self.floats(n, 2).filter(|s| s.len() == size) {
                Some(s) => s,
                None => return Ok(false),
            },
        };
        if size == 0 || n.outputs.iter().flatten().count() != 1 {
            return Ok(false);
        }
        let x = self.dense_rows(n, x);
        self.slices.remove(&y);
        let out = self.fresh(&x.dims.clone(), x.strides.clone(), x.elem);
        self.set(y, out.clone());
        self.push(n, Kind::LayerNorm { scale, shift, epsilon }, vec![x], vec![out], 0);
        Ok(true)
    }

    /// Makes the convolution that wrote the whole of `x` add up its outputs, if one did.
    fn sums_of(&mut self, x: &View) -> Option<usize> {
        let step = self.out.steps.iter_mut().rev().find(|s| s.writes.iter().any(|w| w.home == x.home))?;
        let Kind::Conv(c) = &mut step.kind else { return None };
        let [part] = &c.parts[..] else { return None };
        if step.writes[0] != *x || x.dims[0] != 1 || !part.sums() {
            return None;
        }
        let sums = *c.sums.get_or_insert(self.out.sums);
        self.out.sums = self.out.sums.max(sums + 1);
        Some(sums)
    }

    pub(super) fn softmax(&mut self, n: &Node, a: i64) -> R<bool> {
        let Some(y) = n.output() else { return Ok(false) };
        let x = self.input(n, 0)?;
        let rank = x.dims.len();
        let a = axis(a, rank)?;
        let size = x.dims[a];
        if let (Some(g), true, true) = (x.grid().filter(|g| g.uniform()), a == 1, rank >= 3) {
            let dims = self.dims(y)?;
            let out = self.place(y, &dims);
            self.set(y, out.clone());
            let to = out.grid().filter(|g| g.uniform()).ok_or("the output is not channels-last")?;
            let kind = Kind::Softmax { rows: g.pixels(), n: size, from: g.pixel(), to: to.pixel() };
            self.push(n, kind, vec![x], vec![out], 0);
            return Ok(true);
        }
        // Any other axis: bring it to the end, work on dense rows, and view the result back.
        let mut perm: Vec<usize> = (0..rank).filter(|&i| i != a).collect();
        perm.push(a);
        let moved = self.dense_rows(n, x.permuted(&perm));
        let out = self.fresh(&moved.dims.clone(), moved.strides.clone(), moved.elem);
        let mut back = vec![0; rank];
        for (i, &p) in perm.iter().enumerate() {
            back[p] = i;
        }
        self.set(y, out.permuted(&back));
        let rows = moved.len() / size.max(1);
        self.push(n, Kind::Softmax { rows, n: size, from: size, to: size }, vec![moved], vec![out], 0);
        Ok(true)
    }

    pub(super) fn pool(&mut self, n: &Node, p: &Pool, max: bool) -> R<bool> {
        let Some(y) = n.output() else { return Ok(false) };
        let x = self.input(n, 0)?;
        let rank = x.dims.len();
        if !(3..=5).contains(&rank) {
            return Ok(false);
        }
        let r = p.window.resolve(&x.dims[2..], &[], p.ceil_mode)?;
        let mut end = [0; 3];
        for (i, &e) in r.end.iter().enumerate() {
            end[5 - rank + i] = usize::try_from(e).map_err(|_| "a negative pad")?;
        }
        let kind = match (max, p.count_include_pad) {
            (true, _) => PoolKind::Max,
            (false, true) => PoolKind::AveragePadded(end),
            (false, false) => PoolKind::Average,
        };
        self.pool_step(n, x, y, axes(&r), kind)
    }

    fn pool_step(&mut self, n: &Node, x: View, y: ValueId, axes: [Axis; 3], kind: PoolKind) -> R<bool> {
        let (x, input) = self.channels_last(n, x)?;
        let dims = self.dims(y)?;
        let out = self.place(y, &dims);
        self.set(y, out.clone());
        let output = out.grid().ok_or("the output is not channels-last")?;
        let plan = PoolPlan { input, output, axes, kind, elem: out.elem };
        self.push(n, Kind::Pool(plan), vec![x], vec![out], 0);
        Ok(true)
    }

    pub(super) fn global_max(&mut self, n: &Node) -> R<bool> {
        let Some(y) = n.output() else { return Ok(false) };
        let x = self.input(n, 0)?;
        let Some(g) = x.grid() else { return Ok(false) };
        let axes = [1, 2, 3].map(|i| Axis { kernel: g.dims[i], stride: 1, dilation: 1, pad: 0 });
        self.pool_step(n, x, y, axes, PoolKind::Max)
    }

    pub(super) fn global_average(&mut self, n: &Node) -> R<bool> {
        let Some(y) = n.output() else { return Ok(false) };
        let x = self.input(n, 0)?;
        if !(3..=5).contains(&x.dims.len()) || x.len() == 0 {
            return Ok(false);
        }
        let (x, _) = self.channels_last(n, x)?;
        let dims = self.dims(y)?;
        let out = self.place(y, &dims);
        self.set(y, out.clone());
        self.push(n, Kind::GlobalAverage, vec![x], vec![out], 0);
        Ok(true)
    }

    pub(super) fn resize(&mut self, n: &Node, r: &Resize) -> R<bool> {
        let Some(y) = n.output() else { return Ok(false) };
        let x = self.input(n, 0)?;
        let rank = x.dims.len();
        let scales = self.constant(n, 2).and_then(Tensor::to_f64);
        let sizes = self.constant(n, 3).and_then(Tensor::to_i64);
        if !(3..=5).contains(&rank) || (scales.is_none() && sizes.is_none()) {
            return Ok(false);
        }
        let (out_dims, scale) = resize_geometry(r, &x.dims, scales.as_deref(), sizes.as_deref())?;
        let still = |i: usize| out_dims[i] == x.dims[i] && scale[i] == 1.0;
        if !still(0) || !still(1) {
            return Ok(false);
        }
        let samples = |i: usize| match (i + rank).checked_sub(3) {
            // Axis i of three is axis i + rank - 3 of the value, when that is a spatial one.
            Some(k) if k >= 2 => Samples::of(&eval::axis_taps(r, x.dims[k], out_dims[k], scale[k])),
            _ => Samples { width: 1, at: vec![0], weight: vec![1.0] },
        };
        let axes = [0, 1, 2].map(samples);
        let (x, input) = self.channels_last(n, x)?;
        let dims = self.dims(y)?;
        let out = self.place(y, &dims);
        self.set(y, out.clone());
        let output = out.grid().ok_or("the output is not channels-last")?;
        let plan = ResizePlan { input, output, axes, elem: out.elem };
        self.push(n, Kind::Resize(plan), vec![x], vec![out], 0);
        Ok(true)
    }
}
