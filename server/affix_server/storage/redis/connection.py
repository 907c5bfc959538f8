"""One connection to Redis: all commands of one event-loop tick leave in one write.

Our own because this is where the speed is: redis-py spends about 130 us a
command on pool checkout and per-command awaits; the reply parser is hiredis
(docs/decisions/0003-own-redis-connection.md).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import hiredis

Command = tuple[str | int | float | bytes | memoryview, ...]
Reply = Any

_INCOMPLETE = object()


class ConnectionLostError(Exception):
    """The connection is gone; what was in flight may or may not have been done."""


class ReplyTimeoutError(ConnectionLostError):
    """Redis did not answer in time, and the connection was given up."""


class _Pipeline:
    """Replies still to come for commands that were sent together."""

    __slots__ = ("deadline", "future", "missing", "replies")

    def __init__(self, future: asyncio.Future[list[Reply]], missing: int, deadline: float) -> None:
        self.future = future
        self.missing = missing
        self.deadline = deadline
        self.replies: list[Reply] = []


class Connection(asyncio.Protocol):
    """Sends pipelines and hands out their replies, in order.

    Replies are hiredis' own: bytes, int, list, None, and hiredis.ReplyError as
    a value. When the oldest pipeline has waited longer than `timeout` seconds,
    the connection is aborted and everything in flight fails with
    ReplyTimeoutError: a frozen server cannot hold a caller.
    """

    def __init__(
        self,
        timeout: float,
        *,
        on_fault: Callable[[], None],
        on_late: Callable[[], None],
        observe: Callable[[float], None],
    ) -> None:
        """Make an unconnected protocol; hand it to `loop.create_connection`.

        `on_fault` is called when the connection is lost, `on_late` when a reply took
        longer than half of `timeout`, before the reply is handed out, `observe` with
        the seconds from sending a pipeline to its last reply.
        """
        self._timeout = timeout
        self._on_fault = on_fault
        self._on_late = on_late
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._transport: asyncio.Transport | None = None
        self._unsent: list[bytes] = []
        self._in_flight: deque[_Pipeline] = deque()
        self._watchdog: asyncio.TimerHandle | None = None
        self._fault: ConnectionLostError | None = None
        self._closing = False

    @property
    def usable(self) -> bool:
        """Whether commands can be sent."""
        return self._transport is not None and self._fault is None

    def send(self, commands: Sequence[Command]) -> asyncio.Future[list[Reply]]:
        """Send commands together; the future holds their replies in order.

        Fails with ConnectionLostError. Cancelling the future does not recall the commands.
        """
        future: asyncio.Future[list[Reply]] = self._loop.create_future()
        if self._transport is None or self._fault is not None:
            future.set_exception(self._fault or ConnectionLostError("not connected"))
            return future
        if not self._unsent:
            self._loop.call_soon(self._flush)
        # hiredis' stub means "a tuple of one" where it says tuple[...].
        self._unsent.extend([hiredis.pack_command(command) for command in commands])  # type: ignore[arg-type]
        self._in_flight.append(_Pipeline(future, len(commands), self._loop.time() + self._timeout))
        if self._watchdog is None:
            self._watchdog = self._loop.call_later(self._timeout, self._check_oldest)
        return future

    def close(self) -> None:
        """Close at once; what is in flight fails with ConnectionLostError."""
        self._closing = True
        self._give_up(ConnectionLostError("closed"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport (asyncio.Protocol)."""
        # uvloop's transports do not derive from asyncio's; create_connection makes none but these.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse replies and complete the pipelines they belong to (asyncio.Protocol)."""
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not _INCOMPLETE:
                pipeline = self._in_flight[0]
                pipeline.replies.append(reply)
                pipeline.missing -= 1
                if pipeline.missing == 0:
                    self._in_flight.popleft()
                    left = pipeline.deadline - self._loop.time()
                    self._observe(self._timeout - left)
                    if left < self._timeout / 2:
                        self._on_late()
                    if not pipeline.future.done():
                        pipeline.future.set_result(pipeline.replies)
        except (hiredis.ProtocolError, IndexError):
            self._give_up(ConnectionLostError("unintelligible reply"))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Fail what is in flight (asyncio.Protocol)."""
        self._give_up(ConnectionLostError("connection lost"))

    def _flush(self) -> None:
        if self._transport is not None and self._unsent:
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def _check_oldest(self) -> None:
        self._watchdog = None
        if not self._in_flight:
            return
        left = self._in_flight[0].deadline - self._loop.time()
        if left <= 0:
            self._give_up(ReplyTimeoutError("no reply in time"))
        else:
            self._watchdog = self._loop.call_later(left, self._check_oldest)

    def _give_up(self, fault: ConnectionLostError) -> None:
        if self._fault is not None:
            return
        self._fault = fault
        if not self._closing:
            self._on_fault()
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        self._unsent.clear()
        if self._transport is not None:
            self._transport.abort()
        while self._in_flight:
            pipeline = self._in_flight.popleft()
            if not pipeline.future.done():
                pipeline.future.set_exception(fault)
