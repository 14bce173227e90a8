//! One operation with its way back.

pub(crate) mod channels;
pub(crate) mod contract;
pub(crate) mod depthwise;
pub(crate) mod fake_quantize;
pub(crate) mod function;
pub(crate) mod join;
pub(crate) mod linear;
pub(crate) mod norm;
pub(crate) mod pairwise;
pub(crate) mod product;
pub(crate) mod rearrange;
pub(crate) mod reshape;
pub(crate) mod rows;
pub(crate) mod sample;
pub(crate) mod softmax;
pub(crate) mod source;

use crate::machine::Machine;
use crate::param::Params;
use ampoule_runtime::{Pair, Parts};

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

/// The gradient of a layer's output, and where those of its inputs go. The first of these may lie at the place of the
/// former where [`Layer::in_place`] says so; where an input is there twice, both lie at one place, and the last one
/// comes first.
pub(crate) struct Gradients<'a> {
    /// The output's, then one for each input; empty for those that are not needed.
    parts: Parts<'a>,
    /// For each input whether its gradient is needed, and whether there is one already, to be added to.
    add: Vec<Option<bool>>,
}

impl<'a> Gradients<'a> {
    /// Of an output and of as many inputs as `add` has entries.
    pub fn new(parts: Parts<'a>, add: Vec<Option<bool>>) -> Self {
        Gradients { parts, add }
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.add.len()
    }

    /// The output's.
    pub fn dy(&self) -> &[f32] {
        self.parts.read(0)
    }

    /// Whether the gradient of input `k` is needed, and whether it is added to what is there.
    pub fn add(&self, k: usize) -> Option<bool> {
        self.add[k]
    }

    /// That of the output, and that of input `k`, at another place.
    pub fn separate(&mut self, k: usize) -> (&[f32], &mut [f32]) {
        self.parts.separate(0, k + 1)
    }

    /// That of the output, and that of input `k`.
    pub fn pair(&mut self, k: usize) -> Pair<'_> {
        self.parts.pair(0, k + 1)
    }
}

/// A run back.
pub(crate) struct Backward<'a> {
    pub on: &'a Machine,
    pub params: &'a mut Params,
    /// Inputs, if they are read; else empty.
    pub x: &'a [&'a [f32]],
    /// Output, if it is read; else empty.
    pub y: &'a [f32],
    pub gradients: Gradients<'a>,
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
    fn backward(&mut self, run: Backward);
    /// Bytes of packed weights and statistics held.
    fn held(&self) -> usize {
        0
    }
}
