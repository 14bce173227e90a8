//! Where an item finds its input: as it is stored, or widened to float32 for tiles that multiply that.

use super::{Conv, ConvPointers, Segment};
use crate::simd::{Body, Vector, dispatch};
use crate::winograd::Prologue;
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

/// bfloat16 to float32.
struct Widen {
    src: *const bf16,
    dst: *mut f32,
    n: usize,
}

impl Body for Widen {
    type Out = ();
    // SAFETY: as the trait says; both pointers must be valid for `n` values.
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let mut i = 0;
        // SAFETY: i + LANES <= n or the partial forms are used.
        unsafe {
            while i + V::LANES <= self.n {
                V::store(self.dst.add(i), V::load_half(self.src.add(i)));
                i += V::LANES;
            }
            if i < self.n {
                let m = self.n - i;
                V::store_part(self.dst.add(i), V::load_half_part(self.src.add(i), m), m);
            }
        }
    }
}

impl Conv {
    /// Whether items copy their input into scratch, widened or prepared.
    pub(super) fn widens(&self) -> bool {
        self.operand != self.spec.elems[0] || self.prepared
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

    /// Widens `count` pixels of the input.
    /// Safety: `src` must be valid for them and `dst` for their channels side by side.
    unsafe fn widen(&self, src: *const bf16, dst: *mut f32, count: usize) {
        let (c, pixel) = (self.spec.input.channels(), self.spec.input.pixel());
        // SAFETY: passed on from the caller.
        unsafe {
            if pixel == c {
                return dispatch(self.isa, Widen { src, dst, n: count * c });
            }
            for x in 0..count {
                dispatch(self.isa, Widen { src: src.add(x * pixel), dst: dst.add(x * c), n: c });
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
        let (rows, pixels) = (ay.reach(ys.0..ys.1, g.dims[2]), ax.reach(xs.0..xs.1, g.dims[3]));
        let c = g.channels();
        let (line, slice) = (pixels.len() * c, rows.len() * pixels.len() * c);
        for (k, tap) in (taps.first..taps.last).enumerate() {
            let depth = (z * az.stride + tap * az.dilation) as i64 - az.pad;
            for (i, y) in rows.clone().enumerate() {
                let at = n * g.strides[0] + depth as usize * g.strides[1] + y * g.strides[2];
                let at = at + pixels.start * g.pixel();
                let to = scratch.wrapping_add(k * slice + i * line);
                let source = match self.spec.elems[0] {
                    Elem::F32 => (p.input.cast::<f32>().wrapping_add(at), g.pixel()),
                    Elem::Bf16 => {
                        let from = p.input.cast::<bf16>().wrapping_add(at);
                        // SAFETY: valid taps read inside the input; the scratch has room for them all.
                        unsafe { self.widen(from, to, pixels.len()) };
                        (to.cast_const(), c)
                    }
                };
                if let Some(Prologue { scale, shift, act }) = prologue {
                    let (src, dst, residual) = (source, (to, c), (std::ptr::null(), 0));
                    let map = norm::Affine { src, dst, residual, count: pixels.len(), scale, shift, act };
                    // SAFETY: as above; the map may work in place.
                    unsafe { norm::affine(self.isa, map) };
                }
            }
        }
        // Where tap 0 of row 0 and pixel 0 would lie, which may be outside.
        let before = taps.first * slice + rows.start * line + pixels.start * c;
        let base = scratch.wrapping_sub(before).cast_const().cast();
        Source { base, steps: [slice, line, c], size: self.operand.size() }
    }
}
