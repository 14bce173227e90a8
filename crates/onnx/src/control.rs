//! `If` and `Loop` whose course is known before a run: the branch that is taken, and as many copies of a body as it is
//! run, in the place of the node.

use crate::draft::Draft;
use crate::proto::{GraphProto, NodeProto};
use crate::refusal::{Read, Refusal};
use crate::rename::{Names, define, identity, renamed};
use crate::tensors;
use ampoule_graph::{Dim, Graph, Tensor, ValueId, passes};
use std::collections::BTreeMap;

/// Whether `n` is taken apart here.
pub(crate) fn applies(n: &NodeProto) -> bool {
    matches!(n.domain.as_str(), "" | "ai.onnx") && matches!(n.op_type.as_str(), "If" | "Loop")
}

/// The inputs of `n` that decide its course.
pub(crate) fn decides(n: &NodeProto) -> Vec<String> {
    let count = if n.op_type == "If" { 1 } else { 2 };
    n.input.iter().take(count).filter(|s| !s.is_empty()).cloned().collect()
}

/// Values of the graph so far that follow from constants and from sizes that the file states, without the first axis of
/// inputs: a batch may have any size.
pub(crate) fn known(g: &Graph, wanted: &[ValueId]) -> BTreeMap<ValueId, Tensor> {
    let mut found = BTreeMap::new();
    for batch in [false, true] {
        let mut g = g.clone();
        for &i in &g.inputs {
            let shape = g.values[i.0].shape.as_mut().filter(|s| !batch && s.len() > 1);
            if let Some(first) = shape.and_then(|s| s.first_mut()) {
                *first = Dim::Unknown;
            }
        }
        // Whatever is wrong with the graph is told when it is complete.
        if g.sort().and_then(|()| passes::fold(&mut g)).is_err() {
            break;
        }
        for id in wanted {
            if let Some(t) = g.constants.get(id) {
                found.entry(*id).or_insert_with(|| t.clone());
            }
        }
        if wanted.iter().all(|id| found.contains_key(id)) {
            break;
        }
    }
    found
}

/// How many nodes there are, at any depth.
pub(crate) fn nodes(list: &[NodeProto]) -> u64 {
    let inner = |n: &NodeProto| -> u64 {
        let graphs = n.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs));
        graphs.map(|g| nodes(&g.node)).sum()
    };
    list.iter().map(|n| 1 + inner(n)).sum()
}

/// The nodes in the place of `n`, at most `most`, whose deciding inputs have the values that `value` gives.
pub(crate) fn resolve(
    draft: &mut Draft,
    n: &NodeProto,
    value: &dyn Fn(&str) -> Option<Tensor>,
    most: u64,
) -> Read<Vec<NodeProto>> {
    match n.op_type.as_str() {
        "If" => branch(draft, n, value),
        _ => turns(draft, n, value, most),
    }
}

fn graph<'a>(n: &'a NodeProto, name: &'static str) -> Read<&'a GraphProto> {
    let found = n.attribute.iter().find(|a| a.name == name).and_then(|a| a.g.as_ref());
    found.ok_or(Refusal::Missing { name })
}

fn truth(t: &Tensor) -> Option<bool> {
    t.to_i64().and_then(|v| v.first().map(|v| *v != 0))
}

fn branch(draft: &mut Draft, n: &NodeProto, value: &dyn Fn(&str) -> Option<Tensor>) -> Read<Vec<NodeProto>> {
    let condition = n.input.first().and_then(|c| value(c)).and_then(|t| truth(&t));
    let condition = condition.ok_or(Refusal::Control { reason: "its condition is computed" })?;
    let body = graph(n, if condition { "then_branch" } else { "else_branch" })?;
    if body.output.len() != n.output.len() {
        return Err(Refusal::OutputCount { said: body.output.len() as i64, found: n.output.len() });
    }
    let hint = hint(n);
    let (mut nodes, outputs) = copy(draft, body, &[], &hint)?;
    for (inner, outer) in outputs.iter().zip(&n.output).filter(|(_, outer)| !outer.is_empty()) {
        nodes.push(identity(inner, outer));
    }
    Ok(nodes)
}

fn hint(n: &NodeProto) -> String {
    if n.name.is_empty() { n.output.first().cloned().unwrap_or_default() } else { n.name.clone() }
}

/// The nodes of `body` with `inputs` for its inputs, and the names of its outputs.
fn copy(
    draft: &mut Draft,
    body: &GraphProto,
    inputs: &[String],
    hint: &str,
) -> Read<(Vec<NodeProto>, Vec<String>)> {
    let mut names = Names::new();
    for (v, outer) in body.input.iter().zip(inputs) {
        names.insert(v.name.clone(), outer.clone());
    }
    let computed = body.node.iter().flat_map(|n| n.output.clone());
    let constants = body.initializer.iter().map(|t| t.name.clone());
    define(draft, &mut names, hint, constants.chain(computed));
    if !body.sparse_initializer.is_empty() {
        return Err(Refusal::Control { reason: "it has sparse constants" });
    }
    for t in &body.initializer {
        let tensor = tensors::tensor_from_proto(t, None, u64::MAX);
        let tensor =
            tensor.map_err(|source| Refusal::Tensor { name: t.name.clone(), source: Box::new(source) })?;
        let id = draft.id(&names[&t.name]);
        if !draft.graph.constants.contains_key(&id) {
            draft.graph.set_constant(id, tensor);
        }
    }
    let nodes = body.node.iter().map(|n| renamed(n, &names)).collect();
    let outputs =
        body.output.iter().map(|v| names.get(&v.name).cloned().unwrap_or_else(|| v.name.clone())).collect();
    Ok((nodes, outputs))
}

