//! Gradients, and the forward functions that training runs on dense slices.

pub use super::depthwise_gradient::{DepthwiseGradient, depthwise};
pub use super::weight_gradient::{ConvGeometry, weights};

use crate::{Cpu, Pair};
use ampoule_kernels::Grid;
use ampoule_kernels::grad::Curve;
use ampoule_kernels::grad::norm as kernels;
use ampoule_kernels::grad::pool::MaxPoolBackward;

/// `curve(x·scale + shift)` of dense pixels, per channel.
#[derive(Clone, Copy)]
pub struct Map<'a> {
    /// Input.
    pub x: &'a [f32],
    /// One factor per channel.
    pub scale: &'a [f32],
    /// One summand per channel.
    pub shift: &'a [f32],
    /// Activation.
    pub curve: Curve,
}

impl Map<'_> {
    /// The kernel's form, for as many values as `len`.
    fn checked(&self, x: *const f32, len: usize) -> kernels::Map<'_> {
        let c = self.scale.len();
        assert!(c > 0 && self.shift.len() == c && len.is_multiple_of(c), "pixels of other channels");
        kernels::Map { x, count: len / c, scale: self.scale, shift: self.shift, curve: self.curve }
    }

    /// Computes the output.
    pub fn forward(self, cpu: Cpu, y: &mut [f32]) {
        assert_eq!(self.x.len(), y.len(), "an output of another size");
        let map = self.checked(self.x.as_ptr(), y.len());
        // SAFETY: both slices hold the pixels.
        unsafe { kernels::forward(cpu.isa(), map, y.as_mut_ptr()) };
    }

    /// Adds, with `g = dy·curve'(x·scale + shift)`, Σ g to `sums` and Σ g·x to `products`, per channel.
    pub fn sums(self, cpu: Cpu, dy: &[f32], sums: &mut [f64], products: &mut [f64]) {
        assert_eq!(self.x.len(), dy.len(), "a gradient of another size");
        let map = self.checked(self.x.as_ptr(), dy.len());
        // SAFETY: both slices hold the pixels; the kernel checks the sums.
        unsafe { kernels::sums(cpu.isa(), map, dy.as_ptr(), sums, products) };
    }

    /// `dx = a·g + b·x + c` per channel, for `terms` a, b, c and `g` as in [`Map::sums`]; added to what is there with
    /// `add`.
    pub fn backward(self, cpu: Cpu, gradients: Pair, add: bool, terms: [&[f32]; 3]) {
        let (dy, dx, len) = match gradients {
            Pair::InPlace(v) => {
                assert!(!add, "a gradient added to itself");
                (v.as_ptr(), v.as_mut_ptr(), v.len())
            }
            Pair::Separate(dy, dx) => {
                assert_eq!(dy.len(), dx.len(), "gradients of different sizes");
                (dy.as_ptr(), dx.as_mut_ptr(), dx.len())
            }
        };
        assert_eq!(self.x.len(), len, "a gradient of another size");
        let map = self.checked(self.x.as_ptr(), len);
        // SAFETY: all slices hold the pixels, and the kernel works in place.
        unsafe { kernels::back(cpu.isa(), kernels::Back { map, dy, dx, add, terms }) };
    }
}

/// `to[i] += from[i]`.
pub fn accumulate(cpu: Cpu, to: &mut [f32], from: &[f32]) {
    assert_eq!(to.len(), from.len(), "values of another size");
    // SAFETY: both slices hold as many values.
    unsafe { kernels::accumulate(cpu.isa(), to.as_mut_ptr(), from.as_ptr(), 1.0, to.len()) };
}

/// Adds the gradient `dy` of a maximum pooling to `dx`.
pub fn max_pool(cpu: Cpu, plan: &MaxPoolBackward, [x, y, dy]: [&[f32]; 3], dx: &mut [f32]) {
    let (input, output) = (&plan.input, &plan.output);
    assert!(*input == Grid::dense(input.dims) && *output == Grid::dense(output.dims), "grids with gaps");
    assert!(input.dims[0] == output.dims[0] && input.dims[4] == output.dims[4], "grids that do not fit");
    assert!(x.len() == input.extent() && dx.len() == x.len(), "an input of another size");
    assert!(y.len() == output.extent() && dy.len() == y.len(), "an output of another size");
    let per = input.strides[0];
    cpu.pool().chunks(input.dims[0], (dx, per), |i, own| {
        let first = own.as_mut_ptr().wrapping_sub(i * per);
        let sides = [x.as_ptr(), y.as_ptr(), dy.as_ptr()];
        // SAFETY: checked above; only batch entry `i`, which is the item's own, is written.
        unsafe { plan.run(cpu.isa(), i, sides, first) };
    });
}
