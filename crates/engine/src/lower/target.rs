//! Where a convolution writes, and what joins it.

use super::fuse::Residual;
use super::quantized::Quantization;
use super::{Lower, OUTPUT, R};
use crate::error::LowerError;
use crate::step::{Absorbed, Kind};
use ampoule_graph::{Node, Op, ValueId};
use ampoule_kernels::conv::Stored;
use ampoule_kernels::{Act, Elem, Grid, eltwise};
use ampoule_runtime::view::{Home, View, channels_last};

/// What a fused step writes and adds.
pub(super) struct Target {
    pub output: View,
    pub grid: Grid,
    pub residual: Option<(View, Grid)>,
    /// Factor and summand that dequantize the residual.
    pub map: [f32; 2],
    pub act: Act,
    pub post: Option<eltwise::Unary>,
    /// Scale and zero point of the output, if it is quantized.
    pub quantization: Option<Quantization>,
}

impl Target {
    /// What turns float sums into the bytes that are stored, if they are.
    pub fn stored(&self) -> Option<Stored> {
        let quantizer = self.quantization?.quantizer();
        Some(Stored { post: self.post, quantizer })
    }
}

/// What a step reads: its input, and the residual.
pub(super) fn reads(x: View, t: &Target) -> Vec<View> {
    let mut reads = vec![x];
    reads.extend(t.residual.as_ref().map(|r| r.0.clone()));
    reads
}

impl Lower<'_> {
    /// The output of a fusable step: where it goes and what joins it. INT8 ones take quantized
    /// residuals and may give quantized outputs, float ones only where `bytes` says so and nothing is added.
    pub(super) fn target(&mut self, y: ValueId, integer: bool, bytes: bool) -> R<Target> {
        let (id, residual, act) =
            self.fuse(y, if integer { Residual::Quantized } else { Residual::Float })?;
        let (id, post) = match act {
            Act::None => self.fuse_function(id),
            Act::Leaky(_) | Act::Clamp(..) => (id, None),
        };
        let quantized = integer || (bytes && residual.is_none());
        let (id, quantization) = if quantized { self.fuse_quantizer(id)? } else { (id, None) };
        let dims = self.dims(id)?;
        let output = self.place_image(id, &dims);
        self.set(id, output.clone());
        let grid = output.grid().ok_or(OUTPUT)?;
        let map = residual.as_ref().map_or([1.0, 0.0], |r| r.1);
        let residual = match residual {
            Some((v, _)) => {
                let g =
                    v.grid().ok_or(LowerError::Layout { value: "the residual", wanted: "channels-last" })?;
                Some((v, g))
            }
            None => None,
        };
        Ok(Target { output, grid, residual, map, act, post, quantization })
    }

    /// The output of an integer convolution whose normalisation adds up exact sums: binary16 in between.
    pub(super) fn sums_target(&mut self, y: ValueId) -> R<Target> {
        let dims = self.dims(y)?;
        self.slices.remove(&y);
        let output = self.fresh(&dims, channels_last(&dims, dims[1]), Elem::F16);
        self.set(y, output.clone());
        let grid = output.grid().ok_or(OUTPUT)?;
        Ok(Target {
            output,
            grid,
            residual: None,
            map: [1.0, 0.0],
            act: Act::None,
            post: None,
            quantization: None,
        })
    }

    /// Whether only an instance normalisation of a single image reads `y`.
    pub(super) fn normalised(&self, y: ValueId) -> bool {
        let reader = self.only_reader(y).map(|r| &self.graph.nodes[r]);
        reader.is_some_and(|n| matches!(n.op, Op::InstanceNorm { .. }) && n.input(0) == Some(y))
            && self.graph.value(y).dims().is_some_and(|d| d[0] == 1 && (3..=5).contains(&d.len()))
    }

    /// Takes back the normalisation or the factors for channels that computed `x` only for this convolution: `x` becomes
    /// their input, which may lie otherwise when the convolution is `planned` for it afterwards. Factors join what the
    /// convolution reads, at its end.
    pub(super) fn absorb(
        &mut self,
        n: &Node,
        x: &mut View,
        planned: bool,
    ) -> Option<(Absorbed, Option<View>)> {
        let id = n.input(0)?;
        if self.uses[id.0] != 1 || x.dims[0] != 1 || !self.watched.is_empty() {
            return None;
        }
        let at = self.out.steps.iter().rposition(|s| s.writes.iter().any(|w| w.home == x.home))?;
        let step = &self.out.steps[at];
        let (absorbed, factors) = match (&step.kind, &step.reads[..]) {
            (Kind::Norm(norm), [_]) => (Absorbed::Norm(norm.clone()), None),
            (Kind::Scale([1.0, 0.0]), [_, factors]) => (Absorbed::Factors, Some(factors.clone())),
            _ => return None,
        };
        let Home::Arena(b) = x.home else { return None };
        let same = step.writes.len() == 1 && step.writes[0] == *x;
        let raw = &step.reads[0];
        let strides = x.grid().map(|g| g.strides);
        let grids = raw.grid().is_some_and(|g| Some(g.strides) == strides || (planned && g.uniform()));
        if !same || !grids || raw.dims != x.dims || raw.elem != x.elem {
            return None;
        }
        *x = raw.clone();
        self.out.steps.remove(at);
        self.out.buffers[b] = 0;
        Some((absorbed, factors))
    }
}
