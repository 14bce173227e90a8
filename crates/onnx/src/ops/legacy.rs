//! Forms of operators that older operator sets had.

use crate::attrs::Attrs;
use crate::draft::Draft;
use crate::proto::NodeProto;
use crate::refusal::{Read, Refusal};
use ampoule_graph::{Node, Op, Tensor};

/// Turns an attribute of older opsets into the constant input that newer ones take.
pub(super) fn ints_to_input(r: &mut Draft, node: &mut Node, slot: usize, name: &str, v: Option<Vec<i64>>) {
    if let Some(v) = v {
        node.inputs.resize(slot, None);
        let id = r.extra_constant(name, Tensor::i64s(&v));
        node.inputs.push(Some(id));
    }
}

/// As [`ints_to_input`], for one number; leaves the slot empty where there is none.
pub(super) fn float_to_input(r: &mut Draft, node: &mut Node, slot: usize, name: &str, v: Option<f32>) {
    node.inputs.resize(slot.max(node.inputs.len()), None);
    let id = v.map(|v| r.extra_constant(name, Tensor::f32(&[], &[v])));
    if node.inputs.len() > slot {
        node.inputs[slot] = id;
    } else {
        node.inputs.push(id);
    }
}

/// Before opset 13 softmax worked on the input flattened to two dimensions at `axis`.
pub(super) fn softmax(r: &mut Draft, n: &NodeProto, node: &mut Node, a: &Attrs) -> Read<()> {
    let axis = a.int("axis", 1)?;
    a.finish()?;
    if node.inputs.len() != 1 {
        return Err(Refusal::Inputs { given: node.inputs.len(), least: 1, most: 1 });
    }
    if node.outputs.len() != 1 {
        return Err(Refusal::Outputs { given: node.outputs.len(), most: 1 });
    }
    let hint = node.name.clone();
    let (x, y) = (node.inputs[0], node.outputs[0]);
    let (shape, flat, soft) = (r.extra(&hint), r.extra(&hint), r.extra(&hint));
    let make = |op, inputs, output| Node { name: hint.clone(), op, inputs, outputs: vec![Some(output)] };
    r.graph.nodes.push(make(Op::Shape { start: 0, end: None }, vec![x], shape));
    r.graph.nodes.push(make(Op::Flatten { axis }, vec![x], flat));
    let log = n.op_type == "LogSoftmax";
    r.graph.nodes.push(make(Op::Softmax { axis: -1, log }, vec![Some(flat)], soft));
    node.op = Op::Reshape { allow_zero: true };
    node.inputs = vec![Some(soft), Some(shape)];
    node.outputs = vec![y];
    Ok(())
}
