"""A circuit breaker around a store (design/storage.md, "When a store is away")."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum

import structlog

from affix_server.errors import CircuitOpenError

_log = structlog.get_logger()


class CircuitState(StrEnum):
    """Closed: calls pass. Open: they are refused. Half-open: one probe is under way."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Circuit:
    """Opens after `threshold` consecutive failures, and is closed by a probe that succeeds.

    Callers never probe: they ask `check` and are refused until whoever watches
    over the store has found it well, brought it up to date, and called
    `close`. So there is one probe at a time by construction, and nobody's
    request is risked on it.
    """

    def __init__(
        self, store: str, *, threshold: int, open_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin closed; `store` names the store in logs."""
        self.state = CircuitState.CLOSED
        self._store = store
        self._threshold = threshold
        self._open_seconds = open_seconds
        self._clock = clock
        self._failures = 0
        self.failures_in_all = 0
        self._probe_at = 0.0

    @property
    def is_closed(self) -> bool:
        """Whether calls pass."""
        return self.state is CircuitState.CLOSED

    def check(self) -> None:
        """Raise CircuitOpenError, with the time until the next probe, unless the circuit is closed."""
        if self.state is not CircuitState.CLOSED:
            raise CircuitOpenError(max(int((self._probe_at - self._clock()) * 1000), 1))

    def failed(self, times: int = 1) -> None:
        """Count calls that failed through the store's fault: a time-out, a lost connection, an error of its own."""
        self._failures += times
        self.failures_in_all += times
        if self.state is CircuitState.CLOSED and self._failures >= self._threshold:
            self._open()

    def succeeded(self) -> None:
        """Count a call that the store answered, whatever the answer: failures are counted in a row."""
        if self.state is CircuitState.CLOSED:
            self._failures = 0

    def begin_probe(self) -> bool:
        """Tell whether it is time for the one probe; whoever is told so ends it with `close` or `reopen`."""
        if self.state is not CircuitState.OPEN or self._clock() < self._probe_at:
            return False
        self.state = CircuitState.HALF_OPEN
        return True

    def close(self) -> None:
        """Let calls pass again."""
        if self.state is not CircuitState.CLOSED:
            _log.info("circuit_closed", store=self._store)
        self.state = CircuitState.CLOSED
        self._failures = 0

    def reopen(self) -> None:
        """Refuse calls for another while, after a probe that failed."""
        self.state = CircuitState.OPEN
        self._probe_at = self._clock() + self._open_seconds

    def _open(self) -> None:
        self.reopen()
        _log.warning("circuit_opened", store=self._store, failures=self._failures, seconds=self._open_seconds)
