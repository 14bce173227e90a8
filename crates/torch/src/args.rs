//! Arguments of an operator, asked for by their place.

use crate::net::{Followed, Net, Stop, wrong};
use crate::value::{Handle, Value};
use ampoule_graph::{DType, ValueId};

/// Arguments in the order of the operator's parameters; those that are not given are [`Value::Missing`].
pub(crate) struct Args<'a> {
    pub values: &'a [Value],
    /// The parameters' names.
    pub names: &'a [&'static str],
}

impl Args<'_> {
    fn not<T>(&self, i: usize, expected: &str) -> Followed<T> {
        let name = self.names.get(i).copied().unwrap_or("?");
        if let Value::Symbol(_) = self.get(i) {
            return Err(Stop::Free(format!("`{name}` depends on a size that is free")));
        }
        wrong(format!("`{name}` is {}, {expected} is expected", self.get(i).kind()))
    }

    /// Argument `i`.
    pub fn get(&self, i: usize) -> &Value {
        self.values.get(i).unwrap_or(&Value::Missing)
    }

    /// Whether argument `i` is given and not `None`.
    pub fn given(&self, i: usize) -> bool {
        !matches!(self.get(i), Value::Missing | Value::None)
    }

    /// A tensor variable.
    pub fn handle(&self, i: usize) -> Followed<&Handle> {
        match self.get(i) {
            Value::Tensor(t) => Ok(t),
            _ => self.not(i, "a tensor"),
        }
    }

    /// The value of a tensor.
    pub fn tensor(&self, net: &mut Net, i: usize) -> Followed<ValueId> {
        match self.get(i) {
            Value::Symbol(id) => Ok(*id),
            Value::Int(_) | Value::Float(_) | Value::Bool(_) => net.operand(self.get(i)),
            _ => net.id(self.handle(i)?),
        }
    }

    /// The value of a tensor that may be left out.
    pub fn maybe(&self, net: &mut Net, i: usize) -> Followed<Option<ValueId>> {
        if self.given(i) { self.tensor(net, i).map(Some) } else { Ok(None) }
    }

    /// The values of a list of tensors.
    pub fn tensors(&self, net: &mut Net, i: usize) -> Followed<Vec<ValueId>> {
        let Some(items) = self.get(i).items() else { return self.not(i, "a list of tensors") };
        items.iter().map(|v| net.operand(v)).collect()
    }

    /// An integer.
    pub fn int(&self, net: &mut Net, i: usize) -> Followed<i64> {
        match net.plain(self.get(i))? {
            Value::Int(n) => Ok(n),
            Value::Bool(b) => Ok(b as i64),
            Value::Float(x) if x.fract() == 0.0 => Ok(x as i64),
            _ => self.not(i, "an integer"),
        }
    }

    /// An integer, or `default` where it is not given.
    pub fn int_or(&self, net: &mut Net, i: usize, default: i64) -> Followed<i64> {
        if self.given(i) { self.int(net, i) } else { Ok(default) }
    }

    /// A number, or `default` where it is not given.
    pub fn float_or(&self, net: &mut Net, i: usize, default: f64) -> Followed<f64> {
        if !self.given(i) {
            return Ok(default);
        }
        match net.plain(self.get(i))? {
            Value::Int(n) => Ok(n as f64),
            Value::Float(x) => Ok(x),
            Value::Bool(b) => Ok(b as u8 as f64),
            _ => self.not(i, "a number"),
        }
    }

    /// A truth value, or `default` where it is not given.
    pub fn flag(&self, i: usize, default: bool) -> Followed<bool> {
        match self.get(i) {
            Value::Bool(b) => Ok(*b),
            Value::Int(n) => Ok(*n != 0),
            Value::Missing | Value::None => Ok(default),
            _ => self.not(i, "a truth value"),
        }
    }

    /// Text, or `default` where it is not given.
    pub fn text(&self, i: usize, default: &str) -> Followed<String> {
        match self.get(i) {
            Value::Text(t) => Ok(t.to_string()),
            Value::Missing | Value::None => Ok(default.into()),
            _ => self.not(i, "text"),
        }
    }

    /// Integers, of which some may be free; a single one counts as a list.
    pub fn list(&self, net: &mut Net, i: usize) -> Followed<Vec<Value>> {
        let items = match self.get(i) {
            Value::Missing | Value::None => vec![],
            v @ (Value::Int(_) | Value::Symbol(_)) => vec![v.clone()],
            v => match v.items() {
                Some(items) => items,
                None => return self.not(i, "a list of integers"),
            },
        };
        items
            .iter()
            .map(|v| match net.plain(v)? {
                v @ (Value::Int(_) | Value::Symbol(_)) => Ok(v),
                Value::Float(x) if x.fract() == 0.0 => Ok(Value::Int(x as i64)),
                other => wrong(format!("{} in a list of integers", other.kind())),
            })
            .collect()
    }

    /// Integers that are known.
    pub fn ints(&self, net: &mut Net, i: usize) -> Followed<Vec<i64>> {
        let name = self.names.get(i).copied().unwrap_or("?");
        self.list(net, i)?
            .iter()
            .map(|v| match v {
                Value::Int(n) => Ok(*n),
                _ => Err(Stop::Free(format!("`{name}` depends on a size that is free"))),
            })
            .collect()
    }

    /// Numbers.
    pub fn floats(&self, net: &mut Net, i: usize) -> Followed<Vec<f64>> {
        let items = self.get(i).items().unwrap_or_default();
        items
            .iter()
            .map(|v| match net.plain(v)? {
                Value::Int(n) => Ok(n as f64),
                Value::Float(x) => Ok(x),
                _ => self.not(i, "a list of numbers"),
            })
            .collect()
    }

    /// One integer for each of `n` axes; one alone counts for all.
    pub fn per_axis(&self, net: &mut Net, i: usize, n: usize, default: i64) -> Followed<Vec<usize>> {
        let mut list = self.ints(net, i)?;
        if list.is_empty() {
            list = vec![default; n];
        }
        if list.len() == 1 {
            list = vec![list[0]; n];
        }
        let sizes: Option<Vec<usize>> = list.iter().map(|&v| usize::try_from(v).ok()).collect();
        match sizes {
            Some(s) if s.len() == n => Ok(s),
            _ => wrong(format!("`{}` is {list:?} for {n} axes", self.names.get(i).copied().unwrap_or("?"))),
        }
    }

    /// An element type by torch's number, as the type it is computed in.
    pub fn dtype(&self, net: &mut Net, i: usize) -> Followed<Option<DType>> {
        if !self.given(i) {
            return Ok(None);
        }
        let code = self.int(net, i)?;
        match code {
            0..=4 => Ok(Some(DType::I64)),
            5..=7 | 15 => Ok(Some(DType::F32)),
            11 => Ok(Some(DType::Bool)),
            other => wrong(format!("element type {other}")),
        }
    }
}

