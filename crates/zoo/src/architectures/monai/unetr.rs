//! `UNETR` (Hatamizadeh et al., 2022): a transformer over the patches of a window, whose layers are the stages of a U-Net. The
//! learned positions fix the window.

use super::Act;
use super::dynunet::Blocks;
use crate::Result;
use crate::architectures::layers::{Conv, Net, Norm};
use ampoule_graph::op::Unary;
use ampoule_graph::{Op, Tensor, ValueId};

/// Its arguments.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unetr {
    pub axes: usize,
    pub io: [usize; 2],
    /// Sizes of the window.
    pub window: Vec<usize>,
    pub features: usize,
    pub hidden: usize,
    pub mlp: usize,
    pub heads: usize,
    /// Whether patches are embedded by a product of rows rather than by a convolution.
    pub perceptron: bool,
    pub norm: Norm,
    pub conv_block: bool,
    pub res_block: bool,
    pub qkv_bias: bool,
}

/// Sides of patches.
pub(crate) const PATCH: usize = 16;
const LAYERS: usize = 12;
/// The layers whose tokens the encoders take.
const TAKEN: [usize; 3] = [3, 6, 9];
const EPSILON: f32 = 1e-5;

impl Unetr {
    /// Adds the network, for windows of its size.
    pub fn build(&self, net: &mut Net, x: ValueId) -> Result<ValueId> {
        // Made by newer versions, and used by none of UNETR's layers.
        net.w.ignore(|k| {
            k.contains(".cross_attn.") || k.contains(".norm_cross_attn.") || k.ends_with("cls_token")
        });
        let f = self.features;
        let (all, last) = self.tokens(net, x)?;
        let blocks =
            Blocks { axes: self.axes, norm: self.norm, act: Act::Function(Unary::LeakyRelu { alpha: 0.01 }) };
        let first = self.pair(&blocks, net, x, "encoder1.layer", [self.io[0], f])?;
        let mut skips = vec![first];
        for (k, times) in [2, 1, 0].into_iter().enumerate() {
            skips.push(self.brought_up(&blocks, net, all[k], k + 2, times)?);
        }
        let (mut x, mut c) = (last, self.hidden);
        for (k, skip) in skips.into_iter().enumerate().rev() {
            let (name, out) = (format!("decoder{}", k + 2), f << k);
            x = self.double(net, x, &format!("{name}.transp_conv"), [c, out])?;
            x = net.b.concat(&[x, skip]);
            x = self.pair(&blocks, net, x, &format!("{name}.conv_block"), [2 * out, out])?;
            c = out;
        }
        net.conv(x, "out.conv.conv", &Conv::new([f, self.io[1]], 1, self.axes))
    }

    /// Two convolutions, with a shortcut where the network has some.
    fn pair(
        &self,
        blocks: &Blocks,
        net: &mut Net,
        x: ValueId,
        name: &str,
        io: [usize; 2],
    ) -> Result<ValueId> {
        let (three, one) = (vec![3; self.axes], vec![1; self.axes]);
        blocks.block(net, x, name, io, &three, &one, self.res_block)
    }

    /// A transposed convolution that doubles sizes.
    fn double(&self, net: &mut Net, x: ValueId, name: &str, io: [usize; 2]) -> Result<ValueId> {
        let conv = Conv::new(io, 2, self.axes).stride(2).pad(0).plain();
        net.conv_transpose(x, &format!("{name}.conv"), &conv, &[])
    }

    /// `UnetrPrUpBlock` of encoder `k`: tokens as an image, doubled once and `times` more.
    fn brought_up(
        &self,
        blocks: &Blocks,
        net: &mut Net,
        x: ValueId,
        k: usize,
        times: usize,
    ) -> Result<ValueId> {
        let (name, c) = (format!("encoder{k}"), self.features << (k - 1));
        let mut x = self.double(net, x, &format!("{name}.transp_conv_init"), [self.hidden, c])?;
        for i in 0..times {
            let own = format!("{name}.blocks.{i}");
            x = match self.conv_block {
                true => {
                    let up = self.double(net, x, &format!("{own}.0"), [c; 2])?;
                    self.pair(blocks, net, up, &format!("{own}.1"), [c; 2])?
                }
                false => self.double(net, x, &own, [c; 2])?,
            };
        }
        Ok(x)
    }

    fn grid(&self) -> Vec<usize> {
        self.window.iter().map(|n| n / PATCH).collect()
    }

