//! `SwinUNETR` (Hatamizadeh et al., 2022): a Swin transformer over the patches of a window, whose stages are those of a
//! U-Net. Masks of shifted windows depend on the sizes of the input, so the network is one of its window.

use super::Act;
use super::dynunet::Blocks;
use crate::Result;
use crate::architectures::layers::{Conv, Net, Norm};
use ampoule_graph::op::{PadMode, Unary};
use ampoule_graph::{Op, Tensor, ValueId};

/// How the features of neighbours become those of one position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Merging {
    /// Those of MONAI before 1.5 in volumes: of eight neighbours two are taken twice and two are not.
    Twice,
    /// All neighbours, those along one axis first (MONAI from 1.5 on).
    Along,
    /// All neighbours, the last axis fastest (`mergingv2`).
    Last,
}

/// Its arguments.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SwinUnetr {
    pub axes: usize,
    pub io: [usize; 2],
    /// Sizes of the input: multiples of [`MULTIPLE`].
    pub sizes: Vec<usize>,
    pub features: usize,
    /// Blocks and heads of the four stages.
    pub depths: Vec<usize>,
    pub heads: Vec<usize>,
    /// Sizes of the windows of attention.
    pub window: Vec<usize>,
    /// Features between the two layers of a perceptron, for one of a token.
    pub mlp_ratio: f64,
    pub qkv_bias: bool,
    pub norm: Norm,
    /// Whether what stages give is normalised.
    pub normalize: bool,
    pub patch_norm: bool,
    pub merging: Merging,
    /// Whether convolutions stand before stages (`use_v2`).
    pub convolutions: bool,
}

/// What sizes of the input are multiples of, and sides of patches.
pub(crate) const MULTIPLE: usize = 32;
const PATCH: usize = 2;
pub(crate) const STAGES: usize = 4;
const EPSILON: f32 = 1e-5;
/// What is added to scores of positions that are no neighbours.
const APART: f32 = -100.0;

/// Tokens in rows, by the sizes of their grid.
struct Tokens {
    v: ValueId,
    grid: Vec<usize>,
    c: usize,
}

/// Where the attention of a block works.
struct Place {
    /// Sizes of the grid with what is added for whole windows.
    padded: Vec<usize>,
    /// Sizes of windows, by how much they are shifted, and how many there are.
    window: Vec<usize>,
    shift: Vec<usize>,
    count: Vec<usize>,
    heads: usize,
}

/// Indices of all positions of a grid, the last axis fastest.
fn positions(grid: &[usize]) -> Vec<Vec<usize>> {
    grid.iter().fold(vec![Vec::new()], |all, n| {
        all.iter().flat_map(|p| (0..*n).map(move |i| [&p[..], &[i]].concat())).collect()
    })
}

impl Place {
    /// Windows reach no further than the grid, and are not shifted where they cover it.
    fn new(grid: &[usize], window: &[usize], shifted: bool, heads: usize) -> Place {
        let inside: Vec<usize> = grid.iter().zip(window).map(|(n, w)| *n.min(w)).collect();
        let shift = grid.iter().zip(window).map(|(n, w)| if shifted && n > w { w / 2 } else { 0 }).collect();
        let count: Vec<usize> = grid.iter().zip(&inside).map(|(n, w)| n.div_ceil(*w)).collect();
        let padded = count.iter().zip(&inside).map(|(k, w)| k * w).collect();
        Place { padded, window: inside, shift, count, heads }
    }

    fn tokens(&self) -> usize {
        self.window.iter().product()
    }

    fn windows(&self) -> usize {
        self.count.iter().product()
    }

    fn shifted(&self) -> bool {
        self.shift.iter().any(|s| *s > 0)
    }

