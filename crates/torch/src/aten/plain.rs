//! Operators of Python values: numbers, lists, dictionaries, text. Free sizes are numbers too.

use super::math;
use crate::net::{Followed, Net, wrong};
use crate::value::Value;
use ampoule_graph::op::{Binary, Unary};
use ampoule_graph::{DType, Dim, Op};

/// Elements of all lists that one operator makes.
const ITEMS: usize = 1 << 20;

/// The result of an operator whose arguments are no tensors; `None` where it is not one of these.
pub(super) fn call(net: &mut Net, name: &str, args: &[Value]) -> Followed<Option<Value>> {
    if let Some(v) = identity(name, args) {
        return Ok(Some(v));
    }
    let tensors = args.iter().any(|v| matches!(v, Value::Tensor(_)));
    if let (false, Some(v)) = (matches!(args.first(), Some(Value::Tensor(_))), container(net, name, args)?) {
        return Ok(Some(v));
    }
    if tensors || args.iter().any(Value::is_poisoned) {
        return Ok(None);
    }
    match args {
        [x] => one(net, name, x),
        [x, y] => two(net, name, x, y),
        _ => Ok(None),
    }
}

/// Whether things are the same or there at all.
fn identity(name: &str, args: &[Value]) -> Option<Value> {
    let same = |x: &Value, y: &Value| match (x, y) {
        (Value::None | Value::Missing, Value::None | Value::Missing) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::Tensor(a), Value::Tensor(b)) => a.same(b),
        _ => false,
    };
    match (name, args) {
        ("__is__", [x, y]) => Some(Value::Bool(same(x, y))),
        ("__isnot__", [x, y]) => Some(Value::Bool(!same(x, y))),
        ("unchecked_cast" | "unchecked_unwrap_optional", [x]) => Some(x.clone()),
        ("is_scripting", []) => Some(Value::Bool(true)),
        (
            "is_tracing"
            | "is_grad_enabled"
            | "is_autocast_enabled"
            | "is_cuda"
            | "is_mkldnn"
            | "requires_grad"
            | "is_quantized"
            | "is_nested"
            | "is_sparse"
            | "is_complex"
            | "is_inference",
            _,
        ) => Some(Value::Bool(false)),
        ("device", _) => Some(Value::Text("cpu".into())),
        (
            "warn"
            | "print"
            | "warnings"
            | "manual_seed"
            | "set_grad_enabled"
            | "_assert_tensor_metadata"
            | "_assert_scalar"
            | "sym_constrain_range_for_size"
            | "sym_constrain_range",
            _,
        ) => Some(Value::None),
        _ => None,
    }
}

/// Counts from the end where it is negative.
fn position(i: i64, n: usize) -> Followed<usize> {
    let at = if i < 0 { i + n as i64 } else { i };
    match usize::try_from(at).ok().filter(|&a| a < n) {
        Some(a) => Ok(a),
        None => wrong(format!("index {i} of a list of {n}")),
    }
}

/// Whether two plain values are equal; `None` where that cannot be told.
fn equal(net: &mut Net, x: &Value, y: &Value) -> Option<bool> {
    Some(match (x, y) {
        (Value::None, Value::None) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::Float(a), Value::Float(b)) => a == b,
        (Value::Int(a), Value::Float(b)) | (Value::Float(b), Value::Int(a)) => *a as f64 == *b,
        (Value::Text(a), Value::Text(b)) => a == b,
        (Value::Symbol(a), Value::Symbol(b)) => {
            let (p, q) = (net.dim(x), net.dim(y));
            return (a == b || (p != Dim::Unknown && p == q)).then_some(true);
        }
        (Value::Symbol(_), _) | (_, Value::Symbol(_)) => return None,
        _ => match (x.items(), y.items()) {
            (Some(a), Some(b)) => {
                if a.len() != b.len() {
                    return Some(false);
                }
                for (p, q) in a.iter().zip(&b) {
                    if !equal(net, p, q)? {
                        return Some(false);
                    }
                }
                true
            }
            _ => false,
        },
    })
}

