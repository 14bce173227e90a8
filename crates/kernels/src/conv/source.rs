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
    /// Channels of a pixel, with those that fill whole groups.
    pub channels: usize,
}

/// What a run of outputs reads along an axis, as items copy it.
struct Copied {
    /// Positions of the input.
    inside: std::ops::Range<usize>,
    /// The first position that is copied, and how many, pads included.
    first: isize,
    all: usize,
    /// Pads before the first position of the input.
    before: usize,
}

impl Conv {
    /// Whether items copy their input into scratch: widened, prepared or with its pads.
    pub(super) fn copies(&self) -> bool {
        self.padded || self.widens()
    }

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
            channels: self.channels(),
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
        let az = &self.spec.axes[0];
        let [rows, pixels] = [self.copied(1, ys), self.copied(2, xs)];
        let c = self.channels();
        let (line, slice) = (pixels.all * c, rows.all * pixels.all * c);
        let plane = (taps.last - taps.first) * slice;
        if self.padded {
            // SAFETY: the scratch has room for all.
            unsafe { self.fill(scratch, plane) };
        }
        for (k, tap) in (taps.first..taps.last).enumerate() {
            let depth = (z * az.stride + tap * az.dilation) as i64 - az.pad;
            for (i, y) in rows.inside.clone().enumerate() {
                let at = n * g.strides[0] + depth as usize * g.strides[1] + y * g.strides[2];
                let from = (at + pixels.inside.start * g.pixel(), pixels.inside.len());
                let place = k * slice + (rows.before + i) * line + pixels.before * c;
                // SAFETY: valid taps read inside the input; the scratch has room for them all.
                unsafe {
                    match self.how.split {
                        None => self.prepare(p.input, from, scratch, place, prologue),
                        Some(split) => {
                            let room = scratch.wrapping_add(self.scratch() - line);
                            let (to, input) = ((room, scratch.cast()), p.input.cast());
                            self.terms(split, input, from, to, (place, plane), prologue);
                        }
                    }
                }
            }
        }
        // Where tap 0 of row 0 and pixel 0 would lie, which may be outside.
        let before = (taps.first * slice) as isize + rows.first * line as isize + pixels.first * c as isize;
        let size = self.operand.size();
        let base = scratch.cast::<u8>().wrapping_offset(-before * size as isize).cast_const();
        Source { base, steps: [slice, line, c], plane, size, channels: c }
    }

    /// What outputs `range` along an axis read, as items copy it.
    fn copied(&self, axis: usize, range: (usize, usize)) -> Copied {
        let (a, size) = (&self.spec.axes[axis], self.spec.input.dims[axis + 1]);
        let inside = a.receptive_field(range.0..range.1, size);
        if !self.padded {
            return Copied { first: inside.start as isize, before: 0, all: inside.len(), inside };
        }
        let first = (range.0 * a.stride) as isize - a.pad as isize;
        let all = (range.1 - range.0 - 1) * a.stride + (a.kernel.max(1) - 1) * a.dilation + 1;
        Copied { first, before: (inside.start as isize - first).max(0) as usize, all, inside }
    }

    /// Fills the scratch with what pads hold, `plane` values for each term.
    /// Safety: the scratch must have room for them.
    unsafe fn fill(&self, scratch: *mut f32, plane: usize) {
        let values = plane * self.how.split.map_or(1, Split::terms);
        let byte = self.spec.quantized.map_or(0, |q| q.zero_point as u8);
        // SAFETY: passed on from the caller.
        unsafe { scratch.cast::<u8>().write_bytes(byte, values * self.operand.size()) };
    }

    /// Copies `count` pixels of the input from element `at` on to `place` elements on in the scratch, as they are.
    /// Safety: as for [`Conv::widen`].
    unsafe fn copy(&self, input: *const u8, (at, count): (usize, usize), scratch: *mut u8, place: usize) {
        // SAFETY: passed on from the caller.
        unsafe {
            match self.operand {
                Operand::U8 => self.spread(input.add(at), scratch.add(place), count),
                Operand::Bf16 | Operand::I16 => {
                    self.spread(input.cast::<u16>().add(at), scratch.cast::<u16>().add(place), count)
                }
                Operand::F32 => {
                    self.spread(input.cast::<f32>().add(at), scratch.cast::<f32>().add(place), count)
                }
            }
        }
    }

    /// Copies `count` pixels of the input from `from` on to pixels that lie side by side from `to` on, whose channels fill
    /// whole groups.
    /// Safety: both must be valid for the pixels.
    unsafe fn spread<T: Copy>(&self, from: *const T, to: *mut T, count: usize) {
        // Fewer channels are copied one by one: a call for each pixel takes longer.
        const FEW: usize = 8;
        let (c, pixel, apart) = (self.spec.input.channels(), self.spec.input.pixel(), self.channels());
        // SAFETY: passed on from the caller.
        unsafe {
            if pixel == c && apart == c {
                return from.copy_to_nonoverlapping(to, count * c);
            }
            for x in 0..count {
                let (from, to) = (from.add(x * pixel), to.add(x * apart));
                if c > FEW {
                    from.copy_to_nonoverlapping(to, c);
                    continue;
                }
                for i in 0..c {
                    *to.add(i) = *from.add(i);
                }
            }
        }
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
        if !self.widens() {
            // SAFETY: passed on from the caller.
            return unsafe { self.copy(input, (at, count), scratch.cast(), place) };
        }
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
        let values = count * self.channels();
        // SAFETY: passed on from the caller; what fills groups in `room` is 0, so that its terms are.
        unsafe {
            if let Some(prologue) = prologue {
                self.map((from, pixel), room, count, prologue);
                return split_values(self.isa, split, room, to, plane, values);
            }
            if pixel == c && self.channels() == c {
                return split_values(self.isa, split, from, to, plane, values);
            }
            if self.channels() > c {
                room.write_bytes(0, values);
            }
            self.spread(from, room, count);
            split_values(self.isa, split, room, to, plane, values);
        }
    }
}
