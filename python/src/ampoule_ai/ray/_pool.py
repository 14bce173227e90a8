"""Workers of a cohort: as many as the cluster has room for, each with the memory that its cases need."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Optional

import ray

from .._errors import BadInput, UsageError
from ._worker import Work, Worker

# Workers in a row that did not start before the cohort is given up.
_STARTS = 4


@dataclass
class Seat:
    """An actor, and the case that it runs."""

    actor: Any
    memory: int
    probe: Any
    """Answers when the actor holds its model."""
    node: Optional[str] = None
    pid: Optional[int] = None
    case: Optional[int] = None
    future: Any = None
    begun: float = 0.0

    @property
    def ready(self) -> bool:
        """Whether it can take a case."""
        return self.node is not None and self.future is None


@dataclass
class Pool:
    """The actors of a cohort."""

    work: Work
    cases: Any
    """The cases in Ray's object store."""
    threads: int
    most: Optional[int]
    """Most workers; ``None`` for as many as the cluster has room for."""
    seats: list[Seat] = field(default_factory=list)
    failed_starts: int = 0
    _seen: float = 0.0
    _nodes: list[tuple[float, float]] = field(default_factory=list)

    def nodes(self) -> list[tuple[float, float]]:
        """Cores and bytes of each machine, looked up every second."""
        if time.monotonic() - self._seen > 1.0:
            alive = [n["Resources"] for n in ray.nodes() if n["Alive"]]
            self._nodes = [(float(r.get("CPU", 0)), float(r.get("memory", 0))) for r in alive]
            self._seen = time.monotonic()
        return self._nodes

    def largest(self) -> int:
        """Bytes of the machine with the most memory that has cores enough."""
        fit = [int(memory) for cores, memory in self.nodes() if cores >= self.threads]
        if not fit:
            cores = max((c for c, _ in self.nodes()), default=0)
            raise UsageError(f"threads={self.threads}: the largest machine of the cluster offers {cores:g} cores")
        return max(fit)

    def room(self, memory: int) -> int:
        """How many workers of this size the machines can hold."""
        each = [min(int(c // self.threads), int(m // max(memory, 1))) for c, m in self.nodes()]
        return min(sum(each), self.most if self.most is not None else sum(each))

    def start(self, memory: int) -> None:
        """Asks for one more worker; it takes cases once it has a place and its model."""
        options = {"num_cpus": self.threads, "memory": memory, "max_restarts": 0}
        actor = ray.remote(Worker).options(**options).remote(self.work, self.cases, memory)
        self.seats.append(Seat(actor, memory, actor.where.remote()))

    def give(self, seat: Seat, case: int) -> None:
        """Lets a worker run a case."""
        seat.case, seat.begun = case, time.monotonic()
        seat.future = seat.actor.run.remote(case)

    def end(self, seat: Seat) -> None:
        """Ends a worker, whatever it does."""
        self.seats.remove(seat)
        ray.kill(seat.actor, no_restart=True)

    def arrive(self, seat: Seat) -> bool:
        """Notes that a worker started; false where it did not, and an error where none does."""
        try:
            seat.node, seat.pid = ray.get(seat.probe)
            self.failed_starts = 0
            return True
        except ray.exceptions.RayError as e:
            self.seats.remove(seat)
            self.failed_starts += 1
            if self.failed_starts >= _STARTS:
                last = str(e).strip().splitlines()[-1]
                raise BadInput(f"{_STARTS} workers in a row did not start: {last}") from e
            return False

    def close(self) -> None:
        """Ends all workers."""
        for seat in list(self.seats):
            self.end(seat)