fn container(net: &mut Net, name: &str, args: &[Value]) -> Followed<Option<Value>> {
    Ok(Some(match (name, args) {
        ("len", [Value::Text(t)]) => Value::Int(t.chars().count() as i64),
        ("len", [Value::Dict(d)]) => Value::Int(d.borrow().len() as i64),
        ("len", [v]) => match v.items() {
            Some(items) => Value::Int(items.len() as i64),
            None => return Ok(None),
        },
        ("__getitem__", [Value::Dict(d), key]) => {
            let entries = d.borrow().clone();
            for (k, v) in entries {
                if equal(net, &k, key) == Some(true) {
                    return Ok(Some(v));
                }
            }
            return wrong("a key that the dictionary does not have");
        }
        ("__getitem__", [list, Value::Int(i)]) => match list.items() {
            Some(items) => items[position(*i, items.len())?].clone(),
            None => return Ok(None),
        },
        ("_set_item", [Value::List(l), Value::Int(i), v]) => {
            let n = l.borrow().len();
            l.borrow_mut()[position(*i, n)?] = v.clone();
            Value::None
        }
        ("_set_item", [Value::Dict(d), key, v]) => {
            let at = d.borrow().clone().iter().position(|(k, _)| equal(net, k, key) == Some(true));
            match at {
                Some(at) => d.borrow_mut()[at].1 = v.clone(),
                None => d.borrow_mut().push((key.clone(), v.clone())),
            }
            Value::None
        }
        ("append", [Value::List(l), v]) => {
            bounded(l.borrow().len() + 1)?;
            l.borrow_mut().push(v.clone());
            args[0].clone()
        }
        ("extend", [Value::List(l), v]) => {
            let more = v.items().unwrap_or_default();
            bounded(l.borrow().len() + more.len())?;
            l.borrow_mut().extend(more);
            Value::None
        }
        ("insert", [Value::List(l), Value::Int(i), v]) => {
            let n = l.borrow().len();
            bounded(n + 1)?;
            let at = (if *i < 0 { i + n as i64 } else { *i }).clamp(0, n as i64);
            l.borrow_mut().insert(at as usize, v.clone());
            Value::None
        }
        ("pop", [Value::List(l), rest @ ..]) => {
            let i = match rest {
                [Value::Int(i)] => *i,
                _ => -1,
            };
            let n = l.borrow().len();
            l.borrow_mut().remove(position(i, n)?)
        }
        ("reverse", [Value::List(l)]) => {
            l.borrow_mut().reverse();
            Value::None
        }
        ("list" | "copy", [v]) => match v.items() {
            Some(items) => Value::list(items),
            None => return Ok(None),
        },
        ("slice", [v, rest @ ..]) if v.items().is_some() => sliced(&v.items().unwrap_or_default(), rest)?,
        ("keys", [Value::Dict(d)]) => Value::list(d.borrow().iter().map(|e| e.0.clone()).collect()),
        ("values", [Value::Dict(d)]) => Value::list(d.borrow().iter().map(|e| e.1.clone()).collect()),
        ("items", [Value::Dict(d)]) => {
            let pair = |e: &(Value, Value)| Value::Tuple(std::rc::Rc::new([e.0.clone(), e.1.clone()]));
            Value::list(d.borrow().iter().map(pair).collect())
        }
        ("__contains__", [Value::Dict(d), key]) => {
            let keys: Vec<Value> = d.borrow().iter().map(|e| e.0.clone()).collect();
            Value::Bool(keys.iter().any(|k| equal(net, k, key) == Some(true)))
        }
        ("__contains__", [list, v]) if list.items().is_some() => {
            let items = list.items().unwrap_or_default();
            Value::Bool(items.iter().any(|k| equal(net, k, v) == Some(true)))
        }
        ("format", _) => Value::Text("".into()),
        // How a loop over a range that does not begin at 0 is written.
        ("__range_length", [Value::Int(start), Value::Int(end), Value::Int(step)]) if *step != 0 => {
            let (start, end, step) = (*start as i128, *end as i128, *step as i128);
            let n = (end - start + step - step.signum()) / step;
            Value::Int(n.clamp(0, i64::MAX as i128) as i64)
        }
        ("__derive_index", [Value::Int(i), Value::Int(start), Value::Int(step)]) => {
            Value::Int(i.saturating_mul(*step).saturating_add(*start))
        }
        ("add", [x, y]) if x.items().is_some() && y.items().is_some() => {
            let all = [x.items().unwrap_or_default(), y.items().unwrap_or_default()].concat();
            bounded(all.len())?;
            Value::list(all)
        }
        ("mul", [x, Value::Int(n)]) if x.items().is_some() => {
            let items = x.items().unwrap_or_default();
            let n = (*n).clamp(0, ITEMS as i64) as usize;
            bounded(items.len().saturating_mul(n))?;
            Value::list((0..n).flat_map(|_| items.iter().cloned()).collect())
        }
        ("max" | "min" | "sum", [list]) if list.items().is_some() => {
            let mut items = list.items().unwrap_or_default().into_iter();
            let Some(mut best) = items.next() else { return wrong("an extreme of nothing") };
            let name = if name == "sum" { "add" } else { name };
            for v in items {
                best = match two(net, name, &best, &v)? {
                    Some(v) => v,
                    None => return Ok(None),
                };
            }
            best
        }
        _ => return Ok(None),
    }))
}

