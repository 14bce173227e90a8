//! From a program of PyTorch to a graph: inputs of free sizes, and what is learned of them on the way.

use crate::net::{Net, Stop};
use crate::outline::{finished, input, output};
use crate::script::{self, Program};
use crate::value::{Object, Value};
use crate::{Budget, Error, Result, export};
use ampoule_graph::{DType, Dim, Graph};
use std::collections::BTreeMap;

/// Sizes of an input, outermost first; `None` is free.
pub type InputShape = Vec<Option<usize>>;

/// Stack of the thread that follows a program: calls and expressions nest within bounds, and each level takes some.
const STACK: usize = 512 << 20;
/// More tries than there are axes whose sizes can be learned.
const TRIES: usize = 64;
/// Numbers of axes that are tried where no operator says how many there are.
const RANKS: [usize; 4] = [4, 5, 3, 2];

/// What an archive holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A network with its code or its graph.
    Program,
    /// A checkpoint: weights without a network.
    Weights,
    /// Nothing of PyTorch.
    Other,
}

/// What the zip archive `bytes` holds.
pub fn content(bytes: &[u8], budget: Budget) -> Result<Content> {
    let names = crate::Archive::new(std::io::Cursor::new(bytes), budget)?.names();
    Ok(if export::is_one(&names) || Program::is_one(&names) {
        Content::Program
    } else if names.iter().any(|n| n.ends_with("/data.pkl")) {
        Content::Weights
    } else {
        Content::Other
    })
}

/// Makes a graph of a TorchScript or `torch.export` archive.
///
/// Traced and scripted modules do not say what shape their input has. Sizes that `shapes` does not give are free; those
/// that the network itself settles (its channels, its number of axes) are taken from it, and a batch of one is taken
/// where it decides by the batch.
///
/// Fails for archives of other content, for operators that are not known (all are named, with their place), and where a
/// free size decides what the program does.
pub fn graph(bytes: &[u8], shapes: &[InputShape], budget: Budget) -> Result<Graph> {
    std::thread::scope(|s| {
        let work =
            std::thread::Builder::new().stack_size(STACK).spawn_scoped(s, || followed(bytes, shapes, budget));
        let work = work.map_err(|source| Error::Io { path: "thread".into(), source })?;
        work.join().unwrap_or_else(|_| {
            Err(Error::Code { place: "the program".into(), reason: "following it failed".into() })
        })
    })
}

fn followed(bytes: &[u8], shapes: &[InputShape], budget: Budget) -> Result<Graph> {
    let names = crate::Archive::new(std::io::Cursor::new(bytes), budget)?.names();
    if export::is_one(&names) {
        return export::graph(bytes, &names, budget);
    }
    if !Program::is_one(&names) {
        return Err(Error::NoProgram);
    }
    let program = Program::read(bytes, budget)?;
    let mut plan = Plan { rank: None, at: 0, known: BTreeMap::new(), shapes };
    let mut first: Option<Error> = None;
    for _ in 0..TRIES {
        let mut net = Net::default();
        let stop = match attempt(&program, &mut net, &plan) {
            Ok(graph) => return Ok(graph),
            Err(stop) => stop,
        };
        if let (Some(e), Stop::Wrong(_) | Stop::Free(_)) = (net.unsupported(), &stop) {
            return Err(e.into());
        }
        let place = net.place.clone();
        match stop {
            Stop::Size { symbol, size } if plan.known.insert(symbol.clone(), size).is_none() => {}
            Stop::Rank(rank) if plan.rank.is_none() && rank > 0 => plan.rank = Some(rank),
            Stop::Free(_) if !plan.known.contains_key("batch") => {
                plan.known.insert("batch".into(), 1);
            }
            Stop::Free(reason) => return Err(first.unwrap_or(Error::Free { place, reason })),
            Stop::Wrong(reason) => {
                let error = Error::Code { place, reason };
                let guessed = plan.rank.is_none() && plan.shapes.is_empty();
                if !guessed || plan.at + 1 == RANKS.len() {
                    return Err(first.unwrap_or(error));
                }
                first = first.or(Some(error));
                plan.at += 1;
                plan.known.clear();
            }
            Stop::Size { symbol, size } => {
                let reason = format!("`{symbol}` has to be {size} here, and another size elsewhere");
                return Err(Error::Code { place, reason });
            }
            Stop::Rank(rank) => {
                let reason = format!("the input has to have {rank} axes here, and others elsewhere");
                return Err(Error::Code { place, reason });
            }
            Stop::Error(e) => return Err(e),
        }
    }
    Err(first.unwrap_or(Error::Code {
        place: "the program".into(),
        reason: "its input's shape cannot be found".into(),
    }))
}

