//! Tensors and volumes as NumPy arrays. What Rust made is not copied on its way to Python.

use ampoule::Volume;
use numpy::{Element, PyArray1, PyArrayDyn, PyArrayMethods, npyffi::NPY_ORDER};
use pyo3::prelude::*;

/// A tensor, rows first.
pub(crate) fn tensor<'py>(
    py: Python<'py>,
    shape: &[usize],
    values: Vec<f32>,
) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
    PyArray1::from_vec(py, values).reshape(shape)
}

/// A volume, `[x, y, z]` with x fastest; of an image in a plane `[y, x]`, as pictures are.
pub(crate) fn volume<'py, T: Element + Copy>(
    py: Python<'py>,
    volume: Volume<T>,
    flat: bool,
) -> PyResult<Bound<'py, PyArrayDyn<T>>> {
    let [x, y, z] = volume.dims;
    let all = PyArray1::from_vec(py, volume.data);
    match flat {
        true => all.reshape(&[y, x][..]),
        false => all.reshape_with_order(&[x, y, z][..], NPY_ORDER::NPY_FORTRANORDER),
    }
}
