//! The one contract of GEMM and convolution:
//! `C[m, n] = epilogue(Σ_taps Σ_k A[m·a_row + tap.a + k] · B[tap.b + k·nr + n])`.
//!
//! On channels-last data a 3×3×3 convolution row is nine taps with runs of 3·C, so nothing is
//! gathered or copied; a GEMM is one tap. Sums run in one fixed order per output element, so the
//! bits do not depend on how work is divided.

mod requantize;
#[cfg(target_arch = "x86_64")]
mod x86_float;
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86_int8;

use crate::simd::Vector;
use crate::{Elem, Element, Floats, Isa, bf16};
pub use requantize::Requantize;
pub(crate) use requantize::finish as requantize_tile;

/// One contiguous run of the reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tap {
    /// Offset into A, in elements, relative to the tile's first row.
    pub a: isize,
    /// Offset into the packed panel of B, in groups of 32 bits.
    pub b: usize,
}

/// What happens to a sum before it is stored: `y = act(sum + bias + residual)`.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue {
    /// `nr` values, or null for none.
    pub bias: *const f32,
    /// Added to the result; same type and column layout as C. Null for none.
    pub residual: *const u8,
    /// Distance between the rows of `residual`, in elements.
    pub residual_row: isize,
    /// The activation.
    pub act: Act,
    /// How C is stored, and the residual of float sums: those of floats are float32 or bfloat16.
    pub elem: Elem,
    /// What INT8 sums need besides.
    pub requantize: Option<Requantize>,
}

/// What A and the 32-bit groups of B are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// float32; a group is one of them.
    F32,
    /// bfloat16; a group is a pair of neighbouring k.
    Bf16,
    /// Unsigned INT8; B is packed 4-wide (VNNI): a group is four signed INT8 weights of neighbouring k.
    U8,
    /// INT8 less its zero point in 16 bits; a group is a pair of weights.
    I16,
}

impl Operand {
    /// Bytes of a value of A.
    pub fn size(self) -> usize {
        4 / self.per_group()
    }

    /// Values of a run that a group of B holds.
    pub const fn per_group(self) -> usize {
        match self {
            Operand::F32 => 1,
            Operand::Bf16 | Operand::I16 => 2,
            Operand::U8 => 4,
        }
    }

    /// Whether sums are integers.
    pub fn integer(self) -> bool {
        matches!(self, Operand::U8 | Operand::I16)
    }

    /// Lower-case name, as in those of tiles.
    pub fn name(self) -> &'static str {
        match self {
            Operand::F32 => "f32",
            Operand::Bf16 => "bf16",
            Operand::U8 => "u8",
            Operand::I16 => "i16",
        }
    }

    /// The group of values that `at` gives for places 0 to `count` below [`Operand::per_group`].
    pub(crate) fn group(self, count: usize, at: impl Fn(usize) -> f32) -> f32 {
        let value = |i: usize| if i < count { at(i) } else { 0.0 };
        match self {
            Operand::F32 => value(0),
            Operand::Bf16 => {
                let bits = |i: usize| bf16::of(value(i)).to_bits() as u32;
                f32::from_bits(bits(0) | bits(1) << 16)
            }
            Operand::I16 => {
                let bits = |i: usize| value(i) as i16 as u16 as u32;
                f32::from_bits(bits(0) | bits(1) << 16)
            }
            Operand::U8 => f32::from_ne_bytes([0, 1, 2, 3].map(|i| value(i) as i8 as u8)),
        }
    }
}

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
}

/// Arguments of a tile.
#[derive(Clone, Copy, Debug)]
pub struct GemmArgs<'a> {
    /// A at the tile's first row, before tap offsets; of the kernel's type.
    pub a: *const u8,
    /// Distance between rows of A, in elements.
    pub a_row: isize,
    /// The runs of the reduction.
    pub taps: &'a [Tap],
    /// Length of each run.
    pub run: usize,
    /// The packed panel: `nr` groups for each k, pair or four of them.
    pub b: *const f32,
    /// C at the tile's first row and column.
    pub c: *mut u8,
    /// Distance between rows of C, in elements.
    pub c_row: isize,
    /// Rows, 1 to the kernel's `mr`.
    pub m: usize,
    /// Columns to store, 1 to the kernel's `nr`.
    pub n: usize,
    /// The epilogue.
    pub epilogue: Epilogue,
}

