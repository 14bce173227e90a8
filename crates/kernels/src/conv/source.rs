//! Where an item finds its input: as it is stored, or widened to float32 or to 16 bits for tiles that
//! multiply those.

use super::axis::Segment;
use super::split::{Split, split_values};
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
    /// Elements from the first terms of split values to the second.
    pub plane: usize,
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
        same != self.spec.elems[0] || self.how.prepared
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
            plane: 0,
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
        let plane = (taps.last - taps.first) * slice;
        for (k, tap) in (taps.first..taps.last).enumerate() {
            let depth = (z * az.stride + tap * az.dilation) as i64 - az.pad;
            for (i, y) in rows.clone().enumerate() {
                let at = n * g.strides[0] + depth as usize * g.strides[1] + y * g.strides[2];
                let at = at + pixels.start * g.pixel();
                let place = k * slice + i * line;
                // SAFETY: valid taps read inside the input; the scratch has room for them all.
                unsafe {
                    match self.how.split {
                        None => self.prepare(p.input, (at, pixels.len()), scratch, place, prologue),
                        Some(split) => {
                            let room = scratch.wrapping_add(self.scratch() - line);
                            self.terms(
                                split,
                                p.input.cast(),
                                (at, pixels.len()),
                                (room, scratch.cast()),
                                (place, plane),
                                prologue,
                            );
                        }
                    }
                }
            }
        }
        // Where tap 0 of row 0 and pixel 0 would lie, which may be outside.
        let before = taps.first * slice + rows.start * line + pixels.start * c;
        let size = self.operand.size();
        let base = scratch.cast::<u8>().wrapping_sub(before * size).cast_const();
        Source { base, steps: [slice, line, c], plane, size }
    }

    /// `count` pixels of the input from element `at` on, widened and prepared, to `place` elements on in the scratch.
    /// Safety: as for [`Conv::widen`].
    unsafe fn prepare(
        &self,
        input: *const u8,
        (at, count): (usize, usize),
        scratch: *mut f32,
        place: usize,
        prologue: Option<Prologue>,
    ) {
        let (c, pixel) = (self.spec.input.channels(), self.spec.input.pixel());
        let to = scratch.wrapping_add(place);
        let source = match self.spec.elems[0] {
            Elem::F32 => (input.cast::<f32>().wrapping_add(at), pixel),
            Elem::Bf16 | Elem::F16 | Elem::U8 => {
                // SAFETY: passed on from the caller.
                unsafe { self.widen(input, at, scratch, place, count) };
                (to.cast_const(), c)
            }
        };
        if let Some(prologue) = prologue {
            // SAFETY: passed on from the caller; the map may work in place.
            unsafe { self.map(source, to, count, prologue) };
        }
    }

    /// `count` pixels of `source` (with the distance of its pixels) through a prologue to `to`, side by side.
    /// Safety: both must be valid for the pixels, and be one or apart.
    unsafe fn map(&self, source: (*const f32, usize), to: *mut f32, count: usize, prologue: Prologue) {
        let Prologue { scale, shift, act } = prologue;
        let (dst, residual) = ((to, self.spec.input.channels()), (std::ptr::null(), 0));
        let (stored, output) = ((Elem::F32, [1.0, 0.0]), [1.0, 0.0]);
        let map = norm::Affine { src: source, dst, residual, stored, count, scale, shift, act, output };
        // SAFETY: passed on from the caller.
        unsafe { norm::affine(self.isa, map) };
    }

    /// Terms of `count` pixels of the input from element `at` on, prepared in `room`, to `place` elements on in the
    /// scratch, and `plane` further for each term.
    /// Safety: as for [`Conv::widen`]; `room` must hold the pixels.
    unsafe fn terms(
        &self,
        split: Split,
        input: *const f32,
        (at, count): (usize, usize),
        (room, scratch): (*mut f32, *mut bf16),
        (place, plane): (usize, usize),
        prologue: Option<Prologue>,
    ) {
        let (c, pixel) = (self.spec.input.channels(), self.spec.input.pixel());
        let (from, to) = (input.wrapping_add(at), scratch.wrapping_add(place));
        // SAFETY: passed on from the caller.
        unsafe {
            if let Some(prologue) = prologue {
                self.map((from, pixel), room, count, prologue);
                return split_values(self.isa, split, room, to, plane, count * c);
            }
            let (runs, n) = if pixel == c { (1, count * c) } else { (count, c) };
            for x in 0..runs {
                split_values(self.isa, split, from.wrapping_add(x * pixel), to.wrapping_add(x * c), plane, n);
            }
        }
    }
}
