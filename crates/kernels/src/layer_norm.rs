//! Layer normalisation: rows to mean 0 and variance 1, then a factor and a summand per column (Ba,
//! Kiros and Hinton, 2016); or rows to a mean square of 1 (Zhang and Sennrich, 2019).

use crate::operation::Operation;
use crate::simd::{Body, Vector, dispatch};
use crate::{Element, Features};

/// Dense rows of `scale.len()` values each.
pub struct Rows<'a, E> {
    /// First row.
    pub src: *const E,
    /// First row of the result; may be the input itself.
    pub dst: *mut E,
    /// Rows.
    pub count: usize,
    /// One factor per column.
    pub scale: &'a [f32],
    /// One summand per column, as many as factors.
    pub shift: &'a [f32],
    /// Added to the (biased) variance, or to the mean square.
    pub epsilon: f32,
    /// Whether the mean is subtracted; else rows are divided by the root of their mean square.
    pub centred: bool,
}

/// Normalises all rows: mean first, then the squared distances from it, both in float32 lanes that
/// are added up in float64.
///
/// # Safety
/// Pointers must be valid for the rows; `isa` must be supported.
pub unsafe fn layer_norm<E: Element>(isa: Features, rows: Rows<E>) {
    assert_eq!(rows.scale.len(), rows.shift.len());
    // SAFETY: passed on from the caller.
    unsafe { dispatch(isa, rows) }
}

/// Sum of the lanes.
#[inline(always)]
unsafe fn total<V: Vector>(v: V::V) -> f64 {
    let mut lanes = [0f32; 64];
    // SAFETY: the buffer holds a register.
    unsafe { V::store(lanes.as_mut_ptr(), v) };
    lanes[..V::LANES].iter().map(|&x| x as f64).sum()
}

impl<E: Element> Body for Rows<'_, E> {
    const OPERATION: Operation = Operation::LayerNorm;
    const BF16: bool = E::ELEM.is_bf16();
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let n = self.scale.len();
        for r in 0..self.count {
            // SAFETY: row r, at most n values of it.
            unsafe {
                let (s, d) = (self.src.add(r * n), self.dst.add(r * n));
                let (mut sum, mut i) = (V::splat(0.0), 0);
                while self.centred && i < n {
                    sum = V::add(sum, E::load_some::<V>(s.add(i), (n - i).min(V::LANES)));
                    i += V::LANES;
                }
                let mean = V::splat((total::<V>(sum) / n as f64) as f32);
                let (mut square, mut i) = (V::splat(0.0), 0);
                while i < n {
                    let m = (n - i).min(V::LANES);
                    let x = E::load_some::<V>(s.add(i), m);
                    if m == V::LANES {
                        let x = V::sub(x, mean);
                        square = V::fma(x, x, square);
                    } else {
                        // Lanes beyond the row must add nothing.
                        let mut lanes = [0f32; 64];
                        V::store(lanes.as_mut_ptr(), V::sub(x, mean));
                        lanes[m..].fill(0.0);
                        let x = V::load(lanes.as_ptr());
                        square = V::fma(x, x, square);
                    }
                    i += V::LANES;
                }
                let variance = total::<V>(square) / n as f64;
                let inverse = V::splat((1.0 / (variance + self.epsilon as f64).sqrt()) as f32);
                let mut i = 0;
                while i < n {
                    let m = (n - i).min(V::LANES);
                    let x = V::mul(V::sub(E::load_some::<V>(s.add(i), m), mean), inverse);
                    let scale = f32::load_some::<V>(self.scale.as_ptr().add(i), m);
                    let y = V::fma(x, scale, f32::load_some::<V>(self.shift.as_ptr().add(i), m));
                    E::store_some::<V>(d.add(i), y, m);
                    i += V::LANES;
                }
            }
        }
    }
}