fn bounded(n: usize) -> Followed<()> {
    if n > ITEMS { wrong(format!("a list of more than {ITEMS} elements")) } else { Ok(()) }
}

/// `list[start:end:step]`.
fn sliced(items: &[Value], rest: &[Value]) -> Followed<Value> {
    let n = items.len() as i64;
    let at = |i: usize, default: i64| match rest.get(i) {
        Some(Value::Int(v)) => *v,
        _ => default,
    };
    let fix = |v: i64| (if v < 0 { v.saturating_add(n) } else { v }).clamp(0, n);
    let (start, end, step) = (fix(at(0, 0)), fix(at(1, n)), at(2, 1));
    if step < 1 {
        return wrong("a list sliced backwards");
    }
    let indices = (start..end).step_by(step as usize);
    Ok(Value::list(indices.map(|i| items[i as usize].clone()).collect()))
}

fn one(net: &mut Net, name: &str, x: &Value) -> Followed<Option<Value>> {
    let unary = |net: &mut Net, u: Unary, to: Option<DType>| -> Followed<Option<Value>> {
        let id = net.operand(x)?;
        let id = net.one(Op::Unary(u), &[id])?;
        let id = to.map_or(Ok(id), |d| net.cast(id, d))?;
        Ok(Some(Value::Symbol(id)))
    };
    Ok(Some(match (name, x) {
        ("__not__", Value::Bool(b)) => Value::Bool(!b),
        ("__not__", Value::Int(n)) => Value::Bool(*n == 0),
        ("__not__", Value::Symbol(_)) => return unary(net, Unary::Not, None),
        ("neg", Value::Int(n)) => Value::Int(n.wrapping_neg()),
        ("neg", Value::Float(v)) => Value::Float(-v),
        ("neg", Value::Symbol(_)) => return unary(net, Unary::Neg, None),
        ("abs", Value::Int(n)) => Value::Int(n.wrapping_abs()),
        ("abs", Value::Float(v)) => Value::Float(v.abs()),
        ("floor" | "ceil" | "round", Value::Int(_)) => x.clone(),
        ("floor", Value::Float(v)) => Value::Int(v.floor() as i64),
        ("ceil", Value::Float(v)) => Value::Int(v.ceil() as i64),
        ("round", Value::Float(v)) => Value::Int(v.round_ties_even() as i64),
        ("floor", Value::Symbol(_)) => return unary(net, Unary::Floor, Some(DType::I64)),
        ("ceil", Value::Symbol(_)) => return unary(net, Unary::Ceil, Some(DType::I64)),
        ("sqrt", Value::Int(n)) => Value::Float((*n as f64).sqrt()),
        ("sqrt", Value::Float(v)) => Value::Float(v.sqrt()),
        ("log", Value::Float(v)) => Value::Float(v.ln()),
        ("exp", Value::Float(v)) => Value::Float(v.exp()),
        ("Int" | "IntImplicit" | "int", Value::Float(v)) => Value::Int(*v as i64),
        ("Int" | "IntImplicit" | "int" | "ScalarImplicit" | "item", Value::Int(_)) => x.clone(),
        ("Int" | "int", Value::Bool(b)) => Value::Int(*b as i64),
        ("Int" | "IntImplicit" | "int", Value::Symbol(id)) => Value::Symbol(net.cast(*id, DType::I64)?),
        ("ScalarImplicit" | "item" | "NumToTensor", Value::Symbol(_)) => x.clone(),
        ("Float" | "FloatImplicit" | "float", Value::Int(n)) => Value::Float(*n as f64),
        ("Float" | "FloatImplicit" | "float" | "ScalarImplicit" | "item", Value::Float(_)) => x.clone(),
        ("Float" | "float", Value::Text(t)) => match t.trim().parse() {
            Ok(v) => Value::Float(v),
            Err(_) => return wrong("text that is no number"),
        },
        ("Float" | "FloatImplicit" | "float", Value::Symbol(id)) => Value::Symbol(net.cast(*id, DType::F32)?),
        ("Bool" | "bool" | "item", Value::Bool(_)) => x.clone(),
        ("Bool" | "bool", Value::Int(n)) => Value::Bool(*n != 0),
        ("str", _) => Value::Text("".into()),
        _ => return Ok(None),
    }))
}

