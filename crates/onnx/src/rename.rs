//! Bodies of functions and branches under names of the graph that they are put into.

use crate::draft::Draft;
use crate::proto::{AttributeProto, FunctionProto, GraphProto, NodeProto};
use std::collections::HashMap;

/// Names in a body, and what they are called outside.
pub(crate) type Names = HashMap<String, String>;

/// Gives every name that `nodes` define a new one, unless `names` has one for it already.
pub(crate) fn define(
    draft: &mut Draft,
    names: &mut Names,
    hint: &str,
    defined: impl Iterator<Item = String>,
) {
    for name in defined.filter(|n| !n.is_empty()) {
        names.entry(name).or_insert_with_key(|name| {
            let id = draft.extra(&format!("{hint}/{name}"));
            draft.graph.value(id).name.clone()
        });
    }
}

/// `n` with other names of values, in the graphs that it holds too.
pub(crate) fn renamed(n: &NodeProto, names: &Names) -> NodeProto {
    let mut out = n.clone();
    rename(&mut out, names);
    out
}

fn rename(n: &mut NodeProto, names: &Names) {
    for name in n.input.iter_mut().chain(&mut n.output) {
        if let Some(new) = names.get(name) {
            name.clone_from(new);
        }
    }
    for g in n.attribute.iter_mut().flat_map(|a| a.g.iter_mut().chain(&mut a.graphs)) {
        rename_graph(g, names);
    }
}

/// Renames what a graph reads from outside; names that it defines itself hide others.
fn rename_graph(g: &mut GraphProto, names: &Names) {
    let own = defined(g);
    let hidden = |name: &String| own.contains(name);
    let names: Names =
        names.iter().filter(|(k, _)| !hidden(k)).map(|(k, v)| (k.clone(), v.clone())).collect();
    g.node.iter_mut().for_each(|n| rename(n, &names));
    for v in &mut g.output {
        if let Some(new) = names.get(&v.name) {
            v.name.clone_from(new);
        }
    }
}

/// Names that a graph defines: inputs, constants, outputs of nodes.
pub(crate) fn defined(g: &GraphProto) -> std::collections::HashSet<String> {
    let inputs = g.input.iter().map(|v| &v.name);
    let constants = g.initializer.iter().map(|t| &t.name);
    inputs.chain(constants).chain(g.node.iter().flat_map(|n| &n.output)).cloned().collect()
}

/// The nodes of `f` for the call `n`: with the call's inputs, outputs and attributes, and names of their own otherwise.
pub(crate) fn call(draft: &mut Draft, f: &FunctionProto, n: &NodeProto) -> Vec<NodeProto> {
    let mut names = Names::new();
    let given = |list: &[String], i: usize| list.get(i).cloned().unwrap_or_default();
    for (i, name) in f.input.iter().enumerate() {
        names.insert(name.clone(), given(&n.input, i));
    }
    let computed: std::collections::HashSet<&String> = f.node.iter().flat_map(|n| &n.output).collect();
    let mut passed = Vec::new();
    for (i, name) in f.output.iter().enumerate() {
        let outside = given(&n.output, i);
        if outside.is_empty() {
            continue;
        }
        // An output may be an input, or given twice.
        match computed.contains(name) && !names.contains_key(name) {
            true => drop(names.insert(name.clone(), outside)),
            false => passed.push((name.clone(), outside)),
        }
    }
    let hint = if n.name.is_empty() { given(&n.output, 0) } else { n.name.clone() };
    define(draft, &mut names, &hint, f.node.iter().flat_map(|n| n.output.clone()));
    let mut body: Vec<NodeProto> = f.node.iter().map(|inner| renamed(inner, &names)).collect();
    body.iter_mut().for_each(|inner| fill(inner, f, n));
    for (name, outside) in passed {
        let from = names.get(&name).cloned().unwrap_or(name);
        body.push(identity(&from, &outside));
    }
    body
}

/// A node that gives `x` the name `y`.
pub(crate) fn identity(x: &str, y: &str) -> NodeProto {
    NodeProto {
        name: y.into(),
        op_type: "Identity".into(),
        input: vec![x.into()],
        output: vec![y.into()],
        ..NodeProto::default()
    }
}

/// Puts the call's attributes, or the function's defaults, in the place of references to them.
fn fill(inner: &mut NodeProto, f: &FunctionProto, call: &NodeProto) {
    let value = |name: &str| {
        let of = |list: &[AttributeProto]| list.iter().find(|a| a.name == name).cloned();
        of(&call.attribute).or_else(|| of(&f.attribute_proto))
    };
    inner.attribute = std::mem::take(&mut inner.attribute)
        .into_iter()
        .filter_map(|a| match a.ref_attr_name.is_empty() {
            true => Some(a),
            false => value(&a.ref_attr_name).map(|v| AttributeProto { name: a.name, ..v }),
        })
        .collect();
    for g in inner.attribute.iter_mut().flat_map(|a| a.g.iter_mut().chain(&mut a.graphs)) {
        g.node.iter_mut().for_each(|n| fill(n, f, call));
    }
}
