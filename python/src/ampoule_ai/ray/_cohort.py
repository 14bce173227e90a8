"""A cohort on a Ray cluster: who runs which case, and what is done about those that fail."""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Callable, Literal, Mapping, Optional, Sequence, Union

import ray

from .._errors import CasesFailed, UsageError
from .._load import native
from .._model import Model
from .._options import Bytes, Path, opening, to_bytes
from .._recipe import Recipe
from .._storage import Storage, is_remote, join
from . import _cases, _plan, _results
from ._pool import Pool, Seat
from ._worker import Work

# What says in an output folder whose results these are.
_MARK = "cohort.json"
# After how long a case that another process works on is asked for again.
_AGAIN = 0.5

Progress = Callable[[int, int, str, str], None]


@dataclass(frozen=True)
class Cohort:
    """How a cohort ended."""

    rows: list[dict[str, Any]]
    """What became of each case, and of each file that is none, as in the table."""
    table: str
    """Where the Parquet table lies."""
    notes: list[str]
    """What a user should know of the inputs."""

    @property
    def counts(self) -> dict[str, int]:
        """Cases that are done, kept, failed and skipped."""
        found = Counter(r["status"] for r in self.rows)
        return {status: found[status] for status in ("done", "kept", "failed", "skipped")}

    @property
    def failures(self) -> list[dict[str, Any]]:
        """The rows that failed or were skipped."""
        return [r for r in self.rows if r["status"] in ("failed", "skipped")]

    @property
    def code(self) -> int:
        """The exit code that the command line has for it (docs/cli.md)."""
        if not self.failures:
            return 0
        codes = {r["code"] for r in self.failures}
        return codes.pop() if len(self.failures) == len(self.rows) and len(codes) == 1 else 1

    def check(self) -> Cohort:
        """Raises :class:`CasesFailed` where not all cases are done."""
        if self.failures:
            first = self.failures[0]
            raise CasesFailed(
                f"{len(self.failures)} of {len(self.rows)} cases failed or were skipped, such as {first['file']}: "
                f"{first['error']}; {self.table} has all"
            )
        return self


@dataclass
class _Case:
    """A case on its way."""

    memory: int
    seconds: Optional[float]
    deaths: int = 0
    short: int = 0
    """How often it did not fit."""
    given: int = 0
    """How often a worker had it."""
    not_before: float = 0.0
    log: list[str] = field(default_factory=list)
    outcome: Optional[str] = None
    """As JSON, when it is over."""
    node: Optional[str] = None


@dataclass
class _Rules:
    """What is done about cases that fail."""

    attempts: int
    memory_retries: int
    memory_growth: float
    straggler_seconds: float
    straggler_factor: float


