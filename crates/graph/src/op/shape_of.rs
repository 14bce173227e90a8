//! Tensors made from shapes, and shapes as tensors.

use crate::array::{Array, Inputs};
use crate::op_error::{OpError, OpResult};
use crate::shapes::Args;
use crate::{DType, Dim, Tensor, element_count};

/// The first and one-past-last axis of `Shape` with `start` and `end`.
pub(crate) fn shape_range(rank: usize, start: i64, end: Option<i64>) -> (usize, usize) {
    let r = rank as i64;
    let fix = |a: i64| (if a < 0 { a + r } else { a }).clamp(0, r) as usize;
    let (a, b) = (fix(start), fix(end.unwrap_or(r)));
    (a, b.max(a))
}

pub(super) fn shape(t: &Array, start: i64, end: Option<i64>) -> Array {
    let (a, b) = shape_range(t.dims.len(), start, end);
    Array::int(DType::I64, vec![b - a], t.dims[a..b].iter().map(|&n| n as i64).collect())
}

pub(super) fn constant_of_shape(x: &Inputs, value: &Tensor) -> OpResult<Array> {
    let dims: Option<Vec<usize>> =
        x.required(0)?.integers().iter().map(|&d| usize::try_from(d).ok()).collect();
    let dims = dims.ok_or(OpError::OutOfRange { what: "sizes are" })?;
    let n = element_count(&dims).filter(|&n| n < 1 << 26);
    let n = n.ok_or(OpError::TooLarge { what: "the shape" })?;
    Ok(Array::new(value)?.take(dims, &vec![Some(0); n], 0.0))
}

pub(super) fn range_len(args: &Args) -> Dim {
    let scalar = |i: usize| args.small(i).and_then(Tensor::to_f64).and_then(|v| v.first().copied());
    match (scalar(0), scalar(1), scalar(2)) {
        (Some(a), Some(b), Some(d)) if d != 0.0 => {
            let n = ((b - a) / d).ceil().max(0.0);
            if n < 1e9 { Dim::Known(n as usize) } else { Dim::Unknown }
        }
        _ => Dim::Unknown,
    }
}

pub(super) fn range(x: &Inputs) -> OpResult<Array> {
    let get = |i: usize| {
        x.required(i).and_then(|a| a.floats().first().copied().ok_or(OpError::MissingInput { index: i }))
    };
    let (start, limit, delta) = (get(0)?, get(1)?, get(2)?);
    let n = ((limit - start) / delta).ceil().max(0.0);
    if delta == 0.0 || n.is_nan() || n >= 1e8 {
        return Err(OpError::TooLarge { what: "the range" });
    }
    let n = n as usize;
    let dtype = x.required(0)?.dtype;
    if dtype.is_int() {
        let v = (0..n as i64).map(|i| start as i64 + i * delta as i64).collect();
        return Ok(Array::int(dtype, vec![n], v));
    }
    Ok(Array::float(dtype, vec![n], (0..n).map(|i| start + i as f64 * delta).collect()))
}
