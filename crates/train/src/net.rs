//! A network that can be trained: layers over values of fixed sizes, with a planned step.

use crate::layer::{Backward, Dims, Forward, Gradient, Layer, len};
use crate::machine::Machine;
use crate::param::Params;
use crate::tape::{Action, Link, Tape};
use crate::{Error, Result};
use ampoule_kernels::Floats;

/// A layer with a name and its places.
pub(crate) struct Placed {
    pub name: String,
    pub layer: Box<dyn Layer>,
    pub inputs: Vec<usize>,
    pub output: usize,
    pub trains: bool,
}

/// What turns an output of the network into probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// Nothing: the graph's output is the logits.
    None,
    /// Softmax over channels.
    Softmax,
    /// A sigmoid of each channel.
    Sigmoid,
}

/// An output of a [`Net`]: the logits where the graph ends in a softmax or sigmoid.
#[derive(Clone, Debug)]
pub struct Output {
    /// Name of the graph's value.
    pub name: String,
    /// Its size.
    pub dims: Dims,
    /// What follows in the graph.
    pub head: Head,
}

/// A network with parameters, for inputs of fixed sizes.
pub struct Net {
    /// Parameters; to be changed between steps, with [`Params::touch`] after it.
    pub params: Params,
    /// Outputs, those of the graph first, then the values asked for besides.
    pub outputs: Vec<Output>,
    /// Whether normalisations use and follow the statistics of the batch.
    pub batch_statistics: bool,
    on: Machine,
    layers: Vec<Placed>,
    input_dims: Vec<Dims>,
    tape: Tape,
    arena: Floats,
    /// Actions done of the present step.
    done: usize,
    /// The first layer whose values were not finite, where that is looked for.
    spoilt: Option<usize>,
    watch: bool,
}

impl Net {
    pub(crate) fn new(
        on: Machine,
        params: Params,
        layers: Vec<Placed>,
        values: Vec<Dims>,
        inputs: Vec<usize>,
        outputs: Vec<(usize, Output)>,
        most: Option<u64>,
    ) -> Result<Self> {
        let links: Vec<Link> = layers
            .iter()
            .map(|l| Link {
                inputs: l.inputs.clone(),
                output: l.output,
                reads: l.layer.reads(),
                cheap: l.layer.cheap(),
                in_place: l.layer.in_place(),
                trains: l.trains,
            })
            .collect();
        let ends: Vec<usize> = outputs.iter().map(|o| o.0).collect();
        // Values, gradients, and twice as much for the optimizer.
        let fixed = 2 * params.bytes() as u64;
        let room = most.map_or(u64::MAX, |m| m.saturating_sub(fixed));
        let tape = Tape::new(&links, &values, &inputs, &ends, room);
        if let Some(limit) = most.filter(|_| tape.plan.size as u64 > room) {
            let needed = fixed + tape.plan.size as u64;
            return Err(Error::Memory { needed_mib: needed >> 20, limit_mib: limit >> 20 });
        }
        let arena = Floats::zeroed(tape.plan.size / 4);
        let input_dims = inputs.iter().map(|&i| values[i]).collect();
        Ok(Net {
            params,
            outputs: outputs.into_iter().map(|o| o.1).collect(),
            batch_statistics: true,
            on,
            layers,
            input_dims,
            tape,
            arena,
            done: 0,
            spoilt: None,
            watch: false,
        })
    }

    /// Sizes of the inputs.
    pub fn input_dims(&self) -> &[Dims] {
        &self.input_dims
    }

    /// Bytes of values and gradients that a step needs.
    pub fn arena_bytes(&self) -> u64 {
        self.tape.plan.size as u64
    }

    /// Bytes held in all: values and gradients of layers and parameters, packed weights, scratch.
    pub fn bytes(&self) -> u64 {
        let packed: usize = self.layers.iter().map(|l| l.layer.held()).sum();
        self.arena_bytes() + (self.params.bytes() + packed + self.on.scratch_bytes()) as u64
    }

    /// Layers that are computed a second time on the way back.
    pub fn repeated(&self) -> usize {
        self.tape.actions.iter().filter(|a| matches!(a, Action::Forward { again: true, .. })).count()
    }

    fn place(&self, p: usize) -> std::ops::Range<usize> {
        let first = self.tape.plan.offsets[p] / 4;
        first..first + self.tape.sizes[p]
    }

