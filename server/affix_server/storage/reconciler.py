"""Watches over Postgres: drains what was accepted without it, and mends what a crash left (design/storage.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from affix_server.domain import Ref
from affix_server.errors import AffixError
from affix_server.resilience import Circuit
from affix_server.storage.drainer import Drainer
from affix_server.storage.entries import TaskTombstone
from affix_server.storage.events import task_event
from affix_server.storage.limits import NO_LIMIT
from affix_server.storage.postgres.attachments import AttachmentTable
from affix_server.storage.postgres.database import Database
from affix_server.storage.postgres.tasks import TaskTable
from affix_server.storage.redis.cache import Cache
from affix_server.storage.redis.connection import Command
from affix_server.storage.redis.intents import Intents, Trace
from affix_server.storage.redis.publishing import Telling, announce
from affix_server.storage.redis.task_cache import TaskCache
from affix_server.storage.task_showing import show_task
from affix_server.storage.trust import Trust
from affix_server.times import now_ms

# Older than any write that still runs: an operation ends within five seconds by default.
STALE_MS = 10_000
# A write that failed at Postgres is pending by then; one that is merely under way is not worth a look.
_RECENT_MS = 1_000
_EVERY_SECONDS = 0.5
_PURGE_EVERY_SECONDS = 60.0
_TOMBSTONES_LIVE_SECONDS = 600.0
# Traces are many where the same few keys are written again and again: so many at a time, or they never end.
_BATCH = 2000

_log = structlog.get_logger()


class Reconciler:
    """Brings Redis and Postgres together again. Safe to run in all processes at once."""

    def __init__(
        self,
        *,
        cache: Cache,
        task_cache: TaskCache,
        intents: Intents,
        drainer: Drainer,
        attachments: AttachmentTable,
        tasks: TaskTable,
        database: Database,
        circuit: Circuit,
        trust: Trust,
        registry: CollectorRegistry,
    ) -> None:
        """Work on both halves of both stores; `run` does it again and again."""
        self._cache = cache
        self._task_cache = task_cache
        self._intents = intents
        self._drainer = drainer
        self._attachments = attachments
        self._tasks = tasks
        self._database = database
        self._circuit = circuit
        self._trust = trust
        self._purge_at = 0.0
        self._reconciled = Counter(
            "affix_reconciled_total", "Pending writes that were taken to PostgreSQL", registry=registry
        )
        self._purged = Counter("affix_purged_total", "Tombstones removed from Postgres for good", registry=registry)
        self._waiting = Gauge("affix_pending_writes", "Writes that only Redis has", registry=registry)
        self._oldest = Gauge("affix_pending_oldest_seconds", "Age of the oldest of them", registry=registry)

    async def run(self) -> None:
        """Reconcile until cancelled; a store that fails is tried again the next time."""
        while True:
            try:
                await self._watch()
            except AffixError as fault:
                _log.warning("reconcile_postponed", cause=type(fault).__name__)
            except Exception:  # noqa: BLE001 - logged; one bad entry must not end the mending of others
                _log.exception("reconcile_failed")
            await asyncio.sleep(_EVERY_SECONDS)

    async def _watch(self) -> None:
        if not self._circuit.is_closed:
            await self._probe()
        elif self._trust.publishing:
            await self.reconcile(now_ms() - STALE_MS)
            await self._purge()

    async def _probe(self) -> None:
        """Ask a Postgres that was away, bring it up to date, and only then let calls pass."""
        if self._trust.publishing:
            await self._measure()
        if not self._circuit.begin_probe():
            return
        try:
            await self._database.probe()
            if self._trust.publishing:
                await self.reconcile(now_ms() - STALE_MS, recent_ms=0, probing=True)
        except BaseException:
            self._circuit.reopen()
            raise
        self._circuit.close()

    async def reconcile(self, before_ms: int, *, recent_ms: int = _RECENT_MS, probing: bool = False) -> int:
        """Drain every pending write, and end every write that began before a time and left its trace.

        Returns how many traces are gone. Traces younger than `recent_ms` are passed over.
        """
        skip = drained = ended = 0
        while traces := await self._intents.traces(skip, _BATCH):
            old = [trace for trace in traces if trace.began_ms <= now_ms() - recent_ms]
            refs = [trace.ref for trace in old if trace.ref is not None]
            pending = await self._drainer.drain_all(refs, probing=probing)
            drained += len(pending)
            # A younger trace may be of a write that is still under way, and be needed once more.
            stale = [trace for trace in old if trace.began_ms < before_ms and not trace.ours]
            over = [trace for trace in stale if trace.ref in pending]
            await self._cache.run([self._intents.remove(trace.member) for trace in over])
            # What else was cut short can wait until the circuit is closed.
            cut_short = [] if probing else [trace for trace in stale if trace.ref not in pending]
            for ref, members in _by_ref(cut_short).items():
                await self._settle(ref, [self._intents.remove(member) for member in members])
            ended += len(over) + len(cut_short)
            skip += len(traces) - len(over) - len(cut_short)
            if len(traces) < _BATCH:
                break
        self._waiting.set(0)
        self._oldest.set(0)
        if drained:
            self._reconciled.inc(drained)
            _log.info("drained", writes=drained)
        if ended:
            _log.info("reconciled", writes=ended)
        return ended

    async def _settle(self, ref: Ref | None, removals: Sequence[Command]) -> None:
        """Publish what became of a place that Redis may be behind with, and remove the traces of it."""
        if ref is None:
            events: Sequence[Command] = ()
        elif ref.key:
            events = await self._settle_attachment(ref)
        else:
            events = await self._settle_task(ref.task_id)
        await self._cache.run([*events, *removals])

    async def _settle_attachment(self, ref: Ref) -> Sequence[Command]:
        (row,) = (await self._attachments.read((ref,), NO_LIMIT)).rows
        if row.entry is None:
            return ()
        # Where Redis has it already, its event went out with it.
        await self._cache.republish([(row.entry, None if row.change is None else Telling(row.change))])
        return ()

    async def _settle_task(self, task_id: str) -> Sequence[Command]:
        row = await self._tasks.read(task_id)
        if row is None:
            return ()
        was_behind = await show_task(self._task_cache, self._tasks, row)
        if isinstance(row.task, TaskTombstone) or not was_behind:
            return ()
        return announce(task_event("task.updated", row.task, row.updated_by))

    async def _measure(self) -> None:
        """Tell how much waits for Postgres, while it is away."""
        count, oldest_ms = await self._intents.waiting()
        self._waiting.set(count)
        self._oldest.set(max(now_ms() - oldest_ms, 0) / 1000 if count else 0)

    async def _purge(self) -> None:
        """Remove old tombstones, unless there is a Redis somewhere that may still need them."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._purge_at or not self._trust.believed:
            return
        self._purge_at = loop.time() + _PURGE_EVERY_SECONDS
        purged = await self._attachments.purge(_TOMBSTONES_LIVE_SECONDS)
        purged += await self._tasks.purge(_TOMBSTONES_LIVE_SECONDS)
        if purged:
            self._purged.inc(purged)
            _log.info("purged", tombstones=purged)


def _by_ref(traces: Iterable[Trace]) -> dict[Ref | None, list[bytes]]:
    """Gather the members of traces by what they are about."""
    members: dict[Ref | None, list[bytes]] = {}
    for trace in traces:
        members.setdefault(trace.ref, []).append(trace.member)
    return members
