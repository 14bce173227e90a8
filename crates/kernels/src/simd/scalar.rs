//! One lane in portable Rust: the reference.

use super::{Body, Element, Vector};
use crate::elem::{bf16, f16};

/// One float32. The instruction set that every CPU of a kind has may lack a fused multiply-add: unless `FUSED`,
/// [`Vector::fma`] rounds the product too, on every architecture, so that results are the same bits on all of them.
#[derive(Clone, Copy)]
pub struct Single<const FUSED: bool>;

/// The backend of float32.
pub type Scalar = Single<false>;

/// Runs `body` on single values.
///
/// # Safety
/// The body's own needs must hold.
#[inline(never)]
pub(super) unsafe fn enter<B: Body>(body: B) -> B::Out {
    // SAFETY: passed on from the caller.
    unsafe { if const { B::FUSED } { body.run::<Single<true>>() } else { body.run::<Single<false>>() } }
}

/// `a·b + c`, rounded once.
#[inline(always)]
pub(super) fn fused(a: f32, b: f32, c: f32) -> f32 {
    // Every 64-bit ARM has the instruction.
    if cfg!(target_arch = "aarch64") {
        return a.mul_add(b, c);
    }
    emulated(a, b, c)
}

/// [`fused`] through float64 instead of the C library's slow fmaf. The product is exact there; the sum is rounded to odd
/// (Boldo and Melquiond, 2008), so that the second rounding cannot tip a tie that the first one made. A function of its
/// own: in line in every kernel it made up a large part of the program.
#[inline(never)]
fn emulated(a: f32, b: f32, c: f32) -> f32 {
    let (p, c) = (a as f64 * b as f64, c as f64);
    let s = p + c;
    let t = s - p;
    let lost = (p - (s - t)) + (c - t);
    let bits = s.to_bits();
    let away = (lost > 0.0) == (s > 0.0);
    let odd = if away { bits + 1 } else { bits.wrapping_sub(1) };
    let inexact = lost != 0.0 && bits & 1 == 0 && s.is_finite();
    f64::from_bits(if inexact { odd } else { bits }) as f32
}

// SAFETY: portable code; pointer validity is the caller's.
unsafe impl<const FUSED: bool> Vector for Single<FUSED> {
    type V = f32;
    type Ints = Scalar;
    const LANES: usize = 1;

