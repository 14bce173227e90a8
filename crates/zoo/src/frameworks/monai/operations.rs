//! Operations of expressions on values, as Python has them.

use super::expression::Between;
use serde_json::{Number, Value};
use std::cmp::Ordering;

/// Most values of a list, and longest text.
pub(super) const ITEMS: usize = 1 << 12;
pub(super) const LETTERS: usize = 1 << 16;

pub(super) fn real(v: f64) -> Result<Value, String> {
    Number::from_f64(v).map(Value::Number).ok_or_else(|| "a number beyond all bounds".into())
}

/// Whether Python takes a value as true.
pub(super) fn truth(v: &Value) -> bool {
    match v {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(s) => !s.is_empty(),
        Value::Array(l) => !l.is_empty(),
        Value::Object(m) => !m.is_empty(),
    }
}

pub(super) fn kind(v: &Value) -> &'static str {
    match v {
        Value::Null => "None",
        Value::Bool(_) => "a flag",
        Value::Number(n) if n.is_u64() && !n.is_i64() => "a whole number beyond all bounds",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(m) if m.contains_key("_target_") => "an object",
        Value::Object(_) => "a table",
    }
}

/// Whole numbers, as Python has them, where both are; flags count as 0 and 1.
pub(super) fn whole(v: &Value) -> Option<i64> {
    v.as_i64().or_else(|| v.as_bool().map(i64::from))
}

/// Any number; whole numbers beyond bounds are none, since floats would not be what Python makes of them.
pub(super) fn float(v: &Value) -> Option<f64> {
    let within = |v: &&Value| !v.is_u64() || v.is_i64();
    Some(v).filter(within).and_then(Value::as_f64).or_else(|| v.as_bool().map(|b| f64::from(u8::from(b))))
}