    /// What is added to scores `[1, heads, n, n]`: the table `[relative positions, heads]` is that of whole windows, and
    /// smaller ones take its first positions.
    fn bias(&self, whole: &[usize], table: &[f32]) -> Vec<f32> {
        let n = self.tokens();
        let all = positions(whole);
        let row = |i: &[usize], j: &[usize]| {
            let along = i.iter().zip(j).zip(whole);
            along.fold(0, |row, ((a, b), w)| row * (2 * w - 1) + (a + w - 1 - b))
        };
        let mut out = vec![0.0; self.heads * n * n];
        for (i, a) in all.iter().take(n).enumerate() {
            for (j, b) in all.iter().take(n).enumerate() {
                let from = row(a, b) * self.heads;
                for h in 0..self.heads {
                    out[(h * n + i) * n + j] = table[from + h];
                }
            }
        }
        out
    }

    /// The part of the grid, of three along each axis that is shifted, which a position of the shifted grid comes from.
    fn part(&self, axis: usize, at: usize) -> usize {
        let (n, w, s) = (self.padded[axis], self.window[axis], self.shift[axis]);
        if s == 0 { 0 } else { usize::from(at >= n - w) + usize::from(at >= n - s) }
    }

    /// What is added to scores `[windows, 1, n, n]`, so that parts that are no neighbours do not attend to each other.
    fn mask(&self) -> Vec<f32> {
        let inside = positions(&self.window);
        let mut out = Vec::with_capacity(self.windows() * inside.len() * inside.len());
        for window in positions(&self.count) {
            let code = |p: &Vec<usize>| {
                let along = p.iter().enumerate();
                along.fold(0, |code, (a, i)| code * 3 + self.part(a, window[a] * self.window[a] + i))
            };
            let parts: Vec<usize> = inside.iter().map(code).collect();
            for a in &parts {
                out.extend(parts.iter().map(|b| if a == b { 0.0 } else { APART }));
            }
        }
        out
    }
}

fn transpose(net: &mut Net, x: ValueId, perm: Vec<usize>) -> ValueId {
    net.b.node(Op::Transpose { perm }, &[x])
}

/// A part along some axes: starts, ends and steps.
fn slice(net: &mut Net, x: ValueId, axes: &[usize], from: &[usize], to: &[usize], step: usize) -> ValueId {
    let mut list = |values: Vec<i64>| net.b.constant("at", Tensor::i64s(&values));
    let whole = |values: &[usize]| values.iter().map(|n| *n as i64).collect::<Vec<_>>();
    let inputs = [list(whole(from)), list(whole(to)), list(whole(axes)), list(vec![step as i64; axes.len()])];
    net.b.node(Op::Slice, &[x, inputs[0], inputs[1], inputs[2], inputs[3]])
}

/// Rolls axes of `[grid…, c]` so that position `by` of each becomes the first.
fn roll(net: &mut Net, mut x: ValueId, by: &[usize], grid: &[usize]) -> ValueId {
    for (axis, (by, n)) in by.iter().zip(grid).enumerate().filter(|(_, (by, _))| **by > 0) {
        let back = slice(net, x, &[axis], &[*by], &[*n], 1);
        let front = slice(net, x, &[axis], &[0], &[*by], 1);
        x = net.b.node(Op::Concat { axis: axis as i64 }, &[back, front]);
    }
    x
}

/// The axes `[windows along 0, position within, windows along 1, …, c]` with windows before positions, or back.
fn windows_first(axes: usize, back: bool) -> Vec<usize> {
    let all = match back {
        false => (0..axes).map(|a| 2 * a).chain((0..axes).map(|a| 2 * a + 1)).collect::<Vec<_>>(),
        true => (0..axes).flat_map(|a| [a, axes + a]).collect(),
    };
    [all, vec![2 * axes]].concat()
}

impl SwinUnetr {
    /// Bytes of what is added to scores, the masks and biases of all blocks.
    pub fn bytes(&self) -> f64 {
        let mut grid: Vec<f64> = self.sizes.iter().map(|n| *n as f64 / PATCH as f64).collect();
        let mut bytes = 0.0;
        for (heads, depth) in self.heads.iter().zip(&self.depths) {
            let window: Vec<f64> = grid.iter().zip(&self.window).map(|(g, w)| g.min(*w as f64)).collect();
            let n: f64 = window.iter().product();
            let count: f64 = grid.iter().zip(&window).map(|(g, w)| (g / w).ceil()).product();
            bytes += 4.0 * n * n * (*heads as f64 * *depth as f64 + count * (depth / 2) as f64);
            grid.iter_mut().for_each(|g| *g /= 2.0);
        }
        bytes
    }

