//! Arrays that the references compute with: float64 or int64, rounded to the element type at the end.

use crate::op_error::{OpError, OpResult};
use crate::{DType, Tensor};

/// Numbers while they are computed with.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    F(Vec<f64>),
    I(Vec<i64>),
}

/// A tensor while it is computed with.
#[derive(Clone, Debug)]
pub(crate) struct Array {
    pub dtype: DType,
    pub dims: Vec<usize>,
    pub data: Data,
}

impl Array {
    /// `t` in float64 or int64.
    pub(crate) fn new(t: &Tensor) -> OpResult<Self> {
        let data = if t.dtype().is_int() { t.to_i64().map(Data::I) } else { t.to_f64().map(Data::F) };
        let data = data.ok_or_else(|| OpError::ElementType { dtype: t.dtype(), role: "computed with" })?;
        Ok(Array { dtype: t.dtype(), dims: t.dims().to_vec(), data })
    }

    /// An array of floating-point numbers that is to be rounded to `dtype`.
    pub(crate) fn float(dtype: DType, dims: Vec<usize>, v: Vec<f64>) -> Self {
        Array { dtype, dims, data: Data::F(v) }
    }

    /// An array of integers or booleans of type `dtype`.
    pub(crate) fn int(dtype: DType, dims: Vec<usize>, v: Vec<i64>) -> Self {
        Array { dtype, dims, data: Data::I(v) }
    }

    /// Rounded to its element type.
    pub(crate) fn tensor(&self) -> OpResult<Tensor> {
        let t = match &self.data {
            Data::F(v) => Tensor::from_f64(self.dtype, &self.dims, v),
            Data::I(v) => Tensor::from_i64(self.dtype, &self.dims, v),
        };
        t.ok_or(OpError::ElementType { dtype: self.dtype, role: "produced" })
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Elements as float64.
    pub(crate) fn floats(&self) -> Vec<f64> {
        match &self.data {
            Data::F(v) => v.clone(),
            Data::I(v) => v.iter().map(|&x| x as f64).collect(),
        }
    }

    /// Elements as int64.
    pub(crate) fn integers(&self) -> Vec<i64> {
        match &self.data {
            Data::F(v) => v.iter().map(|&x| x as i64).collect(),
            Data::I(v) => v.clone(),
        }
    }

    /// The array whose element `k` is this one's at `index[k]`, or `fill` where that is `None`.
    pub(crate) fn take(&self, dims: Vec<usize>, index: &[Option<usize>], fill: f64) -> Self {
        let data = match &self.data {
            Data::F(v) => Data::F(index.iter().map(|i| i.map_or(fill, |i| v[i])).collect()),
            Data::I(v) => Data::I(index.iter().map(|i| i.map_or(fill as i64, |i| v[i])).collect()),
        };
        Array { dtype: self.dtype, dims, data }
    }

    /// The same elements under other dimensions.
    pub(crate) fn reshaped(self, dims: Vec<usize>) -> OpResult<Self> {
        if dims.iter().product::<usize>() != self.len() {
            return Err(OpError::ElementCount { from: self.dims, to: dims });
        }
        Ok(Array { dims, ..self })
    }
}

/// Row-major strides of `dims`.
pub(crate) fn strides(dims: &[usize]) -> Vec<usize> {
    let mut s = vec![1; dims.len()];
    for i in (1..dims.len()).rev() {
        s[i - 1] = s[i] * dims[i];
    }
    s
}

/// Every index of `dims` in row-major order.
pub(crate) fn indices(dims: &[usize]) -> impl Iterator<Item = Vec<usize>> + '_ {
    let n: usize = dims.iter().product();
    (0..n).map(move |mut k| {
        let mut idx = vec![0; dims.len()];
        for i in (0..dims.len()).rev() {
            idx[i] = k % dims[i];
            k /= dims[i];
        }
        idx
    })
}

