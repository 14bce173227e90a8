//! Convolutions with one kernel per channel.

use super::{Backward, Forward, Layer, Reads};
use crate::layer::channels::channel_sums;
use crate::param::ParamId;
use ampoule_kernels::conv::Axis;
use ampoule_kernels::depthwise::{Depthwise as Plan, Filters};
use ampoule_kernels::{Act, Elem, Grid};
use ampoule_runtime::run::Places;
use ampoule_runtime::run::depthwise::run as run_depthwise;
use ampoule_runtime::run::grad::{DepthwiseGradient, depthwise};

pub(crate) struct Depthwise {
    pub input: Grid,
    pub output: Grid,
    pub axes: [Axis; 3],
    pub weight: ParamId,
    pub bias: Option<ParamId>,
}

impl Depthwise {
    fn taps(&self) -> usize {
        self.axes.iter().map(|a| a.kernel).product()
    }

    /// Weights as `[tap][channel]`, from the graph's `[channel][tap]`.
    fn turned(&self, w: &[f32]) -> Vec<f32> {
        let (c, taps) = (self.input.channels(), self.taps());
        (0..taps * c).map(|i| w[i % c * taps + i / c]).collect()
    }
}

impl Layer for Depthwise {
    fn reads(&self) -> Reads {
        Reads::INPUTS
    }

    fn cheap(&self) -> bool {
        false
    }

    fn forward(&mut self, run: Forward) {
        let c = self.input.channels();
        let mut filters = Filters {
            weights: self.turned(&run.params.get(self.weight).values),
            bias: self.bias.map_or(vec![0.0; c], |b| run.params.get(b).values.clone()),
            ..Filters::default()
        };
        let plan = Plan {
            input: self.input,
            output: self.output,
            residual: None,
            axes: self.axes,
            act: Act::None,
            elems: [Elem::F32; 2],
            quantized: None,
        };
        plan.pack(run.on.cpu().isa(), &mut filters);
        let (x, y) = (run.x[0].into(), run.y.into());
        run_depthwise(
            run.on.cpu(),
            &plan,
            &filters,
            None,
            None,
            Places { input: x, output: y, residual: None },
        );
    }

    fn backward(&mut self, mut run: Backward) {
        let w = self.turned(&run.params.get(self.weight).values);
        let plan =
            DepthwiseGradient { input: &self.input, output: &self.output, axes: &self.axes, weights: &w };
        let grad = match run.gradients.add(0) {
            Some(add) => {
                let (dy, dx) = run.gradients.separate(0);
                if !add {
                    dx.fill(0.0);
                }
                depthwise(run.on.cpu(), plan, run.x[0], dy, Some(dx))
            }
            None => depthwise(run.on.cpu(), plan, run.x[0], run.gradients.dy(), None),
        };
        run.params.get_mut(self.weight).grad.iter_mut().zip(grad).for_each(|(g, new)| *g += new);
        if let Some(b) = self.bias {
            let sums = channel_sums(run.on, run.gradients.dy(), self.output.channels());
            run.params.get_mut(b).grad.iter_mut().zip(sums).for_each(|(g, s)| *g += s as f32);
        }
    }
}
