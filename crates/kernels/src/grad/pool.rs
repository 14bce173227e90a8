//! Maximum pooling taken back: the gradient of a window goes to its first largest element.

use crate::operation::Operation;
use crate::simd::{Body, Vector, dispatch};
use crate::{Features, Grid, conv::Axis};

/// The way back of a maximum pooling over dense grids; one item is a batch entry.
pub struct MaxPoolBackward {
    /// Input grid.
    pub input: Grid,
    /// Output grid.
    pub output: Grid,
    /// Depth, height, width.
    pub axes: [Axis; 3],
}

struct Entry<'a> {
    plan: &'a MaxPoolBackward,
    x: *const f32,
    y: *const f32,
    dy: *const f32,
    dx: *mut f32,
}

impl MaxPoolBackward {
    /// Adds the gradient of batch entry `index`; the others may be computed at the same time.
    ///
    /// # Safety
    /// Pointers must be valid for the plan's grids, `dx` apart from the others; `isa` must be supported.
    pub unsafe fn run(&self, isa: Features, index: usize, [x, y, dy]: [*const f32; 3], dx: *mut f32) {
        let (i, o) = (index * self.input.strides[0], index * self.output.strides[0]);
        let entry = Entry {
            plan: self,
            x: x.wrapping_add(i),
            y: y.wrapping_add(o),
            dy: dy.wrapping_add(o),
            dx: dx.wrapping_add(i),
        };
        // SAFETY: passed on from the caller.
        unsafe { dispatch(isa, entry) }
    }
}

impl Body for Entry<'_> {
    const OPERATION: Operation = Operation::MaxPoolBackward;
    const BF16: bool = false;
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let p = self.plan;
        let [_, od, oh, ow, c] = p.output.dims;
        let sizes = [p.input.dims[1], p.input.dims[2], p.input.dims[3]];
        let inside = |axis: usize, o: usize| {
            let a = &p.axes[axis];
            (0..a.kernel)
                .map(move |k| (o * a.stride + k * a.dilation) as i64 - a.pad)
                .filter(move |&at| (0..sizes[axis] as i64).contains(&at))
                .map(|at| at as usize)
        };
        for z in 0..od {
            for y in 0..oh {
                for x in 0..ow {
                    let o = z * p.output.strides[1] + y * p.output.strides[2] + x * p.output.strides[3];
                    for k in (0..c).step_by(V::LANES) {
                        let m = (c - k).min(V::LANES);
                        // SAFETY: positions inside both grids, k + m <= c.
                        unsafe {
                            let top = V::load_part(self.y.add(o + k), m);
                            // What is left of the gradient in each lane: nothing once it found its place.
                            let mut rest = V::load_part(self.dy.add(o + k), m);
                            for iz in inside(0, z) {
                                for iy in inside(1, y) {
                                    for ix in inside(2, x) {
                                        let i = iz * p.input.strides[1]
                                            + iy * p.input.strides[2]
                                            + ix * p.input.strides[3]
                                            + k;
                                        let zero = V::splat(0.0);
                                        let v = V::load_part(self.x.add(i), m);
                                        let give = V::select_lt(v, top, zero, rest);
                                        rest = V::sub(rest, give);
                                        let at = self.dx.add(i);
                                        V::store_part(at, V::add(V::load_part(at, m), give), m);
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