    /// Adds the network, for inputs of its sizes.
    pub fn build(&self, net: &mut Net, x: ValueId) -> Result<ValueId> {
        net.w.ignore(|k| k.ends_with("relative_position_index"));
        let f = self.features;
        let blocks = self.blocks(self.norm);
        let stages = self.stages(net, x)?;
        let mut skips = vec![self.pair(&blocks, net, x, "encoder1.layer", [self.io[0], f])?];
        for (i, stage) in stages.iter().take(3).enumerate() {
            skips.push(self.pair(&blocks, net, *stage, &format!("encoder{}.layer", i + 2), [f << i; 2])?);
        }
        skips.push(stages[3]);
        let mut x = self.pair(&blocks, net, stages[4], "encoder10.layer", [f << 4; 2])?;
        let mut c = f << 4;
        for (i, skip) in skips.into_iter().enumerate().rev() {
            let name = format!("decoder{}", i + 1);
            let out = f << i.saturating_sub(1);
            let conv = Conv::new([c, out], 2, self.axes).stride(2).pad(0).plain();
            let up = net.conv_transpose(x, &format!("{name}.transp_conv.conv"), &conv, &[])?;
            let both = net.b.concat(&[up, skip]);
            x = self.pair(&blocks, net, both, &format!("{name}.conv_block"), [2 * out, out])?;
            c = out;
        }
        net.conv(x, "out.conv.conv", &Conv::new([f, self.io[1]], 1, self.axes))
    }

    fn blocks(&self, norm: Norm) -> Blocks {
        Blocks { axes: self.axes, norm, act: Act::Function(Unary::LeakyRelu { alpha: 0.01 }) }
    }

    /// Two convolutions with a shortcut.
    fn pair(&self, b: &Blocks, net: &mut Net, x: ValueId, name: &str, io: [usize; 2]) -> Result<ValueId> {
        b.block(net, x, name, io, &vec![3; self.axes], &vec![1; self.axes], true)
    }

    /// What the patches and the four stages give, as images.
    fn stages(&self, net: &mut Net, x: ValueId) -> Result<Vec<ValueId>> {
        let f = self.features;
        let conv = Conv::new([self.io[0], f], PATCH, self.axes).stride(PATCH).pad(0);
        let mut x = net.conv(x, "swinViT.patch_embed.proj", &conv)?;
        let mut grid: Vec<usize> = self.sizes.iter().map(|n| n / PATCH).collect();
        if self.patch_norm {
            let t = self.rows(net, x, &grid, f);
            let v = self.layer_norm(net, t.v, "swinViT.patch_embed.norm", f)?;
            x = self.image(net, &Tokens { v, ..t });
        }
        let mut out = vec![self.given(net, x, &grid, f)];
        for stage in 0..STAGES {
            let c = f << stage;
            if self.convolutions {
                // Its normalisation is fixed, whatever that of the encoders.
                let blocks = self.blocks(Norm::Instance { epsilon: EPSILON, affine: false });
                x = self.pair(&blocks, net, x, &format!("swinViT.layers{}c.0.layer", stage + 1), [c; 2])?;
            }
            let name = format!("swinViT.layers{}.0", stage + 1);
            let mut t = self.rows(net, x, &grid, c);
            for i in 0..self.depths[stage] {
                let place = Place::new(&grid, &self.window, i % 2 == 1, self.heads[stage]);
                t = self.block(net, t, &format!("{name}.blocks.{i}"), &place)?;
            }
            t = self.merge(net, t, &format!("{name}.downsample"))?;
            grid = t.grid.clone();
            x = self.image(net, &t);
            out.push(self.given(net, x, &grid, 2 * c));
        }
        Ok(out)
    }

