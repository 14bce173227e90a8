//! The micro-kernels of the matrix unit (Intel AMX): INT8 and bfloat16.
//!
//! Panels are packed as for the register kernels of the same width: a tile register holds up to 16
//! groups of 16 columns. The sums of a call take up to four registers, two rows of two or four of one,
//! and are finished from memory by the epilogues of the other kernels.

use super::accumulators::IntAccumulators;
use super::int8::factors;
use super::requantize::{bytes, raw};
use super::steps::{Division, GROUPS, SIDE, vectors_are_faster};
use super::x86_accumulators::Zmm;
use super::x86_amx_unit::{Amx, Bf16, Int8, Kind, Products, ROWS, Unit};
use super::{GemmArgs, Tap, float, x86_int8};
use crate::elem::{Elem, bf16};
use crate::simd::{Avx512Bf16, Vector};
use std::mem::MaybeUninit;

/// Bytes of a full row of a tile register.
const ROW: usize = 64;
/// Sums of a call, and what epilogues may read beyond.
const SUMS: usize = 1024 + 32;
/// Taps whose ends are copied at once.
const ENDS: usize = 4;

#[repr(align(64))]
struct Aligned<T>(T);

/// What sums begin with where nothing is said.
static ZEROS: Aligned<[i32; 2 * SIDE]> = Aligned([0; 2 * SIDE]);

/// Adds the products of all taps to the sums that begin as `begin` says, `nr` columns of which go to `to`.
///
/// # Safety
/// See [`super::MicroKernel::run`]; `begin` must hold `nr` values or be null, `to` have room for
/// `16·nr` sums for every 16 rows; the unit must be available and its registers held.
#[inline(always)]
unsafe fn sums<U: Unit, K: Kind>(args: &GemmArgs, nr: usize, begin: *const i32, to: *mut i32) {
    let size = K::SIZE;
    let division = Division::of(args.run, 4 / size);
    let groups = args.run.div_ceil(4 / size);
    let mut products = Products {
        start: if begin.is_null() { ZEROS.0.as_ptr() } else { begin },
        start_row: 0,
        taps: args.taps.as_ptr(),
        end: args.taps.as_ptr().wrapping_add(args.taps.len()),
        a: args.a,
        b: args.b.cast(),
        steps: division.steps,
        a_step: 4 * division.groups,
        b_step: 4 * division.groups * nr,
        a_row: args.a_row * size as isize,
        to,
        width: 4 * nr,
    };
    // SAFETY: passed on from the caller; ends are copies.
    unsafe {
        U::lay_out(args.m, nr / SIDE, division.groups);
        let whole = !division.end || division.steps > 0;
        if whole || args.taps.is_empty() {
            U::multiply::<K>(args.m, nr / SIDE, &products);
            (products.start, products.start_row) = (to, 4 * nr);
        }
        if !division.end {
            return;
        }
        let mut copies = Aligned([const { MaybeUninit::<[u8; ROW]>::uninit() }; ENDS * 4 * ROWS]);
        let before = groups - division.groups;
        let covered = division.steps * GROUPS - before;
        let bytes = (4 * covered, args.run * size - 4 * before);
        (products.steps, products.a, products.a_row) = (1, copies.0.as_ptr().cast(), ROW as isize);
        for taps in args.taps.chunks(ENDS) {
            let mut ends = [Tap { a: 0, b: 0 }; ENDS];
            for (i, (end, tap)) in ends.iter_mut().zip(taps).enumerate() {
                let from = args.a.wrapping_offset(tap.a * size as isize).wrapping_add(4 * before);
                for m in 0..args.m {
                    let row = from.wrapping_offset(m as isize * args.a_row * size as isize);
                    U::copy(row, bytes, &mut copies.0[i * args.m + m]);
                }
                *end = Tap { a: (i * args.m * ROW / size) as isize, b: tap.b + before * nr };
            }
            (products.taps, products.end) = (ends.as_ptr(), ends.as_ptr().wrapping_add(taps.len()));
            U::multiply::<K>(args.m, nr / SIDE, &products);
            (products.start, products.start_row) = (to, 4 * nr);
        }
    }
}

