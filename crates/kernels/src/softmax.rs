//! Softmax over rows.

use crate::operation::Operation;
use crate::simd::{Body, Vector, dispatch};
use crate::{Element, Features};

struct Rows<E> {
    src: (*const E, usize),
    dst: (*mut E, usize),
    rows: usize,
    n: usize,
}

/// Softmax of each of `rows` rows of `n` contiguous values; rows lie the given distances apart.
///
/// # Safety
/// Pointers must be valid, `dst` equal to or disjoint from `src`; `isa` must be supported.
pub unsafe fn softmax<E: Element>(
    isa: Features,
    src: (*const E, usize),
    dst: (*mut E, usize),
    rows: usize,
    n: usize,
) {
    // SAFETY: passed on from the caller.
    unsafe { dispatch(isa, Rows { src, dst, rows, n }) }
}

/// `softmax([a, b])` for many pairs at once is a sigmoid of the difference: written for vectors of
/// interleaved pairs would need shuffles, so pairs go through registers of one value each.
impl<E: Element> Body for Rows<E> {
    const OPERATION: Operation = Operation::Softmax;
    const BF16: bool = E::ELEM.is_bf16();
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let n = self.n;
        let mut e = [0f32; 64];
        let mut lanes = [0f32; 16];
        // SAFETY: rows are valid; vector accesses stay inside a row or use the partial forms.
        unsafe {
            if n <= 4 {
                return self.few::<V>(&mut e, &mut lanes);
            }
            let mut row = vec![0f32; n.next_multiple_of(V::LANES)];
            let row = row.as_mut_ptr();
            for r in 0..self.rows {
                let (s, d) = (self.src.0.add(r * self.src.1), self.dst.0.add(r * self.dst.1));
                let mut most = V::splat(f32::NEG_INFINITY);
                for i in (0..n).step_by(V::LANES) {
                    let x = E::load_some::<V>(s.add(i), (n - i).min(V::LANES));
                    most = put::<V>(row, i, n, x, most);
                }
                let inverse = V::splat(exponentials::<V>(row, n, most));
                for i in (0..n).step_by(V::LANES) {
                    let y = V::mul(V::load(row.add(i)), inverse);
                    E::store_some::<V>(d.add(i), y, (n - i).min(V::LANES));
                }
            }
        }
    }
}

/// Stores values `i` and following of a row of `n`, minus infinity beyond its end, and returns the larger of each
/// lane and `most`.
///
/// # Safety
/// `row` must have room for whole registers; the CPU must have the features of `V`.
#[inline(always)]
unsafe fn put<V: Vector>(row: *mut f32, i: usize, n: usize, x: V::V, most: V::V) -> V::V {
    // SAFETY: a register of the row.
    unsafe {
        V::store(row.add(i), x);
        if n - i >= V::LANES {
            return V::max(x, most);
        }
        for beyond in n..i + V::LANES {
            *row.add(beyond) = f32::NEG_INFINITY;
        }
        V::max(V::load(row.add(i)), most)
    }
}

/// Registers whose float32 sum is added to one in float64.
const SUMMED: usize = 32;

/// Replaces `n` values, and what fills their last register, by the exponentials of what they lie above the largest
/// of the lanes of `most`, and returns one over their sum.
///
/// # Safety
/// `row` must hold whole registers; the CPU must have the features of `V`.
#[inline(always)]
unsafe fn exponentials<V: Vector>(row: *mut f32, n: usize, most: V::V) -> f32 {
    let mut lanes = [0f32; 16];
    // SAFETY: registers inside `row`.
    unsafe {
        V::store(lanes.as_mut_ptr(), most);
        let top = lanes[..V::LANES].iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        let top = V::splat(top);
        let mut sum = 0f64;
        for first in (0..n).step_by(SUMMED * V::LANES) {
            let mut part = V::splat(0.0);
            for i in (first..n.min(first + SUMMED * V::LANES)).step_by(V::LANES) {
                let e = V::exp_below(V::sub(V::load(row.add(i)), top));
                V::store(row.add(i), e);
                part = V::add(part, e);
            }
            V::store(lanes.as_mut_ptr(), part);
            sum += lanes[..V::LANES].iter().map(|&x| x as f64).sum::<f64>();
        }
        (1.0 / sum) as f32
    }
}

