//! Outputs of a run.

use crate::step::tensor;
use crate::{Error, Result};
use ampoule_graph::{DType, Tensor};
use ampoule_runtime::run::values::gather;
use ampoule_runtime::{Area, View};

/// An output of the most recent run.
pub struct OutputRef<'a> {
    /// Dimensions in ONNX order.
    pub dims: &'a [usize],
    /// Stride of each dimension, in elements.
    pub strides: &'a [isize],
    /// Declared element type.
    pub dtype: DType,
    pub(super) index: usize,
    pub(super) area: Area<'a>,
    pub(super) view: &'a View,
    pub(super) exact: Option<&'a Tensor>,
}

impl<'a> OutputRef<'a> {
    /// All elements in ONNX's row-major order.
    pub fn to_vec(&self) -> Vec<f32> {
        gather(self.area, self.view)
    }

    /// The memory behind the output, float32, and the stride of each dimension in it; `None` for a view with
    /// negative strides.
    pub fn raw(&self) -> Option<(&'a [f32], Vec<usize>)> {
        let n = self.view.extent()?;
        let data = self.area.slice::<f32>(0..n);
        Some((data, self.strides.iter().map(|&s| s.max(0) as usize).collect()))
    }

    /// The output as a tensor of its declared type.
    pub fn tensor(&self) -> Result<Tensor> {
        if let Some(t) = self.exact {
            return Ok(t.clone());
        }
        let t = tensor(self.dtype, self.dims, &self.to_vec());
        t.ok_or(Error::OutputType { index: self.index, dtype: self.dtype })
    }
}
