"""Brings a Redis that was away up to date (design/storage.md, "Redis away")."""

from __future__ import annotations

import structlog
from prometheus_client import CollectorRegistry, Counter

from affix_server.storage.entries import Entry
from affix_server.storage.events import attachment_event
from affix_server.storage.postgres.attachments import AttachmentTable
from affix_server.storage.postgres.tasks import TaskTable
from affix_server.storage.redis.cache import Cache
from affix_server.storage.redis.publishing import announce
from affix_server.storage.redis.task_cache import TaskCache

_log = structlog.get_logger()


class Republisher:
    """Publishes again what Redis may have missed, or drops what it cannot vouch for."""

    def __init__(
        self,
        *,
        cache: Cache,
        task_cache: TaskCache,
        attachments: AttachmentTable,
        tasks: TaskTable,
        registry: CollectorRegistry,
    ) -> None:
        """Work on both halves of both stores."""
        self._cache = cache
        self._task_cache = task_cache
        self._attachments = attachments
        self._tasks = tasks
        self._republished = Counter(
            "affix_republished_total", "Rows published again after Redis had been away", registry=registry
        )

    async def republish(self, since: int) -> int:
        """Publish every row with a revision after `since`; returns how many Redis had missed.

        An event goes out for each of those; it may have gone out before, with the same revision.
        """
        missed = 0
        async for tasks in self._tasks.since(since):
            await self._task_cache.republish(tasks)
        async for rows in self._attachments.since(since):
            entries: list[Entry] = [row.entry for _, row in rows if row.entry is not None]
            behind = await self._cache.republish(entries)
            events = [
                attachment_event(entry, row.updated_by)
                for entry, (_, row), was_behind in zip(entries, rows, behind, strict=True)
                if was_behind
            ]
            await self._cache.run([command for event in events for command in announce(event)])
            missed += len(events)
        self._republished.inc(missed)
        if missed:
            _log.info("republished", rows=missed)
        return missed

    async def forget_all(self) -> None:
        """Drop all that Redis holds and Postgres has, because nobody knows how old it is."""
        dropped = await self._cache.forget_all()
        if dropped:
            _log.warning("cache_dropped", keys=dropped)