/// One register tile.
pub struct MicroKernel {
    /// `{types}_{op}_{mr}x{nr}_{isa}`.
    pub name: &'static str,
    /// The tier it needs.
    pub isa: Isa,
    /// What A and the 32-bit groups of B are made of.
    pub a: Operand,
    /// Most rows.
    pub mr: usize,
    /// Columns of a packed panel.
    pub nr: usize,
    /// Computes one tile.
    ///
    /// # Safety
    /// The tier must be supported; for all rows and taps A and the residual must be readable, the
    /// panel must hold `tap.b + run·nr` elements, the bias `nr`, and C must be writable.
    pub run: unsafe fn(&GemmArgs),
}

/// An entry of [`KERNELS`] for float32.
const fn wide(isa: Isa, [mr, nr]: [usize; 2], name: &'static str, run: unsafe fn(&GemmArgs)) -> MicroKernel {
    MicroKernel { name, isa, a: Operand::F32, mr, nr, run }
}

/// An entry of [`KERNELS`] for products of bfloat16 pairs.
#[cfg(target_arch = "x86_64")]
const fn pairs([mr, nr]: [usize; 2], name: &'static str, run: unsafe fn(&GemmArgs)) -> MicroKernel {
    MicroKernel { name, isa: Isa::Avx512Bf16, a: Operand::Bf16, mr, nr, run }
}

/// An entry of [`KERNELS`] for integers of 16 bits.
const fn integers(
    isa: Isa,
    [mr, nr]: [usize; 2],
    name: &'static str,
    run: unsafe fn(&GemmArgs),
) -> MicroKernel {
    MicroKernel { name, isa, a: Operand::I16, mr, nr, run }
}

/// An entry of [`KERNELS`] for products of bytes.
#[cfg(target_arch = "x86_64")]
const fn bytes(isa: Isa, [mr, nr]: [usize; 2], name: &'static str, run: unsafe fn(&GemmArgs)) -> MicroKernel {
    MicroKernel { name, isa, a: Operand::U8, mr, nr, run }
}

