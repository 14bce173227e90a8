//! A model made ready for one set of input shapes.

use crate::as_3d::as_3d;
use crate::external::{ExternalBackend, ExternalNetwork};
use crate::lower::{Lowered, lower};
use crate::place::place;
use crate::step::{Context, Kind, Raw, Step, Stored, Sums, gather, scatter, tensor};
use crate::stream::{self, Action, Stream};
use crate::tiling::{Tiles, Tiling};
use crate::{Error, Observe, Observed, Precision, Result};
use ampoule_graph::{DType, Dim, Graph, Tensor, ValueId};
use ampoule_kernels::eltwise::Unary;
use ampoule_kernels::{Elem, Features};
use ampoule_runtime::Arena;
use ampoule_runtime::view::{View, channels_last};
use ampoule_runtime::{Plan, Pool};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
    /// Most bytes of weights and activations together.
    pub max_bytes: Option<u64>,
    /// How floating-point values are stored and multiplied.
    pub precision: Precision,
    /// Values to watch; not together with a limit on memory that needs streaming or tiles.
    pub observe: Option<Observe>,
    /// Which graph passes run first.
    pub rewrites: Rewrites,
    /// An external backend that computes instead; other options are then its own affair.
    pub external: Option<ExternalBackend>,
}

/// One step, for reports.
#[derive(Clone, Debug)]
pub struct StepInfo {
    /// Node it came from.
    pub node: String,
    /// Operator type.
    pub op: String,
    /// What runs: tile names, or the kind of step.
    pub kernel: String,
    /// Output dimensions.
    pub dims: Vec<usize>,
    /// How the output is stored.
    pub stored: Option<Elem>,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Time in the most recent run.
    pub time: Duration,
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
}

impl Network {
    /// Where a run's inputs lie.
    fn inputs(&self) -> &[View] {
        self.tiles.as_ref().map_or(&self.lowered.inputs, |t| &t.inputs)
    }

    /// Where a run's outputs lie.
    fn outputs(&self) -> &[View] {
        self.tiles.as_ref().map_or(&self.lowered.outputs, |t| &t.outputs)
    }
}

/// An input's memory, channels-last: `[n, spatial…, c]` (row-major `[n, c, spatial…]` when there is
/// one channel, or for ranks other than 3 to 5).
pub type InputMut<'a> = &'a mut [f32];

/// An output of the most recent run.
pub struct OutputRef<'a> {
    /// Dimensions in ONNX order.
    pub dims: &'a [usize],
    /// Stride of each dimension, in elements.
    pub strides: &'a [isize],
    /// Declared element type.
    pub dtype: DType,
    index: usize,
    base: *const f32,
    view: &'a View,
    exact: Option<&'a Tensor>,
}

impl<'a> OutputRef<'a> {
    /// All elements in ONNX's row-major order.
    pub fn to_vec(&self) -> Vec<f32> {
        // SAFETY: the session is borrowed, so its memory is unchanged since the run.
        unsafe { gather(self.base.cast(), self.view) }
    }

    /// The memory behind the output, float32, and the stride of each dimension in it; `None` for a view with
    /// negative strides.
    pub fn raw(&self) -> Option<(&'a [f32], Vec<usize>)> {
        let n = self.view.extent()?;
        // SAFETY: the view touches exactly these elements; the session is borrowed.
        let data = unsafe { std::slice::from_raw_parts(self.base, n) };
        Some((data, self.strides.iter().map(|&s| s.max(0) as usize).collect()))
    }

