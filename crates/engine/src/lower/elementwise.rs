//! Element-wise functions.

use super::{Lower, R};
use crate::step::Kind;
use ampoule_graph::op::{Binary, Unary, Variadic};
use ampoule_graph::{Node, Op, ValueId};
use ampoule_kernels::{Act, eltwise};
use ampoule_runtime::View;
use ampoule_runtime::run::loops::Loops;

/// The vector function for an operator, if there is one.
pub(super) fn vectorised(u: Unary) -> Option<eltwise::Unary> {
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

/// The vector function of two values for an operator, if there is one.
pub(super) fn two_values(b: Binary) -> Option<eltwise::Binary> {
    use eltwise::Binary as K;
    Some(match b {
        Binary::Add => K::Add,
        Binary::Sub => K::Sub,
        Binary::Mul => K::Mul,
        Binary::Div => K::Div,
        Binary::PRelu => K::PRelu,
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
        let image = (3..=5).contains(&dims.len()) && !self.row_major[y.0];
        if self.slices.contains_key(&y) || dims != x.dims || (image && !x.is_dense()) {
            return Ok(self.place(y, &dims));
        }
        // Of a part of something the axes in the same order, without what lies between.
        Ok(self.fresh(&dims, x.packed_strides(), self.elem(y)))
    }

    pub(super) fn unary(&mut self, n: &Node, u: Unary) -> R<bool> {
        match vectorised(u) {
            Some(f) => self.apply_unary(n, f),
            None => self.function(n),
        }
    }

    pub(super) fn clip(&mut self, n: &Node) -> R<bool> {
        match self.activation(n) {
            Some(Act::Clamp(a, b)) => self.apply_unary(n, eltwise::Unary::Clamp(a, b)),
            Some(Act::None | Act::Leaky(_)) | None => self.computed_clip(n),
        }
    }

    pub(super) fn binary(&mut self, n: &Node, b: Binary) -> R<bool> {
        let Some(f) = two_values(b) else { return self.function(n) };
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
            Variadic::Sum | Variadic::Mean => K::Add,
            Variadic::Max => K::Max,
            Variadic::Min => K::Min,
        };
        let Some(y) = n.output() else { return Ok(false) };
        let (a, b) = match n.inputs[..] {
            [Some(a), Some(b)] if v != Variadic::Mean => {
                return self.apply_binary(n, f, a, b, y).map(|()| true);
            }
            [Some(a), ..] => (a, 1),
            _ => return Ok(false),
        };
        let dims = self.dims(y)?;
        self.slices.remove(&y);
        let mut sum = self.get(a)?.expanded(&dims);
        for i in b..n.inputs.len() {
            let next = self.input(n, i)?.expanded(&dims);
            let out = self.place(y, &dims);
            let loops = Loops::new(&[&sum, &next, &out]);
            self.push(n, Kind::Binary(f, loops), vec![sum, next], vec![out.clone()], 0);
            sum = out;
        }
        if v == Variadic::Mean {
            sum = self.scaled(n, sum, 1.0 / n.inputs.len() as f32);
        }
        self.set(y, sum);
        Ok(true)
    }
}
