//! Checkpoints of frameworks: the weights, and whatever was saved next to them as values.

use super::files::Files;
use crate::pickle::{self, Id, Pickle, Value as Pickled};
use crate::{Result, Weights, torch};
use serde_json::{Map, Number, Value};
use std::io::Cursor;

/// Deepest containers, and most values, of what is saved beside weights.
const DEPTH: usize = 12;
const VALUES: usize = 200_000;

/// A checkpoint of a framework.
pub(crate) struct Checkpoint {
    pub weights: Weights,
    /// What was saved beside the weights; null for what is no plain value.
    pub config: Value,
}

impl Checkpoint {
    /// The checkpoint in a file, whose weights lie under `key`.
    pub fn of(files: &Files, file: &str, key: &str) -> Result<Checkpoint> {
        let bytes = files.read(file)?;
        let about = |e: crate::Error| e.about(&files.path(file));
        let prefix = format!("{key}.");
        let all = torch::read(&bytes).map_err(about)?;
        let weights = all.below(&prefix);
        if weights.is_empty() {
            return Err(files.wrong(file, format!("it holds no `{key}`")));
        }
        Ok(Checkpoint { weights, config: values(&bytes).map_err(about)? })
    }
}

/// The plain values of a checkpoint.
fn values(bytes: &[u8]) -> Result<Value> {
    let main = match bytes.starts_with(b"PK") {
        true => {
            let mut zip = crate::Archive::new(Cursor::new(bytes))?;
            let name = zip.names().into_iter().find(|n| n.ends_with("/data.pkl")).unwrap_or_default();
            zip.read(&name)?
        }
        false => return Ok(Value::Null),
    };
    let p = pickle::read(&main)?;
    let mut left = VALUES;
    Ok(plain(&p, p.root, 0, &mut left))
}

fn plain(p: &Pickle, id: Id, depth: usize, left: &mut usize) -> Value {
    if depth > DEPTH || *left == 0 {
        return Value::Null;
    }
    *left -= 1;
    match p.get(id) {
        Pickled::Bool(b) => Value::Bool(*b),
        Pickled::Int(n) => Value::from(*n),
        Pickled::Float(f) => Number::from_f64(*f).map_or(Value::Null, Value::Number),
        Pickled::Text(t) => Value::String(t.clone()),
        Pickled::Tuple(list) | Pickled::List(list) => {
            list.iter().map(|i| plain(p, *i, depth + 1, left)).collect()
        }
        Pickled::Dict(pairs) => {
            let mut map = Map::new();
            for (k, v) in pairs {
                if let Some(key) = p.text(*k) {
                    map.insert(key.to_owned(), plain(p, *v, depth + 1, left));
                }
            }
            Value::Object(map)
        }
        Pickled::None
        | Pickled::Long(_)
        | Pickled::Bytes(_)
        | Pickled::Global(_)
        | Pickled::Call { .. }
        | Pickled::Persistent(_) => Value::Null,
    }
}