    /// The output as a tensor of its declared type.
    pub fn tensor(&self) -> Result<Tensor> {
        if let Some(t) = self.exact {
            return Ok(t.clone());
        }
        let t = tensor(self.dtype, self.dims, &self.to_vec());
        t.ok_or(Error::OutputType { index: self.index, dtype: self.dtype })
    }
}

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
        if let Some(ExternalBackend(load)) = &options.external {
            ampoule_graph::infer::infer(&mut graph)?;
            let inputs = graph.inputs.len();
            let external = load(&graph).map_err(|reason| Error::External { reason })?;
            let shell = crate::external::shell(&graph)?;
            drop(graph);
            let shapes: Vec<Vec<usize>> =
                shell.inputs.iter().filter_map(|i| shell.value(*i).dims()).collect();
            let mut session = Self::with_pool(shell, &shapes, &Options::default(), pool)?;
            session.external = Some((external, inputs));
            return Ok(session);
        }
        match options.rewrites {
            Rewrites::All => drop(ampoule_graph::passes::optimize(&mut graph)?),
            Rewrites::Fold => drop(ampoule_graph::passes::fold(&mut graph)?),
            Rewrites::None => ampoule_graph::infer::infer(&mut graph)?,
        }
        // Before anything is laid out: a value far beyond the limit cannot be streamed into it.
        let largest = graph.values.iter().filter_map(|v| v.dims()).map(|d| d.iter().product::<usize>()).max();
        let bytes = (options.precision.elem().size() * largest.unwrap_or(0)) as u64;
        if let Some(limit) = options.max_bytes.filter(|&l| bytes > BEYOND.saturating_mul(l)) {
            return Err(Error::Memory { needed_mib: bytes.div_ceil(1 << 20), limit_mib: limit >> 20 });
        }
        // Tensors are dropped as they are packed; only exact constant outputs are needed afterwards.
        let constants = std::mem::take(&mut graph.constants);
        let outputs = graph.outputs.iter().filter_map(|id| Some((*id, constants.get(id)?.clone())));
        let outputs = outputs.collect();
        let Fitted { lowered, plan, stream, tiles } = fit(&graph, constants, isa, &pool, options)?;
        let weight_bytes = weight_bytes(&lowered);
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
        };
        Self::of(Arc::new(network), pool)
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
        assert!(pool.threads() <= self.network.threads, "more threads than were planned for");
        if self.external.is_some() {
            return Err(Error::External { reason: "the network of an external backend runs alone".into() });
        }
        Self::of(self.network.clone(), pool)
    }

    fn context(&self) -> Context<'_> {
        self.context_at(&self.network.offsets)
    }

    fn context_at<'a>(&'a self, offsets: &'a [isize]) -> Context<'a> {
        Context {
            isa: self.network.isa,
            pool: &self.pool,
            arena: self.arena.base(),
            offsets,
            constants: &self.network.lowered.constants,
            sums: &self.sums,
        }
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
        let v = self.input_view(i)?;
        let p = self.context().at::<f32>(v);
        // SAFETY: inputs are dense float32 buffers of the arena, and the session is borrowed mutably.
        Ok(unsafe { std::slice::from_raw_parts_mut(p, v.len()) })
    }

    /// Sets input `i` from row-major (ONNX order) values.
    pub fn set_input(&mut self, i: usize, values: &[f32]) -> Result<()> {
        let v = self.input_view(i)?;
        if values.len() != v.len() {
            return Err(Error::InputLength { index: i, given: values.len(), dims: v.dims.clone() });
        }
        let [n, c] = [0, 1].map(|i| v.dims.get(i).copied().unwrap_or(1));
        let pixels = v.len() / (n * c).max(1);
        let dense = v.lies_as(&channels_last(&v.dims, c)) && (3..=5).contains(&v.dims.len());
        if !dense {
            // SAFETY: a view of the arena; the session is borrowed mutably.
            unsafe { scatter(self.context().bytes(v), v, values) };
            return Ok(());
        }
        // Planes to pixels, a block of pixels at a time.
        const BLOCK: usize = 1024;
        let blocks = pixels.div_ceil(BLOCK);
        let to = Raw(self.context().at::<f32>(v));
        self.pool.run(n * blocks, &|i, _| {
            let (entry, first) = (i / blocks, i % blocks * BLOCK);
            let from = &values[entry * c * pixels..(entry + 1) * c * pixels];
            for k in 0..c {
                let plane = &from[k * pixels..(k + 1) * pixels];
                for (p, &x) in plane.iter().enumerate().skip(first).take(BLOCK) {
                    // SAFETY: pixel p of a dense input; blocks are disjoint.
                    unsafe { *to.get().add((entry * pixels + p) * c + k) = x };
                }
            }
        });
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
        if let Some(stream) = &network.stream {
            return self.run_stream(&network, stream);
        }
        if let Some(tiles) = &network.tiles {
            return self.run_tiles(&network, tiles);
        }
        self.show(&network, 0);
        for (i, step) in network.lowered.steps.iter().enumerate() {
            let start = Instant::now();
            // SAFETY: the arena has the plan's size and steps run in order.
            let done = unsafe { step.run(&self.context()) };
            done.map_err(|reason| Error::Run { node: step.node.clone(), op: step.op.clone(), reason })?;
            self.times[i] = start.elapsed();
            self.show(&network, i + 1);
        }
        Ok(())
    }

    /// Lets the external backend compute the outputs, which are inputs of this one's empty network.
    fn run_external(&mut self, external: &mut dyn ExternalNetwork, inputs: usize) -> Result<()> {
        let bad = |reason: String| Error::External { reason };
        // SAFETY: inputs are views of the arena, and the session is borrowed.
        let read = |v: &View| unsafe { gather(self.context().at::<f32>(v).cast(), v) };
        let given: Vec<Vec<f32>> = self.network.inputs()[..inputs].iter().map(read).collect();
        let found = external.run(&given).map_err(bad)?;
        let wanted = self.network.inputs().len() - inputs;
        if found.len() != wanted {
            return Err(bad(format!("{} outputs came back, {wanted} are wanted", found.len())));
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
                (observe.sink)(&Observed::new(name, self.context().bytes(view), view));
            }
        }
    }

    /// Runs the network on every tile.
    fn run_tiles(&mut self, network: &Network, tiles: &Tiles) -> Result<()> {
        self.times.iter_mut().for_each(|t| *t = Duration::ZERO);
        let run = |s: &Session, step: &Step| {
            // SAFETY: the arena has the plan's size and steps run in order.
            let done = unsafe { step.run(&s.context()) };
            done.map_err(|reason| Error::Run { node: step.node.clone(), op: step.op.clone(), reason })
        };
        for (before, after) in &tiles.list {
            before.iter().try_for_each(|step| run(self, step))?;
            for (i, step) in network.lowered.steps.iter().enumerate() {
                let start = Instant::now();
                run(self, step)?;
                self.times[i] += start.elapsed();
            }
            after.iter().try_for_each(|step| run(self, step))?;
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
                    // SAFETY: the schedule runs a step only on slices that are there.
                    let done = unsafe { step.run_slices(&self.context_at(&offsets), z.clone()) };
                    let (node, op) = (&step.node, &step.op);
                    done.map_err(|reason| Error::Run { node: node.clone(), op: op.clone(), reason })?;
                    self.times[*i] += start.elapsed();
                }
                Action::Move(b, z, first) => {
                    let slice = stream.slice[*b];
                    let base = self.arena.base().wrapping_add(self.network.plan.offsets[*b]);
                    // SAFETY: both ranges lie inside the buffer's window.
                    unsafe { std::ptr::copy(base.add((z.start - first) * slice), base, z.len() * slice) };
                    offsets[*b] = self.network.plan.offsets[*b] as isize - (z.start * slice) as isize;
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
            base: self.context().at(view),
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

    /// Gives the activations' memory back until the next run.
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
        let info = |(s, time): (&crate::step::Step, &Duration)| StepInfo {
            node: s.node.clone(),
            op: s.op.clone(),
            kernel: kernel_name(&s.kind),
            dims: s.writes.first().map(|w| w.dims.clone()).unwrap_or_default(),
            stored: s.writes.first().map(|w| w.elem),
            macs: s.macs,
            time: *time,
        };
        self.network.lowered.steps.iter().zip(&self.times).map(info).collect()
    }

    /// Multiply-accumulates of one run.
    pub fn macs(&self) -> u64 {
        self.network.lowered.steps.iter().map(|s| s.macs).sum()
    }
}

