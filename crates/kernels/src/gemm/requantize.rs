//! Sums of integer products and what becomes of them.
//!
//! Inputs are unsigned INT8, weights signed; products are added up as 32-bit
//! integers, exactly, so that every kernel gives the same sums. Everything after that is one fused
//! multiply-add and a few operations in float32 whose order is fixed, so results are the same
//! bits too.

use super::{Act, GemmArgs, Operand};
use crate::eltwise::{self, Unary};
use crate::operation::Operation;
use crate::simd::load_dequantized;
use crate::simd::{Body, Scalar, Vector};
use crate::{Elem, Element, bf16, f16};
use std::marker::PhantomData;

/// The epilogue of an integer sum: `y = f(act(sum·scale + bias + residual))`, where the residual
/// is `q·map[0] + map[1]` where it is quantized.
#[derive(Clone, Copy, Debug)]
pub struct Requantize {
    /// One factor per column of the panel. Null: C and the residual are the 32-bit sums themselves,
    /// and nothing else of the epilogue applies.
    pub scale: *const f32,
    /// What the sums begin with, one value per column, or null for 0.
    pub start: *const i32,
    /// How the residual is stored, and what a stored value means.
    pub residual: (Elem, [f32; 2]),
    /// Applied last.
    pub post: Option<Unary>,
    /// Inverse scale and zero point of a quantized output, `round(y·output[0]) + output[1]`; `[1, 0]` where `y` is quantized already.
    pub output: [f32; 2],
    /// Where the sums and their squares are added up per column, or null.
    pub totals: [*mut i64; 2],
}

/// What raw sums are added to (null for nothing), where sums are stored as they are.
#[inline(always)]
pub(super) fn raw(args: &GemmArgs) -> Option<*const i32> {
    let raw = args.epilogue.requantize.is_some_and(|c| c.scale.is_null());
    raw.then_some(args.epilogue.residual.cast())
}

/// Bytes that are `sum·scale + bias`, plus a residual of bytes where there is one, between bounds, and nothing else.
#[derive(Clone, Copy)]
pub(crate) struct Bytes {
    /// Smallest and largest value, between 0 and 255.
    pub bounds: [f32; 2],
    /// What a value of the residual means.
    pub added: Option<[f32; 2]>,
}

/// What an epilogue makes, if it makes [`Bytes`].
#[inline(always)]
pub(crate) fn bytes(args: &GemmArgs) -> Option<Bytes> {
    let e = &args.epilogue;
    let q = e.requantize.as_ref()?;
    let [low, high] = match e.act {
        Act::None => [0.0, 255.0],
        Act::Leaky(0.0) => [0.0, 255.0],
        Act::Clamp(a, b) => [a.max(0.0), b.min(255.0)],
        Act::Leaky(_) => return None,
    };
    let alone = e.elem == Elem::U8
        && (e.residual.is_null() || q.residual.0 == Elem::U8)
        && q.post.is_none()
        && q.output == [1.0, 0.0]
        && q.totals[0].is_null()
        && !q.scale.is_null();
    let added = (!e.residual.is_null()).then_some(q.residual.1);
    (alone && low <= high).then_some(Bytes { bounds: [low, high], added })
}

/// Most sums that a tile holds.
pub(super) const MOST: usize = 14 * 32;

/// Stores a tile of sums, `nr` columns apart from row to row.
///
/// # Safety
/// See [`super::MicroKernel::run`]; `sums` must hold the rows and 16 values more; the CPU must have the
/// features of `V`.
#[inline(always)]
pub(crate) unsafe fn finish<V: Vector>(args: &GemmArgs, sums: *const i32, nr: usize) {
    let Some(requantize) = &args.epilogue.requantize else { return };
    // SAFETY: passed on from the caller.
    unsafe {
        if !requantize.totals[0].is_null() {
            add_totals(args, requantize, sums, nr);
        }
        match args.epilogue.elem {
            Elem::F32 => store::<V, f32>(args, requantize, sums, nr),
            Elem::Bf16 => store::<V, bf16>(args, requantize, sums, nr),
            Elem::F16 => store::<V, f16>(args, requantize, sums, nr),
            Elem::U8 => store::<V, u8>(args, requantize, sums, nr),
        }
    }
}

