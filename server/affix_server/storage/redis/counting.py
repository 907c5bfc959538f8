"""Adds what this process has counted to the hashes `cb:metrics:attachments` and `cb:metrics:attachments:type`."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from affix_server.storage.counts import Counts
from affix_server.storage.redis import names
from affix_server.storage.redis.client import CacheUnavailableError, RedisClient, Script
from affix_server.storage.redis.connection import Command

COUNT = Script("count")
SCRIPTS = (COUNT,)

EVERY_SECONDS = 1.0
# For so long a reply that was lost may be made up for.
_REMEMBERED_SECONDS = 86_400

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Addition:
    """What was sent, and what Redis has of this process' counts when it has arrived."""

    command: Command
    totals: Mapping[str, int]
    by_type: Mapping[str, int]


class Counting:
    """Sends what has come to the counts, again and again until Redis says that it has it; it is added once.

    While Redis is away the counts go on in the process, which takes no more room however long it lasts.
    """

    def __init__(self, counts: Counts, client: RedisClient, usable: Callable[[], bool]) -> None:
        """Send over a client while Redis is `usable`."""
        self._counts = counts
        self._client = client
        self._usable = usable
        self._key = names.counted(secrets.token_hex(8))
        self._number = 0
        self._sent: _Addition | None = None
        # What Redis has.
        self._totals: Counter[str] = Counter()
        self._by_type: Counter[str] = Counter()

    async def run(self) -> None:
        """Send once a second until cancelled."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            if self._usable():
                await self._try()

    async def close(self) -> None:
        """Send what is left, when nothing is counted any more; says so if it is lost."""
        if not await self._try() or not await self._try():
            _log.warning("counts_lost", **_new(self._counts.totals(), self._totals))

    async def _try(self) -> bool:
        try:
            await self.flush()
        except CacheUnavailableError:
            return False  # whoever watches over Redis says so; it is sent again
        return True

    async def flush(self) -> None:
        """Send what is new, or again what nobody knows to have arrived. Raises CacheUnavailableError."""
        if self._sent is None:
            self._sent = self._next()
        if self._sent is not None:
            await self._client.run([self._sent.command])
            self._totals, self._by_type = Counter(self._sent.totals), Counter(self._sent.by_type)
            self._sent = None

    def _next(self) -> _Addition | None:
        totals, by_type = self._counts.totals(), self._counts.by_type()
        new, new_by_type = _new(totals, self._totals), _new(by_type, self._by_type)
        if not new:
            return None
        self._number += 1
        keys = (names.COUNTS, names.COUNTS_BY_TYPE, self._key)
        additions = [part for pair in (*new.items(), *new_by_type.items()) for part in pair]
        command = COUNT(keys, self._number, _REMEMBERED_SECONDS, len(new), *additions)
        return _Addition(command, totals, by_type)


def _new(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    return {name: number - before[name] for name, number in now.items() if number != before[name]}
