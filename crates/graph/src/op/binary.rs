//! Element-wise functions of two or more inputs, with numpy broadcasting.

use super::functions::functions;
use crate::DType;
use crate::array::{Array, Data, Inputs, broadcast};
use crate::op_error::OpResult;

functions! {
    /// Element-wise functions of two inputs, with numpy broadcasting.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    Binary {
        Add => "Add", 18, Known;
        Sub => "Sub", 18, Known;
        Mul => "Mul", 18, Known;
        Div => "Div", 18, Known;
        Pow => "Pow", 18, Known;
        /// Remainder; `fmod` keeps the dividend's sign.
        Mod { fmod: bool = false } => "Mod", 18, None;
        /// `x` where positive, else `slope · x`.
        PRelu => "PRelu", 18, Known;
        Equal => "Equal", 18, None;
        Less => "Less", 18, None;
        LessOrEqual => "LessOrEqual", 18, None;
        Greater => "Greater", 18, None;
        GreaterOrEqual => "GreaterOrEqual", 18, None;
        And => "And", 18, None;
        Or => "Or", 18, None;
        Xor => "Xor", 18, None;
    }
}

impl Binary {
    /// Whether the result is boolean.
    pub fn is_predicate(self) -> bool {
        use Binary::*;
        matches!(self, Equal | Less | LessOrEqual | Greater | GreaterOrEqual | And | Or | Xor)
    }
}

functions! {
    /// Element-wise functions of any number of inputs, with numpy broadcasting.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    Variadic {
        Sum => "Sum", 18, Known;
        Mean => "Mean", 18, None;
        Max => "Max", 18, None;
        Min => "Min", 18, None;
    }
}

pub(super) fn binary(b: Binary, x: &Array, y: &Array) -> OpResult<Array> {
    use Binary::*;
    let (dims, m) = broadcast(&[&x.dims, &y.dims])?;
    let n = dims.iter().product::<usize>();
    let dtype = if b.is_predicate() { DType::Bool } else { x.dtype };
    if let (Data::I(p), Data::I(q)) = (&x.data, &y.data) {
        let signed = x.dtype != DType::U64;
        let f = |a: i64, c: i64| match b {
            Add => a.wrapping_add(c),
            Sub => a.wrapping_sub(c),
            Mul => a.wrapping_mul(c),
            Div if !signed => (a as u64).checked_div(c as u64).unwrap_or(0) as i64,
            Div => a.checked_div(c).unwrap_or(0),
            Pow => libm::pow(a as f64, c as f64) as i64,
            Mod { fmod: true } => a.checked_rem(c).unwrap_or(0),
            Mod { fmod: false } if !signed => (a as u64).checked_rem(c as u64).unwrap_or(0) as i64,
            Mod { fmod: false } => {
                let r = a.checked_rem(c).unwrap_or(0);
                if r != 0 && (r < 0) != (c < 0) { r + c } else { r }
            }
            PRelu => {
                if a < 0 {
                    a.wrapping_mul(c)
                } else {
                    a
                }
            }
            Equal => (a == c) as i64,
            Less => {
                if signed {
                    (a < c) as i64
                } else {
                    ((a as u64) < c as u64) as i64
                }
            }
            LessOrEqual => {
                if signed {
                    (a <= c) as i64
                } else {
                    (a as u64 <= c as u64) as i64
                }
            }
            Greater => {
                if signed {
                    (a > c) as i64
                } else {
                    (a as u64 > c as u64) as i64
                }
            }
            GreaterOrEqual => {
                if signed {
                    (a >= c) as i64
                } else {
                    (a as u64 >= c as u64) as i64
                }
            }
            And => (a != 0 && c != 0) as i64,
            Or => (a != 0 || c != 0) as i64,
            Xor => ((a != 0) != (c != 0)) as i64,
        };
        let v = (0..n).map(|k| f(p[m[0][k]], q[m[1][k]])).collect();
        return Ok(Array::int(dtype, dims, v));
    }
    let (p, q) = (x.floats(), y.floats());
    let f = |a: f64, c: f64| match b {
        Add => a + c,
        Sub => a - c,
        Mul => a * c,
        Div => a / c,
        Pow => libm::pow(a, c),
        Mod { fmod: true } => a % c,
        Mod { fmod: false } => a - c * (a / c).floor(),
        PRelu => {
            if a < 0.0 {
                a * c
            } else {
                a
            }
        }
        Equal => (a == c) as u8 as f64,
        Less => (a < c) as u8 as f64,
        LessOrEqual => (a <= c) as u8 as f64,
        Greater => (a > c) as u8 as f64,
        GreaterOrEqual => (a >= c) as u8 as f64,
        And => (a != 0.0 && c != 0.0) as u8 as f64,
        Or => (a != 0.0 || c != 0.0) as u8 as f64,
        Xor => ((a != 0.0) != (c != 0.0)) as u8 as f64,
    };
    let v: Vec<f64> = (0..n).map(|k| f(p[m[0][k]], q[m[1][k]])).collect();
    Ok(if b.is_predicate() {
        Array::int(dtype, dims, v.into_iter().map(|x| x as i64).collect())
    } else if dtype.is_int() {
        Array::int(dtype, dims, v.into_iter().map(|x| x as i64).collect())
    } else {
        Array::float(dtype, dims, v)
    })
}

pub(super) fn variadic(kind: Variadic, x: &Inputs) -> OpResult<Array> {
    let list = (0..x.count()).map(|i| x.required(i)).collect::<OpResult<Vec<_>>>()?;
    let dims: Vec<&[usize]> = list.iter().map(|a| a.dims.as_slice()).collect();
    let (dims, maps) = broadcast(&dims)?;
    let n: usize = dims.iter().product();
    let dtype = list[0].dtype;
    if dtype.is_int() {
        let v: Vec<Vec<i64>> = list.iter().map(|a| a.integers()).collect();
        let unsigned = dtype == DType::U64;
        let greater = |a: i64, b: i64| if unsigned { (a as u64) > b as u64 } else { a > b };
        let f = |k: usize| {
            let mut it = v.iter().zip(&maps).map(|(v, m)| v[m[k]]);
            let first = it.next().unwrap_or(0);
            it.fold(first, |a, b| match kind {
                Variadic::Sum | Variadic::Mean => a.wrapping_add(b),
                Variadic::Max => {
                    if greater(a, b) {
                        a
                    } else {
                        b
                    }
                }
                Variadic::Min => {
                    if greater(a, b) {
                        b
                    } else {
                        a
                    }
                }
            })
        };
        return Ok(Array::int(dtype, dims, (0..n).map(f).collect()));
    }
    let v: Vec<Vec<f64>> = list.iter().map(|a| a.floats()).collect();
    let f = |k: usize| {
        let mut it = v.iter().zip(&maps).map(|(v, m)| v[m[k]]);
        let first = it.next().unwrap_or(0.0);
        let r = it.fold(first, |a, b| match kind {
            Variadic::Sum | Variadic::Mean => a + b,
            Variadic::Max => {
                if a > b || a.is_nan() {
                    a
                } else {
                    b
                }
            }
            Variadic::Min => {
                if a < b || a.is_nan() {
                    a
                } else {
                    b
                }
            }
        });
        if kind == Variadic::Mean { r / v.len() as f64 } else { r }
    };
    Ok(Array::float(dtype, dims, (0..n).map(f).collect()))
}
