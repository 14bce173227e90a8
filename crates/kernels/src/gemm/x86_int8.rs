//! The register tiles of integer products.

use super::requantize::{MOST, finish, raw};
use super::x86_float::{Tile, rows};
use super::{GemmArgs, Operand};
use crate::simd::{Avx2, Avx512};
use std::arch::x86_64::*;
use std::marker::PhantomData;

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
    /// Interleaves the values of `n <= LANES` channels at each `p` into groups, one a lane; all lanes when `FULL`. As many
    /// pointers count as a group holds values.
    unsafe fn interleave<const FULL: bool>(p: [*const u8; 4], n: usize) -> Self::R;
    /// [`finish`] compiled for the tier.
    unsafe fn finish(args: &GemmArgs, sums: *const i32, nr: usize);
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

/// Eight sums; `VNNI` multiplies bytes, else pairs of 16 bits.
pub(crate) struct Ymm<const VNNI: bool>;
/// Sixteen sums, likewise.
pub(crate) struct Zmm<const VNNI: bool>;

const fn operand(vnni: bool) -> Operand {
    if vnni { Operand::U8 } else { Operand::I16 }
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
    unsafe fn finish(args: &GemmArgs, sums: *const i32, nr: usize) {
        unsafe { finish_avx512(args, sums, nr) }
    }
}

/// Where the sums of column `first` on begin, or null.
fn start(args: &GemmArgs) -> *const i32 {
    args.epilogue.requantize.map_or(std::ptr::null(), |c| c.start)
}

/// The last `rest` bytes of a run of `bytes`, which begin at `p`, as a group that zeros fill.
/// Safety: the run must be readable; nothing else is read.
#[inline(always)]
unsafe fn end_of_run(p: *const u8, rest: usize, bytes: usize) -> u32 {
    // SAFETY: passed on from the caller.
    unsafe {
        if bytes >= 4 {
            // One load of the run's last 32 bits: copying so few bytes is a call.
            let last = p.wrapping_sub(4 - rest).cast::<u32>().read_unaligned();
            return last >> (8 * (4 - rest));
        }
        let mut group = [0u8; 4];
        for (i, byte) in group.iter_mut().enumerate().take(rest) {
            *byte = *p.wrapping_add(i);
        }
        u32::from_le_bytes(group)
    }
}

/// `NV` registers of columns.
struct Columns<W, const NV: usize>(PhantomData<W>);

