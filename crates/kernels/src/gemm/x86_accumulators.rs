//! Registers of integer accumulators of x86.

use super::accumulators::IntAccumulators;
use super::requantize::{Bytes, finish};
use super::{GemmArgs, Operand};
use crate::simd::{Avx2, Avx512, Sse41};
use std::arch::x86_64::*;

/// # Safety
/// As for [`finish`]; the CPU must have SSE4.1.
#[target_feature(enable = "sse4.1")]
unsafe fn finish_sse41(args: &GemmArgs, sums: *const i32, nr: usize) {
    // SAFETY: passed on from the caller.
    unsafe { finish::<Sse41>(args, sums, nr) }
}

/// # Safety
/// As for [`finish`]; the CPU must have AVX2, FMA and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn finish_avx2(args: &GemmArgs, sums: *const i32, nr: usize) {
    // SAFETY: passed on from the caller.
    unsafe { finish::<Avx2>(args, sums, nr) }
}

/// # Safety
/// As for [`finish`]; the CPU must have AVX-512 F, BW, DQ and VL.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
unsafe fn finish_avx512(args: &GemmArgs, sums: *const i32, nr: usize) {
    // SAFETY: passed on from the caller.
    unsafe { finish::<Avx512>(args, sums, nr) }
}

/// Four registers of groups from whole registers of channels at each pointer: bytes of four, or those of two widened.
macro_rules! interleave {
    ($load:ident, $vnni:expr, $p:ident, $zero:expr, [$low8:ident $high8:ident $low16:ident $high16:ident]) => {{
        let (a, b) = ($load($p[0]), $load($p[1]));
        let [low, high] = if $vnni {
            let (c, d) = ($load($p[2]), $load($p[3]));
            [[$low8(a, b), $low8(c, d)], [$high8(a, b), $high8(c, d)]]
        } else {
            let zero = $zero;
            [[$low8(a, zero), $low8(b, zero)], [$high8(a, zero), $high8(b, zero)]]
        };
        [$low16(low[0], low[1]), $high16(low[0], low[1]), $low16(high[0], high[1]), $high16(high[0], high[1])]
    }};
}

/// Four sums of pairs of 16 bits.
pub(crate) struct Xmm;
/// Eight sums; `VNNI` multiplies bytes, else pairs of 16 bits.
pub(crate) struct Ymm<const VNNI: bool>;
/// Sixteen sums, likewise.
pub(crate) struct Zmm<const VNNI: bool>;

const fn operand(vnni: bool) -> Operand {
    if vnni { Operand::U8 } else { Operand::I16 }
}

