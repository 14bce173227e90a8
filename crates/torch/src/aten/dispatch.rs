//! From an operator's name and arguments to its row.

use super::{place, plain, table};
use crate::args::Args;
use crate::net::{Followed, Net, wrong};
use crate::value::Value;
use std::collections::HashMap;
use std::sync::OnceLock;

/// An argument with its name.
pub(crate) type Named = (std::rc::Rc<str>, Value);

/// Parameters that say where and how values lie, which is nobody's business here.
const IGNORED: [&str; 14] = [
    "memory_format",
    "layout",
    "device",
    "pin_memory",
    "non_blocking",
    "copy",
    "cudnn_enabled",
    "requires_grad",
    "generator",
    "implicit",
    "antialias_",
    "is_coalesced",
    "inplace",
    "enable_gqa",
];

struct Entry {
    names: Vec<Vec<&'static str>>,
    first: Vec<&'static str>,
    run: super::Run,
}

/// All rows by name.
fn entries() -> &'static HashMap<&'static str, Entry> {
    static ENTRIES: OnceLock<HashMap<&'static str, Entry>> = OnceLock::new();
    ENTRIES.get_or_init(|| {
        let entry = |(name, parameters, run): super::Row| {
            let names: Vec<Vec<&str>> = parameters.split(' ').map(|p| p.split('/').collect()).collect();
            let first = names.iter().map(|n| n[0]).collect();
            (name, Entry { names, first, run })
        };
        table::rows().map(entry).collect()
    })
}

/// Calls the operator `name` (without domain and overload) with these arguments.
///
/// An operator that is not known is noted, and gives a value that stands for nothing.
pub(crate) fn call(net: &mut Net, name: &str, args: &[Value], named: &[Named]) -> Followed<Value> {
    let poisoned = args.iter().chain(named.iter().map(|n| &n.1)).any(Value::is_poisoned);
    if let Some(result) = plain::call(net, name, args)? {
        return Ok(result);
    }
    let (base, in_place) = match name.strip_suffix('_') {
        Some(base) if !name.starts_with("__") && !entries().contains_key(name) => (base, true),
        _ => (name, false),
    };
    let Some(entry) = entries().get(base) else {
        net.note_unknown(&format!("aten::{name}"));
        return Ok(Value::Poison);
    };
    if poisoned {
        return Ok(Value::Poison);
    }
    let values = bound(entry, args, named)?;
    let result = (entry.run)(net, &Args { values: &values, names: &entry.first })?;
    if !in_place {
        return Ok(result);
    }
    let (Some(Value::Tensor(target)), Value::Tensor(new)) = (values.first(), &result) else {
        return wrong("it works in place on what is not a tensor");
    };
    if new.same(target) {
        return Ok(result);
    }
    let id = net.id(new)?;
    place::assign(net, target, id)?;
    Ok(Value::Tensor(target.clone()))
}

/// Arguments in the order of the parameters.
fn bound(entry: &Entry, args: &[Value], named: &[Named]) -> Followed<Vec<Value>> {
    let mut values = vec![Value::Missing; entry.names.len()];
    if args.len() > values.len() {
        return wrong(format!("{} arguments are given, {} are known", args.len(), values.len()));
    }
    values[..args.len()].clone_from_slice(args);
    for (name, value) in named {
        match entry.names.iter().position(|n| n.contains(&&**name)) {
            Some(at) => values[at] = value.clone(),
            None if IGNORED.contains(&&**name) || matches!(value, Value::None) => {}
            None => return wrong(format!("the argument `{name}` is not known")),
        }
    }
    Ok(values)
}
