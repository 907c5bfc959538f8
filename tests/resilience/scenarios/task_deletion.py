"""A deleted task takes along all that hangs on it, and nothing of it comes back."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from affix_server.domain import Ref, TaskChanges, TextContent
from affix_server.stores import Storage
from affix_server.times import now_ms
from tests.resilience.inside import (
    frozen_with_the_next_statement,
    interposed,
    pending_tasks,
    pending_writes,
    postgres_refused,
    task_table,
)
from tests.resilience.scenarios.tasks import both_without_postgres, named, settled, text_of
from tests.resilience.world import GONE, NO_TASK, Pair, keys, outcome, read
from tests.storage.outages import dead

_RACES = 25


async def nothing_is_left(world: Pair, *refs: Ref) -> None:
    """Check both servers and both stores: the tasks are gone, and with them their attachments and contents."""
    await settled(world, *(ref.task_id for ref in refs))
    for _ in range(2):
        for storage in (world.storage, world.other):
            assert {await text_of(storage, ref.task_id) for ref in refs} == {NO_TASK}
            assert {await read(storage, ref) for ref in refs} == {NO_TASK}
        for ref in refs:
            assert await keys(world.other, ref.task_id) == [NO_TASK]
            assert await world.stored(ref) is None
            assert not await world.redis.hexists(f"cb:task:{ref.task_id}:attachment:{ref.key}", "content")
        await world.redis.flushall()
        await world.both_believe()


async def a_pending_deletion_takes_all_along(world: Pair) -> None:
    """A task with attachments of every sort is deleted without Postgres, and everybody knows at once."""
    settled_one, evicted, new = await world.refs("settled", "evicted", "new")
    for ref in (settled_one, evicted):
        await world.put(ref, "planted-content")
    assert len(await keys(world.storage, new.task_id)) == 2
    await world.evict(evicted)
    async with dead(world.postgres):
        await both_without_postgres(world)
        assert await world.put(new, "planted-content")
        assert (await world.storage.tasks.delete(new.task_id, "a")).pending
        for storage in (world.storage, world.other):
            assert await text_of(storage, new.task_id) == NO_TASK
            assert {await read(storage, ref) for ref in (settled_one, evicted, new)} == {NO_TASK}
            assert await keys(storage, new.task_id) == [NO_TASK]
        assert await outcome(world.put(new, "late")) == NO_TASK
        assert await outcome(world.other.tasks.delete(new.task_id, "b")) == NO_TASK
        assert await world.redis.ttl(f"cb:task:{new.task_id}") == -1
    await nothing_is_left(world, settled_one, evicted, new)
    row = await world.task_row(new.task_id)
    assert (row["text"], row["metadata"]) == ("", "{}")


async def a_pending_deletion_needs_no_index(world: Pair) -> None:
    """Redis has attachments of the task, and nothing that says which."""
    (ref,) = await world.refs("note")
    await world.put(ref, "planted-content")
    await world.evict_indexes(ref.task_id)
    with postgres_refused(world.storage), postgres_refused(world.other):
        assert (await world.storage.tasks.delete(ref.task_id, "a")).pending
        assert await read(world.other, ref) == NO_TASK
    await nothing_is_left(world, ref)


async def a_reader_with_postgres_sees_the_pending_deletion(world: Pair) -> None:
    """Redis has forgotten the attachment, and Postgres does not know yet."""
    (ref,) = await world.refs("note")
    await world.put(ref, "old")
    with postgres_refused(world.storage):
        assert (await world.storage.tasks.delete(ref.task_id, "a")).pending
        assert await read(world.other, ref) == NO_TASK
        assert await outcome(world.other.attachments.batch_get([ref])) == NO_TASK
        assert await keys(world.other, ref.task_id) == [NO_TASK]
        assert await outcome(world.put(ref, "late", by=world.other)) == NO_TASK
    await nothing_is_left(world, ref)


async def a_task_registered_anew_without_postgres_is_empty(world: Pair) -> None:
    """Deleted and registered again under its id while Postgres is away: the old attachments do not come back."""
    old, new = await world.refs("old", "new")
    await world.put(old, "planted-content")
    async with dead(world.postgres):
        await both_without_postgres(world)
        await world.storage.tasks.delete(old.task_id, "a")
        created = await world.other.tasks.create(named(old.task_id, "again"), "b")
        assert created.pending
        assert await world.put(new, "kept")
        assert await keys(world.other, old.task_id) == ["new"]
    await settled(world, old.task_id)
    for _ in range(2):
        assert await text_of(world.storage, old.task_id) == "again"
        assert await keys(world.other, old.task_id) == ["new"]
        assert [await read(world.other, ref) for ref in (old, new)] == [GONE, "kept"]
        assert (await world.storage.tasks.get(old.task_id)).attachment_count == 1
        await world.redis.flushall()
    assert await world.stored(old) is None


async def a_reader_with_postgres_sees_a_task_registered_anew(world: Pair) -> None:
    """As before, and another server has Postgres, which knows the old attachments only."""
    old, new = await world.refs("old", "new")
    await world.put(old, "old")
    with postgres_refused(world.storage):
        await world.storage.tasks.delete(old.task_id, "a")
        await world.storage.tasks.create(named(old.task_id), "a")
        assert await read(world.other, old) == GONE
        assert not await world.put(new, "kept", by=world.other)
        assert await keys(world.other, old.task_id) == ["new"]
    await settled(world, old.task_id)
    assert await world.stored(new) == "kept"


async def a_late_fill_does_not_reach_a_task_registered_anew(world: Pair) -> None:
    """A reader has the old attachment from Postgres when its task is deleted and registered anew without."""
    (ref,) = await world.refs("note")
    await world.put(ref, "old")
    await world.evict(ref)

    name = f"cb:task:{ref.task_id}:attachment:{ref.key}"
    leases: dict[Any, Any] = {}

    async def note_leases() -> None:
        leases.update(await world.redis.hgetall(name))

    async def delete_and_create() -> None:
        await world.storage.tasks.delete(ref.task_id, "a")
        await world.redis.hset(name, mapping=leases)  # as if it had come after the deletion looked for what is left
        await world.storage.tasks.create(named(ref.task_id), "a")

    with postgres_refused(world.storage):
        with interposed(world.other.attachment_table, "read", before=note_leases, after=delete_and_create):
            await outcome(world.other.attachments.get(ref))
        assert await read(world.other, ref) == GONE


async def a_late_drain_of_a_deletion_spares_what_followed(world: Pair) -> None:
    """A server drains a deletion, and before it says so in Redis, the task is registered anew with an attachment."""
    (ref,) = await world.refs("note")
    await world.put(ref, "old")

    async def create() -> None:
        await world.storage.tasks.create(named(ref.task_id, "again"), "a")
        assert await world.put(ref, "new")

    with postgres_refused(world.storage):
        await world.storage.tasks.delete(ref.task_id, "a")
        with interposed(task_table(world.other), "drain", after=create):
            await world.other.reconciler.reconcile(0, recent_ms=0)
        assert await read(world.other, ref) == "new"
    await settled(world, ref.task_id)
    await world.redis.flushall()
    assert await text_of(world.other, ref.task_id) == "again"
    assert await read(world.other, ref) == "new"


async def a_deletion_is_above_all_that_is_pending(world: Pair) -> None:
    """An attachment was overwritten so often that its revision is ahead of the clock."""
    (ref,) = await world.refs("note")
    with postgres_refused(world.storage), postgres_refused(world.other):
        for number in range(3):
            assert await world.put(ref, str(number))
        name = f"cb:task:{ref.task_id}:attachment:{ref.key}"
        ahead = int(await world.redis.hget(name, "revision") or 0) + 500_000
        await world.redis.hset(name, "revision", ahead)
        await world.storage.tasks.delete(ref.task_id, "a")
        assert int(await world.redis.hget(f"cb:task:{ref.task_id}", "revision") or 0) > ahead


async def a_pending_change_does_not_bring_a_deleted_task_back(world: Pair) -> None:
    """A server crashed between the deletion of a task and its publication; the task is changed without Postgres."""
    (ref,) = await world.refs("note")
    await world.put(ref, "old")
    await task_table(world.other).delete(ref.task_id, "b")
    with postgres_refused(world.storage):
        assert (await world.storage.tasks.update(ref.task_id, TaskChanges(text="changed"), "a")).pending
    await nothing_is_left(world, ref)


async def a_late_drain_does_not_undo_what_followed(world: Pair) -> None:
    """One server drains a pending change of a task that another has changed again meanwhile."""
    (ref,) = await world.refs("note")

    async def change_again() -> None:
        await world.other.tasks.update(ref.task_id, TaskChanges(text="newer"), "b")

    with interposed(task_table(world.storage), "drain", before=change_again):
        with postgres_refused(world.storage):
            await world.storage.tasks.update(ref.task_id, TaskChanges(text="pending"), "a")
        await settled(world, ref.task_id)
    await world.redis.flushall()
    assert await text_of(world.storage, ref.task_id) == "newer"


async def a_registration_given_up_does_not_bring_a_deleted_task_back(world: Pair) -> None:
    """A backend freezes with a registration; by the time it thaws, that was accepted, deleted, drained and purged."""
    task_id = "t-given-up"
    await world.storage.tasks.create(named(task_id), "a")
    await world.storage.tasks.delete(task_id, "a")
    async with frozen_with_the_next_statement(world.storage):
        assert (await world.storage.tasks.create(named(task_id), "a")).pending
        with postgres_refused(world.storage):
            assert (await world.storage.tasks.delete(task_id, "a")).pending
        await settled(world, task_id)
    await nothing_is_left(world, Ref(task_id, "note"))


async def what_was_written_to_a_task_does_not_reach_the_next_of_its_name(world: Pair) -> None:
    """A backend freezes with an attachment; by the time it thaws, that was accepted, and its task is another one."""
    (ref,) = await world.refs("note")
    async with frozen_with_the_next_statement(world.storage):
        assert await world.put(ref, "planted-content")
        with postgres_refused(world.storage):
            await world.storage.tasks.delete(ref.task_id, "a")
            await world.storage.tasks.create(named(ref.task_id), "a")
        await settled(world, ref.task_id)
    assert await world.stored(ref) is None


async def a_drained_deletion_waits_for_what_is_being_written(world: Pair) -> None:
    """An attachment has been written, and is not yet committed, when the deletion of its task is drained."""
    (ref,) = await world.refs("note")
    lock = world.sql.transaction()
    await lock.start()
    await world.sql.execute("SELECT FROM tasks WHERE id = $1 FOR KEY SHARE", ref.task_id)
    await world.sql.execute(
        "INSERT INTO task_attachments (task_id, key, id, type, content, content_bytes, created_by, updated_by, "
        "created_at, updated_at, revision) VALUES ($1, $2, 'ta-1', 'text', 'late', 4, 'b', 'b', now(), now(), 1)",
        *ref,
    )
    with postgres_refused(world.storage):
        await world.storage.tasks.delete(ref.task_id, "a")
        draining = asyncio.ensure_future(world.other.reconciler.reconcile(now_ms(), recent_ms=0))
        await asyncio.wait((draining,), timeout=0.3)
        await lock.commit()
        await draining
    assert await world.stored(ref) is None


async def a_creation_and_a_deletion_meet(world: Pair) -> None:
    """An attachment is created at the moment its task is deleted, each with and without Postgres, many times."""
    for creates_without in (False, True):
        for deletes_without in (False, True):
            refs = [(await world.refs("note"))[0] for _ in range(_RACES)]
            with _away(world.storage, creates_without), _away(world.other, deletes_without):
                answers = await asyncio.gather(*(_race(world, ref, turn) for turn, ref in enumerate(refs)))
                assert {answer for answer in answers if answer != "done"} <= {NO_TASK}
                for ref in refs:
                    assert {await read(storage, ref) for storage in (world.storage, world.other)} == {NO_TASK}
            await nothing_is_left(world, *refs)


def _away(storage: Storage, without: bool) -> AbstractContextManager[None]:  # noqa: FBT001 - reads as its call
    return postgres_refused(storage) if without else nullcontext()


async def _race(world: Pair, ref: Ref, turn: int) -> str:
    """Create through one server and delete the task through the other, now one first, now the other."""

    async def create() -> str:
        await asyncio.sleep(max(turn - _RACES // 2, 0) / 2000)
        return await outcome(world.put(ref, "x"))

    async def delete() -> None:
        await asyncio.sleep(max(_RACES // 2 - turn, 0) / 2000)
        await world.other.tasks.delete(ref.task_id, "b")

    answer, _ = await asyncio.gather(create(), delete())
    return answer


async def a_creation_is_published_after_its_task_is_gone(world: Pair) -> None:
    """It is committed; before it is in Redis, the task is deleted by another server, with or without Postgres."""
    for deletes_without in (False, True):
        (ref,) = await world.refs("note")
        with _away(world.other, deletes_without):
            deletion = partial(world.other.tasks.delete, ref.task_id, "b")
            with interposed(world.storage.cache, "publish", before=deletion):
                assert await outcome(world.put(ref, "x")) == "done"
            assert await read(world.other, ref) == NO_TASK
        await nothing_is_left(world, ref)


async def a_creation_is_accepted_after_its_task_is_gone(world: Pair) -> None:
    """It has looked; before it is kept, the task is deleted by another server, with or without Postgres."""
    for deletes_without in (False, True):
        (ref,) = await world.refs("note")
        with postgres_refused(world.storage), _away(world.other, deletes_without):
            deletion = partial(world.other.tasks.delete, ref.task_id, "b")
            with interposed(pending_writes(world.storage), "look", after=deletion):
                assert await outcome(world.put(ref, "x")) == NO_TASK
        await nothing_is_left(world, ref)


async def a_deletion_is_accepted_after_a_creation(world: Pair) -> None:
    """The deletion has looked; before it is kept, another server creates an attachment, with or without Postgres."""
    for creates_without in (False, True):
        (ref,) = await world.refs("note")
        with postgres_refused(world.storage), _away(world.other, creates_without):
            creation = partial(world.other.attachments.create, ref, TextContent("x"), "b")
            with interposed(pending_tasks(world.storage), "look", after=creation):
                assert (await world.storage.tasks.delete(ref.task_id, "a")).pending
            assert await read(world.other, ref) == NO_TASK
        await nothing_is_left(world, ref)
