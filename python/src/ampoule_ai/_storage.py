"""Files in object storage, through fsspec: fetched, sent, and given up on after a while."""

from __future__ import annotations

import concurrent.futures
import os
import pathlib
import posixpath
import time
from typing import Any, Callable, Mapping, Optional, TypeVar

from ._errors import BadInput, UsageError

T = TypeVar("T")

# Attempts at a request, and the pause before the second; every other pause is twice as long.
_ATTEMPTS = 3
_PAUSE = 0.5


def is_remote(path: Any) -> bool:
    """Whether a path has a protocol, such as ``s3://``."""
    return "://" in os.fspath(path)


class Storage:
    """Remote files, with the options of their file system.

    Every request ends: after ``timeout`` seconds without an answer, and after a few attempts, it is an error that says so.
    """

    def __init__(self, options: Optional[Mapping[str, Any]] = None, timeout: float = 60.0) -> None:
        self._options = dict(options or {})
        self._timeout = timeout
        self._systems: dict[str, Any] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Storage, (self._options, self._timeout)

    def _system(self, url: str) -> Any:
        protocol = url.split("://", 1)[0]
        if protocol not in self._systems:
            try:
                import fsspec
            except ImportError as e:
                raise UsageError(f"{url}: paths with {protocol}:// need fsspec: pip install fsspec") from e
            try:
                self._systems[protocol] = fsspec.filesystem(protocol, **self._options)
            except (ImportError, ValueError) as e:
                raise UsageError(f"{url}: {e}") from e
        return self._systems[protocol]

    def _ask(self, url: str, what: Callable[[Any], T]) -> T:
        """Does a request, and again where it fails for a reason that may pass."""
        system = self._system(url)
        last: BaseException = TimeoutError()
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_PAUSE * 2 ** (attempt - 1))
            # A thread of its own: one that hangs is left behind and keeps nobody waiting.
            pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="ampoule-storage")
            try:
                return pool.submit(what, system).result(self._timeout)
            except (FileNotFoundError, PermissionError) as e:
                raise BadInput(f"{url}: {_said(e) or 'there is no such object'}") from e
            except Exception as e:  # Every file system has exceptions of its own.
                last = e
            finally:
                pool.shutdown(wait=False)
        if isinstance(last, (TimeoutError, concurrent.futures.TimeoutError)):
            raise BadInput(
                f"{url}: the object storage gave no answer within {self._timeout:g} s, {_ATTEMPTS} times; "
                "see whether it can be reached, or raise storage_timeout"
            ) from last
        raise BadInput(f"{url}: the object storage refuses, {_ATTEMPTS} times: {_said(last)}") from last

    def fetch(self, url: str, target: pathlib.Path) -> None:
        """Brings an object as a file, whole or not at all."""
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{os.getpid()}.tmp-fetch")
        try:
            self._ask(url, lambda s: s.get_file(s._strip_protocol(url), os.fspath(part)))
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)

    def send(self, source: pathlib.Path, url: str) -> None:
        """Writes a file as an object."""
        self._ask(url, lambda s: s.put_file(os.fspath(source), s._strip_protocol(url)))

    def exists(self, url: str) -> bool:
        """Whether there is an object; asked anew every time."""

        def ask(system: Any) -> bool:
            system.invalidate_cache()
            return bool(system.isfile(system._strip_protocol(url)))

        return self._ask(url, ask)


def _said(e: BaseException) -> str:
    return " ".join(str(e).split()) or type(e).__name__


def join(folder: str, *names: str) -> str:
    """A path within a remote folder."""
    return posixpath.join(folder.rstrip("/"), *names)
