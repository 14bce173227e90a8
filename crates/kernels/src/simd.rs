//! The vector that element-wise code is written against, and its three instances.
//!
//! Bodies are `#[inline(always)]` and free of features; the `#[target_feature]` functions in
//! [`dispatch`] compile them whole for each tier. See `docs/adding-a-kernel.md`.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod ints;
mod math;
mod scalar;

use crate::Isa;
use crate::element::{bf16, f16};
pub use ints::Ints;
pub use scalar::Scalar;
#[cfg(target_arch = "x86_64")]
pub use {avx2::Avx2, avx512::Avx512, avx512::Avx512Bf16};

/// A register of float32 lanes.
///
/// # Safety
/// Every function may be called only where the CPU has the instance's features; loads and stores
/// need valid pointers (no alignment).
#[allow(clippy::missing_safety_doc)]
pub unsafe trait Vector: Copy {
    /// The register.
    type V: Copy;
    /// Registers of integers of the same tier.
    type Ints: Ints;
    /// Lanes per register.
    const LANES: usize;

    /// All lanes `x`.
    unsafe fn splat(x: f32) -> Self::V;
    /// `LANES` values from `p`.
    unsafe fn load(p: *const f32) -> Self::V;
    /// `n <= LANES` values from `p`, the other lanes zero.
    unsafe fn load_part(p: *const f32, n: usize) -> Self::V;
    /// `LANES` values to `p`.
    unsafe fn store(p: *mut f32, v: Self::V);
    /// The first `n <= LANES` values to `p`.
    unsafe fn store_part(p: *mut f32, v: Self::V, n: usize);
    /// `LANES` bfloat16 from `p`, widened.
    unsafe fn load_bf16(p: *const bf16) -> Self::V;
    /// `n <= LANES` bfloat16 from `p`, widened, the other lanes zero.
    unsafe fn load_bf16_part(p: *const bf16, n: usize) -> Self::V;
    /// `LANES` values to `p`, rounded to bfloat16 (to nearest even; NaN stays NaN).
    unsafe fn store_bf16(p: *mut bf16, v: Self::V);
    /// The first `n <= LANES` values to `p`, rounded to bfloat16.
    unsafe fn store_bf16_part(p: *mut bf16, v: Self::V, n: usize);
    /// The bfloat16 at `p`, widened, in all lanes.
    unsafe fn splat_bf16(p: *const bf16) -> Self::V;
    /// `LANES` binary16 from `p`, widened.
    unsafe fn load_f16(p: *const f16) -> Self::V;
    /// `n <= LANES` binary16 from `p`, widened, the other lanes zero.
    unsafe fn load_f16_part(p: *const f16, n: usize) -> Self::V;
    /// `LANES` values to `p`, rounded to binary16 (to nearest even).
    unsafe fn store_f16(p: *mut f16, v: Self::V);
    /// The first `n <= LANES` values to `p`, rounded to binary16.
    unsafe fn store_f16_part(p: *mut f16, v: Self::V, n: usize);
    /// `LANES` bytes from `p`, widened.
    unsafe fn load_u8(p: *const u8) -> Self::V;
    /// `n <= LANES` bytes from `p`, widened, the other lanes zero.
    unsafe fn load_u8_part(p: *const u8, n: usize) -> Self::V;
    /// `LANES` values to `p`, rounded to nearest even, between 0 and 255 (NaN is 0).
    unsafe fn store_u8(p: *mut u8, v: Self::V);
    /// The first `n <= LANES` values to `p` as [`Vector::store_u8`] does.
    unsafe fn store_u8_part(p: *mut u8, v: Self::V, n: usize);
    /// `LANES` integers from `p`, rounded to nearest even.
    unsafe fn load_int(p: *const i32) -> Self::V;
    /// `LANES` values below 2^31 in magnitude to `p`, rounded to nearest even.
    unsafe fn store_int(p: *mut i32, v: Self::V);
    /// `a·b + c`, rounded once.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// Sum.
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    /// Difference.
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    /// Product.
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// Quotient.
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    /// Larger; `b` where either is NaN.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// Smaller; `b` where either is NaN.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// Square root.
    unsafe fn sqrt(a: Self::V) -> Self::V;
    /// Nearest integer, ties to even.
    unsafe fn round(a: Self::V) -> Self::V;
    /// Absolute value.
    unsafe fn abs(a: Self::V) -> Self::V;
    /// Two to the power of integral `a` in -126..=127.
    unsafe fn pow2(a: Self::V) -> Self::V;
    /// `t` where `a < b`, else `f` (also where either is NaN).
    unsafe fn select_lt(a: Self::V, b: Self::V, t: Self::V, f: Self::V) -> Self::V;
    /// Runs `body` as a function of its own that has the instance's features.
    unsafe fn outlined<B: Body>(body: B) -> B::Out;
    /// Asks for the cache line of `p`, which may be any address.
    #[inline(always)]
    unsafe fn prefetch(_p: *const u8) {}
    /// `e^x` to about one unit in the last place; 0 below -87.3, infinity above 88.7.
    #[inline(always)]
    unsafe fn exp(x: Self::V) -> Self::V {
        // SAFETY: same features as the caller.
        unsafe { math::exp::<Self>(x) }
    }
    /// `1 / a` to about one unit in the last place, for `a` from 1 to 2^126.
    #[inline(always)]
    unsafe fn reciprocal(a: Self::V) -> Self::V {
        // SAFETY: same features as the caller.
        unsafe { Self::div(Self::splat(1.0), a) }
    }
    /// `1 / (1 + e^-x)`.
    #[inline(always)]
    unsafe fn sigmoid(x: Self::V) -> Self::V {
        // SAFETY: same features as the caller.
        unsafe { math::sigmoid::<Self>(x) }
    }
    /// `1 / (1 + e^-x)`, the same bits on every tier.
    #[inline(always)]
    unsafe fn divided_sigmoid(x: Self::V) -> Self::V {
        // SAFETY: same features as the caller.
        unsafe { math::divided_sigmoid::<Self>(x) }
    }
    /// `x·sigmoid(a·x)` of `N` registers, the same bits on every tier.
    #[inline(always)]
    unsafe fn divided_swish<const N: usize>(x: [Self::V; N], a: f32) -> [Self::V; N] {
        // SAFETY: same features as the caller.
        unsafe { math::divided_swish::<Self, N>(x, a) }
    }
    /// Hyperbolic tangent.
    #[inline(always)]
    unsafe fn tanh(x: Self::V) -> Self::V {
        // SAFETY: same features as the caller.
        unsafe { math::tanh::<Self>(x) }
    }
    /// Error function, absolute error below 2e-7.
    #[inline(always)]
    unsafe fn erf(x: Self::V) -> Self::V {
        // SAFETY: same features as the caller.
        unsafe { math::erf::<Self>(x) }
    }
}

/// Code that is compiled for each tier. Implementations of `run` must be `#[inline(always)]`.
pub trait Body {
    /// What it returns.
    type Out;
    /// Runs on vectors `V`.
    ///
    /// # Safety
    /// The CPU must have the features of `V`, and whatever the implementor's pointers need.
    unsafe fn run<V: Vector>(self) -> Self::Out;
}

/// Runs `body` on the vectors of `isa`.
///
/// # Safety
/// `isa` must be supported, and whatever the body's pointers need must hold.
pub unsafe fn dispatch<B: Body>(isa: Isa, body: B) -> B::Out {
    // SAFETY: the caller vouches for `isa` and for the body.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16 => avx512::enter_bf16(body),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx512Vnni => avx512::enter(body),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::Avx2Vnni => avx2::enter(body),
            _ => body.run::<Scalar>(),
        }
    }
}
