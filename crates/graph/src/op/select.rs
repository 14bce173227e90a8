//! Element-wise choices and conversions: clip, where, cast.

use crate::DType;
use crate::array::{Array, Data, Inputs, broadcast};
use crate::op_error::OpResult;

pub(super) fn clip(x: &Inputs) -> OpResult<Array> {
    let a = x.required(0)?;
    let bound = |i: usize| x.get(i).map(Array::floats).and_then(|v| v.first().copied());
    let (low, high) = (bound(1).unwrap_or(f64::NEG_INFINITY), bound(2).unwrap_or(f64::INFINITY));
    let dims = a.dims.clone();
    Ok(match &a.data {
        // min(max(x, low), high): the upper bound wins where the bounds cross.
        Data::F(v) => {
            let f = |&x: &f64| if x.is_nan() { x } else { x.max(low).min(high) };
            Array::float(a.dtype, dims, v.iter().map(f).collect())
        }
        Data::I(v) => {
            let f = |&x: &i64| {
                let y = if (x as f64) < low { low as i64 } else { x };
                if y as f64 > high { high as i64 } else { y }
            };
            Array::int(a.dtype, dims, v.iter().map(f).collect())
        }
    })
}

pub(super) fn select(c: &Array, x: &Array, y: &Array) -> OpResult<Array> {
    let (dims, m) = broadcast(&[&c.dims, &x.dims, &y.dims])?;
    let n: usize = dims.iter().product();
    let c = c.integers();
    Ok(match (&x.data, &y.data) {
        (Data::I(p), Data::I(q)) => {
            let f = |k: usize| if c[m[0][k]] != 0 { p[m[1][k]] } else { q[m[2][k]] };
            Array::int(x.dtype, dims, (0..n).map(f).collect())
        }
        _ => {
            let (p, q) = (x.floats(), y.floats());
            let f = |k: usize| if c[m[0][k]] != 0 { p[m[1][k]] } else { q[m[2][k]] };
            Array::float(x.dtype, dims, (0..n).map(f).collect())
        }
    })
}

pub(super) fn cast(a: &Array, to: DType) -> Array {
    let dims = a.dims.clone();
    match (&a.data, to.is_int()) {
        (Data::F(v), true) if to == DType::Bool => {
            Array::int(to, dims, v.iter().map(|&x| (x != 0.0) as i64).collect())
        }
        (Data::F(v), true) => Array::int(to, dims, v.iter().map(|&x| x as i64).collect()),
        (Data::F(v), false) => Array::float(to, dims, v.clone()),
        (Data::I(v), true) => Array::int(to, dims, v.clone()),
        (Data::I(v), false) => Array::float(to, dims, v.iter().map(|&x| x as f64).collect()),
    }
}
