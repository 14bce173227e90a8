//! Four lanes with SSE4.1, for CPUs without AVX2.

use super::{Body, Vector};
use crate::elem::{bf16, f16};
use std::arch::x86_64::*;

/// Four float32 in an `xmm` register. There is no fused multiply-add: unless `FUSED`, where it is computed
/// through float64, [`Vector::fma`] rounds the product too.
#[derive(Clone, Copy)]
pub struct Xmm<const FUSED: bool>;

/// The backend of float32.
pub type Sse41 = Xmm<false>;

/// Runs `body` compiled for this backend.
///
/// # Safety
/// The CPU must have SSE4.1; the body's own needs must hold.
#[target_feature(enable = "sse4.1")]
#[inline(never)]
pub(super) unsafe fn enter<B: Body>(body: B) -> B::Out {
    // SAFETY: the features are enabled here; the rest is the caller's.
    unsafe { if const { B::FUSED } { body.run::<Xmm<true>>() } else { body.run::<Xmm<false>>() } }
}

/// Two lanes of `a·b + c` in float64, whose product is exact.
#[inline(always)]
unsafe fn wide(a: __m128, b: __m128, c: __m128) -> __m128d {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe { _mm_add_pd(_mm_mul_pd(_mm_cvtps_pd(a), _mm_cvtps_pd(b)), _mm_cvtps_pd(c)) }
}

/// Lanes of float64 whose rounding to float32 may be another than that of what they were rounded from: the middle
/// between two float32, and what is below the normal ones.
#[inline(always)]
unsafe fn undecided(s: __m128d) -> __m128i {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        let lost = _mm_and_si128(_mm_castpd_si128(s), _mm_set1_epi64x(0x1fff_ffff));
        let middle = _mm_cmpeq_epi64(lost, _mm_set1_epi64x(0x1000_0000));
        let small = _mm_cmplt_pd(_mm_andnot_pd(_mm_set1_pd(-0.0), s), _mm_set1_pd(f32::MIN_POSITIVE as f64));
        let small = _mm_and_pd(small, _mm_cmpneq_pd(s, _mm_setzero_pd()));
        _mm_or_si128(middle, _mm_castpd_si128(small))
    }
}

/// `a·b + c`, rounded once.
#[inline(always)]
unsafe fn fused(a: __m128, b: __m128, c: __m128) -> __m128 {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        let low = wide(a, b, c);
        let high = wide(_mm_movehl_ps(a, a), _mm_movehl_ps(b, b), _mm_movehl_ps(c, c));
        let open = _mm_or_si128(undecided(low), undecided(high));
        if _mm_testz_si128(open, open) == 0 {
            return one_by_one(a, b, c);
        }
        _mm_movelh_ps(_mm_cvtpd_ps(low), _mm_cvtpd_ps(high))
    }
}

/// [`fused`] where float64 does not decide.
#[cold]
#[inline(never)]
#[target_feature(enable = "sse4.1")]
fn one_by_one(a: __m128, b: __m128, c: __m128) -> __m128 {
    let lanes = |v: __m128| {
        // SAFETY: the register has the size of the array.
        unsafe { std::mem::transmute::<__m128, [f32; 4]>(v) }
    };
    let (a, b, c) = (lanes(a), lanes(b), lanes(c));
    let each: [f32; 4] = std::array::from_fn(|i| super::scalar::fused(a[i], b[i], c[i]));
    // SAFETY: the array is as large as the register.
    unsafe { _mm_loadu_ps(each.as_ptr()) }
}

/// The first `n <= 4` values of 32 bits from `p`, the other lanes zero.
#[inline(always)]
unsafe fn load_some(p: *const f32, n: usize) -> __m128 {
    // SAFETY: valid by the trait's contract.
    unsafe {
        match n {
            0 => _mm_setzero_ps(),
            1 => _mm_load_ss(p),
            2 => _mm_castsi128_ps(_mm_loadl_epi64(p.cast())),
            3 => _mm_movelh_ps(_mm_castsi128_ps(_mm_loadl_epi64(p.cast())), _mm_load_ss(p.add(2))),
            _ => _mm_loadu_ps(p),
        }
    }
}

/// The low half of a register: four values of 16 bits.
#[inline(always)]
unsafe fn load_shorts(p: *const u16, n: usize) -> __m128i {
    // SAFETY: valid by the trait's contract.
    unsafe {
        if n >= 4 {
            return _mm_loadl_epi64(p.cast());
        }
        let mut lanes = [0u16; 4];
        std::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), n);
        _mm_loadl_epi64(lanes.as_ptr().cast())
    }
}