/// What is taken of the inputs.
struct Plan<'a> {
    /// Axes, where an operator said how many.
    rank: Option<usize>,
    /// Which of [`RANKS`] is tried.
    at: usize,
    /// Sizes that were learned, by the name of the axis.
    known: BTreeMap<String, usize>,
    shapes: &'a [InputShape],
}

impl Plan<'_> {
    /// Dimensions of input `i`.
    fn dims(&self, i: usize) -> Vec<Dim> {
        let given = self.shapes.get(i);
        let rank = given.map_or(self.rank.unwrap_or(RANKS[self.at]), Vec::len);
        let names: &[&str] = match rank {
            5 => &["batch", "channels", "depth", "height", "width"],
            4 => &["batch", "channels", "height", "width"],
            3 => &["batch", "channels", "length"],
            _ => &["batch", "features"],
        };
        let axis = |a: usize| {
            if let Some(Some(n)) = given.and_then(|g| g.get(a)) {
                return Dim::Known(*n);
            }
            let name = names.get(a).map_or(format!("axis{a}"), |n| n.to_string());
            let name = if i == 0 || a == 0 { name } else { format!("{name}_{i}") };
            self.known.get(&name).map_or(Dim::Symbol(name), |n| Dim::Known(*n))
        };
        (0..rank).map(axis).collect()
    }
}

fn attempt(program: &Program, net: &mut Net, plan: &Plan) -> std::result::Result<Graph, Stop> {
    net.guessed = plan.rank.is_none() && plan.shapes.is_empty();
    let mut inputs = Vec::new();
    for (i, name) in script::inputs(program)?.iter().enumerate() {
        let id = input(net, name, DType::F32, plan.dims(i));
        inputs.push(net.tensor(id));
    }
    let out = script::follow(program, net, inputs)?;
    if let Some(e) = net.unsupported() {
        return Err(Stop::Error(e.into()));
    }
    outputs(net, &out)?;
    finished(net)
}

/// Declares all tensors of a result outputs, under their keys where they have some.
fn outputs(net: &mut Net, result: &Value) -> std::result::Result<(), Stop> {
    let mut found = Vec::new();
    named_tensors(result, "output", &mut found, 0);
    if found.is_empty() {
        return Err(Stop::Wrong(format!("it gives {} and no tensor", result.kind())));
    }
    for (name, v) in found {
        let id = net.operand(&v)?;
        output(net, id, &name)?;
    }
    Ok(())
}

fn named_tensors(v: &Value, name: &str, out: &mut Vec<(String, Value)>, depth: usize) {
    if depth > 8 || out.len() > 256 {
        return;
    }
    match v {
        Value::Tensor(_) => out.push((name.to_owned(), v.clone())),
        Value::Dict(d) => {
            for (k, v) in d.borrow().iter() {
                let key = if let Value::Text(k) = k { k.to_string() } else { name.to_owned() };
                named_tensors(v, &key, out, depth + 1);
            }
        }
        Value::Object(o) => {
            let Object { fields, .. } = &**o;
            let mut fields: Vec<_> = fields.borrow().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            fields.iter().for_each(|(k, v)| named_tensors(v, k, out, depth + 1));
        }
        other => {
            let items = other.items().unwrap_or_default();
            let one = items.len() == 1;
            for (i, v) in items.iter().enumerate() {
                let name = if one { name.to_owned() } else { format!("{name}_{i}") };
                named_tensors(v, &name, out, depth + 1);
            }
        }
    }
}
