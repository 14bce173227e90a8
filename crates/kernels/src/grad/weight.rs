//! Weight gradients: products summed over positions,
//! `acc[m, n] += Σ_rows Σ_i a[row·a_row + i·a_step + m] · b[row·b_row + i·b_step + n]`.
//!
//! On channels-last data the `m` of one row of kernel taps are contiguous (kernel width × channels),
//! and so are the `n` of a position, so nothing is gathered.

use crate::Features;
use crate::operation::Operation;
use crate::simd::{Backend, Body, Vector, backend, dispatch};

/// Arguments of a tile.
#[derive(Clone, Copy, Debug)]
pub struct WeightGradient {
    /// First value of A.
    pub a: *const f32,
    /// Distance between rows of A, in values.
    pub a_row: usize,
    /// Distance between positions of a row of A.
    pub a_step: usize,
    /// First value of B.
    pub b: *const f32,
    /// Distance between rows of B.
    pub b_row: usize,
    /// Distance between positions of a row of B.
    pub b_step: usize,
    /// Rows.
    pub rows: usize,
    /// Positions of a row.
    pub count: usize,
    /// Sums that are added to.
    pub acc: *mut f32,
    /// Distance between rows of sums.
    pub acc_row: usize,
    /// Rows of sums.
    pub m: usize,
    /// Columns of sums.
    pub n: usize,
}

/// Most rows of a register tile: accumulators, columns and a value of A fit the registers.
fn tallest(b: &Backend) -> usize {
    if b.registers >= 32 { 14 } else { 6 }
}

/// Vectors of columns of a register tile.
const WIDE: usize = 2;

/// Adds the products; sums of any size are cut into register tiles.
///
/// # Safety
/// A must be readable for `m` values and B for `n` at every position, the sums writable and apart
/// from both, and `isa` supported.
pub unsafe fn weight_gradient(isa: Features, args: WeightGradient) {
    let b = backend(isa);
    let (width, parts) = (WIDE * b.lanes, args.m.div_ceil(tallest(b)).max(1));
    let mut m = 0;
    for part in 0..parts {
        let rows = (args.m - m).div_ceil(parts - part);
        for n in (0..args.n).step_by(width) {
            let tile = WeightGradient {
                a: args.a.wrapping_add(m),
                b: args.b.wrapping_add(n),
                acc: args.acc.wrapping_add(m * args.acc_row + n),
                m: rows,
                n: width.min(args.n - n),
                ..args
            };
            // SAFETY: a part of what the caller vouches for.
            unsafe {
                match (tile.n > b.lanes, tile.n.is_multiple_of(b.lanes)) {
                    (true, true) => tall::<2, true>(isa, tile),
                    (true, false) => tall::<2, false>(isa, tile),
                    (false, true) => tall::<1, true>(isa, tile),
                    (false, false) => tall::<1, false>(isa, tile),
                }
            }
        }
        m += rows;
    }
}

/// Safety: as for [`weight_gradient`], for at most [`tallest`] rows and `N` vectors of columns.
unsafe fn tall<const N: usize, const FULL: bool>(isa: Features, t: WeightGradient) {
    // SAFETY: passed on from the caller.
    unsafe {
        match t.m {
            0 => {}
            1 => dispatch(isa, Tile::<1, N, FULL>(t)),
            2 => dispatch(isa, Tile::<2, N, FULL>(t)),
            3 => dispatch(isa, Tile::<3, N, FULL>(t)),
            4 => dispatch(isa, Tile::<4, N, FULL>(t)),
            5 => dispatch(isa, Tile::<5, N, FULL>(t)),
            6 => dispatch(isa, Tile::<6, N, FULL>(t)),
            7 => dispatch(isa, Tile::<7, N, FULL>(t)),
            8 => dispatch(isa, Tile::<8, N, FULL>(t)),
            9 => dispatch(isa, Tile::<9, N, FULL>(t)),
            10 => dispatch(isa, Tile::<10, N, FULL>(t)),
            11 => dispatch(isa, Tile::<11, N, FULL>(t)),
            12 => dispatch(isa, Tile::<12, N, FULL>(t)),
            13 => dispatch(isa, Tile::<13, N, FULL>(t)),
            14 => dispatch(isa, Tile::<14, N, FULL>(t)),
            // Sums that are left out would be a wrong gradient in silence, in every build.
            15.. => unreachable!("{} rows in a tile of 14", t.m),
        }
    }
}

/// A tile of `M` rows and `N` vectors, the last of which is whole if `FULL`.
struct Tile<const M: usize, const N: usize, const FULL: bool>(WeightGradient);

impl<const M: usize, const N: usize, const FULL: bool> Body for Tile<M, N, FULL> {
    const OPERATION: Operation = Operation::WeightGradient;
    const BF16: bool = false;
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let t = self.0;
        let tail = t.n - (N - 1) * V::LANES;
        // SAFETY: positions, rows and columns are those of the caller; partial vectors touch only
        // columns that there are.
        unsafe {
            let mut acc = [[V::splat(0.0); N]; M];
            for row in 0..t.rows {
                let (mut a, mut b) = (t.a.add(row * t.a_row), t.b.add(row * t.b_row));
                for _ in 0..t.count {
                    let mut right = [V::splat(0.0); N];
                    for (j, r) in right.iter_mut().enumerate() {
                        *r = match FULL || j + 1 < N {
                            true => V::load(b.add(j * V::LANES)),
                            false => V::load_part(b.add(j * V::LANES), tail),
                        };
                    }
                    for i in 0..M {
                        let left = V::splat(*a.add(i));
                        for j in 0..N {
                            acc[i][j] = V::fma(left, right[j], acc[i][j]);
                        }
                    }
                    a = a.wrapping_add(t.a_step);
                    b = b.wrapping_add(t.b_step);
                }
            }
            for (i, sums) in acc.iter().enumerate() {
                for (j, sum) in sums.iter().enumerate() {
                    let at = t.acc.add(i * t.acc_row + j * V::LANES);
                    match FULL || j + 1 < N {
                        true => V::store(at, V::add(V::load(at), *sum)),
                        false => V::store_part(at, V::add(V::load_part(at, tail), *sum), tail),
                    }
                }
            }
        }
    }
}
