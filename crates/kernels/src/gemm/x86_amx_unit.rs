//! The matrix unit itself, in instructions and as a model in plain loops for tests on other CPUs.

use super::Tap;
use crate::tile_registers::{Layout, lay_out};
use std::arch::asm;
use std::arch::x86_64::{_mm512_maskz_loadu_epi8, _mm512_storeu_si512};
use std::mem::MaybeUninit;

/// Rows of a tile register.
pub(super) const ROWS: usize = 16;

/// Products to be added up, in bytes. Its layout is that which the instructions read.
#[repr(C)]
pub(super) struct Products {
    /// What sums begin with.
    pub start: *const i32,
    /// Distance between rows of `start`; 0 repeats the first.
    pub start_row: usize,
    /// The runs, and where their list ends.
    pub taps: *const Tap,
    pub end: *const Tap,
    /// A at the first row, before tap offsets.
    pub a: *const u8,
    /// The packed panel.
    pub b: *const u8,
    /// Steps of a run.
    pub steps: usize,
    /// Distances from step to step.
    pub a_step: usize,
    pub b_step: usize,
    /// Distance between rows of A.
    pub a_row: isize,
    /// Where the sums go, and from row to row there and of the panel.
    pub to: *mut i32,
    pub width: usize,
}

/// What is multiplied.
pub(super) trait Kind {
    /// Bytes of a value of A.
    const SIZE: usize;
    /// The bits of a sum of that value.
    #[cfg(test)]
    fn of_f32(x: f32) -> i32;
    /// `sum + Σ a·b` over the values of a group, in bits.
    #[cfg(test)]
    fn add(sum: i32, a: [u8; 4], b: [u8; 4]) -> i32;
}

/// Unsigned by signed INT8.
pub(super) struct Int8;
/// Pairs of bfloat16.
pub(super) struct Bf16;

impl Kind for Int8 {
    const SIZE: usize = 1;
    #[cfg(test)]
    fn of_f32(x: f32) -> i32 {
        x as i32
    }
    #[cfg(test)]
    fn add(sum: i32, a: [u8; 4], b: [u8; 4]) -> i32 {
        (0..4).fold(sum, |s, i| s.wrapping_add(a[i] as i32 * b[i] as i8 as i32))
    }
}

impl Kind for Bf16 {
    const SIZE: usize = 2;
    #[cfg(test)]
    fn of_f32(x: f32) -> i32 {
        x.to_bits() as i32
    }
    #[cfg(test)]
    fn add(sum: i32, a: [u8; 4], b: [u8; 4]) -> i32 {
        let value = |x: [u8; 4], i: usize| {
            half::bf16::from_bits(u16::from_ne_bytes([x[2 * i], x[2 * i + 1]])).to_f32()
        };
        let sum = f32::from_bits(sum as u32);
        Self::of_f32((0..2).fold(sum, |s, i| s + value(a, i) * value(b, i)))
    }
}

/// A matrix unit: sums of `m` rows and `columns` registers of 16 columns, two at most for up to 32 rows or
/// one for up to 64.
///
/// # Safety
/// The unit must be available; what the pointers of [`Products`] lead to must be readable for all steps of
/// all runs, and `to` have room for whole registers.
pub(super) unsafe trait Unit {
    /// Prepares for steps of `groups` groups.
    unsafe fn lay_out(m: usize, columns: usize, groups: usize);
    /// Adds up the products, for what was prepared.
    unsafe fn multiply<K: Kind>(m: usize, columns: usize, products: &Products);
    /// Copies bytes `from..to` of the 64 from `row` on to their places; the others become 0. Nothing else
    /// is read.
    unsafe fn copy(row: *const u8, bytes: (usize, usize), to: &mut MaybeUninit<[u8; 64]>);
}

/// Tile registers: sums in 0 to 3; the last rows of A in 7, or in 5 where there are two columns; other rows of A in
/// 4 and 5; B in 6, and in 7 where there are two columns.
pub(super) struct Amx;

