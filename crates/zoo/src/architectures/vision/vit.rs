//! Vision transformers (Dosovitskiy et al., 2021; Touvron et al., 2021 and 2022) as torchvision and timm name their
//! layers. The learned positions fix the size of the image, which is square.

use super::layers::{GELU, Map, Vision};
use crate::Result;
use ampoule_graph::op::Binary;
use ampoule_graph::{Op, Tensor, ValueId};

/// Features of a head, where the number of heads is not usual.
fn heads(c: usize) -> usize {
    match c {
        1280 | 1408 => 16,
        _ => (c / 64).max(1),
    }
}

/// Names of the layers of a block.
struct Names {
    norms: [String; 2],
    /// Weight and bias of query, key and value together.
    qkv: [String; 2],
    project: String,
    linear: [String; 2],
    /// Gains after each half, where there are some.
    gains: [String; 2],
}

fn names(ours: bool, i: usize) -> Names {
    let at = |what: &str| match ours {
        true => format!("blocks.{i}.{what}"),
        false => format!("encoder.layers.encoder_layer_{i}.{what}"),
    };
    if ours {
        return Names {
            norms: [at("norm1"), at("norm2")],
            qkv: [at("attn.qkv.weight"), at("attn.qkv.bias")],
            project: at("attn.proj"),
            linear: [at("mlp.fc1"), at("mlp.fc2")],
            gains: [at("ls1.gamma"), at("ls2.gamma")],
        };
    }
    Names {
        norms: [at("ln_1"), at("ln_2")],
        qkv: [at("self_attention.in_proj_weight"), at("self_attention.in_proj_bias")],
        project: at("self_attention.out_proj"),
        linear: [at("mlp.0"), at("mlp.3")],
        gains: [String::new(), String::new()],
    }
}

/// Scaled dot-product attention of heads `[n, heads, tokens, c / heads]`, with what is added to scores; the queries times
/// `scale`.
pub(super) fn attention(
    v: &mut Vision,
    q: ValueId,
    k: ValueId,
    value: ValueId,
    scale: f32,
    more: &[ValueId],
) -> ValueId {
    let q = v.net.scaled(q, scale);
    let k = v.net.b.node(Op::Transpose { perm: vec![0, 1, 3, 2] }, &[k]);
    let mut scores = v.net.b.node(Op::MatMul, &[q, k]);
    for m in more {
        scores = v.net.b.add(scores, *m);
    }
    let scores = v.net.b.node(Op::Softmax { axis: -1, log: false }, &[scores]);
    v.net.b.node(Op::MatMul, &[scores, value])
}

/// Query, key and value of tokens `[n, tokens, c]`, as heads.
pub(super) fn split(v: &mut Vision, x: Map, qkv: &[String; 2], at: [usize; 3]) -> Result<[ValueId; 3]> {
    let [n, tokens, heads] = at;
    let t = v.net.take(&qkv[0], &[3 * x.c, x.c])?;
    let all = v.product(x.v, &qkv[0], &t, [x.c, 3 * x.c]);
    let all = if v.has(&qkv[1]) { v.shifted(all, &qkv[1], 3 * x.c)? } else { all };
    let one = |v: &mut Vision, i: usize| {
        let part = v.slice(all, 2, (i * x.c) as i64, ((i + 1) * x.c) as i64);
        let part = v.reshape(part, &[n, tokens, heads, x.c / heads]);
        v.net.b.node(Op::Transpose { perm: vec![0, 2, 1, 3] }, &[part])
    };
    Ok([one(v, 0), one(v, 1), one(v, 2)])
}

fn block(v: &mut Vision, x: Map, tokens: usize, n: &Names) -> Result<Map> {
    let heads = heads(x.c);
    let y = v.layer_norm(x, &n.norms[0])?;
    let [q, k, value] = split(v, y, &n.qkv, [1, tokens, heads])?;
    let scale = ((x.c / heads) as f32).sqrt().recip();
    let y = attention(v, q, k, value, scale, &[]);
    let y = v.net.b.node(Op::Transpose { perm: vec![0, 2, 1, 3] }, &[y]);
    let y = Map { v: v.reshape(y, &[1, tokens, x.c]), c: x.c };
    let y = v.linear(y, &n.project)?;
    let y = v.gains(y, &n.gains[0])?;
    let x = v.add(x, y);
    let y = v.layer_norm(x, &n.norms[1])?;
    let y = v.linear(y, &n.linear[0])?;
    let y = v.unary(y, GELU);
    let y = v.linear(y, &n.linear[1])?;
    let y = v.gains(y, &n.gains[1])?;
    Ok(v.add(x, y))
}

