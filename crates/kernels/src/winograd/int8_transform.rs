//! The transforms of F(2×2, 3×3) over quantized values, in integers.
//!
//! Requantize less their zero point lie within ±255, so what `Bᵀ·d·B` makes of them lies within ±1020 and is
//! exact in 16 bits. With twice `G` along each axis transformed weights are integers too, and `Aᵀ·m·A`
//! gives four times the sums of the direct convolution: the same integers, as long as four times a sum
//! fits 32 bits. Where inputs and weights are rounded to bytes in the transform domain instead, sums are
//! scaled back per position and column in float32, in a fixed order, and rounded to integers; they are
//! then an approximation, the same with every set of features.

use crate::gemm::{Epilogue, GemmArgs, Requantize, requantize_tile};
use crate::operation::Operation;
use crate::simd::{Body, Ints, Vector};
use crate::{Elem, Grid};

/// Positions of the transform.
pub(super) const POINTS: usize = 16;

/// Output pixels that go through the epilogue at once.
const ROWS: usize = 32;

/// How transformed values are stored: as they are; rounded to bytes but stored in 16 bits; bytes, 128
/// higher.
pub(super) const EXACT: u8 = 0;
pub(super) const ROUNDED: u8 = 1;
pub(super) const BYTES: u8 = 2;

/// Transforms one row of input tiles of one slice.
pub(super) struct Gather<'a, const HOW: u8> {
    /// The slice at its first pixel and the first channel wanted.
    pub src: *const u8,
    pub grid: Grid,
    pub channels: usize,
    /// Zero point.
    pub zero: i16,
    /// Position of the first tile's first row and column; outside the slice counts as zero.
    pub y: i64,
    pub x: i64,
    pub tiles: usize,
    /// Transformed tiles, `row` values apart, with `plane` values between positions.
    pub dst: *mut u8,
    pub row: usize,
    pub plane: usize,
    /// What each position is multiplied by before it is rounded, times 2^15.
    pub steps: &'a [i16; POINTS],
}

/// `Bᵀ·d` of a line.
#[inline(always)]
unsafe fn input<I: Ints>(d: [I::Short; 4]) -> [I::Short; 4] {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe { [I::sub(d[0], d[2]), I::add(d[1], d[2]), I::sub(d[2], d[1]), I::sub(d[1], d[3])] }
}

/// `Aᵀ·m` of a line of sums.
#[inline(always)]
unsafe fn output_long<I: Ints>(m: [I::Long; 4]) -> [I::Long; 2] {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        let (sum, difference) = (I::add_long(m[1], m[2]), I::sub_long(m[1], m[2]));
        [I::add_long(m[0], sum), I::sub_long(difference, m[3])]
    }
}

/// `Aᵀ·m` of a line of values.
#[inline(always)]
unsafe fn output<V: Vector>(m: [V::V; 4]) -> [V::V; 2] {
    // SAFETY: register arithmetic only; the caller has the features.
    unsafe {
        let (sum, difference) = (V::add(m[1], m[2]), V::sub(m[1], m[2]));
        [V::add(m[0], sum), V::sub(difference, m[3])]
    }
}

impl<const HOW: u8> Body for Gather<'_, HOW> {
    const OPERATION: Operation = Operation::WinogradInt8Input;
    const BF16: bool = false;
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        for k in (0..self.channels).step_by(V::Ints::SHORTS) {
            let count = (self.channels - k).min(V::Ints::SHORTS);
            // SAFETY: channels k.. of valid pixels only.
            unsafe { self.lanes::<V::Ints>(k, count) }
        }
    }
}

impl<const HOW: u8> Gather<'_, HOW> {
    /// `count` channels from `k` on.
    #[inline(always)]
    unsafe fn lanes<I: Ints>(&self, k: usize, count: usize) {
        let [_, _, h, w, _] = self.grid.dims;
        let [_, _, sy, sx] = self.grid.strides;
        // SAFETY: loads only inside the slice, stores inside the planned scratch.
        unsafe {
            let (zero, none) = (I::splat(self.zero), I::splat(0));
            let mut rows = [false; 4];
            for (i, row) in rows.iter_mut().enumerate() {
                *row = self.y + i as i64 >= 0 && self.y + (i as i64) < h as i64;
            }
            let inside = self.y >= 0 && self.y + 3 < h as i64;
            let base = self.src.wrapping_offset(self.y as isize * sy as isize).wrapping_add(k);
            let mut columns = [[none; 4]; 4];
            for t in 0..self.tiles {
                columns[0] = columns[2];
                columns[1] = columns[3];
                for j in if t == 0 { 0 } else { 2 }..4 {
                    let x = self.x + (2 * t + j) as i64;
                    if !(0..w as i64).contains(&x) {
                        columns[j] = [none; 4];
                        continue;
                    }
                    let p = base.wrapping_add(x as usize * sx);
                    let mut d = [none; 4];
                    for (i, v) in d.iter_mut().enumerate() {
                        if inside || rows[i] {
                            *v = I::sub(I::load_u8(p.wrapping_add(i * sy), count), zero);
                        }
                    }
                    columns[j] = input::<I>(d);
                }
                let at = t * self.row + k;
                for i in 0..4 {
                    let line = input::<I>([columns[0][i], columns[1][i], columns[2][i], columns[3][i]]);
                    for (j, v) in line.into_iter().enumerate() {
                        let point = 4 * i + j;
                        let place = point * self.plane + at;
                        let v = if HOW == EXACT { v } else { I::scaled(v, I::splat(self.steps[point])) };
                        match HOW {
                            EXACT => I::store(self.dst.cast::<i16>().wrapping_add(place), v, count),
                            ROUNDED => {
                                I::store(self.dst.cast::<i16>().wrapping_add(place), I::clamp_byte(v), count)
                            }
                            _ => I::store_bytes(self.dst.wrapping_add(place), v, count),
                        }
                    }
                }
            }
        }
    }
}

