//! Layers of transformers, and heads of classifiers.

use super::Draw;
use ampoule_graph::op::{Binary, Op, Unary};
use ampoule_graph::{Tensor, ValueId};

/// Places that attention looks at; its products are as many as their square.
const MOST_PLACES: usize = 150;

impl Draw<'_> {
    fn shape(&mut self, x: ValueId, dims: &[usize]) -> ValueId {
        let sizes: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
        let sizes = self.net.b.constant("sizes", Tensor::i64(&[dims.len()], &sizes));
        self.net.b.node(Op::Reshape { allow_zero: false }, &[x, sizes])
    }

    fn turn(&mut self, x: ValueId, perm: &[usize]) -> ValueId {
        self.net.b.node(Op::Transpose { perm: perm.to_vec() }, &[x])
    }

    /// `x` as `[batch, places, channels]`.
    fn tokens(&mut self) -> (ValueId, usize) {
        let places: usize = self.dims[2..].iter().product();
        let flat = self.shape(self.x, &[self.dims[0], self.dims[1], places]);
        (self.turn(flat, &[0, 2, 1]), places)
    }

    /// Tokens as features again.
    fn features(&mut self, t: ValueId, what: String) {
        let back = self.turn(t, &[0, 2, 1]);
        let y = self.shape(back, &self.dims.clone());
        self.becomes(y, self.dims.clone(), what);
    }

    fn layer_norm(&mut self, t: ValueId, c: usize) -> ValueId {
        let (scale, bias) = (self.net.positive(c), self.net.scaled(&[c], 0.5));
        let (scale, bias) = (self.net.b.constant("scale", scale), self.net.b.constant("bias", bias));
        self.sensitive = true;
        self.net.b.node(Op::LayerNorm { axis: -1, epsilon: 1e-5 }, &[t, scale, bias])
    }

    fn linear(&mut self, t: ValueId, from: usize, to: usize, bias: bool) -> ValueId {
        let w = self.net.scaled(&[from, to], (3.0 / from as f32).sqrt());
        let w = self.net.b.constant("w", w);
        let y = self.net.b.node(Op::MatMul, &[t, w]);
        if !bias {
            return y;
        }
        let b = self.net.scaled(&[to], 0.5);
        let b = self.net.b.constant("b", b);
        self.net.b.add(y, b)
    }

    /// Normalisation over channels and two products with a function between, added to what was.
    pub(super) fn mixer(&mut self) {
        let (c, wide) = (self.dims[1], self.bytes.one_of(&[8, 20, 33, 64]));
        let (t, _) = self.tokens();
        let y = if c > 1 && self.bytes.coin() { self.layer_norm(t, c) } else { t };
        let y = self.linear(y, c, wide, true);
        let f = self.bytes.one_of(&[Unary::Gelu { tanh: false }, Unary::Relu, Unary::Swish { alpha: 1.0 }]);
        let y = self.net.b.unary(y, f);
        let bias = self.bytes.coin();
        let y = self.linear(y, wide, c, bias);
        let y = if self.bytes.coin() { self.net.b.add(t, y) } else { y };
        self.features(y, format!("mixer {wide} {f:?}"));
    }

    /// Attention of all places to all, in heads.
    pub(super) fn attention(&mut self) {
        let (b, c) = (self.dims[0], self.dims[1]);
        let heads: Vec<usize> = (1..=c.min(4)).filter(|h| c.is_multiple_of(*h)).collect();
        let (h, masked) = (self.bytes.one_of(&heads), self.bytes.coin());
        if self.dims[2..].iter().product::<usize>() > MOST_PLACES {
            return;
        }
        let (t, places) = self.tokens();
        let per_head = |d: &mut Self, perm: &[usize]| {
            let y = d.linear(t, c, c, true);
            let y = d.shape(y, &[b, places, h, c / h]);
            d.turn(y, perm)
        };
        let q = per_head(self, &[0, 2, 1, 3]);
        let k = per_head(self, &[0, 2, 3, 1]);
        let v = per_head(self, &[0, 2, 1, 3]);
        let scale = self.net.b.constant("scale", Tensor::f32(&[], &[1.0 / ((c / h) as f32).sqrt()]));
        let q = self.net.b.node(Op::Binary(Binary::Mul), &[q, scale]);
        let mut scores = self.net.b.node(Op::MatMul, &[q, k]);
        if masked {
            let bias = self.net.tensor(&[h, places, places]);
            let bias = self.net.b.constant("position", bias);
            scores = self.net.b.add(scores, bias);
        }
        let shares = self.net.b.node(Op::Softmax { axis: -1, log: false }, &[scores]);
        let y = self.net.b.node(Op::MatMul, &[shares, v]);
        let y = self.turn(y, &[0, 2, 1, 3]);
        let y = self.shape(y, &[b, places, c]);
        let y = self.linear(y, c, c, true);
        let y = self.net.b.add(t, y);
        self.features(y, format!("attention {h} heads bias {masked}"));
    }

    /// What ends the network: nothing, or a classifier.
    pub(super) fn head(&mut self) {
        if self.bytes.below(3) != 1 {
            return;
        }
        let (b, c, out) = (self.dims[0], self.dims[1], self.bytes.one_of(&[2, 5, 1, 17]));
        let y = self.net.b.node(Op::GlobalAveragePool, &[self.x]);
        let y = self.net.b.node(Op::Flatten { axis: 1 }, &[y]);
        let w = self.net.scaled(&[out, c], (3.0 / c as f32).sqrt());
        let w = self.net.b.constant("w", w);
        let bias = self.net.scaled(&[out], 0.5);
        let bias = self.net.b.constant("b", bias);
        let y =
            self.net.b.node(Op::Gemm { alpha: 1.0, beta: 1.0, trans_a: false, trans_b: true }, &[y, w, bias]);
        self.becomes(y, vec![b, out], "classifier".into());
    }
}
