//! Four lanes with NEON.

use super::{Body, Vector};
use crate::elem::{bf16, f16};
use std::arch::aarch64::*;
use std::arch::asm;

/// Four float32 in a NEON register.
#[derive(Clone, Copy)]
pub struct Neon;

/// Runs `body` compiled for this backend.
///
/// # Safety
/// The CPU must have NEON; the body's own needs must hold.
#[target_feature(enable = "neon")]
#[inline(never)]
pub(super) unsafe fn enter<B: Body>(body: B) -> B::Out {
    // SAFETY: the features are enabled here; the rest is the caller's.
    unsafe { body.run::<Neon>() }
}

/// The first `n <= 4` values of 16 bits from `p`, the others zero.
#[inline(always)]
unsafe fn load_shorts(p: *const u16, n: usize) -> uint16x4_t {
    // SAFETY: valid by the trait's contract.
    unsafe {
        if n >= 4 {
            return vld1_u16(p);
        }
        let mut lanes = [0u16; 4];
        std::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), n);
        vld1_u16(lanes.as_ptr())
    }
}

/// The first `n` of four values of 16 bits to `p`.
#[inline(always)]
unsafe fn store_shorts(p: *mut u16, v: uint16x4_t, n: usize) {
    // SAFETY: valid by the trait's contract.
    unsafe {
        if n >= 4 {
            return vst1_u16(p, v);
        }
        let mut lanes = [0u16; 4];
        vst1_u16(lanes.as_mut_ptr(), v);
        std::ptr::copy_nonoverlapping(lanes.as_ptr(), p, n);
    }
}

/// Widens bfloat16.
#[inline(always)]
unsafe fn from_bf16(v: uint16x4_t) -> float32x4_t {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe { vreinterpretq_f32_u32(vshlq_n_u32::<16>(vmovl_u16(v))) }
}

/// Rounds to bfloat16; NaN becomes a quiet NaN.
#[inline(always)]
unsafe fn round_to_bf16(v: float32x4_t) -> uint16x4_t {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        let bits = vreinterpretq_u32_f32(v);
        let odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
        let up = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
        let quiet = vorrq_u32(bits, vdupq_n_u32(0x0040_0000));
        vshrn_n_u32::<16>(vbslq_u32(vceqq_f32(v, v), up, quiet))
    }
}

/// Widens binary16. The intrinsic is not stable.
#[inline(always)]
unsafe fn from_f16(v: uint16x4_t) -> float32x4_t {
    let wide: float32x4_t;
    // SAFETY: one instruction on registers, which every CPU with NEON has.
    unsafe {
        asm!("fcvtl {0:v}.4s, {1:v}.4h", out(vreg) wide, in(vreg) v, options(pure, nomem, nostack, preserves_flags));
    }
    wide
}

/// Rounds to binary16, to nearest even. The intrinsic is not stable.
#[inline(always)]
unsafe fn round_to_f16(v: float32x4_t) -> uint16x4_t {
    let short: uint16x4_t;
    // SAFETY: one instruction on registers, which every CPU with NEON has.
    unsafe {
        asm!("fcvtn {0:v}.4h, {1:v}.4s", out(vreg) short, in(vreg) v, options(pure, nomem, nostack, preserves_flags));
    }
    short
}

/// Rounds to integers between 0 and 255, in the low four bytes.
#[inline(always)]
unsafe fn round_to_u8(v: float32x4_t) -> u32 {
    // SAFETY: register arithmetic only; the caller has the features. Conversions saturate, and NaN becomes 0.
    unsafe {
        let half = vqmovn_u32(vcvtnq_u32_f32(v));
        let bytes = vqmovn_u16(vcombine_u16(half, half));
        vget_lane_u32::<0>(vreinterpret_u32_u8(bytes))
    }
}

