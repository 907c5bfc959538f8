"""Whether Redis may be believed: the one decision behind every read (design/storage.md, "Redis away").

A process doubts Redis as soon as a reply is late, a connection breaks, or
another process announces that it does without Redis. From then on Postgres
answers its reads, and its writes are acknowledged after the commit alone, once
all others have had time to hear of it. Redis is believed again when everything written since
is in it, for all processes (docs/decisions/0010-doubt-is-shared.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import structlog

from affix_server.errors import (
    AffixError,
    AttachmentNotFoundError,
    StorageUnavailableError,
    TaskNotFoundError,
)
from affix_server.resilience import Circuit, CircuitState
from affix_server.storage.announcement import HEARD_AFTER_SECONDS, LOOK_HOLDS_SECONDS, Announcement
from affix_server.storage.postgres.database import Database
from affix_server.storage.postgres.doubts import DoubtTable
from affix_server.storage.redis import names
from affix_server.storage.redis.client import CacheUnavailableError, RedisClient
from affix_server.storage.republisher import Republisher

_EVERY_SECONDS = 0.2
_LOOK_TIMEOUT_SECONDS = 0.3
# An announcement expires after three seconds; it is renewed well before.
_RENEW_SECONDS = 1.0
# Postgres can answer while Redis is looked at for longer.
_START_SECONDS = 1.0
# Longer than a write may take from its revision to its publication.
_MARGIN_US = 15_000_000
# A Redis that is further behind may have missed deletions whose tombstones are gone; those live ten minutes.
_FURTHEST_BEHIND_US = 9 * 60 * 1_000_000

V = TypeVar("V")

_log = structlog.get_logger()


class Trust:
    """What one process thinks of Redis. `run` keeps it up to date; everything else asks."""

    def __init__(
        self,
        *,
        client: RedisClient,
        circuit: Circuit,
        database: Database,
        database_circuit: Circuit,
        doubts: DoubtTable,
        republisher: Republisher,
    ) -> None:
        """Begin in doubt: nobody knows how old what is in Redis is, until `run` has looked."""
        self._client = client
        self._circuit = circuit
        self._database = database
        self._database_circuit = database_circuit
        self._doubts = doubts
        self._republisher = republisher
        self._loop = asyncio.get_running_loop()
        self._believed = False
        self._publishing = True
        self._looked = 0.0
        self._since = database.now_us
        self._own_doubt = self._doubted = False
        self._told_at = 0.0
        self._announcement = Announcement(doubts)
        self._look: asyncio.Task[int | None] | None = None
        self._caught_up = False
        self._unpublished = 0
        self._published = asyncio.Event()
        self._published.set()
        self.epoch = 0
        client.on_fault = self._failed
        client.on_late = self.doubt

    @property
    def believed(self) -> bool:
        """Whether what Redis answers now is up to date, as far as there is a Postgres to compare it with."""
        comparable = self._caught_up or not self._database_circuit.is_closed
        return self._believed and comparable and self._loop.time() - self._looked < LOOK_HOLDS_SECONDS

    @property
    def publishing(self) -> bool:
        """Whether writes are published in Redis."""
        return self._publishing

    def _failed(self) -> None:
        self._circuit.failed()
        self.doubt()

    def doubt(self) -> None:
        """Take note that Redis failed, or was late; what it says from now on may be out of date."""
        if not self._doubted:
            _log.warning("redis_doubted")
        self._doubted = True
        self.epoch += 1
        self._believed = self._publishing = False
        if not self._own_doubt:
            self._own_doubt = True
            self._announcement.void()

    async def redis_first(self, through: Callable[[], Awaitable[V]], past: Callable[[], Awaitable[V]]) -> V:
        """Read through Redis, if it is believed from the beginning to the end of it; else past it."""
        if self.believed:
            epoch = self.epoch
            try:
                answer = await through()
            except CacheUnavailableError:
                pass
            except (TaskNotFoundError, AttachmentNotFoundError):
                if self.epoch == epoch:
                    raise
            else:
                if self.epoch == epoch:
                    return answer
        await self._until_nobody_believes()
        return await past()

    async def _until_nobody_believes(self) -> None:
        """Wait until others do not answer from Redis any more: they might go back behind what Postgres is asked now.

        A Postgres that is away has no answer to go back behind.
        """
        if not self._database_circuit.is_closed:
            return
        if self._own_doubt:
            await self.heard()
        else:
            await asyncio.sleep(max(self._told_at + HEARD_AFTER_SECONDS - self._loop.time(), 0))

    @contextmanager
    def unpublished(self) -> Iterator[None]:
        """Mark a write that Redis does not hear of; it is not believed before the write is over."""
        self._unpublished += 1
        self._published.clear()
        try:
            yield
        finally:
            self._unpublished -= 1
            if not self._unpublished:
                self._published.set()

    async def heard(self) -> None:
        """Wait until no process believes a Redis that lacks what was just committed.

        Raises StorageUnavailableError if that cannot be made sure in time.
        """
        try:
            async with asyncio.timeout(2 * self._database.timeout + HEARD_AFTER_SECONDS):
                while not (self._believed or self._announcement.has_been_heard):
                    await self._announcement.wait()
        except TimeoutError:
            raise StorageUnavailableError("Cache connection failed") from None

    async def start(self) -> None:
        """Look for the first time, so that what is there already is used from the beginning."""
        try:
            await asyncio.wait_for(self._regain(), _START_SECONDS)
        except (AffixError, TimeoutError):
            _log.warning("redis_doubted")
            self._doubted = True

    async def run(self) -> None:
        """Watch over Redis until cancelled."""
        while True:
            try:
                await (self._keep() if self._believed else self._regain())
            except AffixError:
                pass  # whoever failed has been counted by its circuit; what follows from it is decided next time
            except Exception:  # noqa: BLE001 - logged; without this loop nothing is ever believed again
                _log.exception("trust_failed")
            await asyncio.sleep(_EVERY_SECONDS)

    async def _keep(self) -> None:
        """While Redis is believed: show that it is current, and look whether anybody does without it."""
        began = self._loop.time()
        now = self._database.now_us
        if self._caught_up:
            await self._client.execute("SET", names.HEARTBEAT, now)
            self._since = now
        else:
            await self._client.execute("PING")
        others = await self._others_since()
        if others is not None:
            _log.warning("redis_doubted_by_others")
            self._doubted = True
            self._since = min(self._since, others)
            self._told_at = self._loop.time()
        if others is not None or (not self._caught_up and self._database_circuit.is_closed):
            self.epoch += 1
            self._believed = False
        self._looked = began

    async def _others_since(self) -> int | None:
        """Look whether others do without Redis; None as well if Postgres is away: then nobody commits past Redis.

        Postgres is asked whatever its circuit says here: to others it may be there. One question at a time.
        """
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._doubts.others_since(probing=True))
        await asyncio.wait((self._look,), timeout=_LOOK_TIMEOUT_SECONDS)
        if not self._look.done() or self._look.exception() is not None:
            return None
        return self._look.result()

    async def _regain(self) -> None:
        """While Redis is doubted: announce it, and bring Redis up to date as soon as it answers."""
        epoch = self.epoch
        announced = await self._announce()
        if not await self._redis_answers() or self.epoch != epoch:
            return
        if announced:
            self._publishing = True
            await self._renewing(self._catch_up())
            if self.epoch != epoch:
                return
            if self._own_doubt:
                await self._announcement.withdraw()
                self._own_doubt = False
            await self._wait_for_others(epoch)
        elif await self._others_since() is not None:
            return  # Postgres is there for others, and one of them writes past Redis
        if self.epoch == epoch:
            # Without Postgres Redis decides, but when that is back, there may be something to make up for.
            self._caught_up = announced
            await self._believe()

    async def _announce(self) -> bool:
        """Tell the others; False if Postgres is away, and so nothing can be written past Redis."""
        if not self._own_doubt:
            return self._database_circuit.is_closed
        return await self._announcement.make(self._since)

    async def _renewing(self, work: Coroutine[Any, Any, None]) -> None:
        """Do work that may take longer than an announcement holds."""
        task = asyncio.create_task(work)
        try:
            while not (await asyncio.wait((task,), timeout=_RENEW_SECONDS))[0]:
                await self._announce()
        finally:
            task.cancel()
        await task

    async def _redis_answers(self) -> bool:
        # Half-open is our own probe, which something came in between of: it goes on.
        if self._circuit.state is CircuitState.OPEN and not self._circuit.begin_probe():
            return False
        try:
            await self._client.execute("PING")
        except StorageUnavailableError:
            if not self._circuit.is_closed:
                self._circuit.reopen()
            return False
        return True

    async def _catch_up(self) -> None:
        await self._published.wait()
        heartbeat = await self._client.execute("GET", names.HEARTBEAT)
        now = self._database.now_us
        current = int(heartbeat) if heartbeat is not None and heartbeat.isdigit() else 0
        if now - current > _FURTHEST_BEHIND_US:
            await self._republisher.forget_all()
        else:
            await self._republisher.republish(min(self._since, current) - _MARGIN_US)

    async def _wait_for_others(self, epoch: int) -> None:
        """Wait until no other process does without Redis, then make up for one that died while it did."""
        waited = False
        while self.epoch == epoch and await self._doubts.others_since() is not None:
            waited = True
            await self._client.execute("PING")
            await asyncio.sleep(_EVERY_SECONDS / 2)
        if waited and self.epoch == epoch:
            await self._catch_up()

    async def _believe(self) -> None:
        if self._caught_up:
            await self._client.execute("SET", names.HEARTBEAT, self._database.now_us)
        self._circuit.close()
        self._looked = self._loop.time()
        self._believed = self._publishing = True
        if self._doubted:
            _log.info("redis_believed")
        self._doubted = self._own_doubt = False
        self._announcement.end()
