"""The counts that all processes add up in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from structlog.testing import capture_logs

from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey
from affix_server.config import Settings
from affix_server.domain import AttachmentType
from affix_server.storage.counts import Counts
from affix_server.stores import RedisOnlyStorage, open_redis_only
from tests.harness.grpc_wire import GrpcWire
from tests.harness.samples import TEXT, batch, create, delete, get, json_value, page
from tests.harness.service import migrate, serving
from tests.storage.outages import dead, frozen

TOTALS, BY_TYPE = "cb:metrics:attachments", "cb:metrics:attachments:type"


@pytest.fixture(scope="module")
async def valkey(apart: Path) -> AsyncIterator[EmbeddedValkey]:
    """A Redis where nobody else counts."""
    store = EmbeddedValkey(apart)
    await store.start()
    yield store
    await store.stop()


@pytest.fixture
async def redis(valkey: EmbeddedValkey) -> AsyncIterator[Redis]:
    async with Redis.from_url(valkey.url, decode_responses=True) as client:
        await client.flushall()
        yield client


@pytest.fixture
async def closing() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def storage(valkey: EmbeddedValkey, redis: Redis, closing: AsyncExitStack) -> RedisOnlyStorage:
    """What is opened on this Redis, and closed by `closing`."""
    await redis.ping()
    settings = Settings(postgres_dsn="none", redis_url=valkey.url, operation_timeout_seconds=1)
    return await open_redis_only(settings, CollectorRegistry(), closing)


async def totals(redis: Redis, key: str = TOTALS) -> dict[str, int]:
    found: Any = await redis.hgetall(key)
    return {name: int(value) for name, value in found.items()}


async def settled(redis: Redis, **wanted: int) -> None:
    """Wait until the totals are these, which they may never exceed."""
    async with asyncio.timeout(10):
        while (found := await totals(redis)) != wanted:
            assert all(number <= wanted[name] for name, number in found.items()), f"too many: {found}"
            await asyncio.sleep(0.02)


async def test_all_that_is_done_is_counted_when_the_server_has_stopped(
    valkey: EmbeddedValkey, redis: Redis, apart: Path
) -> None:
    postgres = EmbeddedPostgres(apart)
    await postgres.start()
    settings = {"AFFIX_POSTGRES_DSN": postgres.dsn, "AFFIX_REDIS_URL": valkey.url, "AFFIX_DELETE_RATE_LIMIT": "none"}
    await migrate(settings, apart / "migrate.log")
    async with (
        serving(settings, apart / "counts.log") as server,
        grpc.aio.insecure_channel(server.grpc_address) as channel,
    ):
        wire = GrpcWire(channel)
        task = (await wire.call("task.create", {"text": "counted"}))["id"]
        for key, content in (("a", TEXT), ("b", TEXT), ("c", json_value("1")), ("a", TEXT)):
            await create(wire, task, key, content)
        requests = [{"taskId": task, "key": "d", **TEXT}, {"taskId": "t-none", "key": "d", **TEXT}]
        await wire.call("task.create_attachments_batch", {"requests": requests})
        other = (await wire.call("task.create", {"text": "completed"}))["id"]
        await wire.call("task.complete", {"id": other, "result": 1})
        await wire.call("task.complete", {"id": other})
        await get(wire, task, "a")
        await batch(wire, (task, "a"), (task, "b"))
        await redis.delete(f"cb:task:{task}:attachment:a")
        await get(wire, task, "a")
        await page(wire, task)
        await delete(wire, task, "b")
        await wire.call("task.delete_attachments_batch", {"requests": [{"taskId": task, "key": "d"}]})
    # The page reads the four there are; a list counts what it reads as well.
    assert await totals(redis) == {
        "created": 6,
        "deleted": 2,
        "cache_hits": 7,
        "cache_misses": 1,
        "list_queries": 1,
    }
    assert await totals(redis, BY_TYPE) == {"text": 4, "json": 2}
    await postgres.stop()


async def test_they_arrive_within_a_second_or_so(storage: RedisOnlyStorage, redis: Redis) -> None:
    storage.counts.created[AttachmentType.URL] += 2
    await settled(redis, created=2)
    storage.counts.created[AttachmentType.URL] += 1
    storage.counts.list_queries += 4
    await settled(redis, created=3, list_queries=4)
    assert await totals(redis, BY_TYPE) == {"url": 3}


async def test_what_comes_while_redis_is_dead_is_added_when_it_is_back(
    storage: RedisOnlyStorage, valkey: EmbeddedValkey, redis: Redis
) -> None:
    storage.counts.deleted += 1
    await settled(redis, deleted=1)
    async with dead(valkey):
        for _ in range(3):
            storage.counts.deleted += 1
            await asyncio.sleep(0.5)
    await settled(redis, deleted=4)


async def test_an_addition_whose_reply_was_lost_is_made_once(
    storage: RedisOnlyStorage, valkey: EmbeddedValkey, redis: Redis
) -> None:
    """A frozen Redis does what it was sent when it goes on, and is sent it again."""
    async with frozen(valkey):
        storage.counts.deleted += 5
        await asyncio.sleep(2.5)
        storage.counts.deleted += 2
    await settled(redis, deleted=7)
    storage.counts.deleted += 1
    await settled(redis, deleted=8)


async def test_what_is_lost_at_the_end_is_said(
    storage: RedisOnlyStorage, valkey: EmbeddedValkey, closing: AsyncExitStack
) -> None:
    async with dead(valkey):
        storage.counts.deleted += 1
        with capture_logs() as logged:
            await closing.aclose()
    (line,) = [line for line in logged if line["event"] == "counts_lost"]
    assert (line["log_level"], line["deleted"]) == ("warning", 1)


def test_the_names_are_those_of_the_specification() -> None:
    assert list(Counts().totals()) == ["created", "deleted", "cache_hits", "cache_misses", "list_queries"]
    assert list(Counts().by_type()) == ["json", "markdown", "text", "url", "binary"]
