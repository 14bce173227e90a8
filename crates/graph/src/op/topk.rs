//! The largest or smallest elements along an axis, and their positions.

use crate::array::{Array, Data, Inputs, strides};
use crate::op_error::{OpError, OpResult};
use crate::shapes::{Args, Info, axis, shaped};
use crate::{DType, Dim};
use std::cmp::Ordering;

pub(super) fn shapes(args: &Args, at: i64) -> OpResult<Vec<Info>> {
    let dtype = args.info(0).and_then(|i| i.dtype);
    let Some(x) = args.shape(0) else {
        return Ok(vec![shaped(dtype, None), shaped(Some(DType::I64), None)]);
    };
    let at = axis(at, x.len())?;
    let mut out = x.clone();
    out[at] = match args.ints(1) {
        Some(k) => Dim::Known(count(&k, x[at].known())?),
        None => Dim::Unknown,
    };
    Ok(vec![shaped(dtype, Some(out.clone())), shaped(Some(DType::I64), Some(out))])
}

/// How many elements are asked for, of `size` if that is known.
fn count(k: &[i64], size: Option<usize>) -> OpResult<usize> {
    let [k] = k else {
        return Err(OpError::Count { what: "numbers of elements", given: k.len(), wanted: 1 });
    };
    let fits = usize::try_from(*k).ok().filter(|k| size.is_none_or(|n| *k <= n));
    fits.ok_or(OpError::Value { what: "number of elements", value: *k as f64 })
}

/// Elements that are equal stay in their order; what is not a number counts as the largest.
pub(super) fn topk(x: &Inputs, at: i64, largest: bool) -> OpResult<Vec<Array>> {
    let a = x.required(0)?;
    let at = axis(at, a.dims.len())?;
    let k = count(&x.required(1)?.integers(), Some(a.dims[at]))?;
    let order: Box<dyn Fn(usize, usize) -> Ordering> = match &a.data {
        Data::F(v) => Box::new(|i, j| v[i].partial_cmp(&v[j]).unwrap_or(v[i].is_nan().cmp(&v[j].is_nan()))),
        Data::I(v) if a.dtype == DType::U64 => Box::new(|i, j| (v[i] as u64).cmp(&(v[j] as u64))),
        Data::I(v) => Box::new(|i, j| v[i].cmp(&v[j])),
    };
    let mut dims = a.dims.clone();
    dims[at] = k;
    let (step, size) = (strides(&a.dims)[at], a.dims[at]);
    let mut source = vec![None; dims.iter().product()];
    let mut position = vec![0; source.len()];
    let outer: usize = a.dims[..at].iter().product();
    for (o, inner) in (0..outer).flat_map(|o| (0..step).map(move |i| (o, i))) {
        let first = o * size * step + inner;
        let mut list: Vec<usize> = (0..size).collect();
        list.sort_by(|&i, &j| {
            let order = order(first + i * step, first + j * step);
            if largest { order.reverse() } else { order }
        });
        for (rank, &i) in list.iter().take(k).enumerate() {
            let to = (o * k + rank) * step + inner;
            source[to] = Some(first + i * step);
            position[to] = i as i64;
        }
    }
    Ok(vec![a.take(dims.clone(), &source, 0.0), Array::int(DType::I64, dims, position)])
}

#[cfg(test)]
mod tests {
    use crate::op::{Op, OpError};
    use crate::{Tensor, eval};

    fn run(largest: bool, x: Tensor, k: i64) -> Result<[Tensor; 2], OpError> {
        let out = eval::node(&Op::TopK { axis: 1, largest }, &[Some(x), Some(Tensor::i64s(&[k]))], 2)?;
        Ok(out.try_into().unwrap())
    }

    #[test]
    fn equal_elements_keep_their_order() {
        let x = Tensor::f32(&[1, 4, 2], &[1.0, 5.0, 3.0, 5.0, 3.0, 4.0, 2.0, 9.0]);
        let [values, places] = run(true, x.clone(), 3).unwrap();
        assert_eq!(values.dims(), [1, 3, 2]);
        assert_eq!(values.to_f32().unwrap(), [3.0, 9.0, 3.0, 5.0, 2.0, 5.0]);
        assert_eq!(places.to_i64().unwrap(), [1, 3, 2, 0, 3, 1]);
        let [values, places] = run(false, x, 1).unwrap();
        assert_eq!((values.to_f32().unwrap(), places.to_i64().unwrap()), (vec![1.0, 4.0], vec![0, 2]));
    }

    #[test]
    fn what_is_not_a_number_is_the_largest() {
        let x = Tensor::f32(&[1, 4], &[0.0, f32::NAN, f32::INFINITY, f32::NAN]);
        assert_eq!(run(true, x.clone(), 3).unwrap()[1].to_i64().unwrap(), [1, 3, 2]);
        assert_eq!(run(false, x, 2).unwrap()[1].to_i64().unwrap(), [0, 2]);
    }

    #[test]
    fn more_elements_than_there_are_is_an_error() {
        for k in [3, -1, i64::MAX] {
            let found = run(true, Tensor::f32(&[1, 2], &[1.0, 2.0]), k);
            assert_eq!(found, Err(OpError::Value { what: "number of elements", value: k as f64 }));
        }
    }
}
