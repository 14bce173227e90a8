//! Float32 values multiplied as sums of bfloat16 values, as others call bf16x3 and bf16x6: `x = x₀ + x₁ + …`, where each
//! term is what the terms before it leave of `x`, rounded to nearest even. Products of small terms are left out.

use crate::operation::Operation;
use crate::simd::{Body, Vector, dispatch};
use crate::{Element, Features, bf16};

/// Into how many terms values are split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// One term: values are rounded to bfloat16.
    One,
    /// Three terms hold all 24 bits of a value; six products.
    Three,
}

impl Split {
    /// Terms of a value.
    pub const fn terms(self) -> usize {
        match self {
            Split::One => 1,
            Split::Three => 3,
        }
    }

    /// Which term of an input is multiplied by which of a weight: all whose product is not below the rounding of the
    /// last term.
    pub const fn products(self) -> &'static [[usize; 2]] {
        match self {
            Split::One => &[[0, 0]],
            Split::Three => &[[0, 0], [0, 1], [1, 0], [1, 1], [0, 2], [2, 0]],
        }
    }

    /// Term `index` of a value.
    pub fn term(index: usize, value: f32) -> f32 {
        let mut rest = value;
        for _ in 0..index {
            rest -= bf16::of(rest).to_f32();
        }
        bf16::of(rest).to_f32()
    }
}

/// Splits `n` values from `src` into as many terms as `split` says, those of the first at `dst`, the others `plane` values
/// further each.
///
/// # Safety
/// The pointers must be valid for the values and apart from each other; `isa` must be supported.
pub unsafe fn split_values(
    isa: Features,
    split: Split,
    src: *const f32,
    dst: *mut bf16,
    plane: usize,
    n: usize,
) {
    // SAFETY: passed on from the caller.
    unsafe { dispatch(isa, Terms { src, dst, plane, terms: split.terms(), n }) }
}

struct Terms {
    src: *const f32,
    dst: *mut bf16,
    plane: usize,
    terms: usize,
    n: usize,
}

impl Body for Terms {
    const OPERATION: Operation = Operation::SplitInput;
    const BF16: bool = true;
    type Out = ();
    // SAFETY: as the trait says; the pointers must be valid for the values.
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let mut i = 0;
        // SAFETY: i + LANES <= n or the partial forms are used.
        unsafe {
            while i + V::LANES <= self.n {
                let mut rest = V::load(self.src.add(i));
                for t in 0..self.terms {
                    let to = self.dst.add(t * self.plane + i);
                    V::store_bf16(to, rest);
                    rest = V::sub(rest, V::load_bf16(to));
                }
                i += V::LANES;
            }
            if i < self.n {
                let m = self.n - i;
                let mut rest = V::load_part(self.src.add(i), m);
                for t in 0..self.terms {
                    let to = self.dst.add(t * self.plane + i);
                    V::store_bf16_part(to, rest, m);
                    rest = V::sub(rest, V::load_bf16_part(to, m));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_add_up_to_the_value() {
        for v in [1.0f32, -0.1, std::f32::consts::PI, 1e-20, -6.5e30, 0.0, 1.0 + f32::EPSILON] {
            let sum = |n: usize| (0..n).map(|k| Split::term(k, v) as f64).sum::<f64>();
            assert_eq!(sum(3), v as f64);
            assert!((sum(2) - v as f64).abs() <= 2f64.powi(-17) * v.abs() as f64, "{v}");
        }
    }

    #[test]
    fn registers_split_as_single_values_do() {
        let values: Vec<f32> = (0..77).map(|i| (i as f32 * 0.37 - 11.0) * 1.013f32.powi(i * 7)).collect();
        for isa in crate::choose::available() {
            for s in [Split::One, Split::Three] {
                for n in [1, 15, 16, 33, 77] {
                    let mut terms = vec![bf16::of(9.0); 3 * 80];
                    // SAFETY: there is room for three planes of 80 values.
                    unsafe { split_values(isa, s, values.as_ptr(), terms.as_mut_ptr(), 80, n) };
                    for t in 0..3 {
                        for i in 0..80 {
                            let want = if i < n && t < s.terms() { Split::term(t, values[i]) } else { 9.0 };
                            assert_eq!(
                                terms[t * 80 + i].to_f32(),
                                want,
                                "{} {s:?} term {t} of {i}",
                                isa.name()
                            );
                        }
                    }
                }
            }
        }
    }
}
