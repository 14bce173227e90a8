//! Shapes and element types of every value, with dimensions that may stay unknown.
//!
//! Integer tensors that describe shapes (`Shape` and what is computed from it) are followed
//! element by element, so that `Reshape`, `Resize` and `Slice` in exported models resolve.

pub use crate::op::{pad_plan, resize_geometry, slice_plan, split_sizes};
pub use crate::shapes::{axes, axis};

use crate::op_error::OpResult;
use crate::shapes::{Args, Info};
use crate::{Defect, Dim, Error, Graph, Node, Result, Tensor, ValueId};
use std::collections::BTreeMap;

/// Most elements of one value: far above any real one, and low enough that sums of sizes in bytes
/// never overflow.
const LARGEST: usize = 1 << 38;

/// Infers all shapes from the inputs' and constants', in place. Contradictions are errors; what
/// cannot be known stays unknown.
pub fn infer(graph: &mut Graph) -> Result<()> {
    let mut infos: Vec<Info> =
        graph.values.iter().map(|v| Info { dtype: v.dtype, ..Default::default() }).collect();
    for &i in &graph.inputs {
        infos[i.0].shape = graph.value(i).shape.clone();
    }
    for (id, t) in &graph.constants {
        infos[id.0] = constant_info(t);
    }
    for n in &graph.nodes {
        let outs = node(n, &infos, &graph.constants).map_err(|source| Error::Node {
            node: graph.node_name(n).into(),
            op: n.op.name(),
            inputs: shapes(n, &infos),
            source: Box::new(source),
        })?;
        for (o, info) in n.outputs.iter().zip(outs) {
            if let Some(o) = o {
                if let Some(d) = info.dims()
                    && crate::element_count(&d).is_none_or(|n| n > LARGEST)
                {
                    let name = graph.value(*o).name.clone();
                    return Err(Defect::TooLarge { name, dims: d }.into());
                }
                let declared = graph.value(*o).dtype;
                infos[o.0] = info;
                infos[o.0].dtype = infos[o.0].dtype.or(declared);
            }
        }
    }
    for (v, info) in graph.values.iter_mut().zip(infos) {
        v.dtype = info.dtype;
        v.shape = info.shape;
    }
    Ok(())
}

/// What is known of a graph while it is built node by node, as importers do.
#[derive(Debug, Default)]
pub struct Tracker {
    infos: Vec<Info>,
}

impl Tracker {
    /// Takes in values that were added: inputs and constants.
    fn catch_up(&mut self, graph: &Graph) {
        for i in self.infos.len()..graph.values.len() {
            let v = &graph.values[i];
            self.infos.push(match graph.constants.get(&ValueId(i)) {
                Some(t) => constant_info(t),
                None => Info { dtype: v.dtype, shape: v.shape.clone(), elements: None },
            });
        }
    }

    /// Gives the outputs of the last node their types and shapes.
    pub fn last_node(&mut self, graph: &mut Graph) -> OpResult<()> {
        self.catch_up(graph);
        let Some(n) = graph.nodes.last() else { return Ok(()) };
        let outs = node(n, &self.infos, &graph.constants)?;
        for (o, info) in n.outputs.iter().zip(outs) {
            if let Some(o) = o {
                let value = &mut graph.values[o.0];
                (value.dtype, value.shape) = (info.dtype, info.shape.clone());
                self.infos[o.0] = info;
            }
        }
        Ok(())
    }

    /// Elements of a small integer tensor of rank 0 or 1, as far as they are known or are sizes that have a name.
    pub fn elements(&mut self, graph: &Graph, id: ValueId) -> Option<&[Dim]> {
        self.catch_up(graph);
        self.infos[id.0].elements.as_deref()
    }
}

fn constant_info(t: &Tensor) -> Info {
    let small = t.dims().len() <= 1 && t.len() <= 64 && t.dtype().is_int();
    let elements = small
        .then(|| t.to_i64())
        .flatten()
        .map(|v| v.iter().map(|&x| usize::try_from(x).map_or(Dim::Unknown, Dim::Known)).collect());
    Info { dtype: Some(t.dtype()), shape: Some(t.dims().iter().map(|&d| Dim::Known(d)).collect()), elements }
}

fn node(n: &Node, infos: &[Info], constants: &BTreeMap<ValueId, Tensor>) -> OpResult<Vec<Info>> {
    let args = Args {
        infos: n.inputs.iter().map(|i| i.map(|i| &infos[i.0])).collect(),
        constants: n.inputs.iter().map(|i| i.and_then(|i| constants.get(&i))).collect(),
    };
    n.op.shapes(&args, n.outputs.len())
}

/// The shapes of a node's inputs for a message.
fn shapes(n: &Node, infos: &[Info]) -> String {
    let one = |i: &Option<ValueId>| match i.and_then(|i| infos[i.0].shape.as_ref()) {
        Some(s) => format!("[{}]", s.iter().map(Dim::to_string).collect::<Vec<_>>().join("x")),
        None => "?".into(),
    };
    n.inputs.iter().map(one).collect::<Vec<_>>().join(", ")
}
