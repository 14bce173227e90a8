//! Micro-kernels of float32 products: the reference, and the bodies that vector backends share.

use super::tile::Tile;
use super::{Act, GemmArgs};
use crate::elem::{Elem, bf16};
use crate::simd::{Element, Vector};
use std::marker::PhantomData;

/// The reference tile, in plain loops.
///
/// # Safety
/// See [`super::MicroKernel::run`].
pub(super) unsafe fn scalar(args: &GemmArgs) {
    const NR: usize = 8;
    // SAFETY: the contract of `MicroKernel::run`.
    unsafe {
        for m in 0..args.m {
            let mut acc = [0f32; NR];
            if !args.epilogue.bias.is_null() {
                for (n, v) in acc.iter_mut().enumerate() {
                    *v = *args.epilogue.bias.add(n);
                }
            }
            for tap in args.taps {
                let a = args.a.cast::<f32>().wrapping_offset(m as isize * args.a_row + tap.a);
                let b = args.b.add(tap.b);
                for k in 0..args.run {
                    for (n, v) in acc.iter_mut().enumerate() {
                        *v = crate::simd::Scalar::fma(*a.add(k), *b.add(k * NR + n), *v);
                    }
                }
            }
            for (n, v) in acc.iter().enumerate().take(args.n) {
                match args.epilogue.elem {
                    Elem::F32 => store_one::<f32>(args, m, n, *v),
                    // Of float sums nothing else is asked for.
                    Elem::Bf16 | Elem::F16 | Elem::U8 => store_one::<bf16>(args, m, n, *v),
                }
            }
        }
    }
}

/// The epilogue of one sum, its bias included, at row `m` and column `n`.
///
/// # Safety
/// See [`super::MicroKernel::run`]; C must be of type `C`.
pub(super) unsafe fn store_one<C: Element>(args: &GemmArgs, m: usize, n: usize, mut y: f32) {
    let e = &args.epilogue;
    // SAFETY: the contract of `MicroKernel::run`.
    unsafe {
        if !e.residual.is_null() {
            let r = e.residual.cast::<C>().wrapping_offset(m as isize * e.residual_row);
            y += (*r.add(n)).get();
        }
        let c = args.c.cast::<C>().wrapping_offset(m as isize * args.c_row);
        *c.add(n) = C::of(e.act.scalar(y));
    }
}

/// `NV` registers of float32 columns.
pub(super) struct Columns<V, const NV: usize>(PhantomData<V>);

impl<V: Vector, const NV: usize> Tile for Columns<V, NV> {
    #[inline(always)]
    unsafe fn run<const M: usize>(args: &GemmArgs) {
        // SAFETY: passed on from the caller.
        unsafe { tile::<V, M, NV>(args) }
    }
}

/// One float32 column.
pub(super) struct Thin<V>(PhantomData<V>);

impl<V: Vector> Tile for Thin<V> {
    #[inline(always)]
    unsafe fn run<const M: usize>(args: &GemmArgs) {
        // SAFETY: passed on from the caller.
        unsafe { thin::<V, M>(args) }
    }
}

/// The body of the thin tiles: `M` rows of one column, the reduction in the lanes.
///
/// # Safety
/// See [`super::MicroKernel::run`]; the CPU must have the features of `V`.
#[inline(always)]
pub(super) unsafe fn thin<V: Vector, const M: usize>(args: &GemmArgs) {
    // SAFETY: the contract of `MicroKernel::run`.
    unsafe {
        let mut acc = [V::splat(0.0); M];
        for tap in args.taps {
            let a = args.a.cast::<f32>().wrapping_offset(tap.a);
            let b = args.b.add(tap.b);
            let mut k = 0;
            while k + V::LANES <= args.run {
                let bv = V::load(b.add(k));
                for (m, v) in acc.iter_mut().enumerate() {
                    let av = V::load(a.wrapping_offset(m as isize * args.a_row).wrapping_add(k));
                    *v = V::fma(av, bv, *v);
                }
                k += V::LANES;
            }
            if k < args.run {
                let n = args.run - k;
                let bv = V::load_part(b.add(k), n);
                for (m, v) in acc.iter_mut().enumerate() {
                    let av = V::load_part(a.wrapping_offset(m as isize * args.a_row).wrapping_add(k), n);
                    *v = V::fma(av, bv, *v);
                }
            }
        }
        store_thin::<V, M>(args, acc);
    }
}

/// Adds up the lanes of each row's sums and stores the results.
///
/// # Safety
/// See [`super::MicroKernel::run`]; the CPU must have the features of `V`.
#[inline(always)]
pub(super) unsafe fn store_thin<V: Vector, const M: usize>(args: &GemmArgs, acc: [V::V; M]) {
    // SAFETY: the contract of `MicroKernel::run`; the buffer holds a register.
    unsafe {
        let bias = if args.epilogue.bias.is_null() { 0.0 } else { *args.epilogue.bias };
        for (m, v) in acc.into_iter().enumerate() {
            let mut lanes = [0f32; 16];
            V::store(lanes.as_mut_ptr(), v);
            let mut width = V::LANES;
            while width > 1 {
                width /= 2;
                for i in 0..width {
                    lanes[i] += lanes[i + width];
                }
            }
            match args.epilogue.elem {
                Elem::F32 => store_one::<f32>(args, m, 0, lanes[0] + bias),
                // Of float sums nothing else is asked for.
                Elem::Bf16 | Elem::F16 | Elem::U8 => store_one::<bf16>(args, m, 0, lanes[0] + bias),
            }
        }
    }
}