class _Run:
    """The loop that hands out cases."""

    def __init__(self, cases: list[_Case], names: list[str], pool: Pool, rules: _Rules, progress: Optional[Progress]) -> None:
        self.cases = cases
        self.names = names
        self.pool = pool
        self.rules = rules
        self.progress = progress
        # Large ones first: they are the last to end otherwise.
        self.waiting = sorted(range(len(cases)), key=lambda i: (-cases[i].memory, -(cases[i].seconds or 0), i))
        self.took: list[float] = []

    def all(self) -> None:
        """Until every case is over."""
        while self.waiting or any(s.future is not None for s in self.pool.seats):
            self._refuse_too_large()
            self._hand_out()
            self._hire()
            self._listen()
            self._give_up_stragglers()

    def _refuse_too_large(self) -> None:
        """What no machine can hold is reported without being tried; a plan that is a little above is tried there."""
        largest = self.pool.largest()
        for i in [i for i in self.waiting if self.cases[i].memory > largest]:
            self.waiting.remove(i)
            need, there = self.cases[i].memory >> 20, largest >> 20
            error = f"it needs {need} MiB; the largest machine of the cluster offers {there} MiB"
            self._over(i, {"status": "failed", "error": error, "memory": True})

    def _hand_out(self) -> None:
        """Gives every worker that is free the largest case that it can hold."""
        now = time.monotonic()
        for seat in [s for s in self.pool.seats if s.ready]:
            fits = (i for i in self.waiting if self.cases[i].memory <= seat.memory and self.cases[i].not_before <= now)
            i = next(fits, None)
            if i is not None:
                self.waiting.remove(i)
                self.cases[i].given += 1
                self.pool.give(seat, i)

    def _hire(self) -> None:
        """Has as many workers as there are cases and room for, of the size of the largest case that waits."""
        if not self.waiting:
            return
        need = max(self.cases[i].memory for i in self.waiting)
        # Workers that are too small for all that is left, or twice as large as needed, make room for others.
        for seat in [s for s in self.pool.seats if s.ready]:
            if all(self.cases[i].memory > seat.memory for i in self.waiting) or seat.memory > 2 * need:
                self.pool.end(seat)
        wanted = min(self.pool.room(need), len(self.waiting) + sum(s.future is not None for s in self.pool.seats))
        holders = sum(s.memory >= need for s in self.pool.seats)
        for _ in range(max(wanted - len(self.pool.seats), 1 if holders == 0 else 0)):
            self.pool.start(need)

    def _listen(self) -> None:
        """Waits for what happens next."""
        running = {s.future: s for s in self.pool.seats if s.future is not None}
        starting = {s.probe: s for s in self.pool.seats if s.node is None}
        watched = [*running, *starting]
        if not watched:
            time.sleep(0.05)
            return
        happened, _ = ray.wait(watched, num_returns=1, timeout=_AGAIN)
        # What else has happened by now is dealt with in the same round.
        happened, _ = ray.wait(watched, num_returns=len(watched), timeout=0) if happened else (happened, [])
        for future in happened:
            if future in starting:
                self.pool.arrive(starting[future])
            else:
                self._ended(running[future])

    def _ended(self, seat: Seat) -> None:
        """A worker is done with its case, or is no more."""
        i, future = seat.case, seat.future
        assert i is not None
        seat.case, seat.future = None, None
        took = time.monotonic() - seat.begun
        try:
            told = json.loads(ray.get(future))
        except ray.exceptions.RayTaskError as e:
            self.pool.end(seat)
            self._died(i, f"its worker failed: {str(e.cause or e).strip().splitlines()[-1]}", False)
            return
        except ray.exceptions.RayError as e:
            if seat in self.pool.seats:
                self.pool.seats.remove(seat)
            short = isinstance(e, ray.exceptions.OutOfMemoryError)
            self._died(i, "its worker ran out of memory" if short else "its worker or its machine was lost", short)
            return
        case = self.cases[i]
        if told["status"] == "elsewhere":
            case.not_before = time.monotonic() + _AGAIN
            self.waiting.append(i)
            return
        case.node = seat.node
        if told["status"] == "failed" and told.get("memory"):
            self._too_little(i, str(told["error"]), seat.memory)
            return
        if told["status"] == "done":
            self.took.append(took)
        self._over(i, told)

    def _too_little(self, i: int, error: str, had: int) -> None:
        """A case did not fit: again with more, as far as machines go."""
        case, largest = self.cases[i], self.pool.largest()
        case.short += 1
        case.log.append(f"{had >> 20} MiB: {error}")
        if case.short > self.rules.memory_retries or had >= largest:
            self._over(i, {"status": "failed", "error": error, "memory": True})
            return
        case.memory = min(int(had * self.rules.memory_growth), largest)
        self.waiting.insert(0, i)

    def _died(self, i: int, why: str, short: bool) -> None:
        """The worker of a case is gone: again, a few times."""
        case = self.cases[i]
        case.deaths += 1
        case.log.append(why)
        if case.deaths >= self.rules.attempts:
            error = f"{self.names[i]}: given up after {case.deaths} attempts: {'; '.join(case.log)}"
            self._over(i, {"status": "failed", "error": error, "memory": short, "code": 1})
            return
        if short:
            case.memory = min(int(case.memory * self.rules.memory_growth), self.pool.largest())
        self.waiting.insert(0, i)

    def _give_up_stragglers(self) -> None:
        """Ends workers that hold a case far too long; another one gets it."""
        usual = statistics.median(self.took) if self.took else 0.0
        for seat in [s for s in self.pool.seats if s.future is not None]:
            i = seat.case
            assert i is not None
            expected = max(self.cases[i].seconds or 0.0, usual)
            most = max(self.rules.straggler_seconds, self.rules.straggler_factor * expected)
            if time.monotonic() - seat.begun > most:
                self.pool.end(seat)
                self._died(i, f"it took longer than {most:.0f} s", False)

    def _over(self, i: int, told: dict[str, Any]) -> None:
        self.cases[i].outcome = json.dumps(told)
        if self.progress is not None:
            over = sum(c.outcome is not None for c in self.cases)
            self.progress(over, len(self.cases), self.names[i], told["status"])


