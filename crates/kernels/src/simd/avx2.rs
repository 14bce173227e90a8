//! Eight lanes with AVX2 and FMA.

use super::{Body, Vector};
use crate::elem::{bf16, f16};
use std::arch::x86_64::*;

/// Eight float32 in a `ymm` register.
#[derive(Clone, Copy)]
pub struct Avx2;

/// Runs `body` compiled for this backend.
///
/// # Safety
/// The CPU must have AVX2, FMA and F16C; the body's own needs must hold.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline(never)]
pub(super) unsafe fn enter<B: Body>(body: B) -> B::Out {
    // SAFETY: the features are enabled here; the rest is the caller's.
    unsafe { body.run::<Avx2>() }
}

/// Lane `i` is all ones when `i < n`.
#[inline(always)]
unsafe fn mask(n: usize) -> __m256i {
    const WINDOW: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    // SAFETY: n <= 8, so the eight entries read lie inside the window.
    unsafe { _mm256_loadu_si256(WINDOW.as_ptr().add(8 - n).cast()) }
}

/// Rounds to bfloat16 in the low half of each 32-bit lane; NaN becomes a quiet NaN.
#[inline(always)]
unsafe fn round_to_bf16(v: __m256) -> __m128i {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        let bits = _mm256_castps_si256(v);
        let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        let up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
        let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(v, v));
        let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000));
        let high = _mm256_srli_epi32::<16>(_mm256_blendv_epi8(up, quiet, nan));
        let packed = _mm256_packus_epi32(high, high);
        _mm256_castsi256_si128(_mm256_permute4x64_epi64::<0b1000>(packed))
    }
}

/// Rounds to integers between 0 and 255, in the low eight bytes.
#[inline(always)]
unsafe fn round_to_u8(v: __m256) -> __m128i {
    // SAFETY: register arithmetic only; the caller has the features. The second operand of the
    // maximum is returned for NaN; beyond 2^31 the conversion would give the smallest integer.
    unsafe {
        let v = _mm256_min_ps(_mm256_max_ps(v, _mm256_setzero_ps()), _mm256_set1_ps(255.0));
        let wide = _mm256_cvtps_epi32(v);
        let half = _mm_packus_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256::<1>(wide));
        _mm_packus_epi16(half, half)
    }
}

// SAFETY: each function only wraps intrinsics of the named features.
#[allow(clippy::undocumented_unsafe_blocks)]
unsafe impl Vector for Avx2 {
    type V = __m256;
    type Ints = Avx2;
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn outlined<B: Body>(body: B) -> B::Out {
        unsafe { enter(body) }
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> __m256 {
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> __m256 {
        unsafe { _mm256_maskload_ps(p, mask(n)) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m256) {
        unsafe { _mm256_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn store_part(p: *mut f32, v: __m256, n: usize) {
        unsafe { _mm256_maskstore_ps(p, mask(n), v) }
    }
    #[inline(always)]
    unsafe fn prefetch(p: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
    #[inline(always)]
    unsafe fn load_bf16(p: *const bf16) -> __m256 {
        unsafe {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
        }
    }
    #[inline(always)]
    unsafe fn load_bf16_part(p: *const bf16, n: usize) -> __m256 {
        let mut lanes = [bf16::ZERO; 8];
        unsafe {
            std::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), n);
            Self::load_bf16(lanes.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(p: *mut bf16, v: __m256) {
        unsafe { _mm_storeu_si128(p.cast(), round_to_bf16(v)) }
    }
    #[inline(always)]
    unsafe fn store_bf16_part(p: *mut bf16, v: __m256, n: usize) {
        let mut lanes = [bf16::ZERO; 8];
        unsafe {
            Self::store_bf16(lanes.as_mut_ptr(), v);
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), p, n);
        }
    }
    #[inline(always)]
    unsafe fn splat_bf16(p: *const bf16) -> __m256 {
        unsafe {
            let both = _mm256_set1_epi16((*p).to_bits() as i16);
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(both))
        }
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const f16) -> __m256 {
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(p.cast())) }
    }
    #[inline(always)]
    unsafe fn load_f16_part(p: *const f16, n: usize) -> __m256 {
        let mut lanes = [f16::ZERO; 8];
        unsafe {
            std::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), n);
            Self::load_f16(lanes.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store_f16(p: *mut f16, v: __m256) {
        unsafe { _mm_storeu_si128(p.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v)) }
    }
    #[inline(always)]
    unsafe fn store_f16_part(p: *mut f16, v: __m256, n: usize) {
        let mut lanes = [f16::ZERO; 8];
        unsafe {
            Self::store_f16(lanes.as_mut_ptr(), v);
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), p, n);
        }
    }
    #[inline(always)]
    unsafe fn load_u8(p: *const u8) -> __m256 {
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(p.cast()))) }
    }
    #[inline(always)]
    unsafe fn load_u8_part(p: *const u8, n: usize) -> __m256 {
        let mut lanes = [0u8; 8];
        unsafe {
            std::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), n);
            Self::load_u8(lanes.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store_u8(p: *mut u8, v: __m256) {
        unsafe { _mm_storel_epi64(p.cast(), round_to_u8(v)) }
    }
    #[inline(always)]
    unsafe fn store_u8_part(p: *mut u8, v: __m256, n: usize) {
        let mut lanes = [0u8; 8];
        unsafe {
            Self::store_u8(lanes.as_mut_ptr(), v);
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), p, n);
        }
    }
    #[inline(always)]
    unsafe fn load_int(p: *const i32) -> __m256 {
        unsafe { _mm256_cvtepi32_ps(_mm256_loadu_si256(p.cast())) }
    }
    #[inline(always)]
    unsafe fn store_int(p: *mut i32, v: __m256) {
        unsafe { _mm256_storeu_si256(p.cast(), _mm256_cvtps_epi32(v)) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn div(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_div_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sqrt(a: __m256) -> __m256 {
        unsafe { _mm256_sqrt_ps(a) }
    }
    #[inline(always)]
    unsafe fn round(a: __m256) -> __m256 {
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    unsafe fn abs(a: __m256) -> __m256 {
        unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), a) }
    }
    #[inline(always)]
    unsafe fn pow2(a: __m256) -> __m256 {
        unsafe {
            let biased = _mm256_add_epi32(_mm256_cvtps_epi32(a), _mm256_set1_epi32(127));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
        }
    }
    #[inline(always)]
    unsafe fn select_lt(a: __m256, b: __m256, t: __m256, f: __m256) -> __m256 {
        unsafe { _mm256_blendv_ps(f, t, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b)) }
    }
}
