//! The mix transformers B0 to B5 (Xie et al., 2021): attention of all positions to fewer, and convolutions between.

use super::super::layers::{GELU, Map, Vision};
use super::super::vit::attention;
use crate::Result;
use ampoule_graph::{Op, Tensor, ValueId};

/// Heads of the stages, and strides of the convolutions before them.
const STAGES: [(usize, usize); 4] = [(1, 4), (2, 2), (5, 2), (8, 2)];
/// Epsilon of normalisations within patches and keys; those around blocks have the network's.
const EPSILON: f32 = 1e-5;

/// Layer normalisation with the other epsilon.
fn inner_norm(v: &mut Vision, x: Map, name: &str) -> Result<Map> {
    let own = std::mem::replace(&mut v.rules.layer_epsilon, EPSILON);
    let x = v.layer_norm(x, name);
    v.rules.layer_epsilon = own;
    x
}

/// Features of `[1, h, w, c]` as heads `[1, heads, positions, c / heads]`.
fn heads(v: &mut Vision, x: ValueId, heads: usize, each: usize) -> ValueId {
    let dims = v.net.b.constant("dims", Tensor::i64s(&[1, -1, heads as i64, each as i64]));
    let y = v.net.b.node(Op::Reshape { allow_zero: false }, &[x, dims]);
    v.net.b.node(Op::Transpose { perm: vec![0, 2, 1, 3] }, &[y])
}

/// Attention of all positions of `[1, h, w, c]`.
fn attend(v: &mut Vision, x: Map, name: &str, count: usize) -> Result<Map> {
    let part = |what: &str| format!("{name}.{what}");
    let each = x.c / count;
    let q = v.linear(x, &part("q"))?;
    let mut few = x;
    if v.has(&part("sr.weight")) {
        let stride = v.net.w.shape(&part("sr.weight"), 4)?[2];
        few = v.transpose(few, &[0, 3, 1, 2]);
        few = v.padded(few, &part("sr"), stride, &[0; 2])?;
        few = v.transpose(few, &[0, 2, 3, 1]);
        few = inner_norm(v, few, &part("norm"))?;
    }
    let both = v.linear(few, &part("kv"))?;
    let (c, end) = (x.c as i64, 2 * x.c as i64);
    let (k, value) = (v.slice(both.v, 3, 0, c), v.slice(both.v, 3, c, end));
    let [q, k, value] = [q.v, k, value].map(|t| heads(v, t, count, each));
    let y = attention(v, q, k, value, (each as f32).sqrt().recip(), &[]);
    let y = v.net.b.node(Op::Transpose { perm: vec![0, 2, 1, 3] }, &[y]);
    let dims = v.net.b.node(Op::Shape { start: 0, end: None }, &[x.v]);
    let y = Map { v: v.net.b.node(Op::Reshape { allow_zero: false }, &[y, dims]), c: x.c };
    v.linear(y, &part("proj"))
}

fn block(v: &mut Vision, x: Map, name: &str, count: usize) -> Result<Map> {
    let part = |what: &str| format!("{name}.{what}");
    let y = v.layer_norm(x, &part("norm1"))?;
    let y = attend(v, y, &part("attn"), count)?;
    let x = v.add(x, y);
    let y = v.layer_norm(x, &part("norm2"))?;
    let y = v.linear(y, &part("mlp.fc1"))?;
    let y = v.transpose(y, &[0, 3, 1, 2]);
    let y = v.conv(y, &part("mlp.dwconv.dwconv"), 1)?;
    let y = v.transpose(y, &[0, 2, 3, 1]);
    let y = v.unary(y, GELU);
    let y = v.linear(y, &part("mlp.fc2"))?;
    Ok(v.add(x, y))
}

/// Features at a quarter, an eighth, … of the image's size.
pub(super) fn features(v: &mut Vision, mut x: Map) -> Result<Vec<Map>> {
    let mut list = Vec::new();
    for (s, (count, stride)) in (1..).zip(STAGES) {
        x = v.conv(x, &format!("patch_embed{s}.proj"), stride)?;
        x = v.transpose(x, &[0, 2, 3, 1]);
        x = inner_norm(v, x, &format!("patch_embed{s}.norm"))?;
        if !x.c.is_multiple_of(count) {
            return Err(v
                .net
                .w
                .unfit(&format!("norm{s}.weight"), &format!("{count} heads share its features")));
        }
        let name = format!("block{s}.");
        for l in 0..v.count(&name, 0) {
            x = block(v, x, &format!("{name}{l}"), count)?;
        }
        x = v.layer_norm(x, &format!("norm{s}"))?;
        x = v.transpose(x, &[0, 3, 1, 2]);
        list.push(x);
    }
    Ok(list)
}
