//! The reference: every operator computed plainly, in float64 or int64, and rounded to its element
//! type once at the end. Constant folding uses it, the engine falls back to it for rare operators,
//! and tests hold the engine against it. It is slow on purpose.

pub use crate::op::{AxisTaps, axis_taps};

use crate::array::{Array, Inputs};
use crate::op_error::OpResult;
use crate::{Defect, Error, Graph, Op, Result, Tensor, ValueId};

/// Computes one node. `outputs` is how many outputs it has (`Split` needs to know).
pub fn node(op: &Op, inputs: &[Option<Tensor>], outputs: usize) -> OpResult<Vec<Tensor>> {
    // Also of element types that are not computed with.
    if let (Op::Identity, Some(Some(t))) = (op, inputs.first()) {
        return Ok(vec![t.clone()]);
    }
    if let Some(done) = op.moved(inputs)? {
        return Ok(vec![done]);
    }
    let arrays =
        inputs.iter().map(|t| t.as_ref().map(Array::new).transpose()).collect::<OpResult<Vec<_>>>()?;
    op.compute(&Inputs(arrays), outputs)?.iter().map(Array::tensor).collect()
}

/// Runs a whole graph on `inputs`, given in the order of [`Graph::inputs`].
pub fn run(graph: &Graph, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let unsupported = graph.unsupported();
    if !unsupported.is_empty() {
        return Err(Error::Unsupported(unsupported));
    }
    if inputs.len() != graph.inputs.len() {
        return Err(Error::InputCount { given: inputs.len(), expected: graph.inputs.len() });
    }
    let mut values: Vec<Option<Tensor>> = vec![None; graph.values.len()];
    for (id, t) in &graph.constants {
        values[id.0] = Some(t.clone());
    }
    for (id, t) in graph.inputs.iter().zip(inputs) {
        values[id.0] = Some(t.clone());
    }
    for n in &graph.nodes {
        let args: Vec<Option<Tensor>> =
            n.inputs.iter().map(|i| i.and_then(|i| values[i.0].clone())).collect();
        let outs = node(&n.op, &args, n.outputs.len()).map_err(|source| Error::Node {
            node: graph.node_name(n).into(),
            op: n.op.name(),
            inputs: format!("{:?}", args.iter().flatten().map(Tensor::dims).collect::<Vec<_>>()),
            source: Box::new(source),
        })?;
        for (o, t) in n.outputs.iter().zip(outs) {
            if let Some(o) = o {
                values[o.0] = Some(t);
            }
        }
    }
    let missing = |o: &ValueId| Defect::OutputNotComputed { name: graph.value(*o).name.clone() };
    graph.outputs.iter().map(|o| values[o.0].clone().ok_or_else(|| missing(o).into())).collect()
}
