//! Inputs widened for micro-kernels that multiply wider values.

use crate::operation::Operation;
use crate::simd::{Body, Vector, dispatch};
use crate::{Features, bf16};

/// bfloat16 to float32.
struct Widen {
    src: *const bf16,
    dst: *mut f32,
    n: usize,
}

/// Widens `n` values from `src` to `dst`.
///
/// # Safety
/// Both pointers must be valid for `n` values and apart from each other; `isa` must be supported.
pub unsafe fn widen(isa: Features, src: *const bf16, dst: *mut f32, n: usize) {
    // SAFETY: passed on from the caller.
    unsafe { dispatch(isa, Widen { src, dst, n }) }
}

impl Body for Widen {
    const OPERATION: Operation = Operation::WidenInput;
    const BF16: bool = true;
    type Out = ();
    // SAFETY: as the trait says; both pointers must be valid for `n` values.
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let mut i = 0;
        // SAFETY: i + LANES <= n or the partial forms are used.
        unsafe {
            while i + V::LANES <= self.n {
                V::store(self.dst.add(i), V::load_bf16(self.src.add(i)));
                i += V::LANES;
            }
            if i < self.n {
                let m = self.n - i;
                V::store_part(self.dst.add(i), V::load_bf16_part(self.src.add(i), m), m);
            }
        }
    }
}

/// INT8 to integers of 16 bits, less the zero point.
struct SubtractZeroPoint {
    src: *const u8,
    dst: *mut i16,
    n: usize,
    zero_point: i16,
}

/// Widens `n` values from `src` to `dst`, less `zero_point`.
///
/// # Safety
/// Both pointers must be valid for `n` values and apart from each other; `isa` must be supported.
pub unsafe fn subtract_zero_point(isa: Features, src: *const u8, dst: *mut i16, n: usize, zero_point: i16) {
    // SAFETY: passed on from the caller.
    unsafe { dispatch(isa, SubtractZeroPoint { src, dst, n, zero_point }) }
}

impl Body for SubtractZeroPoint {
    const OPERATION: Operation = Operation::SubtractZeroPoint;
    const BF16: bool = false;
    type Out = ();
    // SAFETY: as the trait says; both pointers must be valid for `n` values.
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: passed on from the caller.
        let (from, to) = unsafe {
            (std::slice::from_raw_parts(self.src, self.n), std::slice::from_raw_parts_mut(self.dst, self.n))
        };
        for (t, f) in to.iter_mut().zip(from) {
            *t = *f as i16 - self.zero_point;
        }
    }
}
