//! Where an item finds its input: as it is stored, or widened to float32 or to 16 bits for tiles that
//! multiply those.

use super::axis::Segment;
use super::widen::{subtract_zero_point, widen};
use super::{Conv, ConvPointers, Prologue};
use crate::gemm::Operand;
use crate::{Elem, bf16, norm};

/// Where the tiles read the input of an item: as it is stored, or widened.
pub(super) struct Source {
    /// The position that tap 0 of output row 0 and pixel 0 would read without pads.
    pub base: *const u8,
    /// Elements from one depth tap, row and pixel to the next.
    pub steps: [usize; 3],
    /// Bytes of an element.
    pub size: usize,
}

impl Conv {
    /// Whether items copy their input into scratch, widened or prepared.
    pub(super) fn widens(&self) -> bool {
        let same = match self.operand {
            Operand::F32 => Elem::F32,
            Operand::Bf16 => Elem::Bf16,
            Operand::U8 => Elem::U8,
            Operand::I16 => return true,
        };
        same != self.spec.elems[0] || self.prepared
    }

    /// The input as it is stored.
    pub(super) fn stored(&self, n: usize, z: usize, p: ConvPointers) -> Source {
        let [sn, sz, sy, sx] = self.spec.input.strides;
        let axis = &self.spec.axes[0];
        let at = n as isize * sn as isize + ((z * axis.stride) as isize - axis.pad as isize) * sz as isize;
        let size = self.operand.size();
        Source {
            base: p.input.wrapping_offset(size as isize * at),
            steps: [axis.dilation * sz, sy, sx],
            size,
        }
    }

    /// Widens `count` pixels of the input, `src` elements on, to `dst` elements on in the scratch.
    /// Safety: both must be valid for the pixels, those of the scratch side by side.
    unsafe fn widen(&self, input: *const u8, src: usize, scratch: *mut f32, dst: usize, count: usize) {
        let (c, pixel) = (self.spec.input.channels(), self.spec.input.pixel());
        let (runs, n) = if pixel == c { (1, count * c) } else { (count, c) };
        for x in 0..runs {
            let (src, dst) = (src + x * pixel, dst + x * c);
            // SAFETY: passed on from the caller.
            unsafe {
                match self.spec.quantized {
                    None => {
                        let (src, dst) = (input.cast::<bf16>().add(src), scratch.add(dst));
                        widen(self.isa, src, dst, n);
                    }
                    Some(q) => {
                        let (src, dst) = (input.add(src), scratch.cast::<i16>().add(dst));
                        subtract_zero_point(self.isa, src, dst, n, q.zero_point as i16);
                    }
                }
            }
        }
    }

    /// Widens, and prepares with the prologue, what outputs of slice `z`, rows `ys` and pixels `xs` read.
    /// Safety: as for [`Conv::run`].
    pub(super) unsafe fn widened(
        &self,
        [n, z]: [usize; 2],
        taps: &Segment,
        (ys, xs): ((usize, usize), (usize, usize)),
        p: ConvPointers,
        scratch: *mut f32,
        prologue: Option<Prologue>,
    ) -> Source {
        let g = &self.spec.input;
        let [az, ay, ax] = &self.spec.axes;
        let (rows, pixels) =
            (ay.receptive_field(ys.0..ys.1, g.dims[2]), ax.receptive_field(xs.0..xs.1, g.dims[3]));
        let c = g.channels();
        let (line, slice) = (pixels.len() * c, rows.len() * pixels.len() * c);
        for (k, tap) in (taps.first..taps.last).enumerate() {
            let depth = (z * az.stride + tap * az.dilation) as i64 - az.pad;
            for (i, y) in rows.clone().enumerate() {
                let at = n * g.strides[0] + depth as usize * g.strides[1] + y * g.strides[2];
                let at = at + pixels.start * g.pixel();
                let place = k * slice + i * line;
                let to = scratch.wrapping_add(place);
                let source = match self.spec.elems[0] {
                    Elem::F32 => (p.input.cast::<f32>().wrapping_add(at), g.pixel()),
                    Elem::Bf16 | Elem::F16 | Elem::U8 => {
                        // SAFETY: valid taps read inside the input; the scratch has room for them all.
                        unsafe { self.widen(p.input, at, scratch, place, pixels.len()) };
                        (to.cast_const(), c)
                    }
                };
                if let Some(Prologue { scale, shift, act }) = prologue {
                    let (src, dst, residual) = (source, (to, c), (std::ptr::null(), 0));
                    let (stored, count, output) = ((Elem::F32, [1.0, 0.0]), pixels.len(), [1.0, 0.0]);
                    let map = norm::Affine { src, dst, residual, stored, count, scale, shift, act, output };
                    // SAFETY: as above; the map may work in place.
                    unsafe { norm::affine(self.isa, map) };
                }
            }
        }
        // Where tap 0 of row 0 and pixel 0 would lie, which may be outside.
        let before = taps.first * slice + rows.start * line + pixels.start * c;
        let size = self.operand.size();
        let base = scratch.cast::<u8>().wrapping_sub(before * size).cast_const();
        Source { base, steps: [slice, line, c], size }
    }
}
