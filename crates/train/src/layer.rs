//! One operation with its way back.

pub(crate) mod depthwise;
pub(crate) mod fake_quantize;
pub(crate) mod join;
pub(crate) mod linear;
pub(crate) mod norm;
pub(crate) mod product;
pub(crate) mod reshape;
pub(crate) mod sample;
pub(crate) mod softmax;

use crate::machine::Machine;
use crate::param::Params;

/// Batch, depth, height, width, channels of a value; channels innermost, dense.
pub type Dims = [usize; 5];

/// Number of values.
pub(crate) fn len(d: &Dims) -> usize {
    d.iter().product()
}

/// Pixels of all batch entries.
pub(crate) fn pixels(d: &Dims) -> usize {
    d[..4].iter().product()
}

/// The nearest integer, ties to even, of a value below 2²¹; larger ones are taken for that. Without the processor's
/// own instruction, which the smallest of them lacks.
pub(crate) fn nearest(x: f32) -> f32 {
    const MOST: f32 = (1 << 21) as f32;
    // Sums of this size have no digits behind the point.
    const WHOLE: f32 = (3 << 22) as f32;
    (x.clamp(-MOST, MOST) + WHOLE) - WHOLE
}

/// What a layer's way back reads besides the gradient of its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reads {
    pub inputs: bool,
    pub output: bool,
}

impl Reads {
    pub const NOTHING: Reads = Reads { inputs: false, output: false };
    pub const INPUTS: Reads = Reads { inputs: true, output: false };
    pub const BOTH: Reads = Reads { inputs: true, output: true };
    pub const OUTPUT: Reads = Reads { inputs: false, output: true };
}

/// A run forward.
pub(crate) struct Forward<'a> {
    pub on: &'a Machine,
    pub params: &'a mut Params,
    pub x: &'a [&'a [f32]],
    pub y: &'a mut [f32],
    /// Statistics of the batch are to be used where the layer knows them, and followed.
    pub training: bool,
    /// The second time in one step: nothing is followed.
    pub again: bool,
}

/// Where the gradient of an input goes.
#[derive(Clone, Copy)]
pub(crate) struct Gradient {
    pub at: *mut f32,
    /// Whether there is a gradient already, to be added to.
    pub add: bool,
}

/// A run back. `dy` may be the same memory as the first gradient where [`Layer::in_place`] says so.
pub(crate) struct Backward<'a> {
    pub on: &'a Machine,
    pub params: &'a mut Params,
    /// Inputs, if they are read; else empty.
    pub x: &'a [&'a [f32]],
    /// Output, if it is read; else empty.
    pub y: &'a [f32],
    pub dy: *const f32,
    /// Gradients of the inputs that need them; where an input is there twice, the last one comes first.
    pub dx: &'a [Option<Gradient>],
    pub training: bool,
}

/// An operation on values of known sizes.
pub(crate) trait Layer: Send {
    /// What the way back reads.
    fn reads(&self) -> Reads;
    /// Whether to compute the output again for the way back rather than to keep it.
    fn cheap(&self) -> bool;
    /// Whether the gradient of the first input may take the place of that of the output.
    fn in_place(&self) -> bool {
        false
    }
    /// Computes the output.
    fn forward(&mut self, run: Forward);
    /// Computes gradients of inputs, and adds those of parameters.
    ///
    /// # Safety
    /// `dy` must be readable and the gradients writable for their values' sizes, disjoint but for what
    /// [`Layer::in_place`] allows.
    unsafe fn backward(&mut self, run: Backward);
    /// Bytes of packed weights and statistics held.
    fn held(&self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn ties_go_to_even() {
        for (x, y) in [(0.5, 0.0), (1.5, 2.0), (-2.5, -2.0), (-0.49, 0.0), (254.5, 254.0), (1e9, 2_097_152.0)]
        {
            assert_eq!(nearest(x), y, "{x}");
        }
        assert!((0..4000).map(|i| i as f32 * 0.37 - 700.0).all(|x| nearest(x) == x.round_ties_even()));
        assert!(nearest(f32::NAN).is_nan());
    }
}