/// The INT8 tile by the vector kernel of the same panels, as many rows at once as that holds.
///
/// # Safety
/// See [`super::MicroKernel::run`].
#[inline(always)]
unsafe fn by_vectors(args: &GemmArgs, nr: usize) {
    let most = if nr == 32 { 14 } else { 24 };
    let (size_c, size_r) = match &args.epilogue.requantize {
        Some(q) if !q.scale.is_null() => (args.epilogue.elem.size(), q.residual.0.size()),
        // Raw sums.
        Some(_) | None => (4, 4),
    };
    for first in (0..args.m).step_by(most) {
        let rows = |step: isize, size: usize| first as isize * step * size as isize;
        let mut part = *args;
        part.m = (args.m - first).min(most);
        part.a = args.a.wrapping_offset(rows(args.a_row, 1));
        part.c = args.c.wrapping_offset(rows(args.c_row, size_c));
        if !args.epilogue.residual.is_null() {
            let residual = args.epilogue.residual;
            part.epilogue.residual = residual.wrapping_offset(rows(args.epilogue.residual_row, size_r));
        }
        // SAFETY: rows of the caller's tile.
        unsafe {
            if nr == 32 { x86_int8::avx512vnni_14x32(&part) } else { x86_int8::avx512vnni_24x16(&part) }
        }
    }
}

/// An INT8 tile of `NR` columns.
///
/// # Safety
/// See [`super::MicroKernel::run`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
unsafe fn int8<const NR: usize>(args: &GemmArgs) {
    let begin = args.epilogue.requantize.map_or(std::ptr::null(), |c| c.start);
    let mut space = Aligned([const { MaybeUninit::<i32>::uninit() }; SUMS]);
    let to = space.0.as_mut_ptr().cast::<i32>();
    // SAFETY: passed on from the caller.
    unsafe {
        if args.lines.is_none() && vectors_are_faster([args.m, NR], args.taps.len(), args.run) {
            return by_vectors(args, NR);
        }
        sums::<Amx, Int8>(args, NR, begin, to);
        if args.lines.is_none() {
            return store_int8::<NR>(args, to);
        }
        for (first, part) in args.stored_lines() {
            store_int8::<NR>(&part, to.add(first * NR));
        }
    }
}

/// The epilogue of sums.
/// Safety: as for [`int8`]; the rows must be the tile's.
#[inline(always)]
unsafe fn store_int8<const NR: usize>(args: &GemmArgs, sums: *const i32) {
    // SAFETY: passed on from the caller.
    unsafe {
        match raw(args) {
            Some(residual) => store_raw::<NR>(args, residual, sums),
            None if NR == SIDE => finish_int8::<1>(args, sums),
            None => finish_int8::<2>(args, sums),
        }
    }
}

/// The epilogue of sums in `NV` registers of columns that are not stored raw.
/// Safety: as for [`int8`]; the rows must be the tile's.
#[inline(always)]
unsafe fn finish_int8<const NV: usize>(args: &GemmArgs, sums: *const i32) {
    type W = Zmm<true>;
    // SAFETY: passed on from the caller.
    unsafe {
        let Some(bytes) = bytes(args) else { return W::finish(args, sums, NV * SIDE) };
        let factors = factors::<W, NV>(args);
        for m in 0..args.m {
            let mut row = [W::splat(0); NV];
            for (v, register) in row.iter_mut().enumerate() {
                *register = W::load(sums.add((m * NV + v) * SIDE).cast());
            }
            let residual = args.epilogue.residual.wrapping_offset(m as isize * args.epilogue.residual_row);
            let to = args.c.wrapping_offset(m as isize * args.c_row);
            W::store_bytes::<NV, false>((to, args.n), row, factors, bytes, residual);
        }
    }
}

