"""Stores of this folder's own, emptied for each test: the command goes through all tasks there are."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey
from affix_server.config import Settings
from affix_server.storage.postgres.migrate import migrate
from affix_server.stores import Storage, open_storage

_INSERT = """
INSERT INTO tasks (id, text, status, priority, metadata, created_by, updated_by, created_at, updated_at, revision)
SELECT id, 'a task', 'pending', 50, metadata::json, 'someone', 'someone', now(), now(), 1700000000000000
FROM unnest($1::text[], $2::text[]) AS i (id, metadata)
"""


@dataclass(frozen=True)
class Site:
    """Two stores, what a command needs to know of them, and connections of the tests' own."""

    postgres: EmbeddedPostgres
    valkey: EmbeddedValkey
    sql: asyncpg.Pool[asyncpg.Record]
    redis: Redis

    @property
    def settings(self) -> dict[str, str]:
        return {"AFFIX_POSTGRES_DSN": self.postgres.dsn, "AFFIX_REDIS_URL": self.valkey.url}

    async def insert(self, metadata: Mapping[str, str]) -> None:
        """Put in tasks with metadata as an older service has left them: in PostgreSQL, and not in Redis."""
        await self.sql.execute(_INSERT, list(metadata), list(metadata.values()))

    async def metadata(self) -> dict[str, str]:
        """Return the metadata of all tasks."""
        rows = await self.sql.fetch("SELECT id, metadata FROM tasks WHERE deleted_at IS NULL ORDER BY id")
        return {row["id"]: row["metadata"] for row in rows}

    async def attachments(self) -> dict[tuple[str, str], tuple[str, str]]:
        """Return type and content of all attachments."""
        rows = await self.sql.fetch(
            "SELECT task_id, key, type, coalesce(value::text, content, url) AS content"
            " FROM task_attachments WHERE deleted_at IS NULL"
        )
        return {(row["task_id"], row["key"]): (row["type"], row["content"]) for row in rows}

    async def open(self, stack: AsyncExitStack, **fields: Any) -> Storage:
        """Open storage on both stores, as a service does."""
        settings = Settings(postgres_dsn=self.postgres.dsn, redis_url=self.valkey.url, **fields)
        return await open_storage(settings, CollectorRegistry(), stack)


@pytest.fixture(scope="package")
async def stores() -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="affix-")))
        # Processes are killed here, not machines.
        postgres, valkey = EmbeddedPostgres(folder, options={"fsync": "off"}), EmbeddedValkey(folder)
        for store in (postgres, valkey):
            await store.start()
            stack.push_async_callback(store.stop)
        await migrate(postgres.dsn)
        sql = await stack.enter_async_context(asyncpg.create_pool(postgres.dsn, min_size=1, max_size=4))
        redis = await stack.enter_async_context(Redis.from_url(valkey.url, decode_responses=True))
        yield Site(postgres, valkey, sql, redis)


@pytest.fixture
async def site(stores: Site) -> Site:
    await stores.sql.execute("TRUNCATE tasks, task_attachments, redis_doubts")
    await stores.redis.flushall()
    return stores


@pytest.fixture
async def storage(site: Site) -> AsyncIterator[Storage]:
    """The storage of a service that runs beside the command."""
    async with AsyncExitStack() as stack:
        yield await site.open(stack)
