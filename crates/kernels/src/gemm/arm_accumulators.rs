//! Registers of integer accumulators of 64-bit ARM. Intrinsics of byte products are not stable: inline assembly.

use super::accumulators::IntAccumulators;
use super::requantize::finish;
use super::{GemmArgs, Operand};
use crate::simd::Neon;
use std::arch::aarch64::*;
use std::arch::asm;

/// # Safety
/// As for [`finish`]; the CPU must have NEON.
#[target_feature(enable = "neon")]
unsafe fn finish_neon(args: &GemmArgs, sums: *const i32, nr: usize) {
    // SAFETY: passed on from the caller.
    unsafe { finish::<Neon>(args, sums, nr) }
}

/// How groups are multiplied.
mod by {
    /// Pairs of 16 bits.
    pub const PAIRS: u8 = 0;
    /// Signed bytes by signed bytes: what is stored is 128 too high, which goes in apart.
    pub const SIGNED: u8 = 1;
    /// Unsigned bytes by signed bytes.
    pub const MIXED: u8 = 2;
}

/// Four sums.
pub(crate) struct Sums<const BY: u8>;
/// Four sums of pairs of 16 bits.
pub(crate) type Pairs = Sums<{ by::PAIRS }>;
/// Four sums of bytes by the dot products of signed bytes.
pub(crate) type Signed = Sums<{ by::SIGNED }>;
/// Four sums of bytes by the dot products of unsigned by signed bytes.
pub(crate) type Mixed = Sums<{ by::MIXED }>;