/// The products of one shape: how sums are loaded, a step taken, and sums stored, in instructions that use
/// the registers named below.
macro_rules! products {
    ($p:expr, $size:literal, [$($load:literal)*] [$(($($step:tt)*))*] [$($store:literal)*]) => {
        asm!(
            // `x`: the first row, `n`: from row to row, `d`: from one register of sums to the one below.
            "mov {x}, [{p}]",
            "mov {n}, [{p} + 8]",
            "mov {d}, {n}",
            "shl {d}, 4",
            $($load,)*
            "mov {row}, [{p} + 72]",
            "mov {d}, {row}",
            "shl {d}, 4",
            "mov {t}, [{p} + 16]",
            "2:",
            "cmp {t}, [{p} + 24]",
            "je 4f",
            concat!("imul {a}, qword ptr [{t}], ", $size),
            "add {a}, [{p} + 32]",
            "mov {b}, [{t} + 8]",
            "shl {b}, 2",
            "add {b}, [{p} + 40]",
            "add {t}, 16",
            "mov {n}, [{p} + 48]",
            // `a` and `b`: where the step begins.
            "3:",
            $(concat!($($step)*),)*
            "add {a}, [{p} + 56]",
            "add {b}, [{p} + 64]",
            "dec {n}",
            "jnz 3b",
            "jmp 2b",
            "4:",
            "mov {x}, [{p} + 80]",
            "mov {d}, {width}",
            "shl {d}, 4",
            $($store,)*
            p = in(reg) $p,
            width = in(reg) $p.width,
            x = out(reg) _, n = out(reg) _, d = out(reg) _, row = out(reg) _,
            t = out(reg) _, a = out(reg) _, b = out(reg) _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack)
        )
    };
}

