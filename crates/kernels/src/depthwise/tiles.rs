//! Depthwise convolution in float32, of floats and of such integers as no other kernel suits: a value that is read serves
//! every output of the tile whose window it lies in. Kernels of common widths are compiled whole, others in pieces of
//! these. Outputs of a tile lie as far apart as taps do.

use super::{Rows, load};
use crate::Element;
use crate::conv::Axis;
use crate::operation::Operation;
use crate::simd::{Body, Vector};

/// Outputs side by side whose sums are in registers at once.
const N: usize = 8;

/// Whether tiles compute floats with a kernel of this axis along rows.
pub(super) fn suit(across: &Axis) -> bool {
    match across.stride {
        1 => across.kernel > 1,
        2 => across.dilation == 1 && matches!(across.kernel, 3 | 5 | 7),
        _ => false,
    }
}

/// The rows of an item.
pub(super) struct Tiles<'a, E, O> {
    pub rows: Rows<'a, E, O>,
    /// A pixel outside the image: zero in every channel.
    pub outside: *const E,
}

impl<E: Element, O: Element> Body for Tiles<'_, E, O> {
    const OPERATION: Operation = Operation::Depthwise;
    const BF16: bool = E::ELEM.is_bf16() || O::ELEM.is_bf16();
    const FUSED: bool = E::ELEM.is_u8();
    type Out = ();
    // SAFETY: as the trait says, and as `Depthwise::run` asks of its pointers.
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let across = &self.rows.plan.axes[2];
        // SAFETY: passed on from the caller.
        unsafe {
            match [across.kernel, across.stride] {
                [_, 1] if const { E::ELEM.is_u8() } => self.lines::<V, 0, 1>(),
                _ if const { E::ELEM.is_u8() } => {
                    unreachable!("integers are computed by tiles with a stride of 1")
                }
                [3, 1] => self.lines::<V, 3, 1>(),
                [3, 2] => self.lines::<V, 3, 2>(),
                [5, 1] => self.lines::<V, 5, 1>(),
                [5, 2] => self.lines::<V, 5, 2>(),
                [7, 1] => self.lines::<V, 7, 1>(),
                [7, 2] => self.lines::<V, 7, 2>(),
                [_, 1] => self.lines::<V, 0, 1>(),
                other => unreachable!("a kernel of {other:?} is not computed by tiles"),
            }
        }
    }
}

