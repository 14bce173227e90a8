//! Every kernel of the crate in one list, and what runs with a set of features.
//!
//! The list is made of the tables that dispatch itself reads: [`gemm::KERNELS`], those of INT8 depthwise
//! convolution, and [`simd::BACKENDS`] for each generic operation. Tests, micro-benchmarks, `ampoule
//! doctor` and CI's list of feature sets iterate over it, so a new row reaches all of them.

use crate::features::{FEATURE_SETS, FeatureSet, Features, best};
use crate::operation::{Operation, Source};
use crate::{gemm, simd};
use std::sync::OnceLock;

/// A kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Name; see the crate's documentation.
    pub name: String,
    /// What it computes.
    pub operation: Operation,
    /// What it needs.
    pub features: Features,
    /// Rows and columns of its tile, for micro-kernels.
    pub tile: Option<[usize; 2]>,
}

/// All kernels; of one operation the preferred ones come first.
pub fn kernels() -> &'static [Kernel] {
    static ALL: OnceLock<Vec<Kernel>> = OnceLock::new();
    ALL.get_or_init(|| Operation::ALL.iter().flat_map(|&o| of(o)).collect())
}

/// The kernels of an operation.
fn of(operation: Operation) -> Vec<Kernel> {
    match operation.source() {
        Source::Generic => simd::BACKENDS
            .iter()
            .filter(|b| operation.bf16() || !b.bf16)
            .map(|b| Kernel {
                name: format!("{}_{}", operation.name(), b.name),
                operation,
                features: b.features,
                tile: None,
            })
            .collect(),
        Source::Table => micro_kernels(operation).chain(int8_depthwise(operation)).collect(),
    }
}

/// The micro-kernels of an operation.
fn micro_kernels(operation: Operation) -> impl Iterator<Item = Kernel> {
    gemm::KERNELS.iter().filter(move |k| k.operation() == operation).map(move |k| Kernel {
        name: k.name.into(),
        operation,
        features: k.features,
        tile: Some([k.mr, k.nr]),
    })
}

/// The kernels of INT8 depthwise convolution, if that is the operation.
fn int8_depthwise(operation: Operation) -> impl Iterator<Item = Kernel> {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    let table = crate::depthwise::int8::KERNELS.iter().map(|k| (k.name, k.features));
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let table = std::iter::empty::<(&str, Features)>();
    table.filter(move |_| operation == Operation::DepthwiseInt8).map(move |(name, features)| Kernel {
        name: name.into(),
        operation,
        features,
        tile: None,
    })
}

/// What runs of an operation with a set of features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The operation.
    pub operation: Operation,
    /// The kernels that run; micro-kernels of several widths run together. Empty where
    /// [`Operation::fallback`] takes their place.
    pub kernels: Vec<&'static Kernel>,
    /// A kernel that would be preferred, and what it needs that is not allowed.
    pub preferred: Option<(&'static Kernel, Features)>,
}

impl Choice {
    /// What runs of `operation` with the features `isa`.
    pub fn of(operation: Operation, isa: Features) -> Choice {
        let all = || kernels().iter().filter(move |k| k.operation == operation);
        let needs = best(all().map(|k| k.features), isa);
        let first = all().next().filter(|k| Some(k.features) != needs);
        Choice {
            operation,
            kernels: all().filter(|k| Some(k.features) == needs).collect(),
            preferred: first.map(|k| (k, k.features.without(isa))),
        }
    }

    /// What the kernels that run need; `None` where none does.
    pub fn needs(&self) -> Option<Features> {
        self.kernels.first().map(|k| k.features)
    }
}

/// What runs of every operation with the features `isa`.
pub fn choices(isa: Features) -> Vec<Choice> {
    Operation::ALL.iter().map(|&o| Choice::of(o, isa)).collect()
}

