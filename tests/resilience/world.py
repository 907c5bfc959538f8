"""Two servers' storage halves in one process, on real stores of their own."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey
from affix_server.config import Settings
from affix_server.domain import Query, Ref, TextContent
from affix_server.errors import AffixError
from affix_server.storage.postgres.migrate import migrate
from affix_server.stores import Storage, open_storage
from tests.storage.outages import until
from tests.storage.test_outages import World

Stores = tuple[EmbeddedPostgres, EmbeddedValkey]

# Processes crash here, not machines.
_POSTGRES = {"fsync": "off", "shared_preload_libraries": "pg_stat_statements"}


@dataclass
class Pair(World):
    """A world in which a second server runs on the same stores; neither knows that they share a process."""

    other: Storage
    sql: asyncpg.Connection

    @property
    def servers(self) -> tuple[Storage, Storage]:
        """Both servers."""
        return self.storage, self.other

    async def refs(self, *keys: str) -> list[Ref]:
        """Register a task and name some of its keys."""
        task_id = await self.task()
        return [Ref(task_id, key) for key in keys]

    async def put(self, ref: Ref, text: str, *, by: Storage | None = None) -> bool:
        """Store a text through a server, the first one by default; tells whether it is pending."""
        return (await (by or self.storage).attachments.create(ref, TextContent(text), "a")).pending

    async def evict(self, *refs: Ref) -> None:
        """Make Redis forget entries, as it does when memory is short."""
        await self.redis.delete(*(f"cb:task:{ref.task_id}:attachment:{ref.key}" for ref in refs))

    async def evict_indexes(self, task_id: str) -> None:
        """Make Redis forget a task's indexes."""
        types = ("", ":json", ":markdown", ":text", ":url", ":binary", ":expiring")
        await self.redis.delete(*(f"cb:task:{task_id}:attachments{type_}" for type_ in types))

    async def both_believe(self) -> None:
        """Wait until both servers read through Redis."""
        await until(lambda: self.storage.trust.believed and self.other.trust.believed)

    async def stored(self, ref: Ref) -> str | None:
        """Return the text that Postgres holds; None for a tombstone or nothing."""
        row = await self.row(ref)
        return None if row is None else row["content"]

    async def task_row(self, task_id: str) -> asyncpg.Record:
        """Return the row of a task that there must be."""
        connection = await asyncpg.connect(self.postgres.dsn)
        row = await connection.fetchrow("SELECT * FROM tasks WHERE id = $1", task_id)
        await connection.close()
        assert row is not None
        return row


Scenario = Callable[[Pair], Awaitable[None]]


async def read(storage: Storage, ref: Ref) -> str:
    """Return the text that a server answers, or the name of the error."""
    try:
        content = (await storage.attachments.get(ref)).content
    except AffixError as error:
        return type(error).__name__
    assert isinstance(content, TextContent)
    return content.content


async def keys(storage: Storage, task_id: str) -> list[str]:
    """Return the keys that a server lists, or the name of the error; the total must agree."""
    try:
        page = await storage.attachments.list(Query(task_id, limit=100))
    except AffixError as error:
        return [type(error).__name__]
    assert page.total_count == len(page.attachments)
    return [one.key for one in page.attachments]


async def outcome(call: Awaitable[object]) -> str:
    """Tell how a call ended: "done", or the name of the error."""
    try:
        await call
    except AffixError as error:
        return type(error).__name__
    return "done"


async def eventually(promise: Callable[[], Awaitable[bool]], seconds: float = 4) -> None:
    """Wait until a promise is kept, which must be before long."""
    end = time.monotonic() + seconds
    while not await promise():
        assert time.monotonic() < end, f"not kept within {seconds:g} s"
        await asyncio.sleep(0.02)


GONE = "AttachmentNotFoundError"
NO_TASK = "TaskNotFoundError"


@asynccontextmanager
async def open_stores() -> AsyncIterator[Stores]:
    """Run both stores until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="affix-") as folder:
        postgres, valkey = EmbeddedPostgres(Path(folder), options=_POSTGRES), EmbeddedValkey(Path(folder))
        async with AsyncExitStack() as stack:
            for store in (postgres, valkey):
                await store.start()
                stack.push_async_callback(store.stop)
            await migrate(postgres.dsn)
            yield postgres, valkey


@asynccontextmanager
async def open_pair(stores: Stores) -> AsyncIterator[Pair]:
    """Open two servers on the stores, which are empty then, and empty again at the end."""
    postgres, valkey = stores
    settings = Settings(
        postgres_dsn=postgres.dsn,
        redis_url=valkey.url,
        operation_timeout_seconds=2,
        circuit_threshold=3,
        circuit_open_seconds=0.3,
    )
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(Redis.from_url(valkey.url, decode_responses=True))
        stack.push_async_callback(_empty, postgres, redis)
        storage, other = [await open_storage(settings, CollectorRegistry(), stack) for _ in range(2)]
        sql = await asyncpg.connect(postgres.dsn)
        stack.callback(sql.terminate)
        yield Pair(postgres, valkey, storage, redis, settings, other, sql)


async def _empty(postgres: EmbeddedPostgres, redis: Redis) -> None:
    """Leave nothing to the next test, whatever became of this one."""
    await redis.flushall()
    connection = await asyncpg.connect(postgres.dsn)
    await connection.execute("TRUNCATE tasks, task_attachments, redis_doubts")
    await connection.close()