impl<E: Element, O: Element> Tiles<'_, E, O> {
    /// All outputs of the item, a tile of columns at a time: what its rows have in common stays in the first-level cache. `K`
    /// is the kernel's width, or 0 for any.
    /// Safety: as for [`super::Depthwise::run`]; the CPU must have the features of `V`.
    #[inline(always)]
    unsafe fn lines<V: Vector, const K: usize, const S: usize>(&self) {
        let plan = self.rows.plan;
        let (width, c) = (plan.output.dims[3], plan.output.channels());
        let (columns, apart) = ((N - 1) * S + plan.axes[2].kernel, plan.axes[2].dilation);
        let (first, last) = self.rows.rows;
        let ay = plan.axes[1];
        // Lines of the input from that of the first tap of the first row to that of the last tap of the last row.
        let span = (last - first - 1) * ay.stride + (ay.kernel - 1) * ay.dilation + 1;
        let mut table = vec![std::ptr::null(); plan.axes[0].kernel * span * columns];
        let starts = (0..apart).flat_map(|phase| (phase..width).step_by(N * apart));
        for x in starts {
            self.fill(&mut table, (span, columns), x);
            let count = (width - x).div_ceil(apart).min(N);
            for y in first..last {
                let seen =
                    (&table[(y - first) * ay.stride * columns..], span * columns, ay.dilation * columns);
                for k in (0..c).step_by(V::LANES) {
                    // SAFETY: the table leads to pixels of the input or the one outside; outputs of the item.
                    unsafe {
                        if const { V::LANES == 1 } || k + V::LANES <= c {
                            self.tile::<V, K, S, true>(seen, (k, V::LANES), ([y, x], count));
                        } else {
                            self.tile::<V, K, S, false>(seen, (k, c - k), ([y, x], count));
                        }
                    }
                }
            }
        }
    }

    /// Where the columns that outputs from `x` on see begin, in `span` lines for each slice of the kernel, from the first
    /// that the item sees on.
    fn fill(&self, table: &mut [*const E], (span, columns): (usize, usize), x: usize) {
        let Rows { plan, at: [n, z], rows: (first, _), .. } = self.rows;
        let ([az, ay, ax], g) = (&plan.axes, &plan.input);
        let top = (first * ay.stride) as i64 - ay.pad;
        let left = (x * ax.stride) as i64 - ax.pad;
        let apart = ax.dilation;
        let whole = left >= 0 && left as usize + (columns - 1) * apart < g.dims[3];
        for (i, row) in table.chunks_exact_mut(columns).enumerate() {
            let depth = (z * az.stride + i / span * az.dilation) as i64 - az.pad;
            let y = top + (i % span) as i64;
            if !(0..g.dims[1] as i64).contains(&depth) || !(0..g.dims[2] as i64).contains(&y) {
                row.fill(self.outside);
                continue;
            }
            let line = n * g.strides[0] + depth as usize * g.strides[1] + y as usize * g.strides[2];
            let begin =
                self.rows.input.wrapping_add(line).wrapping_offset(left as isize * g.strides[3] as isize);
            if whole {
                row.iter_mut()
                    .enumerate()
                    .for_each(|(i, p)| *p = begin.wrapping_add(i * apart * g.strides[3]));
                continue;
            }
            for (column, p) in row.iter_mut().enumerate() {
                let inside = (0..g.dims[3] as i64).contains(&(left + (column * apart) as i64));
                *p = if inside { begin.wrapping_add(column * apart * g.strides[3]) } else { self.outside };
            }
        }
    }

    /// `lanes` channels from `k` on of `count` outputs from `x` of row `y` on; whole registers when `FULL`.
    /// The table begins with the line of the first tap; the taps' others are so many entries further along depth and height.
    /// Safety: as for [`super::Depthwise::run`]; the table must lead to pixels.
    #[inline(always)]
    unsafe fn tile<V: Vector, const K: usize, const S: usize, const FULL: bool>(
        &self,
        (table, slice, line): (&[*const E], usize, usize),
        (k, lanes): (usize, usize),
        (at, count): ([usize; 2], usize),
    ) {
        let c = self.rows.plan.output.channels();
        let [depths, lines, width] = [0, 1, 2].map(|a| self.rows.plan.axes[a].kernel);
        // SAFETY: pixels and weights have channels from `k` on.
        unsafe {
            let mut acc = [self.rows.start::<V, FULL>(k, lanes); N];
            let zero = V::splat(self.rows.zero());
            let mut weights = self.rows.weights.add(k);
            for tap in (0..depths).flat_map(|i| (0..lines).map(move |j| i * slice + j * line)) {
                let line = table.as_ptr().add(tap);
                if K > 0 {
                    acc = Self::piece::<V, K, S, FULL>(acc, line, (weights, c), (k, lanes), zero);
                } else {
                    let mut t = 0;
                    while t < width {
                        let (line, weights) = (line.add(t), (weights.add(t * c), c));
                        match width - t {
                            7.. => {
                                acc = Self::piece::<V, 7, S, FULL>(acc, line, weights, (k, lanes), zero);
                                t += 7;
                            }
                            3..7 => {
                                acc = Self::piece::<V, 3, S, FULL>(acc, line, weights, (k, lanes), zero);
                                t += 3;
                            }
                            _ => {
                                acc = Self::piece::<V, 1, S, FULL>(acc, line, weights, (k, lanes), zero);
                                t += 1;
                            }
                        }
                    }
                }
                weights = weights.wrapping_add(width * c);
            }
            self.rows.finish::<V, FULL, N>(acc, (k, lanes), at, (count, self.rows.plan.axes[2].dilation));
        }
    }

    /// Adds `K` taps side by side to the sums: `lanes` channels from `k` on of the columns that `line` leads to, times
    /// weights that lie `c` apart.
    /// Safety: as for [`Tiles::tile`].
    #[inline(always)]
    unsafe fn piece<V: Vector, const K: usize, const S: usize, const FULL: bool>(
        mut acc: [V::V; N],
        line: *const *const E,
        (weights, c): (*const f32, usize),
        (k, lanes): (usize, usize),
        zero: V::V,
    ) -> [V::V; N] {
        // SAFETY: passed on from the caller.
        unsafe {
            let mut w = [V::splat(0.0); K];
            for (t, w) in w.iter_mut().enumerate() {
                *w = load::<V, f32, FULL>(weights.add(t * c), lanes);
            }
            // Written out, so that sums stay in registers: the compiler leaves a loop of this size as it is.
            macro_rules! columns {
                ($($column:literal)*) => {$(
                    if const { $column < (N - 1) * S + K } {
                        let x = load::<V, E, FULL>((*line.add($column)).wrapping_add(k), lanes);
                        for (m, sum) in acc.iter_mut().enumerate() {
                            // The tap of output `m` that lies at this column, if one does.
                            if m * S <= $column && $column - m * S < K {
                                *sum = Rows::<E, O>::product::<V>(x, w[$column - m * S], zero, *sum);
                            }
                        }
                    }
                )*};
            }
            columns!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20);
        }
        acc
    }
}
