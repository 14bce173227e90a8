//! A network that can be trained: layers over values of fixed sizes, with a planned step.

use crate::layer::{Backward, Dims, Forward, Gradients, Layer};
use crate::machine::Machine;
use crate::param::Params;
use crate::tape::{Action, Link, Tape};
use crate::{Error, Result};
use ampoule_runtime::{Arena, OutOfMemory};
use std::ops::Range;

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
    arena: Arena,
    /// Actions done of the present step.
    done: usize,
    /// The first layer whose values were not finite, where that is looked for.
    not_finite: Option<usize>,
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
        let arena = Arena::new(tape.plan.size)?;
        // What the optimizer will ask for.
        OutOfMemory::check(params.bytes())?;
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
            not_finite: None,
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

    /// Indices of the floats of place `p`.
    fn place(&self, p: usize) -> Range<usize> {
        self.tape.place(p)
    }

    /// Input `i`, to be filled before [`Net::forward`]: channels innermost.
    pub fn input(&mut self, i: usize) -> &mut [f32] {
        let range = self.place(self.tape.inputs[i]);
        self.arena.floats_mut(range)
    }

    /// Output `i` after [`Net::forward`]: channels innermost.
    pub fn output(&self, i: usize) -> &[f32] {
        self.arena.floats(self.place(self.tape.outputs[i][0]))
    }

    /// The gradient of the loss with respect to output `i`, to be filled before [`Net::backward`].
    pub fn gradient(&mut self, i: usize) -> &mut [f32] {
        let range = self.place(self.tape.outputs[i][1]);
        self.arena.floats_mut(range)
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
        for i in self.done..self.tape.actions.len() {
            self.done = i + 1;
            match &self.tape.actions[i] {
                Action::Loss if first => return,
                Action::Loss => {}
                Action::Forward { .. } => self.layer_forward(i),
                Action::Back { .. } => self.layer_backward(i),
            }
            if self.watch && self.not_finite.is_some() {
                return;
            }
        }
    }

    /// Action `i`, a layer forward.
    fn layer_forward(&mut self, i: usize) {
        let Action::Forward { layer, again, x, y } = &self.tape.actions[i] else { return };
        let reads: Vec<Range<usize>> = x.iter().map(|&p| self.place(p)).collect();
        let (x, mut y) = self.arena.parts(&reads, vec![self.tape.place(*y)]);
        let y = y.write(0);
        self.layers[*layer].layer.forward(Forward {
            on: &self.on,
            params: &mut self.params,
            x: &x,
            y,
            training: self.batch_statistics,
            again: *again,
        });
        if self.watch && y.iter().any(|v| !v.is_finite()) {
            self.not_finite = Some(*layer);
        }
    }

    /// Action `i`, a layer's way back.
    fn layer_backward(&mut self, i: usize) {
        let Action::Back { layer, x, y, dy, dx } = &self.tape.actions[i] else { return };
        let place = |p: &usize| self.tape.place(*p);
        let reads: Vec<Range<usize>> = x.iter().chain(y).map(place).collect();
        let gradients = dx.iter().map(|d| d.map_or(0..0, |(p, _)| place(&p)));
        let writes: Vec<Range<usize>> = std::iter::once(place(dy)).chain(gradients).collect();
        let (reads, parts) = self.arena.parts(&reads, writes);
        let (x, y) = reads.split_at(x.len());
        self.layers[*layer].layer.backward(Backward {
            on: &self.on,
            params: &mut self.params,
            x,
            y: y.first().copied().unwrap_or_default(),
            gradients: Gradients::new(parts, dx.iter().map(|d| d.map(|d| d.1)).collect()),
            training: self.batch_statistics,
        });
    }

    /// The first layer that makes values that are not finite of `input`, the content of input 0.
    pub fn where_not_finite(&mut self, input: &[f32]) -> Option<&str> {
        if input.iter().any(|v| !v.is_finite()) {
            return Some("the input");
        }
        self.input(0).copy_from_slice(input);
        (self.watch, self.not_finite) = (true, None);
        self.forward();
        self.watch = false;
        self.not_finite.map(|l| self.layers[l].name.as_str())
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
}
