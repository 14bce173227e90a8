"""The actor that holds a model and runs cases."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import tempfile
from dataclasses import dataclass
from typing import Any, Optional

from .._errors import AmpouleError
from .._load import native
from .._options import Opening, calibrated
from .._storage import Storage, is_remote, join


@dataclass(frozen=True)
class Work:
    """What all workers of a cohort know."""

    opening: Opening
    out: str
    overwrite: bool
    probabilities: bool
    redact_paths: bool
    storage: Storage
    remote: dict[str, str]
    """Where remote files are brought to, with their addresses."""


class Worker:
    """A model in a process of its own, with as much memory as was asked for."""

    def __init__(self, work: Work, cases: str, max_ram: Optional[int]) -> None:
        calibrated()
        self._work = work
        self._cases: list[dict[str, Any]] = json.loads(cases)
        self._scratch: Optional[tempfile.TemporaryDirectory[str]] = None
        out = work.out
        if is_remote(out):
            self._scratch = tempfile.TemporaryDirectory(prefix="ampoule-out-")
            out = self._scratch.name
        self._out = pathlib.Path(out)
        opening = Opening(**{**work.opening, "max_ram": max_ram})
        self._runner = native.Runner(
            opening, cases, out, work.overwrite, work.probabilities, work.redact_paths
        )

    def where(self) -> tuple[str, int]:
        """Node and process, for people and tests."""
        import ray

        return str(ray.get_runtime_context().get_node_id()), os.getpid()

    def run(self, i: int) -> str:
        """Runs case ``i``; what became of it, as JSON."""
        case = self._cases[i]
        brought: list[pathlib.Path] = []
        try:
            for file in [*case["files"], case.get("ground_truth")]:
                url = self._work.remote.get(file) if file else None
                if url is not None:
                    brought.append(pathlib.Path(file))
                    self._work.storage.fetch(url, pathlib.Path(file))
            if self._scratch is None:
                return self._runner.run(i)
            return self._sent(case, i)
        except AmpouleError as e:
            return json.dumps({"status": "failed", "error": str(e), "memory": e.code == 5})
        finally:
            for place in brought:
                shutil.rmtree(place.parent, ignore_errors=True)

    def _sent(self, case: dict[str, Any], i: int) -> str:
        """Runs a case whose results go into object storage. The record goes last: who sees it sees all of them."""
        name = case["name"]
        for record in (f"{name}_ampoule.json", f"records/{name}_ampoule.json"):
            self._bring(record)
        try:
            told = json.loads(self._runner.run(i))
            if told["status"] == "done":
                folder = os.path.dirname(name)
                own = {os.path.join(folder, w["file"]) for w in told["record"]["outputs"]}
                for file in sorted(own):
                    self._work.storage.send(self._out / file, join(self._work.out, file))
                for path in sorted(self._out.rglob("*_ampoule.json")):
                    within = path.relative_to(self._out).as_posix()
                    self._work.storage.send(path, join(self._work.out, within))
            return json.dumps(told)
        finally:
            for entry in self._out.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def _bring(self, record: str) -> None:
        """Brings the record of an earlier run with its files, which are verified where they lie then."""
        url = join(self._work.out, record)
        if not self._work.storage.exists(url):
            return
        self._work.storage.fetch(url, self._out / record)
        try:
            outputs = json.loads((self._out / record).read_text())["outputs"]
        except (ValueError, KeyError, TypeError):
            return
        for written in outputs:
            file = os.path.join(os.path.dirname(record), written["file"])
            if self._work.storage.exists(join(self._work.out, file)):
                self._work.storage.fetch(join(self._work.out, file), self._out / file)