    /// The tokens of some layers as images, and those at the end.
    fn tokens(&self, net: &mut Net, x: ValueId) -> Result<(Vec<ValueId>, ValueId)> {
        let mut x = self.embedded(net, x)?;
        let mut taken = Vec::new();
        for i in 0..LAYERS {
            let name = format!("vit.blocks.{i}");
            let y = self.layer_norm(net, x, &format!("{name}.norm1"))?;
            let y = self.attention(net, y, &format!("{name}.attn"))?;
            x = net.b.add(x, y);
            let y = self.layer_norm(net, x, &format!("{name}.norm2"))?;
            let y = net.linear(y, &format!("{name}.mlp.linear1"), [self.hidden, self.mlp], true)?;
            let y = net.b.unary(y, Unary::Gelu { tanh: false });
            let y = net.linear(y, &format!("{name}.mlp.linear2"), [self.mlp, self.hidden], true)?;
            x = net.b.add(x, y);
            if TAKEN.contains(&i) {
                taken.push(self.image(net, x));
            }
        }
        let last = self.layer_norm(net, x, "vit.norm")?;
        Ok((taken, self.image(net, last)))
    }

    /// Patches as rows, with what is learned of their places.
    fn embedded(&self, net: &mut Net, x: ValueId) -> Result<ValueId> {
        let count: usize = self.grid().iter().product();
        let name = "vit.patch_embedding.patch_embeddings";
        let conv = Conv::new([self.io[0], self.hidden], PATCH, self.axes).stride(PATCH).pad(0);
        let x = match self.perceptron {
            false => net.conv(x, name, &conv)?,
            true => {
                let weight = self.patches(net, &format!("{name}.1.weight"))?;
                let weight = net.b.constant(&format!("{name}.1.weight"), weight);
                let bias = net.parameter(&format!("{name}.1.bias"), &[self.hidden])?;
                net.conv_with(x, [weight, bias], &conv)
            }
        };
        let x = net.reshape(x, &[self.hidden, count]);
        let x = net.b.node(Op::Transpose { perm: vec![1, 0] }, &[x]);
        let place = "vit.patch_embedding.position_embeddings";
        let places = net.take(place, &[1, count, self.hidden])?;
        let places = places.reshaped(vec![count, self.hidden]).map_err(crate::Error::from)?;
        let places = net.b.constant(place, places);
        Ok(net.b.add(x, places))
    }

    /// The weights of a product of rows, whose values lie by position and then by channel, as those of a convolution.
    fn patches(&self, net: &mut Net, name: &str) -> Result<Tensor> {
        let (c, positions) = (self.io[0], PATCH.pow(self.axes as u32));
        let rows = net.take(name, &[self.hidden, positions * c])?.to_f32().unwrap_or_default();
        let mut out = vec![0f32; rows.len()];
        for (row, out) in rows.chunks_exact(positions * c).zip(out.chunks_exact_mut(positions * c)) {
            for (p, channels) in row.chunks_exact(c).enumerate() {
                channels.iter().enumerate().for_each(|(k, v)| out[k * positions + p] = *v);
            }
        }
        let dims = [vec![self.hidden, c], vec![PATCH; self.axes]].concat();
        Ok(Tensor::f32(&dims, &out))
    }

    fn layer_norm(&self, net: &mut Net, x: ValueId, name: &str) -> Result<ValueId> {
        let scale = net.parameter(&format!("{name}.weight"), &[self.hidden])?;
        let bias = net.parameter(&format!("{name}.bias"), &[self.hidden])?;
        Ok(net.b.node(Op::LayerNorm { axis: -1, epsilon: EPSILON }, &[x, scale, bias]))
    }

    /// `SABlock`: queries, keys and values of one product, by heads.
    fn attention(&self, net: &mut Net, x: ValueId, name: &str) -> Result<ValueId> {
        let (wide, heads) = (self.hidden, self.heads);
        let (count, each) = (self.grid().iter().product::<usize>(), wide / heads);
        let parts = net.thirds(x, &format!("{name}.qkv"), wide, self.qkv_bias)?;
        let part = |net: &mut Net, i: usize, perm: Vec<usize>| {
            let y = net.reshape(parts[i], &[count, heads, each]);
            net.b.node(Op::Transpose { perm }, &[y])
        };
        let query = part(net, 0, vec![1, 0, 2]);
        let key = part(net, 1, vec![1, 2, 0]);
        let value = part(net, 2, vec![1, 0, 2]);
        let query = net.scaled(query, (each as f32).sqrt().recip());
        let scores = net.b.node(Op::MatMul, &[query, key]);
        let scores = net.b.node(Op::Softmax { axis: -1, log: false }, &[scores]);
        let y = net.b.node(Op::MatMul, &[scores, value]);
        let y = net.b.node(Op::Transpose { perm: vec![1, 0, 2] }, &[y]);
        let y = net.reshape(y, &[count, wide]);
        net.linear(y, &format!("{name}.out_proj"), [wide; 2], true)
    }

    /// Tokens in rows as an image of them.
    fn image(&self, net: &mut Net, x: ValueId) -> ValueId {
        let x = net.b.node(Op::Transpose { perm: vec![1, 0] }, &[x]);
        net.reshape(x, &[vec![1, self.hidden], self.grid()].concat())
    }
}
