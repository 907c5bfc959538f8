"""Attachments that expire where there is no Postgres."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from unittest.mock import patch

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from affix_cli.embedded import EmbeddedValkey
from affix_server.config import Settings
from affix_server.domain import NewTask, Query, Ref, TextContent
from affix_server.errors import AttachmentNotFoundError
from affix_server.storage.expiry import Expiry
from affix_server.stores import RedisOnlyStorage, open_redis_only

_SOON_MS = 200
EXPIRING = "cb:expiring"


@pytest.fixture
async def alone(valkey_store: EmbeddedValkey) -> AsyncIterator[RedisOnlyStorage]:
    async with AsyncExitStack() as stack:
        settings = Settings(postgres_dsn="none", redis_url=valkey_store.url)
        yield await open_redis_only(settings, CollectorRegistry(), stack)


@pytest.fixture
async def ref(alone: RedisOnlyStorage) -> Ref:
    new = NewTask(f"t-{secrets.token_hex(8)}", "a test", 50, "{}")
    return Ref((await alone.tasks.create(new, "a")).task.id, "note")


async def _put(alone: RedisOnlyStorage, ref: Ref) -> int:
    moment = alone.attachments.now_ms() + _SOON_MS
    await alone.attachments.create(ref, TextContent("x"), "a", expires_at=moment)
    return moment


async def _until(alone: RedisOnlyStorage, moment: int) -> None:
    while alone.attachments.now_ms() < moment:
        await asyncio.sleep(0.01)


async def _keys(alone: RedisOnlyStorage, ref: Ref) -> list[str]:
    page = await alone.attachments.list(Query(ref.task_id))
    assert page.total_count == len(page.attachments)
    assert (await alone.tasks.get(ref.task_id)).attachment_count == page.total_count
    return [one.key for one in page.attachments]


async def test_what_has_expired_is_gone_and_then_deleted(alone: RedisOnlyStorage, ref: Ref, redis: Redis) -> None:
    moment = await _put(alone, ref)
    assert await _keys(alone, ref) == ["note"]
    await _until(alone, moment)
    assert await _keys(alone, ref) == []
    with pytest.raises(AttachmentNotFoundError):
        await alone.attachments.get(ref)
    name = f"cb:task:{ref.task_id}:attachment:note"
    async with asyncio.timeout(5):
        while await redis.hexists(name, "content"):
            await asyncio.sleep(0.02)
    assert "deleted" in await redis.hgetall(name)
    assert await redis.zscore(EXPIRING, f"{ref.task_id}:note") is None


async def test_it_is_gone_before_it_is_deleted_and_what_takes_its_place_is_new(
    alone: RedisOnlyStorage, ref: Ref, redis: Redis
) -> None:
    async def nothing(_: Expiry) -> int:
        return 0

    with patch.object(Expiry, "sweep", nothing):
        await asyncio.sleep(0.05)
        moment = await _put(alone, ref)
        old = (await alone.attachments.get(ref)).id
        await _until(alone, moment)
        assert await _keys(alone, ref) == []
        assert await alone.attachments.batch_get([ref], allow_missing=True) == [None]
        assert await redis.hexists(f"cb:task:{ref.task_id}:attachment:note", "content")
        assert (await alone.attachments.create(ref, TextContent("y"), "b")).id != old
        assert await _keys(alone, ref) == ["note"]


async def test_what_is_written_over_is_no_longer_to_be_deleted(alone: RedisOnlyStorage, ref: Ref, redis: Redis) -> None:
    await _put(alone, ref)
    member = f"{ref.task_id}:note"
    assert await redis.zscore(EXPIRING, member) is not None
    await alone.attachments.create(ref, TextContent("y"), "b")
    assert await redis.zscore(EXPIRING, member) is None
    assert (await alone.attachments.get(ref)).expires_at is None


async def test_what_went_with_its_task_is_forgotten(alone: RedisOnlyStorage, ref: Ref, redis: Redis) -> None:
    moment = await _put(alone, ref)
    await alone.tasks.delete(ref.task_id, "a")
    await _until(alone, moment)
    async with asyncio.timeout(5):
        while await redis.zscore(EXPIRING, f"{ref.task_id}:note") is not None:
            await asyncio.sleep(0.02)