def run_cohort(
    manifest: Union[Path, Sequence[Path]],
    model: Path,
    out: Path,
    *,
    workers: Optional[int] = None,
    threads: int = 1,
    precision: str = "fp32",
    isa: Optional[str] = None,
    recipe: Union[Recipe, Path, None] = None,
    fast: bool = False,
    plan: Union[None, Path, Mapping[str, Any], Literal["ampoule"]] = None,
    memory: Bytes = None,
    memory_retries: int = 3,
    memory_growth: float = 2.0,
    attempts: int = 3,
    straggler_seconds: float = 600.0,
    straggler_factor: float = 10.0,
    probabilities: bool = False,
    redact_paths: bool = False,
    overwrite: bool = False,
    storage_options: Optional[Mapping[str, Any]] = None,
    storage_timeout: float = 60.0,
    results: str = "results.parquet",
    progress: Optional[Progress] = None,
) -> Cohort:
    """Runs a model over all cases of ``manifest`` into ``out``, and writes what ``ampoule run`` writes, with a Parquet table of
    what became of each case. What is finished already is kept, verified by hash.

    Call ``ray.init()`` first; without, a cluster of this machine is started. A worker that dies, with its machine or
    alone, costs one attempt of the case that it had. A case that does not fit is tried again with more memory.

    :param manifest: CSV manifests, folders, BIDS data sets or files, local (visible to all machines) or by an address of
        object storage (``s3://…``; manifests and files, no folders).
    :param model: What the command line takes as a model, visible to all machines.
    :param out: Folder visible to all machines, or in object storage.
    :param workers: Most workers [default: as many as cores and memory of the cluster hold].
    :param threads: Cores of each worker.
    :param plan: What ``ampoule plan MODEL INPUT... --json`` printed, as a file or an object; or ``"ampoule"`` to ask that
        program now. Workers get the memory that it says, and keep within it.
    :param memory: Memory of a worker for cases without a plan, such as ``2G`` [default: 1G].
    :param memory_retries: How often a case is tried again with ``memory_growth`` times the memory.
    :param attempts: How often a case is given to a worker that dies or takes too long.
    :param straggler_seconds: A case that takes longer than this, and longer than ``straggler_factor`` times what is planned or
        usual, is taken away from its worker.
    :param storage_options: Options of fsspec's file system, such as ``key``, ``secret``, ``client_kwargs``.
    :param storage_timeout: Seconds after which an answer of the object storage is given up.
    :param progress: Called when a case is over with how many are, all, its name and ``done``, ``kept`` or ``failed``.
    :raises UsageError: Where ``out`` holds the results of another model, recipe or settings.
    """
    _check_numbers(threads=threads, attempts=attempts, memory_growth=memory_growth, storage_timeout=storage_timeout)
    default_memory = to_bytes(memory) or _plan.DEFAULT_MEMORY
    opened = Model.open(model, threads=threads, precision=precision, isa=isa, recipe=recipe, fast=fast)
    storage = Storage(storage_options, storage_timeout)
    target = os.fspath(out)
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    with tempfile.TemporaryDirectory(prefix="ampoule-stage-") as stage:
        found = _cases.find(opened, manifest, out, pathlib.Path(stage), storage)
        settings = {"precision": precision, "fast": fast, "probabilities": probabilities}
        _claim(target, _cases.identity(opened, settings), overwrite, storage)
        if plan == "ampoule":
            extra = ["--threads", str(threads), "--precision", precision]
            plan = _plan.by_program("ampoule", [os.fspath(model), *_inputs(manifest), *extra])
        needs = _plan.read(plan, [found.shown(c) for c in found.cases], default_memory)
        cases = [_Case(n.memory, n.seconds) for n in needs]
        names = [str(c["name"]) for c in found.cases]
        work = Work(
            opening(model, threads, precision, isa, None, recipe, fast),
            target if is_remote(out) else os.path.abspath(target),
            overwrite,
            probabilities,
            redact_paths,
            storage,
            found.remote,
        )
        pool = Pool(work, ray.put(found.as_json()), threads, workers)
        rules = _Rules(attempts, memory_retries, memory_growth, straggler_seconds, straggler_factor)
        try:
            _Run(cases, names, pool, rules, progress).all()
        finally:
            pool.close()
        if not is_remote(out):
            own = native.Runner(work.opening, found.as_json(), target, overwrite, probabilities, redact_paths)
            own.write_tables([c.outcome for c in cases], found.skipped)
        rows = [_row(c, found.shown(of), names[i]) for i, (c, of) in enumerate(zip(cases, found.cases))]
        rows += [_results.skipped_row(*s) for s in found.skipped]
        return Cohort(rows, _results.write(rows, target, results, storage), found.notes)


