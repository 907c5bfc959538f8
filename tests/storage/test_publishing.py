"""Redis only ever moves forward, per key and per index."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from affix_server.domain import Attachment, Creation, Deletion, Query, Ref, TextContent
from affix_server.errors import AttachmentNotFoundError, TaskNotFoundError
from affix_server.storage.entries import IndexLine, Write
from affix_server.storage.redis import names
from affix_server.storage.redis.client import Script
from affix_server.storage.redis.publishing import NO_LEASE, Publication, Telling
from affix_server.stores import Storage
from affix_server.times import now_ms


async def keys_listed(storage: Storage, task_id: str) -> list[str]:
    return [found.key for found in (await storage.attachments.list(Query(task_id, limit=100))).attachments]


async def test_a_late_fill_never_replaces_a_newer_write(storage: Storage, task_id: str) -> None:
    ref = Ref(task_id, "note")
    await storage.attachments.create(ref, TextContent("old"), "a")
    old = await storage.attachments.get(ref)
    await storage.attachments.create(ref, TextContent("new"), "a")
    await storage.cache.fill({ref: old}, NO_LEASE)
    assert (await storage.attachments.get(ref)).content == TextContent("new")


async def test_a_late_fill_never_brings_back_what_was_deleted(storage: Storage, task_id: str) -> None:
    ref = Ref(task_id, "note")
    await storage.attachments.create(ref, TextContent("old"), "a")
    old = await storage.attachments.get(ref)
    assert await keys_listed(storage, task_id) == ["note"]
    await storage.attachments.delete(ref, "a")
    await storage.cache.fill({ref: old}, NO_LEASE)
    with pytest.raises(AttachmentNotFoundError):
        await storage.attachments.get(ref)
    assert await keys_listed(storage, task_id) == []


async def test_a_late_fill_never_outlives_its_task(storage: Storage, task_id: str, redis: Redis) -> None:
    ref = Ref(task_id, "note")
    await storage.attachments.create(ref, TextContent("old"), "a")
    old = await storage.attachments.get(ref)
    await storage.tasks.delete(task_id, "a")
    await storage.cache.fill({ref: old}, NO_LEASE)
    with pytest.raises(TaskNotFoundError):
        await storage.attachments.get(ref)
    assert not await redis.hexists(f"cb:task:{task_id}:attachment:note", "content")


async def test_a_late_fill_of_the_past_still_appears_in_the_list_it_belongs_to(storage: Storage, task_id: str) -> None:
    """What one reader saw in Postgres, a list read after it has too."""
    await storage.attachments.create(Ref(task_id, "first"), TextContent("1"), "a")
    assert await keys_listed(storage, task_id) == ["first"]
    first = await storage.attachments.get(Ref(task_id, "first"))
    unpublished: Attachment = replace(first, key="second", id="ta-1-abcdefghi")
    token = storage.intents.token()
    await storage.cache.lease([Ref(task_id, "second")], token)
    await storage.cache.fill({Ref(task_id, "second"): unpublished}, token)
    page = await storage.cache.page(Query(task_id, limit=10), 1000, now_ms())
    assert page is not None
    assert page.keys == ("first", "second")


async def test_looking_for_what_is_not_there_leaves_nothing_behind(
    storage: Storage, task_id: str, redis: Redis
) -> None:
    with pytest.raises(AttachmentNotFoundError):
        await storage.attachments.get(Ref(task_id, "none"))
    assert not await redis.exists(f"cb:task:{task_id}:attachment:none")


async def test_what_comes_after_an_eviction_is_not_put_in(storage: Storage, task_id: str, redis: Redis) -> None:
    """A reader of the past holds a lease; a deletion and its tombstone come and go; the past stays out."""
    ref, name = Ref(task_id, "note"), f"cb:task:{task_id}:attachment:note"
    await storage.attachments.create(ref, TextContent("old"), "a")
    old = await storage.attachments.get(ref)
    await redis.delete(name)
    token = storage.intents.token()
    await storage.cache.lease([ref], token)
    await storage.attachments.delete(ref, "a")
    assert await redis.hget(name, "deleted")
    await redis.delete(name)
    await storage.cache.fill({ref: old}, token)
    with pytest.raises(AttachmentNotFoundError):
        await storage.attachments.get(ref)
    assert await keys_listed(storage, task_id) == []


async def test_a_publication_after_an_eviction_leaves_no_gap_in_the_list(
    storage: Storage, task_id: str, redis: Redis
) -> None:
    ref = Ref(task_id, "note")
    assert await keys_listed(storage, task_id) == []
    (begun,) = await storage.intents.begin([ref])
    (row,) = await storage.attachment_table.write([Write(ref, TextContent("x"), "a")])
    await redis.delete(f"cb:task:{task_id}:attachment:note")
    assert row.entry is not None
    assert row.change is not None
    telling = Telling(row.change, storage.intents.hand_over(begun.trace))
    assert await storage.cache.publish([Publication(row.entry, begun.token, telling)]) == []
    assert not await redis.exists(f"cb:task:{task_id}:attachment:note")
    assert await keys_listed(storage, task_id) == ["note"]


async def lines(storage: Storage, task_id: str) -> list[IndexLine]:
    return [line async for chunk in storage.attachment_table.index(task_id) for line in chunk]


async def test_what_is_written_while_an_index_is_built_is_in_it(storage: Storage, task_id: str) -> None:
    for key in ("keep", "drop", "retype"):
        await storage.attachments.create(Ref(task_id, key), TextContent(key), "a")
    await storage.cache.forget_indexes(task_id)
    read_before = await lines(storage, task_id)

    async def slow_postgres() -> AsyncGenerator[Sequence[IndexLine]]:
        await storage.attachments.create(Ref(task_id, "late"), TextContent("late"), "a")
        await storage.attachments.delete(Ref(task_id, "drop"), "a")
        yield read_before

    assert await storage.cache.build_index(task_id, slow_postgres())
    page = await storage.cache.page(Query(task_id, limit=10), 1000, now_ms())
    assert page is not None
    assert sorted(page.keys) == ["keep", "late", "retype"]
    assert page.total_count == 3


async def test_of_what_one_call_of_a_script_has_no_room_for_each_is_published(
    storage: Storage, task_id: str, redis: Redis
) -> None:
    """Many small ones, and a few large ones among them; of a deletion there is nothing to send."""
    texts = [f"{i} " * (100_000 if i % 30 == 10 else 1) for i in range(90)]
    refs = [Ref(task_id, f"k{i:02}") for i in range(90)]
    creations = [Creation(ref, TextContent(text)) for ref, text in zip(refs, texts, strict=True)]
    await storage.attachments.batch_create(creations, "a")
    held = [await redis.hmget(names.entry(ref), ["id", "type", "content"]) for ref in refs]
    assert [content for _, _, content in held] == texts
    assert {type_ for _, type_, _ in held} == {"text"}
    assert all(str(id_).startswith("ta-") for id_, _, _ in held)
    await storage.attachments.batch_delete([Deletion(ref) for ref in refs], "a")
    held = [await redis.hmget(names.entry(ref), ["content", "deleted"]) for ref in refs]
    assert {(content, bool(deleted)) for content, deleted in held} == {(None, True)}


async def test_scripts_name_the_indexes_as_everybody_does(task_id: str, redis: Redis) -> None:
    source = Script("_indexes").source + "return indexes_of(KEYS[1])"
    assert await redis.eval(source, 1, names.task(task_id)) == list(names.indexes(task_id))


async def test_two_builders_of_one_index_lose_nothing(storage: Storage, task_id: str) -> None:
    await storage.attachments.create(Ref(task_id, "old"), TextContent("old"), "a")
    await storage.cache.forget_indexes(task_id)
    read_before = await lines(storage, task_id)

    async def first() -> AsyncGenerator[Sequence[IndexLine]]:
        await storage.attachments.create(Ref(task_id, "new"), TextContent("new"), "a")
        assert await storage.cache.build_index(task_id, storage.attachment_table.index(task_id))
        yield read_before

    assert await storage.cache.build_index(task_id, first())
    assert await keys_listed(storage, task_id) == ["old", "new"]


async def test_an_index_lost_while_it_is_built_is_not_believed(storage: Storage, task_id: str, redis: Redis) -> None:
    await storage.attachments.create(Ref(task_id, "old"), TextContent("old"), "a")
    read_before = await lines(storage, task_id)
    await redis.flushall()

    async def evicted() -> AsyncGenerator[Sequence[IndexLine]]:
        await redis.delete(f"cb:task:{task_id}:attachments")
        await storage.attachments.create(Ref(task_id, "new"), TextContent("new"), "a")
        yield read_before

    assert not await storage.cache.build_index(task_id, evicted())
    assert await keys_listed(storage, task_id) == ["old", "new"]


async def test_an_index_of_another_program_is_built_anew(storage: Storage, task_id: str, redis: Redis) -> None:
    await storage.attachments.create(Ref(task_id, "ours"), TextContent("1"), "a")
    await redis.delete(f"cb:task:{task_id}:attachments")
    await redis.zadd(f"cb:task:{task_id}:attachments", {"ghost": 1.0})
    assert await keys_listed(storage, task_id) == ["ours"]
    await redis.delete(f"cb:task:{task_id}:attachments")
    await redis.set(f"cb:task:{task_id}:attachments", "not even a sorted set")
    assert await keys_listed(storage, task_id) == ["ours"]


@pytest.mark.parametrize("damage", ["type", "updatedAt", "content", "wrong redis type", "not utf-8"])
async def test_an_entry_that_is_not_whole_is_read_from_postgres(
    storage: Storage, task_id: str, redis: Redis, damage: str
) -> None:
    ref, name = Ref(task_id, "note"), f"cb:task:{task_id}:attachment:note"
    await storage.attachments.create(ref, TextContent("whole"), "a")
    if damage == "wrong redis type":
        await redis.delete(name)
        await redis.lpush(name, "list")
    elif damage == "not utf-8":
        await redis.hset(name, "content", b"\xff\xfe")
    else:
        await redis.hdel(name, damage)
    assert (await storage.attachments.get(ref)).content == TextContent("whole")
    (found,) = await storage.attachments.batch_get([ref])
    assert found is not None
    assert found.content == TextContent("whole")
    assert await keys_listed(storage, task_id) == ["note"]
    assert await redis.hget(name, "content") == "whole"
