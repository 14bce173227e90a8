//! Activations that kernels apply to what they have in registers.

use crate::simd::Vector;

/// Activations that are applied while a tile is in registers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    /// As is.
    None,
    /// `x` above 0, `slope·x` below; ReLU with slope 0.
    Leaky(f32),
    /// Between two bounds.
    Clamp(f32, f32),
}

impl Act {
    /// The activation of one value: the reference.
    pub fn scalar(self, x: f32) -> f32 {
        match self {
            Act::None => x,
            Act::Leaky(s) => {
                if x < 0.0 {
                    s * x
                } else {
                    x
                }
            }
            Act::Clamp(a, b) => {
                let y = if x < a { a } else { x };
                if b < y { b } else { y }
            }
        }
    }

    /// The activation of a register.
    ///
    /// # Safety
    /// The CPU must have the features of `V`.
    #[inline(always)]
    pub unsafe fn vector<V: Vector>(self, x: V::V) -> V::V {
        // SAFETY: register arithmetic only; the caller has the features.
        unsafe {
            match self {
                Act::None => x,
                // The second operand is returned for NaN and for equal zeros, as the reference does.
                Act::Leaky(0.0) => V::max(V::splat(0.0), x),
                Act::Leaky(s) => V::select_lt(x, V::splat(0.0), V::mul(x, V::splat(s)), x),
                Act::Clamp(a, b) => V::min(V::splat(b), V::max(V::splat(a), x)),
            }
        }
    }

    /// The activation of several registers.
    ///
    /// # Safety
    /// The CPU must have the features of `V`.
    #[inline(always)]
    pub(crate) unsafe fn registers<V: Vector, const N: usize>(self, mut x: [V::V; N]) -> [V::V; N] {
        // The match is outside the loops, so that each holds one function.
        macro_rules! each {
            ($act:expr) => {
                for x in &mut x {
                    // SAFETY: passed on from the caller.
                    *x = unsafe { $act.vector::<V>(*x) };
                }
            };
        }
        match self {
            Act::None => {}
            Act::Leaky(0.0) => each!(Act::Leaky(0.0)),
            Act::Leaky(s) => each!(Act::Leaky(s)),
            Act::Clamp(a, b) => each!(Act::Clamp(a, b)),
        }
        x
    }
}
