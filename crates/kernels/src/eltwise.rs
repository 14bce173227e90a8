//! Element-wise functions over contiguous runs.

use crate::act::Act;
use crate::operation::Operation;
use crate::simd::{Body, Vector, dispatch};
use crate::{Element, Features};

/// Functions of one value.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Unary {
    Leaky(f32),
    Clamp(f32, f32),
    Sigmoid,
    Tanh,
    /// `x·sigmoid(a·x)`.
    Swish(f32),
    HardSwish,
    /// `clamp(a·x + b, 0, 1)`.
    HardSigmoid(f32, f32),
    Mish,
    Gelu,
    GeluTanh,
    Erf,
    Exp,
    Elu(f32),
    Sqrt,
    Neg,
    Abs,
    Reciprocal,
    /// Quantizes: `clamp(round(x / scale) + zero, low, high)`, ties to even.
    Quantize {
        scale: f32,
        zero: f32,
        low: f32,
        high: f32,
    },
    /// Dequantizes: `(x - zero) · scale`.
    Dequantize {
        scale: f32,
        zero: f32,
    },
}

/// Functions of two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Max,
    Min,
    /// `x` where not negative, else `slope·x`.
    PRelu,
}

impl Binary {
    /// The reference.
    pub fn scalar(self, a: f32, b: f32) -> f32 {
        match self {
            Binary::Add => a + b,
            Binary::Sub => a - b,
            Binary::Mul => a * b,
            Binary::Div => a / b,
            Binary::Max => {
                if a > b || a.is_nan() {
                    a
                } else {
                    b
                }
            }
            Binary::Min => {
                if a < b || a.is_nan() {
                    a
                } else {
                    b
                }
            }
            Binary::PRelu => {
                if a < 0.0 {
                    a * b
                } else {
                    a
                }
            }
        }
    }
}

struct UnaryRun<E, O> {
    f: Unary,
    src: *const E,
    dst: *mut O,
    n: usize,
}

/// `dst[i] = f(src[i])` for `n` elements; the pointers may be equal.
///
/// # Safety
/// Both must be valid for `n` elements and either equal or disjoint; `isa` must be supported.
pub unsafe fn unary<E: Element, O: Element>(isa: Features, f: Unary, src: *const E, dst: *mut O, n: usize) {
    // SAFETY: passed on from the caller.
    unsafe { dispatch(isa, UnaryRun { f, src, dst, n }) }
}

/// `x·tanh(softplus x)` through `e = e^x`: `tanh(ln(1+e)) = (e² + 2e) / (e² + 2e + 2)`.
#[inline(always)]
unsafe fn mish<V: Vector>(x: V::V) -> V::V {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        let e = V::exp(V::min(x, V::splat(30.0)));
        let n = V::mul(e, V::add(e, V::splat(2.0)));
        let y = V::mul(x, V::div(n, V::add(n, V::splat(2.0))));
        V::select_lt(V::splat(30.0), x, x, y)
    }
}

/// Registers that [`exact`] works on side by side.
const SIDE_BY_SIDE: usize = 4;
/// Most values of as many registers.
const VALUES: usize = 16 * SIDE_BY_SIDE;

/// [`exact_registers`] of values in memory, apart from its callers: every function in every epilogue would
/// be a tenth of the program.
struct Exact<'a> {
    f: Unary,
    values: &'a mut [f32; VALUES],
}

impl Body for Exact<'_> {
    const OPERATION: Operation = Operation::Unary;
    const BF16: bool = false;
    const FUSED: bool = true;
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let p = self.values.as_mut_ptr();
        // SAFETY: the array holds the registers of the widest backend; the caller has the features.
        unsafe {
            let mut x = [V::splat(0.0); SIDE_BY_SIDE];
            for (i, x) in x.iter_mut().enumerate() {
                *x = V::load(p.add(i * V::LANES));
            }
            for (i, y) in exact_registers::<V, SIDE_BY_SIDE>(self.f, x).into_iter().enumerate() {
                V::store(p.add(i * V::LANES), y);
            }
        }
    }
}

/// `f` of up to four registers: the same bits in every backend, where [`apply`] may use a faster
/// approximation of a reciprocal.
///
/// # Safety
/// The CPU must have the features of `V`.
#[inline(always)]
pub(crate) unsafe fn exact<V: Vector, const N: usize>(f: Unary, mut x: [V::V; N]) -> [V::V; N] {
    const { assert!(N <= SIDE_BY_SIDE) };
    let mut values = [0.0; VALUES];
    // SAFETY: the array holds the registers; the caller has the features.
    unsafe {
        for (i, x) in x.iter().enumerate() {
            V::store(values.as_mut_ptr().add(i * V::LANES), *x);
        }
        V::outlined(Exact { f, values: &mut values });
        for (i, x) in x.iter_mut().enumerate() {
            *x = V::load(values.as_ptr().add(i * V::LANES));
        }
    }
    x
}

