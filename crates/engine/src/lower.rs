//! From a rewritten graph with known shapes to steps over views.
//!
//! Values of rank 3 to 5 live channels-last; a value that is concatenated is written straight into
//! its slice of the concatenation; activations and residual sums join the step before them.

mod algorithm;
mod conv;
mod conv_transpose;
mod elementwise;
mod fuse;
mod int8;
mod moves;
mod nodes;
mod norm;
mod places;
mod pooling;
mod product;
mod quantized;
mod shape;
mod tables;
mod target;
mod weights;

use crate::error::LowerError;
use crate::step::{Exact, Step, Stored};
use crate::winograd_int8::Layers;
use crate::{Error, Precision, Result};
use ampoule_graph::{Graph, Node, Tensor, ValueId};
use ampoule_kernels::{Elem, Features};
use ampoule_runtime::{Pool, View};
use places::natural;
use quantized::Quantization;
use std::collections::{BTreeMap, HashMap, HashSet};

/// The result of lowering: steps, bytes of arena buffers, constants, and where inputs and outputs
/// lie, which are float32.
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
}

/// State of lowering.
pub(crate) struct Lower<'g> {
    graph: &'g Graph,
    isa: Features,
    precision: Precision,
    pool: &'g Pool,
    /// Whether steps must be able to run slice by slice.
    stream: bool,
    uses: Vec<usize>,
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

/// Lowers `graph`, whose shapes must all be known and whose constants are given separately.
pub(crate) fn lower(
    graph: &Graph,
    constants: BTreeMap<ValueId, Tensor>,
    isa: Features,
    precision: Precision,
    pool: &Pool,
    stream: bool,
    watched: &[String],
) -> Result<Lowered> {
    let unsupported = graph.unsupported();
    if !unsupported.is_empty() {
        return Err(ampoule_graph::Error::Unsupported(unsupported).into());
    }
    let mut readers = vec![Vec::new(); graph.values.len()];
    for (i, n) in graph.nodes.iter().enumerate() {
        for v in n.inputs.iter().flatten() {
            readers[v.0].push(i);
        }
    }
    let mut producers = vec![None; graph.values.len()];
    for (i, n) in graph.nodes.iter().enumerate() {
        n.outputs.iter().flatten().for_each(|y| producers[y.0] = Some(i));
    }
    let mut l = Lower {
        graph,
        producers,
        stored_u8: quantized::stored_u8(graph, &constants),
        dequantized: HashMap::new(),
        int8_weights: HashMap::new(),
        exact: HashMap::new(),
        tables: HashMap::new(),
        isa,
        precision,
        pool,
        stream,
        uses: graph.uses(),
        readers,
        views: vec![None; graph.values.len()],
        computed: vec![false; graph.values.len()],
        slices: HashMap::new(),
        constants,
        winograd_int8: crate::winograd_int8::recorded(graph).map_err(|reason| Error::Recorded { reason })?,
        bf16: crate::mixed_precision::bf16_values(graph),
        watched: watched.iter().filter_map(|n| graph.value_named(n)).collect(),
        fused: vec![false; graph.nodes.len()],
        out: Lowered {
            steps: Vec::new(),
            buffers: Vec::new(),
            constants: Vec::new(),
            sums: 0,
            inputs: Vec::new(),
            outputs: Vec::new(),
            observed: Vec::new(),
        },
    };
    if !stream {
        l.plan_slices();
    }
    l.plan_tables();
    let fail = |graph: &Graph, n: &Node, reason| Error::lower(graph.node_name(n), n.op.name(), reason);
    for (index, &id) in graph.inputs.iter().enumerate() {
        let v = graph.value(id);
        let Some(dims) = v.dims() else {
            return Err(Error::InputSize { index, name: v.name.clone() });
        };
        l.slices.remove(&id);
        let strides = natural(&dims);
        let view = l.fresh(&dims, strides, Elem::F32);
        l.views[id.0] = Some(view.clone());
        l.computed[id.0] = true;
        l.out.inputs.push(view.clone());
        if l.watched.contains(&id) {
            l.out.observed.push((0, graph.value(id).name.clone(), view.clone()));
        }
        l.store_input(id, view);
    }
    for (i, n) in graph.nodes.iter().enumerate() {
        if !l.fused[i] {
            l.node(i).map_err(|reason| fail(graph, n, reason))?;
        }
        for o in n.outputs.iter().flatten() {
            l.computed[o.0] = true;
            if l.watched.contains(o) && !l.constants.contains_key(o) {
                let view = l.get(*o).map_err(|reason| fail(graph, n, reason))?;
                l.out.observed.push((l.out.steps.len(), graph.value(*o).name.clone(), view));
            }
        }
    }
    for id in &graph.outputs {
        let mut view =
            l.get(*id).map_err(|reason| Error::lower(&graph.value(*id).name, "Output".into(), reason))?;
        if view.elem != Elem::F32
            && let Some(n) = graph.nodes.last()
        {
            view = l.stored_as(n, view, Elem::F32);
        }
        l.out.outputs.push(view);
    }
    Ok(l.out)
}
