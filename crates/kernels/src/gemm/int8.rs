//! The bodies of the micro-kernels of integer products, for any registers of accumulators.

use super::GemmArgs;
use super::accumulators::IntAccumulators;
use super::requantize::{MOST, bytes, raw};
use super::tile::Tile;
use std::marker::PhantomData;

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

/// Scale and bias of the columns of a tile that becomes [`bytes`]; 0 where there are none.
/// Safety: as for [`super::MicroKernel::run`]; the CPU must have the features of `W`.
#[inline(always)]
pub(super) unsafe fn factors<W: IntAccumulators, const NV: usize>(args: &GemmArgs) -> [[W::F; NV]; 2] {
    let scale = args.epilogue.requantize.map_or(std::ptr::null(), |q| q.scale);
    let zeros = [0.0; 16];
    // SAFETY: passed on from the caller.
    unsafe {
        let mut factors = [[W::factors(zeros.as_ptr()); NV]; 2];
        for (of, from) in factors.iter_mut().zip([scale, args.epilogue.bias]) {
            for (v, f) in of.iter_mut().enumerate().filter(|_| !from.is_null()) {
                *f = W::factors(from.add(v * W::LANES));
            }
        }
        factors
    }
}

/// `NV` registers of columns.
pub(super) struct Columns<W, const NV: usize>(PhantomData<W>);

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
            let mut apart = [W::splat(0); NV];
            for tap in args.taps {
                let mut a = args.a.wrapping_offset(tap.a * size as isize);
                let mut b = args.b.add(tap.b).cast::<u8>();
                for _ in 0..args.run / per {
                    let mut bv = [W::splat(0); NV];
                    for (v, r) in bv.iter_mut().enumerate() {
                        *r = W::load(b.add(4 * v * W::LANES));
                        apart[v] = W::apart(apart[v], *r);
                    }
                    for (m, sums) in acc.iter_mut().enumerate() {
                        let from = a.wrapping_offset(m as isize * row);
                        let av = W::splat(from.cast::<i32>().read_unaligned());
                        for v in 0..NV {
                            sums[v] = W::dot_less(sums[v], av, bv[v]);
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
            if W::APART {
                for v in 0..NV {
                    let both = W::add(apart[v], apart[v]);
                    for row in &mut acc {
                        row[v] = W::add(row[v], both);
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
            if W::BYTES
                && let Some(bytes) = bytes(args)
            {
                let factors = factors::<W, NV>(args);
                for (m, sums) in acc.into_iter().enumerate() {
                    let to = args.c.wrapping_offset(m as isize * args.c_row);
                    let residual =
                        args.epilogue.residual.wrapping_offset(m as isize * args.epilogue.residual_row);
                    W::store_bytes::<NV, false>((to, args.n), sums, factors, bytes, residual);
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
pub(super) struct Thin<W>(PhantomData<W>);

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
