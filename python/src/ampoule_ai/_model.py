"""Models: tensors in and out, images in and labels out."""

from __future__ import annotations

import json
import os
import tempfile
import time
from dataclasses import dataclass
from typing import Any, Mapping, Optional, Sequence, Union

import numpy as np
from numpy.typing import NDArray

from . import _images
from ._errors import UsageError
from ._load import native
from ._options import Bytes, Opening, Path, calibrated, opening
from ._prediction import Measured, Prediction
from ._recipe import Recipe

# Whole numbers up to this are exact in float32, which carries them.
_EXACT = 1 << 24


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a network, as its file has it."""

    name: str
    shape: tuple[Union[int, str], ...]
    """Axes, outermost first; free ones by their names, ``?`` where they have none."""
    dtype: Optional[str]
    """NumPy's name of the element type in the file, where it says one. ``Model.run`` gives outputs of this type, and takes
    any numbers: the network computes in the precision that the model was opened with."""


@dataclass(frozen=True)
class Label:
    """A label or class of a recipe."""

    name: str
    value: int
    """Its value in label maps; 0 is the background."""


class Model:
    """A network, with its recipe if it has one. Calls from several threads are done one after the other; other Python
    threads run meanwhile."""

    def __init__(self, _opening: Opening) -> None:
        calibrated()
        self._opening = _opening
        self._native = native.Model(_opening)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        threads: int = 0,
        precision: str = "fp32",
        isa: Optional[str] = None,
        max_ram: Bytes = None,
        recipe: Union[Recipe, Path, None] = None,
        fast: bool = False,
    ) -> Model:
        """Opens what the command line takes as a model: an ONNX file, a TorchScript or ``torch.export`` archive, a folder
        of nnU-Net, MONAI or GaNDLF, or the name of a model that was fetched or comes with the package (``deepbet``).

        :param threads: 0 for as many as this process may use. Results are the same bits with any number.
        :param precision: ``fp32``, ``fp32-strict`` (never in terms of bfloat16), ``bf16`` (values between layers in two bytes) or ``bf16-fast``.
        :param isa: Instruction-set tier, such as ``avx2`` [default: ``$AMPOULE_ISA``, or the best of this CPU].
        :param max_ram: Most resident bytes of this process, Python included: a number, or a text such as ``2G``. What does
            not fit is run in parts with the same result, or refused with :class:`OutOfMemory` before it runs.
        :param recipe: A recipe instead of the one in the model: a :class:`Recipe`, a file, or the name of one that comes
            with the package.
        :param fast: The faster way that the recipe names: a smaller ensemble, no test-time augmentation.
        """
        return cls(opening(path, threads, precision, isa, max_ram, recipe, fast))

    @property
    def inputs(self) -> list[TensorInfo]:
        """Inputs in the order of the file."""
        return [_info(*i) for i in self._native.inputs()]

    @property
    def outputs(self) -> list[TensorInfo]:
        """Outputs in the order of the file."""
        return [_info(*i) for i in self._native.outputs()]

    @property
    def labels(self) -> list[Label]:
        """Labels or classes of the recipe; empty without one."""
        return [Label(*i) for i in self._native.labels()]

    @property
    def recipe(self) -> Optional[Recipe]:
        """The recipe in force."""
        text = self._native.recipe()
        return None if text is None else Recipe(text)

    def new_recipe(self, name: str = "model") -> Recipe:
        """A recipe to begin with, from what the file says of inputs and outputs. Its lines marked FILL IN must be looked
        at."""
        return Recipe(self._native.skeleton(name))

    @property
    def notes(self) -> list[str]:
        """What a user should know of the model."""
        return self._native.notes()

    @property
    def sha256(self) -> str:
        """Hash of the model's files."""
        return self._native.sha256()

    def write(self, path: Path, *, overwrite: bool = False) -> None:
        """Writes one ONNX file with the recipe inside, as ``ampoule import`` does."""
        if os.path.exists(path) and not overwrite:
            raise UsageError(f"{os.fspath(path)} exists; overwrite=True replaces it")
        self._native.write(path)

    def run(self, inputs: Union[Mapping[str, Any], Any]) -> dict[str, NDArray[Any]]:
        """Runs the network on arrays by the names of its inputs, in the axes of the file (such as NCHW), and gives its
        outputs by name. A network of one input takes the array alone.

        Arrays are NumPy's, or anything with ``__dlpack__`` (PyTorch, JAX, CuPy on the CPU). float32 arrays whose values lie in
        order are read where they are. The network is made ready for the shapes given; a run with the same shapes as the one
        before starts at once.
        """
        infos = self._native.inputs()
        if not isinstance(inputs, Mapping):
            if len(infos) != 1:
                names = ", ".join(i[0] for i in infos)
                raise UsageError(f"the network has the inputs {names}; give a dictionary of arrays by name")
            inputs = {infos[0][0]: inputs}
        given = [(str(name), _tensor(name, value)) for name, value in inputs.items()]
        types = {name: dtype for name, _, dtype in self._native.outputs()}
        return {name: _as_declared(a, types.get(name)) for name, a in self._native.run(given)}

    def predict(
        self, image: Any, *, probabilities: bool = False, affine: Optional[Any] = None
    ) -> Prediction:
        """Runs an image through recipe and network, and gives what was found on the image's own grid.

        ``image`` is a file (NIfTI, MGH, NRRD, MetaImage; PNG, JPEG, TIFF and others; a DICOM file, folder or ZIP), an image
        of nibabel, SimpleITK or Pillow, a list of pydicom data sets of one series, or an array: ``[x, y, z]`` with
        ``affine``, or ``[row, column]`` or ``[row, column, channel]`` of uint8 or uint16. A recipe of several inputs takes a
        list of them in its order, or a dictionary by their names.

        :param probabilities: Whether a segmentation also gives the score of each label.
        :param affine: Of an array: from voxels to millimetres (RAS+), 4 by 4.
        """
        begun = time.perf_counter()
        found = self._predict(self._in_order(image), probabilities, affine)
        measured = [Measured(**m) for m in json.loads(found.pop("measured"))]
        place = found.pop("affine")
        seconds = dict(found.pop("seconds"))
        seconds["total"] = time.perf_counter() - begun
        return Prediction(
            **{**found, "scores": dict(found["scores"]), "spacing_mm": tuple(found["spacing_mm"])},
            affine=None if place is None else np.vstack([np.array(place), [0.0, 0.0, 0.0, 1.0]]),
            measured=measured,
            seconds=seconds,
        )

    def _in_order(self, image: Any) -> list[Any]:
        """The images of a case in the order of the recipe's inputs."""
        if isinstance(image, Mapping):
            names = (self._native.images() or ([], False))[0]
            strange = [str(n) for n in image if n not in names]
            if strange:
                raise UsageError(f"the recipe has no input {strange[0]!r}; its inputs are {', '.join(names)}")
            return [image[n] for n in names if n in image]
        if isinstance(image, (str, os.PathLike)) or not isinstance(image, Sequence):
            return [image]
        return list(image)

    def _predict(self, images: list[Any], probabilities: bool, affine: Any) -> dict[str, Any]:
        paths = [i for i in images if isinstance(i, (str, os.PathLike))]
        if len(paths) == len(images):
            return self._native.predict_files(paths, probabilities)
        if paths:
            raise UsageError("files and images in memory cannot be mixed in one case")
        kinds = {_images.kind(i) for i in images}
        if affine is not None and kinds != {"array"}:
            raise UsageError("affine is for arrays; images of libraries and files have their own")
        if kinds == {"dicom"}:
            with tempfile.TemporaryDirectory(prefix="ampoule-") as folder:
                _images.save_series(images, folder)
                return self._native.predict_files([folder], probabilities)
        if kinds == {"pil"} or kinds == {"array"} and affine is None:
            if len(images) != 1:
                raise UsageError(f"one picture is a case; {len(images)} are given")
            pixels = _images.of_pil(images[0]) if kinds == {"pil"} else self._pixels(images[0])
            return self._native.predict_photo(pixels, probabilities)
        return self._native.predict_volumes([_volume(i, affine) for i in images], probabilities)

    def _pixels(self, value: Any) -> NDArray[np.uint8]:
        volumes = (self._native.images() or ([], False))[1]
        if volumes:
            raise UsageError("the recipe takes volumes; give an array with affine=, which says where its voxels lie")
        return _images.of_pixels(_array("the image", value))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._opening,)

    def __repr__(self) -> str:
        return f"Model({self._opening['path']!r})"