impl<W: IntAccumulators, const NV: usize> Tile for Columns<W, NV> {
    /// The end of a run that does not fill a group is filled with zeros of A; those of B are zero too.
    #[inline(always)]
    unsafe fn run<const M: usize>(args: &GemmArgs) {
        let (size, per) = (W::OPERAND.size(), W::OPERAND.per_group());
        let row = args.a_row * size as isize;
        let begin = start(args);
        // SAFETY: the contract of `MicroKernel::run`.
        unsafe {
            let mut acc = [[W::splat(0); NV]; M];
            if !begin.is_null() {
                for v in 0..NV {
                    let b = W::load(begin.add(v * W::LANES).cast());
                    for row in &mut acc {
                        row[v] = b;
                    }
                }
            }
            for tap in args.taps {
                let mut a = args.a.wrapping_offset(tap.a * size as isize);
                let mut b = args.b.add(tap.b).cast::<u8>();
                for _ in 0..args.run / per {
                    let mut bv = [W::splat(0); NV];
                    for (v, r) in bv.iter_mut().enumerate() {
                        *r = W::load(b.add(4 * v * W::LANES));
                    }
                    for (m, sums) in acc.iter_mut().enumerate() {
                        let from = a.wrapping_offset(m as isize * row);
                        let av = W::splat(from.cast::<i32>().read_unaligned());
                        for v in 0..NV {
                            sums[v] = W::dot(sums[v], av, bv[v]);
                        }
                    }
                    a = a.wrapping_add(4);
                    b = b.wrapping_add(4 * NV * W::LANES);
                }
                let rest = args.run % per * size;
                if rest > 0 {
                    // IntAccumulators first: a loop over sums that is too long to be unrolled would have them in
                    // memory everywhere.
                    let mut groups = [0u32; M];
                    for (m, group) in groups.iter_mut().enumerate() {
                        *group = end_of_run(a.wrapping_offset(m as isize * row), rest, args.run * size);
                    }
                    for (m, sums) in acc.iter_mut().enumerate() {
                        let av = W::splat(groups[m] as i32);
                        for v in 0..NV {
                            sums[v] = W::dot(sums[v], av, W::load(b.add(4 * v * W::LANES)));
                        }
                    }
                }
            }
            if let Some(residual) = raw(args) {
                debug_assert_eq!(args.n, NV * W::LANES, "raw sums of part of a panel");
                for m in 0..M {
                    let c = args.c.cast::<i32>().wrapping_offset(m as isize * args.c_row);
                    let more = residual.wrapping_offset(m as isize * args.epilogue.residual_row);
                    for v in 0..NV {
                        let mut sum = acc[m][v];
                        if !residual.is_null() {
                            sum = W::add(sum, W::load(more.wrapping_add(v * W::LANES).cast()));
                        }
                        W::store(c.wrapping_add(v * W::LANES), sum);
                    }
                }
                return;
            }
            let mut sums = [const { std::mem::MaybeUninit::<i32>::uninit() }; MOST + 32];
            let to = sums.as_mut_ptr().cast::<i32>();
            for m in 0..M {
                for v in 0..NV {
                    W::store(to.add((m * NV + v) * W::LANES), acc[m][v]);
                }
            }
            W::finish(args, to, NV * W::LANES);
        }
    }
}

/// One column, the reduction in the lanes.
struct Thin<W>(PhantomData<W>);

impl<W: IntAccumulators> Tile for Thin<W> {
    #[inline(always)]
    unsafe fn run<const M: usize>(args: &GemmArgs) {
        let size = W::OPERAND.size();
        let row = args.a_row * size as isize;
        let (bytes, step) = (args.run * size, 4 * W::LANES);
        let begin = start(args);
        // SAFETY: the contract of `MicroKernel::run`; partial loads touch only what the run holds.
        unsafe {
            let mut acc = [W::splat(0); M];
            for tap in args.taps {
                let a = args.a.wrapping_offset(tap.a * size as isize);
                let b = args.b.add(tap.b).cast::<u8>();
                let mut k = 0;
                while k + step <= bytes {
                    let bv = W::load(b.add(k));
                    for (m, sum) in acc.iter_mut().enumerate() {
                        let av = W::load(a.wrapping_offset(m as isize * row).wrapping_add(k));
                        *sum = W::dot(*sum, av, bv);
                    }
                    k += step;
                }
                if k < bytes {
                    let bv = W::load_part(b.add(k), bytes - k);
                    for (m, sum) in acc.iter_mut().enumerate() {
                        let p = a.wrapping_offset(m as isize * row).wrapping_add(k);
                        *sum = W::dot(*sum, W::load_part(p, bytes - k), bv);
                    }
                }
            }
            let first = if begin.is_null() { 0 } else { *begin };
            let mut sums = [0i32; 32];
            for (m, v) in acc.into_iter().enumerate() {
                let mut lanes = [0i32; 16];
                W::store(lanes.as_mut_ptr(), v);
                sums[m] = lanes.iter().fold(first, |s, x| s.wrapping_add(*x));
            }
            W::finish(args, sums.as_ptr(), 1);
        }
    }
}

/// # Safety
/// See [`super::MicroKernel::run`].
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn avx2_12x8(args: &GemmArgs) {
    // SAFETY: passed on from the caller.
    unsafe { rows::<Columns<Ymm<false>, 1>, 12>(args) }
}

/// # Safety
/// See [`super::MicroKernel::run`].
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn avx2_6x16(args: &GemmArgs) {
    // SAFETY: passed on from the caller.
    unsafe { rows::<Columns<Ymm<false>, 2>, 6>(args) }
}