/// Every tile, by tier and type with ascending width. The scalar ones are the reference.
pub static KERNELS: &[MicroKernel] = &[
    wide(Isa::Scalar, [4, 8], "f32_gemm_4x8_scalar", scalar),
    #[cfg(target_arch = "x86_64")]
    wide(Isa::Avx2, [4, 1], "f32_gemm_4x1_avx2", x86_float::avx2_4x1),
    #[cfg(target_arch = "x86_64")]
    wide(Isa::Avx2, [12, 8], "f32_gemm_12x8_avx2", x86_float::avx2_12x8),
    #[cfg(target_arch = "x86_64")]
    wide(Isa::Avx2, [6, 16], "f32_gemm_6x16_avx2", x86_float::avx2_6x16),
    #[cfg(target_arch = "x86_64")]
    wide(Isa::Avx2, [4, 24], "f32_gemm_4x24_avx2", x86_float::avx2_4x24),
    #[cfg(target_arch = "x86_64")]
    wide(Isa::Avx512, [8, 1], "f32_gemm_8x1_avx512", x86_float::avx512_8x1),
    #[cfg(target_arch = "x86_64")]
    wide(Isa::Avx512, [24, 16], "f32_gemm_24x16_avx512", x86_float::avx512_24x16),
    #[cfg(target_arch = "x86_64")]
    wide(Isa::Avx512, [14, 32], "f32_gemm_14x32_avx512", x86_float::avx512_14x32),
    #[cfg(target_arch = "x86_64")]
    wide(Isa::Avx512, [9, 48], "f32_gemm_9x48_avx512", x86_float::avx512_9x48),
    #[cfg(target_arch = "x86_64")]
    pairs([8, 1], "bf16_gemm_8x1_avx512bf16", x86_float::pairs_8x1),
    #[cfg(target_arch = "x86_64")]
    pairs([24, 16], "bf16_gemm_24x16_avx512bf16", x86_float::pairs_24x16),
    #[cfg(target_arch = "x86_64")]
    pairs([14, 32], "bf16_gemm_14x32_avx512bf16", x86_float::pairs_14x32),
    #[cfg(target_arch = "x86_64")]
    pairs([9, 48], "bf16_gemm_9x48_avx512bf16", x86_float::pairs_9x48),
    integers(Isa::Scalar, [4, 8], "i16_gemm_4x8_scalar", requantize::scalar),
    #[cfg(target_arch = "x86_64")]
    integers(Isa::Avx2, [4, 1], "i16_gemm_4x1_avx2", x86_int8::avx2_4x1),
    #[cfg(target_arch = "x86_64")]
    integers(Isa::Avx2, [12, 8], "i16_gemm_12x8_avx2", x86_int8::avx2_12x8),
    #[cfg(target_arch = "x86_64")]
    integers(Isa::Avx2, [6, 16], "i16_gemm_6x16_avx2", x86_int8::avx2_6x16),
    #[cfg(target_arch = "x86_64")]
    integers(Isa::Avx2, [3, 24], "i16_gemm_3x24_avx2", x86_int8::avx2_3x24),
    #[cfg(target_arch = "x86_64")]
    bytes(Isa::Avx2Vnni, [4, 1], "u8_gemm_4x1_avx2vnni", x86_int8::avx2vnni_4x1),
    #[cfg(target_arch = "x86_64")]
    bytes(Isa::Avx2Vnni, [12, 8], "u8_gemm_12x8_avx2vnni", x86_int8::avx2vnni_12x8),
    #[cfg(target_arch = "x86_64")]
    bytes(Isa::Avx2Vnni, [6, 16], "u8_gemm_6x16_avx2vnni", x86_int8::avx2vnni_6x16),
    #[cfg(target_arch = "x86_64")]
    bytes(Isa::Avx2Vnni, [3, 24], "u8_gemm_3x24_avx2vnni", x86_int8::avx2vnni_3x24),
    #[cfg(target_arch = "x86_64")]
    integers(Isa::Avx512, [8, 1], "i16_gemm_8x1_avx512", x86_int8::avx512_8x1),
    #[cfg(target_arch = "x86_64")]
    integers(Isa::Avx512, [24, 16], "i16_gemm_24x16_avx512", x86_int8::avx512_24x16),
    #[cfg(target_arch = "x86_64")]
    integers(Isa::Avx512, [12, 32], "i16_gemm_12x32_avx512", x86_int8::avx512_12x32),
    #[cfg(target_arch = "x86_64")]
    integers(Isa::Avx512, [8, 48], "i16_gemm_8x48_avx512", x86_int8::avx512_8x48),
    #[cfg(target_arch = "x86_64")]
    bytes(Isa::Avx512Vnni, [8, 1], "u8_gemm_8x1_avx512vnni", x86_int8::avx512vnni_8x1),
    #[cfg(target_arch = "x86_64")]
    bytes(Isa::Avx512Vnni, [24, 16], "u8_gemm_24x16_avx512vnni", x86_int8::avx512vnni_24x16),
    #[cfg(target_arch = "x86_64")]
    bytes(Isa::Avx512Vnni, [14, 32], "u8_gemm_14x32_avx512vnni", x86_int8::avx512vnni_14x32),
    #[cfg(target_arch = "x86_64")]
    bytes(Isa::Avx512Vnni, [9, 48], "u8_gemm_9x48_avx512vnni", x86_int8::avx512vnni_9x48),
];

/// What a tier multiplies tensors of type `stored` as: bfloat16 and bytes themselves only where there
/// are tiles for them; they are widened elsewhere.
pub fn operand(isa: Isa, stored: Elem) -> Operand {
    match (stored, isa) {
        (Elem::Bf16, Isa::Avx512Bf16) => Operand::Bf16,
        (Elem::U8, Isa::Avx2Vnni | Isa::Avx512Vnni | Isa::Avx512Bf16) => Operand::U8,
        (Elem::U8, _) => Operand::I16,
        _ => Operand::F32,
    }
}

/// The tiles for A of type `a`, an [`operand`] of the tier, by ascending width: those of the best tier
/// that it implies.
pub fn of(isa: Isa, a: Operand) -> impl Iterator<Item = &'static MicroKernel> {
    let fits = move |k: &&MicroKernel| k.a == a && k.isa <= isa;
    let best = KERNELS.iter().filter(fits).map(|k| k.isa).max();
    KERNELS.iter().filter(move |k| fits(k) && Some(k.isa) == best)
}

