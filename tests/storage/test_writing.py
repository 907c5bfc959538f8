"""Group commit, and what a crash leaves behind."""

from __future__ import annotations

import asyncio
import re

import asyncpg
import pytest
from redis.asyncio import Redis

from affix_server.domain import Condition, Created, Deleted, JsonContent, Query, Ref, TextContent
from affix_server.errors import AttachmentNotFoundError, ConflictError, TaskNotFoundError
from affix_server.storage.entries import Write
from affix_server.storage.limits import NO_LIMIT
from affix_server.storage.postgres import attachments
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


async def test_small_writes_do_not_wait_for_large_ones(
    storage: Storage, task_id: str, postgres: asyncpg.Connection
) -> None:
    """Nor do large ones for the one before: whoever is at work on that is held up here by a lock on its row."""
    slow, fast, small = (Ref(task_id, key) for key in ("slow", "fast", "small"))
    await storage.attachments.create(slow, TextContent("old"), "a")
    async with postgres.transaction():
        await postgres.execute("SELECT FROM task_attachments WHERE task_id = $1 FOR UPDATE", task_id)
        held_up = asyncio.create_task(storage.attachments.create(slow, TextContent("x" * 100_000), "a"))
        blocked = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid)))"
        while not await postgres.fetchval(blocked):
            await postgres.execute("SELECT pg_stat_clear_snapshot()")
        await storage.attachments.create(fast, TextContent("y" * 100_000), "a")
        await storage.attachments.create(small, TextContent("z"), "a")
        assert not held_up.done()
    assert (await held_up).key == "slow"


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


async def test_names_that_would_be_taken_apart_are_not_written(storage: Storage, task_id: str) -> None:
    """Validation lets none of them through, either."""
    writes = [Write(Ref(task_id, key), TextContent(key), "a") for key in ("a", "b\x1fc", "d")]
    with pytest.raises(ValueError, match="control character"):
        await storage.attachment_table.write(writes)
    assert [row.entry for row in (await storage.attachment_table.read([Ref(task_id, "a")], NO_LIMIT)).rows] == [None]


async def test_of_writes_that_come_together_each_ends_as_it_would_alone(storage: Storage, task_id: str) -> None:
    held, ours = Ref(task_id, "held"), storage.attachments
    first = await ours.create(held, TextContent("1"), "a")
    outcomes = await asyncio.gather(
        ours.create(Ref(task_id, "new"), TextContent("x"), "a"),
        ours.create(Ref("t-none", "new"), TextContent("x"), "a"),
        ours.delete(Ref(task_id, "nothing"), "a"),
        ours.create(held, TextContent("2"), "a", Condition(first.revision + 1)),
        ours.delete(held, "a", Condition(first.revision)),
        ours.create(Ref(task_id, "last"), TextContent("x"), "a"),
        return_exceptions=True,
    )
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [Created, TaskNotFoundError, AttachmentNotFoundError, ConflictError, Deleted, Created]
    page = await ours.list(Query(task_id))
    assert {one.key for one in page.attachments} == {"new", "last"}


async def test_a_caller_that_leaves_takes_nothing_from_those_that_came_with_it(storage: Storage, task_id: str) -> None:
    refs = [Ref(task_id, "leaves"), Ref(task_id, "stays")]
    leaves, stays = (asyncio.create_task(storage.attachments.create(ref, TextContent(ref.key), "a")) for ref in refs)
    await asyncio.sleep(0)
    leaves.cancel()
    assert (await stays).key == "stays"
    await storage.attachments.close()
    assert [(await storage.attachments.get(ref)).content for ref in refs] == [TextContent(ref.key) for ref in refs]


async def test_a_group_commit_finds_what_it_needs_by_primary_key(postgres: asyncpg.Connection) -> None:
    """Without statistics PostgreSQL may take an index of a list to be as good, and read all of a task's part of it."""
    await postgres.execute("SET plan_cache_mode = force_generic_plan")
    await postgres.execute(f"PREPARE written AS {attachments._WRITE}")  # noqa: SLF001 - as the mutations of it
    plan = await postgres.fetch(f"EXPLAIN EXECUTE written ({', '.join(['NULL'] * 19)})")
    await postgres.execute("DEALLOCATE written; RESET plan_cache_mode")
    used = {index for (line,) in plan for index in re.findall(r"Scan using (\w+)", line)}
    assert used <= {"tasks_pkey", "task_attachments_pkey"}
    assert "task_attachments_pkey" in used


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
