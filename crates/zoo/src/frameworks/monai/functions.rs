//! The functions that expressions may call.

use super::expression::Between;
use super::operations::{ITEMS, LETTERS, arithmetic, compared, float, order, real, truth, whole};
use serde_json::Value;
use std::cmp::Ordering;

/// The names of all.
const KNOWN: [&str; 21] = [
    "len",
    "int",
    "float",
    "str",
    "bool",
    "abs",
    "round",
    "min",
    "max",
    "sum",
    "list",
    "tuple",
    "dict",
    "range",
    "sorted",
    "copy.copy",
    "copy.deepcopy",
    "deepcopy",
    "os.path.join",
    "np.prod",
    "numpy.prod",
];

/// Whether there is a function of this name.
pub(super) fn is_known(name: &str) -> bool {
    KNOWN.contains(&name)
}

/// What a function makes of some values.
pub(super) fn function(name: &str, given: &[Value]) -> Result<Value, String> {
    let unknown = || format!("a call of `{name}`");
    match (name, given) {
        ("len", [Value::Array(l)]) => Ok(Value::from(l.len())),
        ("len", [Value::Object(m)]) => Ok(Value::from(m.len())),
        ("len", [Value::String(s)]) => Ok(Value::from(s.chars().count())),
        ("int", [v]) if whole(v).is_some() => Ok(Value::from(whole(v).unwrap_or_default())),
        ("int", [Value::Number(n)]) => {
            let v = n.as_f64().unwrap_or_default().trunc();
            if v.abs() < 9e15 { Ok(Value::from(v as i64)) } else { Err("a number beyond all bounds".into()) }
        }
        ("int", [Value::String(s)]) => s.trim().parse::<i64>().map(Value::from).map_err(|_| unknown()),
        ("float", [v]) if float(v).is_some() => real(float(v).unwrap_or_default()),
        ("float", [Value::String(s)]) => s.trim().parse::<f64>().map_err(|_| unknown()).and_then(real),
        ("str", [Value::String(s)]) => Ok(Value::String(s.clone())),
        ("str", [Value::Number(n)]) if n.is_i64() => Ok(Value::String(n.to_string())),
        ("bool", [v]) => Ok(Value::Bool(truth(v))),
        ("abs", [v]) if whole(v).is_some() => {
            let n = whole(v).unwrap_or_default();
            Ok(Value::from(n.checked_abs().ok_or("a number beyond all bounds")?))
        }
        ("abs", [v]) if float(v).is_some() => real(float(v).unwrap_or_default().abs()),
        ("round", [v]) if whole(v).is_some() => Ok(v.clone()),
        ("round", [Value::Number(n)]) => {
            let v = n.as_f64().unwrap_or_default().round_ties_even();
            if v.abs() < 9e15 { Ok(Value::from(v as i64)) } else { Err("a number beyond all bounds".into()) }
        }
        ("min" | "max", [Value::Array(l)]) => extreme(name, l),
        ("min" | "max", [_, _, ..]) => extreme(name, given),
        ("sum", [Value::Array(l)]) => {
            l.iter().try_fold(Value::from(0), |sum, v| arithmetic(Between::Add, sum, v.clone()))
        }
        ("np.prod" | "numpy.prod", [Value::Array(l)]) => {
            l.iter().try_fold(Value::from(1), |product, v| arithmetic(Between::Mul, product, v.clone()))
        }
        ("list" | "tuple", []) => Ok(Value::Array(Vec::new())),
        ("list" | "tuple", [Value::Array(l)]) => Ok(Value::Array(l.clone())),
        ("list" | "tuple", [Value::Object(m)]) => Ok(m.keys().cloned().map(Value::String).collect()),
        ("dict", [Value::Object(m)]) => Ok(Value::Object(m.clone())),
        ("sorted", [Value::Array(l)]) => sorted(l),
        ("copy.copy" | "copy.deepcopy" | "deepcopy", [v]) => Ok(v.clone()),
        ("range", _) => range(given).ok_or_else(unknown),
        ("os.path.join", [_, ..]) => joined(given).ok_or_else(unknown),
        _ => Err(format!("{} with {} values", unknown(), given.len())),
    }
}

fn extreme(name: &str, list: &[Value]) -> Result<Value, String> {
    let Some((first, rest)) = list.split_first() else { return Err(format!("`{name}` of nothing")) };
    let way = if name == "min" { Between::Less } else { Between::More };
    rest.iter().try_fold(first.clone(), |best, v| Ok(if compared(way, v, &best)? { v.clone() } else { best }))
}

fn sorted(list: &[Value]) -> Result<Value, String> {
    let numbers: Option<Vec<f64>> = list.iter().map(float).collect();
    let texts: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
    let mut out = list.to_vec();
    match (numbers, texts) {
        (Some(_), _) => {
            out.sort_by(|a, b| order(a, b).unwrap_or(Ordering::Equal));
        }
        (None, Some(_)) => out.sort_by(|a, b| a.as_str().cmp(&b.as_str())),
        (None, None) => return Err("a sorted list of other things than numbers or texts".into()),
    }
    Ok(Value::Array(out))
}

fn range(given: &[Value]) -> Option<Value> {
    let numbers: Vec<i64> = given.iter().map(whole).collect::<Option<_>>()?;
    let (from, to, step) = match numbers[..] {
        [to] => (0, to, 1),
        [from, to] => (from, to, 1),
        [from, to, step] if step != 0 => (from, to, step),
        _ => return None,
    };
    let mut out = Vec::new();
    let mut at = from;
    while if step > 0 { at < to } else { at > to } {
        if out.len() >= ITEMS {
            return None;
        }
        out.push(Value::from(at));
        at = at.checked_add(step)?;
    }
    Some(Value::Array(out))
}

/// `os.path.join`: an absolute part begins anew.
fn joined(given: &[Value]) -> Option<Value> {
    let mut out = String::new();
    for part in given {
        let part = part.as_str()?;
        if part.starts_with('/') {
            out.clear();
        } else if !out.is_empty() && !out.ends_with('/') {
            out.push('/');
        }
        out.push_str(part);
        if out.len() > LETTERS {
            return None;
        }
    }
    Some(Value::String(out))
}
