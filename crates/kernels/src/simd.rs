//! The vector that generic kernels are written against, and its backends.
//!
//! Bodies are `#[inline(always)]` and free of features; the `#[target_feature]` functions that
//! [`dispatch`] calls compile them whole for each backend. See `docs/adding-a-kernel.md`.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod element;
mod ints;
mod math;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod sse41;

use crate::elem::{bf16, f16};
use crate::features::{Features, best};
use crate::operation::{Operation, Source};
pub use element::Element;
pub(crate) use element::load_dequantized;
pub use ints::Ints;
#[cfg(target_arch = "aarch64")]
pub use neon::Neon;
pub use scalar::Scalar;
#[cfg(target_arch = "x86_64")]
pub use {avx2::Avx2, avx512::Avx512, avx512::Avx512Bf16, sse41::Sse41};

/// A register of float32 lanes.
///
/// # Safety
/// Every function may be called only where the CPU has the instance's features; loads and stores
/// need valid pointers (no alignment).
#[allow(clippy::missing_safety_doc)]
pub unsafe trait Vector: Copy {
    /// The register.
    type V: Copy;
    /// Registers of integers of the same backend.
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
    /// `a·b + c`: rounded once where the CPU has an instruction for it, and everywhere in bodies that say
    /// [`Body::FUSED`]; else the product is rounded too.
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
    /// `e^x` for `x` up to 0, to about one unit in the last place; 0 below -87.3.
    #[inline(always)]
    unsafe fn exp_below(x: Self::V) -> Self::V {
        // SAFETY: same features as the caller.
        unsafe { math::exp_below::<Self>(x) }
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
    /// `1 / (1 + e^-x)`, the same bits in every backend.
    #[inline(always)]
    unsafe fn divided_sigmoid(x: Self::V) -> Self::V {
        // SAFETY: same features as the caller.
        unsafe { math::divided_sigmoid::<Self>(x) }
    }
    /// `x·sigmoid(a·x)` of `N` registers, the same bits in every backend.
    #[inline(always)]
    unsafe fn divided_swish<const N: usize>(x: [Self::V; N], a: f32) -> [Self::V; N] {
        // SAFETY: same features as the caller.
        unsafe { math::divided_swish::<Self, N>(x, a) }
    }
    /// Hyperbolic tangent, relative error below 1e-6.
    #[inline(always)]
    unsafe fn tanh(x: Self::V) -> Self::V {
        // SAFETY: same features as the caller.
        unsafe { math::tanh::<Self>(x) }
    }
    /// Error function, absolute error below 4e-7.
    #[inline(always)]
    unsafe fn erf(x: Self::V) -> Self::V {
        // SAFETY: same features as the caller.
        unsafe { math::erf::<Self>(x) }
    }
    /// [`Self::erf`] of `N` registers, the same bits in every backend.
    #[inline(always)]
    unsafe fn divided_erf<const N: usize>(x: [Self::V; N]) -> [Self::V; N] {
        // SAFETY: same features as the caller.
        unsafe { math::divided_erf::<Self, N>(x) }
    }
}

/// Code that is compiled for each backend. Implementations of `run` must be `#[inline(always)]`.
pub trait Body {
    /// The operation that it is a kernel of.
    const OPERATION: Operation;
    /// Whether it reads or writes bfloat16: the backends with instructions for those differ in nothing
    /// else, so other bodies are not compiled for them.
    const BF16: bool;
    /// Whether [`Vector::fma`] rounds once on every backend, so that results have the same bits on all of them. It
    /// costs about twenty operations where the CPU has no instruction for it.
    const FUSED: bool = false;
    /// What it returns.
    type Out;
    /// Runs on vectors `V`.
    ///
    /// # Safety
    /// The CPU must have the features of `V`, and whatever the implementor's pointers need.
    unsafe fn run<V: Vector>(self) -> Self::Out;
}

/// Registers that generic kernels are compiled for.
#[derive(Clone, Copy, Debug)]
pub struct Backend {
    /// Lower-case name, the end of those of kernels.
    pub name: &'static str,
    /// What it needs.
    pub features: Features,
    /// Lanes of float32 in a register.
    pub lanes: usize,
    /// Registers.
    pub registers: usize,
    /// Whether it is like another but for bfloat16.
    pub bf16: bool,
}

/// Defines [`BACKENDS`] and [`dispatch`] from one list, preferred backends first.
macro_rules! backends {
    ($($(#[$cfg:meta])* $name:literal, $vector:ty, $registers:literal, $features:expr, $enter:path, $bf16:literal;)*) => {
        /// All backends of this architecture, preferred ones first; the last one runs everywhere.
        pub static BACKENDS: &[Backend] = &[
            $($(#[$cfg])* Backend {
                name: $name,
                features: $features,
                lanes: <$vector as Vector>::LANES,
                registers: $registers,
                bf16: $bf16,
            },)*
        ];

        /// Runs `body` on the preferred vectors that `isa` allows.
        ///
        /// # Safety
        /// The CPU must have the features `isa`, and whatever the body's pointers need must hold.
        pub unsafe fn dispatch<B: Body>(isa: Features, body: B) -> B::Out {
            const { assert!(matches!(B::OPERATION.source(), Source::Generic)) };
            // SAFETY: the caller vouches for the features, which include the backend's, and for the body.
            unsafe {
                $($(#[$cfg])* {
                    if const { B::BF16 || !$bf16 } && isa.contains($features) {
                        return $enter(body);
                    }
                })*
                scalar::enter(body)
            }
        }
    };
}

backends! {
    #[cfg(target_arch = "x86_64")]
    "avx512bf16", Avx512Bf16, 32, Features::AVX512_BF16, avx512::enter_bf16, true;
    #[cfg(target_arch = "x86_64")]
    "avx512", Avx512, 32, Features::AVX512, avx512::enter, false;
    #[cfg(target_arch = "x86_64")]
    "avx2", Avx2, 16, Features::AVX2, avx2::enter, false;
    #[cfg(target_arch = "x86_64")]
    "sse41", Sse41, 16, Features::SSE41, sse41::enter, false;
    #[cfg(target_arch = "aarch64")]
    "neon", Neon, 32, Features::NEON, neon::enter, false;
    "scalar", Scalar, 16, Features::NONE, scalar::enter, false;
}

/// The backend that [`dispatch`] takes with `isa`.
pub fn backend(isa: Features) -> &'static Backend {
    let needs = best(BACKENDS.iter().map(|b| b.features), isa);
    BACKENDS.iter().find(|b| Some(b.features) == needs).unwrap_or(&BACKENDS[BACKENDS.len() - 1])
}