/// How far ahead of its use a panel is asked for, in floats: panels come from beyond the first-level
/// cache, and large ones from memory.
pub(super) const PREFETCH_DISTANCE: usize = 512;

/// Sums that init_accumulators with the bias.
///
/// # Safety
/// See [`super::MicroKernel::run`]; the CPU must have the features of `V`.
#[inline(always)]
pub(super) unsafe fn init_accumulators<V: Vector, const M: usize, const NV: usize>(
    args: &GemmArgs,
) -> [[V::V; NV]; M] {
    // SAFETY: the contract of `MicroKernel::run`.
    unsafe {
        let mut acc = [[V::splat(0.0); NV]; M];
        if !args.epilogue.bias.is_null() {
            for v in 0..NV {
                let b = V::load(args.epilogue.bias.add(v * V::LANES));
                for row in &mut acc {
                    row[v] = b;
                }
            }
        }
        acc
    }
}

/// The body of every other vector tile: `M` rows by `NV` registers of columns.
///
/// # Safety
/// See [`super::MicroKernel::run`]; the CPU must have the features of `V`.
#[inline(always)]
pub(super) unsafe fn tile<V: Vector, const M: usize, const NV: usize>(args: &GemmArgs) {
    // SAFETY: the contract of `MicroKernel::run`.
    unsafe {
        let nr = NV * V::LANES;
        let mut acc = init_accumulators::<V, M, NV>(args);
        for tap in args.taps {
            let mut a = args.a.cast::<f32>().wrapping_offset(tap.a);
            let mut b = args.b.add(tap.b);
            for _ in 0..args.run {
                let mut bv = [V::splat(0.0); NV];
                for (v, r) in bv.iter_mut().enumerate() {
                    *r = V::load(b.add(v * V::LANES));
                    V::prefetch(b.wrapping_add(v * V::LANES + PREFETCH_DISTANCE).cast());
                }
                for (m, row) in acc.iter_mut().enumerate() {
                    let av = V::splat(*a.wrapping_offset(m as isize * args.a_row));
                    for v in 0..NV {
                        row[v] = V::fma(av, bv[v], row[v]);
                    }
                }
                a = a.wrapping_add(1);
                b = b.wrapping_add(nr);
            }
        }
        match args.epilogue.elem {
            Elem::F32 => store_tile::<V, f32, M, NV>(args, acc),
            // Of float sums nothing else is asked for.
            Elem::Bf16 | Elem::F16 | Elem::U8 => store_tile::<V, bf16, M, NV>(args, acc),
        }
    }
}

/// The epilogue of a tile.
///
/// # Safety
/// See [`super::MicroKernel::run`]; the CPU must have the features of `V`, and C must be of type `C`.
#[inline(always)]
pub(super) unsafe fn store_tile<V: Vector, C: Element, const M: usize, const NV: usize>(
    args: &GemmArgs,
    mut acc: [[V::V; NV]; M],
) {
    // SAFETY: the contract of `MicroKernel::run`.
    unsafe {
        // Each step is a loop of constant bounds with a small body, so that all of them unroll and
        // the accumulators never leave their registers.
        let e = &args.epilogue;
        let part = |v: usize| args.n.saturating_sub(v * V::LANES).min(V::LANES);
        let full = args.n == NV * V::LANES;
        if !e.residual.is_null() {
            for m in 0..M {
                let r = e.residual.cast::<C>().wrapping_offset(m as isize * e.residual_row);
                for v in 0..NV {
                    let at = r.wrapping_add(v * V::LANES);
                    let x = if full { C::load::<V>(at) } else { C::load_part::<V>(at, part(v)) };
                    acc[m][v] = V::add(acc[m][v], x);
                }
            }
        }
        match e.act {
            Act::None => {}
            Act::Leaky(0.0) => {
                let zero = V::splat(0.0);
                for m in 0..M {
                    for v in 0..NV {
                        acc[m][v] = V::max(zero, acc[m][v]);
                    }
                }
            }
            Act::Leaky(s) => {
                let (zero, s) = (V::splat(0.0), V::splat(s));
                for m in 0..M {
                    for v in 0..NV {
                        let x = acc[m][v];
                        acc[m][v] = V::select_lt(x, zero, V::mul(x, s), x);
                    }
                }
            }
            Act::Clamp(a, b) => {
                let (a, b) = (V::splat(a), V::splat(b));
                for m in 0..M {
                    for v in 0..NV {
                        acc[m][v] = V::min(b, V::max(a, acc[m][v]));
                    }
                }
            }
        }
        for m in 0..M {
            let c = args.c.cast::<C>().wrapping_offset(m as isize * args.c_row);
            for v in 0..NV {
                let at = c.wrapping_add(v * V::LANES);
                if full {
                    C::store::<V>(at, acc[m][v]);
                } else {
                    C::store_part::<V>(at, acc[m][v], part(v));
                }
            }
        }
    }
}
