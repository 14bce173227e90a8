"""Longer work: optimizing, evaluating, studies."""

from __future__ import annotations

import json
import os
import shlex
import sys
from typing import Any, Callable, Mapping, Optional, Sequence, Union

from . import _environment
from ._errors import LimitNotMet, UsageError
from ._load import native
from ._model import Model
from ._options import Bytes, Path, to_bytes

Progress = Callable[[str, int, int], None]


def evaluate(
    predictions: Path,
    truth: Path,
    *,
    groups: Optional[str] = None,
    instances: bool = False,
    resample_truth: bool = False,
    like: Optional[str] = None,
) -> dict[str, Any]:
    """Compares masks, label maps or a table of classes with ground truth, as ``ampoule evaluate --json`` does
    (docs/metrics.md): metrics of each case and in total, with intervals, and what was left out.

    :param groups: Cases that belong together: ``folder``, or a pattern such as ``{group}_*``.
    :param instances: Every value above 0 is one object of the same class.
    :param resample_truth: Ground truth on another grid is brought to the prediction's by the nearest label.
    :param like: Also the metrics of ``medpy``, ``monai`` or ``surface-distance``.
    """
    found = native.evaluate(predictions, truth, groups, instances, resample_truth, like)
    return dict(json.loads(found))


def optimize(
    model: Union[Model, Path],
    output: Path,
    *,
    calibrate: Optional[Path] = None,
    validate: Optional[Path] = None,
    truth: Optional[Path] = None,
    finetune: Optional[Path] = None,
    labels: Optional[Path] = None,
    groups: Optional[str] = None,
    resample_truth: bool = False,
    precision: str = "int8",
    max_drop: Union[Mapping[str, float], Sequence[str]] = (),
    teacher: Union[Model, str, None] = None,
    fast: bool = False,
    overwrite: bool = False,
    progress: Optional[Progress] = None,
    **options: Any,
) -> dict[str, Any]:
    """Makes a smaller and faster network of a model with a recipe, writes it as ONNX, and says what that does to the
    results on the validation cases, as ``ampoule optimize --json`` does.

    :param calibrate: Calibration images for INT8: a folder or a file.
    :param validate: Validation images, others than those of calibration.
    :param truth: Their ground truth; without it the original's own results are the reference.
    :param finetune: Training images, with ``labels`` as their ground truth.
    :param precision: ``int8``, ``auto`` (the fastest of INT8, bfloat16 and float32 for each layer), ``bf16`` or ``fp32``.
    :param max_drop: Largest mean loss by metric, as ``{"dice": 0.01}``, or as texts of the command line.
    :param teacher: ``original``, or another model with its recipe, to distil from.
    :param progress: Called with what is being done, parts that are done, and all parts.
    :param options: Options of the techniques by the names of the command line, with ``_`` for ``-``: ``prune=0.5``,
        ``qat=True``, ``student="unet-8"``, ``rounding="adaptive"``, ``calibration_method="minmax"``.
    :raises LimitNotMet: Where a limit is not met; another network was written instead, as ``report`` says.
    """
    if os.path.exists(output) and not overwrite:
        raise UsageError(f"{os.fspath(output)} exists; overwrite=True replaces it")
    if max_drop and validate is None:
        raise UsageError("max_drop needs validate")
    opened = model if isinstance(model, Model) else Model.open(model)
    named: dict[str, Any] = {k.replace("_", "-"): v for k, v in options.items() if v is not None}
    named["precision"] = precision
    if teacher is not None:
        named["teacher"] = teacher if isinstance(teacher, str) else "model"
    other = teacher
    if isinstance(other, str):
        other = None if other == "original" else Model.open(other)
    drops = [f"{k}={v}" for k, v in max_drop.items()] if isinstance(max_drop, Mapping) else list(max_drop)
    cases = {
        "calibrate": calibrate,
        "validate": validate,
        "truth": truth,
        "finetune": finetune,
        "labels": labels,
        "groups": groups,
        "resample_truth": resample_truth,
    }
    report = json.loads(
        native.optimize(
            opened._native,
            output,
            cases,
            json.dumps(named),
            drops,
            None if other is None else other._native,
            fast,
            overwrite,
            progress,
        )
    )
    if report.get("met") is False:
        raise LimitNotMet(f"the limit cannot be met; {report['written']} was written instead", report)
    return dict(report)


def study(
    file: Path,
    output: Path,
    *,
    overwrite: bool = False,
    max_ram: Bytes = None,
    progress: Optional[Callable[[dict[str, Any]], None]] = None,
) -> dict[str, Any]:
    """Carries a study out (docs/studies.md), writes ``report.html``, ``results.json`` and ``results.csv`` into the folder
    ``output``, and gives the results. Every cell is measured in a process of its own, which is this Python with this
    package. A killed study resumes.

    :param progress: Called with events, as ``ampoule study --json`` prints them.
    """
    models = _environment.models()
    setting = {
        "program": sys.executable,
        "arguments": ["-m", "ampoule_ai"],
        "code": os.fspath(str(native.__file__)),
        "command": f"ampoule_ai.study({shlex.quote(os.fspath(file))}, {shlex.quote(os.fspath(output))})",
        "models": None if models is None else os.fspath(models),
        "isa": _environment.isa(),
    }
    told = None if progress is None else lambda text: progress(json.loads(text))
    return dict(json.loads(native.study(file, output, overwrite, to_bytes(max_ram), setting, told)))
