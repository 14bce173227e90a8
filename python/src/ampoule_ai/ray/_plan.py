"""What each case takes: memory, seconds, cores, as ``ampoule plan --json`` says before anything runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any, Mapping, Optional, Sequence, Union

from .._errors import BadInput, OutOfMemory, UsageError

# Where nothing is planned: what a process takes with a small network.
DEFAULT_MEMORY = 1 << 30
# What Python, Ray and their libraries hold in a worker, besides what is planned for the program.
OVERHEAD = 192 << 20


@dataclass(frozen=True)
class Need:
    """What a case takes."""

    memory: int = DEFAULT_MEMORY
    """Peak resident bytes of a process that runs it."""
    seconds: Optional[float] = None
    """Expected time."""


def read(
    plan: Union[None, str, "os.PathLike[str]", Mapping[str, Any]],
    files: Sequence[str],
    default_memory: int,
) -> list[Need]:
    """The needs of cases by their main files. ``plan`` is what ``ampoule plan --json`` printed, as a file or an object."""
    if plan is None:
        return [Need(default_memory) for _ in files]
    given: Any = plan
    if not isinstance(plan, Mapping):
        try:
            with open(plan, encoding="utf-8") as file:
                given = json.load(file)
        except (OSError, ValueError) as e:
            raise BadInput(f"{os.fspath(plan)}: no plan that can be read: {e}") from e
    try:
        known = {os.path.abspath(str(c["input"])): c for c in given["cases"]}
        return [_need(known.get(os.path.abspath(f)), default_memory) for f in files]
    except (KeyError, TypeError, ValueError) as e:
        raise BadInput(f"the plan is not what `ampoule plan --json` prints: {e!r}") from e


def _need(case: Optional[Mapping[str, Any]], default_memory: int) -> Need:
    if case is None:
        return Need(default_memory)
    seconds = case.get("seconds")
    return Need(int(case["peak_memory_bytes"]) + OVERHEAD, None if seconds is None else float(seconds))


def by_program(program: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Asks the command line for a plan."""
    found = shutil.which(program)
    if found is None:
        raise UsageError(f"{program}: there is no such program; give plan= what `ampoule plan --json` printed, or None")
    done = subprocess.run([found, "plan", *arguments, "--json"], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        kind = {2: UsageError, 5: OutOfMemory}.get(done.returncode, BadInput)
        raise kind(f"`ampoule plan` failed: {done.stderr.strip() or done.returncode}")
    try:
        plan = json.loads(done.stdout)
    except ValueError as e:
        raise BadInput(f"`ampoule plan` printed no plan: {e}") from e
    return dict(plan)