/// Whether a body goes on for ever: its first output is its condition, or true.
fn goes_on(body: &GraphProto) -> bool {
    let Some(mut name) = body.output.first().map(|v| v.name.clone()) else { return false };
    for _ in 0..body.node.len() {
        let Some(n) = body.node.iter().find(|n| n.output.first() == Some(&name)) else { break };
        match n.op_type.as_str() {
            "Identity" | "Cast" if n.input.len() == 1 => name.clone_from(&n.input[0]),
            "Constant" => {
                return crate::ops::constant_value(n).ok().and_then(|t| truth(&t)) == Some(true);
            }
            _ => return false,
        }
    }
    let constant = body.initializer.iter().find(|t| t.name == name);
    match constant {
        Some(t) => tensors::tensor_from_proto(t, None, u64::MAX).ok().and_then(|t| truth(&t)) == Some(true),
        None => body.input.get(1).is_some_and(|v| v.name == name),
    }
}

fn turns(
    draft: &mut Draft,
    n: &NodeProto,
    value: &dyn Fn(&str) -> Option<Tensor>,
    most: u64,
) -> Read<Vec<NodeProto>> {
    let body = graph(n, "body")?;
    let carried = n.input.len().saturating_sub(2);
    let given = |i: usize| n.input.get(i).filter(|s| !s.is_empty());
    let Some(count) = given(0) else {
        return Err(Refusal::Control { reason: "it has no number of turns" });
    };
    let count = value(count).and_then(|t| t.to_i64()).and_then(|v| v.first().copied());
    let count = count.ok_or(Refusal::Control { reason: "its number of turns is computed" })?;
    let starts = match given(1) {
        None => true,
        Some(c) => value(c)
            .and_then(|t| truth(&t))
            .ok_or(Refusal::Control { reason: "its first condition is computed" })?,
    };
    let count = if starts { count.max(0) } else { 0 };
    let fits = body.input.len() == carried + 2 && body.output.len() == n.output.len() + 1;
    let scans = n.output.len().saturating_sub(carried);
    let copies = (count as u64).saturating_mul(nodes(&body.node).max(1));
    if !fits || n.output.len() < carried || copies > most {
        return Err(Refusal::Control { reason: "its body does not fit, or it has too many turns" });
    }
    if !goes_on(body) {
        return Err(Refusal::Control { reason: "its condition is computed in each turn" });
    }
    if count == 0 && scans > 0 {
        return Err(Refusal::Control { reason: "it has no turn to make a result of" });
    }
    let hint = hint(n);
    let yes = Tensor::from_i64(ampoule_graph::DType::Bool, &[], &[1]).ok_or(Refusal::NotOneNumber)?;
    let yes = draft.extra_constant(&format!("{hint}/condition"), yes);
    let yes = draft.graph.value(yes).name.clone();
    let axes = draft.extra_constant(&format!("{hint}/axes"), Tensor::i64s(&[0]));
    let axes = draft.graph.value(axes).name.clone();
    let mut state: Vec<String> = n.input[2.min(n.input.len())..].to_vec();
    let mut parts = vec![Vec::new(); scans];
    let mut nodes = Vec::new();
    for turn in 0..count {
        let at = draft.extra_constant(&format!("{hint}/turn"), Tensor::i64(&[], &[turn]));
        let at = draft.graph.value(at).name.clone();
        let inputs: Vec<String> = [at, yes.clone()].into_iter().chain(state).collect();
        let (inner, outputs) = copy(draft, body, &inputs, &hint)?;
        nodes.extend(inner);
        state = outputs[1..=carried].to_vec();
        for (part, out) in parts.iter_mut().zip(&outputs[1 + carried..]) {
            let id = draft.extra(&format!("{hint}/row"));
            let row = draft.graph.value(id).name.clone();
            nodes.push(NodeProto {
                name: row.clone(),
                op_type: "Unsqueeze".into(),
                input: vec![out.clone(), axes.clone()],
                output: vec![row.clone()],
                ..NodeProto::default()
            });
            part.push(row);
        }
    }
    for (inner, outer) in state.iter().zip(&n.output).filter(|(_, outer)| !outer.is_empty()) {
        nodes.push(identity(inner, outer));
    }
    for (part, outer) in parts.into_iter().zip(&n.output[carried..]).filter(|(_, outer)| !outer.is_empty()) {
        nodes.push(NodeProto {
            name: outer.clone(),
            op_type: "Concat".into(),
            input: part,
            output: vec![outer.clone()],
            attribute: vec![crate::ops::fields::int("axis", 0)],
            ..NodeProto::default()
        });
    }
    Ok(nodes)
}