/// Chooses the shape.
macro_rules! shapes {
    ($op:literal, $size:literal, $rows:expr, $columns:expr, $p:expr) => {
        match ($rows, $columns) {
            (1, 1) => products!($p, $size,
                ["tileloadd tmm0, [{x} + {n}*1]"]
                [("tileloadd tmm6, [{b} + {width}*1]")
                 ("tileloadd tmm7, [{a} + {row}*1]") ($op, " tmm0, tmm7, tmm6")]
                ["tilestored [{x} + {width}*1], tmm0"]),
            (2, 1) => products!($p, $size,
                ["tileloadd tmm0, [{x} + {n}*1]" "add {x}, {d}" "tileloadd tmm1, [{x} + {n}*1]"]
                [("tileloadd tmm6, [{b} + {width}*1]") ("lea {x}, [{a} + {d}]")
                 ("tileloadd tmm4, [{a} + {row}*1]") ($op, " tmm0, tmm4, tmm6")
                 ("tileloadd tmm7, [{x} + {row}*1]") ($op, " tmm1, tmm7, tmm6")]
                ["tilestored [{x} + {width}*1], tmm0" "add {x}, {d}" "tilestored [{x} + {width}*1], tmm1"]),
            (3, 1) => products!($p, $size,
                ["tileloadd tmm0, [{x} + {n}*1]" "add {x}, {d}" "tileloadd tmm1, [{x} + {n}*1]"
                 "add {x}, {d}" "tileloadd tmm2, [{x} + {n}*1]"]
                [("tileloadd tmm6, [{b} + {width}*1]") ("lea {x}, [{a} + {d}]")
                 ("tileloadd tmm4, [{a} + {row}*1]") ($op, " tmm0, tmm4, tmm6")
                 ("tileloadd tmm5, [{x} + {row}*1]") ("add {x}, {d}") ($op, " tmm1, tmm5, tmm6")
                 ("tileloadd tmm7, [{x} + {row}*1]") ($op, " tmm2, tmm7, tmm6")]
                ["tilestored [{x} + {width}*1], tmm0" "add {x}, {d}" "tilestored [{x} + {width}*1], tmm1"
                 "add {x}, {d}" "tilestored [{x} + {width}*1], tmm2"]),
            (_, 1) => products!($p, $size,
                ["tileloadd tmm0, [{x} + {n}*1]" "add {x}, {d}" "tileloadd tmm1, [{x} + {n}*1]"
                 "add {x}, {d}" "tileloadd tmm2, [{x} + {n}*1]" "add {x}, {d}" "tileloadd tmm3, [{x} + {n}*1]"]
                [("tileloadd tmm6, [{b} + {width}*1]") ("lea {x}, [{a} + {d}]")
                 ("tileloadd tmm4, [{a} + {row}*1]") ($op, " tmm0, tmm4, tmm6")
                 ("tileloadd tmm5, [{x} + {row}*1]") ("add {x}, {d}") ($op, " tmm1, tmm5, tmm6")
                 ("tileloadd tmm4, [{x} + {row}*1]") ("add {x}, {d}") ($op, " tmm2, tmm4, tmm6")
                 ("tileloadd tmm7, [{x} + {row}*1]") ($op, " tmm3, tmm7, tmm6")]
                ["tilestored [{x} + {width}*1], tmm0" "add {x}, {d}" "tilestored [{x} + {width}*1], tmm1"
                 "add {x}, {d}" "tilestored [{x} + {width}*1], tmm2"
                 "add {x}, {d}" "tilestored [{x} + {width}*1], tmm3"]),
            (1, _) => products!($p, $size,
                ["tileloadd tmm0, [{x} + {n}*1]" "tileloadd tmm1, [{x} + {n}*1 + 64]"]
                [("tileloadd tmm5, [{a} + {row}*1]")
                 ("tileloadd tmm6, [{b} + {width}*1]") ($op, " tmm0, tmm5, tmm6")
                 ("tileloadd tmm7, [{b} + {width}*1 + 64]") ($op, " tmm1, tmm5, tmm7")]
                ["tilestored [{x} + {width}*1], tmm0" "tilestored [{x} + {width}*1 + 64], tmm1"]),
            (_, _) => products!($p, $size,
                ["tileloadd tmm0, [{x} + {n}*1]" "tileloadd tmm1, [{x} + {n}*1 + 64]" "add {x}, {d}"
                 "tileloadd tmm2, [{x} + {n}*1]" "tileloadd tmm3, [{x} + {n}*1 + 64]"]
                [("tileloadd tmm4, [{a} + {row}*1]") ("lea {x}, [{a} + {d}]")
                 ("tileloadd tmm6, [{b} + {width}*1]") ($op, " tmm0, tmm4, tmm6")
                 ("tileloadd tmm7, [{b} + {width}*1 + 64]") ($op, " tmm1, tmm4, tmm7")
                 ("tileloadd tmm5, [{x} + {row}*1]") ($op, " tmm2, tmm5, tmm6") ($op, " tmm3, tmm5, tmm7")]
                ["tilestored [{x} + {width}*1], tmm0" "tilestored [{x} + {width}*1 + 64], tmm1" "add {x}, {d}"
                 "tilestored [{x} + {width}*1], tmm2" "tilestored [{x} + {width}*1 + 64], tmm3"]),
        }
    };
}

// SAFETY: every instruction reads and writes what the trait's contract allows; zero-masked bytes are not
// read.
unsafe impl Unit for Amx {
    #[inline(always)]
    unsafe fn lay_out(m: usize, columns: usize, groups: usize) {
        let key = (m | columns << 8 | groups << 16) as u32;
        // SAFETY: passed on from the caller.
        unsafe { lay_out(key, || layout(m, columns, groups)) }
    }

    #[inline(always)]
    unsafe fn multiply<K: Kind>(m: usize, columns: usize, products: &Products) {
        let rows = m.div_ceil(ROWS);
        // SAFETY: passed on from the caller.
        unsafe {
            match K::SIZE {
                1 => shapes!("tdpbusd", 1, rows, columns, products),
                _ => shapes!("tdpbf16ps", 2, rows, columns, products),
            }
        }
    }

