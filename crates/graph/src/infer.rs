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
pub const LARGEST: usize = if usize::BITS < 64 { 1 << 28 } else { (1u64 << 38) as usize };

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
        let known = computed(n, &infos, &graph.constants, &outs);
        for (k, (o, mut info)) in n.outputs.iter().zip(outs).enumerate() {
            if let Some(o) = o {
                match known.as_ref().and_then(|t| t.get(k)) {
                    Some(t) => info = value_info(t.clone()),
                    None => complete(&mut info),
                }
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
                None => Info { dtype: v.dtype, shape: v.shape.clone(), elements: None, value: None },
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

    /// Takes in that a value became a constant.
    pub fn refresh(&mut self, graph: &Graph, id: ValueId) {
        self.catch_up(graph);
        if let Some(t) = graph.constants.get(&id) {
            self.infos[id.0] = constant_info(t);
        }
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
    let shape = Some(t.dims().iter().map(|&d| Dim::Known(d)).collect());
    Info { dtype: Some(t.dtype()), shape, elements, value: None }
}

/// Most elements of a tensor whose content is followed: lists of sizes are far below.
const SMALL: usize = 64;

/// What is known of a value that is computed from constants and known sizes alone.
fn value_info(t: Tensor) -> Info {
    Info { value: Some(t.clone()), ..constant_info(&t) }
}

/// Makes a whole value of elements that are all known.
fn complete(info: &mut Info) {
    let known = |e: &Vec<Dim>| e.iter().map(|d| d.known().map(|n| n as i64)).collect::<Option<Vec<_>>>();
    if let (Some(dtype), Some(dims), Some(v)) =
        (info.dtype, info.dims(), info.elements.as_ref().and_then(known))
        && v.len() <= SMALL
        && crate::element_count(&dims) == Some(v.len())
    {
        info.value = Tensor::from_i64(dtype, &dims, &v);
    }
}

/// The outputs of a node whose inputs are all small and known, and whose outputs are small: shape
/// arithmetic of any kind, through negative numbers and floats as exporters write it.
fn computed(
    n: &Node,
    infos: &[Info],
    constants: &BTreeMap<ValueId, Tensor>,
    outs: &[Info],
) -> Option<Vec<Tensor>> {
    let size = |i: &Info| i.dims().and_then(|d| crate::element_count(&d));
    // What has no run-time input is folded as constants are, once; this is for what sizes decide.
    let follows = n.inputs.iter().flatten().any(|i| infos[i.0].value.is_some());
    if !follows || outs.iter().any(|o| size(o).is_none_or(|n| n > SMALL)) {
        return None;
    }
    let mut args = Vec::with_capacity(n.inputs.len());
    for i in &n.inputs {
        args.push(match i {
            None => None,
            Some(i) => {
                let t = constants.get(i).or(infos[i.0].value.as_ref());
                Some(t.filter(|t| t.len() <= SMALL)?.clone())
            }
        });
    }
    crate::eval::node(&n.op, &args, n.outputs.len()).ok()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::Builder;
    use crate::op::{Binary, Unary};
    use crate::{DType, Op};

    /// The shape that a reshape gets from arithmetic over the sizes of its input, 4 by 6.
    fn reshaped(f: impl FnOnce(&mut Builder, ValueId) -> ValueId) -> Option<Vec<usize>> {
        let mut b = Builder::new("arithmetic");
        let x = b.input("x", &[Dim::Known(4), Dim::Known(6)]);
        let sizes = b.node(Op::Shape { start: 0, end: None }, &[x]);
        let target = f(&mut b, sizes);
        let y = b.node(Op::Reshape { allow_zero: false }, &[x, target]);
        b.output(y, "y", &[]);
        let mut g = b.finish();
        let y = g.outputs[0];
        g.values[y.0].shape = None;
        infer(&mut g).unwrap();
        g.value(y).dims()
    }

    #[test]
    fn shape_arithmetic_goes_through_negative_numbers() {
        let through = |op: Binary, lists: [[i64; 2]; 2]| {
            reshaped(|b, mut v| {
                for list in lists {
                    let k = b.constant("k", Tensor::i64s(&list));
                    v = b.node(Op::Binary(op), &[v, k]);
                }
                v
            })
        };
        assert_eq!(through(Binary::Add, [[-9, -9], [9, 9]]), Some(vec![4, 6]));
        assert_eq!(through(Binary::Mul, [[-1, -1], [-1, -1]]), Some(vec![4, 6]));
        assert_eq!(through(Binary::Sub, [[10, 3], [-14, 0]]), Some(vec![8, 3]));
    }

    #[test]
    fn shape_arithmetic_goes_through_floats() {
        let found = reshaped(|b, v| {
            let two = b.constant("two", Tensor::f32(&[], &[2.0]));
            let v = b.node(Op::Cast { to: DType::F32 }, &[v]);
            let v = b.node(Op::Binary(Binary::Div), &[v, two]);
            let v = b.unary(v, Unary::Floor);
            let v = b.node(Op::Binary(Binary::Mul), &[v, two]);
            b.node(Op::Cast { to: DType::I64 }, &[v])
        });
        assert_eq!(found, Some(vec![4, 6]));
    }
}
