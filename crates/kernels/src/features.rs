//! What a CPU can do, as a set: instruction-set extensions neither imply nor outrank one another, so a
//! kernel names those that it needs, and it may run wherever that set is a subset of what is allowed.

use std::sync::OnceLock;

macro_rules! features {
    (@detect x86 $name:tt) => {{
        #[cfg(target_arch = "x86_64")]
        let has = std::arch::is_x86_feature_detected!($name);
        #[cfg(not(target_arch = "x86_64"))]
        let has = false;
        has
    }};
    (@detect tiles $name:tt) => {{
        #[cfg(target_arch = "x86_64")]
        let has = crate::tile_registers::detected($name);
        #[cfg(not(target_arch = "x86_64"))]
        let has = false;
        has
    }};
    (@detect arm $name:tt) => {{
        #[cfg(target_arch = "aarch64")]
        let has = std::arch::is_aarch64_feature_detected!($name);
        #[cfg(not(target_arch = "aarch64"))]
        let has = false;
        has
    }};
    ($($(#[$doc:meta])* $variant:ident = $name:tt by $how:ident;)*) => {
        /// An extension of the instruction set that some kernel needs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum Feature {
            $($(#[$doc])* $variant,)*
        }

        impl Feature {
            /// All features.
            pub const ALL: &[Feature] = &[$(Feature::$variant,)*];

            /// The name that Rust's `target_feature` knows it by.
            pub fn name(self) -> &'static str {
                match self {
                    $(Feature::$variant => $name,)*
                }
            }

            /// Whether this CPU and operating system have it.
            fn detected(self) -> bool {
                match self {
                    $(Feature::$variant => features!(@detect $how $name),)*
                }
            }
        }
    };
}

features! {
    /// SSE4.1, with all that comes before it: 128-bit registers.
    Sse41 = "sse4.1" by x86;
    /// AVX2: 256-bit integers.
    Avx2 = "avx2" by x86;
    /// Fused multiply-add of 256-bit registers.
    Fma = "fma" by x86;
    /// Conversion between float32 and binary16.
    F16c = "f16c" by x86;
    /// INT8 dot products in 256-bit registers.
    AvxVnni = "avxvnni" by x86;
    /// AVX-512 foundation.
    Avx512F = "avx512f" by x86;
    /// AVX-512 on bytes and 16-bit integers.
    Avx512Bw = "avx512bw" by x86;
    /// AVX-512 on 32- and 64-bit integers.
    Avx512Dq = "avx512dq" by x86;
    /// AVX-512 instructions on shorter registers.
    Avx512Vl = "avx512vl" by x86;
    /// INT8 dot products in 512-bit registers.
    Avx512Vnni = "avx512vnni" by x86;
    /// bfloat16 dot products in 512-bit registers.
    Avx512Bf16 = "avx512bf16" by x86;
    /// The tile registers of AMX, with the operating system's permission to use them.
    AmxTile = "amx-tile" by tiles;
    /// INT8 products of tile registers.
    AmxInt8 = "amx-int8" by tiles;
    /// bfloat16 products of tile registers.
    AmxBf16 = "amx-bf16" by tiles;
    /// NEON: 128-bit registers of 64-bit ARM.
    Neon = "neon" by arm;
    /// INT8 dot products of NEON.
    Dotprod = "dotprod" by arm;
    /// INT8 products of small matrices of NEON.
    I8mm = "i8mm" by arm;
}

/// A set of [`Feature`]s: what a kernel needs, what a CPU has, or what is allowed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Features(u32);

impl Features {
    /// Portable Rust only.
    pub const NONE: Features = Features(0);
    /// SSE4.1.
    pub const SSE41: Features = Features::of(&[Feature::Sse41]);
    /// AVX2 with FMA and F16C.
    pub const AVX2: Features = Features::of(&[Feature::Avx2, Feature::Fma, Feature::F16c]);
    /// AVX2 with INT8 dot products.
    pub const AVX2_VNNI: Features = Features::AVX2.with(Features::of(&[Feature::AvxVnni]));
    /// AVX-512 F, BW, DQ and VL.
    pub const AVX512: Features = Features::AVX2.with(Features::of(&[
        Feature::Avx512F,
        Feature::Avx512Bw,
        Feature::Avx512Dq,
        Feature::Avx512Vl,
    ]));
    /// AVX-512 with INT8 dot products.
    pub const AVX512_VNNI: Features = Features::AVX512.with(Features::of(&[Feature::Avx512Vnni]));
    /// AVX-512 with bfloat16 dot products.
    pub const AVX512_BF16: Features = Features::AVX512.with(Features::of(&[Feature::Avx512Bf16]));

    /// AVX-512 with INT8 products of tile registers.
    pub const AMX_INT8: Features =
        Features::AVX512_VNNI.with(Features::of(&[Feature::AmxTile, Feature::AmxInt8]));
    /// AVX-512 with bfloat16 products of tile registers.
    pub const AMX_BF16: Features =
        Features::AVX512_BF16.with(Features::of(&[Feature::AmxTile, Feature::AmxBf16]));
    /// NEON.
    pub const NEON: Features = Features::of(&[Feature::Neon]);
    /// NEON with INT8 dot products.
    pub const NEON_DOTPROD: Features = Features::NEON.with(Features::of(&[Feature::Dotprod]));
    /// NEON with INT8 products of unsigned by signed values.
    pub const NEON_I8MM: Features = Features::NEON_DOTPROD.with(Features::of(&[Feature::I8mm]));

    /// The set of the listed features.
    pub const fn of(list: &[Feature]) -> Features {
        let (mut bits, mut i) = (0, 0);
        while i < list.len() {
            bits |= 1 << list[i] as u32;
            i += 1;
        }
        Features(bits)
    }

    /// Both sets together.
    pub const fn with(self, other: Features) -> Features {
        Features(self.0 | other.0)
    }

    /// This set less the features of `other`.
    pub const fn without(self, other: Features) -> Features {
        Features(self.0 & !other.0)
    }

    /// Whether `needed` is a subset of this set.
    #[inline(always)]
    pub const fn contains(self, needed: Features) -> bool {
        self.0 & needed.0 == needed.0
    }

    /// The features of the set.
    pub fn iter(self) -> impl Iterator<Item = Feature> {
        Feature::ALL.iter().copied().filter(move |f| self.contains(Features::of(&[*f])))
    }

    /// All features of this CPU and operating system.
    pub fn detected() -> Features {
        static DETECTED: OnceLock<Features> = OnceLock::new();
        *DETECTED.get_or_init(|| {
            let has = |f: &&Feature| f.detected();
            Feature::ALL.iter().filter(has).fold(Features::NONE, |all, f| all.with(Features::of(&[*f])))
        })
    }

    /// Whether this CPU and operating system have all features of the set.
    pub fn supported(self) -> bool {
        Features::detected().contains(self)
    }

    /// The name of the last of [`FEATURE_SETS`] that is a subset of this set, as `--isa` takes it.
    pub fn name(self) -> &'static str {
        FEATURE_SETS.iter().rev().find(|s| self.contains(s.features)).map_or("scalar", |s| s.name)
    }
}

impl std::fmt::Debug for Features {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter().map(Feature::name)).finish()
    }
}