impl MicroKernel {
    /// Columns of a tile counted as the multiplications that it costs: thin tiles wait for loads.
    pub(crate) fn weight(&self) -> f64 {
        if self.nr == 1 { 3.0 } else { self.nr as f64 }
    }

    /// IntAccumulators of a packed column for a run of `k`.
    pub fn groups(&self, k: usize) -> usize {
        k.div_ceil(self.a.per_group())
    }

    /// Packs one column of a run of `k`, given by `at`, into groups `nr` apart.
    pub(crate) fn column(&self, k: usize, at: impl Fn(usize) -> f32, mut put: impl FnMut(usize, f32)) {
        let per = self.a.per_group();
        for (i, k0) in (0..k).step_by(per).enumerate() {
            put(i * self.nr, self.a.group((k - k0).min(per), |j| at(k0 + j)));
        }
    }
}

/// Multiply-accumulates per nanosecond that the tiles of a tier reach on one core of a present-day
/// server or desktop CPU: for choosing between algorithms, where only ratios matter.
pub fn rate(isa: Isa, a: Operand) -> f64 {
    let wide = isa >= Isa::Avx512;
    match a {
        _ if isa == Isa::Scalar => 1.0,
        Operand::F32 if wide => 70.0,
        Operand::F32 => 35.0,
        Operand::Bf16 => 140.0,
        Operand::I16 if wide => 105.0,
        Operand::I16 => 56.0,
        Operand::U8 if wide => 280.0,
        Operand::U8 => 140.0,
    }
}

/// Nanoseconds per byte that comes from beyond the second-level cache, likewise.
pub(crate) const BEYOND: f64 = 0.11;

/// Columns up to which each is computed by itself, with the reduction in the lanes.
const THIN: usize = 4;

/// How `columns` are cut into panels on `isa`, for A of type `a` and runs of the reduction of length
/// `run`.
///
/// Rule: a few columns over long runs take one thin tile each. Otherwise the padding of the last
/// panel is minimised first; among equals wide panels win, because they reload A less often.
pub fn panels(isa: Isa, a: Operand, columns: usize, run: usize) -> Vec<&'static MicroKernel> {
    let thin = of(isa, a).find(|k| k.nr == 1);
    let kernels: Vec<&MicroKernel> = of(isa, a).filter(|k| k.nr > 1).collect();
    let lanes = kernels[0].nr;
    if let Some(thin) = thin
        && columns <= THIN
        && run >= if a == Operand::U8 { 1 } else { 2 } * lanes * a.per_group()
    {
        return vec![thin; columns];
    }
    let vectors = columns.div_ceil(lanes).max(1);
    let widest = kernels.last().map_or(1, |k| k.nr / lanes);
    // Equal shares of at most the widest: 4 vectors become 2+2, not 3+1.
    let count = vectors.div_ceil(widest);
    let (base, extra) = (vectors / count, vectors % count);
    (0..count)
        .map(|i| {
            let width = (base + (i < extra) as usize) * lanes;
            kernels.iter().find(|k| k.nr == width).copied().unwrap_or(kernels[0])
        })
        .collect()
}

/// Packs a `[k][columns]` matrix, given by `at(k, column)`, into the panels' layout: panel after
/// panel, `nr` groups for each k (or pair of them), missing columns zero.
pub fn pack(panels: &[&MicroKernel], columns: usize, k: usize, at: impl Fn(usize, usize) -> f32) -> Floats {
    let total: usize = panels.iter().map(|p| p.nr * p.groups(k)).sum();
    let mut out = Floats::zeroed(total);
    let (mut first, mut rest) = (0, &mut out[..]);
    for p in panels {
        let (panel, tail) = rest.split_at_mut(p.nr * p.groups(k));
        for n in 0..columns.saturating_sub(first).min(p.nr) {
            p.column(k, |i| at(i, first + n), |offset, group| panel[offset + n] = group);
        }
        first += p.nr;
        rest = tail;
    }
    out
}