    /// What a stage gives to the encoders.
    fn given(&self, net: &mut Net, x: ValueId, grid: &[usize], c: usize) -> ValueId {
        if !self.normalize {
            return x;
        }
        let t = self.rows(net, x, grid, c);
        let scale = net.b.constant("ones", Tensor::f32(&[c], &vec![1.0; c]));
        let shift = net.b.constant("zeros", Tensor::f32(&[c], &vec![0.0; c]));
        let v = net.b.node(Op::LayerNorm { axis: -1, epsilon: EPSILON }, &[t.v, scale, shift]);
        self.image(net, &Tokens { v, ..t })
    }

    /// An image's positions as rows.
    fn rows(&self, net: &mut Net, x: ValueId, grid: &[usize], c: usize) -> Tokens {
        let flat = net.reshape(x, &[c, grid.iter().product()]);
        Tokens { v: transpose(net, flat, vec![1, 0]), grid: grid.to_vec(), c }
    }

    fn image(&self, net: &mut Net, t: &Tokens) -> ValueId {
        let v = transpose(net, t.v, vec![1, 0]);
        net.reshape(v, &[&[1, t.c][..], &t.grid].concat())
    }

    fn layer_norm(&self, net: &mut Net, x: ValueId, name: &str, c: usize) -> Result<ValueId> {
        let scale = net.parameter(&format!("{name}.weight"), &[c])?;
        let bias = net.parameter(&format!("{name}.bias"), &[c])?;
        Ok(net.b.node(Op::LayerNorm { axis: -1, epsilon: EPSILON }, &[x, scale, bias]))
    }

    fn block(&self, net: &mut Net, t: Tokens, name: &str, place: &Place) -> Result<Tokens> {
        let c = t.c;
        let y = self.layer_norm(net, t.v, &format!("{name}.norm1"), c)?;
        let y = self.attention(net, y, &t, &format!("{name}.attn"), place)?;
        let x = net.b.add(t.v, y);
        let y = self.layer_norm(net, x, &format!("{name}.norm2"), c)?;
        let wide = (c as f64 * self.mlp_ratio) as usize;
        let y = net.linear(y, &format!("{name}.mlp.linear1"), [c, wide], true)?;
        let y = net.b.unary(y, Unary::Gelu { tanh: false });
        let y = net.linear(y, &format!("{name}.mlp.linear2"), [wide, c], true)?;
        Ok(Tokens { v: net.b.add(x, y), ..t })
    }

    /// Attention within windows: rows to rows.
    fn attention(&self, net: &mut Net, x: ValueId, t: &Tokens, name: &str, p: &Place) -> Result<ValueId> {
        let (c, axes, n, k) = (t.c, self.axes, p.tokens(), p.windows());
        let alternating: Vec<usize> = p.count.iter().zip(&p.window).flat_map(|(k, w)| [*k, *w]).collect();
        let mut y = net.reshape(x, &[&t.grid[..], &[c]].concat());
        if p.padded != t.grid {
            let more = p.padded.iter().zip(&t.grid).map(|(a, b)| (a - b) as i64);
            let ends: Vec<i64> = vec![0; axes + 1].into_iter().chain(more).chain([0]).collect();
            let ends = net.b.constant("pads", Tensor::i64s(&ends));
            y = net.b.node(Op::Pad { mode: PadMode::Constant }, &[y, ends]);
        }
        y = roll(net, y, &p.shift, &p.padded);
        y = net.reshape(y, &[&alternating[..], &[c]].concat());
        y = transpose(net, y, windows_first(axes, false));
        y = net.reshape(y, &[k * n, c]);
        y = self.heads(net, y, name, p, c)?;
        y = net.linear(y, &format!("{name}.proj"), [c; 2], true)?;
        y = net.reshape(y, &[&p.count[..], &p.window, &[c]].concat());
        y = transpose(net, y, windows_first(axes, true));
        y = net.reshape(y, &[&p.padded[..], &[c]].concat());
        let back: Vec<usize> = p.padded.iter().zip(&p.shift).map(|(n, s)| (n - s) % n).collect();
        y = roll(net, y, &back, &p.padded);
        if p.padded != t.grid {
            let all: Vec<usize> = (0..axes).collect();
            y = slice(net, y, &all, &vec![0; axes], &t.grid, 1);
        }
        Ok(net.reshape(y, &[t.grid.iter().product(), c]))
    }

