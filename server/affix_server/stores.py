"""All wiring of storage: both stores, the repositories over them, the background jobs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Gauge

from affix_server.config import Settings
from affix_server.errors import StartError, StorageUnavailableError
from affix_server.resilience import Circuit
from affix_server.storage.acceptor import Acceptor
from affix_server.storage.announcement import Announcement
from affix_server.storage.clock import Clock
from affix_server.storage.drainer import Drainer
from affix_server.storage.expiry import Expiry
from affix_server.storage.feed import Feed
from affix_server.storage.postgres.attachments import AttachmentTable
from affix_server.storage.postgres.database import Database, open_database
from affix_server.storage.postgres.doubts import DoubtTable
from affix_server.storage.postgres.migrate import missing_migrations
from affix_server.storage.postgres.tasks import TaskTable
from affix_server.storage.postgres.writer import GroupCommitWriter
from affix_server.storage.reading import AttachmentReading
from affix_server.storage.reconciler import Reconciler
from affix_server.storage.redis import cache as redis_cache
from affix_server.storage.redis import event_stream
from affix_server.storage.redis import pending as redis_pending
from affix_server.storage.redis import pending_tasks as redis_pending_tasks
from affix_server.storage.redis import task_cache as redis_task_cache
from affix_server.storage.redis.cache import Cache
from affix_server.storage.redis.client import RedisClient
from affix_server.storage.redis.event_stream import EventStream
from affix_server.storage.redis.intents import Intents
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

# A frozen store is found out well within an operation's time: it is the store's fault then, and there
# is time left to do without it.
_REDIS_SHARE, _REDIS_LONGEST_SECONDS = 0.2, 1.0
_POSTGRES_SHARE, _POSTGRES_LONGEST_SECONDS = 0.4, 2.0

_log = structlog.get_logger()


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


async def open_storage(settings: Settings, registry: CollectorRegistry, stack: AsyncExitStack) -> Storage:
    """Connect to both stores and start the background jobs; `stack` ends and closes them all.

    Raises StartError when a store cannot be reached or its schema is behind.
    """
    postgres_circuit, redis_circuit = (_circuit(store, settings, registry) for store in ("postgres", "redis"))
    database = await _open_postgres(settings, postgres_circuit, stack)
    client = await _open_redis(settings, stack)
    watching = _open_watching(settings, registry, stack)
    storage = _compose(settings, registry, database, client, watching, postgres_circuit, redis_circuit)
    await storage.watch.start()
    _background(stack, "group_commit", storage.writer.run())
    _background(stack, "reconciler", storage.reconciler.run())
    _background(stack, "expiry", storage.expiry.run())
    _background(stack, "watch", storage.watch.run())
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


async def open_redis_only(settings: Settings, registry: CollectorRegistry, stack: AsyncExitStack) -> RedisOnlyStorage:
    """Connect to Redis, which keeps everything for good; `stack` closes it. Raises StartError."""
    client = await _open_redis(settings, stack)
    clock = Clock(lambda: time.time_ns() // 1000)
    cache = Cache(client, Revisions(), ttl_seconds=0, registry=registry)
    task_cache, writes = TaskCache(client, clock, ttl_seconds=0), PendingWrites(client, ttl_seconds=0)
    most = settings.max_message_bytes
    attachments = RedisOnlyAttachments(cache, task_cache, writes, clock, max_message_bytes=most)
    watching = _open_watching(settings, registry, stack)
    _background(stack, "expiry", Expiry(attachments, registry).run())
    return RedisOnlyStorage(attachments, RedisOnlyTasks(task_cache, attachments), client, watching)


def _compose(
    settings: Settings,
    registry: CollectorRegistry,
    database: Database,
    client: RedisClient,
    watching: Watching,
    postgres_circuit: Circuit,
    redis_circuit: Circuit,
) -> Storage:
    ttl = settings.cache_ttl_seconds
    revisions, intents = Revisions(), Intents(client)
    cache = Cache(client, revisions, ttl_seconds=ttl, registry=registry)
    task_cache, pending = TaskCache(client, database.clock, ttl_seconds=ttl), PendingWrites(client, ttl_seconds=ttl)
    table, task_table = AttachmentTable(database, revisions), TaskTable(database, revisions)
    pending_tasks = PendingTasks(client, ttl_seconds=ttl)
    writer, drainer = GroupCommitWriter(table), Drainer(pending, pending_tasks, table, task_table)
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
        cache=cache, intents=intents, table=table, writer=writer, acceptor=acceptor, drainer=drainer, trust=trust
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
    reading = AttachmentReading(
        cache=cache,
        task_cache=task_cache,
        intents=intents,
        table=table,
        drainer=drainer,
        trust=trust,
        clock=database.clock,
        max_message_bytes=settings.max_message_bytes,
        registry=registry,
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
    )


def _circuit(store: str, settings: Settings, registry: CollectorRegistry) -> Circuit:
    circuit = Circuit(store, threshold=settings.circuit_threshold, open_seconds=settings.circuit_open_seconds)
    state = Gauge(f"affix_{store}_circuit_closed", f"1 while calls to {store} pass, 0 while not", registry=registry)
    state.set_function(lambda: float(circuit.is_closed))
    return circuit


async def _open_postgres(settings: Settings, circuit: Circuit, stack: AsyncExitStack) -> Database:
    if settings.postgres_dsn is None:
        raise StartError("AFFIX_POSTGRES_DSN is not set: where is PostgreSQL?")
    timeout = min(settings.operation_timeout_seconds * _POSTGRES_SHARE, _POSTGRES_LONGEST_SECONDS)
    database = await open_database(settings.postgres_dsn, circuit, operation_timeout=timeout)
    stack.push_async_callback(database.close)
    try:
        missing = await database.run(missing_migrations)
    except StorageUnavailableError as fault:
        raise StartError(f"cannot use PostgreSQL (AFFIX_POSTGRES_DSN): {fault.cause}") from None
    if missing:
        raise StartError(f"the database lacks {', '.join(missing)}: run `affix migrate`")
    return database


async def _open_redis(settings: Settings, stack: AsyncExitStack) -> RedisClient:
    if settings.redis_url is None:
        raise StartError("AFFIX_REDIS_URL is not set: where is Redis?")
    scripts = (*redis_cache.SCRIPTS, *redis_task_cache.SCRIPTS, *redis_pending.SCRIPTS, *redis_pending_tasks.SCRIPTS)
    timeout = min(settings.operation_timeout_seconds * _REDIS_SHARE, _REDIS_LONGEST_SECONDS)
    client = RedisClient(settings.redis_url, reply_timeout=timeout, scripts=scripts)
    stack.push_async_callback(client.close)
    try:
        await client.connect()
    except StorageUnavailableError as fault:
        raise StartError(f"cannot reach Redis (AFFIX_REDIS_URL): {fault.cause}") from None
    return client


def _open_watching(settings: Settings, registry: CollectorRegistry, stack: AsyncExitStack) -> Watching:
    """Make what reads events, on connections of its own: one waits for more, which would hold up everything else."""

    def stream() -> EventStream:
        client = RedisClient(
            settings.redis_url or "",
            reply_timeout=event_stream.BLOCK_SECONDS + _REDIS_LONGEST_SECONDS,
            scripts=event_stream.SCRIPTS,
        )
        return EventStream(client)

    watching = Watching(Feed(stream(), registry), stream())
    stack.push_async_callback(watching.close)
    return watching


def _background(stack: AsyncExitStack, name: str, work: Coroutine[Any, Any, None]) -> None:
    """Run a job until the stack unwinds; one that ends by itself is a fault, and said so."""
    task = asyncio.create_task(work, name=name)

    def ended(done: asyncio.Task[None]) -> None:
        if not done.cancelled():
            _log.critical("background_job_ended", job=name, exc_info=done.exception())

    async def stop() -> None:
        task.cancel()
        await asyncio.wait((task,))

    task.add_done_callback(ended)
    stack.push_async_callback(stop)
