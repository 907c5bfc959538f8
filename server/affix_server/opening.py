"""Opens what storage is made of: connections to both stores, and jobs in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from affix_server.config import Settings
from affix_server.errors import StartError, StorageUnavailableError
from affix_server.metrics import Shown, Timings, timings
from affix_server.resilience import Circuit
from affix_server.storage.counts import Counts
from affix_server.storage.feed import Feed
from affix_server.storage.postgres.database import Database, open_database
from affix_server.storage.postgres.migrate import missing_migrations
from affix_server.storage.redis import cache as redis_cache
from affix_server.storage.redis import counting as redis_counting
from affix_server.storage.redis import event_stream
from affix_server.storage.redis import pending as redis_pending
from affix_server.storage.redis import pending_tasks as redis_pending_tasks
from affix_server.storage.redis import task_cache as redis_task_cache
from affix_server.storage.redis.client import RedisClient
from affix_server.storage.redis.counting import Counting
from affix_server.storage.redis.event_stream import EventStream
from affix_server.storage.redis.traced import TracedRedisClient
from affix_server.storage.watching import Watching
from affix_server.tracing import Spans

# A frozen store is found out well within an operation's time: it is the store's fault then, and there
# is time left to do without it.
_REDIS_SHARE, _REDIS_LONGEST_SECONDS = 0.2, 1.0
_POSTGRES_SHARE, _POSTGRES_LONGEST_SECONDS = 0.4, 2.0

_log = structlog.get_logger()


async def open_postgres(
    settings: Settings, registry: CollectorRegistry, circuit: Circuit, stack: AsyncExitStack, spans: Spans | None
) -> Database:
    """Connect to Postgres, whose schema must be up to date. Raises StartError."""
    if settings.postgres_dsn is None:
        raise StartError("AFFIX_POSTGRES_DSN is not set: where is PostgreSQL?")
    timeout = min(settings.operation_timeout_seconds * _POSTGRES_SHARE, _POSTGRES_LONGEST_SECONDS)
    database = await open_database(settings.postgres_dsn, circuit, operation_timeout=timeout, spans=spans)
    stack.push_async_callback(database.close)
    registry.register(Shown(database.metrics))
    try:
        missing = await database.run(missing_migrations)
    except StorageUnavailableError as fault:
        raise StartError(f"cannot use PostgreSQL (AFFIX_POSTGRES_DSN): {fault.cause}") from None
    if missing:
        raise StartError(f"the database lacks {', '.join(missing)}: run `affix migrate`")
    return database


async def open_redis(
    settings: Settings, registry: CollectorRegistry, stack: AsyncExitStack, spans: Spans | None
) -> RedisClient:
    """Connect to Redis, with all our scripts. Raises StartError."""
    if settings.redis_url is None:
        raise StartError("AFFIX_REDIS_URL is not set: where is Redis?")
    owners = (redis_cache, redis_task_cache, redis_pending, redis_pending_tasks, redis_counting)
    scripts = tuple(script for owner in owners for script in owner.SCRIPTS)
    timeout = min(settings.operation_timeout_seconds * _REDIS_SHARE, _REDIS_LONGEST_SECONDS)
    seconds = Timings()
    registry.register(Shown(lambda: [timings("affix_redis_seconds", "Time of a round trip to Redis", seconds)]))
    options: dict[str, Any] = {"reply_timeout": timeout, "scripts": scripts, "observe": seconds.observe}
    url = settings.redis_url
    client = RedisClient(url, **options) if spans is None else TracedRedisClient(url, spans=spans, **options)
    stack.push_async_callback(client.close)
    try:
        await client.connect()
    except StorageUnavailableError as fault:
        raise StartError(f"cannot reach Redis (AFFIX_REDIS_URL): {fault.cause}") from None
    return client


def open_watching(settings: Settings, registry: CollectorRegistry, stack: AsyncExitStack) -> Watching:
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


def count(
    counts: Counts, client: RedisClient, registry: CollectorRegistry, stack: AsyncExitStack, usable: Callable[[], bool]
) -> None:
    """Show the counts, and add them up in Redis: for the last time when nothing is done any more."""
    registry.register(Shown(counts.metrics))
    counting = Counting(counts, client, usable)
    stack.push_async_callback(counting.close)
    background(stack, "counting", counting.run())


def background(stack: AsyncExitStack, name: str, work: Coroutine[Any, Any, None]) -> None:
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
