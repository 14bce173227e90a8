//! The reference: every operator computed plainly, in float64 or int64, and rounded to its element
//! type once at the end. Constant folding uses it, the engine falls back to it for rare operators,
//! and tests hold the engine against it. It is slow on purpose.

mod elementwise;
mod moves;
mod spatial;
pub use spatial::{AxisTaps, axis_taps};

use crate::{DType, Error, Graph, Op, Result, Tensor};

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

type R<T> = std::result::Result<T, String>;

impl Array {
    fn new(t: &Tensor) -> R<Self> {
        let data = if t.dtype().is_int() { t.to_i64().map(Data::I) } else { t.to_f64().map(Data::F) };
        let data = data.ok_or_else(|| format!("{} cannot be computed with", t.dtype().name()))?;
        Ok(Array { dtype: t.dtype(), dims: t.dims().to_vec(), data })
    }

    fn float(dtype: DType, dims: Vec<usize>, v: Vec<f64>) -> Self {
        Array { dtype, dims, data: Data::F(v) }
    }

    fn int(dtype: DType, dims: Vec<usize>, v: Vec<i64>) -> Self {
        Array { dtype, dims, data: Data::I(v) }
    }

    fn tensor(&self) -> R<Tensor> {
        let t = match &self.data {
            Data::F(v) => Tensor::from_f64(self.dtype, &self.dims, v),
            Data::I(v) => Tensor::from_i64(self.dtype, &self.dims, v),
        };
        t.ok_or_else(|| format!("{} cannot be produced", self.dtype.name()))
    }

    fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Elements as float64.
    fn f(&self) -> Vec<f64> {
        match &self.data {
            Data::F(v) => v.clone(),
            Data::I(v) => v.iter().map(|&x| x as f64).collect(),
        }
    }

    /// Elements as int64.
    fn i(&self) -> Vec<i64> {
        match &self.data {
            Data::F(v) => v.iter().map(|&x| x as i64).collect(),
            Data::I(v) => v.clone(),
        }
    }

    /// The array whose element `k` is this one's at `index[k]`, or `fill` where that is `None`.
    fn take(&self, dims: Vec<usize>, index: &[Option<usize>], fill: f64) -> Self {
        let data = match &self.data {
            Data::F(v) => Data::F(index.iter().map(|i| i.map_or(fill, |i| v[i])).collect()),
            Data::I(v) => Data::I(index.iter().map(|i| i.map_or(fill as i64, |i| v[i])).collect()),
        };
        Array { dtype: self.dtype, dims, data }
    }

    fn reshaped(self, dims: Vec<usize>) -> R<Self> {
        if dims.iter().product::<usize>() != self.len() {
            return Err(format!("{:?} cannot become {dims:?}", self.dims));
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

/// Inputs of one node, with typed access.
pub(crate) struct Inputs(Vec<Option<Array>>);

impl Inputs {
    fn get(&self, i: usize) -> Option<&Array> {
        self.0.get(i).and_then(Option::as_ref)
    }

    fn x(&self, i: usize) -> R<&Array> {
        self.get(i).ok_or_else(|| format!("input {i} is missing"))
    }

    fn ints(&self, i: usize) -> Option<Vec<i64>> {
        self.get(i).map(Array::i)
    }

    fn count(&self) -> usize {
        self.0.len()
    }
}

/// Computes one node. `outputs` is how many outputs it has (`Split` needs to know).
pub fn node(op: &Op, inputs: &[Option<Tensor>], outputs: usize) -> Result<Vec<Tensor>, String> {
    if let Op::Identity = op
        && let Some(Some(t)) = inputs.first()
    {
        return Ok(vec![t.clone()]);
    }
    let arrays = inputs.iter().map(|t| t.as_ref().map(Array::new).transpose()).collect::<R<Vec<_>>>()?;
    let inputs = Inputs(arrays);
    let out = if let Some(out) = elementwise::compute(op, &inputs)? {
        vec![out]
    } else if let Some(out) = spatial::compute(op, &inputs)? {
        vec![out]
    } else {
        moves::compute(op, &inputs, outputs)?
    };
    out.iter().map(Array::tensor).collect()
}

/// Runs a whole graph on `inputs`, given in the order of [`Graph::inputs`].
pub fn run(graph: &Graph, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let unsupported = graph.unsupported();
    if !unsupported.is_empty() {
        return Err(Error::Unsupported(unsupported));
    }
    if inputs.len() != graph.inputs.len() {
        return Err(Error::invalid(format!(
            "{} inputs given, {} expected",
            inputs.len(),
            graph.inputs.len()
        )));
    }
    let mut values: Vec<Option<Tensor>> = vec![None; graph.values.len()];
    for (id, t) in &graph.constants {
        values[id.0] = Some(t.clone());
    }
    for (id, t) in graph.inputs.iter().zip(inputs) {
        values[id.0] = Some(t.clone());
    }
    for n in &graph.nodes {
        let args: Vec<Option<Tensor>> =
            n.inputs.iter().map(|i| i.and_then(|i| values[i.0].clone())).collect();
        let outs = node(&n.op, &args, n.outputs.len()).map_err(|reason| Error::Node {
            node: graph.node_name(n).into(),
            op: n.op.name(),
            inputs: format!("{:?}", args.iter().flatten().map(Tensor::dims).collect::<Vec<_>>()),
            reason,
        })?;
        for (o, t) in n.outputs.iter().zip(outs) {
            if let Some(o) = o {
                values[o.0] = Some(t);
            }
        }
    }
    let missing = || Error::invalid("an output was not computed");
    graph.outputs.iter().map(|o| values[o.0].clone().ok_or_else(missing)).collect()
}
