//! What INT8 convolutions need: factors, requantization of their outputs, and inputs whose packed groups are full.

use super::Lower;
use super::quantized::{Int8Operands, Quantization};
use super::target::Target;
use crate::step::Kind;
use ampoule_graph::Node;
use ampoule_kernels::conv::{Axis, Quantized};
use ampoule_kernels::gemm::{self, Act};
use ampoule_kernels::{Elem, Grid};
use ampoule_runtime::view::{View, channels_last};

impl Lower<'_> {
    /// What an integer convolution needs to know of its surroundings.
    pub(super) fn quantized(integer: &Option<Int8Operands>, t: &Target) -> Option<Quantized> {
        let integer = integer.as_ref()?;
        Some(Quantized {
            zero_point: integer.quantization.zero_point as i32,
            residual: (t.residual.as_ref().map_or(Elem::F32, |r| r.0.elem), t.map),
            post: t.post,
            output: t.quantization.map_or([1.0, 0.0], Quantization::quantize),
            totals: None,
        })
    }

    /// Factors that make sums of the `m` output channels values.
    pub(super) fn factors(integer: &Int8Operands, m: usize) -> Vec<f32> {
        let scale = |o: usize| integer.scale[o % integer.scale.len()];
        (0..m).map(|o| (integer.quantization.scale as f64 * scale(o) as f64) as f32).collect()
    }

    /// Requantizes sums without floats in between, where nothing but a quantized residual and an activation that
    /// keeps its shape lies there: all factors and summands are those of quantized values then.
    pub(super) fn requantize_directly(
        integer: &Int8Operands,
        (out, added): (Quantization, bool),
        q: &mut Quantized,
        act: &mut Act,
        scale: &mut [f32],
        (bias, channels): (&mut Option<Vec<f32>>, usize),
    ) {
        if q.post.is_some() || (added && q.residual.0 != Elem::U8) {
            return;
        }
        let one = |v: f32| (v as f64 / out.scale as f64) as f32;
        // The zero point joins the bias unless the activation bends there.
        let zero = match *act {
            Act::Leaky(s) if s != 0.0 => 0.0,
            Act::Leaky(_) | Act::None | Act::Clamp(..) => out.zero_point,
        };
        for (o, s) in scale.iter_mut().enumerate() {
            let w = integer.scale[o % integer.scale.len()] as f64;
            *s = (integer.quantization.scale as f64 * w / out.scale as f64) as f32;
        }
        match bias {
            Some(b) => b.iter_mut().for_each(|b| *b = (*b as f64 / out.scale as f64 + zero as f64) as f32),
            None if zero != 0.0 => *bias = Some(vec![zero; channels]),
            None => {}
        }
        *act = match *act {
            // Storing clamps at 0.
            Act::Leaky(0.0) if zero == 0.0 => Act::None,
            Act::Leaky(0.0) => Act::Clamp(zero, f32::INFINITY),
            Act::Clamp(a, b) => Act::Clamp(one(a) + zero, one(b) + zero),
            other => other,
        };
        q.residual.1 = q.residual.1.map(one);
        q.output = [1.0, out.zero_point - zero];
    }

    /// For a convolution of few channels, whose words would be mostly empty: a copy of its input with columns of
    /// `zero` on either side, seen as pixels of whole rows of the kernel, which overlap.
    pub(super) fn whole_rows(
        &mut self,
        n: &Node,
        (x, gx): (&View, &Grid),
        axis: Axis,
        width: usize,
        zero: f32,
    ) -> Option<(View, Grid)> {
        let per = gemm::operand(self.isa, x.elem).per_group();
        let (c, last) = (gx.channels(), x.dims.len() - 1);
        let few = c < 4 && !c.is_multiple_of(per) && axis.kernel > 1 && axis.dilation == 1;
        let pad = usize::try_from(axis.pad).ok()?;
        // Slices of an image are not copied one by one.
        if !few || self.stream || width == 0 {
            return None;
        }
        let mut dims = x.dims.clone();
        dims[last] = (width - 1) * axis.stride + axis.kernel;
        let copied = x.dims[last].min(dims[last].checked_sub(pad)?);
        let part = |v: &View, from: usize| {
            let all = v.dims.iter().map(|d| (0, *d, 1));
            let mut list: Vec<(usize, usize, i64)> = all.collect();
            list[last] = (from, copied, 1);
            v.sliced(&list)
        };
        let rows = self.fresh(&dims, channels_last(&dims, c), x.elem);
        let mut grid = rows.grid()?;
        self.push(n, Kind::Fill(zero), vec![], vec![rows.clone()], 0);
        self.copy(n, part(x, 0), part(&rows, pad));
        grid.dims[3] = width;
        grid.dims[4] = c * axis.kernel;
        grid.strides[3] *= axis.stride;
        Some((rows, grid))
    }
}
