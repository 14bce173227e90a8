//! The micro-kernels of GEMM and convolution.

#[cfg(target_arch = "aarch64")]
use super::arm;
use super::{MicroKernel, Operand, float, requantize};
#[cfg(target_arch = "x86_64")]
use super::{x86_amx, x86_float, x86_int8};
use crate::elem::Elem;
use crate::features::{Features, best};

/// Groups of kernels that run together: what they multiply, what they need, their
/// [`MicroKernel::rate`], and each by name, rows and columns.
macro_rules! kernels {
    ($(#[$cfg:meta] $operand:ident, $features:ident, $rate:literal {
        $($name:literal [$mr:literal, $nr:literal] $run:path;)*
    })*) => {
        /// Every micro-kernel. Of one operand the preferred groups come first; in a group the width
        /// ascends. Those that need nothing are the reference.
        pub static KERNELS: &[MicroKernel] = &[
            $($(#[$cfg] MicroKernel {
                name: $name,
                features: Features::$features,
                a: Operand::$operand,
                mr: $mr,
                nr: $nr,
                rate: $rate,
                run: $run,
            },)*)*
        ];
    };
}

kernels! {
    #[cfg(target_arch = "x86_64")]
    F32, AVX512, 70.0 {
        "f32_gemm_8x1_avx512" [8, 1] x86_float::avx512_8x1;
        "f32_gemm_24x16_avx512" [24, 16] x86_float::avx512_24x16;
        "f32_gemm_14x32_avx512" [14, 32] x86_float::avx512_14x32;
        "f32_gemm_9x48_avx512" [9, 48] x86_float::avx512_9x48;
    }
    #[cfg(target_arch = "x86_64")]
    F32, AVX2, 35.0 {
        "f32_gemm_4x1_avx2" [4, 1] x86_float::avx2_4x1;
        "f32_gemm_12x8_avx2" [12, 8] x86_float::avx2_12x8;
        "f32_gemm_6x16_avx2" [6, 16] x86_float::avx2_6x16;
        "f32_gemm_4x24_avx2" [4, 24] x86_float::avx2_4x24;
    }
    #[cfg(target_arch = "x86_64")]
    F32, SSE41, 11.0 {
        "f32_gemm_4x1_sse41" [4, 1] x86_float::sse41_4x1;
        "f32_gemm_12x4_sse41" [12, 4] x86_float::sse41_12x4;
        "f32_gemm_6x8_sse41" [6, 8] x86_float::sse41_6x8;
        "f32_gemm_4x12_sse41" [4, 12] x86_float::sse41_4x12;
    }
    #[cfg(target_arch = "aarch64")]
    F32, NEON, 17.0 {
        "f32_gemm_8x1_neon" [8, 1] arm::f32_8x1;
        "f32_gemm_24x4_neon" [24, 4] arm::f32_24x4;
        "f32_gemm_12x8_neon" [12, 8] arm::f32_12x8;
        "f32_gemm_8x12_neon" [8, 12] arm::f32_8x12;
    }
    #[cfg(all())]
    F32, NONE, 1.0 {
        "f32_gemm_4x8_scalar" [4, 8] float::scalar;
    }
    #[cfg(target_arch = "x86_64")]
    Bf16, AMX_BF16, 500.0 {
        "bf16_gemm_64x16_amx" [64, 16] x86_amx::bf16_64x16;
        "bf16_gemm_32x32_amx" [32, 32] x86_amx::bf16_32x32;
    }
    #[cfg(target_arch = "x86_64")]
    Bf16, AVX512_BF16, 140.0 {
        "bf16_gemm_8x1_avx512bf16" [8, 1] x86_float::pairs_8x1;
        "bf16_gemm_24x16_avx512bf16" [24, 16] x86_float::pairs_24x16;
        "bf16_gemm_14x32_avx512bf16" [14, 32] x86_float::pairs_14x32;
        "bf16_gemm_9x48_avx512bf16" [9, 48] x86_float::pairs_9x48;
    }
    #[cfg(target_arch = "x86_64")]
    U8, AMX_INT8, 900.0 {
        "u8_gemm_64x16_amx" [64, 16] x86_amx::u8_64x16;
        "u8_gemm_32x32_amx" [32, 32] x86_amx::u8_32x32;
    }
    #[cfg(target_arch = "x86_64")]
    U8, AVX512_VNNI, 280.0 {
        "u8_gemm_8x1_avx512vnni" [8, 1] x86_int8::avx512vnni_8x1;
        "u8_gemm_24x16_avx512vnni" [24, 16] x86_int8::avx512vnni_24x16;
        "u8_gemm_14x32_avx512vnni" [14, 32] x86_int8::avx512vnni_14x32;
        "u8_gemm_9x48_avx512vnni" [9, 48] x86_int8::avx512vnni_9x48;
    }
    #[cfg(target_arch = "x86_64")]
    U8, AVX2_VNNI, 140.0 {
        "u8_gemm_4x1_avx2vnni" [4, 1] x86_int8::avx2vnni_4x1;
        "u8_gemm_12x8_avx2vnni" [12, 8] x86_int8::avx2vnni_12x8;
        "u8_gemm_6x16_avx2vnni" [6, 16] x86_int8::avx2vnni_6x16;
    }
    #[cfg(target_arch = "aarch64")]
    U8, NEON_I8MM, 68.0 {
        "u8_gemm_8x1_i8mm" [8, 1] arm::i8mm_8x1;
        "u8_gemm_24x4_i8mm" [24, 4] arm::i8mm_24x4;
        "u8_gemm_12x8_i8mm" [12, 8] arm::i8mm_12x8;
        "u8_gemm_8x12_i8mm" [8, 12] arm::i8mm_8x12;
    }
    #[cfg(target_arch = "aarch64")]
    U8, NEON_DOTPROD, 60.0 {
        "u8_gemm_8x1_dotprod" [8, 1] arm::dotprod_8x1;
        "u8_gemm_24x4_dotprod" [24, 4] arm::dotprod_24x4;
        "u8_gemm_12x8_dotprod" [12, 8] arm::dotprod_12x8;
        "u8_gemm_8x12_dotprod" [8, 12] arm::dotprod_8x12;
    }
    #[cfg(target_arch = "x86_64")]
    I16, AVX512, 105.0 {
        "i16_gemm_8x1_avx512" [8, 1] x86_int8::avx512_8x1;
        "i16_gemm_24x16_avx512" [24, 16] x86_int8::avx512_24x16;
        "i16_gemm_12x32_avx512" [12, 32] x86_int8::avx512_12x32;
        "i16_gemm_8x48_avx512" [8, 48] x86_int8::avx512_8x48;
    }
    #[cfg(target_arch = "x86_64")]
    I16, AVX2, 56.0 {
        "i16_gemm_4x1_avx2" [4, 1] x86_int8::avx2_4x1;
        "i16_gemm_12x8_avx2" [12, 8] x86_int8::avx2_12x8;
        "i16_gemm_6x16_avx2" [6, 16] x86_int8::avx2_6x16;
    }
    #[cfg(target_arch = "x86_64")]
    I16, SSE41, 25.0 {
        "i16_gemm_4x1_sse41" [4, 1] x86_int8::sse41_4x1;
        "i16_gemm_12x4_sse41" [12, 4] x86_int8::sse41_12x4;
        "i16_gemm_6x8_sse41" [6, 8] x86_int8::sse41_6x8;
        "i16_gemm_4x12_sse41" [4, 12] x86_int8::sse41_4x12;
    }
    #[cfg(target_arch = "aarch64")]
    I16, NEON, 12.0 {
        "i16_gemm_8x1_neon" [8, 1] arm::i16_8x1;
        "i16_gemm_16x4_neon" [16, 4] arm::i16_16x4;
        "i16_gemm_10x8_neon" [10, 8] arm::i16_10x8;
        "i16_gemm_8x12_neon" [8, 12] arm::i16_8x12;
    }
    #[cfg(all())]
    I16, NONE, 1.0 {
        "i16_gemm_4x8_scalar" [4, 8] requantize::scalar;
    }
}