// SAFETY: each function only wraps intrinsics of the named features.
#[allow(clippy::undocumented_unsafe_blocks)]
unsafe impl IntAccumulators for Xmm {
    type R = __m128i;
    const LANES: usize = 4;
    const OPERAND: Operand = Operand::I16;
    #[inline(always)]
    unsafe fn splat(x: i32) -> __m128i {
        unsafe { _mm_set1_epi32(x) }
    }
    #[inline(always)]
    unsafe fn load(p: *const u8) -> __m128i {
        unsafe { _mm_loadu_si128(p.cast()) }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const u8, bytes: usize) -> __m128i {
        let mut all = [0u8; 16];
        unsafe {
            std::ptr::copy_nonoverlapping(p, all.as_mut_ptr(), bytes);
            Self::load(all.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store(p: *mut i32, v: __m128i) {
        unsafe { _mm_storeu_si128(p.cast(), v) }
    }
    #[inline(always)]
    unsafe fn add(a: __m128i, b: __m128i) -> __m128i {
        unsafe { _mm_add_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn dot(acc: __m128i, a: __m128i, b: __m128i) -> __m128i {
        unsafe { _mm_add_epi32(acc, _mm_madd_epi16(a, b)) }
    }
    #[inline(always)]
    unsafe fn interleave<const FULL: bool>(p: [*const u8; 4], n: usize) -> __m128i {
        let load = |p: *const u8| unsafe {
            if FULL {
                return _mm_cvtsi32_si128(p.cast::<i32>().read_unaligned());
            }
            let mut all = [0u8; 4];
            std::ptr::copy_nonoverlapping(p, all.as_mut_ptr(), n);
            _mm_cvtsi32_si128(i32::from_le_bytes(all))
        };
        unsafe { _mm_cvtepu8_epi16(_mm_unpacklo_epi8(load(p[0]), load(p[1]))) }
    }
    #[inline(always)]
    unsafe fn interleave_wide<const FULL: bool>(p: [*const u8; 4], n: usize) -> [__m128i; 4] {
        let load = |p: *const u8| unsafe { if FULL { Self::load(p) } else { Self::load_part(p, n) } };
        unsafe {
            interleave!(load, false, p, _mm_setzero_si128(), [
                _mm_unpacklo_epi8 _mm_unpackhi_epi8 _mm_unpacklo_epi16 _mm_unpackhi_epi16
            ])
        }
    }
    #[inline(always)]
    unsafe fn store_wide(p: *mut i32, v: [__m128i; 4]) {
        for (i, v) in v.into_iter().enumerate() {
            unsafe { Self::store(p.add(4 * i), v) }
        }
    }
    type F = __m128;
    #[inline(always)]
    unsafe fn factors(p: *const f32) -> __m128 {
        unsafe { _mm_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn finish(args: &GemmArgs, sums: *const i32, nr: usize) {
        unsafe { finish_sse41(args, sums, nr) }
    }
}

// SAFETY: each function only wraps intrinsics of the named features.
#[allow(clippy::undocumented_unsafe_blocks)]
unsafe impl<const VNNI: bool> IntAccumulators for Ymm<VNNI> {
    type R = __m256i;
    const LANES: usize = 8;
    const OPERAND: Operand = operand(VNNI);
    #[inline(always)]
    unsafe fn splat(x: i32) -> __m256i {
        unsafe { _mm256_set1_epi32(x) }
    }
    #[inline(always)]
    unsafe fn load(p: *const u8) -> __m256i {
        unsafe { _mm256_loadu_si256(p.cast()) }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const u8, bytes: usize) -> __m256i {
        let mut all = [0u8; 32];
        unsafe {
            std::ptr::copy_nonoverlapping(p, all.as_mut_ptr(), bytes);
            Self::load(all.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store(p: *mut i32, v: __m256i) {
        unsafe { _mm256_storeu_si256(p.cast(), v) }
    }
    #[inline(always)]
    unsafe fn add(a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_add_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn dot(acc: __m256i, a: __m256i, b: __m256i) -> __m256i {
        unsafe {
            if VNNI {
                return _mm256_dpbusd_avx_epi32(acc, a, b);
            }
            _mm256_add_epi32(acc, _mm256_madd_epi16(a, b))
        }
    }
    #[inline(always)]
    unsafe fn interleave<const FULL: bool>(p: [*const u8; 4], n: usize) -> __m256i {
        let load = |p: *const u8| unsafe {
            if FULL {
                return _mm_loadl_epi64(p.cast());
            }
            let mut all = [0u8; 16];
            std::ptr::copy_nonoverlapping(p, all.as_mut_ptr(), n);
            _mm_loadu_si128(all.as_ptr().cast())
        };
        unsafe {
            let low = _mm_unpacklo_epi8(load(p[0]), load(p[1]));
            if !VNNI {
                return _mm256_cvtepu8_epi16(low);
            }
            let high = _mm_unpacklo_epi8(load(p[2]), load(p[3]));
            _mm256_set_m128i(_mm_unpackhi_epi16(low, high), _mm_unpacklo_epi16(low, high))
        }
    }
    #[inline(always)]
    unsafe fn interleave_wide<const FULL: bool>(p: [*const u8; 4], n: usize) -> [__m256i; 4] {
        let load = |p: *const u8| unsafe { if FULL { Self::load(p) } else { Self::load_part(p, n) } };
        unsafe {
            interleave!(load, VNNI, p, _mm256_setzero_si256(), [
                _mm256_unpacklo_epi8 _mm256_unpackhi_epi8 _mm256_unpacklo_epi16 _mm256_unpackhi_epi16
            ])
        }
    }
    #[inline(always)]
    unsafe fn store_wide(p: *mut i32, v: [__m256i; 4]) {
        unsafe {
            for (i, [a, b]) in [[v[0], v[1]], [v[2], v[3]]].into_iter().enumerate() {
                Self::store(p.add(8 * i), _mm256_permute2x128_si256::<0x20>(a, b));
                Self::store(p.add(16 + 8 * i), _mm256_permute2x128_si256::<0x31>(a, b));
            }
        }
    }
    type F = __m256;
    #[inline(always)]
    unsafe fn factors(p: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn finish(args: &GemmArgs, sums: *const i32, nr: usize) {
        unsafe { finish_avx2(args, sums, nr) }
    }
}

// SAFETY: each function only wraps intrinsics of the named features.
#[allow(clippy::undocumented_unsafe_blocks)]
unsafe impl<const VNNI: bool> IntAccumulators for Zmm<VNNI> {
    type R = __m512i;
    const LANES: usize = 16;
    const OPERAND: Operand = operand(VNNI);
    #[inline(always)]
    unsafe fn splat(x: i32) -> __m512i {
        unsafe { _mm512_set1_epi32(x) }
    }
    #[inline(always)]
    unsafe fn load(p: *const u8) -> __m512i {
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const u8, bytes: usize) -> __m512i {
        let mask = if bytes >= 64 { u64::MAX } else { (1 << bytes) - 1 };
        unsafe { _mm512_maskz_loadu_epi8(mask, p.cast()) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut i32, v: __m512i) {
        unsafe { _mm512_storeu_si512(p.cast(), v) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_add_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn dot(acc: __m512i, a: __m512i, b: __m512i) -> __m512i {
        unsafe {
            if VNNI {
                return _mm512_dpbusd_epi32(acc, a, b);
            }
            _mm512_add_epi32(acc, _mm512_madd_epi16(a, b))
        }
    }
    #[inline(always)]
    unsafe fn interleave<const FULL: bool>(p: [*const u8; 4], n: usize) -> __m512i {
        let load = |p: *const u8| unsafe {
            if FULL {
                return _mm_loadu_si128(p.cast());
            }
            _mm_maskz_loadu_epi8(((1u32 << n) - 1) as u16, p.cast())
        };
        unsafe {
            if !VNNI {
                let (a, b) = (load(p[0]), load(p[1]));
                let pairs = _mm256_set_m128i(_mm_unpackhi_epi8(a, b), _mm_unpacklo_epi8(a, b));
                return _mm512_cvtepu8_epi16(pairs);
            }
            let four = _mm512_castsi128_si512(load(p[0]));
            let four = _mm512_inserti32x4::<1>(four, load(p[1]));
            let four = _mm512_inserti32x4::<2>(four, load(p[2]));
            let four = _mm512_inserti32x4::<3>(four, load(p[3]));
            // Four channels of all places into each quarter, then places of each channel side by side.
            let quarters = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            let turned = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            _mm512_shuffle_epi8(_mm512_permutexvar_epi32(quarters, four), _mm512_broadcast_i32x4(turned))
        }
    }
    #[inline(always)]
    unsafe fn interleave_wide<const FULL: bool>(p: [*const u8; 4], n: usize) -> [__m512i; 4] {
        let load = |p: *const u8| unsafe { if FULL { Self::load(p) } else { Self::load_part(p, n) } };
        unsafe {
            interleave!(load, VNNI, p, _mm512_setzero_si512(), [
                _mm512_unpacklo_epi8 _mm512_unpackhi_epi8 _mm512_unpacklo_epi16 _mm512_unpackhi_epi16
            ])
        }
    }
    #[inline(always)]
    unsafe fn store_wide(p: *mut i32, [a, b, c, d]: [__m512i; 4]) {
        unsafe {
            // Quarters 0 and 1 of two registers, then 2 and 3.
            let (ab, cd) = (_mm512_shuffle_i32x4::<0x44>(a, b), _mm512_shuffle_i32x4::<0x44>(c, d));
            let (ab_high, cd_high) = (_mm512_shuffle_i32x4::<0xee>(a, b), _mm512_shuffle_i32x4::<0xee>(c, d));
            Self::store(p, _mm512_shuffle_i32x4::<0x88>(ab, cd));
            Self::store(p.add(16), _mm512_shuffle_i32x4::<0xdd>(ab, cd));
            Self::store(p.add(32), _mm512_shuffle_i32x4::<0x88>(ab_high, cd_high));
            Self::store(p.add(48), _mm512_shuffle_i32x4::<0xdd>(ab_high, cd_high));
        }
    }
    const BYTES: bool = true;
    type F = __m512;
    #[inline(always)]
    unsafe fn factors(p: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store_bytes<const NV: usize, const WIDE: bool>(
        (to, n): (*mut u8, usize),
        sums: [__m512i; NV],
        [scale, bias]: [[__m512; NV]; 2],
        Bytes { bounds: [low, high], added }: Bytes,
        residual: *const u8,
    ) {
        debug_assert!(!WIDE || added.is_none());
        unsafe {
            let (low, high) = (_mm512_set1_ps(low), _mm512_set1_ps(high));
            let mut whole = [_mm512_setzero_si512(); 4];
            for v in 0..NV {
                let mut y = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[v]), scale[v], bias[v]);
                if let Some([factor, summand]) = added {
                    let from = residual.add(16 * v).cast();
                    let r = if n == 16 * NV {
                        _mm_loadu_si128(from)
                    } else {
                        _mm_maskz_loadu_epi8((((1u64 << n) - 1) >> (16 * v)) as u16, from.cast())
                    };
                    let r = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(r));
                    y = _mm512_add_ps(y, _mm512_fmadd_ps(r, _mm512_set1_ps(factor), _mm512_set1_ps(summand)));
                }
                // NaN, which is the second operand, becomes the smallest integer, which packing makes 0.
                whole[v] = _mm512_cvtps_epi32(_mm512_max_ps(low, _mm512_min_ps(high, y)));
            }
            let halves = [_mm512_packs_epi32(whole[0], whole[1]), _mm512_packs_epi32(whole[2], whole[3])];
            // Four columns of each register in every quarter.
            let mut bytes = _mm512_packus_epi16(halves[0], halves[1]);
            if !WIDE {
                let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
                bytes = _mm512_permutexvar_epi32(order, bytes);
            }
            match (NV, n) {
                (1, 16) => _mm_storeu_si128(to.cast(), _mm512_castsi512_si128(bytes)),
                (2, 32) => _mm256_storeu_si256(to.cast(), _mm512_castsi512_si256(bytes)),
                (3, 48) => {
                    _mm256_storeu_si256(to.cast(), _mm512_castsi512_si256(bytes));
                    _mm_storeu_si128(to.add(32).cast(), _mm512_extracti32x4_epi32::<2>(bytes));
                }
                (4, 64) => _mm512_storeu_si512(to.cast(), bytes),
                _ => _mm512_mask_storeu_epi8(to.cast(), (1 << n) - 1, bytes),
            }
        }
    }
    #[inline(always)]
    unsafe fn finish(args: &GemmArgs, sums: *const i32, nr: usize) {
        unsafe { finish_avx512(args, sums, nr) }
    }
}
