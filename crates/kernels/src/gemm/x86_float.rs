//! The micro-kernels of float32 on SSE4.1, AVX2 and AVX-512, and of bfloat16 on AVX-512.

use super::GemmArgs;
use super::float::{Columns, Thin, init_accumulators, store_thin, store_tile};
use super::tile::{Tile, entries, rows};
use crate::elem::{Elem, bf16};
use crate::simd::{Avx2, Avx512, Avx512Bf16, Sse41, Vector};
use std::arch::x86_64::*;

/// `NV` registers of columns of bfloat16 pairs.
struct Pairs<const NV: usize>;

impl<const NV: usize> Tile for Pairs<NV> {
    #[inline(always)]
    unsafe fn run<const M: usize>(args: &GemmArgs) {
        // SAFETY: passed on from the caller.
        unsafe { tile_pairs::<M, NV>(args) }
    }
}

/// One column of bfloat16 pairs.
struct ThinPairs;

impl Tile for ThinPairs {
    #[inline(always)]
    unsafe fn run<const M: usize>(args: &GemmArgs) {
        // SAFETY: passed on from the caller.
        unsafe { thin_pairs::<M>(args) }
    }
}

/// How far ahead of its use a panel of pairs is asked for, in groups.
const PREFETCH_DISTANCE: usize = 512;

/// `a` and `b` as pairs of bfloat16: `acc + a0·b0 + a1·b1` per lane.
/// Safety: the CPU must have AVX-512 BF16.
#[inline(always)]
unsafe fn dot2(acc: __m512, a: __m512i, b: __m512i) -> __m512 {
    // SAFETY: the types differ in name only; the caller has the feature.
    unsafe {
        let a = std::mem::transmute::<__m512i, __m512bh>(a);
        _mm512_dpbf16_ps(acc, a, std::mem::transmute::<__m512i, __m512bh>(b))
    }
}

/// The tile over pairs of bfloat16; an odd end of a run is paired with a zero of B and of A.
///
/// # Safety
/// See [`super::MicroKernel::run`].
#[inline(always)]
unsafe fn tile_pairs<const M: usize, const NV: usize>(args: &GemmArgs) {
    // SAFETY: passed on from the caller.
    unsafe {
        let mut acc = init_accumulators::<Avx512Bf16, M, NV>(args);
        for tap in args.taps {
            let mut a = args.a.cast::<u16>().wrapping_offset(tap.a);
            let mut b = args.b.add(tap.b);
            for _ in 0..args.run / 2 {
                let mut bv = [_mm512_setzero_si512(); NV];
                for (v, r) in bv.iter_mut().enumerate() {
                    *r = _mm512_loadu_si512(b.add(v * 16).cast());
                    Avx512Bf16::prefetch(b.wrapping_add(v * 16 + PREFETCH_DISTANCE).cast());
                }
                for (m, row) in acc.iter_mut().enumerate() {
                    let pair = a.wrapping_offset(m as isize * args.a_row).cast::<i32>().read_unaligned();
                    let av = _mm512_set1_epi32(pair);
                    for v in 0..NV {
                        row[v] = dot2(row[v], av, bv[v]);
                    }
                }
                a = a.wrapping_add(2);
                b = b.wrapping_add(NV * 16);
            }
            if args.run % 2 == 1 {
                for (m, row) in acc.iter_mut().enumerate() {
                    let av = _mm512_set1_epi32(*a.wrapping_offset(m as isize * args.a_row) as i32);
                    for v in 0..NV {
                        row[v] = dot2(row[v], av, _mm512_loadu_si512(b.add(v * 16).cast()));
                    }
                }
            }
        }
        match args.epilogue.elem {
            Elem::F32 => store_tile::<Avx512Bf16, f32, M, NV>(args, acc),
            // Of float sums nothing else is asked for.
            Elem::Bf16 | Elem::F16 | Elem::U8 => store_tile::<Avx512Bf16, bf16, M, NV>(args, acc),
        }
    }
}

/// `M` rows of one column of pairs, the reduction in the lanes.
///
/// # Safety
/// See [`super::MicroKernel::run`].
#[inline(always)]
unsafe fn thin_pairs<const M: usize>(args: &GemmArgs) {
    // SAFETY: passed on from the caller; masked loads touch only what the run holds.
    unsafe {
        let mut acc = [_mm512_setzero_ps(); M];
        for tap in args.taps {
            let a = args.a.cast::<i16>().wrapping_offset(tap.a);
            let b = args.b.add(tap.b).cast::<i16>();
            for k in (0..args.run).step_by(32) {
                let n = (args.run - k).min(32);
                let mask = (u32::MAX) >> (32 - n);
                let bv = _mm512_maskz_loadu_epi16(mask, b.add(k));
                for (m, v) in acc.iter_mut().enumerate() {
                    let p = a.wrapping_offset(m as isize * args.a_row).wrapping_add(k);
                    *v = dot2(*v, _mm512_maskz_loadu_epi16(mask, p), bv);
                }
            }
        }
        store_thin::<Avx512Bf16, M>(args, acc);
    }
}

entries! {
    "sse4.1" {
        sse41_12x4: 12 rows of Columns<Sse41, 1>;
        sse41_6x8: 6 rows of Columns<Sse41, 2>;
        sse41_4x12: 4 rows of Columns<Sse41, 3>;
        sse41_4x1: 4 rows of Thin<Sse41>;
    }
    "avx2,fma" {
        avx2_12x8: 12 rows of Columns<Avx2, 1>;
        avx2_6x16: 6 rows of Columns<Avx2, 2>;
        avx2_4x24: 4 rows of Columns<Avx2, 3>;
        avx2_4x1: 4 rows of Thin<Avx2>;
    }
    "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma" {
        avx512_24x16: 24 rows of Columns<Avx512, 1>;
        avx512_14x32: 14 rows of Columns<Avx512, 2>;
        avx512_9x48: 9 rows of Columns<Avx512, 3>;
        avx512_8x1: 8 rows of Thin<Avx512>;
    }
    "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma" {
        pairs_24x16: 24 rows of Pairs<1>;
        pairs_14x32: 14 rows of Pairs<2>;
        pairs_9x48: 9 rows of Pairs<3>;
        pairs_8x1: 8 rows of ThinPairs;
    }
}
