"""What a model found in an image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray

from ._errors import UsageError


@dataclass(frozen=True)
class Measured:
    """What a label covers."""

    name: str
    """Name of the label."""
    value: int
    """Its value in ``Prediction.labels``."""
    voxels: int
    """Voxels or pixels."""
    share: float
    """Share of all voxels."""
    ml: Optional[float] = None
    """Volume in millilitres, of volumes."""
    mm2: Optional[float] = None
    """Area in square millimetres, of images that say how large a pixel is."""
    regions: Optional[int] = None
    """Outlined regions of a slide."""


@dataclass(frozen=True)
class Prediction:
    """What a model found in an image."""

    labels: Optional[NDArray[np.uint16]]
    """Segmentation: a label at every voxel of the image's own grid, ``[x, y, z]`` as nibabel has it; of photos and tiles
    ``[row, column]``. ``None`` where the task is another."""
    probabilities: dict[str, NDArray[np.float32]]
    """Segmentation, where asked for: the score of each label above 0 on the same grid. Classification: empty."""
    classes: list[str]
    """Classification: the class, or the classes above their thresholds."""
    scores: dict[str, float]
    """Classification and regression: the number of each class or quantity."""
    affine: Optional[NDArray[np.float64]]
    """Volumes: from voxels of the image to millimetres (RAS+), 4 by 4."""
    spacing_mm: tuple[float, float, float]
    """Size of a voxel along the image's axes in mm; 1 where the image does not say."""
    measured: list[Measured]
    """Segmentation: what each label above 0 covers."""
    warnings: list[str]
    """What a reader of the results should know, such as an implausible volume."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Time of each kind of work; ``total`` is all of it."""
    peak_memory_bytes: Optional[int] = None
    """Peak resident memory of this process so far, Python included."""

    @property
    def volumes(self) -> dict[str, Optional[float]]:
        """Volume of each label in millilitres; ``None`` for images in a plane."""
        return {m.name: m.ml for m in self.measured}

    def to_nibabel(self) -> Any:
        """The labels as a ``nibabel.Nifti1Image`` on the image's grid."""
        import nibabel

        labels, affine = self._volume()
        small = labels.astype(np.uint8) if labels.size == 0 or labels.max() < 256 else labels
        return nibabel.Nifti1Image(small, affine)

    def to_sitk(self) -> Any:
        """The labels as a ``SimpleITK.Image`` on the image's grid."""
        import SimpleITK

        labels, affine = self._volume()
        image = SimpleITK.GetImageFromArray(np.ascontiguousarray(labels.transpose(2, 1, 0)))
        # SimpleITK's axes are left, posterior, superior.
        world = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
        spacing = np.linalg.norm(world[:3, :3], axis=0)
        image.SetSpacing([float(v) for v in spacing])
        image.SetDirection([float(v) for v in (world[:3, :3] / spacing).ravel()])
        image.SetOrigin([float(v) for v in world[:3, 3]])
        return image

    def to_pil(self) -> Any:
        """The labels of a photo or tile as a grey ``PIL.Image``."""
        from PIL import Image

        if self.labels is None or self.labels.ndim != 2:
            raise UsageError("only labels of photos and tiles are pictures")
        if self.labels.size and self.labels.max() > 255:
            return Image.fromarray(self.labels)
        return Image.fromarray(self.labels.astype(np.uint8))

    def _volume(self) -> tuple[NDArray[np.uint16], NDArray[np.float64]]:
        if self.labels is None or self.affine is None:
            raise UsageError("only labels of volumes lie on a grid in space")
        return self.labels, self.affine
