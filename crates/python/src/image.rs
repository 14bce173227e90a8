//! Images in memory, from Python's arrays.

use crate::errors::{input, usage};
use ampoule::{Affine, DataType, Images, Nifti, Photo};
use numpy::{PyReadonlyArray1, PyReadonlyArray3, PyUntypedArrayMethods};
use pyo3::prelude::*;

/// A volume: its voxels, x fastest, and what says where they lie.
#[derive(FromPyObject)]
pub(crate) enum Voxels<'py> {
    /// The bytes of a NIfTI header and those of the voxels.
    Nifti(Vec<u8>, PyReadonlyArray1<'py, u8>),
    /// Sizes, NumPy's name of the type, little-endian bytes, and the map from voxels to millimetres (RAS+).
    Placed([usize; 3], String, PyReadonlyArray1<'py, u8>, [[f64; 4]; 3]),
}

/// Volumes as images of a case.
pub(crate) fn volumes(list: Vec<Voxels<'_>>) -> PyResult<Images> {
    Ok(Images::Volumes(list.into_iter().map(volume).collect::<PyResult<_>>()?))
}

fn volume(given: Voxels<'_>) -> PyResult<Nifti> {
    match given {
        Voxels::Nifti(header, raw) => {
            Nifti::of_header(header, raw.as_slice().map_err(usage)?.to_vec()).map_err(input)
        }
        Voxels::Placed(dims, dtype, raw, affine) => {
            let raw = raw.as_slice().map_err(usage)?.to_vec();
            Nifti::of_voxels(dims, data_type(&dtype)?, raw, &Affine(affine), Vec::new()).map_err(input)
        }
    }
}

fn data_type(name: &str) -> PyResult<DataType> {
    Ok(match name {
        "uint8" => DataType::U8,
        "int8" => DataType::I8,
        "int16" => DataType::I16,
        "uint16" => DataType::U16,
        "int32" => DataType::I32,
        "uint32" => DataType::U32,
        "int64" => DataType::I64,
        "uint64" => DataType::U64,
        "float32" => DataType::F32,
        "float64" => DataType::F64,
        other => {
            return Err(usage(format!("voxels of the type {other} are not read; convert them to float32")));
        }
    })
}

/// Red, green and blue of each pixel, rows from the top.
pub(crate) fn photo(rgb: &PyReadonlyArray3<'_, u8>) -> PyResult<Images> {
    let [height, width, channels] = rgb.shape() else { return Err(usage("three axes are expected")) };
    if (*channels, *height == 0 || *width == 0) != (3, false) {
        return Err(input(format!(
            "a picture of {height} x {width} pixels with {channels} channels; RGB is needed"
        )));
    }
    let pixels = rgb.as_slice().map_err(usage)?.to_vec();
    Ok(Images::Photo(Photo::new(*width, *height, pixels)))
}
