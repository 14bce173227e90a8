//! In what precision a network runs.

use ampoule_kernels::Elem;

/// How floating-point values are stored and multiplied. Inputs and outputs are float32 always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Everything in float32.
    #[default]
    Fp32,
    /// Values between layers are stored as bfloat16. Sums, statistics and functions are float32, and so
    /// are products, except on CPUs that multiply bfloat16 faster.
    Bf16,
    /// As [`Precision::Bf16`], and Winograd's F(4×4) also multiplies bfloat16 where the CPU is faster so.
    /// Its error is that of eight-bit integers: measure before use.
    Bf16Fast,
}

impl Precision {
    /// All precisions.
    pub const ALL: [Precision; 3] = [Precision::Fp32, Precision::Bf16, Precision::Bf16Fast];

    /// Name as `--precision` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Fp32 => "fp32",
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
            Precision::Fp32 => Elem::F32,
            Precision::Bf16 | Precision::Bf16Fast => Elem::Bf16,
        }
    }
}