/// The reference tile, in plain loops.
///
/// # Safety
/// See [`MicroKernel::run`].
unsafe fn scalar(args: &GemmArgs) {
    const NR: usize = 8;
    // SAFETY: the contract of `MicroKernel::run`.
    unsafe {
        for m in 0..args.m {
            let mut acc = [0f32; NR];
            if !args.epilogue.bias.is_null() {
                for (n, v) in acc.iter_mut().enumerate() {
                    *v = *args.epilogue.bias.add(n);
                }
            }
            for tap in args.taps {
                let a = args.a.cast::<f32>().wrapping_offset(m as isize * args.a_row + tap.a);
                let b = args.b.add(tap.b);
                for k in 0..args.run {
                    for (n, v) in acc.iter_mut().enumerate() {
                        *v = crate::simd::Scalar::fma(*a.add(k), *b.add(k * NR + n), *v);
                    }
                }
            }
            for (n, v) in acc.iter().enumerate().take(args.n) {
                match args.epilogue.elem {
                    Elem::F32 => finish_one::<f32>(args, m, n, *v),
                    _ => finish_one::<bf16>(args, m, n, *v),
                }
            }
        }
    }
}

/// The epilogue of one sum, its bias included, at row `m` and column `n`.
///
/// # Safety
/// See [`MicroKernel::run`]; C must be of type `C`.
unsafe fn finish_one<C: Element>(args: &GemmArgs, m: usize, n: usize, mut y: f32) {
    let e = &args.epilogue;
    // SAFETY: the contract of `MicroKernel::run`.
    unsafe {
        if !e.residual.is_null() {
            let r = e.residual.cast::<C>().wrapping_offset(m as isize * e.residual_row);
            y += (*r.add(n)).get();
        }
        let c = args.c.cast::<C>().wrapping_offset(m as isize * args.c_row);
        *c.add(n) = C::of(e.act.scalar(y));
    }
}

/// The body of the thin tiles: `M` rows of one column, the reduction in the lanes.
///
/// # Safety
/// See [`MicroKernel::run`]; the CPU must have the features of `V`.
#[inline(always)]
#[allow(dead_code)]
unsafe fn thin<V: Vector, const M: usize>(args: &GemmArgs) {
    // SAFETY: the contract of `MicroKernel::run`.
    unsafe {
        let mut acc = [V::splat(0.0); M];
        for tap in args.taps {
            let a = args.a.cast::<f32>().wrapping_offset(tap.a);
            let b = args.b.add(tap.b);
            let mut k = 0;
            while k + V::LANES <= args.run {
                let bv = V::load(b.add(k));
                for (m, v) in acc.iter_mut().enumerate() {
                    let av = V::load(a.wrapping_offset(m as isize * args.a_row).wrapping_add(k));
                    *v = V::fma(av, bv, *v);
                }
                k += V::LANES;
            }
            if k < args.run {
                let n = args.run - k;
                let bv = V::load_part(b.add(k), n);
                for (m, v) in acc.iter_mut().enumerate() {
                    let av = V::load_part(a.wrapping_offset(m as isize * args.a_row).wrapping_add(k), n);
                    *v = V::fma(av, bv, *v);
                }
            }
        }
        finish_thin::<V, M>(args, acc);
    }
}

/// Adds up the lanes of each row's sums and stores the results.
///
/// # Safety
/// See [`MicroKernel::run`]; the CPU must have the features of `V`.
#[inline(always)]
#[allow(dead_code)]
unsafe fn finish_thin<V: Vector, const M: usize>(args: &GemmArgs, acc: [V::V; M]) {
    // SAFETY: the contract of `MicroKernel::run`; the buffer holds a register.
    unsafe {
        let bias = if args.epilogue.bias.is_null() { 0.0 } else { *args.epilogue.bias };
        for (m, v) in acc.into_iter().enumerate() {
            let mut lanes = [0f32; 16];
            V::store(lanes.as_mut_ptr(), v);
            let mut width = V::LANES;
            while width > 1 {
                width /= 2;
                for i in 0..width {
                    lanes[i] += lanes[i + width];
                }
            }
            match args.epilogue.elem {
                Elem::F32 => finish_one::<f32>(args, m, 0, lanes[0] + bias),
                _ => finish_one::<bf16>(args, m, 0, lanes[0] + bias),
            }
        }
    }
}

/// How far ahead of its use a panel is asked for, in floats: panels come from beyond the first-level
/// cache, and large ones from memory.
#[allow(dead_code)]
const AHEAD: usize = 512;

