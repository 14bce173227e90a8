//! The constants of [`Costs`] on this machine.

use super::{kernel_macs, triad_bytes};
use crate::conv::{ConvPointers, Quantized};
use crate::costs::{Costs, OPERANDS};
use crate::gemm::{self, Act, Operand, micro_kernels};
use crate::winograd::{Operands, Shape, Steps, Variant, Winograd};
use crate::{Elem, Features, Grid, serial};
use std::time::{Duration, Instant};

/// Time of one round of a micro-kernel.
const ROUND: Duration = Duration::from_millis(5);
/// Bytes of each array of the memory's measurement: beyond any cache of one core.
const ARRAY: usize = 64 << 20;
/// Runs of a layer, of which the fastest counts.
const RUNS: usize = 7;
/// Input and output channels of the layers whose transforms are measured: most of the first is transforming inputs, most
/// of the second outputs. What they hold stays in the second-level cache.
const CHANNELS: [[usize; 2]; 2] = [[96, 16], [16, 96]];
const SIDE: usize = 32;

/// Measures the constants of a feature set of this CPU, in about a second.
pub fn calibrate(isa: Features) -> Costs {
    let shipped = Costs::shipped(isa);
    let rate = |(i, a): (usize, Operand)| {
        let all = micro_kernels(isa, a).filter(|k| k.nr > 1).filter_map(|k| kernel_macs(k, ROUND));
        let best = all.fold(0.0, f64::max) / 1e9;
        if best > 0.0 { best } else { shipped.rates[i] }
    };
    let mut rates = shipped.rates;
    OPERANDS.into_iter().enumerate().for_each(|(i, a)| rates[i] = rate((i, a)));
    let mut costs = Costs { rates, memory: 1e9 / triad_bytes(ARRAY), ..shipped };
    let int8 = match gemm::operand(isa, Elem::U8) {
        Operand::U8 => Variant::F2_INT8,
        Operand::F32 | Operand::Bf16 | Operand::I16 => Variant::F2_EXACT,
    };
    for variant in [Variant::F4, Variant::F2, int8] {
        let fitted = transforms(isa, variant, &costs).map(|pair| with(variant, &costs, pair));
        // A layer whose products took longer than in cache says nothing of its transforms.
        costs = fitted.filter(|c| c.plausible(isa)).unwrap_or(costs);
    }
    costs
}

/// The same constants with others for the transforms of a variant.
fn with(variant: Variant, costs: &Costs, pair: [f64; 2]) -> Costs {
    match variant {
        v if v.domain.integer() => Costs { transform_int8: pair, ..*costs },
        v if v.tile == 2 => Costs { transform_2: pair, ..*costs },
        _ => Costs { transform_4: pair, ..*costs },
    }
}

/// Nanoseconds to transform one register of a tile in and out: those under which the estimate gives the measured times of
/// two layers. `None` where the rest of the estimate leaves nothing for them.
fn transforms(isa: Features, variant: Variant, costs: &Costs) -> Option<[f64; 2]> {
    // The estimate is linear in both, so that three of it give its terms.
    let [zero, first, second] = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]].map(|pair| with(variant, costs, pair));
    let equation = |channels: [usize; 2]| {
        let (plan, seconds) = layer(isa, variant, channels);
        let rest = plan.cost_by(&zero);
        [plan.cost_by(&first) - rest, plan.cost_by(&second) - rest, seconds * 1e9 * plan.idle() - rest]
    };
    solved(CHANNELS.map(equation))
}

/// The solution of `a·x + b·y = c` twice, where both are above 0.
fn solved([[a, b, c], [d, e, f]]: [[f64; 3]; 2]) -> Option<[f64; 2]> {
    let determinant = a * e - b * d;
    let pair = [(c * e - b * f) / determinant, (a * f - c * d) / determinant];
    pair.iter().all(|v| v.is_finite() && *v > 0.0).then_some(pair)
}

/// A layer of one slice, and the least seconds that it took on one core.
fn layer(isa: Features, variant: Variant, [ci, co]: [usize; 2]) -> (Winograd, f64) {
    let integer = variant.domain.integer();
    let elems = [if integer { Elem::U8 } else { Elem::F32 }; 2];
    let grid = |c| Grid::dense([1, 1, SIDE, SIDE, c]);
    let (input, output) = (grid(ci), grid(co));
    let residual = (Elem::F32, [1.0, 0.0]);
    let quantized = Quantized { zero_point: 3, residual, post: None, output: [1.0, 128.0], totals: None };
    let quantized = integer.then_some(quantized);
    let shape = Shape {
        input,
        output,
        residual: None,
        depth_taps: 1,
        pad: [0, 1, 1],
        act: Act::None,
        elems,
        quantized,
    };
    let plan = Winograd::new(isa, shape, variant);
    let nine = |_, i: usize, o: usize| [((i + o) % 100) as f32 * if integer { 1.0 } else { 1e-4 }; 9];
    let weights = match integer {
        true => {
            let steps = variant.rounded.then(|| Steps::of([900.0; 16]));
            plan.pack_quantized((&vec![1e-4; co], steps), None, &serial, nine)
        }
        false => plan.pack(None, &serial, nine),
    };
    // Large enough for either type; what the bits mean does not matter to the time.
    let (x, mut y) = (vec![0.1f32; input.extent()], vec![0f32; output.extent()]);
    let pointers = ConvPointers::new(x.as_ptr(), y.as_mut_ptr(), std::ptr::null());
    let mut scratch = vec![0f32; plan.scratch()];
    let mut best = f64::MAX;
    for _ in 0..RUNS {
        let on = Operands { weights: &weights, prologue: None, pointers, scratch: scratch.as_mut_ptr() };
        let start = Instant::now();
        for i in 0..plan.items() {
            // SAFETY: the buffers have the grids' extents and the CPU has the features.
            unsafe { plan.run(i, on, None) };
        }
        best = best.min(start.elapsed().as_secs_f64());
    }
    (plan, best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_layers_give_two_constants() {
        assert_eq!(solved([[1.0, 2.0, 8.0], [3.0, 1.0, 9.0]]), Some([2.0, 3.0]));
        assert_eq!(solved([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]), None);
        assert_eq!(solved([[1.0, 0.0, -1.0], [0.0, 1.0, 1.0]]), None);
    }

    #[test]
    fn estimates_are_linear_in_their_constants() {
        let isa = Features::NONE;
        let (plan, _) = layer(isa, Variant::F2, [4, 8]);
        let costs = Costs::shipped(isa);
        let of = |pair| plan.cost_by(&Costs { transform_2: pair, ..costs });
        let (none, one, other, both) = (of([0.0; 2]), of([1.0, 0.0]), of([0.0, 1.0]), of([2.0, 3.0]));
        let want = none + 2.0 * (one - none) + 3.0 * (other - none);
        assert!((both - want).abs() < 1e-6 * want && one > none && other > none, "{both} {want}");
    }
}
