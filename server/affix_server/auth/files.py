"""Files of credentials, which may change while the service runs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from affix_server.errors import StartError

# A change is in use after so long, at the latest.
LOOK_EVERY_SECONDS = 1.0

V = TypeVar("V")
_Signature = tuple[int, int, int]

_log = structlog.get_logger()


class BadFileError(Exception):
    """What a file holds is not what it should be; the message says why, and none of the contents."""


class WatchedFile(Generic[V]):
    """What a file holds, read again within a second of a change.

    One that has become unreadable or wrong changes nothing: what it held before stays in use, and the log says so.
    """

    def __init__(self, path: Path, setting: str, parse: Callable[[bytes], V]) -> None:
        """Read it now. `parse` raises BadFileError. Raises StartError, naming the file and its setting."""
        self._path = path
        self._parse = parse
        try:
            self._signature: _Signature | None
            self._value, self._signature = self._read()
        except OSError as fault:
            raise StartError(f"cannot read {path} ({setting}): {_why(fault)}") from None
        except BadFileError as fault:
            raise StartError(f"{path} ({setting}) {fault}") from None
        self._look_again = time.monotonic() + LOOK_EVERY_SECONDS

    @property
    def value(self) -> V:
        """What it holds: as of a second ago, or later."""
        now = time.monotonic()
        if now >= self._look_again:
            self._look_again = now + LOOK_EVERY_SECONDS
            self._look()
        return self._value

    def _look(self) -> None:
        try:
            signature = _signature(self._path.stat())
        except OSError as fault:
            self._keep(None, _why(fault))
            return
        if signature == self._signature:
            return
        try:
            self._value, self._signature = self._read()
        except (OSError, BadFileError) as fault:
            self._keep(signature, _why(fault) if isinstance(fault, OSError) else str(fault))
            return
        _log.info("credentials_reloaded", file=str(self._path))

    def _keep(self, signature: _Signature | None, why: str) -> None:
        if signature != self._signature:  # said once, until it changes again
            _log.error("credentials_not_reloaded", file=str(self._path), why=why)
        self._signature = signature

    def _read(self) -> tuple[V, _Signature]:
        with self._path.open("rb") as file:
            signature = _signature(os.fstat(file.fileno()))
            return self._parse(file.read()), signature


def _signature(found: os.stat_result) -> _Signature:
    return found.st_mtime_ns, found.st_size, found.st_ino


def _why(fault: OSError) -> str:
    return os.strerror(fault.errno).lower() if fault.errno else "it cannot be read"
