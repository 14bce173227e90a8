//! Checkpoints of frameworks: the weights, and whatever was saved next to them as values.

use super::files::Files;
use crate::torch::budget;
use crate::{Result, Weights};
use ampoule_graph::Tensor;
use ampoule_torch::Plain;
use serde_json::{Map, Number, Value};
use std::collections::BTreeMap;

/// Deepest containers of what is saved beside weights.
const DEPTH: usize = 12;

/// A checkpoint of a framework.
pub(crate) struct Checkpoint {
    pub weights: Weights,
    /// What was saved beside the weights; null for what is no plain value.
    pub config: Value,
}

impl Checkpoint {
    /// The checkpoint in a file.
    pub fn of(files: &Files, file: &str) -> Result<Checkpoint> {
        let bytes = files.read(file)?;
        let about = |e: ampoule_torch::Error| crate::Error::from(e).about(&files.path(file));
        let read = ampoule_torch::from_bytes(&bytes, budget()).map_err(about)?;
        let state = read.state(false).map_err(about)?;
        Ok(Checkpoint { weights: Weights::of(state.tensors), config: value(&read.values, 0) })
    }
}

/// Most numbers of an array that is part of a configuration.
const NUMBERS: usize = 256;

/// Plain values as a configuration; what is none is null.
pub(super) fn value(p: &Plain, depth: usize) -> Value {
    tree(p, &BTreeMap::new(), depth)
}

/// The same, with arrays of few numbers as lists.
pub(super) fn with_arrays(p: &Plain, arrays: &BTreeMap<String, Tensor>) -> Value {
    tree(p, arrays, 0)
}

/// An array of few numbers as lists of lists.
fn array(t: &Tensor) -> Value {
    fn nested(dims: &[usize], values: &[f64]) -> Value {
        match dims.split_first() {
            None => values.first().and_then(|v| Number::from_f64(*v)).map_or(Value::Null, Value::Number),
            Some((0, _)) => Value::Array(Vec::new()),
            Some((n, rest)) => {
                values.chunks(values.len().div_ceil(*n).max(1)).map(|c| nested(rest, c)).collect()
            }
        }
    }
    let few = t.len() <= NUMBERS;
    t.to_f64().filter(|_| few).map_or(Value::Null, |v| nested(t.dims(), &v))
}

fn tree(p: &Plain, arrays: &BTreeMap<String, Tensor>, depth: usize) -> Value {
    if depth > DEPTH {
        return Value::Null;
    }
    let value = |p: &Plain, depth: usize| tree(p, arrays, depth);
    match p {
        Plain::Tensor(name) => arrays.get(name).map_or(Value::Null, array),
        Plain::Bool(b) => Value::Bool(*b),
        Plain::Int(n) => Value::from(*n),
        Plain::Float(f) => Number::from_f64(*f).map_or(Value::Null, Value::Number),
        Plain::Text(t) => Value::String(t.clone()),
        Plain::List(list) => list.iter().map(|v| value(v, depth + 1)).collect(),
        Plain::Dict(entries) => {
            let mut map = Map::new();
            for (k, v) in entries {
                let key = match k {
                    Plain::Text(t) => t.clone(),
                    Plain::Int(n) => n.to_string(),
                    _ => continue,
                };
                map.insert(key, value(v, depth + 1));
            }
            Value::Object(map)
        }
        Plain::None | Plain::Bytes(_) | Plain::Skipped | Plain::Object { .. } => Value::Null,
    }
}
