//! Shared by the kernel tests: seeded data, feature sets, comparison.

use ampoule_kernels::registry::{Choice, kernels};
use ampoule_kernels::{Elem, Element, Features, Operation, bf16, choose, f16};
pub use ampoule_testing::{largest_error as error, random};

/// The feature sets to test operations with: what each of their kernels needs, as far as this CPU has
/// it, and all that it has; or, where `AMPOULE_ISA` names a set, what the kernels need that it runs, and
/// the set. Printed, so that a skipped set is seen.
pub fn sets(operations: &[Operation]) -> Vec<Features> {
    let asked = ampoule_testing::asked_tier();
    let allowed = choose(asked.as_deref()).unwrap();
    let needs = |o: &Operation| -> Vec<Features> {
        match asked {
            Some(_) => Choice::of(*o, allowed).needs().into_iter().collect(),
            None => kernels().iter().filter(|k| k.operation == *o).map(|k| k.features).collect(),
        }
    };
    let mut list: Vec<Features> = vec![allowed];
    for features in operations.iter().flat_map(needs).filter(|f| f.supported()) {
        if !list.contains(&features) {
            list.push(features);
        }
    }
    ampoule_testing::print_tiers(&list);
    list
}

/// Values rounded to what `elem` can hold.
pub fn rounded(v: &[f32], elem: Elem) -> Vec<f32> {
    match elem {
        Elem::F32 => v.to_vec(),
        Elem::Bf16 => v.iter().map(|&x| bf16::from_f32(x).to_f32()).collect(),
        Elem::F16 => v.iter().map(|&x| f16::from_f32(x).to_f32()).collect(),
        Elem::U8 => v.iter().map(|&x| u8::of(x) as f32).collect(),
    }
}

/// A buffer of values in some storage type, aligned for all.
pub struct Stored {
    words: Vec<f32>,
    elem: Elem,
    len: usize,
}

impl Stored {
    /// Holds `v`, rounded.
    pub fn new(v: &[f32], elem: Elem) -> Self {
        let mut s = Stored { words: vec![0.0; v.len() + 1], elem, len: v.len() };
        for (i, &x) in v.iter().enumerate() {
            // SAFETY: `len` values of either type fit.
            unsafe {
                match elem {
                    Elem::F32 => *s.ptr().cast::<f32>().add(i) = x,
                    Elem::Bf16 => *s.ptr().cast::<bf16>().add(i) = bf16::from_f32(x),
                    Elem::F16 => *s.ptr().cast::<f16>().add(i) = f16::from_f32(x),
                    Elem::U8 => *s.ptr().add(i) = u8::of(x),
                }
            }
        }
        s
    }

    /// First value.
    pub fn ptr(&mut self) -> *mut u8 {
        self.words.as_mut_ptr().cast()
    }

    /// All values.
    pub fn values(&self) -> Vec<f32> {
        let p = self.words.as_ptr();
        // SAFETY: `len` values of the type were written.
        let at = |i: usize| unsafe {
            match self.elem {
                Elem::F32 => *p.add(i),
                Elem::Bf16 => (*p.cast::<bf16>().add(i)).to_f32(),
                Elem::F16 => (*p.cast::<f16>().add(i)).to_f32(),
                Elem::U8 => *p.cast::<u8>().add(i) as f32,
            }
        };
        (0..self.len).map(at).collect()
    }
}

/// Every pair of storage types of an input and an output.
pub const ELEMS: [[Elem; 2]; 4] =
    [[Elem::F32, Elem::F32], [Elem::Bf16, Elem::Bf16], [Elem::Bf16, Elem::F32], [Elem::F32, Elem::Bf16]];

/// Euclidean norm of the difference relative to that of `want`.
pub fn relative(got: &[f32], want: &[f32]) -> f32 {
    ampoule_testing::relative_error(got, want) as f32
}
