//! Attention.

use super::product::dense;
use crate::args::Args;
use crate::net::{Followed, Net, Stop, wrong};
use crate::value::Value;
use ampoule_graph::op::{Binary, Unary};
use ampoule_graph::{DType, Op, Tensor, ValueId};
use std::rc::Rc;

/// The last two axes exchanged.
fn turned(net: &mut Net, x: ValueId) -> Followed<ValueId> {
    let rank = net.rank(x)?;
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(rank - 1, rank - 2);
    net.transpose(x, &perm)
}

/// `softmax(q·kᵀ·scale + mask)·v`.
fn attend(
    net: &mut Net,
    q: ValueId,
    k: ValueId,
    v: ValueId,
    mask: Option<ValueId>,
    scale: f32,
) -> Followed<ValueId> {
    let scale = net.number(scale)?;
    let q = net.one(Op::Binary(Binary::Mul), &[q, scale])?;
    let k = turned(net, k)?;
    let mut scores = net.one(Op::MatMul, &[q, k])?;
    if let Some(mask) = mask {
        scores = if net.dtype(mask) == DType::Bool {
            let low = net.number(f32::MIN)?;
            net.one(Op::Where, &[mask, scores, low])?
        } else {
            net.one(Op::Binary(Binary::Add), &[scores, mask])?
        };
    }
    let weights = net.one(Op::Softmax { axis: -1, log: false }, &[scores])?;
    net.one(Op::MatMul, &[weights, v])
}

/// `scaled_dot_product_attention(query, key, value, attn_mask, dropout_p, is_causal, scale)`.
pub(super) fn scaled(net: &mut Net, a: &Args) -> Followed<Value> {
    let (q, k, v) = (a.tensor(net, 0)?, a.tensor(net, 1)?, a.tensor(net, 2)?);
    let mut mask = a.maybe(net, 3)?;
    let dims = net.dims(q)?;
    if dims.len() < 3 {
        return wrong("attention over tensors of less than three axes");
    }
    let Some(width) = dims[dims.len() - 1].known() else {
        return Err(Stop::Free("attention over channels of a free number".into()));
    };
    let scale = a.float_or(net, 6, 1.0 / (width as f64).sqrt())?;
    if a.flag(5, false)? {
        let n = net.sizes(q, "causal attention over a free length")?[dims.len() - 2];
        let m = net.sizes(k, "causal attention over a free length")?[dims.len() - 2];
        if n * m > 1 << 24 {
            return wrong("causal attention over too long a sequence");
        }
        let allowed: Vec<i64> = (0..n * m).map(|i| (i % m <= i / m) as i64).collect();
        mask = Tensor::from_i64(DType::Bool, &[n, m], &allowed).map(|t| net.made(t)).transpose()?;
    }
    let out = attend(net, q, k, v, mask, scale as f32)?;
    Ok(net.tensor(out))
}

/// Heads of a projection: `[b, n, heads·d]` as `[b, heads, n, d]`.
fn heads(net: &mut Net, x: ValueId, heads: usize, width: usize) -> Followed<ValueId> {
    let (b, n) = (net.size(x, 0)?, net.size(x, 1)?);
    let split = [b, n, Value::Int(heads as i64), Value::Int((width / heads) as i64)];
    let x = net.reshape(x, &split)?;
    net.transpose(x, &[0, 2, 1, 3])
}

/// Self-attention with one matrix for queries, keys and values.
fn own(
    net: &mut Net,
    x: ValueId,
    width: usize,
    count: usize,
    w: [ValueId; 2],
    p: [ValueId; 2],
) -> Followed<ValueId> {
    if count == 0 || !width.is_multiple_of(count) {
        return wrong("attention whose heads do not divide its channels");
    }
    let all = dense(net, x, w[0], Some(w[1]))?;
    let thirds = net.ints(&[width as i64; 3])?;
    let parts = net.node(Op::Split { axis: -1 }, vec![Some(all), Some(thirds)], 3)?;
    let [q, k, v] = [
        heads(net, parts[0], count, width)?,
        heads(net, parts[1], count, width)?,
        heads(net, parts[2], count, width)?,
    ];
    let out = attend(net, q, k, v, None, 1.0 / ((width / count) as f32).sqrt())?;
    let out = net.transpose(out, &[0, 2, 1, 3])?;
    let (b, n) = (net.size(x, 0)?, net.size(x, 1)?);
    let out = net.reshape(out, &[b, n, Value::Int(width as i64)])?;
    dense(net, out, p[0], Some(p[1]))
}

/// `_native_multi_head_attention(query, key, value, embed_dim, num_head, qkv_weight, qkv_bias, proj_weight, proj_bias,
/// mask, need_weights, average_attn_weights, mask_type)` of a tensor with itself.
pub(super) fn multi_head(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    if a.tensor(net, 1)? != x || a.tensor(net, 2)? != x || a.given(9) {
        return wrong("multi-head attention of different tensors, or with a mask");
    }
    let (width, count) = (a.int(net, 3)?.max(0) as usize, a.int(net, 4)?.max(0) as usize);
    let w = [a.tensor(net, 5)?, a.tensor(net, 6)?];
    let p = [a.tensor(net, 7)?, a.tensor(net, 8)?];
    let out = own(net, x, width, count, w, p)?;
    Ok(Value::Tuple(Rc::new([net.tensor(out), Value::None])))
}

/// `_transformer_encoder_layer_fwd(src, embed_dim, num_heads, qkv_weight, qkv_bias, proj_weight, proj_bias, use_gelu,
/// norm_first, eps, norm_weight_1, norm_bias_1, norm_weight_2, norm_bias_2, ffn_weight_1, ffn_bias_1, ffn_weight_2,
/// ffn_bias_2, mask, mask_type)`.
pub(super) fn encoder_layer(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    if a.given(18) {
        return wrong("a transformer layer with a mask");
    }
    let (width, count) = (a.int(net, 1)?.max(0) as usize, a.int(net, 2)?.max(0) as usize);
    let mut t = Vec::new();
    for i in [3, 4, 5, 6, 10, 11, 12, 13, 14, 15, 16, 17] {
        t.push(a.tensor(net, i)?);
    }
    let (gelu, first, epsilon) = (a.flag(7, false)?, a.flag(8, false)?, a.float_or(net, 9, 1e-5)? as f32);
    let norm = |net: &mut Net, x, s, b| net.one(Op::LayerNorm { axis: -1, epsilon }, &[x, s, b]);
    let plus = |net: &mut Net, x, y| net.one(Op::Binary(Binary::Add), &[x, y]);
    let feed = |net: &mut Net, x, t: &[ValueId]| -> Followed<ValueId> {
        let x = dense(net, x, t[8], Some(t[9]))?;
        let u = if gelu { Unary::Gelu { tanh: false } } else { Unary::Relu };
        let x = net.one(Op::Unary(u), &[x])?;
        dense(net, x, t[10], Some(t[11]))
    };
    let (w, p) = ([t[0], t[1]], [t[2], t[3]]);
    let out = if first {
        let y = norm(net, x, t[4], t[5])?;
        let y = own(net, y, width, count, w, p)?;
        let x = plus(net, x, y)?;
        let y = norm(net, x, t[6], t[7])?;
        let y = feed(net, y, &t)?;
        plus(net, x, y)?
    } else {
        let y = own(net, x, width, count, w, p)?;
        let x = plus(net, x, y)?;
        let x = norm(net, x, t[4], t[5])?;
        let y = feed(net, x, &t)?;
        let x = plus(net, x, y)?;
        norm(net, x, t[6], t[7])?
    };
    Ok(net.tensor(out))
}