/// The first `n` of four values of 16 bits in the low half of `v` to `p`.
#[inline(always)]
unsafe fn store_shorts(p: *mut u16, v: __m128i, n: usize) {
    // SAFETY: valid by the trait's contract.
    unsafe {
        if n >= 4 {
            return _mm_storel_epi64(p.cast(), v);
        }
        let mut lanes = [0u16; 4];
        _mm_storel_epi64(lanes.as_mut_ptr().cast(), v);
        std::ptr::copy_nonoverlapping(lanes.as_ptr(), p, n);
    }
}

/// Widens bfloat16.
#[inline(always)]
unsafe fn from_bf16(v: __m128i) -> __m128 {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe { _mm_castsi128_ps(_mm_unpacklo_epi16(_mm_setzero_si128(), v)) }
}

/// Rounds to bfloat16 in the low half; NaN becomes a quiet NaN.
#[inline(always)]
unsafe fn round_to_bf16(v: __m128) -> __m128i {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        let bits = _mm_castps_si128(v);
        let odd = _mm_and_si128(_mm_srli_epi32::<16>(bits), _mm_set1_epi32(1));
        let up = _mm_add_epi32(bits, _mm_add_epi32(odd, _mm_set1_epi32(0x7fff)));
        let nan = _mm_castps_si128(_mm_cmpunord_ps(v, v));
        let quiet = _mm_or_si128(bits, _mm_set1_epi32(0x0040_0000));
        let high = _mm_srli_epi32::<16>(_mm_blendv_epi8(up, quiet, nan));
        _mm_packus_epi32(high, high)
    }
}

/// Widens binary16, without arithmetic that would flush denormals.
#[inline(always)]
unsafe fn from_f16(v: __m128i) -> __m128 {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        let wide = _mm_cvtepu16_epi32(v);
        let sign = _mm_slli_epi32::<16>(_mm_and_si128(wide, _mm_set1_epi32(0x8000)));
        let magnitude = _mm_and_si128(wide, _mm_set1_epi32(0x7fff));
        let normal = _mm_add_epi32(_mm_slli_epi32::<13>(magnitude), _mm_set1_epi32(112 << 23));
        // Infinity and NaN, which becomes quiet.
        let special = _mm_or_si128(_mm_slli_epi32::<13>(magnitude), _mm_set1_epi32(0x7f80_0000));
        let nan = _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x7c00));
        let special = _mm_or_si128(special, _mm_and_si128(nan, _mm_set1_epi32(0x0040_0000)));
        let tiny = _mm_mul_ps(_mm_cvtepi32_ps(magnitude), _mm_set1_ps(1.0 / 16_777_216.0));
        let large = _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x7bff));
        let small = _mm_cmplt_epi32(magnitude, _mm_set1_epi32(0x0400));
        let y = _mm_blendv_epi8(normal, special, large);
        _mm_castsi128_ps(_mm_or_si128(_mm_blendv_epi8(y, _mm_castps_si128(tiny), small), sign))
    }
}

/// Rounds to binary16 in the low half, to nearest even.
#[inline(always)]
unsafe fn round_to_f16(v: __m128) -> __m128i {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        let bits = _mm_castps_si128(v);
        let magnitude = _mm_and_si128(bits, _mm_set1_epi32(0x7fff_ffff));
        let sign = _mm_srli_epi32::<16>(_mm_andnot_si128(_mm_set1_epi32(0x7fff_ffff), bits));
        let odd = _mm_and_si128(_mm_srli_epi32::<13>(magnitude), _mm_set1_epi32(1));
        let up = _mm_add_epi32(_mm_add_epi32(magnitude, odd), _mm_set1_epi32(0xfff - (112 << 23)));
        let normal = _mm_srli_epi32::<13>(up);
        // Adding 1/2 leaves the rounded units of a denormal in the lowest bits.
        let half = _mm_set1_ps(0.5);
        let units = _mm_castps_si128(_mm_add_ps(_mm_castsi128_ps(magnitude), half));
        let tiny = _mm_sub_epi32(units, _mm_castps_si128(half));
        let nan = _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x7f80_0000));
        let payload = _mm_and_si128(_mm_srli_epi32::<13>(magnitude), _mm_set1_epi32(0x3ff));
        let payload = _mm_or_si128(payload, _mm_set1_epi32(0x200));
        let special = _mm_or_si128(_mm_set1_epi32(0x7c00), _mm_and_si128(nan, payload));
        let large = _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x477f_ffff));
        let small = _mm_cmplt_epi32(magnitude, _mm_set1_epi32(0x3880_0000));
        let y = _mm_blendv_epi8(_mm_blendv_epi8(normal, special, large), tiny, small);
        let y = _mm_or_si128(y, sign);
        _mm_packus_epi32(y, y)
    }
}

