//! From the heap of a pickle to named tensors and plain values.

use crate::budget::Meter;
use crate::pickle::{Id, Pickle, Value};
use crate::rebuild;
use crate::storage::Storages;
use crate::{Error, Plain, Result, archive, numpy};
use ampoule_graph::Tensor;
use std::collections::BTreeMap;

fn bad(reason: impl Into<String>) -> Error {
    Error::Pickle(reason.into())
}

/// More values that lie in containers of containers than any checkpoint has.
const VISITS: usize = 1_000_000;
/// Containers in one another.
const DEPTH: usize = 60;
/// Longest name of a tensor in bytes.
const NAME: usize = 4096;
/// Bytes of all texts and bytes that are no tensors.
const TEXTS: usize = 256 << 20;
/// Dictionaries of a pickled module that hold its tensors and modules under their own names.
const OF_MODULES: [&str; 3] = ["_parameters", "_buffers", "_modules"];

/// Walks over the objects of a pickle.
pub(crate) struct Collector<'a, 'b, 's> {
    p: &'a Pickle,
    storages: &'b mut Storages<'s>,
    meter: Meter,
    /// Dotted path of the value that is looked at; `None` behind keys that are no names.
    path: String,
    named: bool,
    visits: usize,
    texts: usize,
    bytes: u64,
    /// What was found.
    pub tensors: BTreeMap<String, Tensor>,
}

impl<'a, 'b, 's> Collector<'a, 'b, 's> {
    pub fn new(p: &'a Pickle, storages: &'b mut Storages<'s>, meter: Meter) -> Self {
        let (path, tensors) = (String::new(), BTreeMap::new());
        Collector { p, storages, meter, path, named: true, visits: 0, texts: 0, bytes: 0, tensors }
    }

    /// The whole pickle.
    pub fn root(&mut self) -> Result<Plain> {
        self.value(self.p.root, 0)
    }

    fn value(&mut self, id: Id, depth: usize) -> Result<Plain> {
        self.visits += 1;
        if self.visits > VISITS {
            return Err(bad(format!("more than {VISITS} values in its modules; save only the state dict")));
        }
        if depth > DEPTH {
            return Err(bad("modules nested too deeply"));
        }
        self.meter.take("its values", 64)?;
        Ok(match self.p.get(id) {
            Value::None => Plain::None,
            Value::Bool(b) => Plain::Bool(*b),
            Value::Int(n) => Plain::Int(*n),
            // Beyond 64 bits: hashes and seeds.
            Value::Long(b) => Plain::Bytes(b.clone()),
            Value::Float(x) => Plain::Float(*x),
            Value::Text(t) => {
                self.text(t.len())?;
                Plain::Text(t.clone())
            }
            Value::Bytes(b) => {
                self.text(b.len())?;
                Plain::Bytes(b.clone())
            }
            Value::Global(name) => Plain::Text(name.clone()),
            Value::Persistent(_) => Plain::Skipped,
            Value::Tuple(items) | Value::List(items) | Value::Set(items) => self.list(items, depth)?,
            Value::Dict(pairs) => Plain::Dict(self.entries(pairs, depth, false)?),
            Value::Call { .. } => self.object(id, depth)?,
        })
    }

    /// Counts bytes that are copied: one text may be recalled many times.
    fn text(&mut self, bytes: usize) -> Result<()> {
        self.texts += bytes;
        if self.texts > TEXTS {
            return Err(bad(format!("more than {TEXTS} bytes of text; save only the state dict")));
        }
        self.meter.take("its values", bytes as u64)
    }

    fn list(&mut self, items: &[Id], depth: usize) -> Result<Plain> {
        let mut out = Vec::new();
        for (i, &item) in items.iter().enumerate() {
            out.push(self.below(&i.to_string(), item, depth)?);
        }
        Ok(Plain::List(out))
    }

    /// The value under a name.
    fn below(&mut self, name: &str, id: Id, depth: usize) -> Result<Plain> {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        if length + name.len() < 2 * NAME {
            self.path.push_str(name);
        } else if self.holds_tensor(id) {
            return Err(bad(format!("a tensor's name of more than {NAME} bytes")));
        }
        let value = self.value(id, depth + 1);
        self.path.truncate(length);
        value
    }