/// Of two whole numbers.
fn whole(name: &str, a: i64, b: i64) -> Followed<Option<Value>> {
    let by = |f: fn(i64, i64) -> Option<i64>| match f(a, b) {
        Some(n) => Ok(Some(Value::Int(n))),
        None => wrong("a whole number beyond 64 bits, or divided by zero"),
    };
    let floored = |a: i64, b: i64| {
        let q = a.checked_div(b)?;
        Some(if a % b != 0 && (a < 0) != (b < 0) { q - 1 } else { q })
    };
    Ok(Some(match name {
        "add" => return by(i64::checked_add),
        "sub" => return by(i64::checked_sub),
        "mul" => return by(i64::checked_mul),
        "floordiv" | "floor_divide" => return by(floored),
        "remainder" | "mod" => return by(|a, b| a.checked_rem_euclid(b)),
        "pow" => return by(|a, b| a.checked_pow(u32::try_from(b).ok()?)),
        "div" | "truediv" if b != 0 => Value::Float(a as f64 / b as f64),
        "min" => Value::Int(a.min(b)),
        "max" => Value::Int(a.max(b)),
        "__and__" => Value::Int(a & b),
        "__or__" => Value::Int(a | b),
        "lt" => Value::Bool(a < b),
        "le" => Value::Bool(a <= b),
        "gt" => Value::Bool(a > b),
        "ge" => Value::Bool(a >= b),
        _ => return Ok(None),
    }))
}

/// Of two numbers.
fn real(name: &str, a: f64, b: f64) -> Option<Value> {
    Some(match name {
        "add" => Value::Float(a + b),
        "sub" => Value::Float(a - b),
        "mul" => Value::Float(a * b),
        "div" | "truediv" => Value::Float(a / b),
        "floordiv" | "floor_divide" => Value::Float((a / b).floor()),
        "remainder" | "mod" => Value::Float(a - b * (a / b).floor()),
        "pow" => Value::Float(a.powf(b)),
        "min" => Value::Float(a.min(b)),
        "max" => Value::Float(a.max(b)),
        "lt" => Value::Bool(a < b),
        "le" => Value::Bool(a <= b),
        "gt" => Value::Bool(a > b),
        "ge" => Value::Bool(a >= b),
        _ => return None,
    })
}