/// For every index of `dims` in row-major order the sum of its parts times `steps`.
pub(crate) fn strided(dims: &[usize], steps: &[usize]) -> Vec<usize> {
    if dims.contains(&0) {
        return Vec::new();
    }
    // An axis at a time: constants of millions of elements are folded, which an index for each would make slow.
    let mut all = vec![0];
    for (&size, step) in dims.iter().zip(steps) {
        let mut finer = Vec::with_capacity(all.len().saturating_mul(size));
        all.iter().for_each(|first| finer.extend((0..size).map(|i| first + i * step)));
        all = finer;
    }
    all
}

/// The broadcast shape, and for each input the linear index of every output element.
pub(crate) fn broadcast(list: &[&[usize]]) -> OpResult<(Vec<usize>, Vec<Vec<usize>>)> {
    let n = list.iter().map(|d| d.len()).max().unwrap_or(0);
    let mut dims = vec![1; n];
    for d in list {
        for (i, &s) in d.iter().enumerate() {
            let o = &mut dims[n - d.len() + i];
            if *o == 1 {
                *o = s;
            } else if s != 1 && s != *o {
                return Err(OpError::Broadcast { shapes: list.iter().map(|d| d.to_vec()).collect() });
            }
        }
    }
    let maps = list
        .iter()
        .map(|d| {
            let st = strides(d);
            let step = |i: usize| {
                let k = (i + d.len()).checked_sub(n)?;
                (d[k] != 1).then_some(st[k])
            };
            let steps: Vec<usize> = (0..n).map(|i| step(i).unwrap_or(0)).collect();
            strided(&dims, &steps)
        })
        .collect();
    Ok((dims, maps))
}

/// For every position of the kept axes, the linear indices that are reduced, in order.
pub(crate) fn fibres(dims: &[usize], over: &[usize]) -> (Vec<usize>, Vec<Vec<usize>>) {
    let kept: Vec<usize> =
        dims.iter().enumerate().map(|(i, &d)| if over.contains(&i) { 1 } else { d }).collect();
    let inner: Vec<usize> =
        dims.iter().enumerate().map(|(i, &d)| if over.contains(&i) { d } else { 1 }).collect();
    let st = strides(dims);
    let offsets = strided(&inner, &st);
    let groups = strided(&kept, &st).iter().map(|at| offsets.iter().map(|o| at + o).collect()).collect();
    (kept, groups)
}

/// Inputs of one node, with typed access.
pub(crate) struct Inputs(pub Vec<Option<Array>>);

impl Inputs {
    /// Input `i`, where it is given.
    pub(crate) fn get(&self, i: usize) -> Option<&Array> {
        self.0.get(i).and_then(Option::as_ref)
    }

    /// Input `i`, which must be given.
    pub(crate) fn required(&self, i: usize) -> OpResult<&Array> {
        self.get(i).ok_or(OpError::MissingInput { index: i })
    }

    /// The elements of input `i` as integers, where it is given.
    pub(crate) fn ints(&self, i: usize) -> Option<Vec<i64>> {
        self.get(i).map(Array::integers)
    }

    /// How many inputs there are, omitted ones included.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

/// The batch, channels and spatial sizes of `a`.
pub(crate) fn nchw(a: &Array) -> OpResult<(usize, usize, &[usize])> {
    match a.dims.as_slice() {
        [n, c, s @ ..] if !s.is_empty() => Ok((*n, *c, s)),
        d => Err(OpError::NoSpatialAxis { dims: d.to_vec() }),
    }
}

/// Linear index of `idx` under strides.
pub(crate) fn offset(idx: &[usize], st: &[usize]) -> usize {
    idx.iter().zip(st).map(|(i, s)| i * s).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_indices() {
        for (dims, steps) in [
            (&[][..], &[][..]),
            (&[3], &[2]),
            (&[2, 3, 4], &[12, 4, 1]),
            (&[2, 3, 4], &[1, 0, 6]),
            (&[1 << 40, 0, 4], &[1, 1, 1]),
        ] {
            let wanted: Vec<usize> =
                indices(dims).map(|at| at.iter().zip(steps).map(|(i, s)| i * s).sum()).collect();
            assert_eq!(strided(dims, steps), wanted, "{dims:?} {steps:?}");
        }
    }
}