    #[inline(always)]
    unsafe fn copy(row: *const u8, (from, to): (usize, usize), out: &mut MaybeUninit<[u8; 64]>) {
        // SAFETY: passed on from the caller.
        unsafe { copy_masked(row, (u64::MAX << from) & (u64::MAX >> (64 - to)), out) }
    }
}

/// Copies the bytes of `mask`.
///
/// # Safety
/// They must be readable, and the CPU have AVX-512 BW.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn copy_masked(row: *const u8, mask: u64, out: &mut MaybeUninit<[u8; 64]>) {
    // SAFETY: passed on from the caller.
    unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), _mm512_maskz_loadu_epi8(mask, row.cast())) }
}

/// The layout for `m` rows, so many registers of columns, and steps of `groups` groups.
fn layout(m: usize, columns: usize, groups: usize) -> Layout {
    let registers = m.div_ceil(ROWS);
    let height = |i: usize| m.saturating_sub(i * ROWS).min(ROWS);
    let (last, wide) = (height(registers - 1), columns == 2);
    let mut tiles = [(0, 0); 8];
    for (i, tile) in tiles.iter_mut().enumerate().take(4) {
        *tile = (height(if wide { i / 2 } else { i }), 64);
    }
    tiles[4] = (ROWS, 4 * groups);
    tiles[5] = (if wide { last } else { ROWS }, 4 * groups);
    tiles[6] = (groups, 64);
    tiles[7] = if wide { (groups, 64) } else { (last, 4 * groups) };
    Layout::new(tiles)
}

/// The unit in plain loops.
#[cfg(test)]
pub(super) struct Model;

// SAFETY: needs no feature; reads and writes what the trait's contract allows.
#[cfg(test)]
unsafe impl Unit for Model {
    unsafe fn lay_out(m: usize, columns: usize, groups: usize) {
        let layout = layout(m, columns, groups);
        MODEL.set((m, columns, groups));
        assert!(layout.fits(), "{m} rows, {columns} columns, {groups} groups");
    }

    unsafe fn multiply<K: Kind>(m: usize, columns: usize, p: &Products) {
        let (laid_out, wide, groups) = MODEL.get();
        assert_eq!((m, columns), (laid_out, wide), "laid out for others");
        let mut tap = p.taps;
        // SAFETY: the trait's contract.
        unsafe {
            for i in 0..m {
                for n in 0..16 * columns {
                    *p.to.add(i * 16 * columns + n) = *p.start.byte_add(i * p.start_row).add(n);
                }
            }
            while tap != p.end {
                let a = p.a.wrapping_offset((*tap).a * K::SIZE as isize);
                let b = p.b.add(4 * (*tap).b);
                for (step, g) in (0..p.steps).flat_map(|s| (0..groups).map(move |g| (s, g))) {
                    for i in 0..m {
                        let at =
                            a.wrapping_offset(i as isize * p.a_row).wrapping_add(step * p.a_step + 4 * g);
                        let four = at.cast::<[u8; 4]>().read_unaligned();
                        for n in 0..16 * columns {
                            let sum = p.to.add(i * 16 * columns + n);
                            let weights = b.add(step * p.b_step + 4 * (g * 16 * columns + n));
                            *sum = K::add(*sum, four, weights.cast::<[u8; 4]>().read_unaligned());
                        }
                    }
                }
                tap = tap.add(1);
            }
        }
    }

    unsafe fn copy(row: *const u8, (from, to): (usize, usize), out: &mut MaybeUninit<[u8; 64]>) {
        let mut bytes = [0; 64];
        for i in from..to {
            // SAFETY: the trait's contract.
            bytes[i] = unsafe { *row.wrapping_add(i) };
        }
        out.write(bytes);
    }
}

#[cfg(test)]
thread_local! {
    /// What the model was laid out for.
    static MODEL: std::cell::Cell<(usize, usize, usize)> = const { std::cell::Cell::new((0, 0, 0)) };
}
