//! Where an item finds its input: as it is stored, or widened to float32 for tiles that multiply that.

use super::{Conv, ConvPointers, Segment};
use crate::bf16;
use crate::simd::{Body, Vector, dispatch};

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
    /// Whether items widen their input into scratch.
    pub(super) fn widens(&self) -> bool {
        self.operand != self.spec.elems[0]
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

    /// Widens what outputs of slice `z`, rows `ys` and pixels `xs` read.
    /// Safety: as for [`Conv::run`].
    pub(super) unsafe fn widened(
        &self,
        [n, z]: [usize; 2],
        taps: &Segment,
        (ys, xs): ((usize, usize), (usize, usize)),
        p: ConvPointers,
        scratch: *mut f32,
    ) -> Source {
        let g = &self.spec.input;
        let [az, ay, ax] = &self.spec.axes;
        let (rows, pixels) = (ay.reach(ys.0..ys.1, g.dims[2]), ax.reach(xs.0..xs.1, g.dims[3]));
        let c = g.channels();
        let (line, slice) = (pixels.len() * c, rows.len() * pixels.len() * c);
        let src = p.input.cast::<bf16>();
        for (k, tap) in (taps.first..taps.last).enumerate() {
            let depth = (z * az.stride + tap * az.dilation) as i64 - az.pad;
            for (i, y) in rows.clone().enumerate() {
                let at = n * g.strides[0] + depth as usize * g.strides[1] + y * g.strides[2];
                let from = src.wrapping_add(at + pixels.start * g.pixel());
                let to = scratch.wrapping_add(k * slice + i * line);
                // SAFETY: valid taps read inside the input; the scratch has room for them all.
                unsafe {
                    if g.pixel() == c {
                        dispatch(self.isa, Widen { src: from, dst: to, n: line });
                        continue;
                    }
                    for x in 0..pixels.len() {
                        let (src, dst) = (from.add(x * g.pixel()), to.add(x * c));
                        dispatch(self.isa, Widen { src, dst, n: c });
                    }
                }
            }
        }
        // Where tap 0 of row 0 and pixel 0 would lie, which may be outside.
        let before = taps.first * slice + rows.start * line + pixels.start * c;
        let base = scratch.wrapping_sub(before).cast_const().cast();
        Source { base, steps: [slice, line, c], size: self.operand.size() }
    }
}
