//! Registers of integers, for transforms of quantized values.

#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Lanes of 16 and of 32 bits. Arithmetic wraps.
///
/// # Safety
/// Every function may be called only where the CPU has the instance's features; loads and stores
/// need valid pointers (no alignment).
#[allow(clippy::missing_safety_doc)]
pub unsafe trait Ints: Copy {
    /// A register of lanes of 16 bits.
    type Short: Copy;
    /// Its lanes.
    const SHORTS: usize;
    /// A register of lanes of 32 bits.
    type Long: Copy;
    /// Its lanes.
    const LONGS: usize;

    /// All lanes `x`.
    unsafe fn splat(x: i16) -> Self::Short;
    /// `n <= SHORTS` bytes from `p`, widened, the other lanes any.
    unsafe fn load_u8(p: *const u8, n: usize) -> Self::Short;
    /// Sum.
    unsafe fn add(a: Self::Short, b: Self::Short) -> Self::Short;
    /// Difference.
    unsafe fn sub(a: Self::Short, b: Self::Short) -> Self::Short;
    /// `(a·b + 2^14) >> 15`.
    unsafe fn scaled(a: Self::Short, b: Self::Short) -> Self::Short;
    /// Between -128 and 127.
    unsafe fn clamp_byte(a: Self::Short) -> Self::Short;
    /// The first `n <= SHORTS` lanes to `p`.
    unsafe fn store(p: *mut i16, a: Self::Short, n: usize);
    /// The first `n <= SHORTS` lanes, limited to -128 and 127, plus 128, to `p`.
    unsafe fn store_bytes(p: *mut u8, a: Self::Short, n: usize);
    /// `LONGS` values from `p`.
    unsafe fn load_long(p: *const i32) -> Self::Long;
    /// Sum.
    unsafe fn add_long(a: Self::Long, b: Self::Long) -> Self::Long;
    /// Difference.
    unsafe fn sub_long(a: Self::Long, b: Self::Long) -> Self::Long;
    /// A quarter of a multiple of 4.
    unsafe fn quarter(a: Self::Long) -> Self::Long;
    /// `LONGS` values to `p`.
    unsafe fn store_long(p: *mut i32, a: Self::Long);
}

// SAFETY: portable code; pointer validity is the caller's.
unsafe impl Ints for super::Scalar {
    type Short = i16;
    const SHORTS: usize = 1;
    type Long = i32;
    const LONGS: usize = 1;

    #[inline(always)]
    unsafe fn splat(x: i16) -> i16 {
        x
    }
    #[inline(always)]
    unsafe fn load_u8(p: *const u8, n: usize) -> i16 {
        // SAFETY: valid by the trait's contract.
        if n == 0 { 0 } else { unsafe { *p as i16 } }
    }
    #[inline(always)]
    unsafe fn add(a: i16, b: i16) -> i16 {
        a.wrapping_add(b)
    }
    #[inline(always)]
    unsafe fn sub(a: i16, b: i16) -> i16 {
        a.wrapping_sub(b)
    }
    #[inline(always)]
    unsafe fn scaled(a: i16, b: i16) -> i16 {
        ((a as i32 * b as i32 + (1 << 14)) >> 15) as i16
    }
    #[inline(always)]
    unsafe fn clamp_byte(a: i16) -> i16 {
        a.clamp(-128, 127)
    }
    #[inline(always)]
    unsafe fn store(p: *mut i16, a: i16, n: usize) {
        if n > 0 {
            // SAFETY: valid by the trait's contract.
            unsafe { *p = a }
        }
    }
    #[inline(always)]
    unsafe fn store_bytes(p: *mut u8, a: i16, n: usize) {
        if n > 0 {
            // SAFETY: valid by the trait's contract.
            unsafe { *p = (a.clamp(-128, 127) + 128) as u8 }
        }
    }
    #[inline(always)]
    unsafe fn load_long(p: *const i32) -> i32 {
        // SAFETY: valid by the trait's contract.
        unsafe { *p }
    }
    #[inline(always)]
    unsafe fn add_long(a: i32, b: i32) -> i32 {
        a.wrapping_add(b)
    }
    #[inline(always)]
    unsafe fn sub_long(a: i32, b: i32) -> i32 {
        a.wrapping_sub(b)
    }
    #[inline(always)]
    unsafe fn quarter(a: i32) -> i32 {
        a >> 2
    }
    #[inline(always)]
    unsafe fn store_long(p: *mut i32, a: i32) {
        // SAFETY: valid by the trait's contract.
        unsafe { *p = a }
    }
}

