//! Instruction-set tiers: what this CPU has, and which one is asked for.

/// A tier of instructions, slowest first. A tier implies those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Portable Rust, the reference.
    Scalar,
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
}

/// An unknown tier name, or one that this CPU lacks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IsaError {
    /// Not a tier.
    #[error("`{0}` is not an instruction-set tier; use one of scalar, avx2, avx512")]
    Unknown(String),
    /// A tier of other CPUs.
    #[error("this CPU does not have {0}; its best tier is {1}")]
    Missing(&'static str, &'static str),
}

impl Isa {
    /// All tiers, slowest first.
    pub const ALL: [Isa; 3] = [Isa::Scalar, Isa::Avx2, Isa::Avx512];

    /// Lower-case name as `--isa` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        }
    }

    /// The tier named `name`.
    pub fn parse(name: &str) -> Result<Self, IsaError> {
        let found = Isa::ALL.into_iter().find(|i| i.name() == name);
        found.ok_or_else(|| IsaError::Unknown(name.into()))
    }

    /// Whether this CPU and operating system can run the tier.
    pub fn supported(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            match self {
                Isa::Scalar => true,
                Isa::Avx2 => has!("avx2") && has!("fma") && has!("f16c"),
                Isa::Avx512 => {
                    Isa::Avx2.supported()
                        && has!("avx512f")
                        && has!("avx512bw")
                        && has!("avx512dq")
                        && has!("avx512vl")
                }
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            self == Isa::Scalar
        }
    }
}

/// The best tier of this CPU.
pub fn detect() -> Isa {
    Isa::ALL.into_iter().rev().find(|i| i.supported()).unwrap_or(Isa::Scalar)
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
