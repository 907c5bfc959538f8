"""Watching over Redis: when to believe it, together with all other processes.

The loop behind `trust.py` (docs/decisions/0010-doubt-is-shared.md, 0014-believing-together.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import structlog

from affix_server.errors import AffixError, StorageUnavailableError
from affix_server.resilience import Circuit, CircuitState
from affix_server.storage.announcement import Announcement
from affix_server.storage.postgres.database import Database
from affix_server.storage.postgres.doubts import DoubtTable, Others, Stage
from affix_server.storage.redis import names
from affix_server.storage.redis.client import CacheUnavailableError, RedisClient
from affix_server.storage.republisher import Republisher
from affix_server.storage.trust import Trust

_EVERY_SECONDS = 0.2
# Nothing is answered while all wait for each other.
_POLL_SECONDS = 0.02
_LOOK_TIMEOUT_SECONDS = 0.3
# Postgres can answer while Redis is looked at for longer.
_START_SECONDS = 1.0
# Longer than a write may take from its revision to its publication.
_MARGIN_US = 15_000_000
# A Redis that is further behind may have missed deletions whose tombstones are gone; those live ten minutes.
_FURTHEST_BEHIND_US = 9 * 60 * 1_000_000

_log = structlog.get_logger()


class RedisWatch:
    """Looks after Redis and after the other processes' doubts; tells Trust what comes of it."""

    def __init__(
        self,
        *,
        trust: Trust,
        announcement: Announcement,
        client: RedisClient,
        circuit: Circuit,
        database: Database,
        database_circuit: Circuit,
        doubts: DoubtTable,
        republisher: Republisher,
    ) -> None:
        """Hear of every fault of `client` from now on."""
        self._trust = trust
        self._announcement = announcement
        self._client = client
        self._circuit = circuit
        self._database = database
        self._database_circuit = database_circuit
        self._doubts = doubts
        self._republisher = republisher
        self._loop = asyncio.get_running_loop()
        self._since = database.now_us
        self._looked = 0.0
        self._look: asyncio.Task[Others | None] | None = None
        client.on_fault = self._failed
        client.on_late = trust.doubt

    def _failed(self) -> None:
        self._circuit.failed()
        self._trust.doubt()

    async def start(self) -> None:
        """Look for the first time, so that what is there already is used from the beginning."""
        with suppress(AffixError, TimeoutError):
            await asyncio.wait_for(self._regain(), _START_SECONDS)
        if not self._trust.thought_believed:
            self._trust.doubt(publishing=self._trust.publishing)

    async def run(self) -> None:
        """Watch over Redis until cancelled."""
        while True:
            try:
                await (self._keep() if self._trust.thought_believed else self._regain())
            except AffixError:
                pass  # whoever failed has been counted by its circuit; what follows from it is decided next time
            except Exception:  # noqa: BLE001 - logged; without this loop nothing is ever believed again
                _log.exception("watch_failed")
            await asyncio.sleep(_EVERY_SECONDS)

    async def _keep(self) -> None:
        """While Redis is believed: show that it is current, and look whether anybody does without it."""
        trust, began, now = self._trust, self._loop.time(), self._database.now_us
        try:
            if trust.compared:
                await self._client.execute("SET", names.HEARTBEAT, now)
                self._since = now
            else:
                await self._client.execute("PING")
        except CacheUnavailableError:
            trust.doubt()
            raise
        others = await self._others_soon()
        if not trust.thought_believed:
            return
        if others is not None and others.stage < Stage.WAITING:
            self._join(others)
        elif not trust.compared and self._database_circuit.is_closed:
            trust.lapse()
        else:
            trust.looked(began)

    def _join(self, others: Others) -> None:
        self._since = min(self._since, others.since)
        self._trust.join()

    async def _others_soon(self) -> Others | None:
        """Look whether others do without Redis; None as well if Postgres is away: then nobody commits past Redis.

        Postgres is asked whatever its circuit says here: to others it may be there. One question at a time.
        """
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._doubts.others(probing=True))
        await asyncio.wait((self._look,), timeout=_LOOK_TIMEOUT_SECONDS)
        if not self._look.done() or self._look.exception() is not None:
            return None
        return self._look.result()

    async def _regain(self) -> None:
        """Bring a Redis that is not believed up to date as soon as it answers; believe it when all others can."""
        trust = self._trust
        if trust.waiting:
            trust.doubt(publishing=trust.publishing)  # something failed since: reads need not wait for that
        if not trust.in_doubt:
            others = await self._others_soon()
            if others is not None and others.stage < Stage.WAITING:
                self._join(others)
        epoch = trust.epoch
        with_postgres = await self._announce(Stage.AWAY)
        if not await self._redis_takes_writes() or trust.epoch != epoch:
            return
        if with_postgres:
            trust.publish()
            await self._renewing(Stage.AWAY, self._catch_up())
            await (self._agree(epoch) if trust.in_doubt else self._look_again())
        else:
            self._looked = self._loop.time()
            if await self._others_soon() is not None:
                return  # Postgres is there for others, and one of them writes past Redis
        if trust.epoch == epoch:
            # Without Postgres Redis decides, but when that is back, there may be something to make up for.
            await self._believe(compared=with_postgres)

    async def _announce(self, stage: Stage) -> bool:
        """Tell the others of a doubt; False if Postgres is away, and so nothing can be written past Redis."""
        if not self._trust.in_doubt:
            return self._database_circuit.is_closed
        return await self._announcement.make(self._since, stage)

    async def _renewing(self, stage: Stage, work: Coroutine[Any, Any, None]) -> None:
        """Do work that may take longer than an announcement holds."""
        task = asyncio.create_task(work)
        try:
            while not (await asyncio.wait((task,), timeout=_EVERY_SECONDS))[0]:
                await self._announce(stage)
        finally:
            task.cancel()
        await task

    async def _redis_takes_writes(self) -> bool:
        """Tell whether Redis is there, not as a replica, nor full, nor still loading."""
        # Half-open is our own probe, which something came in between of: it goes on.
        if self._circuit.state is CircuitState.OPEN and not self._circuit.begin_probe():
            return False
        try:
            await self._client.execute("SET", names.PROBE, "", "PX", 1000)
        except StorageUnavailableError:
            if not self._circuit.is_closed:
                self._circuit.reopen()
            return False
        return True

    async def _catch_up(self) -> None:
        await self._trust.nothing_unpublished()
        heartbeat = await self._client.execute("GET", names.HEARTBEAT)
        now = self._database.now_us
        current = int(heartbeat) if heartbeat is not None and heartbeat.isdigit() else 0
        if now - current > _FURTHEST_BEHIND_US:
            await self._republisher.forget_all()
        else:
            await self._republisher.republish(min(self._since, current) - _MARGIN_US)

    async def _look_again(self) -> None:
        """Before believing what nobody was told to doubt: somebody may have begun to."""
        others = await self._others()
        if others is not None and others.stage < Stage.WAITING:
            self._join(others)

    async def _others(self) -> Others | None:
        self._looked = self._loop.time()
        return await self._doubts.others()

    async def _agree(self, epoch: int) -> None:
        """Wait until all who do without Redis can believe it, and answer nothing until all are about to.

        One that died without Redis is made up for.
        """
        if await self._wait_until_all_are(Stage.CAUGHT_UP, epoch):
            await self._renewing(Stage.CAUGHT_UP, self._catch_up())
        if self._trust.epoch == epoch:
            await self._trust.wait_for_others()
            await self._wait_until_all_are(Stage.WAITING, epoch)

    async def _wait_until_all_are(self, stage: Stage, epoch: int) -> bool:
        """Wait, at a stage, for all others to come as far; tells whether there was somebody to wait for."""
        waited = False
        while self._trust.epoch == epoch:
            if not await self._announce(stage):
                raise StorageUnavailableError("Database connection failed")
            others = await self._others()
            if others is None or others.stage >= stage:
                break
            if others.stage < stage - 1:
                self._trust.doubt(publishing=True)  # somebody has fallen back, so all do
            waited = True
            await self._client.execute("PING")
            await asyncio.sleep(_POLL_SECONDS if self._trust.waiting else _EVERY_SECONDS / 2)
        return waited

    async def _believe(self, *, compared: bool) -> None:
        was_in_doubt = self._trust.in_doubt
        if compared:
            await self._client.execute("SET", names.HEARTBEAT, self._database.now_us)
        self._circuit.close()
        self._trust.believe(self._looked, compared=compared)
        if was_in_doubt and compared:
            await self._announcement.withdraw()