/// A lowered graph that fits the limit.
struct Fitted {
    lowered: Lowered,
    plan: Plan,
    stream: Option<Stream>,
    tiles: Option<Tiles>,
}

/// Integers up to this are exact in float32, which carries them.
const EXACT_INTEGERS: f32 = 16_777_216.0;

/// How many times the limit a single value may be: streaming holds a part of it.
const BEYOND: u64 = 8;

/// How many times the largest value and all weights a network surely needs less than.
const ROUGHLY: u64 = 16;

/// Share of the plain plan below which convolutions over their inputs are taken unasked.
const WORTH: f64 = 0.85;

/// Slices per round that streaming tries, the fastest first.
const BLOCKS: [usize; 4] = [16, 8, 4, 2];

/// Lowers `graph` in the fastest way that fits: as it is, with convolutions that overwrite their
/// inputs, streamed along depth, tile by tile, or (images) streamed along height.
fn fit(
    graph: &Graph,
    constants: BTreeMap<ValueId, Tensor>,
    isa: Features,
    pool: &Pool,
    options: &Options,
) -> Result<Fitted> {
    let limit = options.max_bytes.unwrap_or(u64::MAX);
    // A second lowering needs the tensors again: they are kept where it may come to that.
    let weights: usize = constants.values().map(|t| t.bytes().len()).sum();
    let values = graph.values.iter().filter_map(|v| v.dims()).map(|d| d.iter().product::<usize>());
    let roughly = ROUGHLY * (4 * values.max().unwrap_or(0) + weights) as u64;
    let spare = if roughly > limit { constants.clone() } else { BTreeMap::new() };
    let watched = options.observe.as_ref().map_or(&[][..], |o| &o.names[..]);
    let mut lowered = lower(graph, constants, isa, options.precision, pool, false, watched)?;
    let weights = weight_bytes(&lowered);
    let needs = |p: &Plan, w: u64| w + p.size as u64;
    let plain = place(&mut lowered, false);
    let tight = place(&mut lowered, true);
    // Rounds cost a little time; a good part of the memory is worth that without being asked.
    if needs(&plain, weights) <= limit && tight.size as f64 > WORTH * plain.size as f64 {
        lowered.steps.iter_mut().for_each(|s| s.rounds = None);
        return Ok(Fitted { lowered, plan: plain, stream: None, tiles: None });
    }
    let mut least = needs(&tight, weights);
    if least <= limit {
        return Ok(Fitted { lowered, plan: tight, stream: None, tiles: None });
    }
    drop(lowered);
    if spare.is_empty() && weights > 0 {
        return Err(Error::Memory { needed_mib: least.div_ceil(1 << 20), limit_mib: limit >> 20 });
    }
    let lowered = lower(graph, spare.clone(), isa, options.precision, pool, true, &[])?;
    if let Some(s) = streamed(&lowered, limit, &mut least) {
        return Ok(Fitted { lowered, plan: s.plan.clone(), stream: Some(s), tiles: None });
    }
    drop(lowered);
    // Tiles leave inputs and outputs whole.
    let dims = graph.inputs.iter().chain(&graph.outputs).filter_map(|v| graph.value(*v).dims());
    let ends: u64 = dims.map(|d| 4 * d.iter().product::<usize>() as u64).sum();
    let mut tiling = if ends < limit { Tiling::of(graph, &spare) } else { None };
    while let Some(tiling) = tiling.as_mut()
        && tiling.shrink()
    {
        let Ok(small) = tiling.graph(graph, &spare) else { break };
        let mut lowered = lower(&small, spare.clone(), isa, options.precision, pool, false, &[])?;
        let mut plan = place(&mut lowered, true);
        let Some(tiles) = tiling.tiles(graph, &lowered, &mut plan) else { break };
        let needed = needs(&plan, weight_bytes(&lowered));
        least = least.min(needed);
        if needed <= limit {
            return Ok(Fitted { lowered, plan, stream: None, tiles: Some(tiles) });
        }
    }
    if let Some((deep, constants)) = as_3d(graph, &spare) {
        let mut lowered = lower(&deep, constants, isa, options.precision, pool, true, &[])?;
        if let Some(s) = streamed(&lowered, limit, &mut least) {
            let flat = |v: &mut View| {
                // The axis that was put in lies nowhere.
                v.dims.remove(3);
                v.strides.remove(3);
            };
            lowered.inputs.iter_mut().chain(&mut lowered.outputs).for_each(flat);
            return Ok(Fitted { lowered, plan: s.plan.clone(), stream: Some(s), tiles: None });
        }
    }
    Err(Error::Memory { needed_mib: least.div_ceil(1 << 20), limit_mib: limit >> 20 })
}

