//! LSTM and GRU of several layers.

use crate::args::Args;
use crate::net::{Followed, Net, wrong};
use crate::value::Value;
use ampoule_graph::op::{Cell, Direction, Recurrent};
use ampoule_graph::{Op, Tensor, ValueId};
use std::rc::Rc;

/// Most layers.
const LAYERS: usize = 256;

/// `lstm(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)`.
pub(super) fn lstm(net: &mut Net, a: &Args) -> Followed<Value> {
    // PyTorch's gates are i, f, g, o; ONNX's i, o, f, c.
    recurrent(net, a, Cell::Lstm, &[0, 3, 1, 2])
}

/// `gru(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)`.
pub(super) fn gru(net: &mut Net, a: &Args) -> Followed<Value> {
    // PyTorch's gates are r, z, n; ONNX's z, r, h.
    recurrent(net, a, Cell::Gru { linear_before_reset: true }, &[1, 0, 2])
}

/// The gates of parameters `[gates·hidden, …]` in another order.
fn ordered(net: &mut Net, id: ValueId, order: &[usize]) -> Followed<Vec<f32>> {
    let values = net.constant(id).and_then(Tensor::to_f32);
    let Some(values) = values.filter(|v| !v.is_empty() && v.len().is_multiple_of(order.len())) else {
        return wrong("weights of a recurrent layer that are computed");
    };
    let gate = values.len() / order.len();
    Ok(order.iter().flat_map(|&g| values[g * gate..(g + 1) * gate].to_vec()).collect())
}

fn recurrent(net: &mut Net, a: &Args, cell: Cell, order: &[usize]) -> Followed<Value> {
    let mut x = a.tensor(net, 0)?;
    let before = match cell {
        Cell::Lstm => a.tensors(net, 1)?,
        Cell::Gru { .. } | Cell::Rnn => vec![a.tensor(net, 1)?],
    };
    let params = a.tensors(net, 2)?;
    let biases = a.flag(3, true)?;
    let layers = a.int_or(net, 4, 1)?.max(0) as usize;
    let directions = if a.flag(7, false)? { 2 } else { 1 };
    let batch_first = a.flag(8, false)?;
    let each = if biases { 4 } else { 2 };
    if net.rank(x)? != 3 || !(1..=LAYERS).contains(&layers) || params.len() != layers * directions * each {
        return wrong(format!(
            "a recurrent network of {layers} layers with {} parameters; sequences in batches, without projection, are known",
            params.len()
        ));
    }
    if batch_first {
        x = net.transpose(x, &[1, 0, 2])?;
    }
    let mut last: Vec<Vec<ValueId>> = vec![Vec::new(); before.len()];
    for layer in 0..layers {
        let own = &params[layer * directions * each..(layer + 1) * directions * each];
        let (y, ends) = one_layer(net, x, own, &before, (cell, layer, directions, each), order)?;
        x = y;
        last.iter_mut().zip(ends).for_each(|(all, end)| all.push(end));
    }
    if batch_first {
        x = net.transpose(x, &[1, 0, 2])?;
    }
    let mut out = vec![net.tensor(x)];
    for all in last {
        let id = if all.len() == 1 { all[0] } else { net.one(Op::Concat { axis: 0 }, &all)? };
        out.push(net.tensor(id));
    }
    Ok(Value::Tuple(Rc::from(out)))
}

/// One layer `[steps, batch, size]` in all its directions: its output, and its last states.
fn one_layer(
    net: &mut Net,
    x: ValueId,
    params: &[ValueId],
    before: &[ValueId],
    (cell, layer, directions, each): (Cell, usize, usize, usize),
    order: &[usize],
) -> Followed<(ValueId, Vec<ValueId>)> {
    let size = |net: &Net, id: ValueId| net.sizes(id, "weights of a free size");
    let [rows, inputs] = size(net, params[0])?[..] else { return wrong("weights that are no matrix") };
    let hidden = rows / order.len();
    let (mut w, mut r, mut b) = (Vec::new(), Vec::new(), Vec::new());
    for own in params.chunks_exact(each) {
        if size(net, own[0])? != [rows, inputs] || size(net, own[1])? != [rows, hidden] {
            return wrong("weights of a recurrent layer with projection");
        }
        w.extend(ordered(net, own[0], order)?);
        r.extend(ordered(net, own[1], order)?);
        for bias in &own[2..] {
            b.extend(ordered(net, *bias, order)?);
        }
    }
    let w = net.made(Tensor::f32(&[directions, rows, inputs], &w))?;
    let r = net.made(Tensor::f32(&[directions, rows, hidden], &r))?;
    let b = if b.is_empty() { None } else { Some(net.made(Tensor::f32(&[directions, 2 * rows], &b))?) };
    let mut all = vec![Some(x), Some(w), Some(r), b, None];
    let [start, end] = [layer * directions, (layer + 1) * directions].map(|v| net.ints(&[v as i64]));
    let (start, end, axis) = (start?, end?, net.ints(&[0])?);
    for states in before {
        all.push(Some(net.one(Op::Slice, &[*states, start, end, axis])?));
    }
    let direction = if directions == 2 { Direction::Bidirectional } else { Direction::Forward };
    let op = Op::Recurrent(Recurrent { cell, direction, hidden });
    let outs = net.node(op, all, 1 + before.len())?;
    // Directions side by side.
    let y = net.transpose(outs[0], &[0, 2, 1, 3])?;
    let mut shape = net.shape(y)?;
    shape.truncate(2);
    shape.push(Value::Int((directions * hidden) as i64));
    let y = net.reshape(y, &shape)?;
    Ok((y, outs[1..].to_vec()))
}
