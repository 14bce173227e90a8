//! Swin transformers (Liu et al., 2021) as torchvision and timm name their layers: attention within windows that every
//! second block shifts. The table of relative positions tells the window and the number of heads.

use super::layers::{GELU, Map, Vision};
use super::vit::{attention, split};
use crate::Result;
use ampoule_graph::{Op, ValueId};

/// Where a block works: sides of its image and of its windows, by how much they are shifted, its heads.
#[derive(Clone, Copy)]
struct Place {
    side: usize,
    window: usize,
    shift: usize,
    heads: usize,
}

impl Place {
    /// Windows along an axis.
    fn count(self) -> usize {
        self.side / self.window
    }

    /// What is added to scores `[1, heads, n, n]` for relative positions, from the table `[(2·window - 1)², heads]`.
    fn bias(self, table: &[f32]) -> Vec<f32> {
        let (w, n) = (self.window, self.window * self.window);
        let mut out = vec![0.0; self.heads * n * n];
        for h in 0..self.heads {
            for i in 0..n {
                for j in 0..n {
                    let row = (i / w + w - 1 - j / w) * (2 * w - 1) + (i % w + w - 1 - j % w);
                    out[(h * n + i) * n + j] = table[row * self.heads + h];
                }
            }
        }
        out
    }

    /// The part of the image, of three along each axis, that a position of the shifted image comes from.
    fn part(self, at: usize) -> usize {
        usize::from(at >= self.side - self.window) + usize::from(at >= self.side - self.shift)
    }

    /// What is added to scores `[windows, 1, n, n]` so that parts that are no neighbours do not attend to each other.
    fn mask(self) -> Vec<f32> {
        let (w, n, k) = (self.window, self.window * self.window, self.count());
        let mut out = Vec::with_capacity(k * k * n * n);
        for b in 0..k * k {
            let part = |i: usize| (self.part(b / k * w + i / w), self.part(b % k * w + i % w));
            for i in 0..n {
                out.extend((0..n).map(|j| if part(i) == part(j) { 0.0 } else { -100.0 }));
            }
        }
        out
    }
}

/// Rolls both axes of `[1, side, side, c]` so that position `by` becomes the first.
fn roll(v: &mut Vision, mut x: ValueId, by: usize, side: usize) -> ValueId {
    for axis in [1, 2] {
        let back = v.slice(x, axis, by as i64, side as i64);
        let front = v.slice(x, axis, 0, by as i64);
        x = v.net.b.node(Op::Concat { axis: axis as i64 }, &[back, front]);
    }
    x
}

/// Attention within windows, of `[1, side, side, c]`.
fn windows(v: &mut Vision, x: Map, name: &str, p: Place) -> Result<Map> {
    let (w, k, c, n) = (p.window, p.count(), x.c, p.window * p.window);
    let mut y = x.v;
    if p.shift > 0 {
        y = roll(v, y, p.shift, p.side);
    }
    let y = v.reshape(y, &[k, w, k, w, c]);
    let y = v.net.b.node(Op::Transpose { perm: vec![0, 2, 1, 3, 4] }, &[y]);
    let y = Map { v: v.reshape(y, &[k * k, n, c]), c };
    let at = |what: &str| format!("{name}.{what}");
    let [q, key, value] = split(v, y, &[at("qkv.weight"), at("qkv.bias")], [k * k, n, p.heads])?;
    let table = v.net.take(&at("relative_position_bias_table"), &[(2 * w - 1) * (2 * w - 1), p.heads])?;
    let bias = p.bias(&table.to_f32().unwrap_or_default());
    let mut more = vec![v.constant("relative_position_bias", &[1, p.heads, n, n], &bias)];
    if p.shift > 0 {
        more.push(v.constant("mask", &[k * k, 1, n, n], &p.mask()));
    }
    let scale = ((c / p.heads) as f32).sqrt().recip();
    let y = attention(v, q, key, value, scale, &more);
    let y = v.net.b.node(Op::Transpose { perm: vec![0, 2, 1, 3] }, &[y]);
    let y = Map { v: v.reshape(y, &[k * k, n, c]), c };
    let y = v.linear(y, &at("proj"))?;
    let y = v.reshape(y.v, &[k, k, w, w, c]);
    let y = v.net.b.node(Op::Transpose { perm: vec![0, 2, 1, 3, 4] }, &[y]);
    let mut y = v.reshape(y, &[1, p.side, p.side, c]);
    if p.shift > 0 {
        y = roll(v, y, p.side - p.shift, p.side);
    }
    Ok(Map { v: y, c })
}

