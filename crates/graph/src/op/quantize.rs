//! Quantization and dequantization.

use crate::DType;
use crate::array::{Array, Data, Inputs};
use crate::op_error::{OpError, OpResult};
use crate::shapes::axis;

/// For every element of input 0 the index of its scale and zero point.
fn scale_index(x: &Inputs, at: i64) -> OpResult<(Vec<f64>, Vec<f64>, Vec<usize>)> {
    let (v, scale) = (x.required(0)?, x.required(1)?.floats());
    let zero = x.get(2).map_or_else(|| vec![0.0; scale.len()], Array::floats);
    if zero.len() != scale.len() {
        return Err(OpError::ZeroPoints { scales: scale.len(), zero_points: zero.len() });
    }
    if let Some(s) = scale.iter().find(|s| !(**s > 0.0 && s.is_finite())) {
        return Err(OpError::QuantizationScale { scale: *s });
    }
    if scale.len() == 1 {
        return Ok((scale, zero, vec![0; v.len()]));
    }
    let a = axis(at, v.dims.len())?;
    if v.dims[a] != scale.len() {
        return Err(OpError::ScalesOfAxis { scales: scale.len(), size: v.dims[a] });
    }
    let inner: usize = v.dims[a + 1..].iter().product();
    let index = (0..v.len()).map(|i| i / inner.max(1) % scale.len()).collect();
    Ok((scale, zero, index))
}

pub(super) fn quantize(x: &Inputs, axis: i64, to: DType) -> OpResult<Array> {
    let (low, high) = to.range().ok_or(OpError::ElementType { dtype: to, role: "quantized to" })?;
    let (scale, zero, index) = scale_index(x, axis)?;
    let v = x.required(0)?;
    // In float32, as the standard and every implementation do: a quotient in float64 would round ties
    // differently.
    let one = |(x, &k): (f64, &usize)| {
        let q = (x as f32 / scale[k] as f32).round_ties_even() as f64 + zero[k];
        // Not a number becomes the lowest value, as in the engine.
        if q.is_nan() { low } else { q.clamp(low as f64, high as f64) as i64 }
    };
    let data = Data::I(v.floats().into_iter().zip(&index).map(one).collect());
    Ok(Array { dtype: to, dims: v.dims.clone(), data })
}

pub(super) fn dequantize(x: &Inputs, axis: i64) -> OpResult<Array> {
    let (scale, zero, index) = scale_index(x, axis)?;
    let v = x.required(0)?;
    let data = v.floats().into_iter().zip(&index).map(|(x, &k)| (x - zero[k]) * scale[k]).collect();
    Ok(Array { dtype: DType::F32, dims: v.dims.clone(), data: Data::F(data) })
}
