//! Constants of the estimates that choose between algorithms: those that are shipped, or those that were measured on this
//! machine and installed for the process.

use crate::features::Features;
use crate::gemm::steps::{self, Division};
use crate::gemm::{MicroKernel, Operand, micro_kernels};
use std::sync::OnceLock;

/// Constants of one feature set, on one core.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Costs {
    /// Multiply-accumulates per nanosecond of the micro-kernels for each operand, in the order of [`OPERANDS`].
    pub rates: [f64; 4],
    /// Nanoseconds per byte that comes from beyond the second-level cache.
    pub memory: f64,
    /// Nanoseconds to transform one register of one Winograd tile of 4×4 in and out, in cache.
    pub transform_4: [f64; 2],
    /// The same of a tile of 2×2.
    pub transform_2: [f64; 2],
    /// The same for INT8, of which a register takes in twice as many.
    pub transform_int8: [f64; 2],
}

/// What micro-kernels multiply, in the order of [`Costs::rates`].
pub const OPERANDS: [Operand; 4] = [Operand::F32, Operand::Bf16, Operand::U8, Operand::I16];

/// Factor between a shipped constant and one that is taken for measured: more is a fault of the measurement.
const FARTHEST: f64 = 32.0;

impl Costs {
    /// Those that the program is shipped with.
    pub fn shipped(isa: Features) -> Costs {
        let rate = |a| micro_kernels(isa, a).find(|k| k.nr > 1).map_or(1.0, |k| k.rate);
        Costs {
            rates: OPERANDS.map(rate),
            memory: 0.05,
            transform_4: [60.0, 70.0],
            transform_2: [24.0, 22.0],
            transform_int8: [16.0, 30.0],
        }
    }

    /// All numbers.
    fn numbers(&self) -> Vec<f64> {
        let transforms = [self.transform_4, self.transform_2, self.transform_int8];
        self.rates.iter().chain([&self.memory]).chain(transforms.iter().flatten()).copied().collect()
    }

    /// Whether all are such as a machine may have.
    pub fn plausible(&self, isa: Features) -> bool {
        let near = |(a, b): (&f64, &f64)| a.is_finite() && *a > b / FARTHEST && *a < b * FARTHEST;
        self.numbers().iter().zip(&Costs::shipped(isa).numbers()).all(near)
    }

    /// Multiply-accumulates per nanosecond of a micro-kernel.
    pub(crate) fn rate(&self, kernel: &MicroKernel) -> f64 {
        OPERANDS.iter().position(|a| *a == kernel.a).map_or(kernel.rate, |i| self.rates[i])
    }

    /// Estimated nanoseconds of a tile of `rows` over `taps` runs of `run` values.
    pub(crate) fn tile(&self, kernel: &MicroKernel, rows: usize, taps: usize, run: usize) -> f64 {
        let (rate, per) = (self.rate(kernel), kernel.a.per_group());
        let vectors = |columns: f64| rows as f64 * columns * (taps * run.div_ceil(per) * per) as f64 / rate;
        if !kernel.on_matrix_unit() {
            return vectors(kernel.column_cost());
        }
        let size = [rows, kernel.nr];
        if kernel.a == Operand::U8 && steps::vectors_are_faster(size, taps, run) {
            return vectors(kernel.nr as f64) * SLOWER;
        }
        // The rate is that of a tile as it is measured, with all that belongs to it.
        let whole = [kernel.mr, kernel.nr];
        let measured = (kernel.mr * kernel.nr * DEPTH) as f64 / rate;
        let products = |size, taps, run| steps::products(size, taps, Division::of(run, per));
        products(size, taps, run) * measured / products(whole, 1, DEPTH)
    }
}

/// Length of the reduction of the tiles that rates are measured with.
pub(crate) const DEPTH: usize = 288;

/// How much longer INT8 products of vectors take than those of a matrix unit in such a tile.
const SLOWER: f64 = 3.0;

/// Measured constants, by feature set.
static MEASURED: OnceLock<Vec<(Features, Costs)>> = OnceLock::new();

/// Constants that cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CostsError {
    /// A number is none that a machine may have.
    #[error("the constants of {set} are not plausible")]
    Implausible {
        /// Name of the feature set.
        set: &'static str,
    },
    /// Networks may have been planned with others.
    #[error("constants were installed already")]
    Installed,
}

/// Installs measured constants for the rest of the process; feature sets that are not named keep the shipped ones.
///
/// # Errors
/// [`CostsError`] where a number cannot be right, or others were installed before.
pub fn install(measured: Vec<(Features, Costs)>) -> Result<(), CostsError> {
    if let Some((isa, _)) = measured.iter().find(|(isa, costs)| !costs.plausible(*isa)) {
        return Err(CostsError::Implausible { set: isa.name() });
    }
    MEASURED.set(measured).map_err(|_| CostsError::Installed)
}

/// The constants in force.
pub fn costs(isa: Features) -> Costs {
    // What runs may have more features than the named set that it is called by.
    let measured = MEASURED.get().and_then(|all| all.iter().find(|(set, _)| set.name() == isa.name()));
    measured.map_or_else(|| Costs::shipped(isa), |(_, costs)| *costs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plausible_constants_are_installed() {
        let isa = Features::NONE;
        let shipped = Costs::shipped(isa);
        assert!(shipped.plausible(isa));
        for broken in [f64::NAN, 0.0, -1.0, f64::INFINITY, 1e9] {
            let odd = Costs { memory: broken, ..shipped };
            assert!(!odd.plausible(isa), "{broken}");
            assert_eq!(install(vec![(isa, odd)]), Err(CostsError::Implausible { set: isa.name() }));
        }
        assert_eq!(costs(isa), shipped);
    }
}
