"""Options that several functions take."""

from __future__ import annotations

import os
import re
from typing import Any, Optional, TypedDict, Union

from . import _environment
from ._errors import UsageError
from ._load import native
from ._recipe import Recipe

Path = Union[str, "os.PathLike[str]"]
Bytes = Union[int, str, None]

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class Opening(TypedDict):
    """How a model is opened, as the extension module takes it."""

    path: str
    threads: int
    precision: str
    isa: Optional[str]
    max_ram: Optional[int]
    recipe: Optional[str]
    fast: bool
    models: Optional[str]


def to_bytes(given: Bytes) -> Optional[int]:
    """Bytes from a number, or from a text such as ``2G`` or ``700M``."""
    if given is None:
        return None
    if isinstance(given, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*", given.lower())
        if not found:
            raise UsageError(f"{given!r} is no size; give bytes with K, M or G, for example 2G")
        given = int(float(found[1]) * _UNITS[found[2]])
    if given <= 0:
        raise UsageError(f"{given} bytes are no limit on memory")
    return int(given)


_calibrated: list[bool] = []


def calibrated() -> None:
    """Before the first network: this machine's constants for the choice of algorithms, as the command line has them."""
    if not _calibrated:
        file = _environment.calibration()
        if file is not None:
            native.install_calibration(file)
        _calibrated.append(True)


def opening(
    path: Path,
    threads: int,
    precision: str,
    isa: Optional[str],
    max_ram: Bytes,
    recipe: Union[Recipe, Path, None],
    fast: bool,
) -> Opening:
    """Options as the extension module takes them."""
    calibrated()
    if threads < 0:
        raise UsageError(f"threads={threads}; it is 0 for as many as this process may use, or a number")
    text = None if recipe is None else (recipe if isinstance(recipe, Recipe) else Recipe.read(recipe)).text
    models = _environment.models()
    return Opening(
        path=os.fspath(path),
        threads=threads,
        precision=precision,
        isa=isa or _environment.isa(),
        max_ram=to_bytes(max_ram),
        recipe=text,
        fast=fast,
        models=None if models is None else os.fspath(models),
    )


def as_dict(value: Any) -> dict[str, Any]:
    """An object of JSON."""
    if not isinstance(value, dict):
        raise TypeError(f"an object is expected, not {type(value).__name__}")
    return value
