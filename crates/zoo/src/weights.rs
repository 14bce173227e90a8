//! Named tensors, taken out one by one so that what is left over is noticed.

use crate::{Error, Result};

use ampoule_graph::{DType, Graph, Node, Op, Tensor};
use std::collections::BTreeMap;

/// The tensors of a checkpoint.
#[derive(Clone, Debug, Default)]
pub struct Weights {
    map: BTreeMap<String, Tensor>,
    arch: &'static str,
}

impl Weights {
    /// These tensors.
    pub fn of(map: BTreeMap<String, Tensor>) -> Self {
        Weights { map, arch: "" }
    }

    /// Adds a tensor.
    pub fn insert(&mut self, name: String, t: Tensor) {
        self.map.insert(name, t);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.map.keys().map(String::as_str)
    }

    /// Names the architecture that errors speak of.
    pub fn for_arch(mut self, arch: &'static str) -> Self {
        self.arch = arch;
        self
    }

    fn wrong(&self, reason: String) -> Error {
        Error::Weights { arch: self.arch, reason }
    }

    /// Takes the float tensor `name`, which must have `dims`, as float32.
    pub fn take(&mut self, name: &str, dims: &[usize]) -> Result<Tensor> {
        let t = self.map.remove(name).ok_or_else(|| self.wrong(format!("`{name}` is missing")))?;
        if t.dims() != dims {
            return Err(self.wrong(format!("`{name}` is {:?}, {dims:?} is expected", t.dims())));
        }
        let values = t.to_f32().filter(|_| t.dtype().is_float());
        let values = values.ok_or_else(|| self.wrong(format!("`{name}` is {}", t.dtype().name())))?;
        if values.iter().any(|v| !v.is_finite()) {
            return Err(self.wrong(format!("`{name}` holds values that are not finite")));
        }
        Ok(Tensor::f32(dims, &values))
    }

    /// Those whose names begin with `prefix`, without it.
    pub fn below(self, prefix: &str) -> Weights {
        let rest = self.map.into_iter().filter_map(|(k, t)| Some((k.strip_prefix(prefix)?.to_owned(), t)));
        Weights { map: rest.collect(), arch: self.arch }
    }

    /// The same without `prefix` where all names have it.
    pub fn without_prefix(self, prefix: &str) -> Weights {
        if self.is_empty() || !self.names().all(|n| n.starts_with(prefix)) {
            return self;
        }
        self.below(prefix)
    }

    /// The shape of the tensor of this name.
    pub fn dims(&self, name: &str) -> Option<&[usize]> {
        self.map.get(name).map(Tensor::dims)
    }

    /// The shape of the tensor of this name, which must have so many axes.
    pub fn shape(&self, name: &str, axes: usize) -> Result<Vec<usize>> {
        let dims = self.dims(name).ok_or_else(|| self.wrong(format!("`{name}` is missing")))?;
        if dims.len() != axes || dims.contains(&0) {
            return Err(self.wrong(format!("`{name}` is {dims:?}, {axes} axes are expected")));
        }
        Ok(dims.to_vec())
    }

    /// An error about the tensor of this name: its shape, and what does not go with it.
    pub fn unfit(&self, name: &str, reason: &str) -> Error {
        self.wrong(format!("`{name}` is {:?}, but {reason}", self.dims(name).unwrap_or_default()))
    }

    /// Takes a tensor of `count` numbers, whatever its axes, as a row.
    pub fn any_shape(&mut self, name: &str, count: usize) -> Result<Tensor> {
        let dims = self.dims(name).unwrap_or_default().to_vec();
        if dims.iter().product::<usize>() != count {
            return Err(self.unfit(name, &format!("{count} numbers are expected")));
        }
        Ok(self.take(name, &dims)?.reshaped(vec![count])?)
    }

    /// Whether the name of any tensor begins so.
    pub fn any(&self, prefix: &str) -> bool {
        let next = self.map.range(prefix.to_owned()..).next();
        next.is_some_and(|(name, _)| name.starts_with(prefix))
    }

    /// The same under other names.
    pub fn renamed(self, name: impl Fn(&str) -> String) -> Weights {
        Weights { map: self.map.into_iter().map(|(k, t)| (name(&k), t)).collect(), arch: self.arch }
    }

    /// Takes those whose names begin with `prefix` out, without it.
    pub fn split(&mut self, prefix: &str) -> Weights {
        let rest = std::mem::take(&mut self.map);
        let (inside, rest) = rest.into_iter().partition(|(k, _)| k.starts_with(prefix));
        self.map = rest;
        Weights { map: inside, arch: self.arch }.below(prefix)
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    /// Drops tensors that inference does not need.
    pub fn ignore(&mut self, unneeded: impl Fn(&str) -> bool) {
        self.map.retain(|k, _| !unneeded(k));
    }

    /// Fails when tensors are left over: then the checkpoint is of another architecture.
    pub fn finish(self) -> Result<()> {
        match self.map.keys().next() {
            Some(name) => {
                Err(self.wrong(format!("{} tensors are left over, first `{name}`", self.map.len())))
            }
            None => Ok(()),
        }
    }
}

/// Stores float32 constants of more than `least` elements as float16 behind a `Cast`, which halves
/// the file. Returns the largest relative rounding error of any tensor.
pub fn half_weights(graph: &mut Graph, least: usize) -> f64 {
    let large: Vec<_> = graph
        .constants
        .iter()
        .filter(|(_, t)| t.dtype() == DType::F32 && t.len() > least)
        .map(|(id, t)| (*id, t.clone()))
        .collect();
    let mut worst = 0f64;
    for (id, t) in large {
        let (Some(v), dims) = (t.to_f64(), t.dims().to_vec()) else { continue };
        let Some(h) = Tensor::from_f64(DType::F16, &dims, &v) else { continue };
        let back = h.to_f64().unwrap_or_default();
        let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|d| d * d).sum::<f64>().sqrt();
        let error =
            norm(&mut v.iter().zip(&back).map(|(a, b)| a - b)) / norm(&mut v.iter().copied()).max(1e-30);
        worst = worst.max(error);
        let name = graph.value(id).name.clone();
        let wide = graph.fresh(&format!("{name}_f32"));
        graph.replace_uses(id, wide);
        graph.set_constant(id, h);
        let op = Op::Cast { to: DType::F32 };
        graph.nodes.insert(
            0,
            Node { name: format!("{name}_cast"), op, inputs: vec![Some(id)], outputs: vec![Some(wide)] },
        );
    }
    worst
}