/// Rounds to integers between 0 and 255, in the low four bytes.
#[inline(always)]
unsafe fn round_to_u8(v: __m128) -> __m128i {
    // SAFETY: register arithmetic only; the caller has the features. The second operand of the
    // maximum is returned for NaN; beyond 2^31 the conversion would give the smallest integer.
    unsafe {
        let v = _mm_min_ps(_mm_max_ps(v, _mm_setzero_ps()), _mm_set1_ps(255.0));
        let wide = _mm_cvtps_epi32(v);
        let half = _mm_packus_epi32(wide, wide);
        _mm_packus_epi16(half, half)
    }
}

// SAFETY: each function only wraps intrinsics of the named features.
#[allow(clippy::undocumented_unsafe_blocks)]
unsafe impl<const FUSED: bool> Vector for Xmm<FUSED> {
    type V = __m128;
    type Ints = Sse41;
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn outlined<B: Body>(body: B) -> B::Out {
        unsafe { enter(body) }
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> __m128 {
        unsafe { _mm_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m128 {
        unsafe { _mm_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> __m128 {
        unsafe { load_some(p, n) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m128) {
        unsafe { _mm_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn store_part(p: *mut f32, v: __m128, n: usize) {
        unsafe {
            match n {
                0 => {}
                1 => _mm_store_ss(p, v),
                2 => _mm_storel_epi64(p.cast(), _mm_castps_si128(v)),
                3 => {
                    _mm_storel_epi64(p.cast(), _mm_castps_si128(v));
                    _mm_store_ss(p.add(2), _mm_movehl_ps(v, v));
                }
                _ => _mm_storeu_ps(p, v),
            }
        }
    }
    #[inline(always)]
    unsafe fn prefetch(p: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
    #[inline(always)]
    unsafe fn load_bf16(p: *const bf16) -> __m128 {
        unsafe { from_bf16(_mm_loadl_epi64(p.cast())) }
    }
    #[inline(always)]
    unsafe fn load_bf16_part(p: *const bf16, n: usize) -> __m128 {
        unsafe { from_bf16(load_shorts(p.cast(), n)) }
    }
    #[inline(always)]
    unsafe fn store_bf16(p: *mut bf16, v: __m128) {
        unsafe { _mm_storel_epi64(p.cast(), round_to_bf16(v)) }
    }
    #[inline(always)]
    unsafe fn store_bf16_part(p: *mut bf16, v: __m128, n: usize) {
        unsafe { store_shorts(p.cast(), round_to_bf16(v), n) }
    }
    #[inline(always)]
    unsafe fn splat_bf16(p: *const bf16) -> __m128 {
        unsafe { _mm_castsi128_ps(_mm_set1_epi32(((*p).to_bits() as i32) << 16)) }
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const f16) -> __m128 {
        unsafe { from_f16(_mm_loadl_epi64(p.cast())) }
    }
    #[inline(always)]
    unsafe fn load_f16_part(p: *const f16, n: usize) -> __m128 {
        unsafe { from_f16(load_shorts(p.cast(), n)) }
    }
    #[inline(always)]
    unsafe fn store_f16(p: *mut f16, v: __m128) {
        unsafe { _mm_storel_epi64(p.cast(), round_to_f16(v)) }
    }
    #[inline(always)]
    unsafe fn store_f16_part(p: *mut f16, v: __m128, n: usize) {
        unsafe { store_shorts(p.cast(), round_to_f16(v), n) }
    }
    #[inline(always)]
    unsafe fn load_u8(p: *const u8) -> __m128 {
        unsafe {
            let four = _mm_cvtsi32_si128(p.cast::<i32>().read_unaligned());
            _mm_cvtepi32_ps(_mm_cvtepu8_epi32(four))
        }
    }
    #[inline(always)]
    unsafe fn load_u8_part(p: *const u8, n: usize) -> __m128 {
        let mut lanes = [0u8; 4];
        unsafe {
            std::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), n);
            Self::load_u8(lanes.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store_u8(p: *mut u8, v: __m128) {
        unsafe { p.cast::<i32>().write_unaligned(_mm_cvtsi128_si32(round_to_u8(v))) }
    }
    #[inline(always)]
    unsafe fn store_u8_part(p: *mut u8, v: __m128, n: usize) {
        let lanes = unsafe { _mm_cvtsi128_si32(round_to_u8(v)) }.to_le_bytes();
        unsafe { std::ptr::copy_nonoverlapping(lanes.as_ptr(), p, n) }
    }
    #[inline(always)]
    unsafe fn load_int(p: *const i32) -> __m128 {
        unsafe { _mm_cvtepi32_ps(_mm_loadu_si128(p.cast())) }
    }
    #[inline(always)]
    unsafe fn store_int(p: *mut i32, v: __m128) {
        unsafe { _mm_storeu_si128(p.cast(), _mm_cvtps_epi32(v)) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m128, b: __m128, c: __m128) -> __m128 {
        unsafe { if FUSED { fused(a, b, c) } else { _mm_add_ps(_mm_mul_ps(a, b), c) } }
    }
    #[inline(always)]
    unsafe fn add(a: __m128, b: __m128) -> __m128 {
        unsafe { _mm_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m128, b: __m128) -> __m128 {
        unsafe { _mm_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m128, b: __m128) -> __m128 {
        unsafe { _mm_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn div(a: __m128, b: __m128) -> __m128 {
        unsafe { _mm_div_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: __m128, b: __m128) -> __m128 {
        unsafe { _mm_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: __m128, b: __m128) -> __m128 {
        unsafe { _mm_min_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sqrt(a: __m128) -> __m128 {
        unsafe { _mm_sqrt_ps(a) }
    }
    #[inline(always)]
    unsafe fn round(a: __m128) -> __m128 {
        unsafe { _mm_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    unsafe fn abs(a: __m128) -> __m128 {
        unsafe { _mm_andnot_ps(_mm_set1_ps(-0.0), a) }
    }
    #[inline(always)]
    unsafe fn pow2(a: __m128) -> __m128 {
        unsafe {
            let biased = _mm_add_epi32(_mm_cvtps_epi32(a), _mm_set1_epi32(127));
            _mm_castsi128_ps(_mm_slli_epi32::<23>(biased))
        }
    }
    #[inline(always)]
    unsafe fn select_lt(a: __m128, b: __m128, t: __m128, f: __m128) -> __m128 {
        unsafe { _mm_blendv_ps(f, t, _mm_cmplt_ps(a, b)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of every magnitude, and such as make ties.
    fn value(bits: &mut u64) -> f32 {
        *bits ^= *bits << 13;
        *bits ^= *bits >> 7;
        *bits ^= *bits << 17;
        match *bits % 4 {
            0 => f32::from_bits((*bits >> 32) as u32),
            1 => ((*bits >> 40) as i32 - (1 << 23)) as f32 / 4096.0,
            2 => f32::from_bits((*bits >> 32) as u32 & 0xfff0_0000),
            _ => (*bits >> 32) as i8 as f32,
        }
    }

    #[test]
    fn the_fused_product_is_rounded_once() {
        if !crate::Features::SSE41.supported() {
            return;
        }
        let mut seed = 0x9e37_79b9_7f4a_7c15;
        for _ in 0..2_000_000 {
            let [a, b, c]: [[f32; 4]; 3] = std::array::from_fn(|_| std::array::from_fn(|_| value(&mut seed)));
            let mut got = [0f32; 4];
            // SAFETY: the CPU has the features and the arrays are registers.
            unsafe {
                let v = Xmm::<true>::fma(
                    _mm_loadu_ps(a.as_ptr()),
                    _mm_loadu_ps(b.as_ptr()),
                    _mm_loadu_ps(c.as_ptr()),
                );
                _mm_storeu_ps(got.as_mut_ptr(), v);
            }
            for i in 0..4 {
                let want = a[i].mul_add(b[i], c[i]);
                let same = got[i].to_bits() == want.to_bits() || (got[i].is_nan() && want.is_nan());
                assert!(same, "{}·{} + {}: {} instead of {want}", a[i], b[i], c[i], got[i]);
            }
        }
    }

    #[test]
    fn binary16_is_converted_as_by_its_reference() {
        if !crate::Features::SSE41.supported() {
            return;
        }
        for bits in 0..=u16::MAX {
            let h = f16::from_bits(bits);
            let (mut wide, mut back) = ([0f32; 4], [f16::ZERO; 4]);
            // SAFETY: the CPU has the features and the arrays are registers.
            unsafe {
                let v = Sse41::load_f16([h; 4].as_ptr());
                Sse41::store(wide.as_mut_ptr(), v);
                Sse41::store_f16(back.as_mut_ptr(), v);
            }
            let same = wide[0].to_bits() == h.to_f32().to_bits() || (h.is_nan() && wide[0].is_nan());
            assert!(same, "{bits:x}: {} instead of {h}", wide[0]);
            assert!(back[0].to_bits() == bits || (h.is_nan() && back[0].is_nan()), "{bits:x}");
        }
        let mut seed = 0x2545_f491_4f6c_dd1d;
        for _ in 0..1_000_000 {
            let x = value(&mut seed);
            let mut got = [f16::ZERO; 4];
            // SAFETY: as above.
            unsafe { Sse41::store_f16(got.as_mut_ptr(), Sse41::splat(x)) };
            let want = f16::from_f32(x);
            assert!(got[0].to_bits() == want.to_bits() || (x.is_nan() && got[0].is_nan()), "{x}: {}", got[0]);
        }
    }
}
