//! Items of integer convolutions: what [`super::int8_transform`] transforms lies where, and what their sums become.

use super::Steps;
use super::int8_transform::{Gather, Scatter};
use super::item::Item;
use crate::conv::ConvPointers;
use crate::gemm::{Epilogue, Operand, Requantize};
use crate::norm::ItemSums;
use crate::simd::dispatch;
use crate::{Elem, Grid};

impl Item<'_> {
    /// A slice of zeros as bytes, 128 higher: sums of those begin with what all taps add to them.
    pub(super) fn gather_zeros(&self, at: i64) {
        let size = self.count() * self.plan.tiling.channels;
        for point in 0..self.plan.variant.points() {
            let slot = self.v.wrapping_add(point * self.plan.plane() + self.slot(at));
            // SAFETY: the ring has room for the slice.
            unsafe { slot.write_bytes(128, size) };
        }
    }

    /// Safety: as for [`Winograd::run`]; the input must be quantized.
    pub(super) unsafe fn gather_quantized<const HOW: u8>(&self, at: i64, first: usize, p: ConvPointers) {
        let s = &self.plan.shape;
        let [n, y0, x0] = self.origin;
        let channels = self.plan.tiling.channels;
        let slice = n * s.input.strides[0] + at as usize * s.input.strides[1] + first;
        let rounding = self.weights.factors.as_ref().and_then(|c| c.rounding.as_ref());
        let steps = rounding.map_or(Steps::default(), |r| r.steps);
        for ty in 0..self.tiles[0] {
            let row = self.slot(at) + ty * self.tiles[1] * channels;
            let gather = Gather::<HOW> {
                src: p.input.wrapping_add(slice),
                grid: s.input,
                channels: channels.min(s.input.channels() - first),
                zero: s.quantized.map_or(0, |q| q.zero_point) as i16,
                y: (y0 + ty * 2) as i64 - s.pad[1],
                x: x0 as i64 - s.pad[2],
                tiles: self.tiles[1],
                dst: self.v.wrapping_add(row * self.plan.operand.size()),
                row: channels,
                plane: self.plan.plane(),
                steps: &steps.0,
            };
            // SAFETY: the ring has room for the slice; the source is the caller's.
            unsafe { dispatch(self.plan.isa, gather) };
        }
    }

    /// What makes sums of integer products of input channels from `first` on.
    pub(super) fn raw(&self, point: usize, column: usize, first: usize) -> Option<Requantize> {
        let rounding = self.weights.factors.as_ref()?.rounding.as_ref();
        let start = match rounding {
            Some(r) if first == 0 && self.plan.operand == Operand::U8 => {
                r.start[point * self.plan.width() + column..].as_ptr()
            }
            _ => std::ptr::null(),
        };
        Some(Requantize {
            scale: std::ptr::null(),
            start,
            residual: (Elem::F32, [1.0, 0.0]),
            post: None,
            output: [1.0, 0.0],
            totals: [std::ptr::null_mut(); 2],
        })
    }

    /// [`Item::scatter`] of integer sums.
    /// Safety: as for [`Winograd::run`].
    pub(super) unsafe fn scatter_quantized(
        &self,
        z: usize,
        k: usize,
        p: ConvPointers,
        mut sums: Option<&mut ItemSums>,
    ) {
        let s = &self.plan.shape;
        let (Some(q), Some(factors)) = (s.quantized, &self.weights.factors) else { return };
        let [n, y0, x0] = self.origin;
        let (width, first) = (self.width(), self.first_column());
        let columns = width.min(s.output.channels() - first);
        for ty in 0..self.tiles[0] {
            let y = y0 + ty * 2;
            let size = [(self.end[0] - y).min(2), self.end[1] - x0];
            let place = |g: &Grid| {
                n * g.strides[0] + (z + k) * g.strides[1] + y * g.strides[2] + x0 * g.strides[3] + first
            };
            let totals = match (&mut sums, q.totals) {
                (Some(sums), Some(limit)) => sums.exact(size[0] * size[1], columns, limit),
                _ => [std::ptr::null_mut(); 2],
            };
            let scatter = Scatter {
                src: self.m.wrapping_add((k * self.tiles[0] + ty) * self.tiles[1] * width).cast(),
                plane: self.plan.product_plane(),
                row: width,
                ratio: factors.rounding.as_ref().map(|r| &r.ratio[first..]),
                total: self.plan.width(),
                buffer: self.m.wrapping_add(self.plan.variant.points() * self.plan.product_plane()).cast(),
                dst: p.output.wrapping_add(s.elems[1].size() * place(&s.output)),
                elem: s.elems[1],
                strides: [s.output.strides[2], s.output.strides[3]],
                residual: match &s.residual {
                    Some(g) => p.residual.wrapping_add(q.residual.0.size() * place(g)),
                    None => std::ptr::null(),
                },
                residual_strides: s.residual.map_or([0; 2], |g| [g.strides[2], g.strides[3]]),
                size,
                columns,
                epilogue: Epilogue {
                    bias: self.weights.bias[first..].as_ptr(),
                    residual: std::ptr::null(),
                    residual_row: s.residual.map_or(0, |g| g.strides[3] as isize),
                    act: s.act,
                    elem: s.elems[1],
                    requantize: None,
                },
                requantize: Requantize {
                    scale: factors.scale[first..].as_ptr(),
                    start: std::ptr::null(),
                    residual: q.residual,
                    post: q.post,
                    output: q.output,
                    totals,
                },
            };
            // SAFETY: the item's own part of the output; the products were just written.
            unsafe { dispatch(self.plan.isa, scatter) };
        }
    }
}
