"""Trained medical networks on a plain CPU.

``Model.open`` opens a network; ``Model.run`` takes and gives NumPy arrays by the names of the ONNX file; ``Model.predict`` takes
a scan, tile or photo and gives labels on its own grid. ``optimize`` makes networks smaller and faster, ``evaluate`` compares
results with ground truth, ``study`` compares variants of models, ``Recipe`` says what happens before and after a network.

Research use only; not a medical device.
"""

from ._load import native as _native
from ._errors import (
    AmpouleError,
    BadInput,
    CasesFailed,
    LimitNotMet,
    OutOfMemory,
    UsageError,
)
from ._jobs import evaluate, optimize, study
from ._model import Label, Model, TensorInfo
from ._prediction import Measured, Prediction
from ._recipe import Problem, Recipe

__version__: str = _native.__version__

__all__ = [
    "AmpouleError",
    "BadInput",
    "CasesFailed",
    "Label",
    "LimitNotMet",
    "Measured",
    "Model",
    "OutOfMemory",
    "Prediction",
    "Problem",
    "Recipe",
    "TensorInfo",
    "UsageError",
    "__version__",
    "evaluate",
    "optimize",
    "study",
]
