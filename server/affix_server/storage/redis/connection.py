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

from affix_server.storage.redis.patience import Patience, Work

Command = tuple[str | int | float | bytes | memoryview, ...]
Reply = Any

_INCOMPLETE = object()
# How often it is looked whether replies are overdue, while any are awaited.
_TICK_SECONDS = 0.05
# What waits for others (patience.py) does so until so many wait, or the first has waited so long.
_FULL, _LONGEST_SECONDS = 32, 0.002
# While Redis has questions of so many bytes to answer, the next wait here. It reads 16 kB at a time, does all that is
# in them, then sends 64 kB of what it has to say: with more to do it is at work while we wait, and we while it waits.
_WINDOW_BYTES = 32 * 1024


class ConnectionLostError(Exception):
    """The connection is gone; what was in flight may or may not have been done."""


class ReplyTimeoutError(ConnectionLostError):
    """Redis did not answer in time, and the connection was given up."""


class _Trip(Struct):
    """What left in one write: when, and by when the replies must be here, by the clock that stands still."""

    sent: float
    deadline: float


class _Asked(Struct):
    """Replies still to come: to `count` commands that were sent together, or to one, whose future holds its reply."""

    future: asyncio.Future[Any]
    trip: _Trip
    size: int
    count: int
    replies: list[Reply] | None
    # What all replies are expected to be, where anything is.
    expected: bytes | None


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
        self._unsent: deque[tuple[bytes, int]] = deque()
        self._leaving: _Trip | None = None
        self._unanswered_bytes = 0
        self._held_back = False
        self._patience = Patience()
        self._quiet_rounds = 0
        self._work, self._worked = Work(), 0.0
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
        question = b"".join([packed(command) for command in commands])
        return self._send(question, len(question), len(commands), [])

    def ask(self, command: Command, weight: int = 0) -> asyncio.Future[Reply]:
        """Send one command, as `send` does; the future holds its reply.

        `weight` is how many bytes of questions it counts as, if that is more than it has: for a reply that is long.
        """
        question = packed(command)
        return self._send(question, max(len(question), weight), 1, None)

    def ask_whether(self, question: bytes, answer: bytes, count: int = 1) -> asyncio.Future[list[Reply] | None]:
        """Send commands that are in the protocol of Redis already, so many of them, as `send` does.

        The future holds None if the replies are `answer`, byte by byte, else the replies in order: to compare is much
        less than to parse.
        """
        return self._send(question, len(question), count, [], answer)

    def _send(
        self, question: bytes, size: int, count: int, replies: list[Reply] | None, expected: bytes | None = None
    ) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()
        if self._transport is None or self._fault is not None:
            future.set_exception(self._fault or ConnectionLostError("not connected"))
            return future
        trip = self._leaving
        if trip is None:
            trip = self._leaving = self._begin_trip()
        self._quiet_rounds = 0
        self._unsent.append((question, size))
        self._in_flight.append(_Asked(future, trip, size, count, replies, expected))
        return future

    def _begin_trip(self) -> _Trip:
        now = self._loop.time()
        self._loop.call_soon(self._gather, now, 0)
        if self._ticker is None:
            self._ticked, self._worked = now, self._work.seconds()
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
        now = self._loop.time()
        late = self._listened(now) + self._timeout / 2
        gets, in_flight = self._reader.gets, self._in_flight
        try:
            begins = 0 if self._reader.has_data() else self._take_expected(data, now, late)
            if begins < len(data):
                self._reader.feed(data, begins)
                while (reply := gets()) is not _INCOMPLETE:
                    asked = in_flight[0]
                    replies = asked.replies
                    if replies is None:
                        self._answer(reply, now, late)
                    else:
                        replies.append(reply)
                        if len(replies) == asked.count:
                            self._answer(None if _are_all(asked.expected, replies) else replies, now, late)
        except (hiredis.ProtocolError, IndexError):
            self._give_up(ConnectionLostError("unintelligible reply"))
        if self._held_back:
            self._flush()

    def _take_expected(self, data: bytes, now: float, late: float) -> int:
        """Complete those at the front whose answers are as expected; return where the other replies begin."""
        in_flight, at = self._in_flight, 0
        while in_flight:
            asked = in_flight[0]
            # Where some replies have come before, the others may look like all of them.
            if asked.expected is None or asked.replies or not data.startswith(asked.expected, at):
                break
            at += len(asked.expected)
            self._answer(None, now, late)
        return at

    def _answer(self, reply: Reply, now: float, late: float) -> None:
        """Complete the oldest of those that wait."""
        in_flight = self._in_flight
        asked = in_flight.popleft()
        self._unanswered_bytes -= asked.size
        trip = asked.trip
        if not in_flight or in_flight[0].trip is not trip:
            self._observe(now - trip.sent)
        if trip.deadline < late:
            self._on_late()
        if not asked.future.done():
            asked.future.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Fail what is in flight (asyncio.Protocol)."""
        self._give_up(ConnectionLostError("connection lost"))

    def _gather(self, since: float, gone_round: int) -> None:
        """Send what waits, if it has waited long enough for more."""
        if not gone_round:
            self._patience.note(len(self._unsent))
        enough = self._quiet_rounds >= self._patience.rounds or len(self._unsent) >= _FULL
        if enough or self._loop.time() - since >= _LONGEST_SECONDS:
            self._leaving = None
            self._flush()
        else:
            self._quiet_rounds += 1
            self._loop.call_soon(self._gather, since, gone_round + 1)

    def _flush(self) -> None:
        """Send what there is room for; the rest goes when there are replies."""
        leaving = []
        while self._unsent and self._unanswered_bytes < _WINDOW_BYTES:
            question, size = self._unsent.popleft()
            leaving.append(question)
            self._unanswered_bytes += size
        self._held_back = bool(self._unsent)
        if self._transport is not None and leaving:
            self._transport.write(b"".join(leaving))

    def _listened(self, now: float) -> float:
        """Return a time that stands still while the loop is too busy to listen: a tick that is late was not heard."""
        return now - self._deaf - max(0.0, now - self._ticked - _TICK_SECONDS)

    def _tick(self) -> None:
        now = self._loop.time()
        self._deaf += max(0.0, now - self._ticked - _TICK_SECONDS)
        worked = self._work.seconds()
        self._patience.judge(worked - self._worked, now - self._ticked)
        self._ticked, self._worked, self._ticker = now, worked, None
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
        self._work.close()
        self._unsent.clear()
        if self._transport is not None:
            self._transport.abort()
        while self._in_flight:
            asked = self._in_flight.popleft()
            if not asked.future.done():
                asked.future.set_exception(fault)


def packed(command: Command) -> bytes:
    """Return a command as Redis reads it."""
    # hiredis' stub means "a tuple of one" where it says tuple[...].
    text: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]
    return text


def bulk_string(text: bytes) -> bytes:
    """Return a string as Redis sends it (RESP: https://redis.io/docs/latest/develop/reference/protocol-spec/)."""
    return b"$%d\r\n%b\r\n" % (len(text), text)


def _are_all(expected: bytes | None, replies: Sequence[Reply]) -> bool:
    """Tell whether replies that had to be parsed, since they came in pieces or behind others, are as expected."""
    if expected is None or not all(isinstance(reply, bytes) for reply in replies):
        return False
    return b"".join(map(bulk_string, replies)) == expected