/// The named feature sets of this CPU that run something as no better set does, best first, each with
/// the operations that it runs so: by other kernels, or by a fallback. Tests have to run on all of them.
pub fn distinct_sets() -> Vec<(&'static FeatureSet, Vec<Operation>)> {
    let mut seen: Vec<Choice> = Vec::new();
    let mut list = Vec::new();
    for set in FEATURE_SETS.iter().rev().filter(|s| s.features.supported()) {
        let new: Vec<Choice> = choices(set.features)
            .into_iter()
            .filter(|c| seen.iter().all(|s| (s.operation, &s.kernels) != (c.operation, &c.kernels)))
            .collect();
        if !new.is_empty() {
            list.push((set, new.iter().map(|c| c.operation).collect()));
        }
        seen.extend(new);
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm::Operand;
    use crate::operation::Family;

    #[test]
    fn names_are_unique_and_name_what_is_needed() {
        let mut names: Vec<&str> = kernels().iter().map(|k| k.name.as_str()).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all, "two kernels of one name");
        for k in kernels() {
            let set = k.name.rsplit('_').next().unwrap_or_default();
            let named = FEATURE_SETS.iter().find(|s| s.name == set);
            assert!(named.is_some_and(|s| s.features.contains(k.features)), "{k:?}");
        }
        for k in gemm::KERNELS {
            let set = k.name.rsplit('_').next().unwrap_or_default();
            assert_eq!(k.name, format!("{}_gemm_{}x{}_{set}", k.a.name(), k.mr, k.nr));
        }
    }

    #[test]
    fn every_family_is_listed_and_has_operations() {
        let of = |f: Family| Operation::ALL.iter().filter(|o| o.family() == f).count();
        assert!(Family::ALL.iter().all(|f| of(*f) > 0));
        assert_eq!(Family::ALL.iter().map(|f| of(*f)).sum::<usize>(), Operation::ALL.len());
    }

    #[test]
    fn every_operation_runs_with_every_set() {
        for set in FEATURE_SETS {
            for mut choice in choices(set.features) {
                for _ in Operation::ALL {
                    if let (true, Some(o)) = (choice.kernels.is_empty(), choice.operation.fallback()) {
                        choice = Choice::of(o, set.features);
                    }
                }
                assert!(!choice.kernels.is_empty(), "{:?} with {}", choice.operation, set.name);
                assert!(choice.kernels.iter().all(|k| set.features.contains(k.features)));
            }
        }
    }

    #[test]
    fn dispatch_takes_what_the_registry_says() {
        for isa in FEATURE_SETS.iter().map(|s| s.features) {
            let backend = simd::backend(isa).features;
            assert_eq!(Choice::of(Operation::Softmax, isa).needs(), Some(backend));
            for (a, wide, thin) in [
                (Operand::F32, Operation::GemmF32, Operation::ThinGemmF32),
                (Operand::Bf16, Operation::GemmBf16, Operation::ThinGemmBf16),
                (Operand::I16, Operation::GemmI16, Operation::ThinGemmI16),
                (Operand::U8, Operation::GemmU8, Operation::ThinGemmU8),
            ] {
                let listed = [wide, thin].map(|o| Choice::of(o, isa).kernels);
                let mut listed: Vec<&str> = listed.iter().flatten().map(|k| k.name.as_str()).collect();
                let mut taken: Vec<&str> = gemm::micro_kernels(isa, a).map(|k| k.name).collect();
                listed.sort_unstable();
                taken.sort_unstable();
                assert_eq!(listed, taken);
            }
        }
    }

    #[test]
    fn the_best_set_comes_first_and_each_adds_something() {
        let list = distinct_sets();
        let best = Operation::ALL.len();
        assert_eq!(list.first().map(|l| l.1.len()), Some(best), "nothing ran before the best set");
        assert!(list.iter().all(|(_, operations)| !operations.is_empty()));
        assert_eq!(list.last().map(|l| l.0.name), Some("scalar"));
    }
}