/// Adds the sums and their squares to the totals of their columns.
/// Safety: as for [`finish`]; the totals hold as many columns as the tile stores.
#[inline(always)]
unsafe fn add_totals(args: &GemmArgs, requantize: &Requantize, sums: *const i32, nr: usize) {
    const WIDE: usize = 8;
    let [total, squares] = requantize.totals;
    for first in (0..args.n).step_by(WIDE) {
        let (mut s, mut q) = ([0i64; WIDE], [0i64; WIDE]);
        let width = (args.n - first).min(WIDE);
        // SAFETY: columns below the tile's; reading past the last is allowed by the caller.
        unsafe {
            for m in 0..args.m {
                let row = sums.add(m * nr + first).cast::<[i32; WIDE]>().read_unaligned();
                for j in 0..WIDE {
                    let x = row[j] as i64;
                    s[j] += x;
                    q[j] += x * x;
                }
            }
            for j in 0..width {
                *total.add(first + j) += s[j];
                *squares.add(first + j) += q[j];
            }
        }
    }
}

/// Columns up to which rows lie in the lanes of the epilogue.
const FEW: usize = 4;

/// Stores sums the shortest way, each way a function of its own: constants of the others would fill its
/// registers.
/// Safety: as for [`finish`]; C must be of type `C`.
#[inline(always)]
unsafe fn store<V: Vector, C: Element>(
    args: &GemmArgs,
    requantize: &Requantize,
    sums: *const i32,
    nr: usize,
) {
    let e = &args.epilogue;
    let (full, added) = (args.n.is_multiple_of(V::LANES), !e.residual.is_null());
    let straight = C::ELEM != Elem::U8 || requantize.output == [1.0, 0.0];
    // SAFETY: passed on from the caller.
    unsafe {
        match (e.act, requantize.post, requantize.residual.0) {
            _ if args.n <= FEW && V::LANES > 1 => {
                V::outlined(Store::<C, { way::FEW }> { args, requantize, sums, nr, of: PhantomData })
            }
            (Act::None, None, _) if full && straight && !added => {
                V::outlined(Store::<C, { way::PLAIN }> { args, requantize, sums, nr, of: PhantomData })
            }
            (Act::None, None, Elem::U8) if full && straight => {
                V::outlined(Store::<C, { way::SUM }> { args, requantize, sums, nr, of: PhantomData })
            }
            (Act::None, Some(Unary::Swish(1.0)), _) if full && !added => {
                V::outlined(Store::<C, { way::SWISH }> { args, requantize, sums, nr, of: PhantomData })
            }
            (Act::None, Some(Unary::HardSwish), _) if full && !added => {
                V::outlined(Store::<C, { way::HARD_SWISH }> { args, requantize, sums, nr, of: PhantomData })
            }
            (Act::None, Some(Unary::Gelu), _) if full && !added => {
                V::outlined(Store::<C, { way::GELU }> { args, requantize, sums, nr, of: PhantomData })
            }
            _ => V::outlined(Store::<C, { way::GENERAL }> { args, requantize, sums, nr, of: PhantomData }),
        }
    }
}

/// A tile of sums to be stored.
struct Store<'a, C, const WAY: u8> {
    args: &'a GemmArgs<'a>,
    requantize: &'a Requantize,
    sums: *const i32,
    nr: usize,
    of: PhantomData<C>,
}

impl<C: Element, const WAY: u8> Body for Store<'_, C, WAY> {
    const OPERATION: Operation = Operation::Requantize;
    const BF16: bool = C::ELEM.is_bf16();
    const FUSED: bool = true;
    type Out = ();
    // SAFETY: as the trait says, and as `finish` asks; the way must be that of the epilogue.
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Store { args, requantize, sums, nr, .. } = self;
        if WAY == way::FEW {
            // SAFETY: passed on from the caller.
            return unsafe { store_few::<V, C>(args, requantize, sums, nr) };
        }
        let e = &args.epilogue;
        for first in (0..args.n).step_by(V::LANES) {
            let n = if WAY == way::GENERAL { (args.n - first).min(V::LANES) } else { V::LANES };
            // SAFETY: passed on from the caller.
            unsafe {
                let scale = f32::load_some::<V>(requantize.scale.add(first), n);
                let bias = match e.bias.is_null() {
                    true => V::splat(0.0),
                    false => f32::load_some::<V>(e.bias.add(first), n),
                };
                Columns::<V> { args, requantize, sums, nr, first, n, scale, bias }.all::<C, WAY>();
            }
        }
    }
}