/// Transforms one row of products back to the direct convolution's sums, and stores the outputs with
/// their epilogue.
pub(super) struct Scatter<'a> {
    /// Sums, one row of columns a tile, `plane` between positions.
    pub src: *const i32,
    pub plane: usize,
    pub row: usize,
    /// Where sums of products become those of the convolution by a factor: `[position][column]`, `total`
    /// columns each. `None`: they are exact.
    pub ratio: Option<&'a [f32]>,
    pub total: usize,
    /// Room for two rows of pixels of `row` sums each, and 16 more.
    pub buffer: *mut i32,
    /// The first output pixel, in bytes, and strides down and across, in elements.
    pub dst: *mut u8,
    pub elem: Elem,
    pub strides: [usize; 2],
    /// The residual at that pixel, or null, and its strides.
    pub residual: *const u8,
    pub residual_strides: [usize; 2],
    /// Output rows (at most 2) and columns.
    pub size: [usize; 2],
    /// Columns to store.
    pub columns: usize,
    /// The epilogue of a direct sum.
    pub epilogue: Epilogue,
    pub requantize: Requantize,
}

impl Body for Scatter<'_> {
    const OPERATION: Operation = Operation::WinogradInt8Output;
    const BF16: bool = false;
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: passed on from the caller.
        unsafe {
            match self.ratio {
                None => self.exact::<V::Ints>(),
                Some(ratio) => self.rounded::<V>(ratio),
            }
            self.finish::<V>();
        }
    }
}

impl Scatter<'_> {
    /// Where output pixel `[i, x]` has its sums.
    #[inline(always)]
    fn place(&self, i: usize, x: usize) -> *mut i32 {
        self.buffer.wrapping_add((i * self.size[1] + x) * self.row)
    }

    #[inline(always)]
    unsafe fn exact<I: Ints>(&self) {
        let [rows, across] = self.size;
        // SAFETY: products are padded to whole registers; the buffer holds the pixels.
        unsafe {
            for t in 0..across.div_ceil(2) {
                for k in (0..self.row).step_by(I::LONGS) {
                    let src = self.src.wrapping_add(t * self.row + k);
                    let none = I::load_long(src);
                    let mut lines = [[none; 4]; 2];
                    for j in 0..4 {
                        let mut m = [none; 4];
                        for (i, v) in m.iter_mut().enumerate() {
                            *v = I::load_long(src.wrapping_add((4 * i + j) * self.plane));
                        }
                        let y = output_long::<I>(m);
                        (lines[0][j], lines[1][j]) = (y[0], y[1]);
                    }
                    for (i, line) in lines.into_iter().enumerate().take(rows) {
                        let y = output_long::<I>(line);
                        I::store_long(self.place(i, 2 * t).wrapping_add(k), I::quarter(y[0]));
                        if 2 * t + 1 < across {
                            I::store_long(self.place(i, 2 * t + 1).wrapping_add(k), I::quarter(y[1]));
                        }
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn rounded<V: Vector>(&self, ratio: &[f32]) {
        let [rows, across] = self.size;
        // SAFETY: products are padded to whole registers; the buffer holds the pixels.
        unsafe {
            for t in 0..across.div_ceil(2) {
                for k in (0..self.row).step_by(V::LANES) {
                    let src = self.src.wrapping_add(t * self.row + k);
                    let none = V::splat(0.0);
                    let mut lines = [[none; 4]; 2];
                    for j in 0..4 {
                        let mut m = [none; 4];
                        for (i, v) in m.iter_mut().enumerate() {
                            let point = 4 * i + j;
                            let factor = V::load(ratio.as_ptr().wrapping_add(point * self.total + k));
                            *v = V::mul(V::load_int(src.wrapping_add(point * self.plane)), factor);
                        }
                        let y = output::<V>(m);
                        (lines[0][j], lines[1][j]) = (y[0], y[1]);
                    }
                    for (i, line) in lines.into_iter().enumerate().take(rows) {
                        let y = output::<V>(line);
                        V::store_int(self.place(i, 2 * t).wrapping_add(k), y[0]);
                        if 2 * t + 1 < across {
                            V::store_int(self.place(i, 2 * t + 1).wrapping_add(k), y[1]);
                        }
                    }
                }
            }
        }
    }

    /// The epilogue of the sums in the buffer.
    #[inline(always)]
    unsafe fn finish<V: Vector>(&self) {
        let [rows, across] = self.size;
        for i in 0..rows {
            for x in (0..across).step_by(ROWS) {
                let at = |strides: [usize; 2]| i * strides[0] + x * strides[1];
                let mut epilogue = Epilogue { requantize: Some(self.requantize), ..self.epilogue };
                if !self.residual.is_null() {
                    let size = self.requantize.residual.0.size();
                    epilogue.residual = self.residual.wrapping_add(size * at(self.residual_strides));
                }
                let args = GemmArgs {
                    a: std::ptr::null(),
                    a_row: 0,
                    taps: &[],
                    run: 0,
                    b: std::ptr::null(),
                    c: self.dst.wrapping_add(self.elem.size() * at(self.strides)),
                    c_row: self.strides[1] as isize,
                    m: (across - x).min(ROWS),
                    n: self.columns,
                    lines: None,
                    epilogue,
                };
                // SAFETY: the item's own part of the output; the sums were just written.
                unsafe { requantize_tile::<V>(&args, self.place(i, x), self.row) };
            }
        }
    }
}