// SAFETY: each function only wraps intrinsics of the named features.
#[cfg(target_arch = "x86_64")]
#[allow(clippy::undocumented_unsafe_blocks)]
unsafe impl Ints for super::Sse41 {
    type Short = __m128i;
    const SHORTS: usize = 8;
    type Long = __m128i;
    const LONGS: usize = 4;

    #[inline(always)]
    unsafe fn splat(x: i16) -> __m128i {
        unsafe { _mm_set1_epi16(x) }
    }
    #[inline(always)]
    unsafe fn load_u8(p: *const u8, n: usize) -> __m128i {
        unsafe {
            if n >= 8 {
                return _mm_cvtepu8_epi16(_mm_loadl_epi64(p.cast()));
            }
            let mut all = [0u8; 8];
            std::ptr::copy_nonoverlapping(p, all.as_mut_ptr(), n);
            _mm_cvtepu8_epi16(_mm_loadl_epi64(all.as_ptr().cast()))
        }
    }
    #[inline(always)]
    unsafe fn add(a: __m128i, b: __m128i) -> __m128i {
        unsafe { _mm_add_epi16(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m128i, b: __m128i) -> __m128i {
        unsafe { _mm_sub_epi16(a, b) }
    }
    #[inline(always)]
    unsafe fn scaled(a: __m128i, b: __m128i) -> __m128i {
        unsafe { _mm_mulhrs_epi16(a, b) }
    }
    #[inline(always)]
    unsafe fn clamp_byte(a: __m128i) -> __m128i {
        unsafe { _mm_min_epi16(_mm_max_epi16(a, _mm_set1_epi16(-128)), _mm_set1_epi16(127)) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut i16, a: __m128i, n: usize) {
        unsafe {
            if n >= 8 {
                return _mm_storeu_si128(p.cast(), a);
            }
            let mut all = [0i16; 8];
            _mm_storeu_si128(all.as_mut_ptr().cast(), a);
            std::ptr::copy_nonoverlapping(all.as_ptr(), p, n);
        }
    }
    #[inline(always)]
    unsafe fn store_bytes(p: *mut u8, a: __m128i, n: usize) {
        unsafe {
            let bytes = _mm_xor_si128(_mm_packs_epi16(a, a), _mm_set1_epi8(-128));
            if n >= 8 {
                return _mm_storel_epi64(p.cast(), bytes);
            }
            let mut all = [0u8; 8];
            _mm_storel_epi64(all.as_mut_ptr().cast(), bytes);
            std::ptr::copy_nonoverlapping(all.as_ptr(), p, n);
        }
    }
    #[inline(always)]
    unsafe fn load_long(p: *const i32) -> __m128i {
        unsafe { _mm_loadu_si128(p.cast()) }
    }
    #[inline(always)]
    unsafe fn add_long(a: __m128i, b: __m128i) -> __m128i {
        unsafe { _mm_add_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn sub_long(a: __m128i, b: __m128i) -> __m128i {
        unsafe { _mm_sub_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn quarter(a: __m128i) -> __m128i {
        unsafe { _mm_srai_epi32::<2>(a) }
    }
    #[inline(always)]
    unsafe fn store_long(p: *mut i32, a: __m128i) {
        unsafe { _mm_storeu_si128(p.cast(), a) }
    }
}

// SAFETY: each function only wraps intrinsics of the named features.
#[cfg(target_arch = "x86_64")]
#[allow(clippy::undocumented_unsafe_blocks)]
unsafe impl Ints for super::Avx2 {
    type Short = __m256i;
    const SHORTS: usize = 16;
    type Long = __m256i;
    const LONGS: usize = 8;

    #[inline(always)]
    unsafe fn splat(x: i16) -> __m256i {
        unsafe { _mm256_set1_epi16(x) }
    }
    #[inline(always)]
    unsafe fn load_u8(p: *const u8, n: usize) -> __m256i {
        unsafe {
            if n >= 16 {
                return _mm256_cvtepu8_epi16(_mm_loadu_si128(p.cast()));
            }
            let mut all = [0u8; 16];
            std::ptr::copy_nonoverlapping(p, all.as_mut_ptr(), n);
            _mm256_cvtepu8_epi16(_mm_loadu_si128(all.as_ptr().cast()))
        }
    }
    #[inline(always)]
    unsafe fn add(a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_add_epi16(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_sub_epi16(a, b) }
    }
    #[inline(always)]
    unsafe fn scaled(a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_mulhrs_epi16(a, b) }
    }
    #[inline(always)]
    unsafe fn clamp_byte(a: __m256i) -> __m256i {
        unsafe { _mm256_min_epi16(_mm256_max_epi16(a, _mm256_set1_epi16(-128)), _mm256_set1_epi16(127)) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut i16, a: __m256i, n: usize) {
        unsafe {
            if n >= 16 {
                return _mm256_storeu_si256(p.cast(), a);
            }
            let mut all = [0i16; 16];
            _mm256_storeu_si256(all.as_mut_ptr().cast(), a);
            std::ptr::copy_nonoverlapping(all.as_ptr(), p, n);
        }
    }
    #[inline(always)]
    unsafe fn store_bytes(p: *mut u8, a: __m256i, n: usize) {
        unsafe {
            let (low, high) = (_mm256_castsi256_si128(a), _mm256_extracti128_si256::<1>(a));
            let bytes = _mm_xor_si128(_mm_packs_epi16(low, high), _mm_set1_epi8(-128));
            if n >= 16 {
                return _mm_storeu_si128(p.cast(), bytes);
            }
            let mut all = [0u8; 16];
            _mm_storeu_si128(all.as_mut_ptr().cast(), bytes);
            std::ptr::copy_nonoverlapping(all.as_ptr(), p, n);
        }
    }
    #[inline(always)]
    unsafe fn load_long(p: *const i32) -> __m256i {
        unsafe { _mm256_loadu_si256(p.cast()) }
    }
    #[inline(always)]
    unsafe fn add_long(a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_add_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn sub_long(a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_sub_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn quarter(a: __m256i) -> __m256i {
        unsafe { _mm256_srai_epi32::<2>(a) }
    }
    #[inline(always)]
    unsafe fn store_long(p: *mut i32, a: __m256i) {
        unsafe { _mm256_storeu_si256(p.cast(), a) }
    }
}

// SAFETY: each function only wraps intrinsics of the named features.
#[cfg(target_arch = "x86_64")]
#[allow(clippy::undocumented_unsafe_blocks)]
unsafe impl<const BF16: bool> Ints for super::avx512::Wide<BF16> {
    type Short = __m512i;
    const SHORTS: usize = 32;
    type Long = __m512i;
    const LONGS: usize = 16;

    #[inline(always)]
    unsafe fn splat(x: i16) -> __m512i {
        unsafe { _mm512_set1_epi16(x) }
    }
    #[inline(always)]
    unsafe fn load_u8(p: *const u8, n: usize) -> __m512i {
        unsafe { _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(first(n), p.cast())) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_add_epi16(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_sub_epi16(a, b) }
    }
    #[inline(always)]
    unsafe fn scaled(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_mulhrs_epi16(a, b) }
    }
    #[inline(always)]
    unsafe fn clamp_byte(a: __m512i) -> __m512i {
        unsafe { _mm512_min_epi16(_mm512_max_epi16(a, _mm512_set1_epi16(-128)), _mm512_set1_epi16(127)) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut i16, a: __m512i, n: usize) {
        unsafe { _mm512_mask_storeu_epi16(p, first(n), a) }
    }
    #[inline(always)]
    unsafe fn store_bytes(p: *mut u8, a: __m512i, n: usize) {
        unsafe {
            let bytes = _mm256_xor_si256(_mm512_cvtsepi16_epi8(a), _mm256_set1_epi8(-128));
            _mm256_mask_storeu_epi8(p.cast(), first(n), bytes)
        }
    }
    #[inline(always)]
    unsafe fn load_long(p: *const i32) -> __m512i {
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    unsafe fn add_long(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_add_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn sub_long(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_sub_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn quarter(a: __m512i) -> __m512i {
        unsafe { _mm512_srai_epi32::<2>(a) }
    }
    #[inline(always)]
    unsafe fn store_long(p: *mut i32, a: __m512i) {
        unsafe { _mm512_storeu_si512(p.cast(), a) }
    }
}

// SAFETY: each function only wraps intrinsics of the named features.
#[cfg(target_arch = "aarch64")]
#[allow(clippy::undocumented_unsafe_blocks)]
unsafe impl Ints for super::Neon {
    type Short = int16x8_t;
    const SHORTS: usize = 8;
    type Long = int32x4_t;
    const LONGS: usize = 4;

    #[inline(always)]
    unsafe fn splat(x: i16) -> int16x8_t {
        unsafe { vdupq_n_s16(x) }
    }
    #[inline(always)]
    unsafe fn load_u8(p: *const u8, n: usize) -> int16x8_t {
        unsafe {
            if n >= 8 {
                return vreinterpretq_s16_u16(vmovl_u8(vld1_u8(p)));
            }
            let mut all = [0u8; 8];
            std::ptr::copy_nonoverlapping(p, all.as_mut_ptr(), n);
            vreinterpretq_s16_u16(vmovl_u8(vld1_u8(all.as_ptr())))
        }
    }
    #[inline(always)]
    unsafe fn add(a: int16x8_t, b: int16x8_t) -> int16x8_t {
        unsafe { vaddq_s16(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: int16x8_t, b: int16x8_t) -> int16x8_t {
        unsafe { vsubq_s16(a, b) }
    }
    #[inline(always)]
    unsafe fn scaled(a: int16x8_t, b: int16x8_t) -> int16x8_t {
        unsafe { vqrdmulhq_s16(a, b) }
    }
    #[inline(always)]
    unsafe fn clamp_byte(a: int16x8_t) -> int16x8_t {
        unsafe { vminq_s16(vmaxq_s16(a, vdupq_n_s16(-128)), vdupq_n_s16(127)) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut i16, a: int16x8_t, n: usize) {
        unsafe {
            if n >= 8 {
                return vst1q_s16(p, a);
            }
            let mut all = [0i16; 8];
            vst1q_s16(all.as_mut_ptr(), a);
            std::ptr::copy_nonoverlapping(all.as_ptr(), p, n);
        }
    }
    #[inline(always)]
    unsafe fn store_bytes(p: *mut u8, a: int16x8_t, n: usize) {
        unsafe {
            let bytes = veor_u8(vreinterpret_u8_s8(vqmovn_s16(a)), vdup_n_u8(128));
            if n >= 8 {
                return vst1_u8(p, bytes);
            }
            let mut all = [0u8; 8];
            vst1_u8(all.as_mut_ptr(), bytes);
            std::ptr::copy_nonoverlapping(all.as_ptr(), p, n);
        }
    }
    #[inline(always)]
    unsafe fn load_long(p: *const i32) -> int32x4_t {
        unsafe { vld1q_s32(p) }
    }
    #[inline(always)]
    unsafe fn add_long(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        unsafe { vaddq_s32(a, b) }
    }
    #[inline(always)]
    unsafe fn sub_long(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        unsafe { vsubq_s32(a, b) }
    }
    #[inline(always)]
    unsafe fn quarter(a: int32x4_t) -> int32x4_t {
        unsafe { vshrq_n_s32::<2>(a) }
    }
    #[inline(always)]
    unsafe fn store_long(p: *mut i32, a: int32x4_t) {
        unsafe { vst1q_s32(p, a) }
    }
}

/// The mask of the first `n` of 32 lanes.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn first(n: usize) -> __mmask32 {
    if n >= 32 { u32::MAX } else { (1 << n) - 1 }
}