def _row(case: _Case, file: str, name: str) -> dict[str, Any]:
    told = json.loads(case.outcome or "{}") or {"status": "failed", "error": "it was left out"}
    return _results.row(name, file, told, case.given, case.memory, case.node, case.log)


def _inputs(manifest: Union[Path, Sequence[Path]]) -> list[str]:
    single = isinstance(manifest, (str, os.PathLike))
    return [os.fspath(manifest)] if single else [os.fspath(m) for m in manifest]  # type: ignore[arg-type,union-attr]


def _check_numbers(**given: float) -> None:
    least = {"threads": 1, "attempts": 1, "memory_growth": 1.0, "storage_timeout": 0.001}
    for name, value in given.items():
        if value < least[name]:
            raise UsageError(f"{name}={value}; it is at least {least[name]:g}")


def _claim(out: str, own: dict[str, Optional[str]], overwrite: bool, storage: Storage) -> None:
    """Refuses a folder with the results of another model, recipe or settings, and notes whose results these will be."""
    with tempfile.TemporaryDirectory(prefix="ampoule-mark-") as scratch:
        mark = pathlib.Path(scratch) / _MARK
        if is_remote(out):
            if storage.exists(join(out, _MARK)):
                storage.fetch(join(out, _MARK), mark)
        else:
            os.makedirs(out, exist_ok=True)
            mark = pathlib.Path(out) / _MARK
        before = _marked(mark) or (None if is_remote(out) else _by_runs(pathlib.Path(out) / "runs.json"))
        differs = [] if before is None else [k for k, v in own.items() if k in before and before[k] != v]
        if differs and not overwrite:
            what = ", ".join(sorted(k.split("_")[0] for k in differs))
            raise UsageError(
                f"{out} holds results of another cohort ({what} differ); choose another folder, or replace them with "
                "overwrite=True"
            )
        if before is not None and not differs and mark.exists():
            return
        part = pathlib.Path(scratch) / "mark"
        part.write_text(json.dumps(own, indent=2) + "\n")
        if is_remote(out):
            storage.send(part, join(out, _MARK))
            return
        beside = mark.with_name(f".{_MARK}.{os.getpid()}.tmp-mark")
        beside.write_text(part.read_text())
        os.replace(beside, mark)


def _marked(mark: pathlib.Path) -> Optional[dict[str, Any]]:
    try:
        found = json.loads(mark.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _by_runs(runs: pathlib.Path) -> Optional[dict[str, Any]]:
    """The model of results that the command line made."""
    try:
        listed = json.loads(runs.read_text())
        return {"model_sha256": listed[-1]["model_sha256"]}
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None
