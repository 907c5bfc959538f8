"""The lock that makes a data folder one service's."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from affix_cli.failures import Failure

NAME = "affix.lock"


class DataLock:
    """A data folder held by this process; ends with the process, however that ends."""

    def __init__(self, descriptor: int) -> None:
        """Wrap the locked file."""
        self._descriptor = descriptor
        self.announce()

    def announce(self, **addresses: str) -> None:
        """Say who holds the folder, and where it serves, to whoever finds it held."""
        text = json.dumps({"pid": os.getpid(), **addresses}) + "\n"
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text.encode(), 0)


@contextmanager
def held(data_dir: Path) -> Iterator[DataLock]:
    """Hold a data folder, made if need be, until the end.

    Raises Failure when another process holds it, naming its pid and addresses,
    or when it cannot be used.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        # Not inherited by the stores, so that one outliving us does not hold it.
        descriptor = os.open(data_dir / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Failure(f"cannot use the data folder {data_dir}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failure(f"Affix is already running on {data_dir}{_holder(descriptor)}") from None
        yield DataLock(descriptor)
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
        return " (" + ", ".join(f"{name} {value}" for name, value in found.items()) + ")"
    except ValueError:  # it is just starting, or ending
        return ""
