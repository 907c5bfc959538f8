"""Every write is told of once and in order per key, whoever makes it visible.

What cannot be told of is not kept quiet.
"""

from __future__ import annotations

import asyncio
from typing import Any

from affix_server.domain import NewTask, Ref, TextContent
from affix_server.storage.entries import Write
from affix_server.times import now_ms
from tests.resilience.inside import interposed, redis_unreachable
from tests.resilience.watchers import Told, watched
from tests.resilience.world import NO_TASK, Pair, eventually, outcome, read

_LOST = "ResumeTokenExpiredError"


async def _last(world: Pair, told: Told, ref: Ref) -> None:
    """Write something else at the end, so that whatever came before it has been told of."""
    sentinel = Ref(ref.task_id, "sentinel")
    await world.put(sentinel, "x")

    async def heard() -> bool:
        return told.ended is not None or any(event.key == "sentinel" for event in told.events)

    await eventually(heard)


async def what_a_reader_fills_in_first_is_told_of_once(world: Pair) -> None:
    """A write is committed; before it is published, somebody reads it from Postgres and fills it in."""
    (ref,) = await world.refs("note")
    await world.put(ref, "old")
    await world.evict(ref)
    async with watched(world.other, ref.task_id) as told:
        with interposed(world.storage.cache, "publish", before=lambda: read(world.other, ref)):
            await world.put(ref, "new")
        await _last(world, told, ref)
    assert told.kinds == ["overwritten", "created"]


async def a_deletion_that_somebody_else_made_visible_is_told_of_once(world: Pair) -> None:
    """A deletion is committed; before it is published, somebody finds nothing left to delete and says so to readers."""
    (ref,) = await world.refs("note")
    await world.put(ref, "old")
    async with watched(world.other, ref.task_id) as told:
        again = world.other.attachments.delete
        with interposed(world.storage.cache, "publish", before=lambda: outcome(again(ref, "b"))):
            await world.storage.attachments.delete(ref, "a")
        await _last(world, told, ref)
    assert told.kinds == ["deleted", "created"]


async def the_end_of_a_task_is_told_of_once(world: Pair) -> None:
    """A task's deletion is committed; before it is published, somebody looks for the task."""
    (ref,) = await world.refs("note")
    await world.put(ref, "old")
    await world.redis.delete(f"cb:task:{ref.task_id}")
    async with watched(world.other, ref.task_id) as told:

        async def look() -> None:
            assert await outcome(world.other.tasks.get(ref.task_id)) == NO_TASK

        with interposed(world.storage.tasks._cache, "publish", before=look):  # noqa: SLF001 - as inside.py
            await world.storage.tasks.delete(ref.task_id, "a")
        await world.storage.tasks.create(NewTask(ref.task_id, "once more", 50, "{}"), "a")
        await _last(world, told, ref)
    assert told.kinds == ["task_deleted", "created"]


async def a_write_cut_short_is_told_of_once(world: Pair) -> None:
    """A server dies between commit and publication; the others find the trace, and all finish what it began."""
    (ref,) = await world.refs("note")
    async with watched(world.other, ref.task_id) as told:
        (begun,) = await world.storage.intents.begin([ref])
        await world.storage.attachment_table.write([Write(ref, TextContent("x"), "a")])
        world.storage.intents.abandon(ref, begun.token)
        await read(world.other, ref)
        await asyncio.gather(*(each.reconciler.reconcile(now_ms() + 1, recent_ms=0) for each in world.servers))
        assert await read(world.storage, ref) == "x"
        await _last(world, told, ref)
    assert told.kinds == ["created", "created"]
    # Nor is it twice in the stream, for a watcher that begins in between.
    entries: Any = await world.redis.xrange("cb:stream:attachments")
    assert [fields.get("key") for _, fields in entries].count("note") == 1


