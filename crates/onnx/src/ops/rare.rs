//! Indexing, Einstein sums, running sums, sampling and recurrent layers.

use super::fields::{int, text};
use crate::attrs::Attrs;
use crate::draft::Draft;
use crate::proto::{AttributeProto, NodeProto};
use crate::refusal::{Read, Refusal};
use ampoule_graph::op::{Between, Cell, Direction, GridSample, Indexed, Outside, Recurrent, Scatter};
use ampoule_graph::{Node, Op};

pub(super) fn read(r: &mut Draft, n: &NodeProto, node: &mut Node, a: &Attrs) -> Read<Option<Op>> {
    Ok(Some(match n.op_type.as_str() {
        "GatherElements" => Op::Indexed(Indexed::GatherElements { axis: a.int("axis", 0)? }),
        "GatherND" => {
            let batch_dims = a.int("batch_dims", 0)?;
            let batch_dims = usize::try_from(batch_dims)
                .map_err(|_| Refusal::Negative { name: "batch_dims".into(), values: vec![batch_dims] })?;
            Op::Indexed(Indexed::GatherNd { batch_dims })
        }
        "ScatterElements" | "Scatter" => {
            let (axis, reduction) = (a.int("axis", 0)?, reduction(a)?);
            Op::Indexed(Indexed::ScatterElements { axis, reduction })
        }
        "ScatterND" => Op::Indexed(Indexed::ScatterNd { reduction: reduction(a)? }),
        "Einsum" => Op::Einsum { equation: a.text("equation", "")? },
        "CumSum" => Op::CumSum { exclusive: a.flag("exclusive", false)?, reverse: a.flag("reverse", false)? },
        "Trilu" => Op::Trilu { upper: a.flag("upper", true)? },
        "GridSample" => Op::GridSample(grid_sample(a)?),
        "LSTM" | "GRU" | "RNN" => Op::Recurrent(recurrent(r, n, node, a)?),
        _ => return Ok(None),
    }))
}

fn reduction(a: &Attrs) -> Read<Scatter> {
    let name = a.text("reduction", "none")?;
    let found = Scatter::ALL.iter().find(|s| s.0 == name);
    found.map(|s| s.1).ok_or(Refusal::Value { name: "reduction", value: name })
}

fn grid_sample(a: &Attrs) -> Read<GridSample> {
    // Operator sets before 20 name the two-dimensional forms.
    let between = match a.text("mode", "linear")?.as_str() {
        "linear" | "bilinear" => Between::Linear,
        "nearest" => Between::Nearest,
        "cubic" | "bicubic" => Between::Cubic,
        other => return Err(Refusal::Value { name: "mode", value: other.into() }),
    };
    let outside = match a.text("padding_mode", "zeros")?.as_str() {
        "zeros" => Outside::Zeros,
        "border" => Outside::Border,
        "reflection" => Outside::Reflection,
        other => return Err(Refusal::Value { name: "padding_mode", value: other.into() }),
    };
    Ok(GridSample { between, outside, align_corners: a.flag("align_corners", false)? })
}

/// A recurrent layer with the default activations, whose sequences all have the same length.
fn recurrent(r: &mut Draft, n: &NodeProto, node: &mut Node, a: &Attrs) -> Read<Recurrent> {
    let refuse = |name, value: &str| Err(Refusal::Value { name, value: value.to_owned() });
    let (cell, own): (Cell, &[&str]) = match n.op_type.as_str() {
        "LSTM" => {
            if a.flag("input_forget", false)? {
                return refuse("input_forget", "1");
            }
            if node.input(7).is_some() {
                return refuse("input P", "(peepholes)");
            }
            (Cell::Lstm, &["Sigmoid", "Tanh", "Tanh"])
        }
        "GRU" => {
            let linear_before_reset = a.flag("linear_before_reset", false)?;
            (Cell::Gru { linear_before_reset }, &["Sigmoid", "Tanh"])
        }
        _ => (Cell::Rnn, &["Tanh"]),
    };
    let direction = match a.text("direction", "forward")?.as_str() {
        "forward" => Direction::Forward,
        "reverse" => Direction::Reverse,
        "bidirectional" => Direction::Bidirectional,
        other => return refuse("direction", other),
    };
    let layout = a.int("layout", 0)?;
    if layout != 0 {
        return refuse("layout", &layout.to_string());
    }
    if let Some(named) = a.texts("activations")? {
        let wanted = own.iter().cycle();
        if named.iter().zip(wanted).any(|(a, b)| !a.eq_ignore_ascii_case(b)) {
            return refuse("activations", &named.join(", "));
        }
    }
    if node.input(4).is_some_and(|id| !whole(r, node, id)) {
        return refuse("sequence_lens", "(sequences of different lengths)");
    }
    if let Some(slot) = node.inputs.get_mut(4) {
        *slot = None;
    }
    let found = a.int("hidden_size", 0)?;
    let hidden = usize::try_from(found).ok().filter(|h| (1..1 << 20).contains(h));
    Ok(Recurrent { cell, direction, hidden: hidden.ok_or(Refusal::NotPositive { name: "hidden_size" })? })
}

/// Whether constant lengths of sequences say what holds without them.
fn whole(r: &Draft, node: &Node, lengths: ampoule_graph::ValueId) -> bool {
    let steps = node.input(0).and_then(|x| r.graph.value(x).shape.as_ref()?.first()?.known());
    let given = r.graph.constants.get(&lengths).and_then(|t| t.to_i64());
    given.zip(steps).is_some_and(|(v, n)| v.iter().all(|&x| x == n as i64))
}

/// The attributes of what [`read`] reads.
pub(super) fn write(out: &mut Vec<AttributeProto>, op: &Op) {
    match op {
        Op::Indexed(Indexed::GatherElements { axis }) => out.push(int("axis", *axis)),
        Op::Indexed(Indexed::GatherNd { batch_dims }) => out.push(int("batch_dims", *batch_dims as i64)),
        Op::Indexed(Indexed::ScatterElements { axis, reduction }) => {
            out.extend([int("axis", *axis), text("reduction", reduction.name())]);
        }
        Op::Indexed(Indexed::ScatterNd { reduction }) => out.push(text("reduction", reduction.name())),
        Op::Einsum { equation } => out.push(text("equation", equation)),
        Op::CumSum { exclusive, reverse } => {
            out.extend([int("exclusive", *exclusive as i64), int("reverse", *reverse as i64)]);
        }
        Op::Trilu { upper } => out.push(int("upper", *upper as i64)),
        Op::GridSample(g) => {
            let mode = match g.between {
                Between::Nearest => "nearest",
                Between::Linear => "linear",
                Between::Cubic => "cubic",
            };
            let outside = match g.outside {
                Outside::Zeros => "zeros",
                Outside::Border => "border",
                Outside::Reflection => "reflection",
            };
            out.extend([text("mode", mode), text("padding_mode", outside)]);
            out.push(int("align_corners", g.align_corners as i64));
        }
        Op::Recurrent(r) => {
            let direction = match r.direction {
                Direction::Forward => "forward",
                Direction::Reverse => "reverse",
                Direction::Bidirectional => "bidirectional",
            };
            out.extend([text("direction", direction), int("hidden_size", r.hidden as i64)]);
            if let Cell::Gru { linear_before_reset } = r.cell {
                out.push(int("linear_before_reset", linear_before_reset as i64));
            }
        }
        // The others have attributes of their own, or none.
        _ => {}
    }
}