/// # Safety
/// See [`super::MicroKernel::run`].
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn avx2_3x24(args: &GemmArgs) {
    // SAFETY: passed on from the caller.
    unsafe { rows::<Columns<Ymm<false>, 3>, 3>(args) }
}

/// # Safety
/// See [`super::MicroKernel::run`].
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn avx2_4x1(args: &GemmArgs) {
    // SAFETY: passed on from the caller.
    unsafe { rows::<Thin<Ymm<false>>, 4>(args) }
}

/// # Safety
/// See [`super::MicroKernel::run`].
#[target_feature(enable = "avx2,fma,avxvnni")]
pub(super) unsafe fn avx2vnni_12x8(args: &GemmArgs) {
    // SAFETY: passed on from the caller.
    unsafe { rows::<Columns<Ymm<true>, 1>, 12>(args) }
}

/// # Safety
/// See [`super::MicroKernel::run`].
#[target_feature(enable = "avx2,fma,avxvnni")]
pub(super) unsafe fn avx2vnni_6x16(args: &GemmArgs) {
    // SAFETY: passed on from the caller.
    unsafe { rows::<Columns<Ymm<true>, 2>, 6>(args) }
}

/// # Safety
/// See [`super::MicroKernel::run`].
#[target_feature(enable = "avx2,fma,avxvnni")]
pub(super) unsafe fn avx2vnni_3x24(args: &GemmArgs) {
    // SAFETY: passed on from the caller.
    unsafe { rows::<Columns<Ymm<true>, 3>, 3>(args) }
}

/// # Safety
/// See [`super::MicroKernel::run`].
#[target_feature(enable = "avx2,fma,avxvnni")]
pub(super) unsafe fn avx2vnni_4x1(args: &GemmArgs) {
    // SAFETY: passed on from the caller.
    unsafe { rows::<Thin<Ymm<true>>, 4>(args) }
}

/// # Safety
/// See [`super::MicroKernel::run`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) unsafe fn avx512_24x16(args: &GemmArgs) {
    // SAFETY: passed on from the caller.
    unsafe { rows::<Columns<Zmm<false>, 1>, 24>(args) }
}

/// # Safety
/// See [`super::MicroKernel::run`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) unsafe fn avx512_12x32(args: &GemmArgs) {
    // SAFETY: passed on from the caller.
    unsafe { rows::<Columns<Zmm<false>, 2>, 12>(args) }
}

/// # Safety
/// See [`super::MicroKernel::run`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) unsafe fn avx512_8x48(args: &GemmArgs) {
    // SAFETY: passed on from the caller.
    unsafe { rows::<Columns<Zmm<false>, 3>, 8>(args) }
}

/// # Safety
/// See [`super::MicroKernel::run`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) unsafe fn avx512_8x1(args: &GemmArgs) {
    // SAFETY: passed on from the caller.
    unsafe { rows::<Thin<Zmm<false>>, 8>(args) }
}

/// # Safety
/// See [`super::MicroKernel::run`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
pub(super) unsafe fn avx512vnni_24x16(args: &GemmArgs) {
    // SAFETY: passed on from the caller.
    unsafe { rows::<Columns<Zmm<true>, 1>, 24>(args) }
}

/// # Safety
/// See [`super::MicroKernel::run`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
pub(super) unsafe fn avx512vnni_14x32(args: &GemmArgs) {
    // SAFETY: passed on from the caller.
    unsafe { rows::<Columns<Zmm<true>, 2>, 14>(args) }
}

/// # Safety
/// See [`super::MicroKernel::run`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
pub(super) unsafe fn avx512vnni_9x48(args: &GemmArgs) {
    // SAFETY: passed on from the caller.
    unsafe { rows::<Columns<Zmm<true>, 3>, 9>(args) }
}

/// # Safety
/// See [`super::MicroKernel::run`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
pub(super) unsafe fn avx512vnni_8x1(args: &GemmArgs) {
    // SAFETY: passed on from the caller.
    unsafe { rows::<Thin<Zmm<true>>, 8>(args) }
}
