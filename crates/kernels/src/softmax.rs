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

/// Rounds to what a quantized value can be: quantizes and dequantizes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rounding {
    /// Distance between neighbouring values.
    pub scale: f32,
    /// The integer that stands for 0.
    pub zero: f32,
    /// The least and the largest integer.
    pub range: [f32; 2],
}

impl Rounding {
    /// Safety: the CPU must have the features of `V`.
    #[inline(always)]
    unsafe fn vector<V: Vector>(&self, x: V::V) -> V::V {
        // SAFETY: register arithmetic only; the caller has the features.
        unsafe {
            let (scale, zero) = (V::splat(self.scale), V::splat(self.zero));
            let q = V::add(V::round(V::div(x, scale)), zero);
            let q = V::min(V::splat(self.range[1]), V::max(q, V::splat(self.range[0])));
            V::mul(V::sub(q, zero), scale)
        }
    }
}

/// What happens to scores of attention before their softmax.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// They are multiplied by a number.
    Times(f32),
    /// A bias, of this place in the list, is added.
    Plus(usize),
    /// They are rounded.
    Rounded(Rounding),
}

/// Scores of attention: changes and a softmax row by row.
pub struct Scores<'a, E, O> {
    /// The scores, which are overwritten, and the distance between their rows, which have room for whole registers.
    pub x: (*mut f32, usize),
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub n: usize,
    /// What happens to them first, in this order.
    pub changes: &'a [Change],
    /// What is added.
    pub bias: &'a [Bias<E>],
    /// What happens to the result.
    pub rounding: Option<Rounding>,
    /// Where the result goes, and the distance between its rows; may be `x` itself.
    pub dst: (*mut O, usize),
}

/// Softmax of scores of attention.
///
/// # Safety
/// Scores and biases must be readable, scores and the result writable for all rows; `isa` must be supported.
pub unsafe fn scores<E: Element, O: Element>(isa: Features, s: Scores<E, O>) {
    assert!(s.n > 0 && s.x.1.is_multiple_of(16) && s.n <= s.x.1);
    let given = |c: &Change| !matches!(c, Change::Plus(k) if *k >= s.bias.len());
    assert!(s.changes.iter().all(given), "a bias that is not given");
    // SAFETY: passed on from the caller.
    unsafe { dispatch(isa, s) }
}

impl<E: Element, O: Element> Body for Scores<'_, E, O> {
    const OPERATION: Operation = Operation::Softmax;
    const BF16: bool = E::ELEM.is_bf16() || O::ELEM.is_bf16();
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Scores { x, rows, n, changes, bias, rounding, dst } = self;
        for r in 0..rows {
            // SAFETY: whole registers of the row; parts of biases and of the result.
            unsafe {
                let row = x.0.add(r * x.1);
                let mut most = V::splat(f32::NEG_INFINITY);
                for i in (0..n).step_by(V::LANES) {
                    let m = (n - i).min(V::LANES);
                    let mut t = V::load(row.add(i));
                    for change in changes {
                        t = match change {
                            Change::Times(v) => V::mul(t, V::splat(*v)),
                            Change::Rounded(f) => f.vector::<V>(t),
                            Change::Plus(k) => {
                                let b = &bias[*k];
                                let p = b.at.add(r * b.row + i * b.column);
                                let own = b.column == 0;
                                V::add(t, if own { E::splat::<V>(p) } else { E::load_some::<V>(p, m) })
                            }
                        };
                    }
                    most = put::<V>(row, i, n, t, most);
                }
                let inverse = V::splat(exponentials::<V>(row, n, most));
                for i in (0..n).step_by(V::LANES) {
                    let mut y = V::mul(V::load(row.add(i)), inverse);
                    if let Some(f) = &rounding {
                        y = f.vector::<V>(y);
                    }
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
