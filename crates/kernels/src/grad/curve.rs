//! Activations with their derivatives.

use crate::eltwise::{self, Unary};
use crate::simd::Vector;

/// An activation that can be trained through.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Curve {
    /// As is.
    None,
    /// `x` above 0, `slope·x` below.
    Leaky(f32),
    /// Between two bounds.
    Clamp(f32, f32),
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `x·sigmoid(a·x)`.
    Swish(f32),
    /// `x·clamp(x/6 + 1/2, 0, 1)`.
    HardSwish,
    /// `clamp(a·x + b, 0, 1)`.
    HardSigmoid(f32, f32),
    /// `x·tanh(softplus x)`.
    Mish,
    /// `x·Φ(x)` by the error function.
    Gelu,
    /// `a·(e^x - 1)` below 0.
    Elu(f32),
}

impl Curve {
    /// The forward function, if it is not the identity.
    pub fn forward(self) -> Option<Unary> {
        Some(match self {
            Curve::None => return None,
            Curve::Leaky(s) => Unary::Leaky(s),
            Curve::Clamp(a, b) => Unary::Clamp(a, b),
            Curve::Sigmoid => Unary::Sigmoid,
            Curve::Tanh => Unary::Tanh,
            Curve::Swish(a) => Unary::Swish(a),
            Curve::HardSwish => Unary::HardSwish,
            Curve::HardSigmoid(a, b) => Unary::HardSigmoid(a, b),
            Curve::Mish => Unary::Mish,
            Curve::Gelu => Unary::Gelu,
            Curve::Elu(a) => Unary::Elu(a),
        })
    }

    /// The function of a register.
    ///
    /// # Safety
    /// The CPU must have the features of `V`.
    #[inline(always)]
    pub unsafe fn value<V: Vector>(self, x: V::V) -> V::V {
        match self.forward() {
            // SAFETY: register arithmetic only; the caller has the features.
            Some(f) => unsafe { eltwise::apply::<V>(f, x) },
            None => x,
        }
    }

    /// The derivative at `x`; at a kink that of the side below, as is usual (0 for ReLU).
    ///
    /// # Safety
    /// The CPU must have the features of `V`.
    #[inline(always)]
    pub unsafe fn slope<V: Vector>(self, x: V::V) -> V::V {
        // SAFETY: register arithmetic only; the caller has the features.
        unsafe {
            let (zero, one) = (V::splat(0.0), V::splat(1.0));
            // 1 where low < x < high.
            let inside = |low: V::V, high: V::V| V::select_lt(low, x, V::select_lt(x, high, one, zero), zero);
            match self {
                Curve::None => one,
                Curve::Leaky(s) => V::select_lt(zero, x, one, V::splat(s)),
                Curve::Clamp(a, b) => inside(V::splat(a), V::splat(b)),
                Curve::Sigmoid => {
                    let y = V::sigmoid(x);
                    V::mul(y, V::sub(one, y))
                }
                Curve::Tanh => {
                    let y = V::tanh(x);
                    V::sub(one, V::mul(y, y))
                }
                Curve::Swish(a) => {
                    let ax = V::mul(x, V::splat(a));
                    let s = V::sigmoid(ax);
                    V::mul(s, V::fma(ax, V::sub(one, s), one))
                }
                Curve::HardSwish => {
                    let middle = V::fma(x, V::splat(1.0 / 3.0), V::splat(0.5));
                    let high = V::select_lt(x, V::splat(3.0), middle, one);
                    V::select_lt(V::splat(-3.0), x, high, zero)
                }
                Curve::HardSigmoid(a, b) => {
                    let line = V::fma(x, V::splat(a), V::splat(b));
                    let slope = V::select_lt(line, one, V::splat(a), zero);
                    V::select_lt(zero, line, slope, zero)
                }
                Curve::Mish => {
                    // With e = e^x and t = tanh(softplus x) = n / (n + 2), n = e² + 2e, the derivative is
                    // t + x·(1 - t²)·sigmoid x.
                    let e = V::exp(V::min(x, V::splat(30.0)));
                    let n = V::mul(e, V::add(e, V::splat(2.0)));
                    let t = V::div(n, V::add(n, V::splat(2.0)));
                    let flat = V::sub(one, V::mul(t, t));
                    V::fma(V::mul(x, flat), V::sigmoid(x), t)
                }
                Curve::Gelu => {
                    let e = V::erf(V::mul(x, V::splat(std::f32::consts::FRAC_1_SQRT_2)));
                    let cdf = V::mul(V::splat(0.5), V::add(e, one));
                    let density = V::exp(V::mul(V::mul(x, x), V::splat(-0.5)));
                    V::fma(V::mul(x, V::splat(0.398_942_3)), density, cdf)
                }
                Curve::Elu(a) => V::select_lt(zero, x, one, V::mul(V::exp(V::min(x, zero)), V::splat(a))),
            }
        }
    }
}
