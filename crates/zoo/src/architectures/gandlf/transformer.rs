//! The networks with a transformer: `unetr` (Hatamizadeh et al., 2022) and `transunet` (Chen et al., 2021) as GaNDLF
//! has them. Tokens lie in rows; a learned position fixes their number, and with it the size of the image.

use super::modules::Blocks;
use super::{EPSILON, Settings};
use crate::Result;
use crate::architectures::layers::{Conv, Net};
use ampoule_graph::op::{Binary, Unary};
use ampoule_graph::{Op, Tensor, ValueId};

/// Layers of the transformer for each halving of the image.
const LAYERS: usize = 3;

/// A transformer over the patches of an image.
struct Transformer<'s> {
    s: &'s Settings,
    /// Patches along each axis.
    grid: Vec<usize>,
    layers: usize,
}

impl Transformer<'_> {
    fn tokens(&self) -> usize {
        self.grid.iter().product()
    }

    fn norm(&self, net: &mut Net, x: ValueId, name: &str) -> Result<ValueId> {
        let dims = [self.s.options.embedding];
        let scale = net.parameter(&format!("{name}.weight"), &dims)?;
        let bias = net.parameter(&format!("{name}.bias"), &dims)?;
        Ok(net.b.node(Op::LayerNorm { axis: -1, epsilon: EPSILON }, &[x, scale, bias]))
    }

    /// `_Embedding`: patches of `side` positions, each with its learned place.
    fn embed(&self, net: &mut Net, x: ValueId, io: [usize; 2], side: usize) -> Result<ValueId> {
        let conv = Conv::new(io, side, net.axes).stride(side).pad(0);
        let x = net.conv(x, "transformer.embed.patch_embed", &conv)?;
        let x = net.reshape(x, &[io[1], self.tokens()]);
        let x = net.b.node(Op::Transpose { perm: vec![1, 0] }, &[x]);
        let place = net.take("transformer.embed.pos_embed", &[1, self.tokens(), io[1]])?;
        let place = place.reshaped(vec![self.tokens(), io[1]]).map_err(crate::Error::from)?;
        let place = net.b.constant("transformer.embed.pos_embed", place);
        Ok(net.b.add(x, place))
    }

    /// `_MSA`: each head attends to its share of the features.
    fn attend(&self, net: &mut Net, x: ValueId, name: &str) -> Result<ValueId> {
        let (wide, heads) = (self.s.options.embedding, self.s.options.heads);
        let (tokens, each) = (self.tokens(), wide / heads);
        let part = |net: &mut Net, what: &str, perm: Vec<usize>| -> Result<ValueId> {
            let y = net.linear(x, &format!("{name}.{what}"), [wide; 2], true)?;
            let y = net.reshape(y, &[tokens, heads, each]);
            Ok(net.b.node(Op::Transpose { perm }, &[y]))
        };
        let query = part(net, "query", vec![1, 0, 2])?;
        let key = part(net, "key", vec![1, 2, 0])?;
        let value = part(net, "value", vec![1, 0, 2])?;
        let scores = net.b.node(Op::MatMul, &[query, key]);
        let root = net.b.constant("root", Tensor::f32(&[], &[(each as f32).sqrt()]));
        let scores = net.b.node(Op::Binary(Binary::Div), &[scores, root]);
        let scores = net.b.node(Op::Softmax { axis: -1, log: false }, &[scores]);
        let y = net.b.node(Op::MatMul, &[scores, value]);
        let y = net.b.node(Op::Transpose { perm: vec![1, 0, 2] }, &[y]);
        let y = net.reshape(y, &[tokens, wide]);
        net.linear(y, &format!("{name}.out"), [wide; 2], true)
    }

    /// `_MLP`, which is as narrow as there are heads.
    fn narrow(&self, net: &mut Net, x: ValueId, name: &str) -> Result<ValueId> {
        let (wide, heads) = (self.s.options.embedding, self.s.options.heads);
        let gelu = Unary::Gelu { tanh: false };
        let y = self.norm(net, x, &format!("{name}.norm"))?;
        let y = net.linear(y, &format!("{name}.linear1"), [wide, heads], true)?;
        let y = net.b.unary(y, gelu);
        let y = net.linear(y, &format!("{name}.linear2"), [heads, wide], true)?;
        Ok(net.b.unary(y, gelu))
    }

    /// The tokens after every layer, as images.
    fn build(&self, net: &mut Net, x: ValueId, channels: usize, side: usize) -> Result<Vec<ValueId>> {
        let wide = self.s.options.embedding;
        let mut x = self.embed(net, x, [channels, wide], side)?;
        let mut out = Vec::new();
        for i in 0..self.layers {
            let name = format!("transformer.layers.{i}");
            let y = self.norm(net, x, &format!("{name}.norm1"))?;
            let y = self.attend(net, y, &format!("{name}.msa"))?;
            x = net.b.add(x, y);
            let y = self.norm(net, x, &format!("{name}.norm2"))?;
            let y = self.narrow(net, y, &format!("{name}.mlp"))?;
            x = net.b.add(x, y);
            let image = net.b.node(Op::Transpose { perm: vec![1, 0] }, &[x]);
            out.push(net.reshape(image, &[&[1, wide], &self.grid[..]].concat()));
        }
        Ok(out)
    }
}

