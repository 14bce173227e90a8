//! Loads and stores of every storage type, by registers.

use super::Vector;
use crate::elem::{Elem, bf16, f16};

/// A storage type, as a type.
///
/// # Safety
/// The functions on pointers may be called only where the CPU has the features of `V`, and need
/// pointers valid for as many values as they say (no alignment).
#[allow(clippy::missing_safety_doc)]
pub unsafe trait Element: Copy + Send + Sync + 'static {
    /// The same as a value.
    const ELEM: Elem;
    /// To float32, exactly.
    fn get(self) -> f32;
    /// From float32, rounded to nearest even; quantized values saturate, and NaN becomes 0.
    fn of(x: f32) -> Self;
    /// `LANES` values.
    unsafe fn load<V: Vector>(p: *const Self) -> V::V;
    /// `n <= LANES` values, the other lanes zero.
    unsafe fn load_part<V: Vector>(p: *const Self, n: usize) -> V::V;
    /// `LANES` values.
    unsafe fn store<V: Vector>(p: *mut Self, v: V::V);
    /// The first `n <= LANES` values.
    unsafe fn store_part<V: Vector>(p: *mut Self, v: V::V, n: usize);
    /// One value in all lanes.
    unsafe fn splat<V: Vector>(p: *const Self) -> V::V;
    /// `n` values, where `n` is `LANES` in most calls.
    #[inline(always)]
    unsafe fn load_some<V: Vector>(p: *const Self, n: usize) -> V::V {
        // SAFETY: passed on from the caller.
        unsafe { if n == V::LANES { Self::load::<V>(p) } else { Self::load_part::<V>(p, n) } }
    }
    /// `n` values, where `n` is `LANES` in most calls.
    #[inline(always)]
    unsafe fn store_some<V: Vector>(p: *mut Self, v: V::V, n: usize) {
        // SAFETY: passed on from the caller.
        unsafe { if n == V::LANES { Self::store::<V>(p, v) } else { Self::store_part::<V>(p, v, n) } }
    }
}

// SAFETY: float32 is what registers hold.
#[allow(clippy::undocumented_unsafe_blocks)]
unsafe impl Element for f32 {
    const ELEM: Elem = Elem::F32;
    #[inline(always)]
    fn get(self) -> f32 {
        self
    }
    #[inline(always)]
    fn of(x: f32) -> f32 {
        x
    }
    #[inline(always)]
    unsafe fn load<V: Vector>(p: *const f32) -> V::V {
        unsafe { V::load(p) }
    }
    #[inline(always)]
    unsafe fn load_part<V: Vector>(p: *const f32, n: usize) -> V::V {
        unsafe { V::load_part(p, n) }
    }
    #[inline(always)]
    unsafe fn store<V: Vector>(p: *mut f32, v: V::V) {
        unsafe { V::store(p, v) }
    }
    #[inline(always)]
    unsafe fn store_part<V: Vector>(p: *mut f32, v: V::V, n: usize) {
        unsafe { V::store_part(p, v, n) }
    }
    #[inline(always)]
    unsafe fn splat<V: Vector>(p: *const f32) -> V::V {
        unsafe { V::splat(*p) }
    }
}

// SAFETY: bfloat16 is two bytes that the instance's conversions read and write.
#[allow(clippy::undocumented_unsafe_blocks)]
unsafe impl Element for bf16 {
    const ELEM: Elem = Elem::Bf16;
    #[inline(always)]
    fn get(self) -> f32 {
        f32::from_bits((self.to_bits() as u32) << 16)
    }
    #[inline(always)]
    fn of(x: f32) -> bf16 {
        bf16::from_f32(x)
    }
    #[inline(always)]
    unsafe fn load<V: Vector>(p: *const bf16) -> V::V {
        unsafe { V::load_bf16(p) }
    }
    #[inline(always)]
    unsafe fn load_part<V: Vector>(p: *const bf16, n: usize) -> V::V {
        unsafe { V::load_bf16_part(p, n) }
    }
    #[inline(always)]
    unsafe fn store<V: Vector>(p: *mut bf16, v: V::V) {
        unsafe { V::store_bf16(p, v) }
    }
    #[inline(always)]
    unsafe fn store_part<V: Vector>(p: *mut bf16, v: V::V, n: usize) {
        unsafe { V::store_bf16_part(p, v, n) }
    }
    #[inline(always)]
    unsafe fn splat<V: Vector>(p: *const bf16) -> V::V {
        unsafe { V::splat_bf16(p) }
    }
}