fn block(v: &mut Vision, x: Map, name: &str, side: usize, odd: bool) -> Result<Map> {
    let table = v.net.w.shape(&format!("{name}.attn.relative_position_bias_table"), 2)?;
    let window = ((table[0] as f64).sqrt() as usize).div_ceil(2);
    if window == 0 || !side.is_multiple_of(window) || table[1] == 0 || !x.c.is_multiple_of(table[1]) {
        let reason = format!(
            "windows of {window} and {} heads do not divide {side} positions of {} features",
            table[1], x.c
        );
        return Err(v.net.w.unfit(&format!("{name}.attn.relative_position_bias_table"), &reason));
    }
    let shift = if odd && window < side { window / 2 } else { 0 };
    let y = v.layer_norm(x, &format!("{name}.norm1"))?;
    let y = windows(v, y, &format!("{name}.attn"), Place { side, window, shift, heads: table[1] })?;
    let x = v.add(x, y);
    let ours = v.has(&format!("{name}.mlp.fc1.weight"));
    let y = v.layer_norm(x, &format!("{name}.norm2"))?;
    let y = v.linear(y, &format!("{name}.mlp.{}", if ours { "fc1" } else { "0" }))?;
    let y = v.unary(y, GELU);
    let y = v.linear(y, &format!("{name}.mlp.{}", if ours { "fc2" } else { "3" }))?;
    Ok(v.add(x, y))
}

/// Four neighbours' features become those of one position, normalised and halved.
fn merge(v: &mut Vision, x: Map, name: &str, side: usize) -> Result<Map> {
    let y = v.reshape(x.v, &[1, side / 2, 2, side / 2, 2, x.c]);
    // Rows change faster than columns.
    let y = v.net.b.node(Op::Transpose { perm: vec![0, 1, 3, 4, 2, 5] }, &[y]);
    let y = Map { v: v.reshape(y, &[1, side / 2, side / 2, 4 * x.c]), c: 4 * x.c };
    let y = v.layer_norm(y, &format!("{name}.norm"))?;
    v.linear(y, &format!("{name}.reduction"))
}

/// The side of the image that windows divide in all stages: 32 positions for each of a window's.
pub(super) fn side(v: &Vision) -> Result<usize> {
    let first = if v.has("patch_embed.proj.weight") { "layers.0.blocks.0" } else { "features.1.0" };
    let table = v.net.w.shape(&format!("{first}.attn.relative_position_bias_table"), 2)?;
    Ok(((table[0] as f64).sqrt() as usize).div_ceil(2) * 32)
}

/// The classifier of an image of [`side`].
pub(super) fn classify(v: &mut Vision, x: Map) -> Result<Map> {
    v.net.w.ignore(|k| k.ends_with("relative_position_index") || k.ends_with("attn_mask"));
    let ours = v.has("patch_embed.proj.weight");
    let stem = if ours { ["patch_embed.proj", "patch_embed.norm"] } else { ["features.0.0", "features.0.2"] };
    let patch = v.net.w.shape(&format!("{}.weight", stem[0]), 4)?[2];
    let mut side = side(v)? / patch.max(1);
    // Weights leave as they are taken.
    let stages = if ours { v.count("layers.", 0) } else { v.count("features.", 0) / 2 };
    let x = v.padded(x, stem[0], patch, &[0; 2])?;
    let x = v.transpose(x, &[0, 2, 3, 1]);
    let mut x = v.layer_norm(x, stem[1])?;
    // The original code, and older timm, merge at the end of a stage.
    let late = usize::from(v.has("layers.0.downsample.reduction.weight"));
    for s in 0..stages {
        if s > 0 {
            let down =
                if ours { format!("layers.{}.downsample", s - late) } else { format!("features.{}", 2 * s) };
            x = merge(v, x, &down, side)?;
            side /= 2;
        }
        let name = if ours { format!("layers.{s}.blocks.") } else { format!("features.{}.", 2 * s + 1) };
        for l in 0..v.count(&name, 0) {
            x = block(v, x, &format!("{name}{l}"), side, l % 2 == 1)?;
        }
    }
    let x = v.layer_norm(x, "norm")?;
    let x = v.transpose(x, &[0, 3, 1, 2]);
    v.head(x, if v.has("head.fc.weight") { "head.fc" } else { "head" })
}
