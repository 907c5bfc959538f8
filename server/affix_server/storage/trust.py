"""Whether Redis may be believed: the one decision behind every read (design/storage.md, "Redis away").

A process doubts Redis as soon as a reply is late, a connection breaks, Redis
refuses a write, or another process announces that it does without Redis. From
then on Postgres answers its reads, and its writes are acknowledged after the
commit alone, once all others have had time to hear of it. All processes
believe Redis, or none does (docs/decisions/0010-doubt-is-shared.md,
0014-believing-together.md); `redis_watch.py` sees to that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import TypeVar

import structlog

from affix_server.errors import AttachmentNotFoundError, StorageUnavailableError, TaskNotFoundError
from affix_server.resilience import Circuit
from affix_server.storage.announcement import HEARD_AFTER_SECONDS, LOOK_HOLDS_SECONDS, Announcement
from affix_server.storage.redis.client import CacheUnavailableError
from affix_server.storage.underway import Underway

# Readers wait for the others to believe Redis as well, but not for ever: then this process does without it again.
_PATIENCE_SECONDS = 2.0

V = TypeVar("V")

_log = structlog.get_logger()


class _OutdatedError(Exception):
    """An answer that was true when it was asked for, and may not be any more."""


class Trust:
    """What one process thinks of Redis. `redis_watch.py` keeps it up to date; everything else asks."""

    def __init__(self, announcement: Announcement, database_circuit: Circuit, *, statement_seconds: float) -> None:
        """Begin undecided: nobody knows how old what is in Redis is, until somebody has looked."""
        self._announcement = announcement
        self._database_circuit = database_circuit
        # An announcement is two statements away at most: one may have failed.
        self._announced_within = 2 * statement_seconds + HEARD_AFTER_SECONDS
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._believed = False
        self._comparable = False
        self._looked = 0.0
        self._reported = False
        self._publishing = True
        self._unpublished, self._reads_past = Underway(), Underway()
        self.waiting = False
        self.in_doubt = False
        self.epoch = 0

    @property
    def believed(self) -> bool:
        """Whether what Redis answers now is up to date, as far as there is a Postgres to compare it with."""
        comparable = self._comparable or not self._database_circuit.is_closed
        # Not by the loop's clock, which stands still while the loop is at work.
        return self._believed and comparable and time.monotonic() - self._looked < LOOK_HOLDS_SECONDS

    @property
    def thought_believed(self) -> bool:
        """Whether it was believed when it was last thought about."""
        return self._believed

    @property
    def compared(self) -> bool:
        """Whether Redis was up to date with Postgres when it was last believed."""
        return self._comparable

    @property
    def publishing(self) -> bool:
        """Whether writes are published in Redis."""
        return self._publishing

    # What happens to it

    def doubt(self, *, publishing: bool = False) -> None:
        """Take note that Redis failed, or was late; what it says from now on may be out of date."""
        if not self._reported:
            _log.warning("redis_doubted")
        self._reported = True
        self._publishing = publishing
        if self.waiting or not self.in_doubt:
            self._announcement.void()
        self.in_doubt, self.waiting = True, False
        self.lapse()

    def join(self) -> None:
        """Take note that others do without Redis. What is written here is published all the same, if it was before."""
        if not self._reported:
            _log.warning("redis_doubted_by_others")
        self._reported = True
        self.doubt(publishing=self._publishing)

    def lapse(self) -> None:
        """Take note that it has to be looked at again before it is believed; readers wait meanwhile."""
        self.epoch += 1
        self._believed = False
        self._change()

    def looked(self, at: float) -> None:
        """Take note that nobody did without Redis at that time."""
        self._looked = at
        self._change()

    def publish(self) -> None:
        """Have writes published from now on."""
        self._publishing = True

    async def nothing_unpublished(self) -> None:
        """Wait until all writes are over that Redis does not hear of."""
        await self._unpublished.over()

    async def wait_for_others(self) -> None:
        """Answer nothing any more until `believe` or `doubt`; returns when nothing is being answered."""
        self.waiting = True
        self._change()
        await self._reads_past.over()

    def believe(self, looked: float, *, compared: bool) -> None:
        """Read through Redis from now on; at the time `looked` nobody answered past it."""
        self._looked, self._comparable = looked, compared
        self._believed = self._publishing = True
        self.in_doubt = self.waiting = False
        if self._reported:
            _log.info("redis_believed")
        self._reported = False
        self._announcement.end()
        self._change()

    # What depends on it

    async def redis_first(self, through: Callable[[], Awaitable[V]], past: Callable[[], Awaitable[V]]) -> V:
        """Read through Redis, if it is believed from the beginning to the end of it; else past it.

        What Postgres says now, nobody may go back behind: it is asked only while no process answers from Redis.
        A Postgres that is away has no answer to go back behind.
        """
        while True:
            try:
                if self.believed:
                    return await self._through_redis(through)
                if not self._database_circuit.is_closed:
                    return await past()
                if self._answers_past_redis:
                    return await self._past_redis(past)
                await self._decided()
            except _OutdatedError:
                continue

    async def _through_redis(self, through: Callable[[], Awaitable[V]]) -> V:
        epoch = self.epoch
        try:
            answer = await through()
        except (TaskNotFoundError, AttachmentNotFoundError):
            if self._stands(epoch):
                raise
        except CacheUnavailableError:
            if self.epoch == epoch:
                self.doubt()
        else:
            if self._stands(epoch):
                return answer
        raise _OutdatedError

    def _stands(self, epoch: int) -> bool:
        """Look again in the end: what Redis answered, asked in an epoch, may have been overtaken if it took long."""
        return self.epoch == epoch and self.believed

    @property
    def _answers_past_redis(self) -> bool:
        return self.in_doubt and not self.waiting and self._announcement.has_been_heard

    async def _past_redis(self, past: Callable[[], Awaitable[V]]) -> V:
        """Return what a read answers, or raise what it denies, if that stands in the end; else raise _OutdatedError."""
        with self._reads_past.one():
            try:
                answer = await past()
            except (TaskNotFoundError, AttachmentNotFoundError):
                if self._announcement.has_been_heard:
                    raise
                raise _OutdatedError from None
            if not self._announcement.has_been_heard:
                raise _OutdatedError
            return answer

    async def _decided(self) -> None:
        """Wait until something may have been decided: look again what."""
        if self.in_doubt and not self.waiting:
            await self.heard()
            return
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._changed.wait()
        except TimeoutError:
            self.doubt()

    def unpublished(self) -> AbstractContextManager[None]:
        """Mark a write that Redis does not hear of; it is not believed before the write is over."""
        return self._unpublished.one()

    async def heard(self) -> None:
        """Wait until no process believes a Redis that lacks what was just committed.

        Raises StorageUnavailableError if that cannot be made sure in time.
        """
        try:
            async with asyncio.timeout(self._announced_within):
                while not (self._believed or self._announcement.has_been_heard):
                    await self._announcement.wait()
        except TimeoutError:
            raise StorageUnavailableError("Cache connection failed") from None

    def _change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
