"""The server's storage half, wired as the server wires it, on the session's stores."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey
from affix_server.config import Settings
from affix_server.domain import NewTask
from affix_server.stores import Storage, open_storage
from tests.harness.service import Service


@pytest.fixture(scope="session")
async def storage(
    postgres_store: EmbeddedPostgres, valkey_store: EmbeddedValkey, server: Service
) -> AsyncIterator[Storage]:
    assert server.command.running  # it has migrated the database
    async with AsyncExitStack() as stack:
        settings = Settings(postgres_dsn=postgres_store.dsn, redis_url=valkey_store.url)
        yield await open_storage(settings, CollectorRegistry(), stack)


@pytest.fixture
async def another(
    storage: Storage, postgres_store: EmbeddedPostgres, valkey_store: EmbeddedValkey
) -> AsyncIterator[Storage]:
    """Another process' half, on the same stores, which keeps nothing of what it reads."""
    assert storage.trust.believed
    async with AsyncExitStack() as stack:
        settings = Settings(postgres_dsn=postgres_store.dsn, redis_url=valkey_store.url, read_cache_bytes=0)
        yield await open_storage(settings, CollectorRegistry(), stack)


@pytest.fixture
async def task_id(storage: Storage) -> str:
    """A task registered for this test alone."""
    written = await storage.tasks.create(NewTask(f"t-{secrets.token_hex(8)}", "a test", 50, "{}"), "storage-tests")
    return written.task.id


async def sent_by(redis: Redis) -> int:
    """Return how many bytes Redis has sent so far."""
    return int((await redis.info("stats"))["total_net_output_bytes"])