/// How many values a value is.
fn values(v: &Value) -> usize {
    match v {
        Value::Array(list) => 1 + list.iter().map(values).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(values).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}

pub(super) fn arithmetic(way: Between, a: Value, b: Value) -> Result<Value, String> {
    let bounds = || "a number beyond all bounds".to_owned();
    if let (Some(x), Some(y)) = (whole(&a), whole(&b)) {
        let exact = match way {
            Between::Add => x.checked_add(y),
            Between::Sub => x.checked_sub(y),
            Between::Mul => x.checked_mul(y),
            Between::Floor | Between::Rest if y == 0 => return Err("a division by 0".into()),
            // Rounded down, and a rest with the divisor's sign.
            Between::Floor => x.checked_div_euclid(y).map(|q| q - i64::from(y < 0 && x.rem_euclid(y) != 0)),
            Between::Rest => {
                x.checked_rem_euclid(y).map(|r| if y < 0 && r != 0 { r.saturating_add(y) } else { r })
            }
            Between::Power if y >= 0 => x.checked_pow(u32::try_from(y).map_err(|_| bounds())?),
            Between::Power | Between::Div => return inexact(way, x as f64, y as f64),
            Between::Equal
            | Between::Unequal
            | Between::Less
            | Between::AtMost
            | Between::More
            | Between::AtLeast
            | Between::In
            | Between::NotIn
            | Between::Is
            | Between::IsNot => return Err("a comparison in arithmetic".into()),
        };
        return exact.map(Value::from).ok_or_else(bounds);
    }
    if let (Some(x), Some(y)) = (float(&a), float(&b)) {
        return inexact(way, x, y);
    }
    match (way, a, b) {
        (Between::Add, Value::String(a), Value::String(b)) if a.len() + b.len() <= LETTERS => {
            Ok(Value::String(a + &b))
        }
        (Between::Add, Value::Array(a), Value::Array(b)) if a.len() + b.len() <= ITEMS => {
            Ok(Value::Array([a, b].concat()))
        }
        (Between::Mul, Value::Array(list), n) | (Between::Mul, n, Value::Array(list))
            if whole(&n).is_some() =>
        {
            let times = usize::try_from(whole(&n).unwrap_or_default()).unwrap_or(0);
            match list.iter().map(values).sum::<usize>().checked_mul(times).filter(|n| *n <= ITEMS) {
                Some(_) => Ok(list.iter().cycle().take(list.len() * times).cloned().collect()),
                None => Err("a list of too many items".into()),
            }
        }
        (_, a, b) => Err(format!("an operation on {} and {}", kind(&a), kind(&b))),
    }
}

fn inexact(way: Between, x: f64, y: f64) -> Result<Value, String> {
    let zero = y == 0.0 && matches!(way, Between::Div | Between::Floor | Between::Rest);
    match way {
        _ if zero => Err("a division by 0".into()),
        Between::Add => real(x + y),
        Between::Sub => real(x - y),
        Between::Mul => real(x * y),
        Between::Div => real(x / y),
        Between::Floor => real(divided(x, y).0),
        Between::Rest => real(divided(x, y).1),
        Between::Power => real(x.powf(y)),
        Between::Equal
        | Between::Unequal
        | Between::Less
        | Between::AtMost
        | Between::More
        | Between::AtLeast
        | Between::In
        | Between::NotIn
        | Between::Is
        | Between::IsNot => Err("a comparison in arithmetic".into()),
    }
}

/// The quotient rounded down and the rest with the divisor's sign, in Python's steps: the rest is exact, and what the quotient
/// lacks to a whole number by rounding is made up.
fn divided(x: f64, y: f64) -> (f64, f64) {
    let rest = x % y;
    let quotient = (x - rest) / y;
    let other = rest != 0.0 && (rest < 0.0) != (y < 0.0);
    let (quotient, rest) = if other { (quotient - 1.0, rest + y) } else { (quotient, rest) };
    let down = quotient.floor();
    (if quotient - down > 0.5 { down + 1.0 } else { down }, rest)
}

/// The order of numbers by their exact values; `None` where one is none.
pub(super) fn order(a: &Value, b: &Value) -> Option<Ordering> {
    /// 2 to the power of 63.
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    let mixed = |n: i64, v: f64| match v {
        _ if v >= BEYOND => Ordering::Less,
        _ if v < -BEYOND => Ordering::Greater,
        _ => n.cmp(&(v.floor() as i64)).then(if v > v.floor() { Ordering::Less } else { Ordering::Equal }),
    };
    match (whole(a), whole(b)) {
        (Some(x), Some(y)) => Some(x.cmp(&y)),
        (Some(x), None) => Some(mixed(x, float(b)?)),
        (None, Some(y)) => Some(mixed(y, float(a)?).reverse()),
        (None, None) => float(a)?.partial_cmp(&float(b)?),
    }
}

/// Whether values are equal as Python has it: numbers by their value.
fn equal(a: &Value, b: &Value) -> bool {
    match order(a, b) {
        Some(order) => order.is_eq(),
        None => match (a, b) {
            (Value::Object(x), Value::Object(y)) => {
                x.len() == y.len() && x.iter().all(|(k, v)| y.get(k).is_some_and(|w| equal(v, w)))
            }
            (Value::Array(x), Value::Array(y)) => {
                x.len() == y.len() && x.iter().zip(y).all(|(x, y)| equal(x, y))
            }
            _ => a == b,
        },
    }
}

pub(super) fn compared(way: Between, a: &Value, b: &Value) -> Result<bool, String> {
    let within = || match b {
        Value::Array(l) => Ok(l.iter().any(|v| equal(a, v))),
        Value::Object(m) => Ok(a.as_str().is_some_and(|k| m.contains_key(k))),
        Value::String(s) => match a.as_str() {
            Some(part) => Ok(s.contains(part)),
            None => Err(format!("a search of {} in a text", kind(a))),
        },
        other => Err(format!("a search in {}", kind(other))),
    };
    let order = || match (order(a, b), a.as_str(), b.as_str()) {
        (Some(order), ..) => Ok(order),
        (None, Some(x), Some(y)) => Ok(x.cmp(y)),
        _ => Err(format!("a comparison of {} and {}", kind(a), kind(b))),
    };
    Ok(match way {
        Between::Equal => equal(a, b),
        Between::Unequal => !equal(a, b),
        Between::Is => kind(a) == kind(b) && equal(a, b),
        Between::IsNot => kind(a) != kind(b) || !equal(a, b),
        Between::In => within()?,
        Between::NotIn => !within()?,
        Between::Less => order()?.is_lt(),
        Between::AtMost => order()?.is_le(),
        Between::More => order()?.is_gt(),
        Between::AtLeast => order()?.is_ge(),
        Between::Add
        | Between::Sub
        | Between::Mul
        | Between::Div
        | Between::Floor
        | Between::Rest
        | Between::Power => return Err("arithmetic in a comparison".into()),
    })
}

/// A number behind a sign; flags become numbers.
pub(super) fn signed(minus: bool, v: &Value) -> Result<Value, String> {
    match (whole(v), float(v)) {
        (Some(n), _) if minus => {
            n.checked_neg().map(Value::from).ok_or_else(|| "a number beyond all bounds".into())
        }
        (Some(n), _) => Ok(Value::from(n)),
        (None, Some(n)) => real(if minus { -n } else { n }),
        (None, None) => Err(format!("the sign `{}` before {}", if minus { '-' } else { '+' }, kind(v))),
    }
}

pub(super) fn item(of: &Value, at: &Value) -> Result<Value, String> {
    let found = match (of, at) {
        (Value::Array(list), at) => {
            let n = whole(at).ok_or_else(|| format!("an item of a list at {}", kind(at)))?;
            // Negative places count from the end.
            let n = if n < 0 { n.checked_add(list.len() as i64) } else { Some(n) };
            n.and_then(|n| usize::try_from(n).ok()).and_then(|n| list.get(n))
        }
        (Value::Object(map), Value::String(key)) => map.get(key),
        (of, at) => return Err(format!("an item of {} at {}", kind(of), kind(at))),
    };
    found.cloned().ok_or_else(|| format!("the item {at}, which is not there"))
}

pub(super) fn part(of: &Value, from: Option<&Value>, to: Option<&Value>) -> Result<Value, String> {
    let Value::Array(list) = of else { return Err(format!("a part of {}", kind(of))) };
    let place = |v: Option<&Value>, usual: usize| match v {
        None | Some(Value::Null) => Ok(usual),
        Some(v) => {
            let n = whole(v).ok_or("a part of a list that is told by no whole numbers")?;
            let n = if n < 0 { n.saturating_add(list.len() as i64).max(0) } else { n };
            Ok::<_, String>(usize::try_from(n).unwrap_or(usize::MAX).min(list.len()))
        }
    };
    let (from, to) = (place(from, 0)?, place(to, list.len())?);
    Ok(Value::Array(list.get(from..to.max(from)).unwrap_or_default().to_vec()))
}
