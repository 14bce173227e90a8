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

impl Tensor {
    /// A tensor of `shape`; an error where the values are not as many.
    pub fn new(shape: &[usize], values: Vec<f32>) -> Result<Self> {
        let count = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        if count != Some(values.len()) {
            return Err(Error::Values { values: values.len(), shape: shape.to_vec() });
        }
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

    /// The values, to be changed.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// The values alone.
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }
}