    #[inline(always)]
    unsafe fn outlined<B: Body>(body: B) -> B::Out {
        // SAFETY: passed on from the caller.
        unsafe { enter(body) }
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> f32 {
        x
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> f32 {
        // SAFETY: valid by the trait's contract.
        unsafe { *p }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> f32 {
        // SAFETY: valid by the trait's contract.
        if n == 0 { 0.0 } else { unsafe { *p } }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: f32) {
        // SAFETY: valid by the trait's contract.
        unsafe { *p = v }
    }
    #[inline(always)]
    unsafe fn store_part(p: *mut f32, v: f32, n: usize) {
        if n > 0 {
            // SAFETY: valid by the trait's contract.
            unsafe { *p = v }
        }
    }
    #[inline(always)]
    unsafe fn load_bf16(p: *const bf16) -> f32 {
        // SAFETY: valid by the trait's contract.
        unsafe { (*p).get() }
    }
    #[inline(always)]
    unsafe fn load_bf16_part(p: *const bf16, n: usize) -> f32 {
        // SAFETY: valid by the trait's contract.
        if n == 0 { 0.0 } else { unsafe { (*p).get() } }
    }
    #[inline(always)]
    unsafe fn store_bf16(p: *mut bf16, v: f32) {
        // SAFETY: valid by the trait's contract.
        unsafe { *p = bf16::of(v) }
    }
    #[inline(always)]
    unsafe fn store_bf16_part(p: *mut bf16, v: f32, n: usize) {
        if n > 0 {
            // SAFETY: valid by the trait's contract.
            unsafe { *p = bf16::of(v) }
        }
    }
    #[inline(always)]
    unsafe fn splat_bf16(p: *const bf16) -> f32 {
        // SAFETY: valid by the trait's contract.
        unsafe { (*p).get() }
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const f16) -> f32 {
        // SAFETY: valid by the trait's contract.
        unsafe { (*p).get() }
    }
    #[inline(always)]
    unsafe fn load_f16_part(p: *const f16, n: usize) -> f32 {
        // SAFETY: valid by the trait's contract.
        if n == 0 { 0.0 } else { unsafe { (*p).get() } }
    }
    #[inline(always)]
    unsafe fn store_f16(p: *mut f16, v: f32) {
        // SAFETY: valid by the trait's contract.
        unsafe { *p = f16::of(v) }
    }
    #[inline(always)]
    unsafe fn store_f16_part(p: *mut f16, v: f32, n: usize) {
        if n > 0 {
            // SAFETY: valid by the trait's contract.
            unsafe { *p = f16::of(v) }
        }
    }
    #[inline(always)]
    unsafe fn load_u8(p: *const u8) -> f32 {
        // SAFETY: valid by the trait's contract.
        unsafe { (*p).get() }
    }
    #[inline(always)]
    unsafe fn load_u8_part(p: *const u8, n: usize) -> f32 {
        // SAFETY: valid by the trait's contract.
        if n == 0 { 0.0 } else { unsafe { (*p).get() } }
    }
    #[inline(always)]
    unsafe fn store_u8(p: *mut u8, v: f32) {
        // SAFETY: valid by the trait's contract.
        unsafe { *p = <u8 as Element>::of(v) }
    }
    #[inline(always)]
    unsafe fn store_u8_part(p: *mut u8, v: f32, n: usize) {
        if n > 0 {
            // SAFETY: valid by the trait's contract.
            unsafe { *p = <u8 as Element>::of(v) }
        }
    }
    #[inline(always)]
    unsafe fn load_int(p: *const i32) -> f32 {
        // SAFETY: valid by the trait's contract.
        unsafe { *p as f32 }
    }
    #[inline(always)]
    unsafe fn store_int(p: *mut i32, v: f32) {
        // SAFETY: valid by the trait's contract.
        unsafe { *p = v.round_ties_even() as i32 }
    }
    #[inline(always)]
    unsafe fn fma(a: f32, b: f32, c: f32) -> f32 {
        if FUSED { fused(a, b, c) } else { a * b + c }
    }
    #[inline(always)]
    unsafe fn add(a: f32, b: f32) -> f32 {
        a + b
    }
    #[inline(always)]
    unsafe fn sub(a: f32, b: f32) -> f32 {
        a - b
    }
    #[inline(always)]
    unsafe fn mul(a: f32, b: f32) -> f32 {
        a * b
    }
    #[inline(always)]
    unsafe fn div(a: f32, b: f32) -> f32 {
        a / b
    }
    #[inline(always)]
    unsafe fn max(a: f32, b: f32) -> f32 {
        if a > b { a } else { b }
    }
    #[inline(always)]
    unsafe fn min(a: f32, b: f32) -> f32 {
        if a < b { a } else { b }
    }
    #[inline(always)]
    unsafe fn sqrt(a: f32) -> f32 {
        a.sqrt()
    }
    #[inline(always)]
    unsafe fn round(a: f32) -> f32 {
        a.round_ties_even()
    }
    #[inline(always)]
    unsafe fn abs(a: f32) -> f32 {
        a.abs()
    }
    #[inline(always)]
    unsafe fn pow2(a: f32) -> f32 {
        f32::from_bits(((a as i32 + 127) << 23) as u32)
    }
    #[inline(always)]
    unsafe fn select_lt(a: f32, b: f32, t: f32, f: f32) -> f32 {
        if a < b { t } else { f }
    }
}
