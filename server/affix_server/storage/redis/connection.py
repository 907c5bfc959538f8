"""One connection to Redis: commands of callers that come one soon after the other leave in one write.

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
from msgspec import Struct

Command = tuple[str | int | float | bytes | memoryview, ...]
Reply = Any

_INCOMPLETE = object()
# How often it is looked whether replies are overdue, while any are awaited.
_TICK_SECONDS = 0.05
# A write leaves when the loop has gone round so often and nobody had another command, or so many wait, or the first has
# waited so long, which it does where rounds are slow. gRPC hands in a call every few rounds, so that each would have a
# write, and a reply, of its own; a round in which nothing happens takes about 1 us
# (docs/decisions/0034-what-a-call-may-cost.md).
_QUIET_ROUNDS, _FULL, _LONGEST_SECONDS = 10, 32, 0.002


class ConnectionLostError(Exception):
    """The connection is gone; what was in flight may or may not have been done."""


class ReplyTimeoutError(ConnectionLostError):
    """Redis did not answer in time, and the connection was given up."""


class _Trip(Struct):
    """What left in one write: when, and by when the replies must be here, by the clock that stands still."""

    sent: float
    deadline: float


class _Asked(Struct):
    """Replies still to come: to commands that were sent together, or to one, whose future holds the reply itself."""

    future: asyncio.Future[Any]
    trip: _Trip
    missing: int
    replies: list[Reply] | None


class Connection(asyncio.Protocol):
    """Sends pipelines and hands out their replies, in order.

    Replies are hiredis' own: bytes, int, list, None, and hiredis.ReplyError as
    a value. When the oldest pipeline has waited longer than `timeout` seconds,
    the connection is aborted and everything in flight fails with
    ReplyTimeoutError: a frozen server cannot hold a caller. Time in which this
    process was too busy to listen does not count: that is not Redis' fault, and
    to do without Redis would be more work still.
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
        the seconds of a round trip: from sending what was asked in one tick to the last reply to it.
        """
        self._timeout = timeout
        self._on_fault = on_fault
        self._on_late = on_late
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._transport: asyncio.Transport | None = None
        self._unsent: list[bytes] = []
        self._leaving: _Trip | None = None
        self._quiet_rounds = 0
        self._in_flight: deque[_Asked] = deque()
        self._ticker: asyncio.TimerHandle | None = None
        self._ticked = 0.0
        self._deaf = 0.0
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
        # hiredis' stub means "a tuple of one" where it says tuple[...].
        packed = [hiredis.pack_command(command) for command in commands]  # type: ignore[arg-type]
        return self._send(packed, [])

    def ask(self, command: Command) -> asyncio.Future[Reply]:
        """Send one command, as `send` does; the future holds its reply."""
        return self._send([hiredis.pack_command(command)], None)  # type: ignore[arg-type]  # as above

    def _send(self, packed: list[bytes], replies: list[Reply] | None) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()
        if self._transport is None or self._fault is not None:
            future.set_exception(self._fault or ConnectionLostError("not connected"))
            return future
        trip = self._leaving
        if trip is None:
            trip = self._leaving = self._begin_trip()
        self._quiet_rounds = 0
        self._unsent += packed
        self._in_flight.append(_Asked(future, trip, len(packed), replies))
        return future

    def _begin_trip(self) -> _Trip:
        now = self._loop.time()
        self._loop.call_soon(self._gather, now)
        if self._ticker is None:
            self._ticked = now
            self._ticker = self._loop.call_later(_TICK_SECONDS, self._tick)
        return _Trip(now, self._listened(now) + self._timeout)

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
        now = self._loop.time()
        late = self._listened(now) + self._timeout / 2
        gets, in_flight = self._reader.gets, self._in_flight
        try:
            while (reply := gets()) is not _INCOMPLETE:
                asked = in_flight[0]
                if asked.replies is not None:
                    asked.replies.append(reply)
                    asked.missing -= 1
                    if asked.missing:
                        continue
                    reply = asked.replies
                in_flight.popleft()
                trip = asked.trip
                if not in_flight or in_flight[0].trip is not trip:
                    self._observe(now - trip.sent)
                if trip.deadline < late:
                    self._on_late()
                if not asked.future.done():
                    asked.future.set_result(reply)
        except (hiredis.ProtocolError, IndexError):
            self._give_up(ConnectionLostError("unintelligible reply"))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Fail what is in flight (asyncio.Protocol)."""
        self._give_up(ConnectionLostError("connection lost"))

    def _gather(self, since: float) -> None:
        """Send what waits, if it has waited long enough for more."""
        enough = self._quiet_rounds == _QUIET_ROUNDS or len(self._unsent) >= _FULL
        if enough or self._loop.time() - since >= _LONGEST_SECONDS:
            self._flush()
        else:
            self._quiet_rounds += 1
            self._loop.call_soon(self._gather, since)

    def _flush(self) -> None:
        if self._transport is not None and self._unsent:
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()
        self._leaving = None

    def _listened(self, now: float) -> float:
        """Return a time that stands still while the loop is too busy to listen: a tick that is late was not heard."""
        return now - self._deaf - max(0.0, now - self._ticked - _TICK_SECONDS)

    def _tick(self) -> None:
        now = self._loop.time()
        self._deaf += max(0.0, now - self._ticked - _TICK_SECONDS)
        self._ticked, self._ticker = now, None
        self._check_oldest()
        if self._in_flight:
            self._ticker = self._loop.call_later(_TICK_SECONDS, self._tick)

    def _check_oldest(self) -> None:
        if self._in_flight and self._in_flight[0].trip.deadline <= self._listened(self._loop.time()):
            self._give_up(ReplyTimeoutError("no reply in time"))

    def _give_up(self, fault: ConnectionLostError) -> None:
        if self._fault is not None:
            return
        self._fault = fault
        if not self._closing:
            self._on_fault()
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        self._unsent.clear()
        if self._transport is not None:
            self._transport.abort()
        while self._in_flight:
            asked = self._in_flight.popleft()
            if not asked.future.done():
                asked.future.set_exception(fault)