    fn holds_tensor(&self, id: Id) -> bool {
        matches!(self.p.get(id), Value::Call { .. } | Value::Dict(_) | Value::List(_) | Value::Tuple(_))
    }

    fn entries(&mut self, pairs: &[(Id, Id)], depth: usize, module: bool) -> Result<Vec<(Plain, Plain)>> {
        let mut out = Vec::new();
        for &(key, value) in pairs {
            let name = self.p.text(key);
            let found = match name {
                Some(name) if module && OF_MODULES.contains(&name) => self.value(value, depth + 1)?,
                Some(name) => self.below(name, value, depth)?,
                // What has no name is in no module: the state of an optimizer goes by numbers.
                None => {
                    let named = std::mem::replace(&mut self.named, false);
                    let found = self.value(value, depth + 1);
                    self.named = named;
                    found?
                }
            };
            let key = self.value(key, depth + 1)?;
            out.push((key, found));
        }
        Ok(out)
    }

    fn tensor(&mut self, t: Tensor) -> Result<Plain> {
        if self.path.len() > NAME {
            return Err(bad(format!("a tensor's name of more than {NAME} bytes")));
        }
        self.bytes += t.bytes().len() as u64;
        if self.bytes > archive::TOTAL {
            return Err(bad("the tensors are too large together"));
        }
        self.meter.take("its tensors", self.path.len() as u64 + 256)?;
        self.tensors.insert(self.path.clone(), t);
        Ok(Plain::Tensor(self.path.clone()))
    }

    /// What a recorded call stands for.
    fn object(&mut self, id: Id, depth: usize) -> Result<Plain> {
        let p = self.p;
        if let Some(t) = numpy::scalar(p, id)? {
            return Ok(number(&t));
        }
        let Some((name, args)) = p.call(id) else {
            let class = "an object without class".to_owned();
            return Ok(Plain::Object { class, fields: vec![] });
        };
        if !self.named && (name.starts_with("torch._utils.") || name.starts_with("torch._tensor.")) {
            return Ok(Plain::Skipped);
        }
        if let Some(t) = rebuild::tensor(p, id, self.storages, &mut self.meter)? {
            return self.tensor(t);
        }
        if let Some(b) = numpy::bytes_of(p, id) {
            return Ok(Plain::Bytes(b));
        }
        let parts = |ids: &[Id]| -> Vec<&str> { ids.iter().filter_map(|&i| p.text(i)).collect() };
        let root = name.split('.').next().unwrap_or("");
        Ok(match name {
            "collections.OrderedDict" | "collections.defaultdict" | "collections.Counter" => {
                let pairs = p.pairs(id).unwrap_or_default();
                Plain::Dict(self.entries(&pairs, depth, false)?)
            }
            "torch.device" => Plain::Text(parts(args).join(":")),
            _ if root == "pathlib" => Plain::Text(parts(args).join("/").replacen("//", "/", 1)),
            "torch.Size"
            | "builtins.set"
            | "builtins.frozenset"
            | "builtins.list"
            | "builtins.tuple"
            | "__builtin__.set"
            | "__builtin__.frozenset" => match args.first() {
                Some(&items) => self.value(items, depth + 1)?,
                None => Plain::List(vec![]),
            },
            _ => {
                let class = match (name, args.first().map(|&a| p.get(a))) {
                    ("copyreg._reconstructor" | "copy_reg._reconstructor", Some(Value::Global(c))) => {
                        c.clone()
                    }
                    _ => name.to_owned(),
                };
                let pairs = p.pairs(id).unwrap_or_default();
                Plain::Object { class, fields: self.entries(&pairs, depth, true)? }
            }
        })
    }
}

/// A number of numpy's.
fn number(t: &Tensor) -> Plain {
    let truth = t.dtype() == ampoule_graph::DType::Bool;
    match (t.to_i64(), t.to_f64()) {
        (Some(n), _) if truth => Plain::Bool(n.first().is_some_and(|&n| n != 0)),
        (Some(n), _) => n.first().map_or(Plain::None, |&n| Plain::Int(n)),
        (None, Some(x)) => x.first().map_or(Plain::None, |&x| Plain::Float(x)),
        (None, None) => Plain::None,
    }
}