/// What there is to do to a sum.
mod way {
    /// Residual, activation, function and quantization, as the epilogue says, of some or all lanes.
    pub const GENERAL: u8 = 0;
    /// Scale and bias.
    pub const PLAIN: u8 = 1;
    /// Scale and bias, and a residual of requantize.
    pub const SUM: u8 = 2;
    /// Scale and bias, `x·sigmoid(x)` and quantization.
    pub const SWISH: u8 = 3;
    /// As the epilogue says, of so few columns that rows lie in the lanes.
    pub const FEW: u8 = 4;
    /// Scale and bias, GELU and quantization.
    pub const GELU: u8 = 5;
    /// Scale and bias, `x·min(max(x/6 + 1/2, 0), 1)` and quantization.
    pub const HARD_SWISH: u8 = 6;
}

/// `n` columns of a tile of sums from `first` on, with what is the same in all rows.
struct Columns<'a, V: Vector> {
    args: &'a GemmArgs<'a>,
    requantize: &'a Requantize,
    sums: *const i32,
    nr: usize,
    first: usize,
    n: usize,
    scale: V::V,
    bias: V::V,
}

impl<V: Vector> Columns<'_, V> {
    /// Stores all rows.
    /// Safety: as for [`finish`]; C must be of type `C`, and the way that of the epilogue.
    #[inline(always)]
    unsafe fn all<C: Element, const WAY: u8>(&self) {
        let mut m = 0;
        // SAFETY: passed on from the caller.
        unsafe {
            while m + 4 <= self.args.m {
                self.rows::<C, WAY, 4>(m);
                m += 4;
            }
            while m < self.args.m {
                self.rows::<C, WAY, 1>(m);
                m += 1;
            }
        }
    }

    /// Stores `N` rows from `m` on, side by side: each is a chain of operations that wait for one another.
    /// Safety: as for [`Columns::all`]; the rows must exist.
    #[inline(always)]
    unsafe fn rows<C: Element, const WAY: u8, const N: usize>(&self, m: usize) {
        let Columns { args, requantize, first, n, .. } = *self;
        let e = &args.epilogue;
        let at = |j: usize| (m + j) as isize;
        // SAFETY: passed on from the caller.
        unsafe {
            let mut y = [self.bias; N];
            for (j, y) in y.iter_mut().enumerate() {
                *y = V::fma(V::load_int(self.sums.add((m + j) * self.nr + first)), self.scale, *y);
            }
            if WAY == way::SUM {
                let [factor, summand] = requantize.residual.1;
                for (j, y) in y.iter_mut().enumerate() {
                    let row = e.residual.wrapping_offset(at(j) * e.residual_row).wrapping_add(first);
                    *y = V::add(*y, V::fma(V::load_u8(row), V::splat(factor), V::splat(summand)));
                }
            }
            if WAY == way::GENERAL && !e.residual.is_null() {
                let size = requantize.residual.0.size() as isize;
                for (j, y) in y.iter_mut().enumerate() {
                    let row = e.residual.wrapping_offset(at(j) * e.residual_row * size);
                    *y = V::add(*y, load_dequantized::<V>(requantize.residual, row, first, n));
                }
            }
            if WAY == way::GENERAL {
                y = finish_values::<V, C, N>(args, requantize, y);
            }
            if WAY == way::SWISH {
                y = quantize_output::<V, C, N>(requantize, V::divided_swish(y, 1.0));
            }
            if WAY == way::HARD_SWISH {
                for y in &mut y {
                    *y = eltwise::apply::<V>(Unary::HardSwish, *y);
                }
                y = quantize_output::<V, C, N>(requantize, y);
            }
            if WAY == way::GELU {
                y = quantize_output::<V, C, N>(requantize, eltwise::divided_gelu::<V, N>(y));
            }
            for (j, y) in y.into_iter().enumerate() {
                let c = args.c.cast::<C>().wrapping_offset(at(j) * args.c_row).wrapping_add(first);
                if WAY == way::GENERAL {
                    C::store_some::<V>(c, y, n);
                } else {
                    C::store::<V>(c, y);
                }
            }
        }
    }
}

/// The end of the epilogue of `N` registers: activation, function, quantization.
/// Safety: the CPU must have the features of `V`.
#[inline(always)]
unsafe fn finish_values<V: Vector, C: Element, const N: usize>(
    args: &GemmArgs,
    requantize: &Requantize,
    mut y: [V::V; N],
) -> [V::V; N] {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        // Loops and not closures, which would not have the features of the caller.
        if args.epilogue.act != Act::None {
            for y in &mut y {
                *y = args.epilogue.act.vector::<V>(*y);
            }
        }
        if let Some(f) = requantize.post {
            y = eltwise::exact::<V, N>(f, y);
        }
        quantize_output::<V, C, N>(requantize, y)
    }
}

