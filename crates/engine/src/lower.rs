//! From a rewritten graph with known shapes to steps over views.
//!
//! Values of rank 3 to 5 live channels-last; a value that is concatenated is written straight into
//! its slice of the concatenation; activations and residual sums join the step before them.

mod algorithm;
mod attention;
mod chain;
mod conv;
mod conv_transpose;
mod einsum;
mod elementwise;
mod functions;
mod fuse;
mod index;
mod int8;
mod layouts;
mod moves;
mod nodes;
mod norm;
mod places;
mod pooling;
mod product;
mod quantized;
mod recurrent;
mod reduce;
mod rms_norm;
mod separable;
mod shape;
mod tables;
mod target;
mod weights;

use crate::error::LowerError;
use crate::step::{Exact, Step, Stored};
use crate::winograd_int8::Layers;
use crate::{Error, Precision, Result};
use ampoule_graph::passes::Missed;
use ampoule_graph::passes::missed::{Miss, Pattern};
use ampoule_graph::{Graph, Node, Tensor, ValueId};
use ampoule_kernels::{Elem, Features};
use ampoule_runtime::view::row_major;
use ampoule_runtime::{Pool, View};
use places::natural;
use quantized::Quantization;
use std::collections::{BTreeMap, HashMap, HashSet};

/// The result of lowering: steps, bytes of arena buffers, constants, and where inputs and outputs
/// lie, which are float32.
#[derive(Default)]
pub(crate) struct Lowered {
    pub steps: Vec<Step>,
    pub buffers: Vec<usize>,
    pub constants: Vec<Stored>,
    /// How many convolutions add up their outputs.
    pub sums: usize,
    pub inputs: Vec<View>,
    pub outputs: Vec<View>,
    /// Watched values, and how many steps have run when each is whole.
    pub observed: Vec<(usize, String, View)>,
    /// Patterns that did not apply, where that is asked for.
    pub missed: Option<Vec<Missed>>,
    /// Most bytes of packed weights and of constants made for this that there were at once while lowering.
    pub loading: u64,
}

/// Constants of the model itself, by where they lie: in its file, or in memory that was taken before. Others were made
/// of them, to be lowered.
#[derive(Default)]
pub(crate) struct Given(HashSet<usize>);

impl Given {
    pub(crate) fn of(graph: &Graph) -> Self {
        Given(graph.constants.values().map(|t| t.bytes().as_ptr() as usize).collect())
    }

    /// Bytes of `t` that are there only to be lowered.
    fn made(&self, t: &Tensor) -> u64 {
        match self.0.contains(&(t.bytes().as_ptr() as usize)) {
            true => 0,
            false => t.bytes().len() as u64,
        }
    }
}

/// State of lowering.
pub(crate) struct Lower<'g> {
    graph: &'g Graph,
    isa: Features,
    precision: Precision,
    pool: &'g Pool,
    /// Whether steps must be able to run slice by slice.
    stream: bool,
    weights: WeightRoom,
    /// Whether weights are counted, and not packed.
    planning: bool,
    given: &'g Given,
    /// Bytes of weights that were packed, and of constants made to be packed that wait for it.
    packed_bytes: u64,
    made_bytes: u64,
    uses: Vec<usize>,
    /// Values that lie row-major where nothing says otherwise.
    row_major: Vec<bool>,
    readers: Vec<Vec<usize>>,
    views: Vec<Option<View>>,
    /// Values that some step before has written (a concatenation has a view before it is whole).
    computed: Vec<bool>,
    /// Values that are written into a slice of another: parent and channel offset.
    slices: HashMap<ValueId, (ValueId, usize)>,
    /// The node that computes each value.
    producers: Vec<Option<usize>>,
    /// Values that are stored quantized, as bytes.
    stored_u8: Vec<bool>,
    /// Outputs of dequantizers that nothing has needed as floats yet: the quantized values and what they mean.
    dequantized: HashMap<ValueId, (View, Quantization)>,
    /// Weights that stay INT8, by the dequantizer's output: constant, zero point, scales.
    int8_weights: HashMap<ValueId, (ValueId, i32, Vec<f32>)>,
    /// Outputs of integer convolutions that lie as normalisations want them.
    exact: HashMap<ValueId, Exact>,
    /// Quantized values that are functions of others.
    tables: HashMap<ValueId, tables::Tabled>,
    /// Attentions whose values are not known yet, by the node of the product with those.
    attention: HashMap<usize, attention::Pending>,
    /// Copies with each channel several times: of what, how many times, where.
    repeats: Vec<(View, usize, View)>,
    /// Constants that are still needed: those packed for good are dropped one by one.
    constants: BTreeMap<ValueId, Tensor>,
    /// Winograd INT8: layers whose values are rounded in the transform domain, by output.
    winograd_int8: Layers,
    /// Values that the model wants stored as bfloat16.
    bf16: Vec<bool>,
    /// Values that must be seen as they are.
    watched: HashSet<ValueId>,
    /// Nodes already covered by a fusion.
    fused: Vec<bool>,
    out: Lowered,
}

/// What a view that was made channels-last always is.
const NO_GRID: LowerError = LowerError::Layout { value: "a view", wanted: "channels-last" };

/// An output that the step needs channels-last.
const OUTPUT: LowerError = LowerError::Layout { value: "the output", wanted: "channels-last" };

type R<T> = std::result::Result<T, LowerError>;

/// How much packed weights may take.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WeightRoom {
    /// As much as is fastest.
    Fastest,
    /// As little as there is a way to.
    Least,
}

