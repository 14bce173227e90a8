//! Matrix products.

use super::conv::channels;
use crate::args::Args;
use crate::net::{Followed, Net, wrong};
use crate::value::Value;
use ampoule_graph::op::Binary;
use ampoule_graph::{Op, ValueId};

fn gemm(
    net: &mut Net,
    x: ValueId,
    w: ValueId,
    bias: Option<ValueId>,
    alpha: f32,
    beta: f32,
    trans_b: bool,
) -> Followed<ValueId> {
    let op = Op::Gemm { alpha, beta, trans_a: false, trans_b };
    Ok(net.node(op, vec![Some(x), Some(w), bias], 1)?[0])
}

/// `linear(input, weight, bias)`.
pub(super) fn linear(net: &mut Net, a: &Args) -> Followed<Value> {
    let (x, w, bias) = (a.tensor(net, 0)?, a.tensor(net, 1)?, a.maybe(net, 2)?);
    let out = dense(net, x, w, bias)?;
    Ok(net.tensor(out))
}

/// `x · wᵀ + bias`.
pub(super) fn dense(net: &mut Net, x: ValueId, w: ValueId, bias: Option<ValueId>) -> Followed<ValueId> {
    let (rank, sizes) = (net.rank(x)?, net.sizes(w, "the weights of a layer have free sizes")?);
    let [_, inputs] = sizes[..] else { return wrong("the weights of a dense layer have two axes") };
    if rank == 0 {
        return wrong("a dense layer of a number");
    }
    channels(net, x, rank - 1, inputs)?;
    if rank == 2 {
        return gemm(net, x, w, bias, 1.0, 1.0, true);
    }
    let turned = net.transpose(w, &[1, 0])?;
    let out = net.one(Op::MatMul, &[x, turned])?;
    match bias {
        Some(b) => net.one(Op::Binary(Binary::Add), &[out, b]),
        None => Ok(out),
    }
}

/// `matmul(self, other)`, `mm`, `bmm`.
pub(super) fn matmul(net: &mut Net, a: &Args) -> Followed<Value> {
    let (x, y) = (a.tensor(net, 0)?, a.tensor(net, 1)?);
    let out = net.one(Op::MatMul, &[x, y])?;
    Ok(net.tensor(out))
}

/// `addmm(self, mat1, mat2, beta, alpha)`.
pub(super) fn addmm(net: &mut Net, a: &Args) -> Followed<Value> {
    let (bias, x, w) = (a.tensor(net, 0)?, a.tensor(net, 1)?, a.tensor(net, 2)?);
    let (beta, alpha) = (a.float_or(net, 3, 1.0)? as f32, a.float_or(net, 4, 1.0)? as f32);
    let out = gemm(net, x, w, Some(bias), alpha, beta, false)?;
    Ok(net.tensor(out))
}

/// `baddbmm(self, batch1, batch2, beta, alpha)`.
pub(super) fn baddbmm(net: &mut Net, a: &Args) -> Followed<Value> {
    let (bias, x, y) = (a.tensor(net, 0)?, a.tensor(net, 1)?, a.tensor(net, 2)?);
    let (beta, alpha) = (a.float_or(net, 3, 1.0)? as f32, a.float_or(net, 4, 1.0)? as f32);
    let mut out = net.one(Op::MatMul, &[x, y])?;
    if alpha != 1.0 {
        let alpha = net.number(alpha)?;
        out = net.one(Op::Binary(Binary::Mul), &[out, alpha])?;
    }
    if beta == 0.0 {
        return Ok(net.tensor(out));
    }
    let factor = net.number(beta)?;
    let bias = if beta == 1.0 { bias } else { net.one(Op::Binary(Binary::Mul), &[bias, factor])? };
    let out = net.one(Op::Binary(Binary::Add), &[out, bias])?;
    Ok(net.tensor(out))
}

/// `einsum(equation, tensors)`.
pub(super) fn einsum(net: &mut Net, a: &Args) -> Followed<Value> {
    let equation = a.text(0, "")?.replace(' ', "");
    let list = a.tensors(net, 1)?;
    let out = net.one(Op::Einsum { equation }, &list)?;
    Ok(net.tensor(out))
}