/// Something added to rows of scores: its first row, the distance between rows, and 1 or 0 between columns.
pub struct Bias<E> {
    /// First element.
    pub at: *const E,
    /// Distance between rows, in elements.
    pub row: usize,
    /// Distance between columns: 1, or 0 where all have the same.
    pub column: usize,
}

/// Scores of attention, `softmax(scale·x + biases)` row by row.
pub struct Scores<'a, E, O> {
    /// The scores, which are overwritten, and the distance between their rows, which have room for whole registers.
    pub x: (*mut f32, usize),
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub n: usize,
    /// Factor.
    pub scale: f32,
    /// What is added.
    pub bias: &'a [Bias<E>],
    /// Where the result goes, and the distance between its rows; may be `x` itself.
    pub dst: (*mut O, usize),
}

/// Softmax of scores of attention.
///
/// # Safety
/// Scores and biases must be readable, scores and the result writable for all rows; `isa` must be supported.
pub unsafe fn scores<E: Element, O: Element>(isa: Features, s: Scores<E, O>) {
    assert!(s.n > 0 && s.x.1.is_multiple_of(16) && s.n <= s.x.1);
    // SAFETY: passed on from the caller.
    unsafe { dispatch(isa, s) }
}

impl<E: Element, O: Element> Body for Scores<'_, E, O> {
    const OPERATION: Operation = Operation::Softmax;
    const BF16: bool = E::ELEM.is_bf16() || O::ELEM.is_bf16();
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Scores { x, rows, n, scale, bias, dst } = self;
        for r in 0..rows {
            // SAFETY: whole registers of the row; parts of biases and of the result.
            unsafe {
                let (row, scale) = (x.0.add(r * x.1), V::splat(scale));
                let mut most = V::splat(f32::NEG_INFINITY);
                for i in (0..n).step_by(V::LANES) {
                    let m = (n - i).min(V::LANES);
                    let mut t = V::mul(V::load(row.add(i)), scale);
                    for b in bias {
                        let p = b.at.add(r * b.row + i * b.column);
                        t = V::add(t, if b.column == 0 { E::splat::<V>(p) } else { E::load_some::<V>(p, m) });
                    }
                    most = put::<V>(row, i, n, t, most);
                }
                let inverse = V::splat(exponentials::<V>(row, n, most));
                for i in (0..n).step_by(V::LANES) {
                    let y = V::mul(V::load(row.add(i)), inverse);
                    O::store_some::<V>(dst.0.add(r * dst.1 + i), y, (n - i).min(V::LANES));
                }
            }
        }
    }
}

impl<E: Element> Rows<E> {
    /// Few classes: many rows at once, one register per class.
    #[inline(always)]
    unsafe fn few<V: Vector>(self, e: &mut [f32; 64], lanes: &mut [f32; 16]) {
        let n = self.n;
        let mut r = 0;
        while r < self.rows {
            let m = (self.rows - r).min(V::LANES);
            // SAFETY: rows r..r+m are valid; the buffers hold four registers and one.
            unsafe {
                for i in 0..n {
                    for j in 0..m {
                        e[i * 16 + j] = (*self.src.0.add((r + j) * self.src.1 + i)).get();
                    }
                }
                let mut top = V::load(e.as_ptr());
                for i in 1..n {
                    top = V::max(top, V::load(e[i * 16..].as_ptr()));
                }
                let mut sum = V::splat(0.0);
                for i in 0..n {
                    let x = V::exp(V::sub(V::load(e[i * 16..].as_ptr()), top));
                    V::store(e[i * 16..].as_mut_ptr(), x);
                    sum = V::add(sum, x);
                }
                for i in 0..n {
                    V::store(lanes.as_mut_ptr(), V::div(V::load(e[i * 16..].as_ptr()), sum));
                    for (j, v) in lanes.iter().enumerate().take(m) {
                        *self.dst.0.add((r + j) * self.dst.1 + i) = E::of(*v);
                    }
                }
            }
            r += m;
        }
    }
}
