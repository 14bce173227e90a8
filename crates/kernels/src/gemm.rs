//! The one contract of GEMM and convolution:
//! `C[m, n] = epilogue(Σ_taps Σ_k A[m·a_row + tap.a + k] · B[tap.b + k·nr + n])`.
//!
//! On channels-last data a 3×3×3 convolution row is nine taps with runs of 3·C, so nothing is
//! gathered or copied; a GEMM is one tap. Sums run in one fixed order per output element, so the
//! bits do not depend on how work is divided.

pub(crate) mod accumulators;
#[cfg(target_arch = "aarch64")]
mod arm;
#[cfg(target_arch = "aarch64")]
pub(crate) mod arm_accumulators;
mod float;
mod int8;
mod lines;
mod operand;
mod pack;
pub(crate) mod requantize;
pub(crate) mod steps;
mod table;
mod tile;
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86_accumulators;
#[cfg(target_arch = "x86_64")]
mod x86_amx;
#[cfg(target_arch = "x86_64")]
mod x86_amx_unit;
#[cfg(target_arch = "x86_64")]
mod x86_float;
#[cfg(target_arch = "x86_64")]
mod x86_int8;

pub use crate::act::Act;
use crate::elem::Elem;
use crate::features::Features;
use crate::operation::Operation;
pub use lines::Lines;
pub use operand::Operand;
pub use pack::{pack, pack_stored, panels};
pub use requantize::Requantize;
pub(crate) use requantize::finish as requantize_tile;
pub use table::{KERNELS, micro_kernels, operand};

/// One contiguous run of the reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
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
    /// Where rows of C do not all lie `c_row` apart; only kernels of a matrix unit take it.
    pub lines: Option<Lines>,
    /// The epilogue.
    pub epilogue: Epilogue,
}

/// One register tile.
pub struct MicroKernel {
    /// `{operand}_gemm_{mr}x{nr}_{feature set}`.
    pub name: &'static str,
    /// What it needs.
    pub features: Features,
    /// What A and the 32-bit groups of B are made of.
    pub a: Operand,
    /// Most rows.
    pub mr: usize,
    /// Columns of a packed panel; 1 for a thin kernel, which has the reduction in the lanes.
    pub nr: usize,
    /// Multiply-accumulates per nanosecond that it reaches on one core of a present-day server or
    /// desktop CPU: for choosing between algorithms, where only ratios matter. [`crate::Costs`] may have another.
    pub rate: f64,
    /// Computes one tile.
    ///
    /// # Safety
    /// The CPU must have the features; for all rows and taps A and the residual must be readable, the
    /// panel must hold `tap.b + run·nr` elements, the bias `nr`, and C must be writable. The thread must
    /// hold its [`crate::TileRegisters`].
    pub run: unsafe fn(&GemmArgs),
}

impl MicroKernel {
    /// The operation that it is a kernel of.
    pub fn operation(&self) -> Operation {
        match (self.a, self.nr) {
            (Operand::F32, 1) => Operation::ThinGemmF32,
            (Operand::Bf16, 1) => Operation::ThinGemmBf16,
            (Operand::I16, 1) => Operation::ThinGemmI16,
            (Operand::U8, 1) => Operation::ThinGemmU8,
            (Operand::F32, _) => Operation::GemmF32,
            (Operand::Bf16, _) => Operation::GemmBf16,
            (Operand::I16, _) => Operation::GemmI16,
            (Operand::U8, _) => Operation::GemmU8,
        }
    }
}
