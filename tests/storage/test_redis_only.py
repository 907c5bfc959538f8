"""Without Postgres, Redis decides and keeps everything for good."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from affix_cli.embedded import EmbeddedValkey
from affix_server.config import Settings
from affix_server.domain import (
    AttachmentType,
    Condition,
    JsonContent,
    NewTask,
    Query,
    Ref,
    Summary,
    TaskChanges,
    TaskOrderBy,
    TaskQuery,
    TaskStatus,
    TextContent,
)
from affix_server.errors import AttachmentNotFoundError, ConflictError, TaskNotFoundError
from affix_server.stores import RedisOnlyStorage, open_redis_only
from tests.storage.outages import frozen


@pytest.fixture
async def alone(valkey_store: EmbeddedValkey) -> AsyncIterator[RedisOnlyStorage]:
    async with AsyncExitStack() as stack:
        settings = Settings(postgres_dsn="none", redis_url=valkey_store.url)
        yield await open_redis_only(settings, CollectorRegistry(), stack)


async def new_task(alone: RedisOnlyStorage, **fields: int) -> str:
    new = NewTask(f"t-{secrets.token_hex(8)}", "a test", fields.get("priority", 50), '{"a": 1.0, "b": 2}')
    return (await alone.tasks.create(new, "a")).task.id


async def test_attachments_live_without_a_time_limit(alone: RedisOnlyStorage, redis: Redis) -> None:
    task_id = await new_task(alone)
    ref = Ref(task_id, "note")
    first = await alone.attachments.create(ref, TextContent("1"), "a")
    second = await alone.attachments.create(ref, JsonContent("1e2"), "b")
    assert (second.id, second.created_at, second.pending) == (first.id, first.created_at, False)
    assert second.revision > first.revision
    found = await alone.attachments.get(ref)
    assert (found.content, found.created_by) == (JsonContent("1e2"), "a")
    assert await alone.attachments.batch_get([ref, ref]) == [found, found]
    held = [key async for key in redis.scan_iter(f"cb:task:{task_id}*")]
    assert {await redis.ttl(key) for key in held} == {-1}
    assert not await redis.hexists(f"cb:task:{task_id}:attachment:note", "pending")


async def test_a_lost_index_is_made_anew(alone: RedisOnlyStorage, redis: Redis) -> None:
    task_id = await new_task(alone)
    for key in ("b", "a", "c"):
        await alone.attachments.create(Ref(task_id, key), TextContent(key), "a")
    before = await alone.attachments.list(Query(task_id, limit=2))
    assert (before.total_count, before.has_more) == (3, True)
    await redis.delete(f"cb:task:{task_id}:attachments", f"cb:task:{task_id}:attachments:text")
    assert await alone.attachments.list(Query(task_id, limit=2)) == before
    assert (await alone.attachments.list(Query(task_id, AttachmentType.TEXT, limit=10, offset=1))).total_count == 3
    assert (await alone.tasks.get(task_id)).attachment_count == 3


async def test_what_is_deleted_is_gone(alone: RedisOnlyStorage) -> None:
    task_id = await new_task(alone)
    ref = Ref(task_id, "note")
    first = await alone.attachments.create(ref, TextContent("1"), "a")
    assert (await alone.attachments.delete(ref, "a")).id == first.id
    for attempt in (alone.attachments.get(ref), alone.attachments.delete(ref, "a")):
        with pytest.raises(AttachmentNotFoundError):
            await attempt
    assert (await alone.attachments.list(Query(task_id, limit=10))).total_count == 0
    assert (await alone.attachments.create(ref, TextContent("2"), "a")).id != first.id
    await alone.tasks.delete(task_id, "a")
    for late in (
        alone.attachments.get(ref),
        alone.attachments.create(ref, TextContent("3"), "a"),
        alone.attachments.list(Query(task_id, limit=10)),
        alone.tasks.get(task_id),
    ):
        with pytest.raises(TaskNotFoundError):
            await late


async def test_writers_of_one_key_take_turns(alone: RedisOnlyStorage) -> None:
    ref = Ref(await new_task(alone), "counter")
    created = await asyncio.gather(*(alone.attachments.create(ref, TextContent(str(i)), "a") for i in range(30)))
    assert len({one.id for one in created}) == 1
    assert len({one.revision for one in created}) == 30
    last = max(created, key=lambda one: one.revision)
    assert (await alone.attachments.get(ref)).revision == last.revision


async def test_tasks_are_changed_listed_and_completed(alone: RedisOnlyStorage) -> None:
    task_ids = [await new_task(alone, priority=n) for n in (97, 98, 99)]
    with pytest.raises(ConflictError):
        await alone.tasks.create(NewTask(task_ids[0], "again", 1, "{}"), "a")
    changed = await alone.tasks.update(task_ids[0], TaskChanges(metadata='{"b": 3e0}', status=TaskStatus.FAILED), "a")
    assert (changed.task.metadata, changed.task.status) == ('{"a":1.0,"b":3e0}', TaskStatus.FAILED)
    worker = f"w-{secrets.token_hex(4)}"
    done = await alone.tasks.complete(task_ids[1], worker, '{"x": 1.0}', "a")
    assert (done.task.status, done.task.assigned_to, done.attachment_count) == (TaskStatus.COMPLETED, worker, 1)
    assert (await alone.attachments.get(Ref(task_ids[1], "result"))).content == JsonContent('{"x": 1.0}')
    query = TaskQuery(None, None, None, 1000, 0, TaskOrderBy.PRIORITY, descending=True)
    page = await alone.tasks.list(query)
    assert [one.task.id for one in page.tasks if one.task.id in task_ids] == task_ids[::-1]
    (mine,) = (await alone.tasks.list(TaskQuery(None, worker, None, 10, 0, TaskOrderBy.STATUS, descending=False))).tasks
    assert mine.task.id == task_ids[1]


async def test_callers_of_a_frozen_redis_fail_together_in_time(valkey_store: EmbeddedValkey) -> None:
    async with AsyncExitStack() as stack:
        settings = Settings(postgres_dsn="none", redis_url=valkey_store.url, operation_timeout_seconds=2)
        alone = await open_redis_only(settings, CollectorRegistry(), stack)
        async with frozen(valkey_store):
            begun = time.monotonic()
            calls = (alone.attachments.get(Ref("t-any", f"k{n}")) for n in range(20))
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            again = await asyncio.gather(*(alone.tasks.get(f"t-{n}") for n in range(20)), return_exceptions=True)
            assert {type(one).__name__ for one in (*outcomes, *again)} == {"CacheUnavailableError"}
            assert time.monotonic() - begun < 2


async def test_conditions_hold_in_redis_alone(alone: RedisOnlyStorage) -> None:
    task_id = await new_task(alone)
    ref = Ref(task_id, "note")
    first = await alone.attachments.create(ref, TextContent("1"), "a", Condition(absent=True))
    second = await alone.attachments.create(ref, TextContent("2"), "a", Condition(revision=first.revision))
    for condition in (Condition(absent=True), Condition(revision=first.revision)):
        with pytest.raises(ConflictError) as caught:
            await alone.attachments.create(ref, TextContent("3"), "a", condition)
        assert caught.value.current_revision == second.revision
    with pytest.raises(ConflictError):
        await alone.attachments.delete(ref, "a", Condition(revision=first.revision))
    await alone.attachments.delete(ref, "a", Condition(revision=second.revision))


async def test_lists_in_redis_alone_have_all_their_options(alone: RedisOnlyStorage) -> None:
    task_id = await new_task(alone)
    for key in ("a-1", "b", "a-2"):
        await alone.attachments.create(Ref(task_id, key), TextContent("ä"), "a")
    page = await alone.attachments.list(Query(task_id, key_prefix="a-", descending=True, summaries=True))
    assert [(one.key, one.content_bytes) for one in page.attachments if isinstance(one, Summary)] == [
        ("a-2", 2),
        ("a-1", 2),
    ]
