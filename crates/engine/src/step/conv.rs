//! Convolution steps: one or several parts, each with the algorithm chosen for it.

use super::{Context, Norm, Step, grid};
use crate::error::StepError;
use ampoule_kernels::Act;
use ampoule_kernels::conv::Prologue;
use ampoule_kernels::eltwise::Unary;
use ampoule_runtime::run::conv::{ConvParts, Fused};
use ampoule_runtime::run::{Places, values};
use std::ops::Range;

/// The convolutions of a step.
pub(crate) struct Convolution {
    pub parts: ConvParts,
    /// Applied to what an item wrote while it is in cache.
    pub post: Option<Unary>,
    /// Applied to the input as it is read.
    pub prologue: Option<Absorbed>,
    /// Which of the session's sums a following normalisation finds what the items added up in.
    pub sums: Option<usize>,
}

/// What was a step of its own before the convolution, and is done while that reads its input.
#[derive(Clone)]
pub(crate) enum Absorbed {
    /// A normalisation.
    Norm(Norm),
    /// A computed factor for each channel: the last of what the step reads.
    Factors,
}

/// Scale and shift per channel.
pub(super) type Affine = (Vec<f32>, Vec<f32>);

impl Convolution {
    /// A convolution with nothing fused into it.
    pub fn plain(parts: ConvParts) -> Self {
        Convolution { parts, post: None, prologue: None, sums: None }
    }

    /// Whether it can run slice by slice on an output of `depth` slices.
    pub fn sliced(&self, depth: usize) -> bool {
        let parts = self.parts.list();
        let total: usize = parts.iter().map(|p| p.own(&(0..depth)).len()).sum();
        let phases = parts.iter().map(|p| p.depth[1]).max().unwrap_or(1);
        // Merged pixels are a single slice.
        total * phases >= parts.len() * depth
    }

    /// Runs all items of all parts.
    pub fn run(&self, step: &Step, cx: &Context) -> Result<(), StepError> {
        if let Some(s) = self.sums {
            cx.sums[s].prepare(self.parts.items(None));
        }
        let affine = self.affine(step, cx)?;
        self.items(step, cx, None, 0, &affine);
        Ok(())
    }

    /// Scale and shift of the prologue, empty without one.
    fn affine(&self, step: &Step, cx: &Context) -> Result<Affine, StepError> {
        // The input of a dense layer need not be a grid.
        let Some(absorbed) = &self.prologue else { return Ok(Affine::default()) };
        let input = grid(&step.reads[0])?;
        Ok(match (absorbed, step.reads.last()) {
            (Absorbed::Norm(n), _) => step.affine(cx, n, &input, 0),
            (Absorbed::Factors, Some(factors)) => {
                let channels = input.channels();
                (values::load(cx.area(factors), channels), vec![0.0; channels])
            }
            (Absorbed::Factors, None) => Affine::default(),
        })
    }

    /// Where input, output and residual lie: factors are none.
    fn places<'a>(&self, step: &Step, cx: &Context<'a>) -> Places<'a> {
        let factors = usize::from(matches!(self.prologue, Some(Absorbed::Factors)));
        let residual = step.reads.get(1).filter(|_| step.reads.len() > 1 + factors);
        Places {
            input: cx.area(&step.reads[0]),
            output: cx.area(&step.writes[0]),
            residual: residual.map(|r| cx.area(r)),
        }
    }

    /// Runs output slices `z`, which must be asked for in order, from the first on; only the slices that they read
    /// need be there.
    pub fn run_slices(&self, step: &Step, cx: &Context, z: Range<usize>) -> Result<(), StepError> {
        let mut slot = 0;
        if let Some(s) = self.sums {
            if z.start == 0 {
                cx.sums[s].prepare(0);
            }
            slot = cx.sums[s].extend(self.parts.items(Some(&z)));
        }
        let affine = self.affine(step, cx)?;
        self.items(step, cx, Some(z), slot, &affine);
        Ok(())
    }

    /// Runs in rounds of slices, so that an output that overlaps its input never overwrites what a
    /// later round reads.
    pub fn run_rounds(&self, step: &Step, cx: &Context, rounds: &[Range<usize>]) -> Result<(), StepError> {
        if let Some(s) = self.sums {
            cx.sums[s].prepare(rounds.iter().map(|z| self.parts.items(Some(z))).sum());
        }
        let affine = self.affine(step, cx)?;
        let mut slot = 0;
        for z in rounds {
            self.items(step, cx, Some(z.clone()), slot, &affine);
            slot += self.parts.items(Some(z));
        }
        Ok(())
    }

    /// Runs the items of slices `z`, or all, which add up from position `slot` on.
    fn items(&self, step: &Step, cx: &Context, z: Option<Range<usize>>, slot: usize, affine: &Affine) {
        let (scale, shift) = affine;
        let fused = Fused {
            prologue: self.prologue.as_ref().map(|p| {
                let act = match p {
                    Absorbed::Norm(n) => n.act,
                    Absorbed::Factors => Act::None,
                };
                Prologue { scale, shift, act }
            }),
            post: self.post,
            sums: self.sums.map(|s| (&cx.sums[s], slot)),
        };
        let scratch = step.scratch.as_ref().map(|v| cx.area(v));
        self.parts.run(cx.cpu, z, self.places(step, cx), scratch, fused);
    }
}
