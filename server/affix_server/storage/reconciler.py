"""Mends what a crash left between the steps of a write (design/storage.md, "A crash")."""

from __future__ import annotations

import asyncio

import structlog
from prometheus_client import CollectorRegistry, Counter

from affix_server.domain import Ref
from affix_server.errors import AffixError
from affix_server.storage.entries import TaskTombstone
from affix_server.storage.events import attachment_event, task_event
from affix_server.storage.postgres.attachments import AttachmentTable
from affix_server.storage.postgres.tasks import TaskTable
from affix_server.storage.redis.cache import Cache
from affix_server.storage.redis.intents import Intents
from affix_server.storage.redis.publishing import announce
from affix_server.storage.redis.task_cache import TaskCache
from affix_server.times import now_ms

# Older than any write that still runs: an operation ends within five seconds by default.
STALE_MS = 10_000
_BATCH = 100
_NO_LIMIT = 2**62

_log = structlog.get_logger()


class Reconciler:
    """Takes stale intents and publishes what Postgres holds. Safe to run in all processes at once."""

    def __init__(
        self,
        *,
        cache: Cache,
        task_cache: TaskCache,
        intents: Intents,
        attachments: AttachmentTable,
        tasks: TaskTable,
        registry: CollectorRegistry,
    ) -> None:
        """Work on both halves of both stores; `run` does it again and again."""
        self._cache = cache
        self._task_cache = task_cache
        self._intents = intents
        self._attachments = attachments
        self._tasks = tasks
        self._reconciled = Counter(
            "affix_reconciled_total", "Writes cut short that were brought to an end", registry=registry
        )

    async def run(self, every_seconds: float) -> None:
        """Reconcile until cancelled; a store that fails is tried again the next time."""
        while True:
            try:
                await self.reconcile(now_ms() - STALE_MS)
            except AffixError as fault:
                _log.warning("reconcile_postponed", cause=str(fault))
            except Exception:  # noqa: BLE001 - logged; one bad entry must not end the mending of others
                _log.exception("reconcile_failed")
            await asyncio.sleep(every_seconds)

    async def reconcile(self, before_ms: int) -> int:
        """Bring to an end every write that began before a time and left its trace; returns how many."""
        done = 0
        while traces := await self._intents.stale(before_ms, _BATCH):
            for member, ref in traces:
                if ref is None:
                    await self._cache.run([self._intents.remove(member)])
                elif ref.key:
                    await self._settle_attachment(member, ref)
                else:
                    await self._settle_task(member, ref.task_id)
            done += len(traces)
            self._reconciled.inc(len(traces))
            _log.info("reconciled", writes=len(traces))
        return done

    async def _settle_attachment(self, member: bytes, ref: Ref) -> None:
        (row,) = (await self._attachments.read((ref,), _NO_LIMIT)).rows
        if row.entry is None:
            await self._cache.run([self._intents.remove(member)])
            return
        event = attachment_event(row.entry, row.updated_by)
        await self._cache.publish(row.entry, [*announce(event), self._intents.remove(member)])

    async def _settle_task(self, member: bytes, task_id: str) -> None:
        row = await self._tasks.read(task_id)
        if row is None:
            await self._cache.run([self._intents.remove(member)])
            return
        await self._task_cache.publish(row.task, (), ())
        if isinstance(row.task, TaskTombstone):
            await self._task_cache.drop_entries(task_id, await self._tasks.keys(task_id))
        event = task_event("task.updated", row.task, row.updated_by)
        await self._cache.run([*announce(event), self._intents.remove(member)])
