//! Registers of integer accumulators, as the bodies of integer kernels see them.

use super::requantize::Bytes;
use super::{GemmArgs, Operand};

/// Integer sums in the 32-bit lanes of a register, and how groups of operands are multiplied into them.
///
/// # Safety
/// Every function may be called only where the CPU has the instance's features; loads and stores need
/// valid pointers (no alignment).
#[allow(clippy::missing_safety_doc)]
pub(crate) unsafe trait IntAccumulators {
    /// The register.
    type R: Copy;
    const LANES: usize;
    const OPERAND: Operand;
    unsafe fn splat(x: i32) -> Self::R;
    unsafe fn load(p: *const u8) -> Self::R;
    /// The first `bytes` bytes from `p`, the others zero.
    unsafe fn load_part(p: *const u8, bytes: usize) -> Self::R;
    unsafe fn store(p: *mut i32, v: Self::R);
    unsafe fn add(a: Self::R, b: Self::R) -> Self::R;
    /// `acc + Σ a·b` over the values of each group.
    unsafe fn dot(acc: Self::R, a: Self::R, b: Self::R) -> Self::R;
    /// Whether [`Self::dot_less`] leaves out a part that does not depend on `a`, so that one sum of it serves all rows.
    const APART: bool = false;
    /// As [`Self::dot`], less twice what [`Self::apart`] adds.
    #[inline(always)]
    unsafe fn dot_less(acc: Self::R, a: Self::R, b: Self::R) -> Self::R {
        // SAFETY: passed on from the caller.
        unsafe { Self::dot(acc, a, b) }
    }
    /// `acc` and half of what [`Self::dot_less`] leaves out.
    #[inline(always)]
    unsafe fn apart(acc: Self::R, _b: Self::R) -> Self::R {
        acc
    }
    /// Interleaves the values of `n <= LANES` channels at each `p` into groups, one a lane; all lanes when `FULL`. As many
    /// pointers count as a group holds values.
    unsafe fn interleave<const FULL: bool>(p: [*const u8; 4], n: usize) -> Self::R;
    /// As [`Self::interleave`] of `n` up to four times as many channels, in an order that takes fewer operations:
    /// place `4·q + i` of register `v` has channel `16·q + 4·v + i`.
    unsafe fn interleave_wide<const FULL: bool>(p: [*const u8; 4], n: usize) -> [Self::R; 4];
    /// Stores what is in that order in the channels' own.
    unsafe fn store_wide(p: *mut i32, v: [Self::R; 4]);
    /// Whether there is [`Self::store_bytes`].
    const BYTES: bool = false;
    /// A register of as many float32 values as there are sums.
    type F: Copy;
    /// `LANES` values.
    unsafe fn factors(p: *const f32) -> Self::F;
    /// The first `n` columns of `NV` registers of sums (at most four) as bytes from `to` on: `sum·scale + bias` in one operation,
    /// plus what the residual's bytes from `residual` on mean, clamped and rounded to nearest even, as the epilogue does. With `WIDE` places are those of
    /// [`Self::interleave_wide`], else columns follow one another; bytes always do. Nothing is added to `WIDE` ones.
    #[inline(always)]
    unsafe fn store_bytes<const NV: usize, const WIDE: bool>(
        (_to, _n): (*mut u8, usize),
        _sums: [Self::R; NV],
        _factors: [[Self::F; NV]; 2],
        _bytes: Bytes,
        _residual: *const u8,
    ) {
        unreachable!("asked of registers without it")
    }
    /// [`finish`] compiled for the features.
    unsafe fn finish(args: &GemmArgs, sums: *const i32, nr: usize);
}
