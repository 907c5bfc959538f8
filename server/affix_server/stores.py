"""All wiring of storage: both stores, the repositories over them, the background jobs."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from affix_server.config import Settings
from affix_server.metrics import Shown, counter, gauge
from affix_server.opening import background, count, open_postgres, open_redis, open_watching
from affix_server.resilience import Circuit
from affix_server.storage.acceptor import Acceptor
from affix_server.storage.announcement import Announcement
from affix_server.storage.clock import Clock
from affix_server.storage.counts import Counts
from affix_server.storage.drainer import Drainer
from affix_server.storage.expiry import Expiry
from affix_server.storage.postgres.attachments import AttachmentTable
from affix_server.storage.postgres.database import Database
from affix_server.storage.postgres.doubts import DoubtTable
from affix_server.storage.postgres.tasks import TaskTable
from affix_server.storage.postgres.writer import GroupCommitWriter
from affix_server.storage.reading import AttachmentReading
from affix_server.storage.reconciler import Reconciler
from affix_server.storage.redis.cache import Cache
from affix_server.storage.redis.client import RedisClient
from affix_server.storage.redis.intents import Intents
from affix_server.storage.redis.kept import KeptEntries
from affix_server.storage.redis.pending import PendingWrites
from affix_server.storage.redis.pending_tasks import PendingTasks
from affix_server.storage.redis.task_cache import TaskCache
from affix_server.storage.redis_only.attachments import RedisOnlyAttachments
from affix_server.storage.redis_only.tasks import RedisOnlyTasks
from affix_server.storage.redis_watch import RedisWatch
from affix_server.storage.repository import AttachmentRepository
from affix_server.storage.republisher import Republisher
from affix_server.storage.revisions import Revisions
from affix_server.storage.task_acceptor import TaskAcceptor
from affix_server.storage.task_repository import TaskRepository
from affix_server.storage.task_writing import TaskWriting
from affix_server.storage.trust import Trust
from affix_server.storage.watching import Watching
from affix_server.storage.writing import AttachmentWriting
from affix_server.tracing import Spans


@dataclass(frozen=True, slots=True)
class Storage:
    """The parts of storage, wired together: the services use the first two."""

    attachments: AttachmentRepository
    tasks: TaskRepository
    cache: Cache
    intents: Intents
    attachment_table: AttachmentTable
    task_table: TaskTable
    writer: GroupCommitWriter
    reconciler: Reconciler
    expiry: Expiry
    trust: Trust
    watch: RedisWatch
    postgres_circuit: Circuit
    redis_circuit: Circuit
    watching: Watching
    counts: Counts


async def open_storage(
    settings: Settings, registry: CollectorRegistry, stack: AsyncExitStack, spans: Spans | None = None
) -> Storage:
    """Connect to both stores and start the background jobs; `stack` ends and closes them all.

    Raises StartError when a store cannot be reached or its schema is behind.
    """
    postgres_circuit, redis_circuit = (_circuit(store, settings, registry) for store in ("postgres", "redis"))
    database = await open_postgres(settings, registry, postgres_circuit, stack, spans)
    client = await open_redis(settings, registry, stack, spans)
    watching = open_watching(settings, registry, stack)
    storage = _compose(settings, registry, database, client, watching, postgres_circuit, redis_circuit, spans)
    await storage.watch.start()
    count(storage.counts, client, registry, stack, usable=lambda: storage.trust.publishing)
    background(stack, "group_commit", storage.writer.run())
    background(stack, "reconciler", storage.reconciler.run())
    background(stack, "expiry", storage.expiry.run())
    background(stack, "watch", storage.watch.run())
    # Unwound first: writes that outlive their callers still need all of the above.
    stack.push_async_callback(storage.tasks.close)
    stack.push_async_callback(storage.attachments.close)
    return storage


@dataclass(frozen=True, slots=True)
class RedisOnlyStorage:
    """The parts of storage without Postgres."""

    attachments: RedisOnlyAttachments
    tasks: RedisOnlyTasks
    client: RedisClient
    watching: Watching
    counts: Counts


async def open_redis_only(
    settings: Settings, registry: CollectorRegistry, stack: AsyncExitStack, spans: Spans | None = None
) -> RedisOnlyStorage:
    """Connect to Redis, which keeps everything for good; `stack` closes it. Raises StartError."""
    client = await open_redis(settings, registry, stack, spans)
    counts = Counts()
    count(counts, client, registry, stack, usable=lambda: True)
    clock = Clock(lambda: time.time_ns() // 1000)
    kept = KeptEntries(settings.read_cache_bytes)
    cache = Cache(client, Revisions(), kept, ttl_seconds=0, registry=registry)
    task_cache, writes = TaskCache(client, clock, ttl_seconds=0), PendingWrites(client, ttl_seconds=0)
    most = settings.max_message_bytes
    attachments = RedisOnlyAttachments(cache, task_cache, writes, clock, max_message_bytes=most)
    watching = open_watching(settings, registry, stack)
    background(stack, "expiry", Expiry(attachments, registry).run())
    tasks = RedisOnlyTasks(task_cache, attachments)
    return RedisOnlyStorage(attachments, tasks, client, watching, counts)


def _compose(
    settings: Settings,
    registry: CollectorRegistry,
    database: Database,
    client: RedisClient,
    watching: Watching,
    postgres_circuit: Circuit,
    redis_circuit: Circuit,
    spans: Spans | None,
) -> Storage:
    ttl = settings.cache_ttl_seconds
    revisions, intents = Revisions(), Intents(client)
    kept = KeptEntries(settings.read_cache_bytes)
    cache = Cache(client, revisions, kept, ttl_seconds=ttl, registry=registry)
    task_cache, pending = TaskCache(client, database.clock, ttl_seconds=ttl), PendingWrites(client, ttl_seconds=ttl)
    table, task_table = AttachmentTable(database, revisions), TaskTable(database, revisions)
    pending_tasks = PendingTasks(client, ttl_seconds=ttl)
    writer, drainer = GroupCommitWriter(table, spans), Drainer(pending, pending_tasks, table, task_table)
    republisher = Republisher(
        cache=cache, task_cache=task_cache, attachments=table, tasks=task_table, registry=registry
    )
    doubts = DoubtTable(database, intents.writer)
    announcement = Announcement(doubts)
    trust = Trust(announcement, postgres_circuit, statement_seconds=database.timeout)
    watch = RedisWatch(
        trust=trust,
        announcement=announcement,
        client=client,
        circuit=redis_circuit,
        database=database,
        database_circuit=postgres_circuit,
        doubts=doubts,
        republisher=republisher,
    )
    refuse = settings.when_postgres_down == "refuse"
    acceptor = Acceptor(pending, trust, revisions, database, refuse=refuse)
    writing = AttachmentWriting(
        cache=cache,
        intents=intents,
        table=table,
        writer=writer,
        acceptor=acceptor,
        drainer=drainer,
        trust=trust,
        together=spans is None,
    )
    task_writing = TaskWriting(
        cache=task_cache,
        intents=intents,
        table=task_table,
        acceptor=TaskAcceptor(acceptor, pending_tasks, task_cache),
        drainer=drainer,
        trust=trust,
        end=writing.end,
    )
    counts = Counts()
    reading = AttachmentReading(
        cache=cache,
        task_cache=task_cache,
        intents=intents,
        table=table,
        drainer=drainer,
        trust=trust,
        clock=database.clock,
        max_message_bytes=settings.max_message_bytes,
        counts=counts,
    )
    reconciler = Reconciler(
        cache=cache,
        task_cache=task_cache,
        attachments=table,
        tasks=task_table,
        intents=intents,
        drainer=drainer,
        database=database,
        circuit=postgres_circuit,
        trust=trust,
        registry=registry,
    )
    fallback = settings.list_fallback == "empty"
    return Storage(
        attachments=AttachmentRepository(reading, writing, redis_circuit, database.clock, empty_list_fallback=fallback),
        tasks=TaskRepository(
            cache=task_cache,
            intents=intents,
            table=task_table,
            writing=task_writing,
            drainer=drainer,
            trust=trust,
        ),
        cache=cache,
        intents=intents,
        attachment_table=table,
        task_table=task_table,
        writer=writer,
        reconciler=reconciler,
        expiry=Expiry(writing, registry),
        trust=trust,
        watch=watch,
        postgres_circuit=postgres_circuit,
        redis_circuit=redis_circuit,
        watching=watching,
        counts=counts,
    )


def _circuit(store: str, settings: Settings, registry: CollectorRegistry) -> Circuit:
    circuit = Circuit(store, threshold=settings.circuit_threshold, open_seconds=settings.circuit_open_seconds)

    def metrics() -> Iterable[Metric]:
        failures: dict[tuple[str, ...], float] = {(): circuit.failures_in_all}
        return (
            gauge(f"affix_{store}_circuit_closed", f"1 while calls to {store} pass, 0 while not", circuit.is_closed),
            counter(f"affix_{store}_failures", f"Times that {store} failed or was late", (), failures),
        )

    registry.register(Shown(metrics))
    return circuit
