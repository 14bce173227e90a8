use crate::error::{Error, Result};

/// Values in row-major order, the last axis fastest, as ONNX and NumPy have them.
///
/// All values are float32 here. Whole numbers of other types are exact up to 2²⁴.
///
/// ```
/// use ampoule::Tensor;
///
/// let t = Tensor::new(&[2, 3], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0])?;
/// assert_eq!((t.shape(), t.values()[5]), (&[2, 3][..], 5.0));
/// assert!(Tensor::new(&[2, 2], vec![0.0]).is_err());
/// # Ok::<(), ampoule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    values: Vec<f32>,
}

/// Values that lie elsewhere, in row-major order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TensorView<'a> {
    shape: &'a [usize],
    values: &'a [f32],
}

impl<'a> TensorView<'a> {
    /// Values of `shape`; an error where they are not as many.
    pub fn new(shape: &'a [usize], values: &'a [f32]) -> Result<Self> {
        fills(shape, values.len())?;
        Ok(TensorView { shape, values })
    }

    /// Sizes of the axes.
    pub fn shape(&self) -> &'a [usize] {
        self.shape
    }

    /// The values.
    pub fn values(&self) -> &'a [f32] {
        self.values
    }
}

/// Whether so many values are those of a shape.
fn fills(shape: &[usize], values: usize) -> Result<()> {
    let count = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
    match count == Some(values) {
        true => Ok(()),
        false => Err(Error::Values { values, shape: shape.to_vec() }),
    }
}

impl Tensor {
    /// A tensor of `shape`; an error where the values are not as many.
    pub fn new(shape: &[usize], values: Vec<f32>) -> Result<Self> {
        fills(shape, values.len())?;
        Ok(Tensor { shape: shape.to_vec(), values })
    }

    /// A tensor of one value everywhere.
    pub fn filled(shape: &[usize], value: f32) -> Self {
        Tensor { shape: shape.to_vec(), values: vec![value; shape.iter().product()] }
    }

    /// Sizes of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The values.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The tensor without its values, which stay where they are.
    pub fn view(&self) -> TensorView<'_> {
        TensorView { shape: &self.shape, values: &self.values }
    }

    /// The values, to be changed.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// The values alone.
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }
}