/// What tensors stored as `stored` are multiplied as with `isa`: bfloat16 and INT8 themselves only where
/// there are kernels for them; they are widened elsewhere.
pub fn operand(isa: Features, stored: Elem) -> Operand {
    let runs = |a: Operand| micro_kernels(isa, a).next().is_some();
    match stored {
        Elem::F32 | Elem::F16 => Operand::F32,
        Elem::Bf16 if runs(Operand::Bf16) => Operand::Bf16,
        Elem::Bf16 => Operand::F32,
        Elem::U8 if runs(Operand::U8) => Operand::U8,
        Elem::U8 => Operand::I16,
    }
}

/// The kernels that run with `isa` for A of type `a`, by ascending width: of the thin ones and of the
/// others the preferred group whose features are allowed.
pub fn micro_kernels(isa: Features, a: Operand) -> impl Iterator<Item = &'static MicroKernel> {
    group(isa, a, true).chain(group(isa, a, false))
}

/// The preferred thin kernels, or the preferred others.
fn group(isa: Features, a: Operand, thin: bool) -> impl Iterator<Item = &'static MicroKernel> {
    let all = move || KERNELS.iter().filter(move |k| k.a == a && (k.nr == 1) == thin);
    let needs = best(all().map(|k| k.features), isa);
    all().filter(move |k| Some(k.features) == needs)
}
