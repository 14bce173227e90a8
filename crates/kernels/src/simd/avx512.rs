//! Sixteen lanes with AVX-512.

use super::{Body, Vector};
use crate::elem::{bf16, f16};
use std::arch::x86_64::*;

/// Sixteen float32 in a `zmm` register; `BF16` says that the CPU can round to bfloat16 itself.
#[derive(Clone, Copy)]
pub struct Wide<const BF16: bool>;

/// Any CPU with AVX-512 F, BW, DQ and VL.
pub type Avx512 = Wide<false>;
/// With AVX-512 BF16 too.
pub type Avx512Bf16 = Wide<true>;

/// Runs `body` compiled for this backend.
///
/// # Safety
/// The CPU must have AVX-512 F, BW, DQ, VL, AVX2, FMA and F16C; the body's own needs must hold.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
#[inline(never)]
pub(super) unsafe fn enter<B: Body>(body: B) -> B::Out {
    // SAFETY: the features are enabled here; the rest is the caller's.
    unsafe { body.run::<Avx512>() }
}

/// Runs `body` compiled for the backend with BF16.
///
/// # Safety
/// As for [`enter`], and the CPU must have AVX-512 BF16.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c")]
#[inline(never)]
pub(super) unsafe fn enter_bf16<B: Body>(body: B) -> B::Out {
    // SAFETY: the features are enabled here; the rest is the caller's.
    unsafe { body.run::<Avx512Bf16>() }
}

/// Rounds to bfloat16; NaN becomes a quiet NaN.
#[inline(always)]
unsafe fn round_to_bf16<const BF16: bool>(v: __m512) -> __m256i {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        if BF16 {
            return std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(v));
        }
        let bits = _mm512_castps_si512(v);
        let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
        let up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
        let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
        let quiet = _mm512_mask_or_epi32(up, nan, bits, _mm512_set1_epi32(0x0040_0000));
        _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(quiet))
    }
}

/// Rounds to integers between 0 and 255.
#[inline(always)]
unsafe fn round_to_u8(v: __m512) -> __m128i {
    // SAFETY: register arithmetic only; the caller has the features. The second operand of the
    // maximum is returned for NaN; beyond 2^31 the conversion would give the smallest integer.
    unsafe {
        let v = _mm512_min_ps(_mm512_max_ps(v, _mm512_setzero_ps()), _mm512_set1_ps(255.0));
        _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v))
    }
}

/// Bit `i` is set when `i < n`, for `n <= 16`.
#[inline(always)]
fn mask(n: usize) -> u16 {
    ((1u32 << n) - 1) as u16
}

// SAFETY: each function only wraps intrinsics of the named features.
#[allow(clippy::undocumented_unsafe_blocks)]
unsafe impl<const BF16: bool> Vector for Wide<BF16> {
    type V = __m512;
    type Ints = Self;
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn outlined<B: Body>(body: B) -> B::Out {
        unsafe { if const { BF16 && B::BF16 } { enter_bf16(body) } else { enter(body) } }
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512 {
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> __m512 {
        unsafe { _mm512_maskz_loadu_ps(mask(n), p) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m512) {
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn store_part(p: *mut f32, v: __m512, n: usize) {
        unsafe { _mm512_mask_storeu_ps(p, mask(n), v) }
    }
    #[inline(always)]
    unsafe fn load_bf16(p: *const bf16) -> __m512 {
        unsafe {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
    }
    #[inline(always)]
    unsafe fn load_bf16_part(p: *const bf16, n: usize) -> __m512 {
        unsafe {
            let wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask(n), p.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(p: *mut bf16, v: __m512) {
        unsafe { _mm256_storeu_si256(p.cast(), round_to_bf16::<BF16>(v)) }
    }
    #[inline(always)]
    unsafe fn store_bf16_part(p: *mut bf16, v: __m512, n: usize) {
        unsafe { _mm256_mask_storeu_epi16(p.cast(), mask(n), round_to_bf16::<BF16>(v)) }
    }
    #[inline(always)]
    unsafe fn splat_bf16(p: *const bf16) -> __m512 {
        unsafe {
            let both = _mm512_set1_epi16((*p).to_bits() as i16);
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(both))
        }
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const f16) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(p.cast())) }
    }
    #[inline(always)]
    unsafe fn load_f16_part(p: *const f16, n: usize) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask(n), p.cast())) }
    }
    #[inline(always)]
    unsafe fn store_f16(p: *mut f16, v: __m512) {
        unsafe { _mm256_storeu_si256(p.cast(), _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v)) }
    }
    #[inline(always)]
    unsafe fn store_f16_part(p: *mut f16, v: __m512, n: usize) {
        unsafe {
            let half = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v);
            _mm256_mask_storeu_epi16(p.cast(), mask(n), half);
        }
    }
    #[inline(always)]
    unsafe fn load_u8(p: *const u8) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(p.cast()))) }
    }
    #[inline(always)]
    unsafe fn load_u8_part(p: *const u8, n: usize) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask(n), p.cast()))) }
    }
    #[inline(always)]
    unsafe fn store_u8(p: *mut u8, v: __m512) {
        unsafe { _mm_storeu_si128(p.cast(), round_to_u8(v)) }
    }
    #[inline(always)]
    unsafe fn store_u8_part(p: *mut u8, v: __m512, n: usize) {
        unsafe { _mm_mask_storeu_epi8(p.cast(), mask(n), round_to_u8(v)) }
    }
    #[inline(always)]
    unsafe fn load_int(p: *const i32) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_loadu_si512(p.cast())) }
    }
    #[inline(always)]
    unsafe fn store_int(p: *mut i32, v: __m512) {
        unsafe { _mm512_storeu_si512(p.cast(), _mm512_cvtps_epi32(v)) }
    }
    #[inline(always)]
    unsafe fn prefetch(p: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn div(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn reciprocal(a: __m512) -> __m512 {
        // Two Newton steps from 14 bits: a division takes as long as ten other operations.
        unsafe {
            let one = _mm512_set1_ps(1.0);
            let y = _mm512_rcp14_ps(a);
            let y = _mm512_fmadd_ps(y, _mm512_fnmadd_ps(a, y, one), y);
            _mm512_fmadd_ps(y, _mm512_fnmadd_ps(a, y, one), y)
        }
    }
    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sqrt(a: __m512) -> __m512 {
        unsafe { _mm512_sqrt_ps(a) }
    }
    #[inline(always)]
    unsafe fn round(a: __m512) -> __m512 {
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    unsafe fn abs(a: __m512) -> __m512 {
        unsafe { _mm512_abs_ps(a) }
    }
    #[inline(always)]
    unsafe fn pow2(a: __m512) -> __m512 {
        unsafe {
            let biased = _mm512_add_epi32(_mm512_cvtps_epi32(a), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(biased))
        }
    }
    #[inline(always)]
    unsafe fn select_lt(a: __m512, b: __m512, t: __m512, f: __m512) -> __m512 {
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), f, t) }
    }
}
