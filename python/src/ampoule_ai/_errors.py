"""Exceptions, each kind with the exit code of the command line (docs/cli.md)."""

from __future__ import annotations

from typing import Any, ClassVar


class AmpouleError(Exception):
    """Something could not be done; ``code`` is the exit code that the command line has for it."""

    code: ClassVar[int] = 3


class CasesFailed(AmpouleError):
    """Some cases failed; the others are done."""

    code = 1


class UsageError(AmpouleError, ValueError):
    """What was asked for is not there: an unknown name, option, shape or tier."""

    code = 2


class BadInput(AmpouleError):
    """The model, its recipe or an image cannot be used."""

    code = 3


class LimitNotMet(AmpouleError):
    """Results got worse than the limits allow; ``report`` says how, and what was written instead."""

    code = 4

    def __init__(self, message: str, report: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.report: dict[str, Any] = report or {}


class OutOfMemory(AmpouleError, MemoryError):
    """It does not fit in the memory that is allowed."""

    code = 5
