"""Group commit, and what a crash leaves behind."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from redis.asyncio import Redis

from affix_server.domain import JsonContent, Ref, TextContent
from affix_server.errors import AttachmentNotFoundError, TaskNotFoundError
from affix_server.storage.entries import Write
from affix_server.stores import Storage
from affix_server.times import now_ms


async def test_writes_that_wait_are_committed_together(
    storage: Storage, task_id: str, postgres: asyncpg.Connection
) -> None:
    count = 200
    await asyncio.gather(
        *(storage.attachments.create(Ref(task_id, f"k{i}"), TextContent("x"), "a") for i in range(count))
    )
    commits = "SELECT count(DISTINCT xmin::text) FROM task_attachments WHERE task_id = $1"
    assert await postgres.fetchval(commits, task_id) <= count / 10


async def test_writes_of_one_key_keep_their_order(storage: Storage, task_id: str) -> None:
    ref = Ref(task_id, "counter")
    created = await asyncio.gather(*(storage.attachments.create(ref, TextContent(str(i)), "a") for i in range(20)))
    revisions = [one.revision for one in created]
    assert revisions == sorted(set(revisions))
    assert {one.id for one in created} == {created[0].id}
    assert (await storage.attachments.get(ref)).content == TextContent("19")


async def test_a_write_that_postgres_refuses_does_not_take_others_with_it(storage: Storage, task_id: str) -> None:
    """Validation lets no such write through; the storage behind it must stand it all the same."""
    good, bad = Ref(task_id, "good"), Ref(task_id, "bad")
    outcomes = await asyncio.gather(
        storage.attachments.create(Ref(task_id, "first"), TextContent("1"), "a"),
        storage.attachments.create(good, TextContent("2"), "a"),
        storage.attachments.create(bad, JsonContent("{no json"), "a"),
        storage.attachments.create(Ref(task_id, "last"), TextContent("3"), "a"),
        return_exceptions=True,
    )
    assert [isinstance(outcome, Exception) for outcome in outcomes] == [False, False, True, False]
    assert (await storage.attachments.get(good)).content == TextContent("2")
    with pytest.raises(AttachmentNotFoundError):
        await storage.attachments.get(bad)


async def test_a_write_goes_on_although_its_caller_has_gone(storage: Storage, task_id: str) -> None:
    ref = Ref(task_id, "note")
    call = asyncio.create_task(storage.attachments.create(ref, TextContent("kept"), "a"))
    await asyncio.sleep(0)  # it has begun, and waits for Redis
    call.cancel()
    await storage.attachments.close()
    assert (await storage.attachments.get(ref)).content == TextContent("kept")


async def test_no_trace_is_left_of_a_write_that_is_over(storage: Storage, task_id: str, redis: Redis) -> None:
    ref = Ref(task_id, "note")
    await asyncio.gather(*(storage.attachments.create(ref, TextContent(str(i)), "a") for i in range(10)))
    await storage.attachments.delete(ref, "a")
    with pytest.raises(AttachmentNotFoundError):
        await storage.attachments.delete(ref, "a")
    with pytest.raises(TaskNotFoundError):
        await storage.attachments.create(Ref("t-none", "note"), TextContent("x"), "a")
    assert not [member async for member, _ in redis.zscan_iter("cb:intents") if task_id in member or "t-none" in member]


async def last_event(redis: Redis, type_: str) -> str:
    entries = await redis.xrevrange(f"cb:stream:{type_}", count=1)
    assert entries
    return str(dict(entries[0][1] or {})["data"])


async def mend(storage: Storage, redis: Redis, *members: str) -> None:
    """Leave traces as of a process that died a while ago, and reconcile until they are gone.

    The suite's own server reconciles as well, so either may be first.
    """
    await redis.zadd("cb:intents", {member: now_ms() - 20_000 for member in members})
    async with asyncio.timeout(10):
        while any([await redis.zscore("cb:intents", member) is not None for member in members]):
            await storage.reconciler.reconcile(now_ms() - 10_000)


async def test_a_write_cut_short_after_its_commit_is_published(storage: Storage, task_id: str, redis: Redis) -> None:
    ref = Ref(task_id, "note")
    await storage.attachments.create(ref, TextContent("old"), "a")
    # What a process that dies between commit and publish leaves: the row, the trace, and Redis as it was.
    await storage.attachment_table.write([Write(ref, TextContent("new"), "dead-writer")])
    assert (await storage.attachments.get(ref)).content == TextContent("old")
    await mend(storage, redis, f"{task_id}:note\x1fdead")
    assert (await storage.attachments.get(ref)).content == TextContent("new")
    assert '"instanceId":"dead-writer"' in await last_event(redis, "task.attachment_created")


async def test_a_deletion_cut_short_after_its_commit_is_published(storage: Storage, task_id: str, redis: Redis) -> None:
    ref = Ref(task_id, "note")
    await storage.attachments.create(ref, TextContent("old"), "a")
    await storage.attachment_table.write([Write(ref, None, "dead-writer")])
    await mend(storage, redis, f"{task_id}:note\x1fdead")
    with pytest.raises(AttachmentNotFoundError):
        await storage.attachments.get(ref)
    assert '"deletedBy":"dead-writer"' in await last_event(redis, "task.attachment.deleted")


async def test_a_task_deletion_cut_short_takes_its_attachments_too(
    storage: Storage, task_id: str, redis: Redis
) -> None:
    ref = Ref(task_id, "note")
    await storage.attachments.create(ref, TextContent("old"), "a")
    await storage.task_table.delete(task_id, "dead-writer")
    await mend(storage, redis, f"{task_id}:\x1fdead")
    with pytest.raises(TaskNotFoundError):
        await storage.attachments.get(ref)
    assert not await redis.hexists(f"cb:task:{task_id}:attachment:note", "content")


async def test_a_trace_without_a_commit_goes_without_an_event(storage: Storage, task_id: str, redis: Redis) -> None:
    before = await redis.xlen("cb:stream:task.attachment_created")
    await mend(storage, redis, f"{task_id}:never\x1fdead", "not one of ours")
    assert await redis.xlen("cb:stream:task.attachment_created") == before