/// Stores sums as they are, added to those of `residual` where that is not null.
/// Safety: as for [`int8`].
#[inline(always)]
unsafe fn store_raw<const NR: usize>(args: &GemmArgs, residual: *const i32, sums: *const i32) {
    type W = Zmm<true>;
    debug_assert_eq!(args.n, NR, "raw sums of part of a panel");
    // SAFETY: passed on from the caller.
    unsafe {
        for m in 0..args.m {
            let c = args.c.cast::<i32>().wrapping_offset(m as isize * args.c_row);
            let more = residual.wrapping_offset(m as isize * args.epilogue.residual_row);
            for n in (0..NR).step_by(W::LANES) {
                let mut sum = W::load(sums.add(m * NR + n).cast());
                if !residual.is_null() {
                    sum = W::add(sum, W::load(more.wrapping_add(n).cast()));
                }
                W::store(c.wrapping_add(n), sum);
            }
        }
    }
}

/// A bfloat16 tile of `NV` registers of columns.
///
/// # Safety
/// See [`super::MicroKernel::run`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
unsafe fn bf16_tile<const NV: usize>(args: &GemmArgs) {
    let mut space = Aligned([const { MaybeUninit::<f32>::uninit() }; SUMS]);
    let to = space.0.as_mut_ptr().cast::<f32>();
    // SAFETY: passed on from the caller; sums of four rows at most are read where they were written.
    unsafe {
        sums::<Amx, Bf16>(args, NV * SIDE, args.epilogue.bias.cast(), to.cast());
        if args.lines.is_none() {
            return finish_floats::<NV>(args, to);
        }
        for (first, part) in args.stored_lines() {
            finish_floats::<NV>(&part, to.add(first * NV * SIDE));
        }
    }
}

/// The epilogue of sums of products of bfloat16.
/// Safety: as for [`bf16_tile`]; the rows must be the tile's.
#[inline(always)]
unsafe fn finish_floats<const NV: usize>(args: &GemmArgs, sums: *const f32) {
    // SAFETY: passed on from the caller.
    unsafe {
        let mut m = 0;
        while m + 4 <= args.m {
            finish::<4, NV>(args, m, sums);
            m += 4;
        }
        while m < args.m {
            finish::<1, NV>(args, m, sums);
            m += 1;
        }
    }
}

/// The epilogue of rows `first` to `first + M`.
/// Safety: as for [`bf16_tile`]; the rows must be the tile's.
#[inline(always)]
unsafe fn finish<const M: usize, const NV: usize>(args: &GemmArgs, first: usize, sums: *const f32) {
    type V = Avx512Bf16;
    let size = args.epilogue.elem.size() as isize;
    let at = |step: isize| first as isize * step * size;
    let mut rows = *args;
    rows.c = args.c.wrapping_offset(at(args.c_row));
    if !args.epilogue.residual.is_null() {
        rows.epilogue.residual = args.epilogue.residual.wrapping_offset(at(args.epilogue.residual_row));
    }
    // SAFETY: passed on from the caller.
    unsafe {
        let mut acc = [[V::splat(0.0); NV]; M];
        for (m, row) in acc.iter_mut().enumerate() {
            for (v, register) in row.iter_mut().enumerate() {
                *register = V::load(sums.add(((first + m) * NV + v) * SIDE));
            }
        }
        match args.epilogue.elem {
            Elem::F32 => float::store_tile::<V, f32, M, NV>(&rows, acc),
            // Of float sums nothing else is asked for.
            Elem::Bf16 | Elem::F16 | Elem::U8 => float::store_tile::<V, bf16, M, NV>(&rows, acc),
        }
    }
}

/// # Safety
/// See [`super::MicroKernel::run`].
pub(super) unsafe fn u8_64x16(args: &GemmArgs) {
    // SAFETY: passed on from the caller.
    unsafe { int8::<16>(args) }
}