/// A set of features that users know by a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureSet {
    /// Lower-case name as `--isa` takes it.
    pub name: &'static str,
    /// Its features.
    pub features: Features,
}

/// The sets that have names. The order is that of the list in help and in `doctor`; a later set is
/// preferred as the name of a CPU that has several.
pub static FEATURE_SETS: &[FeatureSet] = &[
    FeatureSet { name: "scalar", features: Features::NONE },
    FeatureSet { name: "sse41", features: Features::SSE41 },
    FeatureSet { name: "avx2", features: Features::AVX2 },
    FeatureSet { name: "avx2vnni", features: Features::AVX2_VNNI },
    FeatureSet { name: "avx512", features: Features::AVX512 },
    FeatureSet { name: "avx512vnni", features: Features::AVX512_VNNI },
    FeatureSet { name: "avx512bf16", features: Features::AVX512_VNNI.with(Features::AVX512_BF16) },
    FeatureSet { name: "amx", features: Features::AMX_INT8.with(Features::AMX_BF16) },
    FeatureSet { name: "neon", features: Features::NEON },
    FeatureSet { name: "dotprod", features: Features::NEON_DOTPROD },
    FeatureSet { name: "i8mm", features: Features::NEON_I8MM },
];

/// What the best kernels of a table need: those that are listed first among those that run with
/// `allowed`. `None` where none does. Every table lists preferred kernels first.
pub fn best(needs: impl Iterator<Item = Features>, allowed: Features) -> Option<Features> {
    let mut needs = needs;
    needs.find(|n| allowed.contains(*n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_ordered_by_inclusion_alone() {
        assert!(Features::AVX512.contains(Features::AVX2));
        assert!(!Features::AVX512_VNNI.contains(Features::AVX2_VNNI));
        assert!(!Features::AVX2_VNNI.contains(Features::AVX512));
        assert_eq!(Features::AVX512_VNNI.without(Features::AVX512), Features::of(&[Feature::Avx512Vnni]));
        assert!(Features::NONE.supported());
    }

    #[test]
    fn every_named_set_has_its_own_name() {
        for set in FEATURE_SETS {
            assert_eq!(set.features.name(), set.name);
        }
        assert_eq!(Features::AVX512_BF16.name(), "avx512");
    }

    #[test]
    fn the_first_fitting_requirement_is_the_best() {
        let table = [Features::AVX512, Features::AVX2, Features::NONE];
        let best = |allowed| best(table.into_iter(), allowed);
        assert_eq!(best(Features::AVX512_VNNI), Some(Features::AVX512));
        assert_eq!(best(Features::AVX2_VNNI), Some(Features::AVX2));
        assert_eq!(best(Features::of(&[Feature::Avx2])), Some(Features::NONE));
        assert_eq!(super::best([Features::AVX2].into_iter(), Features::NONE), None);
    }
}
