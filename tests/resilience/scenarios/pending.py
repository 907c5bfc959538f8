"""Writes while Postgres is away are kept, and arrive, and meet others (design/storage.md, "Postgres away")."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from affix_server.domain import Created, JsonContent, Ref, TextContent
from affix_server.errors import StorageUnavailableError
from affix_server.storage.redis.names import TYPES
from tests.resilience.inside import interposed, pending_writes, postgres_refused
from tests.resilience.world import GONE, NO_TASK, Pair, eventually, keys, outcome, read
from tests.storage.outages import dead

TEXT, JSON = TextContent("x"), JsonContent('"done"')


async def drained(world: Pair, *refs: Ref) -> None:
    """Wait until Postgres has been told everything about these keys, and both servers use it again."""
    names = [f"cb:task:{ref.task_id}:attachment:{ref.key}" for ref in refs]

    async def settled() -> bool:
        pending = [name for name in names if await world.redis.hexists(name, "pending")]
        closed = [storage.postgres_circuit.is_closed for storage in (world.storage, world.other)]
        return all(closed) and not pending

    await eventually(settled, 10)


async def a_pending_write_arrives(world: Pair) -> None:
    """Postgres dies, a write is accepted, Postgres returns; then all of Redis is lost."""
    kept, new = await world.refs("kept", "new")
    await world.put(kept, "1")
    async with dead(world.postgres):
        assert await world.put(kept, "2")
        assert await world.put(new, "n")
        assert await read(world.other, kept) == "2"
    await drained(world, kept, new)
    await world.redis.flushall()
    assert [await read(world.other, ref) for ref in (kept, new)] == ["2", "n"]


async def a_pending_write_has_no_time_limit(world: Pair) -> None:
    """Nothing that only Redis knows, nor what is needed to find it, expires."""
    (ref,) = await world.refs("note")
    assert await keys(world.storage, ref.task_id) == []
    with postgres_refused(world.storage):
        assert await world.put(ref, "x")
        task = f"cb:task:{ref.task_id}"
        names = (
            task,
            f"{task}:attachment:note",
            f"{task}:attachments",
            *(f"{task}:attachments:{t}" for t in (*TYPES, "expiring")),
        )
        assert {await world.redis.ttl(name) for name in (*names, f"{task}:pending", "cb:intents")} == {-1}


async def a_pending_deletion_is_one(world: Pair) -> None:
    """Deleted without Postgres, gone with it too, and its content from everywhere."""
    (ref,) = await world.refs("note")
    await world.put(ref, "planted-content")
    assert await keys(world.storage, ref.task_id) == ["note"]
    with postgres_refused(world.storage), postgres_refused(world.other):
        assert (await world.storage.attachments.delete(ref, "a")).pending
        assert await read(world.other, ref) == GONE
        assert await keys(world.other, ref.task_id) == []
        assert await outcome(world.other.attachments.delete(ref, "b")) == GONE
    await drained(world, ref)
    assert await world.stored(ref) is None
    await world.redis.flushall()
    assert await read(world.other, ref) == GONE


async def what_was_deleted_is_not_found_without_postgres(world: Pair) -> None:
    """Redis knows of a deletion that has just been settled; nobody needs Postgres to say so."""
    (ref,) = await world.refs("note")
    await world.put(ref, "old")
    await world.storage.attachments.delete(ref, "a")
    with postgres_refused(world.other):
        assert await read(world.other, ref) == GONE


async def two_pending_creates_of_a_key_are_one_attachment(world: Pair) -> None:
    """Two servers without Postgres create a key at the same time: one creates, the other overwrites."""
    (ref,) = await world.refs("note")
    first = []

    async def create_meanwhile() -> None:
        first.append(await world.other.attachments.create(ref, TEXT, "b"))

    with postgres_refused(world.storage), postgres_refused(world.other):
        with interposed(pending_writes(world.storage), "look", after=create_meanwhile):
            second = await world.storage.attachments.create(ref, TEXT, "a")
        assert (second.id, second.created_at) == (first[0].id, first[0].created_at)
        assert second.revision > first[0].revision


async def a_pending_write_waits_for_one_on_its_way_to_postgres(world: Pair) -> None:
    """One server has committed a new key and is about to publish it, when another accepts it without Postgres."""
    (ref,) = await world.refs("note")
    accepting: list[asyncio.Task[Created]] = []

    async def accept() -> None:
        accepting.append(asyncio.create_task(world.storage.attachments.create(ref, TEXT, "a")))
        await asyncio.wait(accepting, timeout=0.2)

    with postgres_refused(world.storage):
        with interposed(world.other.cache, "publish", before=accept):
            first = await world.other.attachments.create(ref, TEXT, "b")
        second = await accepting[0]
    assert second.pending
    assert (second.id, second.created_at) == (first.id, first.created_at)


async def a_task_deleted_meanwhile_takes_no_pending_write(world: Pair) -> None:
    """One server is without Postgres, and another deletes the task under it."""
    (ref,) = await world.refs("note")
    deletion = world.other.tasks.delete
    with postgres_refused(world.storage):
        with interposed(pending_writes(world.storage), "look", after=lambda: deletion(ref.task_id, "b")):
            assert await outcome(world.put(ref, "late")) == NO_TASK
        assert await read(world.other, ref) == NO_TASK


async def a_pending_write_ends_with_its_task(world: Pair) -> None:
    """A write is pending when another server deletes its task."""
    (ref,) = await world.refs("note")
    with postgres_refused(world.storage):
        assert await world.put(ref, "late")
        await world.other.tasks.delete(ref.task_id, "b")
        assert await read(world.other, ref) == NO_TASK
    await drained(world, ref)
    assert await read(world.storage, ref) == NO_TASK


async def an_overwrite_wins_over_what_is_pending(world: Pair) -> None:
    """A write is pending with one server when another, which has Postgres, overwrites it."""
    (ref,) = await world.refs("note")
    with postgres_refused(world.storage):
        assert await world.put(ref, "pending")
        assert not await world.put(ref, "newer", by=world.other)
        assert await read(world.storage, ref) == "newer"
    await drained(world, ref)
    assert await read(world.other, ref) == "newer"
    assert await world.stored(ref) == "newer"


async def a_deletion_finds_what_is_pending(world: Pair) -> None:
    """A create is pending with one server when another, which has Postgres, deletes it."""
    (ref,) = await world.refs("note")
    with postgres_refused(world.storage):
        assert await world.put(ref, "pending")
        assert await outcome(world.other.attachments.delete(ref, "b")) == "done"
        assert await read(world.storage, ref) == GONE
    await drained(world, ref)
    assert await read(world.other, ref) == GONE
    assert await world.stored(ref) is None


async def a_deletion_wins_over_a_pending_overwrite(world: Pair) -> None:
    """As before, but Postgres has an older version."""
    (ref,) = await world.refs("note")
    await world.put(ref, "old")
    with postgres_refused(world.storage):
        assert await world.put(ref, "pending")
        assert await outcome(world.other.attachments.delete(ref, "b")) == "done"
        assert await read(world.storage, ref) == GONE
    await drained(world, ref)
    assert await read(world.other, ref) == GONE
    assert await world.stored(ref) is None


async def a_deletion_of_nothing_leaves_a_pending_write_its_trace(world: Pair) -> None:
    """A write timed out and is pending; the same server, whose circuit is closed, is asked to delete it."""
    (ref,) = await world.refs("note")
    with postgres_refused(world.storage):
        assert await world.put(ref, "pending")
    world.storage.postgres_circuit.close()
    deleted = await outcome(world.storage.attachments.delete(ref, "a"))
    await drained(world, ref)
    await world.redis.flushall()
    assert await read(world.storage, ref) == (GONE if deleted == "done" else "pending")


async def a_result_wins_over_what_is_pending(world: Pair) -> None:
    """The result of a completed task is a write like any other."""
    (ref,) = await world.refs("result")
    with postgres_refused(world.storage):
        assert await world.put(ref, "pending")
        await world.other.tasks.complete(ref.task_id, None, '"done"', "b")
        assert (await world.storage.attachments.get(ref)).content == JSON
    await drained(world, ref)
    assert (await world.other.attachments.get(ref)).content == JSON


async def what_only_postgres_can_tell_is_not_denied(world: Pair) -> None:
    """Redis has forgotten the key and the index: it can neither find nor deny."""
    (ref,) = await world.refs("note")
    await world.put(ref, "1")
    await world.evict(ref)
    await world.evict_indexes(ref.task_id)
    unavailable = {"StorageUnavailableError", "CircuitOpenError"}
    with postgres_refused(world.storage):
        assert await outcome(world.storage.attachments.delete(ref, "a")) in unavailable
        assert await read(world.storage, ref) in unavailable
        assert await outcome(world.put(Ref("t-unknown", "note"), "x")) in unavailable


async def a_write_whose_fate_is_not_known_is_accepted_if_nothing_followed(world: Pair) -> None:
    """Its commit may have happened or not: to accept it is right in either case."""
    old, new = await world.refs("old", "new")
    await world.put(old, "0")
    for ref in (old, new):
        with interposed(world.storage.attachment_table, "write", after=_lose_the_reply):
            assert await world.put(ref, "1")
        assert await read(world.other, ref) == "1"
    await drained(world, old, new)
    assert [await world.stored(ref) for ref in (old, new)] == ["1", "1"]


async def a_write_that_may_have_been_done_is_not_done_again(world: Pair) -> None:
    """It was committed, the reply was lost, and another write followed it."""
    old, new = await world.refs("old", "new")
    await world.put(old, "0")
    for ref in (old, new):
        await _lose_the_reply_behind(world, ref, world.put(ref, "1"))
        assert await read(world.other, ref) == "2"


async def a_deletion_that_may_have_been_done_is_not_done_again(world: Pair) -> None:
    """It was committed, the reply was lost, and the key was created anew."""
    (ref,) = await world.refs("note")
    await world.put(ref, "0")
    await _lose_the_reply_behind(world, ref, world.storage.attachments.delete(ref, "a"))
    assert await read(world.other, ref) == "2"


async def _lose_the_reply() -> None:
    raise StorageUnavailableError("Database connection timeout")


async def _lose_the_reply_behind(world: Pair, ref: Ref, write: Awaitable[object]) -> None:
    """Have a write committed, then another one through the other server, and only then tell that nothing is known."""

    async def follow() -> None:
        assert not await world.put(ref, "2", by=world.other)
        await _lose_the_reply()

    with interposed(world.storage.attachment_table, "write", after=follow):
        assert await outcome(write) == "StorageUnavailableError"
