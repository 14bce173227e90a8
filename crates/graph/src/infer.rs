//! Shapes and element types of every value, with dimensions that may stay unknown.
//!
//! Integer tensors that describe shapes (`Shape` and what is computed from it) are followed
//! element by element, so that `Reshape`, `Resize` and `Slice` in exported models resolve.

mod moves;
mod rules;
pub use moves::{pad_plan, slice_plan, split_sizes};
pub use rules::resize_geometry;
pub(crate) use rules::shape_range;

use crate::{DType, Dim, Error, Graph, Node, Op, Result, Tensor, ValueId};
use std::collections::BTreeMap;

/// Most elements of one value: far above any real one, and low enough that sums of sizes in bytes
/// never overflow.
const LARGEST: usize = 1 << 38;

/// What is known of one value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Info {
    pub dtype: Option<DType>,
    pub shape: Option<Vec<Dim>>,
    /// Elements of a small integer tensor of rank 0 or 1.
    pub elements: Option<Vec<Dim>>,
}

impl Info {
    pub fn dims(&self) -> Option<Vec<usize>> {
        self.shape.as_ref()?.iter().map(Dim::known).collect()
    }

    pub fn rank(&self) -> Option<usize> {
        self.shape.as_ref().map(Vec::len)
    }
}

/// Inputs of a node as the rules see them.
pub(crate) struct Args<'a> {
    pub infos: Vec<Option<&'a Info>>,
    pub constants: Vec<Option<&'a Tensor>>,
}

impl Args<'_> {
    pub fn info(&self, i: usize) -> Option<&Info> {
        self.infos.get(i).copied().flatten()
    }

    pub fn shape(&self, i: usize) -> Option<&Vec<Dim>> {
        self.info(i)?.shape.as_ref()
    }

    pub fn constant(&self, i: usize) -> Option<&Tensor> {
        self.constants.get(i).copied().flatten()
    }

    /// Whether input `i` was given at all.
    pub fn given(&self, i: usize) -> bool {
        self.infos.get(i).is_some_and(Option::is_some)
    }

    /// The integers of input `i` when all are known.
    pub fn ints(&self, i: usize) -> Option<Vec<i64>> {
        if let Some(t) = self.constant(i) {
            return t.to_i64();
        }
        let elements = self.info(i)?.elements.as_ref()?;
        elements.iter().map(|d| d.known().map(|n| n as i64)).collect()
    }
}

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
        let outs = node(n, &infos, &graph.constants).map_err(|reason| Error::Node {
            node: graph.node_name(n).into(),
            op: n.op.name(),
            inputs: shapes(n, &infos),
            reason,
        })?;
        for (o, info) in n.outputs.iter().zip(outs) {
            if let Some(o) = o {
                if let Some(d) = info.dims()
                    && crate::element_count(&d).is_none_or(|n| n > LARGEST)
                {
                    let name = &graph.value(*o).name;
                    return Err(Error::invalid(format!(
                        "`{name}` would have {d:?} elements, which is too many"
                    )));
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

fn constant_info(t: &Tensor) -> Info {
    let small = t.dims().len() <= 1 && t.len() <= 64 && t.dtype().is_int();
    let elements = small
        .then(|| t.to_i64())
        .flatten()
        .map(|v| v.iter().map(|&x| usize::try_from(x).map_or(Dim::Unknown, Dim::Known)).collect());
    Info { dtype: Some(t.dtype()), shape: Some(t.dims().iter().map(|&d| Dim::Known(d)).collect()), elements }
}

fn node(n: &Node, infos: &[Info], constants: &BTreeMap<ValueId, Tensor>) -> Result<Vec<Info>, String> {
    let args = Args {
        infos: n.inputs.iter().map(|i| i.map(|i| &infos[i.0])).collect(),
        constants: n.inputs.iter().map(|i| i.and_then(|i| constants.get(&i))).collect(),
    };
    if matches!(n.op, Op::Unknown(_)) {
        return Ok(vec![Info::default(); n.outputs.len()]);
    }
    rules::infer(&n.op, &args, n.outputs.len())
}

/// The shapes of a node's inputs for a message.
fn shapes(n: &Node, infos: &[Info]) -> String {
    let one = |i: &Option<ValueId>| match i.and_then(|i| infos[i.0].shape.as_ref()) {
        Some(s) => format!("[{}]", s.iter().map(Dim::to_string).collect::<Vec<_>>().join("x")),
        None => "?".into(),
    };
    n.inputs.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// `axis` counted from the front, for a tensor of `rank` axes.
pub fn axis(axis: i64, rank: usize) -> Result<usize, String> {
    let a = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(a).ok().filter(|&a| a < rank).ok_or_else(|| format!("axis {axis} of {rank} axes"))
}

/// All of `list` counted from the front, sorted, without duplicates.
pub fn axes(list: &[i64], rank: usize) -> Result<Vec<usize>, String> {
    let mut out = list.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?;
    out.sort_unstable();
    let n = out.len();
    out.dedup();
    if out.len() == n { Ok(out) } else { Err(format!("axes {list:?} repeat")) }
}