/// A schedule of `lowered` in slices that fits, the fastest first; the least that any needs is noted.
fn streamed(lowered: &Lowered, limit: u64, least: &mut u64) -> Option<Stream> {
    if !stream::possible(lowered) {
        return None;
    }
    let weights = weight_bytes(lowered);
    for block in BLOCKS {
        let Some(s) = stream::schedule(lowered, block) else { continue };
        let needed = weights + s.plan.size as u64;
        *least = (*least).min(needed);
        if needed <= limit {
            return Some(s);
        }
    }
    None
}

fn kernel_name(kind: &Kind) -> String {
    match kind {
        Kind::Conv(c) => c.parts.first().map_or(String::new(), |p| p.name()),
        Kind::Depthwise { plan, .. } if plan.quantized.is_some() => "depthwise u8".into(),
        Kind::Depthwise { .. } => "depthwise".into(),
        Kind::Scale(_) => "scale".into(),
        Kind::LayerNorm { .. } => "layer_norm".into(),
        Kind::Pool(_) => "pool".into(),
        Kind::Norm(n) if n.group.is_none() => "affine".into(),
        Kind::Norm(_) => "instance_norm".into(),
        Kind::GlobalAverage => "global_average".into(),
        Kind::Unary(Unary::Quantize { .. }, _) => "quantize".into(),
        Kind::Unary(Unary::Dequantize { .. }, _) => "dequantize".into(),
        Kind::Unary(..) => "unary".into(),
        Kind::Table(..) => "table".into(),
        Kind::Binary(..) => "binary".into(),
        Kind::Copy(_) => "copy".into(),
        Kind::Fill(_) => "fill".into(),
        Kind::Softmax { .. } => "softmax".into(),
        Kind::Resize(_) => "resize".into(),
        Kind::MatMul(m) => m.panels.first().map_or(String::new(), |p| p.name.into()),
        Kind::Reference { .. } => "reference".into(),
    }
}

fn weight_bytes(l: &Lowered) -> u64 {
    let constants: usize = l.constants.iter().map(Stored::bytes).sum();
    let packed: usize = l
        .steps
        .iter()
        .map(|s| match &s.kind {
            Kind::Conv(c) => c.parts.iter().map(|p| p.bytes()).sum(),
            Kind::Depthwise { filters: f, .. } => 4 * (f.weights.len() + f.bias.len() + f.scale.len()),
            Kind::LayerNorm { scale, shift, .. } => 4 * (scale.len() + shift.len()),
            _ => 0,
        })
        .sum();
    (constants + packed) as u64
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