/// Sums that begin with the bias.
///
/// # Safety
/// See [`MicroKernel::run`]; the CPU must have the features of `V`.
#[inline(always)]
#[allow(dead_code)]
unsafe fn begin<V: Vector, const M: usize, const NV: usize>(args: &GemmArgs) -> [[V::V; NV]; M] {
    // SAFETY: the contract of `MicroKernel::run`.
    unsafe {
        let mut acc = [[V::splat(0.0); NV]; M];
        if !args.epilogue.bias.is_null() {
            for v in 0..NV {
                let b = V::load(args.epilogue.bias.add(v * V::LANES));
                for row in &mut acc {
                    row[v] = b;
                }
            }
        }
        acc
    }
}

/// The body of every other vector tile: `M` rows by `NV` registers of columns.
///
/// # Safety
/// See [`MicroKernel::run`]; the CPU must have the features of `V`.
#[inline(always)]
#[allow(dead_code)]
unsafe fn tile<V: Vector, const M: usize, const NV: usize>(args: &GemmArgs) {
    // SAFETY: the contract of `MicroKernel::run`.
    unsafe {
        let nr = NV * V::LANES;
        let mut acc = begin::<V, M, NV>(args);
        for tap in args.taps {
            let mut a = args.a.cast::<f32>().wrapping_offset(tap.a);
            let mut b = args.b.add(tap.b);
            for _ in 0..args.run {
                let mut bv = [V::splat(0.0); NV];
                for (v, r) in bv.iter_mut().enumerate() {
                    *r = V::load(b.add(v * V::LANES));
                    V::prefetch(b.wrapping_add(v * V::LANES + AHEAD).cast());
                }
                for (m, row) in acc.iter_mut().enumerate() {
                    let av = V::splat(*a.wrapping_offset(m as isize * args.a_row));
                    for v in 0..NV {
                        row[v] = V::fma(av, bv[v], row[v]);
                    }
                }
                a = a.wrapping_add(1);
                b = b.wrapping_add(nr);
            }
        }
        match args.epilogue.elem {
            Elem::F32 => finish::<V, f32, M, NV>(args, acc),
            _ => finish::<V, bf16, M, NV>(args, acc),
        }
    }
}

/// The epilogue of a tile.
///
/// # Safety
/// See [`MicroKernel::run`]; the CPU must have the features of `V`, and C must be of type `C`.
#[inline(always)]
#[allow(dead_code)]
unsafe fn finish<V: Vector, C: Element, const M: usize, const NV: usize>(
    args: &GemmArgs,
    mut acc: [[V::V; NV]; M],
) {
    // SAFETY: the contract of `MicroKernel::run`.
    unsafe {
        // Each step is a loop of constant bounds with a small body, so that all of them unroll and
        // the accumulators never leave their registers.
        let e = &args.epilogue;
        let part = |v: usize| args.n.saturating_sub(v * V::LANES).min(V::LANES);
        let full = args.n == NV * V::LANES;
        if !e.residual.is_null() {
            for m in 0..M {
                let r = e.residual.cast::<C>().wrapping_offset(m as isize * e.residual_row);
                for v in 0..NV {
                    let at = r.wrapping_add(v * V::LANES);
                    let x = if full { C::load::<V>(at) } else { C::load_part::<V>(at, part(v)) };
                    acc[m][v] = V::add(acc[m][v], x);
                }
            }
        }
        match e.act {
            Act::None => {}
            Act::Leaky(0.0) => {
                let zero = V::splat(0.0);
                for m in 0..M {
                    for v in 0..NV {
                        acc[m][v] = V::max(zero, acc[m][v]);
                    }
                }
            }
            Act::Leaky(s) => {
                let (zero, s) = (V::splat(0.0), V::splat(s));
                for m in 0..M {
                    for v in 0..NV {
                        let x = acc[m][v];
                        acc[m][v] = V::select_lt(x, zero, V::mul(x, s), x);
                    }
                }
            }
            Act::Clamp(a, b) => {
                let (a, b) = (V::splat(a), V::splat(b));
                for m in 0..M {
                    for v in 0..NV {
                        acc[m][v] = V::min(b, V::max(a, acc[m][v]));
                    }
                }
            }
        }
        for m in 0..M {
            let c = args.c.cast::<C>().wrapping_offset(m as isize * args.c_row);
            for v in 0..NV {
                let at = c.wrapping_add(v * V::LANES);
                if full {
                    C::store::<V>(at, acc[m][v]);
                } else {
                    C::store_part::<V>(at, acc[m][v], part(v));
                }
            }
        }
    }
}