async def two_servers_tell_of_a_key_in_the_order_of_its_revisions(world: Pair) -> None:
    """One commits, and is slow to publish; another has replaced that by then, and waits for it."""
    (ref,) = await world.refs("note")
    await world.put(ref, "oldest")
    later: list[asyncio.Task[bool]] = []

    async def replaced() -> bool:
        return await world.stored(ref) == "new"

    async def replace() -> None:
        later.append(asyncio.create_task(world.put(ref, "new", by=world.other)))
        await eventually(replaced)
        await asyncio.sleep(0.05)  # long enough to be told of out of turn

    async with watched(world.other, ref.task_id) as told:
        with interposed(world.storage.cache, "publish", before=replace):
            await world.put(ref, "old")
        await later[0]
        await _last(world, told, ref)
    assert told.ended is None
    assert told.kinds == ["overwritten", "overwritten", "created"]
    assert told.revisions[:2] == sorted(told.revisions[:2])


async def a_write_that_is_never_told_of_is_not_kept_quiet(world: Pair) -> None:
    """A server dies between commit and publication, and before its trace is found the key is written again."""
    (ref, other_ref) = await world.refs("note", "other")
    await world.put(ref, "old")
    elsewhere = (await world.refs("elsewhere"))[0]
    async with watched(world.other, ref.task_id) as told, watched(world.other, elsewhere.task_id) as unconcerned:
        token = told.token
        await world.put(other_ref, "x")
        await world.storage.attachment_table.write([Write(ref, TextContent("lost"), "a")])
        await world.put(ref, "new", by=world.other)
        await told.the_end()
        assert told.ended == _LOST
        await world.put(elsewhere, "y")
        await unconcerned.so_many(1)
        assert unconcerned.ended is None
    async with watched(world.storage, ref.task_id, token) as resumed:
        await resumed.the_end()
    assert resumed.ended == _LOST


async def what_was_written_past_redis_is_told_of_when_it_is_back(world: Pair) -> None:
    """A server cannot reach Redis for a while; of a key that it wrote twice, one event can only be missing."""
    once, twice, gone = await world.refs("once", "twice", "gone")
    elsewhere = (await world.refs("elsewhere"))[0]
    for ref in (once, twice, gone):
        await world.put(ref, "old")
    await world.put(elsewhere, "old")
    async with watched(world.other, once.task_id) as told, watched(world.other, elsewhere.task_id) as other:
        with redis_unreachable(world.storage):
            await world.put(once, "new")
            await world.storage.attachments.delete(gone, "a")
            await world.storage.tasks.delete(elsewhere.task_id, "a")
            await eventually(lambda: _doubted(world))
        await world.both_believe()
        await told.so_many(2)
        await other.so_many(1)
        assert sorted(told.kinds) == ["deleted", "overwritten"]
        assert other.kinds == ["task_deleted"]
        with redis_unreachable(world.storage), redis_unreachable(world.other):
            await world.put(twice, "new")
            await world.put(twice, "newer")
        await world.both_believe()
        await told.the_end()
    assert told.ended == _LOST


async def _doubted(world: Pair) -> bool:
    return not world.other.trust.believed


async def a_stream_that_was_lost_is_not_read_on(world: Pair) -> None:
    """Redis forgets the stream, as a failover to a replica that lags does; what comes next looks like more of it."""
    (ref,) = await world.refs("note")
    async with watched(world.storage, ref.task_id) as told:
        await world.put(ref, "1")
        await told.so_many(1)
        await world.redis.delete("cb:stream:attachments")
        await world.put(ref, "2")
        await told.the_end()
    assert told.ended == _LOST


async def a_redis_too_far_behind_takes_no_token(world: Pair) -> None:
    """Nobody knows what Redis has missed, so it is emptied; events of that time cannot be told of."""
    (ref,) = await world.refs("note")
    async with watched(world.storage, ref.task_id) as told:
        await world.put(ref, "1")
        await told.so_many(1)
        token = told.token
    with redis_unreachable(world.storage), redis_unreachable(world.other):
        await world.put(ref, "2")
        await world.redis.delete("cb:heartbeat")
    await world.both_believe()
    async with watched(world.storage, ref.task_id, token) as resumed:
        await resumed.the_end()
    assert resumed.ended == _LOST