/// Of numbers of which at least one is free.
fn free(net: &mut Net, name: &str, x: &Value, y: &Value) -> Followed<Option<Value>> {
    // A size is at least one.
    let is_size = |net: &mut Net, v: &Value| matches!(net.dim(v), Dim::Symbol(_));
    if let (true, Value::Int(n)) = (is_size(net, x), y) {
        match name {
            "gt" if *n < 1 => return Ok(Some(Value::Bool(true))),
            "ge" if *n < 2 => return Ok(Some(Value::Bool(true))),
            "lt" if *n < 2 => return Ok(Some(Value::Bool(false))),
            "le" if *n < 1 => return Ok(Some(Value::Bool(false))),
            _ => {}
        }
    }
    let op = match name {
        "add" => Binary::Add,
        "sub" => Binary::Sub,
        "mul" => Binary::Mul,
        "floordiv" | "floor_divide" | "div" | "truediv" => Binary::Div,
        "remainder" | "mod" => Binary::Mod { fmod: false },
        "pow" => Binary::Pow,
        "eq" | "ne" => Binary::Equal,
        "lt" => Binary::Less,
        "le" => Binary::LessOrEqual,
        "gt" => Binary::Greater,
        "ge" => Binary::GreaterOrEqual,
        "__and__" => Binary::And,
        "__or__" => Binary::Or,
        "min" | "max" => {
            let kind = if name == "min" {
                ampoule_graph::op::Variadic::Min
            } else {
                ampoule_graph::op::Variadic::Max
            };
            let (a, b) = math::promoted(net, x, y)?;
            let id = net.one(Op::Variadic(kind), &[a, b])?;
            return Ok(Some(net.settled(id)));
        }
        _ => return Ok(None),
    };
    let id = if matches!(name, "div" | "truediv") {
        let (a, b) = math::promoted(net, x, y)?;
        let (a, b) = (net.cast(a, DType::F32)?, net.cast(b, DType::F32)?);
        net.one(Op::Binary(op), &[a, b])?
    } else {
        math::two(net, op, x, y)?
    };
    let id = if name == "ne" { net.one(Op::Unary(Unary::Not), &[id])? } else { id };
    Ok(Some(net.settled(id)))
}

fn two(net: &mut Net, name: &str, x: &Value, y: &Value) -> Followed<Option<Value>> {
    if matches!(name, "eq" | "ne")
        && let Some(same) = equal(net, x, y)
    {
        return Ok(Some(Value::Bool(same == (name == "eq"))));
    }
    match (x, y) {
        (Value::Symbol(_), Value::Symbol(_) | Value::Int(_) | Value::Float(_) | Value::Bool(_))
        | (Value::Int(_) | Value::Float(_) | Value::Bool(_), Value::Symbol(_)) => free(net, name, x, y),
        (Value::Bool(a), Value::Bool(b)) => Ok(match name {
            "__and__" => Some(Value::Bool(*a && *b)),
            "__or__" => Some(Value::Bool(*a || *b)),
            "__xor__" => Some(Value::Bool(a != b)),
            _ => whole(name, *a as i64, *b as i64)?,
        }),
        (Value::Int(a), Value::Int(b)) => whole(name, *a, *b),
        (Value::Bool(a), Value::Int(b)) => whole(name, *a as i64, *b),
        (Value::Int(a), Value::Bool(b)) => whole(name, *a, *b as i64),
        (Value::Int(a), Value::Float(b)) => Ok(real(name, *a as f64, *b)),
        (Value::Float(a), Value::Int(b)) => Ok(real(name, *a, *b as f64)),
        (Value::Float(a), Value::Float(b)) => Ok(real(name, *a, *b)),
        (Value::Text(a), Value::Text(b)) if name == "add" => Ok(Some(Value::Text(format!("{a}{b}").into()))),
        _ => Ok(None),
    }
}