/// `f` of `N` registers.
/// Safety: the CPU must have the features of `V`.
#[inline(always)]
unsafe fn exact_registers<V: Vector, const N: usize>(f: Unary, mut x: [V::V; N]) -> [V::V; N] {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        match f {
            Unary::Sigmoid => {
                for x in &mut x {
                    *x = V::divided_sigmoid(*x);
                }
            }
            Unary::Swish(a) => x = V::divided_swish(x, a),
            Unary::Gelu => x = divided_gelu::<V, N>(x),
            Unary::Erf => x = V::divided_erf(x),
            Unary::Leaky(_)
            | Unary::Clamp(..)
            | Unary::Tanh
            | Unary::HardSwish
            | Unary::HardSigmoid(..)
            | Unary::Mish
            | Unary::GeluTanh
            | Unary::Exp
            | Unary::Elu(_)
            | Unary::Sqrt
            | Unary::Neg
            | Unary::Abs
            | Unary::Reciprocal
            | Unary::Quantize { .. }
            | Unary::Dequantize { .. } => {
                for x in &mut x {
                    *x = apply::<V>(f, *x);
                }
            }
        }
        x
    }
}

/// `x/2·(1 + erf(x/√2))` of `N` registers, the same bits in every backend.
/// Safety: the CPU must have the features of `V`.
#[inline(always)]
pub(crate) unsafe fn divided_gelu<V: Vector, const N: usize>(mut x: [V::V; N]) -> [V::V; N] {
    let mut inner = x;
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        for i in 0..N {
            inner[i] = V::mul(x[i], V::splat(std::f32::consts::FRAC_1_SQRT_2));
        }
        inner = V::divided_erf(inner);
        for i in 0..N {
            x[i] = gelu::<V>(x[i], inner[i]);
        }
    }
    x
}

/// `x/2·(1 + erf(x/√2))`, given the error function's value.
/// Safety: the CPU must have the features of `V`.
#[inline(always)]
unsafe fn gelu<V: Vector>(x: V::V, e: V::V) -> V::V {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        let half = V::mul(x, V::splat(0.5));
        // Below, less than what the error function is off would be multiplied by.
        V::select_lt(x, V::splat(-5.65), V::splat(0.0), V::fma(half, e, half))
    }
}

// SAFETY: register arithmetic; callers have the features of `V`.
#[inline(always)]
pub(crate) unsafe fn apply<V: Vector>(f: Unary, x: V::V) -> V::V {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        let zero = V::splat(0.0);
        let one = V::splat(1.0);
        let half = V::splat(0.5);
        let clamp01 = |v: V::V| V::min(V::max(v, zero), one);
        match f {
            Unary::Leaky(s) => V::select_lt(x, zero, V::mul(x, V::splat(s)), x),
            Unary::Clamp(a, b) => Act::Clamp(a, b).vector::<V>(x),
            Unary::Sigmoid => V::sigmoid(x),
            Unary::Tanh => V::tanh(x),
            Unary::Swish(a) => V::mul(x, V::sigmoid(V::mul(x, V::splat(a)))),
            Unary::HardSwish => V::mul(x, clamp01(V::fma(x, V::splat(1.0 / 6.0), half))),
            Unary::HardSigmoid(a, b) => clamp01(V::fma(x, V::splat(a), V::splat(b))),
            Unary::Mish => mish::<V>(x),
            Unary::Gelu => gelu::<V>(x, V::erf(V::mul(x, V::splat(std::f32::consts::FRAC_1_SQRT_2)))),
            Unary::GeluTanh => {
                let cube = V::mul(V::mul(x, x), x);
                let inner = V::mul(V::fma(cube, V::splat(0.044_715), x), V::splat(0.797_884_6));
                // (1 + tanh z)/2 as the sigmoid of 2z, which keeps its precision where tanh is near -1.
                V::mul(x, V::sigmoid(V::add(inner, inner)))
            }
            Unary::Erf => V::erf(x),
            Unary::Exp => V::exp(x),
            Unary::Elu(a) => {
                // e^x - 1 through tanh(x/2) keeps precision near zero: (e^x - 1) = 2t/(1 - t).
                let low = V::min(x, zero);
                let t = V::tanh(V::mul(low, half));
                let m = V::div(V::add(t, t), V::sub(one, t));
                V::select_lt(x, zero, V::mul(m, V::splat(a)), x)
            }
            Unary::Sqrt => V::sqrt(x),
            Unary::Neg => V::sub(V::splat(-0.0), x),
            Unary::Abs => V::abs(x),
            Unary::Reciprocal => V::div(one, x),
            Unary::Quantize { scale, zero, low, high } => {
                let q = V::add(V::round(V::div(x, V::splat(scale))), V::splat(zero));
                // NaN becomes the lowest value.
                V::min(V::splat(high), V::max(q, V::splat(low)))
            }
            Unary::Dequantize { scale, zero } => V::mul(V::sub(x, V::splat(zero)), V::splat(scale)),
        }
    }
}

