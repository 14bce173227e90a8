"""Recipes: what happens before and after a network (docs/recipes.md)."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

from ._errors import BadInput, UsageError
from ._load import native

_MOST = 1 << 20


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a recipe."""

    line: int
    """Line of the text, counted from 1."""
    message: str
    """What is wrong, and what to write instead."""


class Recipe:
    """The text of a recipe. It may have mistakes: :meth:`check` lists them, and what needs a recipe refuses it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._checked: Optional[tuple[list[Problem], Optional[dict[str, Any]]]] = None

    @staticmethod
    def read(path: Union[str, "os.PathLike[str]"]) -> Recipe:
        """Reads a file of at most 1 MiB; or the recipe of this name that comes with the program, such as ``glas``."""
        file = Path(path)
        if not file.is_file():
            shipped = native.shipped_recipe(os.fspath(path))
            if shipped is None:
                raise UsageError(f"{file}: there is no such file, and no recipe of this name comes with the program")
            return Recipe(shipped)
        if file.stat().st_size > _MOST:
            raise BadInput(f"{file}: not a recipe (a plain file of at most 1 MiB)")
        try:
            return Recipe(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as e:
            raise BadInput(f"{file}: {e}") from e

    @property
    def text(self) -> str:
        """The recipe as TOML."""
        return self._text

    def check(self) -> list[Problem]:
        """All that is wrong with it; nothing where it can be used."""
        return list(self._read()[0])

    def as_dict(self) -> dict[str, Any]:
        """Its tables, with defaults filled in; an error where something is wrong with it."""
        problems, tables = self._read()
        if tables is None:
            raise BadInput("\n".join(f"recipe:{p.line}: {p.message}" for p in problems))
        return tables

    @property
    def name(self) -> str:
        """Name of the model."""
        return str(self.as_dict()["model"]["name"])

    @property
    def task(self) -> str:
        """``segmentation``, ``classification`` or ``regression``."""
        return str(self.as_dict()["model"]["task"])

    def write(self, path: Union[str, "os.PathLike[str]"], *, overwrite: bool = False) -> None:
        """Writes the text, whole or not at all; a recipe with mistakes too, to be completed."""
        target = Path(path)
        if target.exists() and not overwrite:
            raise UsageError(f"{target} exists; overwrite=True replaces it")
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=target.parent, prefix=f"{target.name}.tmp-", delete=False
        ) as out:
            out.write(self._text)
        try:
            os.replace(out.name, target)
        except OSError:
            os.unlink(out.name)
            raise

    def _read(self) -> tuple[list[Problem], Optional[dict[str, Any]]]:
        if self._checked is None:
            found, tables = native.check_recipe(self._text)
            self._checked = ([Problem(*p) for p in found], None if tables is None else json.loads(tables))
        return self._checked

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recipe) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        problems, tables = self._read()
        return f"Recipe({tables['model']['name']!r})" if tables else f"Recipe(with {len(problems)} mistakes)"