/// `acc + Σ a·b` of signed bytes.
/// Safety: the CPU must have `dotprod`.
#[inline(always)]
unsafe fn sdot(mut acc: int32x4_t, a: int32x4_t, b: int32x4_t) -> int32x4_t {
    // SAFETY: one instruction on registers.
    unsafe {
        asm!(
            ".arch_extension dotprod",
            "sdot {0:v}.4s, {1:v}.16b, {2:v}.16b",
            inout(vreg) acc, in(vreg) a, in(vreg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    acc
}

/// `acc + Σ a·b` of unsigned `a` and signed `b`.
/// Safety: the CPU must have `i8mm`.
#[inline(always)]
unsafe fn usdot(mut acc: int32x4_t, a: int32x4_t, b: int32x4_t) -> int32x4_t {
    // SAFETY: one instruction on registers.
    unsafe {
        asm!(
            ".arch_extension i8mm",
            "usdot {0:v}.4s, {1:v}.16b, {2:v}.16b",
            inout(vreg) acc, in(vreg) a, in(vreg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    acc
}

/// Bytes, then pairs of bytes, of two registers by turns: of their low or their high halves.
#[inline(always)]
unsafe fn low8(a: int32x4_t, b: int32x4_t) -> int32x4_t {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe { vreinterpretq_s32_u8(vzip1q_u8(vreinterpretq_u8_s32(a), vreinterpretq_u8_s32(b))) }
}
#[inline(always)]
unsafe fn high8(a: int32x4_t, b: int32x4_t) -> int32x4_t {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe { vreinterpretq_s32_u8(vzip2q_u8(vreinterpretq_u8_s32(a), vreinterpretq_u8_s32(b))) }
}
#[inline(always)]
unsafe fn low16(a: int32x4_t, b: int32x4_t) -> int32x4_t {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe { vreinterpretq_s32_u16(vzip1q_u16(vreinterpretq_u16_s32(a), vreinterpretq_u16_s32(b))) }
}
#[inline(always)]
unsafe fn high16(a: int32x4_t, b: int32x4_t) -> int32x4_t {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe { vreinterpretq_s32_u16(vzip2q_u16(vreinterpretq_u16_s32(a), vreinterpretq_u16_s32(b))) }
}

// SAFETY: each function only wraps intrinsics of the named features.
#[allow(clippy::undocumented_unsafe_blocks)]
unsafe impl<const BY: u8> IntAccumulators for Sums<BY> {
    type R = int32x4_t;
    const LANES: usize = 4;
    const OPERAND: Operand = if BY == by::PAIRS { Operand::I16 } else { Operand::U8 };
    const APART: bool = BY == by::SIGNED;
    #[inline(always)]
    unsafe fn splat(x: i32) -> int32x4_t {
        unsafe { vdupq_n_s32(x) }
    }
    #[inline(always)]
    unsafe fn load(p: *const u8) -> int32x4_t {
        unsafe { vreinterpretq_s32_u8(vld1q_u8(p)) }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const u8, bytes: usize) -> int32x4_t {
        let mut all = [0u8; 16];
        unsafe {
            std::ptr::copy_nonoverlapping(p, all.as_mut_ptr(), bytes);
            Self::load(all.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store(p: *mut i32, v: int32x4_t) {
        unsafe { vst1q_s32(p, v) }
    }
    #[inline(always)]
    unsafe fn add(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        unsafe { vaddq_s32(a, b) }
    }
    #[inline(always)]
    unsafe fn dot(acc: int32x4_t, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        unsafe {
            if BY == by::MIXED {
                return usdot(acc, a, b);
            }
            if BY == by::SIGNED {
                return Self::apart(Self::apart(Self::dot_less(acc, a, b), b), b);
            }
            let (a, b) = (vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b));
            let low = vmull_s16(vget_low_s16(a), vget_low_s16(b));
            vaddq_s32(acc, vpaddq_s32(low, vmull_high_s16(a, b)))
        }
    }
    #[inline(always)]
    unsafe fn dot_less(acc: int32x4_t, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        unsafe {
            if BY == by::SIGNED {
                return sdot(acc, veorq_s32(a, vreinterpretq_s32_u8(vdupq_n_u8(128))), b);
            }
            Self::dot(acc, a, b)
        }
    }
    #[inline(always)]
    unsafe fn apart(acc: int32x4_t, b: int32x4_t) -> int32x4_t {
        unsafe { sdot(acc, vreinterpretq_s32_u8(vdupq_n_u8(64)), b) }
    }
    #[inline(always)]
    unsafe fn interleave<const FULL: bool>(p: [*const u8; 4], n: usize) -> int32x4_t {
        let load = |p: *const u8| unsafe {
            if FULL {
                return vcreate_u8(p.cast::<u32>().read_unaligned() as u64);
            }
            let mut all = [0u8; 8];
            std::ptr::copy_nonoverlapping(p, all.as_mut_ptr(), n);
            vld1_u8(all.as_ptr())
        };
        unsafe {
            let low = vzip1_u8(load(p[0]), load(p[1]));
            if BY == by::PAIRS {
                return vreinterpretq_s32_u16(vmovl_u8(low));
            }
            let low = vreinterpret_u16_u8(low);
            let high = vreinterpret_u16_u8(vzip1_u8(load(p[2]), load(p[3])));
            vreinterpretq_s32_u16(vcombine_u16(vzip1_u16(low, high), vzip2_u16(low, high)))
        }
    }
    #[inline(always)]
    unsafe fn interleave_wide<const FULL: bool>(p: [*const u8; 4], n: usize) -> [int32x4_t; 4] {
        let load = |p: *const u8| unsafe { if FULL { Self::load(p) } else { Self::load_part(p, n) } };
        unsafe {
            let (a, b) = (load(p[0]), load(p[1]));
            let [low, high] = if BY == by::PAIRS {
                let zero = vdupq_n_s32(0);
                [[low8(a, zero), low8(b, zero)], [high8(a, zero), high8(b, zero)]]
            } else {
                let (c, d) = (load(p[2]), load(p[3]));
                [[low8(a, b), low8(c, d)], [high8(a, b), high8(c, d)]]
            };
            [low16(low[0], low[1]), high16(low[0], low[1]), low16(high[0], high[1]), high16(high[0], high[1])]
        }
    }
    #[inline(always)]
    unsafe fn store_wide(p: *mut i32, v: [int32x4_t; 4]) {
        for (i, v) in v.into_iter().enumerate() {
            unsafe { Self::store(p.add(4 * i), v) }
        }
    }
    type F = float32x4_t;
    #[inline(always)]
    unsafe fn factors(p: *const f32) -> float32x4_t {
        unsafe { vld1q_f32(p) }
    }
    #[inline(always)]
    unsafe fn finish(args: &GemmArgs, sums: *const i32, nr: usize) {
        unsafe { finish_neon(args, sums, nr) }
    }
}