// SAFETY: each function only wraps intrinsics of the named features.
#[allow(clippy::undocumented_unsafe_blocks)]
unsafe impl Vector for Neon {
    type V = float32x4_t;
    type Ints = Neon;
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn outlined<B: Body>(body: B) -> B::Out {
        unsafe { enter(body) }
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> float32x4_t {
        unsafe { vdupq_n_f32(x) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> float32x4_t {
        unsafe { vld1q_f32(p) }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> float32x4_t {
        let mut lanes = [0f32; 4];
        unsafe {
            std::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), n);
            vld1q_f32(lanes.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: float32x4_t) {
        unsafe { vst1q_f32(p, v) }
    }
    #[inline(always)]
    unsafe fn store_part(p: *mut f32, v: float32x4_t, n: usize) {
        let mut lanes = [0f32; 4];
        unsafe {
            vst1q_f32(lanes.as_mut_ptr(), v);
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), p, n);
        }
    }
    #[inline(always)]
    unsafe fn prefetch(p: *const u8) {
        // SAFETY: a prefetch never faults, whatever the address.
        unsafe { asm!("prfm pldl1keep, [{0}]", in(reg) p, options(nostack, preserves_flags, readonly)) }
    }
    #[inline(always)]
    unsafe fn load_bf16(p: *const bf16) -> float32x4_t {
        unsafe { from_bf16(vld1_u16(p.cast())) }
    }
    #[inline(always)]
    unsafe fn load_bf16_part(p: *const bf16, n: usize) -> float32x4_t {
        unsafe { from_bf16(load_shorts(p.cast(), n)) }
    }
    #[inline(always)]
    unsafe fn store_bf16(p: *mut bf16, v: float32x4_t) {
        unsafe { vst1_u16(p.cast(), round_to_bf16(v)) }
    }
    #[inline(always)]
    unsafe fn store_bf16_part(p: *mut bf16, v: float32x4_t, n: usize) {
        unsafe { store_shorts(p.cast(), round_to_bf16(v), n) }
    }
    #[inline(always)]
    unsafe fn splat_bf16(p: *const bf16) -> float32x4_t {
        unsafe { vdupq_n_f32(f32::from_bits(((*p).to_bits() as u32) << 16)) }
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const f16) -> float32x4_t {
        unsafe { from_f16(vld1_u16(p.cast())) }
    }
    #[inline(always)]
    unsafe fn load_f16_part(p: *const f16, n: usize) -> float32x4_t {
        unsafe { from_f16(load_shorts(p.cast(), n)) }
    }
    #[inline(always)]
    unsafe fn store_f16(p: *mut f16, v: float32x4_t) {
        unsafe { vst1_u16(p.cast(), round_to_f16(v)) }
    }
    #[inline(always)]
    unsafe fn store_f16_part(p: *mut f16, v: float32x4_t, n: usize) {
        unsafe { store_shorts(p.cast(), round_to_f16(v), n) }
    }
    #[inline(always)]
    unsafe fn load_u8(p: *const u8) -> float32x4_t {
        unsafe {
            let four = vcreate_u8(p.cast::<u32>().read_unaligned() as u64);
            vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(four))))
        }
    }
    #[inline(always)]
    unsafe fn load_u8_part(p: *const u8, n: usize) -> float32x4_t {
        let mut lanes = [0u8; 4];
        unsafe {
            std::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), n);
            Self::load_u8(lanes.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store_u8(p: *mut u8, v: float32x4_t) {
        unsafe { p.cast::<u32>().write_unaligned(round_to_u8(v)) }
    }
    #[inline(always)]
    unsafe fn store_u8_part(p: *mut u8, v: float32x4_t, n: usize) {
        let lanes = unsafe { round_to_u8(v) }.to_le_bytes();
        unsafe { std::ptr::copy_nonoverlapping(lanes.as_ptr(), p, n) }
    }
    #[inline(always)]
    unsafe fn load_int(p: *const i32) -> float32x4_t {
        unsafe { vcvtq_f32_s32(vld1q_s32(p)) }
    }
    #[inline(always)]
    unsafe fn store_int(p: *mut i32, v: float32x4_t) {
        unsafe { vst1q_s32(p, vcvtnq_s32_f32(v)) }
    }
    #[inline(always)]
    unsafe fn fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        unsafe { vfmaq_f32(c, a, b) }
    }
    #[inline(always)]
    unsafe fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vaddq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vsubq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vmulq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn div(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vdivq_f32(a, b) }
    }
    // The instructions for extremes return NaN where either is; these return the second operand.
    #[inline(always)]
    unsafe fn max(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vbslq_f32(vcltq_f32(a, b), a, b) }
    }
    #[inline(always)]
    unsafe fn sqrt(a: float32x4_t) -> float32x4_t {
        unsafe { vsqrtq_f32(a) }
    }
    #[inline(always)]
    unsafe fn round(a: float32x4_t) -> float32x4_t {
        unsafe { vrndnq_f32(a) }
    }
    #[inline(always)]
    unsafe fn abs(a: float32x4_t) -> float32x4_t {
        unsafe { vabsq_f32(a) }
    }
    #[inline(always)]
    unsafe fn pow2(a: float32x4_t) -> float32x4_t {
        unsafe {
            let biased = vaddq_s32(vcvtnq_s32_f32(a), vdupq_n_s32(127));
            vreinterpretq_f32_s32(vshlq_n_s32::<23>(biased))
        }
    }
    #[inline(always)]
    unsafe fn select_lt(a: float32x4_t, b: float32x4_t, t: float32x4_t, f: float32x4_t) -> float32x4_t {
        unsafe { vbslq_f32(vcltq_f32(a, b), t, f) }
    }
}
