"""Cases of a cohort: found by the same rules as the command line's, also where files lie in object storage."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import pathlib
import posixpath
from dataclasses import dataclass, field
from typing import Any, Optional, Sequence, Union

from .._errors import BadInput, UsageError
from .._model import Model
from .._options import Path
from .._storage import Storage, is_remote

# Columns of manifests that name no files.
_NO_FILES = {"case", "id", "subjectid", "group", "patient", "subject", "site"}


@dataclass
class Found:
    """The cases of a cohort."""

    cases: list[dict[str, Any]]
    """As the extension module has them."""
    skipped: list[tuple[str, str]]
    """Files that are no cases, with the reason."""
    notes: list[str]
    remote: dict[str, str] = field(default_factory=dict)
    """Where remote files are brought to, with their addresses."""

    def as_json(self) -> str:
        """The cases for the extension module."""
        return json.dumps(self.cases)

    def shown(self, case: dict[str, Any]) -> str:
        """The main file of a case, as the user named it."""
        file = str(case["files"][0]) if case["files"] else case["name"]
        return self.remote.get(file, file)


def find(
    model: Model, inputs: Union[Path, Sequence[Path]], out: Path, stage: pathlib.Path, storage: Storage
) -> Found:
    """Finds the cases that inputs hold. Remote ones get places below ``stage``, where workers bring their files."""
    given = [inputs] if isinstance(inputs, (str, os.PathLike)) else list(inputs)
    remote: dict[str, str] = {}
    local: list[Path] = []
    for one in given:
        if _is_table(one):
            local.append(_staged_table(os.fspath(one), stage, storage, remote))
        elif is_remote(one):
            local.append(_place(os.fspath(one), stage, remote))
        else:
            local.append(one)
    missing = [os.fspath(p) for p in local if os.fspath(p) not in remote and not os.path.exists(p)]
    if missing:
        raise BadInput(f"{missing[0]}: no such file or folder")
    folder = None if is_remote(out) else out
    told = json.loads(model._native.collect(local, folder))
    if not told["cases"] and not told["skipped"]:
        raise UsageError(f"there are no cases in {', '.join(os.fspath(p) for p in given)}")
    skipped = [(remote.get(path, path), reason) for path, reason in told["skipped"]]
    return Found(told["cases"], skipped, told["notes"], remote)


def _is_table(path: Path) -> bool:
    return os.fspath(path).lower().endswith((".csv", ".tsv"))


def _place(url: str, stage: pathlib.Path, remote: dict[str, str]) -> str:
    """Where a remote file is brought to: a folder of its own, so that its name stays as it is."""
    place = os.fspath(stage / hashlib.sha256(url.encode()).hexdigest()[:24] / posixpath.basename(url))
    remote[place] = url
    return place


def _staged_table(path: str, stage: pathlib.Path, storage: Storage, remote: dict[str, str]) -> Path:
    """The manifest itself; or, where it or its files are remote, a copy that names their places."""
    file = pathlib.Path(path)
    if is_remote(path):
        file = stage / "manifests" / hashlib.sha256(path.encode()).hexdigest()[:24] / posixpath.basename(path)
        storage.fetch(path, file)
    elif not file.is_file():
        raise BadInput(f"{path}: no such file or folder")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as e:
        raise BadInput(f"{path}: it is no UTF-8 text: {e}") from e
    if not is_remote(path) and "://" not in text:
        return file
    rows = list(csv.reader(text.splitlines(), delimiter=_delimiter(text, path)))
    base = posixpath.dirname(path) if is_remote(path) else os.fspath(file.parent.absolute())
    header = [name.strip().lower() for name in rows[0]] if rows else []
    staged = [rows[0]] if rows else []
    for row in rows[1:]:
        cells = [_cell(c.strip(), header[i] if i < len(header) else "", base, stage, remote) for i, c in enumerate(row)]
        staged.append(cells)
    copy = stage / "manifests" / f"{hashlib.sha256(path.encode()).hexdigest()[:24]}-staged" / posixpath.basename(path)
    copy.parent.mkdir(parents=True, exist_ok=True)
    with open(copy, "w", newline="", encoding="utf-8") as out:
        csv.writer(out, delimiter="\t" if path.lower().endswith(".tsv") else ",").writerows(staged)
    return copy


def _delimiter(text: str, path: str) -> str:
    first = text.split("\n", 1)[0]
    if path.lower().endswith(".tsv"):
        return "\t"
    return max(",;\t", key=first.count)


def _cell(cell: str, column: str, base: str, stage: pathlib.Path, remote: dict[str, str]) -> str:
    if not cell or column in _NO_FILES:
        return cell
    if is_remote(cell):
        return _place(cell, stage, remote)
    if is_remote(base):
        return _place(posixpath.join(base, cell), stage, remote)
    return os.fspath(pathlib.Path(base) / cell)


def identity(opened: Model, settings: dict[str, Any]) -> dict[str, Optional[str]]:
    """What results of a cohort depend on besides the cases."""
    recipe = opened.recipe
    return {
        "model_sha256": opened.sha256,
        "recipe_sha256": hashlib.sha256((recipe.text if recipe else "").encode()).hexdigest(),
        "settings": json.dumps(settings, sort_keys=True),
    }