/// # Safety
/// See [`super::MicroKernel::run`].
pub(super) unsafe fn u8_32x32(args: &GemmArgs) {
    // SAFETY: passed on from the caller.
    unsafe { int8::<32>(args) }
}

/// # Safety
/// See [`super::MicroKernel::run`].
pub(super) unsafe fn bf16_64x16(args: &GemmArgs) {
    // SAFETY: passed on from the caller.
    unsafe { bf16_tile::<1>(args) }
}

/// # Safety
/// See [`super::MicroKernel::run`].
pub(super) unsafe fn bf16_32x32(args: &GemmArgs) {
    // SAFETY: passed on from the caller.
    unsafe { bf16_tile::<2>(args) }
}

#[cfg(test)]
mod tests {
    use super::super::x86_amx_unit::Model;
    use super::*;
    use crate::Element;
    use crate::gemm::{Act, Epilogue, Operand};

    /// Rows of A end where their buffer ends, so that a read beyond would be seen.
    fn check<K: Kind>(operand: Operand, nr: usize, m: usize, run: usize) {
        let (size, per, taps) = (K::SIZE, 4 / K::SIZE, 5);
        let value = |i: usize| (i * 7 % 13) as f32;
        let weight = |i: usize| (i * 5 % 11) as f32 - 5.0;
        let a_row = taps * run;
        let values: Vec<f32> = (0..m * a_row).map(value).collect();
        let a: Vec<u8> = match K::SIZE {
            1 => values.iter().map(|v| *v as u8).collect(),
            _ => values.iter().flat_map(|v| bf16::of(*v).to_bits().to_ne_bytes()).collect(),
        };
        let groups = run.div_ceil(per);
        let at = |tap: usize, k: usize, n: usize| weight(tap * 31 + k * 17 + n * 3);
        let mut b = Vec::new();
        for tap in 0..taps {
            for g in 0..groups {
                for n in 0..nr {
                    let count = (run - g * per).min(per);
                    b.push(operand.group(count, |i| at(tap, g * per + i, n)));
                }
            }
        }
        let list: Vec<Tap> = (0..taps).map(|t| Tap { a: (t * run) as isize, b: t * groups * nr }).collect();
        let start: Vec<i32> = (0..nr).map(|n| K::of_f32(n as f32)).collect();
        let mut got = vec![0i32; m.div_ceil(ROWS) * ROWS * nr];
        let args = GemmArgs {
            a: a.as_ptr(),
            a_row: a_row as isize,
            taps: &list,
            run,
            b: b.as_ptr(),
            c: std::ptr::null_mut(),
            c_row: 0,
            m,
            n: nr,
            lines: None,
            epilogue: Epilogue {
                bias: std::ptr::null(),
                residual: std::ptr::null(),
                residual_row: 0,
                act: Act::None,
                elem: Elem::F32,
                requantize: None,
            },
        };
        // SAFETY: the model needs no feature, and the buffers are those of the tile.
        unsafe { sums::<Model, K>(&args, nr, start.as_ptr(), got.as_mut_ptr()) };
        for i in 0..m {
            for n in 0..nr {
                let terms = (0..taps).flat_map(|t| (0..run).map(move |k| (t, k)));
                let sum: f32 = terms.map(|(t, k)| values[i * a_row + t * run + k] * at(t, k, n)).sum();
                let want = K::of_f32(n as f32 + sum);
                assert_eq!(got[i * nr + n], want, "{m} rows, run {run} of {size} bytes, column {n} of {nr}");
            }
        }
    }

    #[test]
    fn sums_on_a_model_of_the_unit_are_those_of_plain_loops() {
        for (nr, rows) in [(32, vec![1, 15, 16, 17, 32]), (16, vec![1, 16, 30, 33, 64])] {
            for m in rows {
                for run in [1, 2, 3, 4, 9, 31, 32, 63, 64, 70, 126, 128, 137, 272] {
                    check::<Int8>(Operand::U8, nr, m, run);
                    check::<Bf16>(Operand::Bf16, nr, m, run);
                }
            }
        }
    }
}
