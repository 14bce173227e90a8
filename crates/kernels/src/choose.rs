//! Which features a run may use: what was asked for, or the best of this CPU.

use crate::features::{FEATURE_SETS, Feature, Features};
use crate::gemm::{self, Operand};
use crate::measure;
use std::sync::OnceLock;
use std::time::Duration;

/// A name that is no feature set, or one of a set that this CPU lacks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeatureSetError {
    /// The name is not one of [`FEATURE_SETS`].
    #[error("`{name}` is not an instruction-set tier; use one of {}", names())]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The CPU or the operating system lacks features of the set.
    #[error("this CPU does not have {name}; its best tier is {best}")]
    Missing {
        /// What was asked for.
        name: &'static str,
        /// The name of the best set of this CPU.
        best: &'static str,
    },
}

/// The names of all sets.
fn names() -> String {
    FEATURE_SETS.iter().map(|s| s.name).collect::<Vec<_>>().join(", ")
}

/// The features of this CPU that are worth using.
pub fn detect() -> Features {
    let all = Features::detected();
    let bf16 = Features::of(&[Feature::Avx512Bf16]);
    // With tile registers bfloat16 is not multiplied by vectors but for a few columns.
    let vectors = all.contains(Features::AVX512_BF16) && !all.contains(Features::AMX_BF16);
    if vectors && !bf16_pays() { all.without(bf16) } else { all }
}

/// Whether this CPU multiplies pairs of bfloat16 faster than as many float32. Some have the
/// instruction at a quarter of the rate of others, and no feature bit says so. The factors lie far apart (a half or
/// two): the best of several turns, which a busy machine can only make slower, and a bound between them tell which.
fn bf16_pays() -> bool {
    static PAYS: OnceLock<bool> = OnceLock::new();
    *PAYS.get_or_init(|| {
        const TURNS: usize = 5;
        let best = |a: Operand| {
            let kernels = gemm::micro_kernels(Features::AVX512_BF16, a).filter(|k| k.nr > 1);
            kernels.filter_map(|k| measure::kernel_macs(k, Duration::from_micros(50))).fold(0.0, f64::max)
        };
        let rates = |_| [best(Operand::Bf16), best(Operand::F32)];
        let [bf16, f32] =
            (0..TURNS).map(rates).fold([0f64; 2], |most, now| [most[0].max(now[0]), most[1].max(now[1])]);
        bf16 > 1.2 * f32
    })
}

/// The named feature sets of this CPU, in the order of [`FEATURE_SETS`].
pub fn available() -> Vec<Features> {
    FEATURE_SETS.iter().map(|s| s.features).filter(|f| f.supported()).collect()
}

/// The features that a run may use: the set named `asked`, or the best of this CPU.
///
/// # Errors
/// [`FeatureSetError`] where the name is unknown or the CPU lacks the set.
pub fn choose(asked: Option<&str>) -> Result<Features, FeatureSetError> {
    let Some(name) = asked else { return Ok(detect()) };
    let set = FEATURE_SETS
        .iter()
        .find(|s| s.name == name)
        .ok_or_else(|| FeatureSetError::Unknown { name: name.into() })?;
    if set.features.supported() {
        Ok(set.features)
    } else {
        Err(FeatureSetError::Missing { name: set.name, best: detect().name() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_chooses_its_set_or_is_refused() {
        for set in FEATURE_SETS {
            match choose(Some(set.name)) {
                Ok(features) => assert_eq!(features, set.features),
                Err(e) => {
                    assert!(!set.features.supported());
                    assert!(e.to_string().contains(set.name), "{e}");
                }
            }
        }
        let unknown = choose(Some("sse9"));
        assert_eq!(unknown, Err(FeatureSetError::Unknown { name: "sse9".into() }));
        assert!(choose(None).is_ok_and(|f| f.supported()));
        assert!(available().contains(&Features::NONE));
    }
}