    /// Input `i`, to be filled before [`Net::forward`]: channels innermost.
    pub fn input(&mut self, i: usize) -> &mut [f32] {
        let range = self.place(self.tape.inputs[i]);
        &mut self.arena[range]
    }

    /// Output `i` after [`Net::forward`]: channels innermost.
    pub fn output(&self, i: usize) -> &[f32] {
        &self.arena[self.place(self.tape.outputs[i][0])]
    }

    /// The gradient of the loss with respect to output `i`, to be filled before [`Net::backward`].
    pub fn gradient(&mut self, i: usize) -> &mut [f32] {
        let range = self.place(self.tape.outputs[i][1]);
        &mut self.arena[range]
    }

    /// Computes the outputs.
    pub fn forward(&mut self) {
        self.done = 0;
        self.go(true);
    }

    /// Adds the gradients of all parameters, after [`Net::forward`] and with all gradients of outputs filled.
    pub fn backward(&mut self) {
        assert!(self.done > 0, "forward comes first");
        self.go(false);
        self.done = 0;
    }

    /// Does actions up to the loss, or from it to the end.
    fn go(&mut self, first: bool) {
        let base = self.arena.as_mut_ptr();
        let (offsets, sizes) = (&self.tape.plan.offsets, &self.tape.sizes);
        let at = |p: usize| base.wrapping_add(offsets[p] / 4);
        let start = self.done;
        for (i, action) in self.tape.actions.iter().enumerate().skip(start) {
            self.done = i + 1;
            match action {
                Action::Loss => {
                    if first {
                        return;
                    }
                }
                Action::Forward { layer, again, x, y } => {
                    // SAFETY: places of values that are alive do not overlap; one is written.
                    let (x, y) = unsafe {
                        let x: Vec<&[f32]> =
                            x.iter().map(|&p| std::slice::from_raw_parts(at(p), sizes[p])).collect();
                        (x, std::slice::from_raw_parts_mut(at(*y), sizes[*y]))
                    };
                    self.layers[*layer].layer.forward(Forward {
                        on: &self.on,
                        params: &mut self.params,
                        x: &x,
                        y,
                        training: self.batch_statistics,
                        again: *again,
                    });
                    if self.watch && y.iter().any(|v| !v.is_finite()) {
                        self.spoilt = Some(*layer);
                        return;
                    }
                }
                Action::Back { layer, x, y, dy, dx } => {
                    // SAFETY: as above; gradients are only written through pointers.
                    let (x, y) = unsafe {
                        let slice = |p: usize| std::slice::from_raw_parts(at(p), sizes[p]);
                        (x.iter().map(|&p| slice(p)).collect::<Vec<&[f32]>>(), y.map_or(&[][..], slice))
                    };
                    let dx: Vec<Option<Gradient>> =
                        dx.iter().map(|d| d.map(|(p, add)| Gradient { at: at(p), add })).collect();
                    // SAFETY: the plan keeps apart what is alive at the same time, but for gradients that
                    // take each other's place where the layer allows it.
                    unsafe {
                        self.layers[*layer].layer.backward(Backward {
                            on: &self.on,
                            params: &mut self.params,
                            x: &x,
                            y,
                            dy: at(*dy),
                            dx: &dx,
                            training: self.batch_statistics,
                        });
                    }
                }
            }
        }
    }

    /// The first layer that makes values that are not finite of `input`, the content of input 0.
    pub fn where_not_finite(&mut self, input: &[f32]) -> Option<&str> {
        if input.iter().any(|v| !v.is_finite()) {
            return Some("the input");
        }
        self.input(0).copy_from_slice(input);
        (self.watch, self.spoilt) = (true, None);
        self.forward();
        self.watch = false;
        self.spoilt.map(|l| self.layers[l].name.as_str())
    }

    /// The first layer with a parameter whose gradient is not finite.
    pub fn not_finite(&self) -> Option<&str> {
        let bad = |p: &&crate::Param| p.grad.iter().any(|g| !g.is_finite());
        self.params.list.iter().find(bad).map(|p| p.name.as_str())
    }

    /// Names of the layers, in order.
    pub fn layers(&self) -> impl Iterator<Item = &str> {
        self.layers.iter().map(|l| l.name.as_str())
    }

    /// Values of all inputs.
    pub fn input_len(&self) -> usize {
        self.input_dims.iter().map(len).sum()
    }
}
