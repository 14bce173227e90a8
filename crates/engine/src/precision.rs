//! In what precision a network runs.

use ampoule_kernels::Elem;

/// How floating-point values are stored and multiplied. Inputs and outputs are float32 always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Everything in float32. Where the CPU multiplies bfloat16 many times faster than float32, products of split values
    /// ([`Split`](ampoule_kernels::conv::Split)) take the place of products of float32, with errors as small.
    #[default]
    Fp32,
    /// As [`Precision::Fp32`], and nothing but float32 is multiplied.
    Fp32Strict,
    /// Values between layers are stored as bfloat16. Sums, statistics and functions are float32, and so
    /// are products, except on CPUs that multiply bfloat16 faster.
    Bf16,
    /// As [`Precision::Bf16`], and Winograd's F(4×4) also multiplies bfloat16 where the CPU is faster so.
    /// Its error is that of eight-bit integers: measure before use.
    Bf16Fast,
}

impl Precision {
    /// All precisions.
    pub const ALL: [Precision; 4] =
        [Precision::Fp32, Precision::Fp32Strict, Precision::Bf16, Precision::Bf16Fast];

    /// Name as `--precision` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Fp32 => "fp32",
            Precision::Fp32Strict => "fp32-strict",
            Precision::Bf16 => "bf16",
            Precision::Bf16Fast => "bf16-fast",
        }
    }

    /// The precision named `name`.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }

    /// How values between layers are stored.
    pub(crate) fn elem(self) -> Elem {
        match self {
            Precision::Fp32 | Precision::Fp32Strict => Elem::F32,
            Precision::Bf16 | Precision::Bf16Fast => Elem::Bf16,
        }
    }
}
