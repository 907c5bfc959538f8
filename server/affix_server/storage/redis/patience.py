"""How long commands wait for others to leave with them: not at all, unless that is what the event loop needs."""

from __future__ import annotations

import os
import time

# gRPC hands in a call every few rounds of the loop, so that each would have a write to Redis, and a reply, of its own.
# A round in which nothing happens takes about 1 us (docs/decisions/0034-what-a-call-may-cost.md).
_ROUNDS = 10
# What part of its time the loop has something to do when every call waits for it anyway.
_BUSY = 0.75
# So many commands that come in one round are company enough.
_COMPANY = 2


class Patience:
    """Decides how many rounds of the loop a write waits, by what was seen of the last ones."""

    def __init__(self) -> None:
        """Begin without any."""
        self.rounds = 0
        self._writes = 0
        self._commands = 0

    def note(self, commands: int) -> None:
        """Take note of how many commands came in the first round of a write."""
        self._writes += 1
        self._commands += commands

    def judge(self, at_work: float, seconds: float) -> None:
        """Decide anew; the loop had something to do for some of these seconds."""
        alone = self._commands < _COMPANY * self._writes
        self.rounds = _ROUNDS if alone and at_work > _BUSY * seconds else 0
        self._writes = self._commands = 0


class Work:
    """How long this thread has had something to do: on a processor, or waiting for one, where Linux tells of that."""

    def __init__(self) -> None:
        """Measure the thread that makes this."""
        try:
            self._told: int | None = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._told = None

    def seconds(self) -> float:
        """Return the time so far."""
        if self._told is None:
            return time.thread_time()
        ran, waited, _ = os.pread(self._told, 128, 0).split()
        return (int(ran) + int(waited)) / 1e9

    def close(self) -> None:
        """Measure no more."""
        if self._told is not None:
            os.close(self._told)
            self._told = None