def _info(name: str, axes: Sequence[tuple[Optional[int], Optional[str]]], dtype: Optional[str]) -> TensorInfo:
    return TensorInfo(name, tuple(n if n is not None else str(text) for n, text in axes), dtype)


def _volume(image: Any, affine: Any) -> _images.Voxels:
    what = _images.kind(image)
    if what == "nibabel":
        return _images.of_nibabel(image)
    if what == "sitk":
        return _images.of_sitk(image)
    if what == "array" and affine is not None:
        return _images.of_array(_array("the image", image), affine)
    raise UsageError(f"a {type(image).__module__}.{type(image).__name__} is no image that is read here")


def _array(name: str, value: Any) -> NDArray[Any]:
    if isinstance(value, np.ndarray):
        return value
    try:
        return np.from_dlpack(value) if hasattr(value, "__dlpack__") else np.asarray(value)
    except Exception as e:  # Whatever library it comes from has exceptions of its own.
        raise UsageError(f"`{name}`: a {type(value).__name__} does not become an array: {e}") from e


def _tensor(name: str, value: Any) -> NDArray[np.float32]:
    """float32 values in order; those of an array that is so already."""
    array = _array(name, value)
    if array.dtype.kind not in "fiub":
        raise UsageError(f"`{name}`: an array of {array.dtype}; numbers are needed")
    if array.dtype.kind in "iu" and array.dtype.itemsize > 2 and array.size:
        least, most = int(array.min()), int(array.max())
        if max(-least, most) > _EXACT:
            raise UsageError(f"`{name}`: whole numbers beyond 16777216 are not exact in float32")
    return np.require(array, dtype=np.float32, requirements=["C", "A"])


def _as_declared(array: NDArray[np.float32], dtype: Optional[str]) -> NDArray[Any]:
    """Whole numbers as the file has them."""
    if dtype is None or dtype.startswith(("float", "bfloat")):
        return array
    return array.astype(dtype)