impl Net {
    /// A number as it is, if it is one or a constant tensor of one element; a free size, as such.
    pub fn plain(&mut self, v: &Value) -> Followed<Value> {
        Ok(match v {
            Value::Tensor(t) => {
                let id = self.id(t)?;
                let one = self.dims(id)?.iter().all(|d| d.known() == Some(1));
                if !one {
                    return Ok(v.clone());
                }
                match self.settled(id) {
                    Value::Symbol(id) if self.dtype(id).is_int() => {
                        let shape = self.ints(&[1])?;
                        let op = ampoule_graph::Op::Reshape { allow_zero: false };
                        Value::Symbol(self.one(op, &[id, shape])?)
                    }
                    Value::Symbol(_) => v.clone(),
                    known => known,
                }
            }
            Value::Symbol(id) => self.settled(*id),
            other => other.clone(),
        })
    }

    /// A tensor or number as a graph value.
    pub fn operand(&mut self, v: &Value) -> Followed<ValueId> {
        match v {
            Value::Tensor(t) => self.id(t),
            Value::Symbol(id) => Ok(*id),
            Value::Int(n) => {
                let t = ampoule_graph::Tensor::i64(&[], &[*n]);
                self.made(t)
            }
            Value::Float(x) => self.number(*x as f32),
            Value::Bool(b) => match ampoule_graph::Tensor::from_i64(DType::Bool, &[], &[*b as i64]) {
                Some(t) => self.made(t),
                None => wrong("a truth value"),
            },
            other => wrong(format!("{} where a tensor is expected", other.kind())),
        }
    }
}
