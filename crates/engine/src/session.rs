//! A model made ready for one set of input shapes.

mod fit;
mod output;
mod report;

use crate::external::{ExternalBackend, ExternalNetwork};
use crate::lower::{Given, Lowered};
use crate::step::{Context, Step, area};
use crate::stream::{Action, Stream};
use crate::tiling::Tiles;
use crate::{Error, Observe, Observed, Precision, Result};
use ampoule_graph::passes::{Counts, Missed};
use ampoule_graph::{DType, Dim, Graph, Tensor};
use ampoule_kernels::Features;
use ampoule_runtime::run::conv::Sums;
use ampoule_runtime::run::values::{gather, is_channels_last, planes_to_pixels, scatter};
use ampoule_runtime::view::Home;
use ampoule_runtime::{Area, Arena, Cpu, Memory, Plan, Pool, View};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fit::{Fitted, fit, too_large, weight_bytes};
pub use output::OutputRef;
pub use report::StepInfo;

/// Integers up to this are exact in float32, which carries them.
const EXACT_INTEGERS: f32 = 16_777_216.0;

/// How much of a graph is rewritten before it is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rewrites {
    /// All passes.
    #[default]
    All,
    /// Only constants are computed: the graph as it was made, for comparing with and without the rest.
    Fold,
    /// None.
    None,
}

/// How to make a session.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Feature set by name (`scalar`, `avx2`, …); `None` for the best of this CPU.
    pub isa: Option<String>,
    /// Threads; 0 for as many as the process may use.
    pub threads: usize,
    /// Most bytes of weights and activations together, and of what is held beside them.
    pub max_bytes: Option<u64>,
    /// Bytes that are held beside the network and count in `max_bytes`.
    pub held_bytes: u64,
    /// How floating-point values are stored and multiplied.
    pub precision: Precision,
    /// Values to watch; not together with a limit on memory that needs streaming or tiles.
    pub observe: Option<Observe>,
    /// Note which patterns nearly applied, and why they did not ([`Session::missed`]).
    pub explain: bool,
    /// Which graph passes run first.
    pub rewrites: Rewrites,
    /// Only plan: the session tells its sizes, its weights are not packed, and it does not run.
    pub planning: bool,
    /// An external backend that computes instead; other options are then its own affair.
    pub external: Option<ExternalBackend>,
}

/// A model ready to run.
pub struct Session {
    network: Arc<Network>,
    arena: Arena,
    pool: Arc<Pool>,
    sums: Vec<Sums>,
    times: Vec<Duration>,
    /// The external backend's network, and how many inputs it takes.
    external: Option<(Box<dyn ExternalNetwork>, usize)>,
}

/// What sessions of one network share: all that a run only reads.
struct Network {
    lowered: Lowered,
    /// Outputs' names and types, and exact constant outputs.
    graph: Graph,
    plan: Plan,
    offsets: Vec<isize>,
    stream: Option<Stream>,
    tiles: Option<Tiles>,
    isa: Features,
    precision: Precision,
    weight_bytes: u64,
    observe: Option<Observe>,
    /// Most threads that the plan has scratch for.
    threads: usize,
    missed: Vec<Missed>,
    rewrites: Counts,
    /// Whether there are no weights to run it with.
    planning: bool,
}

impl Network {
    /// Where a run's inputs lie.
    fn inputs(&self) -> &[View] {
        self.tiles.as_ref().map_or(&self.lowered.inputs, |t| &t.inputs)
    }

    /// Index of the first float of an input in the arena.
    fn first_float(&self, input: &View) -> usize {
        match input.home {
            Home::Arena(b) => self.plan.offsets[b] / 4 + input.offset,
            // Lowering gives every input a buffer of its own.
            Home::Constant(_) => unreachable!("an input that is a constant"),
        }
    }

    /// Where a run's outputs lie.
    fn outputs(&self) -> &[View] {
        self.tiles.as_ref().map_or(&self.lowered.outputs, |t| &t.outputs)
    }
}

/// An input's memory, channels-last: `[n, spatial…, c]` (row-major `[n, c, spatial…]` when there is
/// one channel, or for ranks other than 3 to 5).
pub type InputMut<'a> = &'a mut [f32];