impl<E: Element, O: Element> Body for UnaryRun<E, O> {
    const OPERATION: Operation = Operation::Unary;
    const BF16: bool = E::ELEM.is_bf16() || O::ELEM.is_bf16();
    const FUSED: bool = E::ELEM.is_u8() || O::ELEM.is_u8();
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let UnaryRun { f, src, dst, n } = self;
        // The match on `f` is outside the loop, so each loop holds one function.
        macro_rules! each {
            ($($p:pat => $e:expr),* $(,)?) => { match f { $($p => each!(@loop $e),)* } };
            (@loop $e:expr) => {{
                let g = $e;
                let mut i = 0;
                // SAFETY: i + LANES <= n or the partial forms are used.
                unsafe {
                    while i + V::LANES <= n {
                        O::store::<V>(dst.add(i), apply::<V>(g, E::load::<V>(src.add(i))));
                        i += V::LANES;
                    }
                    if i < n {
                        let x = E::load_part::<V>(src.add(i), n - i);
                        O::store_part::<V>(dst.add(i), apply::<V>(g, x), n - i);
                    }
                }
            }};
        }
        each! {
            Unary::Leaky(s) => Unary::Leaky(s),
            Unary::Clamp(a, b) => Unary::Clamp(a, b),
            Unary::Sigmoid => Unary::Sigmoid,
            Unary::Swish(a) => Unary::Swish(a),
            Unary::Mish => Unary::Mish,
            Unary::Gelu => Unary::Gelu,
            other => other,
        }
    }
}

struct BinaryRun<E> {
    f: Binary,
    a: *const E,
    b: *const E,
    b_step: usize,
    dst: *mut E,
    n: usize,
}

/// `dst[i] = f(a[i], b[i])`, or `f(a[i], b[0])` for all `i` when `b_scalar`.
///
/// # Safety
/// Pointers must be valid for `n` elements (`b` for one when `b_scalar`), `dst` equal to or
/// disjoint from the inputs; `isa` must be supported.
pub unsafe fn binary<E: Element>(
    isa: Features,
    f: Binary,
    a: *const E,
    b: *const E,
    b_scalar: bool,
    dst: *mut E,
    n: usize,
) {
    // SAFETY: passed on from the caller.
    unsafe { dispatch(isa, BinaryRun { f, a, b, b_step: !b_scalar as usize, dst, n }) }
}

/// 0, or not a number where `x` is not.
/// Safety: the CPU must have the features of `V`.
#[inline(always)]
unsafe fn not_a_number<V: Vector>(x: V::V) -> V::V {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        let small = V::min(V::splat(1.0), V::max(V::splat(-1.0), x));
        V::sub(small, small)
    }
}

/// One register of a binary function. A function rather than a closure, which might not be inlined
/// and would then lose the features of its caller.
/// Safety: the CPU must have the features of `V`.
#[inline(always)]
unsafe fn combine<V: Vector>(f: Binary, x: V::V, y: V::V) -> V::V {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        match f {
            Binary::Add => V::add(x, y),
            Binary::Sub => V::sub(x, y),
            Binary::Mul => V::mul(x, y),
            Binary::Div => V::div(x, y),
            // The hardware's extreme drops a NaN in its first operand: what is not a number stays so when it is
            // clamped, and 0 otherwise leaves the result as it is.
            Binary::Max => V::add(V::max(x, y), not_a_number::<V>(x)),
            Binary::Min => V::add(V::min(x, y), not_a_number::<V>(x)),
            Binary::PRelu => V::select_lt(x, V::splat(0.0), V::mul(x, y), x),
        }
    }
}

impl<E: Element> Body for BinaryRun<E> {
    const OPERATION: Operation = Operation::Binary;
    const BF16: bool = E::ELEM.is_bf16();
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let BinaryRun { f, a, b, b_step, dst, n } = self;
        // SAFETY: i + LANES <= n or the partial forms are used; a scalar b is read at 0 only.
        unsafe {
            let fixed = if n > 0 { E::splat::<V>(b) } else { V::splat(0.0) };
            let mut i = 0;
            while i + V::LANES <= n {
                let y = if b_step == 0 { fixed } else { E::load::<V>(b.add(i)) };
                E::store::<V>(dst.add(i), combine::<V>(f, E::load::<V>(a.add(i)), y));
                i += V::LANES;
            }
            if i < n {
                let m = n - i;
                let y = if b_step == 0 { fixed } else { E::load_part::<V>(b.add(i), m) };
                E::store_part::<V>(dst.add(i), combine::<V>(f, E::load_part::<V>(a.add(i), m), y), m);
            }
        }
    }
}
