//! Instruction-set tiers: what this CPU has, and which one is asked for.

use crate::gemm::Operand;

/// A tier of instructions, slowest first. A tier implies those before it, but for AVX-VNNI, which
/// CPUs with AVX-512 may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Portable Rust, the reference.
    Scalar,
    /// AVX2 with FMA.
    Avx2,
    /// AVX2 with integer dot products (AVX-VNNI).
    Avx2Vnni,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
    /// AVX-512 with integer dot products.
    Avx512Vnni,
    /// AVX-512 with integer and BF16 dot products.
    Avx512Bf16,
}

/// An unknown tier name, or one that this CPU lacks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IsaError {
    /// Not a tier.
    #[error(
        "`{0}` is not an instruction-set tier; use one of scalar, avx2, avx2vnni, avx512, avx512vnni, avx512bf16"
    )]
    Unknown(String),
    /// A tier of other CPUs.
    #[error("this CPU does not have {0}; its best tier is {1}")]
    Missing(&'static str, &'static str),
}

impl Isa {
    /// All tiers, slowest first.
    pub const ALL: [Isa; 6] =
        [Isa::Scalar, Isa::Avx2, Isa::Avx2Vnni, Isa::Avx512, Isa::Avx512Vnni, Isa::Avx512Bf16];

    /// Lower-case name as `--isa` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::Avx2Vnni => "avx2vnni",
            Isa::Avx512 => "avx512",
            Isa::Avx512Vnni => "avx512vnni",
            Isa::Avx512Bf16 => "avx512bf16",
        }
    }

    /// The tier named `name`.
    pub fn parse(name: &str) -> Result<Self, IsaError> {
        let found = Isa::ALL.into_iter().find(|i| i.name() == name);
        found.ok_or_else(|| IsaError::Unknown(name.into()))
    }

    /// Lanes of float32 in a register.
    pub fn lanes(self) -> usize {
        match self {
            Isa::Scalar => 1,
            Isa::Avx2 | Isa::Avx2Vnni => 8,
            Isa::Avx512 | Isa::Avx512Vnni | Isa::Avx512Bf16 => 16,
        }
    }

    /// Whether this CPU and operating system can run the tier.
    pub fn supported(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            match self {
                Isa::Scalar => true,
                Isa::Avx2 => has!("avx2") && has!("fma") && has!("f16c"),
                Isa::Avx2Vnni => Isa::Avx2.supported() && has!("avxvnni"),
                Isa::Avx512 => {
                    Isa::Avx2.supported()
                        && has!("avx512f")
                        && has!("avx512bw")
                        && has!("avx512dq")
                        && has!("avx512vl")
                }
                Isa::Avx512Vnni => Isa::Avx512.supported() && has!("avx512vnni"),
                Isa::Avx512Bf16 => Isa::Avx512Vnni.supported() && has!("avx512bf16"),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            self == Isa::Scalar
        }
    }
}

/// The best tier of this CPU: the last that it has and that is worth having.
pub fn detect() -> Isa {
    let best = |i: &Isa| i.supported() && (*i != Isa::Avx512Bf16 || pairs_pay());
    Isa::ALL.into_iter().rev().find(best).unwrap_or(Isa::Scalar)
}

/// Whether this CPU multiplies pairs of bfloat16 faster than as many float32. Some have the
/// instruction at a quarter of the rate of others, and no feature bit says so; the factors lie so far
/// apart (a half or two) that a short measurement cannot be mistaken.
fn pairs_pay() -> bool {
    static PAY: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *PAY.get_or_init(|| {
        let best = |a: Operand| {
            let tiles = crate::gemm::of(Isa::Avx512Bf16, a).filter(|k| k.nr > 1);
            tiles
                .filter_map(|k| crate::measure::tile_macs(k, std::time::Duration::from_micros(200)))
                .fold(0.0, f64::max)
        };
        best(Operand::Bf16) > best(Operand::F32)
    })
}

/// All tiers of this CPU, slowest first.
pub fn available() -> Vec<Isa> {
    Isa::ALL.into_iter().filter(|i| i.supported()).collect()
}

/// The tier to run: `asked` if given, else the environment's `AMPOULE_ISA`, else the best.
pub fn choose(asked: Option<&str>) -> Result<Isa, IsaError> {
    let from_env = std::env::var("AMPOULE_ISA").ok().filter(|s| !s.is_empty());
    let Some(name) = asked.map(str::to_owned).or(from_env) else { return Ok(detect()) };
    let isa = Isa::parse(&name)?;
    if isa.supported() { Ok(isa) } else { Err(IsaError::Missing(isa.name(), detect().name())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_scalar_is_always_there() {
        for i in Isa::ALL {
            assert_eq!(Isa::parse(i.name()), Ok(i));
        }
        assert!(Isa::parse("sse9").is_err());
        assert!(available().contains(&Isa::Scalar));
    }
}
