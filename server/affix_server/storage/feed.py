"""One reader of the event stream a process, for all its watchers.

(docs/decisions/0016-one-reader-for-all-watchers.md)
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from typing import TypeVar

import structlog
from prometheus_client import CollectorRegistry, Gauge

from affix_server.domain import Watched
from affix_server.errors import (
    AffixError,
    ResumeTokenExpiredError,
    ShuttingDownError,
    SlowWatcherError,
    StorageUnavailableError,
)
from affix_server.storage.redis.client import CacheUnavailableError
from affix_server.storage.redis.event_stream import EventStream, Line, LostPlaceError

# A Redis that stays away for longer ends all watches.
PATIENCE_SECONDS = 5.0
_RETRY_SECONDS = 0.1
# How many events may wait for a watcher. They are shared, so each costs a watcher no more than a reference.
MOST_WAITING = 10_000

V = TypeVar("V")

_log = structlog.get_logger()


class Watcher:
    """What waits for one watcher: lines that it wants, or the error that ends it.

    `start` is the place behind which lines are put here; None until the reader has begun.
    """

    __slots__ = ("_fault", "_waiting", "_wake", "start", "watched")

    def __init__(self, watched: Watched) -> None:
        """Want these events."""
        self.watched = watched
        self.start: bytes | None = None
        self._waiting: deque[Line] = deque()
        self._wake = asyncio.Event()
        self._fault: AffixError | None = None

    def begin(self, place: bytes) -> None:
        """Take note of where what is put here begins."""
        self.start = place
        self._wake.set()

    def put(self, line: Line) -> None:
        """Add a line, if it is wanted; one too many, or a gap, is the end."""
        if self._fault is not None or not self.watched.includes(line.task_id, line.key):
            return
        if line.is_gap:
            self.end(ResumeTokenExpiredError())
        elif len(self._waiting) >= MOST_WAITING:
            self.end(SlowWatcherError())
        else:
            self._waiting.append(line)
            self._wake.set()

    def end(self, fault: AffixError) -> None:
        """End it with an error; what still waits is dropped, and can be had again from the last token."""
        self._fault = fault
        self._waiting.clear()
        self._wake.set()

    async def begun(self) -> bytes:
        """Wait for the reader to begin, and return where; raises the error that ends it."""
        while True:
            self.check()
            if self.start is not None:
                return self.start
            await self._next()

    def check(self) -> None:
        """Raise the error that ends it, if there is one."""
        if self._fault is not None:
            raise self._fault

    async def take(self, most: int, seconds: float) -> Sequence[Line]:
        """Wait for lines and return them, in order; none if there is none in time. Raises the error that ends it."""
        if not self._waiting and self._fault is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._next()
        self.check()
        return [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]

    async def _next(self) -> None:
        self._wake.clear()
        await self._wake.wait()


class Feed:
    """Reads the stream while there are watchers, and hands each the lines that it wants."""

    def __init__(self, stream: EventStream, registry: CollectorRegistry) -> None:
        """Read over a connection of one's own; it is made for the first watcher and let go of after the last."""
        self._stream = stream
        self._by_task: dict[str | None, set[Watcher]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._closed = False
        self.place: bytes | None = None
        gauge = Gauge("affix_watchers", "Watches of attachments under way", registry=registry)
        gauge.set_function(lambda: float(sum(map(len, self._by_task.values()))))

    def join(self, watcher: Watcher) -> None:
        """Hand lines to a watcher from now on; whoever joins also leaves. Raises ShuttingDownError."""
        if self._closed:
            raise ShuttingDownError
        self._by_task.setdefault(watcher.watched.task_id, set()).add(watcher)
        if self._reader is None:
            self._reader = asyncio.create_task(self._read(), name="feed")
        elif self.place is not None:
            watcher.begin(self.place)

    async def leave(self, watcher: Watcher) -> None:
        """Hand nothing more to a watcher; without any there is no reading."""
        watchers = self._by_task.get(watcher.watched.task_id, set())
        watchers.discard(watcher)
        if not watchers:
            self._by_task.pop(watcher.watched.task_id, None)
        if not self._by_task:
            await self._stop()

    async def close(self) -> None:
        """End all watches; none begins any more."""
        self._closed = True
        self._end_all(ShuttingDownError)
        await self._stop()

    async def _stop(self) -> None:
        reader, self._reader, self.place = self._reader, None, None
        if reader is not None:
            reader.cancel()
            await self._stream.close()

    async def _read(self) -> None:
        try:
            self.place = place = await _patiently(self._stream.end)
            for watcher in self._watchers():
                watcher.begin(place)
            while True:
                # One name for each round: a reader that was stopped leaves the place to the next one.
                for line in await _patiently(lambda place=place: self._stream.after(place)):  # type: ignore[misc]
                    self.place = place = line.place
                    self._hand_out(line)
        except LostPlaceError:
            _log.warning("events_lost")
            self._fail(ResumeTokenExpiredError)
        except CacheUnavailableError as fault:
            cause = fault.cause
            self._fail(lambda: StorageUnavailableError(cause))
        except Exception:  # noqa: BLE001 - logged; watchers are told rather than left waiting
            _log.exception("feed_failed")
            self._fail(lambda: StorageUnavailableError("Events cannot be read"))

    def _fail(self, fault: Callable[[], AffixError]) -> None:
        self._reader, self.place = None, None
        self._end_all(fault)

    def _hand_out(self, line: Line) -> None:
        for task_id in (line.task_id, None):
            for watcher in self._by_task.get(task_id, ()):
                watcher.put(line)

    def _watchers(self) -> Iterator[Watcher]:
        return (watcher for watchers in self._by_task.values() for watcher in watchers)

    def _end_all(self, fault: Callable[[], AffixError]) -> None:
        for watcher in self._watchers():
            watcher.end(fault())


async def _patiently(ask: Callable[[], Awaitable[V]]) -> V:
    """Ask Redis, and ask again for a while when it fails: what is read behind a place is the same then."""
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE_SECONDS
    while True:
        try:
            return await ask()
        except CacheUnavailableError:
            if loop.time() >= end:
                raise
        await asyncio.sleep(_RETRY_SECONDS)
