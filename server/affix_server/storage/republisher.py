"""Brings a Redis that was away up to date (design/storage.md, "Redis away")."""

from __future__ import annotations

import structlog
from prometheus_client import CollectorRegistry, Counter

from affix_server.storage.entries import TaskTombstone
from affix_server.storage.events import Change, task_deletion
from affix_server.storage.postgres.attachments import AttachmentTable
from affix_server.storage.postgres.tasks import TaskRow, TaskTable
from affix_server.storage.redis import names
from affix_server.storage.redis.cache import Cache
from affix_server.storage.redis.publishing import Telling
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

        An event goes out for each that nobody has told of, as far as Redis knows. Where an earlier write of a key
        has not been told of and cannot be any more, watchers hear that an event is missing.
        """
        missed = 0
        async for tasks in self._tasks.since(since):
            await self._task_cache.republish([(row.task, _deletion(row)) for row in tasks])
        async for rows in self._attachments.since(since):
            behind = await self._cache.republish(
                [
                    (row.entry, None if row.change is None else Telling(row.change, told_until=since))
                    for _, row in rows
                    if row.entry is not None
                ]
            )
            missed += sum(behind)
        self._republished.inc(missed)
        if missed:
            _log.info("republished", rows=missed)
        return missed

    async def forget_all(self) -> None:
        """Drop all that Redis holds and Postgres has, because nobody knows how old it is.

        The events of what it missed are missing too, so nobody can resume from before.
        """
        await self._cache.run([("UNLINK", names.WATCHED)])
        dropped = await self._cache.forget_all()
        if dropped:
            _log.warning("cache_dropped", keys=dropped)


def _deletion(row: TaskRow) -> Change | None:
    return task_deletion(row.task, row.updated_by) if isinstance(row.task, TaskTombstone) else None