/// A convolution of three, its normalisation and ReLU: `NAME.conv` and `NAME.norm`, each with `end` behind.
fn convolve(
    s: &Settings,
    net: &mut Net,
    x: ValueId,
    name: &str,
    io: [usize; 2],
    end: &str,
) -> Result<ValueId> {
    let x = net.conv(x, &format!("{name}.conv{end}"), &Conv::new(io, 3, net.axes).plain())?;
    let x = net.norm(x, &format!("{name}.norm{end}"), io[1], s.usual())?;
    Ok(net.relu(x))
}

/// A transposed convolution that doubles sizes.
fn double(net: &mut Net, x: ValueId, name: &str, io: [usize; 2]) -> Result<ValueId> {
    let conv = Conv::new(io, 2, net.axes).stride(2).pad(0);
    net.conv_transpose(x, name, &conv, &[])
}

/// `unetr`, as deep as its inner patch can be halved.
pub(super) fn unetr(s: &Settings, net: &mut Net, x: ValueId) -> Result<ValueId> {
    let side = s.options.inner_patch;
    let depth = side.ilog2() as usize;
    let grid = s.patch.iter().map(|n| n / side).collect();
    let t = Transformer { s, grid, layers: LAYERS * depth };
    let all = t.build(net, x, s.channels, side)?;
    let level = |i: usize| all[LAYERS * i + LAYERS - 1];
    let (wide, low) = (s.options.embedding, 32 << depth);
    let mut y = double(net, level(depth - 1), &format!("upsampling.{}", depth - 1), [wide, low])?;
    for i in (0..depth - 1).rev() {
        let mut z = level(i);
        let mut io = [wide, low];
        for (k, j) in std::iter::once(0).chain((i + 1..depth - 1).rev()).enumerate() {
            if k > 0 {
                io = [128 << j, 128 << (j - 1)];
            }
            let name = format!("convs.{i}.conv{j}");
            z = double(net, z, &format!("{name}.deconv"), io)?;
            z = convolve(s, net, z, &name, [io[1]; 2], "")?;
        }
        let name = format!("upsampling.{i}");
        let c = 128 << (i + 1);
        y = net.b.concat(&[z, y]);
        y = convolve(s, net, y, &name, [c, c / 2], "1")?;
        y = convolve(s, net, y, &name, [c / 2; 2], "2")?;
        y = double(net, y, &format!("{name}.deconv"), [c / 2, c / 4])?;
    }
    let x = convolve(s, net, x, "input_conv.conv1", [s.channels, 32], "")?;
    let x = convolve(s, net, x, "input_conv.conv2", [32, 64], "")?;
    let x = net.b.concat(&[x, y]);
    let x = convolve(s, net, x, "output_conv.conv1", [128, 64], "")?;
    let x = convolve(s, net, x, "output_conv.conv2", [64; 2], "")?;
    let last = Conv::new([64, s.classes], 1, net.axes).plain();
    Blocks { s, net, residual: false }.last(x, "output_conv.conv3", &last)
}

/// `transunet`: the encoder of the U-Nets, and a transformer on its coarsest features.
pub(super) fn transunet(s: &Settings, net: &mut Net, x: ValueId) -> Result<ValueId> {
    // One decoder more is made than is used.
    let unused = format!("de.{}.", s.depth - 1);
    net.w.ignore(|k| k.starts_with(&unused));
    let c = |i: usize| s.base << i;
    let mut k = Blocks { s, net, residual: false };
    let mut list = vec![k.initial(x, "ins", [s.channels, c(0)])?];
    for i in 0..s.depth {
        let x = k.down(list[i], &format!("ds.{i}"), [c(i), c(i + 1)])?;
        list.push(k.encode(x, &format!("en.{i}"), c(i + 1))?);
    }
    let net = k.net;
    let grid = s.patch.iter().map(|n| n >> s.depth).collect();
    let t = Transformer { s, grid, layers: LAYERS * s.depth };
    let all = t.build(net, list[s.depth], c(s.depth), 1)?;
    let up = |net: &mut Net, x, name: &str, io| -> Result<ValueId> {
        let x = convolve(s, net, x, name, io, "")?;
        Ok(net.linear_up(x, &vec![2; net.axes], true))
    };
    let last = all[all.len() - 1];
    let mut x = up(net, last, "transCUP", [s.options.embedding, c(s.depth - 1)])?;
    for i in (1..s.depth).rev() {
        x = net.b.concat(&[x, list[i]]);
        x = up(net, x, &format!("de.{}", i - 1), [2 * c(i), c(i - 1)])?;
    }
    Blocks { s, net, residual: false }.out(x, "out", c(0))
}