impl Session {
    /// Makes `graph` ready for inputs of `shapes`, in the order of its inputs.
    pub fn new(graph: Graph, shapes: &[Vec<usize>], options: &Options) -> Result<Self> {
        let threads = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
            n => n,
        };
        Self::with_pool(graph, shapes, options, Arc::new(Pool::new(threads)))
    }

    /// Like [`Session::new`] with a pool that several sessions share.
    pub fn with_pool(
        mut graph: Graph,
        shapes: &[Vec<usize>],
        options: &Options,
        pool: Arc<Pool>,
    ) -> Result<Self> {
        let isa = ampoule_kernels::choose(options.isa.as_deref())?;
        fit_inputs(&mut graph, shapes)?;
        if let Some(backend) = &options.external {
            return Self::external(graph, backend, pool);
        }
        let given = Given::of(&graph);
        let rewrites = match options.rewrites {
            Rewrites::All => ampoule_graph::passes::optimize(&mut graph)?,
            Rewrites::Fold => ampoule_graph::passes::fold(&mut graph)?,
            Rewrites::None => {
                ampoule_graph::infer::infer(&mut graph)?;
                Counts::new()
            }
        };
        too_large(&graph, options)?;
        let mut missed = if options.explain { ampoule_graph::passes::missed(&graph) } else { Vec::new() };
        // Tensors are dropped as they are packed; only exact constant outputs are needed afterwards.
        let constants = std::mem::take(&mut graph.constants);
        let outputs = graph.outputs.iter().filter_map(|id| Some((*id, constants.get(id)?.clone())));
        let outputs = outputs.collect();
        let Fitted { lowered, plan, stream, tiles } = fit(&graph, constants, &given, isa, &pool, options)?;
        let weight_bytes = weight_bytes(&lowered);
        missed.extend(lowered.missed.iter().flatten().cloned());
        graph.constants = outputs;
        graph.forget_file();
        let offsets = plan.offsets.iter().map(|&o| o as isize).collect();
        let (precision, threads) = (options.precision, pool.threads());
        let observe = options.observe.clone();
        let network = Network {
            lowered,
            graph,
            plan,
            offsets,
            stream,
            tiles,
            isa,
            precision,
            weight_bytes,
            observe,
            threads,
            missed,
            rewrites,
            planning: options.planning,
        };
        Self::of(Arc::new(network), pool)
    }

    /// A session whose outputs an external backend computes.
    fn external(mut graph: Graph, ExternalBackend(load): &ExternalBackend, pool: Arc<Pool>) -> Result<Self> {
        ampoule_graph::infer::infer(&mut graph)?;
        let inputs = graph.inputs.len();
        let external = load(&graph).map_err(|source| Error::External { source })?;
        let shell = crate::external::shell(&graph)?;
        drop(graph);
        let shapes: Vec<Vec<usize>> = shell.inputs.iter().filter_map(|i| shell.value(*i).dims()).collect();
        let mut session = Self::with_pool(shell, &shapes, &Options::default(), pool)?;
        session.external = Some((external, inputs));
        Ok(session)
    }

    fn of(network: Arc<Network>, pool: Arc<Pool>) -> Result<Self> {
        let arena = Arena::new(network.plan.size)?;
        let times = vec![Duration::ZERO; network.lowered.steps.len()];
        let sums = (0..network.lowered.sums).map(|_| Sums::default()).collect();
        Ok(Session { network, arena, pool, sums, times, external: None })
    }

    /// Another session of the same network that shares the weights and has activations of its own, to run
    /// at the same time. `pool` may have as many threads as this session's at most.
    pub fn sharing_weights(&self, pool: Arc<Pool>) -> Result<Self> {
        if pool.threads() > self.network.threads {
            return Err(Error::Threads { asked: pool.threads(), planned: self.network.threads });
        }
        if self.external.is_some() {
            return Err(Error::ExternalShared);
        }
        Self::of(self.network.clone(), pool)
    }

    /// Patterns that nearly applied, with the reason why they did not; none without [`Options::explain`].
    pub fn missed(&self) -> &[Missed] {
        &self.network.missed
    }

    /// How often each pass changed something ([`Options::rewrites`]).
    pub fn rewrites(&self) -> &Counts {
        &self.network.rewrites
    }

    /// Where `v` lies, to be read.
    fn reading(&self, v: &View) -> Area<'_> {
        let memory = Memory::from(self.arena.as_bytes());
        area(memory, &self.network.offsets, &self.network.lowered.constants, v)
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.network.inputs().len()
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.network.outputs().len()
    }

    /// Where input `i` lies.
    fn input_view(&self, i: usize) -> Result<&View> {
        let inputs = self.network.inputs();
        inputs.get(i).ok_or(Error::NoInput { index: i, inputs: inputs.len() })
    }

    /// Dimensions of input `i` in ONNX order.
    pub fn input_dims(&self, i: usize) -> Result<&[usize]> {
        Ok(&self.input_view(i)?.dims)
    }

    /// The memory of input `i`; fill it before every [`Session::run`], which may overwrite it.
    pub fn input(&mut self, i: usize) -> Result<InputMut<'_>> {
        let view = self.input_view(i)?;
        let (first, len) = (self.network.first_float(view), view.len());
        Ok(self.arena.floats_mut(first..first + len))
    }

    /// Sets input `i` from row-major (ONNX order) values.
    pub fn set_input(&mut self, i: usize, values: &[f32]) -> Result<()> {
        let v = self.input_view(i)?;
        if values.len() != v.len() {
            return Err(Error::InputLength { index: i, given: values.len(), dims: v.dims.clone() });
        }
        let (network, pool) = (self.network.clone(), self.pool.clone());
        let v = &network.inputs()[i];
        if is_channels_last(v) {
            planes_to_pixels(&pool, [v.dims[0], v.dims[1]], values, self.input(i)?);
        } else {
            let memory = self.arena.memory();
            scatter(area(memory, &network.offsets, &network.lowered.constants, v), v, values);
        }
        Ok(())
    }

    /// Runs the network on the inputs set before.
    pub fn run(&mut self) -> Result<()> {
        if let Some((mut external, inputs)) = self.external.take() {
            let done = self.run_external(external.as_mut(), inputs);
            self.external = Some((external, inputs));
            done?;
        }
        let network = self.network.clone();
        if network.planning {
            return Err(Error::Planned);
        }
        if let Some(stream) = &network.stream {
            return self.run_stream(&network, stream);
        }
        if let Some(tiles) = &network.tiles {
            return self.run_tiles(&network, tiles);
        }
        self.show(&network, 0);
        for (i, step) in network.lowered.steps.iter().enumerate() {
            let start = Instant::now();
            self.step(&network, step)?;
            self.times[i] = start.elapsed();
            self.show(&network, i + 1);
        }
        Ok(())
    }

    /// What a running step needs to know, with buffers at `offsets`.
    fn context<'a>(&'a mut self, network: &'a Network, offsets: &'a [isize]) -> Context<'a> {
        Context {
            cpu: Cpu::new(&self.pool, network.isa),
            memory: self.arena.memory(),
            offsets,
            constants: &network.lowered.constants,
            sums: &self.sums,
        }
    }

    /// Runs one step.
    fn step(&mut self, network: &Network, step: &Step) -> Result<()> {
        let done = step.run(&self.context(network, &network.offsets));
        done.map_err(|reason| Error::run(&step.node, &step.op, reason))
    }

    /// Lets the external backend compute the outputs, which are inputs of this one's empty network.
    fn run_external(&mut self, external: &mut dyn ExternalNetwork, inputs: usize) -> Result<()> {
        let read = |v: &View| gather(self.reading(v), v);
        let given: Vec<Vec<f32>> = self.network.inputs()[..inputs].iter().map(read).collect();
        let found = external.run(&given).map_err(|source| Error::External { source })?;
        let wanted = self.network.inputs().len() - inputs;
        if found.len() != wanted {
            return Err(Error::ExternalCount { found: found.len(), wanted });
        }
        found.iter().enumerate().try_for_each(|(i, v)| self.set_input(inputs + i, v))
    }

    /// Whether an external backend computes.
    pub fn is_external(&self) -> bool {
        self.external.is_some()
    }

    /// Shows the values that are whole after `steps` steps.
    fn show(&self, network: &Network, steps: usize) {
        let Some(observe) = &network.observe else { return };
        for (at, name, view) in &network.lowered.observed {
            if *at == steps {
                (observe.sink)(&Observed::new(name, self.reading(view), view));
            }
        }
    }

    /// Runs the network on every tile.
    fn run_tiles(&mut self, network: &Network, tiles: &Tiles) -> Result<()> {
        self.times.iter_mut().for_each(|t| *t = Duration::ZERO);
        for (before, after) in &tiles.list {
            before.iter().try_for_each(|step| self.step(network, step))?;
            for (i, step) in network.lowered.steps.iter().enumerate() {
                let start = Instant::now();
                self.step(network, step)?;
                self.times[i] += start.elapsed();
            }
            after.iter().try_for_each(|step| self.step(network, step))?;
        }
        Ok(())
    }

    /// Runs the schedule of a streamed network.
    fn run_stream(&mut self, network: &Network, stream: &Stream) -> Result<()> {
        self.times.iter_mut().for_each(|t| *t = Duration::ZERO);
        let mut offsets = network.offsets.clone();
        for action in &stream.actions {
            let start = Instant::now();
            match action {
                Action::Run(i, z) => {
                    let step = &network.lowered.steps[*i];
                    let done = step.run_slices(&self.context(network, &offsets), z.clone());
                    done.map_err(|reason| Error::run(&step.node, &step.op, reason))?;
                    self.times[*i] += start.elapsed();
                }
                Action::Move(b, z, first) => {
                    let (slice, to) = (stream.slice[*b], network.plan.offsets[*b]);
                    let from = to + (z.start - first) * slice;
                    self.arena.memory().copy_within(from..from + z.len() * slice, to);
                    offsets[*b] = to as isize - (z.start * slice) as isize;
                }
            }
        }
        Ok(())
    }

    /// Whether the network is streamed along depth to fit its memory limit.
    pub fn streamed(&self) -> bool {
        self.network.stream.is_some()
    }

    /// How many overlapping tiles the network is run on to fit its memory limit; 1 for the whole image.
    pub fn tiles(&self) -> usize {
        self.network.tiles.as_ref().map_or(1, |t| t.list.len())
    }

    /// Sets all inputs from tensors, runs, and returns all outputs as tensors.
    pub fn run_tensors(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        if inputs.len() != self.inputs() {
            return Err(Error::InputCount { given: inputs.len(), inputs: self.inputs() });
        }
        for (index, t) in inputs.iter().enumerate() {
            let dims = self.input_dims(index)?;
            if t.dims() != dims {
                return Err(Error::InputShape {
                    index,
                    given: t.dims().to_vec(),
                    expected: dims.iter().map(|d| Dim::Known(*d)).collect(),
                });
            }
            let v = t.to_f32().ok_or_else(|| Error::InputType { index, dtype: t.dtype() })?;
            if t.dtype().is_int() && v.iter().any(|x| x.abs() > EXACT_INTEGERS) {
                return Err(Error::InputRange { index, dtype: t.dtype() });
            }
            self.set_input(index, &v)?;
        }
        self.run()?;
        self.iter_outputs().map(|o| o.tensor()).collect()
    }

    /// Output `i` of the most recent run.
    pub fn output(&self, i: usize) -> Result<OutputRef<'_>> {
        let views = self.network.outputs();
        let view = views.get(i).ok_or(Error::NoOutput { index: i, outputs: views.len() })?;
        Ok(self.output_at(i, view))
    }

    /// All outputs of the most recent run, in the order of the graph.
    pub fn iter_outputs(&self) -> impl Iterator<Item = OutputRef<'_>> {
        self.network.outputs().iter().enumerate().map(|(i, view)| self.output_at(i, view))
    }

    fn output_at<'a>(&'a self, i: usize, view: &'a View) -> OutputRef<'a> {
        let id = self.network.graph.outputs[i];
        OutputRef {
            index: i,
            dims: &view.dims,
            strides: &view.strides,
            dtype: self.network.graph.value(id).dtype.unwrap_or(DType::F32),
            area: self.reading(view),
            view,
            exact: self.network.graph.constants.get(&id),
        }
    }

    /// Bytes of activations that the plan holds at its peak.
    pub fn arena_bytes(&self) -> u64 {
        self.network.plan.size as u64
    }

    /// Bytes of packed weights and constants.
    pub fn weight_bytes(&self) -> u64 {
        self.network.weight_bytes
    }

    /// Returns the activations' memory to the system until the next run.
    pub fn release(&mut self) {
        self.arena.release();
    }

    /// The precision in use.
    pub fn precision(&self) -> Precision {
        self.network.precision
    }

    /// The tier in use.
    pub fn isa(&self) -> Features {
        self.network.isa
    }

    /// Threads in use.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// All steps with the times of the most recent run.
    pub fn steps(&self) -> Vec<StepInfo> {
        let all = self.network.lowered.steps.iter().zip(&self.times);
        all.map(|(step, time)| StepInfo::of(step, *time)).collect()
    }

    /// Multiply-accumulates of one run.
    pub fn macs(&self) -> u64 {
        self.network.lowered.steps.iter().map(|s| s.macs).sum()
    }
}

/// Checks `shapes` against the declared ones and sets them.
fn fit_inputs(graph: &mut Graph, shapes: &[Vec<usize>]) -> Result<()> {
    if shapes.len() != graph.inputs.len() {
        return Err(Error::InputCount { given: shapes.len(), inputs: graph.inputs.len() });
    }
    for (i, dims) in shapes.iter().enumerate() {
        if let Some(declared) = &graph.value(graph.inputs[i]).shape {
            let fits = declared.len() == dims.len()
                && declared.iter().zip(dims).all(|(d, n)| d.known().is_none_or(|d| d == *n));
            if !fits {
                let (given, expected) = (dims.clone(), declared.clone());
                return Err(Error::InputShape { index: i, given, expected });
            }
        }
        graph.set_input_dims(i, dims);
    }
    Ok(())
}