/// Names of what lies around the blocks.
struct Ends {
    patch: &'static str,
    class: &'static str,
    place: &'static str,
    norm: &'static str,
    head: &'static str,
}

fn ends(v: &Vision) -> Ends {
    if v.has("patch_embed.proj.weight") {
        let (class, place) = ("cls_token", "pos_embed");
        return Ends { patch: "patch_embed.proj", class, place, norm: "norm", head: "head" };
    }
    Ends {
        patch: "conv_proj",
        class: "class_token",
        place: "encoder.pos_embedding",
        norm: "encoder.ln",
        head: "heads.head",
    }
}

/// The side of the image that the learned positions are for.
pub(super) fn side(v: &Vision) -> Result<usize> {
    let e = ends(v);
    let patch = v.net.w.shape(&format!("{}.weight", e.patch), 4)?[2];
    let places = v.net.w.shape(e.place, 3)?[1];
    // Places of the class and of distillation come before those of patches, or there are none for them.
    let mut grids = (0..=2).map(|extra| (places.saturating_sub(extra) as f64).sqrt());
    match grids.find(|g| g.fract() == 0.0 && *g > 0.0) {
        Some(grid) => Ok(grid as usize * patch),
        None => Err(v.net.w.unfit(e.place, "the grid of its patches is not square")),
    }
}

/// The classifier of an image of [`side`].
pub(super) fn classify(v: &mut Vision, x: Map) -> Result<Map> {
    let e = ends(v);
    let ours = e.place == "pos_embed";
    let patch = v.net.w.shape(&format!("{}.weight", e.patch), 4)?[2];
    let grid = side(v)? / patch.max(1);
    let x = v.padded(x, e.patch, patch, &[0; 2])?;
    let c = x.c;
    let flat = v.reshape(x.v, &[1, c, grid * grid]);
    let mut tokens = v.net.b.node(Op::Transpose { perm: vec![0, 2, 1] }, &[flat]);
    let place_count = v.net.w.shape(e.place, 3)?[1];
    let place = v.net.parameter(e.place, &[1, place_count, c])?;
    // Places are for all tokens, or for patches only.
    let late = place_count == grid * grid;
    if late {
        tokens = v.net.b.add(tokens, place);
    }
    let distilled = v.has("dist_token");
    let mut list = Vec::new();
    for name in [e.class, "dist_token"] {
        if v.has(name) {
            list.push(v.net.parameter(name, &[1, 1, c])?);
        }
    }
    let extra = list.len();
    list.push(tokens);
    tokens = v.net.b.concat(&list);
    if !late {
        tokens = v.net.b.add(tokens, place);
    }
    let count = extra + grid * grid;
    let mut x = Map { v: tokens, c };
    let blocks = if ours { "blocks." } else { "encoder.layers.encoder_layer_" };
    for i in 0..v.count(blocks, 0) {
        x = block(v, x, count, &names(ours, i))?;
    }
    let x = v.layer_norm(x, e.norm)?;
    let token = |v: &mut Vision, i: usize| {
        let row = v.slice(x.v, 1, i as i64, i as i64 + 1);
        Map { v: v.net.flatten(row), c }
    };
    let first = token(v, 0);
    if !v.has(&format!("{}.weight", e.head)) {
        return Ok(first);
    }
    let mut y = v.row(first, e.head)?;
    if distilled {
        let second = token(v, 1);
        let z = v.row(second, "head_dist")?;
        let sum = v.add(y, z);
        let two = v.net.b.constant("two", Tensor::f32(&[], &[2.0]));
        y = Map { v: v.binary(Binary::Div, sum.v, two), c: sum.c };
    }
    Ok(y)
}