/// What `N` registers are stored as.
/// Safety: the CPU must have the features of `V`.
#[inline(always)]
unsafe fn quantize_output<V: Vector, C: Element, const N: usize>(
    requantize: &Requantize,
    mut y: [V::V; N],
) -> [V::V; N] {
    // Storing rounds: nothing is left to do where scale and bias are those of requantize.
    if C::ELEM == Elem::U8 && requantize.output != [1.0, 0.0] {
        // SAFETY: register arithmetic only; the caller has the features.
        unsafe {
            let (scale, zero) = (V::splat(requantize.output[0]), V::splat(requantize.output[1]));
            for y in &mut y {
                *y = V::add(V::round(V::mul(*y, scale)), zero);
            }
        }
    }
    y
}

/// [`store`] column by column, for functions that cost more than the gathering.
/// Safety: as there.
#[inline(always)]
unsafe fn store_few<V: Vector, C: Element>(
    args: &GemmArgs,
    requantize: &Requantize,
    sums: *const i32,
    nr: usize,
) {
    const ROWS: usize = 64;
    let e = &args.epilogue;
    let size = requantize.residual.0.size();
    let mut column = [0i32; ROWS];
    let mut added = [0f32; ROWS];
    for j in 0..args.n {
        // SAFETY: passed on from the caller; the buffers hold the rows of a tile.
        unsafe {
            let bias = if e.bias.is_null() { 0.0 } else { *e.bias.add(j) };
            for m in 0..args.m {
                column[m] = *sums.add(m * nr + j);
                if !e.residual.is_null() {
                    let row = e.residual.wrapping_offset(m as isize * e.residual_row * size as isize);
                    let mut lanes = [0f32; 16];
                    V::store(lanes.as_mut_ptr(), load_dequantized::<V>(requantize.residual, row, j, 1));
                    added[m] = lanes[0];
                }
            }
            for first in (0..args.m).step_by(V::LANES) {
                let (scale, bias) = (V::splat(*requantize.scale.add(j)), V::splat(bias));
                let mut y = V::fma(V::load_int(column.as_ptr().add(first)), scale, bias);
                if !e.residual.is_null() {
                    y = V::add(y, V::load(added.as_ptr().add(first)));
                }
                let mut out = [C::of(0.0); 16];
                let [y] = finish_values::<V, C, 1>(args, requantize, [y]);
                C::store::<V>(out.as_mut_ptr(), y);
                for (i, v) in out.iter().enumerate().take((args.m - first).min(V::LANES)) {
                    let row = (first + i) as isize * args.c_row;
                    *args.c.cast::<C>().wrapping_offset(row).wrapping_add(j) = *v;
                }
            }
        }
    }
}

/// The reference tile, in plain loops over inputs of 16 bits.
///
/// # Safety
/// See [`super::MicroKernel::run`].
pub(super) unsafe fn scalar(args: &GemmArgs) {
    const NR: usize = 8;
    const ROWS: usize = 4;
    debug_assert!(args.m <= ROWS);
    let per = Operand::I16.per_group();
    let mut sums = [0i32; ROWS * NR + 16];
    // SAFETY: the contract of `MicroKernel::run`.
    unsafe {
        for m in 0..args.m {
            for n in 0..NR {
                let mut sum = match args.epilogue.requantize {
                    Some(c) if !c.start.is_null() => *c.start.add(n),
                    _ => 0,
                };
                for tap in args.taps {
                    let a = args.a.cast::<i16>().wrapping_offset(tap.a + m as isize * args.a_row);
                    for k in 0..args.run {
                        let group = args.b.add(tap.b + k / per * NR + n).cast::<[i16; 2]>().read_unaligned();
                        // As the instructions do; callers see to it that sums fit.
                        sum = sum.wrapping_add(*a.wrapping_add(k) as i32 * group[k % per] as i32);
                    }
                }
                sums[m * NR + n] = sum;
            }
        }
        match raw(args) {
            Some(residual) => {
                for m in 0..args.m {
                    let c = args.c.cast::<i32>().wrapping_offset(m as isize * args.c_row);
                    for n in 0..args.n {
                        let more = match residual.is_null() {
                            true => 0,
                            false => {
                                *residual.wrapping_offset(m as isize * args.epilogue.residual_row).add(n)
                            }
                        };
                        *c.add(n) = sums[m * NR + n].wrapping_add(more);
                    }
                }
            }
            None => finish::<Scalar>(args, sums.as_ptr(), NR),
        }
    }
}
