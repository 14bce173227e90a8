//! The register tiles of AVX2 and AVX-512: one instantiation of [`tile`] per row count, so that
//! every accumulator stays in a register.

use super::{DotArgs, thin, tile};
use crate::simd::{Avx2, Avx512, Vector};

/// Calls the instantiation for `args.m` rows.
#[inline(always)]
unsafe fn rows<V: Vector, const NV: usize, const MR: usize>(args: &DotArgs) {
    macro_rules! pick {
        ($($m:literal)*) => {
            match args.m {
                // Row counts beyond MR are never asked for; the guard keeps them from being compiled.
                // SAFETY: passed on from the caller.
                $($m if $m <= MR => unsafe { tile::<V, $m, NV>(args) },)*
                _ => debug_assert!(false, "{} rows in a tile of {MR}", args.m),
            }
        };
    }
    pick!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24)
}

/// # Safety
/// See [`super::DotKernel::run`].
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn avx2_12x8(args: &DotArgs) {
    // SAFETY: passed on from the caller.
    unsafe { rows::<Avx2, 1, 12>(args) }
}

/// # Safety
/// See [`super::DotKernel::run`].
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn avx2_6x16(args: &DotArgs) {
    // SAFETY: passed on from the caller.
    unsafe { rows::<Avx2, 2, 6>(args) }
}

/// # Safety
/// See [`super::DotKernel::run`].
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn avx2_4x24(args: &DotArgs) {
    // SAFETY: passed on from the caller.
    unsafe { rows::<Avx2, 3, 4>(args) }
}

/// # Safety
/// See [`super::DotKernel::run`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) unsafe fn avx512_24x16(args: &DotArgs) {
    // SAFETY: passed on from the caller.
    unsafe { rows::<Avx512, 1, 24>(args) }
}

/// # Safety
/// See [`super::DotKernel::run`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) unsafe fn avx512_14x32(args: &DotArgs) {
    // SAFETY: passed on from the caller.
    unsafe { rows::<Avx512, 2, 14>(args) }
}

/// # Safety
/// See [`super::DotKernel::run`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) unsafe fn avx512_9x48(args: &DotArgs) {
    // SAFETY: passed on from the caller.
    unsafe { rows::<Avx512, 3, 9>(args) }
}

/// # Safety
/// See [`super::DotKernel::run`].
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn avx2_4x1(args: &DotArgs) {
    // SAFETY: passed on from the caller.
    unsafe {
        match args.m {
            4 => thin::<Avx2, 4>(args),
            3 => thin::<Avx2, 3>(args),
            2 => thin::<Avx2, 2>(args),
            _ => thin::<Avx2, 1>(args),
        }
    }
}

/// # Safety
/// See [`super::DotKernel::run`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) unsafe fn avx512_8x1(args: &DotArgs) {
    // SAFETY: passed on from the caller.
    unsafe {
        match args.m {
            8 => thin::<Avx512, 8>(args),
            7 => thin::<Avx512, 7>(args),
            6 => thin::<Avx512, 6>(args),
            5 => thin::<Avx512, 5>(args),
            4 => thin::<Avx512, 4>(args),
            3 => thin::<Avx512, 3>(args),
            2 => thin::<Avx512, 2>(args),
            _ => thin::<Avx512, 1>(args),
        }
    }
}
