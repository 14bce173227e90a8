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
            for r in 0..self.rows {
                let (s, d) = (self.src.0.add(r * self.src.1), self.dst.0.add(r * self.dst.1));
                let mut top = f32::NEG_INFINITY;
                for i in 0..n {
                    top = top.max((*s.add(i)).get());
                }
                let mut sum = 0f64;
                let mut i = 0;
                while i < n {
                    let m = (n - i).min(V::LANES);
                    let x = E::load_some::<V>(s.add(i), m);
                    V::store(row.as_mut_ptr().add(i), V::exp(V::sub(x, V::splat(top))));
                    sum += row[i..i + m].iter().map(|&v| v as f64).sum::<f64>();
                    i += m;
                }
                let inverse = V::splat((1.0 / sum) as f32);
                for i in (0..n).step_by(V::LANES) {
                    let y = V::mul(V::load(row.as_ptr().add(i)), inverse);
                    E::store_some::<V>(d.add(i), y, (n - i).min(V::LANES));
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