/// How a graph is lowered.
#[derive(Clone, Copy)]
pub(crate) struct How<'a> {
    pub precision: Precision,
    /// Whether steps must be able to run slice by slice.
    pub stream: bool,
    pub weights: WeightRoom,
    /// Whether weights are only counted: the result says what memory is needed, and cannot be run.
    pub planning: bool,
    pub given: &'a Given,
    /// Names of values that must be seen as they are.
    pub watched: &'a [String],
    /// Whether patterns that did not apply are noted.
    pub explain: bool,
}

/// Lowers `graph`, whose shapes must all be known and whose constants are given separately.
pub(crate) fn lower<'g>(
    graph: &'g Graph,
    constants: BTreeMap<ValueId, Tensor>,
    isa: Features,
    pool: &'g Pool,
    how: &How<'g>,
) -> Result<Lowered> {
    let unsupported = graph.unsupported();
    if !unsupported.is_empty() {
        return Err(ampoule_graph::Error::Unsupported(unsupported).into());
    }
    let mut l = Lower::new(graph, constants, isa, pool, how)?;
    l.out.missed = how.explain.then(Vec::new);
    if !how.stream {
        l.plan_slices();
    }
    l.plan_tables();
    l.lower_inputs()?;
    for i in 0..graph.nodes.len() {
        l.lower_node(i)?;
    }
    l.lower_outputs()?;
    Ok(l.out)
}

impl<'g> Lower<'g> {
    fn new(
        graph: &'g Graph,
        constants: BTreeMap<ValueId, Tensor>,
        isa: Features,
        pool: &'g Pool,
        &How { precision, stream, weights, planning, given, watched, .. }: &How<'g>,
    ) -> Result<Self> {
        let mut readers = vec![Vec::new(); graph.values.len()];
        let mut producers = vec![None; graph.values.len()];
        for (i, n) in graph.nodes.iter().enumerate() {
            n.inputs.iter().flatten().for_each(|v| readers[v.0].push(i));
            n.outputs.iter().flatten().for_each(|y| producers[y.0] = Some(i));
        }
        Ok(Lower {
            graph,
            producers,
            stored_u8: quantized::stored_u8(graph, &constants),
            dequantized: HashMap::new(),
            int8_weights: HashMap::new(),
            exact: HashMap::new(),
            tables: HashMap::new(),
            attention: HashMap::new(),
            repeats: Vec::new(),
            isa,
            precision,
            pool,
            stream,
            weights,
            planning,
            given,
            packed_bytes: 0,
            made_bytes: constants.values().map(|t| given.made(t)).sum(),
            uses: graph.uses(),
            row_major: layouts::row_major(graph),
            readers,
            views: vec![None; graph.values.len()],
            computed: vec![false; graph.values.len()],
            slices: HashMap::new(),
            constants,
            winograd_int8: crate::winograd_int8::recorded(graph)?,
            bf16: crate::mixed_precision::bf16_values(graph),
            watched: watched.iter().filter_map(|n| graph.value_named(n)).collect(),
            fused: vec![false; graph.nodes.len()],
            out: Lowered::default(),
        })
    }

    /// Notes why a pattern did not apply at `n`, where that is asked for.
    fn miss(&mut self, n: &Node, pattern: Pattern, miss: Miss) {
        if let (Some(list), Miss::Because(reason)) = (&mut self.out.missed, miss) {
            list.push(Missed { pattern, node: self.graph.node_name(n).to_owned(), reason });
        }
    }

    /// Gives every input a buffer, float32.
    fn lower_inputs(&mut self) -> Result<()> {
        let graph = self.graph;
        for (index, &id) in graph.inputs.iter().enumerate() {
            let v = graph.value(id);
            let Some(dims) = v.dims() else {
                return Err(Error::InputSize { index, name: v.name.clone() });
            };
            self.slices.remove(&id);
            let strides = if self.row_major[id.0] { row_major(&dims) } else { natural(&dims) };
            let view = self.fresh(&dims, strides, Elem::F32);
            self.views[id.0] = Some(view.clone());
            self.computed[id.0] = true;
            self.out.inputs.push(view.clone());
            if self.watched.contains(&id) {
                self.out.observed.push((0, v.name.clone(), view.clone()));
            }
            self.store_input(id, view);
        }
        Ok(())
    }

    /// Lowers node `i`, unless a step before covers it.
    fn lower_node(&mut self, i: usize) -> Result<()> {
        let graph = self.graph;
        let n = &graph.nodes[i];
        let fail = |reason| Error::lower(graph.node_name(n), n.op.name(), reason);
        if !self.fused[i] {
            self.node(i).map_err(fail)?;
        }
        for o in n.outputs.iter().flatten() {
            self.computed[o.0] = true;
            if self.watched.contains(o) && !self.constants.contains_key(o) {
                let view = self.get(*o).map_err(fail)?;
                self.out.observed.push((self.out.steps.len(), graph.value(*o).name.clone(), view));
            }
        }
        Ok(())
    }

    /// Makes every output float32.
    fn lower_outputs(&mut self) -> Result<()> {
        let graph = self.graph;
        for id in &graph.outputs {
            let fail = |reason| Error::lower(&graph.value(*id).name, "output".into(), reason);
            let mut view = self.get(*id).map_err(fail)?;
            if view.elem != Elem::F32
                && let Some(n) = graph.nodes.last()
            {
                view = self.stored_as(n, view, Elem::F32);
            }
            self.out.outputs.push(view);
        }
        Ok(())
    }
}