// SAFETY: binary16 is two bytes that the instance's conversions read and write.
#[allow(clippy::undocumented_unsafe_blocks)]
unsafe impl Element for f16 {
    const ELEM: Elem = Elem::F16;
    #[inline(always)]
    fn get(self) -> f32 {
        self.to_f32()
    }
    #[inline(always)]
    fn of(x: f32) -> f16 {
        f16::from_f32(x)
    }
    #[inline(always)]
    unsafe fn load<V: Vector>(p: *const f16) -> V::V {
        unsafe { V::load_f16(p) }
    }
    #[inline(always)]
    unsafe fn load_part<V: Vector>(p: *const f16, n: usize) -> V::V {
        unsafe { V::load_f16_part(p, n) }
    }
    #[inline(always)]
    unsafe fn store<V: Vector>(p: *mut f16, v: V::V) {
        unsafe { V::store_f16(p, v) }
    }
    #[inline(always)]
    unsafe fn store_part<V: Vector>(p: *mut f16, v: V::V, n: usize) {
        unsafe { V::store_f16_part(p, v, n) }
    }
    #[inline(always)]
    unsafe fn splat<V: Vector>(p: *const f16) -> V::V {
        unsafe { V::splat((*p).get()) }
    }
}

// SAFETY: a quantized value is one byte that the instance's conversions read and write.
#[allow(clippy::undocumented_unsafe_blocks)]
unsafe impl Element for u8 {
    const ELEM: Elem = Elem::U8;
    #[inline(always)]
    fn get(self) -> f32 {
        self as f32
    }
    #[inline(always)]
    fn of(x: f32) -> u8 {
        // NaN becomes the lowest value, as in the vector kernels; `as` saturates.
        x.round_ties_even() as u8
    }
    #[inline(always)]
    unsafe fn load<V: Vector>(p: *const u8) -> V::V {
        unsafe { V::load_u8(p) }
    }
    #[inline(always)]
    unsafe fn load_part<V: Vector>(p: *const u8, n: usize) -> V::V {
        unsafe { V::load_u8_part(p, n) }
    }
    #[inline(always)]
    unsafe fn store<V: Vector>(p: *mut u8, v: V::V) {
        unsafe { V::store_u8(p, v) }
    }
    #[inline(always)]
    unsafe fn store_part<V: Vector>(p: *mut u8, v: V::V, n: usize) {
        unsafe { V::store_u8_part(p, v, n) }
    }
    #[inline(always)]
    unsafe fn splat<V: Vector>(p: *const u8) -> V::V {
        unsafe { V::splat((*p).get()) }
    }
}

/// `n <= LANES` values from the `at`th after `base` on, stored as `elem`; quantized values are dequantized by a
/// factor and a summand.
///
/// # Safety
/// The CPU must have the features of `V`, and the values must be readable.
#[inline(always)]
pub(crate) unsafe fn load_dequantized<V: Vector>(
    (elem, [factor, summand]): (Elem, [f32; 2]),
    base: *const u8,
    at: usize,
    n: usize,
) -> V::V {
    // SAFETY: passed on from the caller.
    unsafe {
        match elem {
            Elem::F32 => f32::load_some::<V>(base.cast::<f32>().add(at), n),
            Elem::Bf16 => bf16::load_some::<V>(base.cast::<bf16>().add(at), n),
            Elem::F16 => f16::load_some::<V>(base.cast::<f16>().add(at), n),
            Elem::U8 => {
                let q = u8::load_some::<V>(base.add(at), n);
                V::fma(q, V::splat(factor), V::splat(summand))
            }
        }
    }
}
