"""Images of other libraries, which are recognised without importing any of them."""

from __future__ import annotations

from typing import Any, Sequence, Union

import numpy as np
from numpy.typing import NDArray

from ._errors import BadInput, UsageError

Voxels = Union[
    "tuple[bytes, NDArray[np.uint8]]",
    "tuple[list[int], str, NDArray[np.uint8], list[list[float]]]",
]

_LEVELS = 65535


def kind(image: Any) -> str:
    """``nibabel``, ``sitk``, ``pil``, ``dicom``, ``array``, or nothing."""
    names = {c.__module__.split(".")[0] for c in type(image).__mro__}
    if "nibabel" in names and hasattr(image, "dataobj"):
        return "nibabel"
    if "SimpleITK" in names and hasattr(image, "GetDirection"):
        return "sitk"
    if "PIL" in names and hasattr(image, "convert"):
        return "pil"
    if "pydicom" in names and hasattr(image, "file_meta"):
        return "dicom"
    return "array" if isinstance(image, np.ndarray) or hasattr(image, "__dlpack__") else ""


def raw(values: NDArray[Any]) -> NDArray[np.uint8]:
    """The bytes of a volume, x fastest; not copied where they lie so already."""
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return np.asfortranarray(little).ravel(order="K").view(np.uint8)


def _storable(values: NDArray[Any]) -> NDArray[Any]:
    """Values of a type that volumes have."""
    if values.dtype == np.bool_:
        return values.astype(np.uint8)
    if values.dtype.kind == "f" and values.dtype.itemsize == 2:
        return values.astype(np.float32)
    if values.dtype.kind == "f" and values.dtype.itemsize > 8:
        return values.astype(np.float64)
    if values.dtype.kind not in "iuf":
        raise BadInput(f"voxels of the type {values.dtype} are not read; give a grey volume of numbers")
    return values


def _three_axes(values: NDArray[Any], how: str) -> NDArray[Any]:
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != 3:
        raise UsageError(f"a volume has three axes; this one has the shape {values.shape}{how}")
    return values


def of_array(values: NDArray[Any], affine: Any) -> Voxels:
    """A volume ``[x, y, z]`` with its map from voxels to millimetres, 4 by 4."""
    volume = _storable(_three_axes(values, "; choose one frame"))
    place = np.asarray(affine, dtype=np.float64)
    if place.shape not in ((4, 4), (3, 4)):
        raise UsageError(f"an affine is 4 by 4; this one has the shape {place.shape}")
    name = volume.dtype.newbyteorder("=").name
    return list(volume.shape), name, raw(volume), place[:3].tolist()


def of_nibabel(image: Any) -> Voxels:
    """A volume with the very header that its file would have."""
    stored = image.dataobj
    slope, intercept = 1.0, 0.0
    if hasattr(stored, "get_unscaled"):
        values = np.asanyarray(stored.get_unscaled())
        slope, intercept = float(stored.slope), float(stored.inter)
    else:
        values = np.asanyarray(stored)
    volume = _storable(_three_axes(values, "; choose one frame, as image.slicer[..., 0]"))
    if "sform_code" not in getattr(image.header, "keys", list)():
        scaled = volume if (slope, intercept) == (1.0, 0.0) else volume * slope + intercept
        return of_array(scaled, image.affine)
    header = image.header.as_byteswapped("<")
    header.set_data_dtype(volume.dtype.newbyteorder("<"))
    header.set_data_shape(volume.shape)
    header["scl_slope"], header["scl_inter"] = slope, intercept
    header["magic"] = bytes(header["magic"].item()).replace(b"ni", b"n+")
    if not np.array_equal(header.get_best_affine(), image.affine):
        header.set_sform(image.affine, code=2)
    return header.binaryblock, raw(volume)


def of_sitk(image: Any) -> Voxels:
    """A volume of SimpleITK, whose axes in space are left, posterior, superior."""
    import SimpleITK

    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise UsageError(
            f"a grey volume is needed; this image has {image.GetDimension()} axes and "
            f"{image.GetNumberOfComponentsPerPixel()} values a voxel"
        )
    values = SimpleITK.GetArrayViewFromImage(image).transpose(2, 1, 0)
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return of_array(values, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)


def of_pil(image: Any) -> NDArray[np.uint8]:
    """Red, green and blue of a picture, upright as its file says."""
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):
        return of_pixels(np.asarray(upright).astype(np.uint16))
    if upright.mode in ("I", "F"):
        raise UsageError(f"a picture of the mode {upright.mode}; convert it to RGB, L or I;16")
    return np.ascontiguousarray(upright.convert("RGB"), dtype=np.uint8)


def of_pixels(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """A picture ``[row, column]`` or ``[row, column, channel]``; sixteen bits are rounded to eight."""
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) * 255 + _LEVELS // 2) // _LEVELS).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise UsageError(f"pixels of the type {pixels.dtype}; uint8 or uint16 is needed")
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise UsageError(f"a picture has rows, columns and 3 channels; this one has the shape {pixels.shape}")
    return np.ascontiguousarray(pixels[..., :3])


def save_series(datasets: Sequence[Any], folder: str) -> None:
    """Writes the instances of a DICOM series as files; the reader of series puts them in order."""
    for number, dataset in enumerate(datasets):
        try:
            dataset.save_as(f"{folder}/{number:06}.dcm", enforce_file_format=True)
        except (AttributeError, ValueError, TypeError) as e:
            raise BadInput(f"instance {number} of the DICOM series cannot be written: {e}") from e