    /// Attention of the tokens of windows, which lie in rows one window after the other.
    fn heads(&self, net: &mut Net, x: ValueId, name: &str, p: &Place, c: usize) -> Result<ValueId> {
        let (n, k, heads) = (p.tokens(), p.windows(), p.heads);
        let each = c / heads;
        let parts = net.thirds(x, &format!("{name}.qkv"), c, self.qkv_bias)?;
        let part = |net: &mut Net, i: usize, perm: Vec<usize>| {
            let y = net.reshape(parts[i], &[k, n, heads, each]);
            transpose(net, y, perm)
        };
        let query = part(net, 0, vec![0, 2, 1, 3]);
        let key = part(net, 1, vec![0, 2, 3, 1]);
        let value = part(net, 2, vec![0, 2, 1, 3]);
        let query = net.scaled(query, (each as f32).sqrt().recip());
        let mut scores = net.b.node(Op::MatMul, &[query, key]);
        let rows = self.window.iter().map(|w| 2 * w - 1).product();
        let table = net.take(&format!("{name}.relative_position_bias_table"), &[rows, heads])?;
        let bias = p.bias(&self.window, &table.to_f32().unwrap_or_default());
        let bias = net.b.constant("relative_position_bias", Tensor::f32(&[1, heads, n, n], &bias));
        scores = net.b.add(scores, bias);
        if p.shifted() {
            let mask = net.b.constant("mask", Tensor::f32(&[k, 1, n, n], &p.mask()));
            scores = net.b.add(scores, mask);
        }
        let scores = net.b.node(Op::Softmax { axis: -1, log: false }, &[scores]);
        let y = net.b.node(Op::MatMul, &[scores, value]);
        let y = transpose(net, y, vec![0, 2, 1, 3]);
        Ok(net.reshape(y, &[k * n, c]))
    }

    /// The neighbours that are taken, by their place along each axis, in their order.
    fn neighbours(&self) -> Vec<Vec<usize>> {
        let last = positions(&vec![2; self.axes]);
        match (self.merging, self.axes) {
            (Merging::Last, 3) => last,
            // In images the first axis is the fastest, in all versions.
            (Merging::Last | Merging::Along | Merging::Twice, 2) => {
                last.iter().map(|p| p.iter().rev().copied().collect()).collect()
            }
            (merging, _) => {
                let middle = match merging {
                    Merging::Twice => [[1, 0, 1], [0, 1, 0], [0, 0, 1]],
                    Merging::Along | Merging::Last => [[1, 1, 0], [1, 0, 1], [0, 1, 1]],
                };
                let first = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]];
                first.iter().chain(&middle).chain(&[[1, 1, 1]]).map(|p| p.to_vec()).collect()
            }
        }
    }

    /// Neighbours' features become those of one position, normalised and fewer.
    fn merge(&self, net: &mut Net, t: Tokens, name: &str) -> Result<Tokens> {
        let (axes, c) = (self.axes, t.c);
        let x = net.reshape(t.v, &[&t.grid[..], &[c]].concat());
        let all: Vec<usize> = (0..axes).collect();
        let parts: Vec<ValueId> =
            self.neighbours().iter().map(|from| slice(net, x, &all, from, &t.grid, 2)).collect();
        let wide = c * parts.len();
        let x = net.b.node(Op::Concat { axis: axes as i64 }, &parts);
        let grid: Vec<usize> = t.grid.iter().map(|n| n / 2).collect();
        let x = net.reshape(x, &[grid.iter().product(), wide]);
        let x = self.layer_norm(net, x, &format!("{name}.norm"), wide)?;
        let v = net.linear(x, &format!("{name}.reduction"), [wide, 2 * c], false)?;
        Ok(Tokens { v, grid, c: 2 * c })
    }
}
