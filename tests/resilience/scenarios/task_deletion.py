"""A deleted task takes along all that hangs on it, and nothing of it comes back."""

# ruff: noqa: SLF001 - statements are private to their tables

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from affix_server.domain import Ref, TaskChanges
from affix_server.storage.postgres import attachments, tasks
from affix_server.times import now_ms
from tests.resilience.inside import (
    frozen_with,
    interposed,
    postgres_refused,
    task_table,
)
from tests.resilience.scenarios.tasks import both_without_postgres, named, settled, text_of
from tests.resilience.world import GONE, NO_TASK, Pair, keys, outcome, read
from tests.storage.outages import dead


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
        await world.evict_indexes(ref.task_id)
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
    async with frozen_with(tasks._CREATE, world.storage):
        assert (await world.storage.tasks.create(named(task_id), "a")).pending
        with postgres_refused(world.storage):
            assert (await world.storage.tasks.delete(task_id, "a")).pending
        await settled(world, task_id)
    await nothing_is_left(world, Ref(task_id, "note"))


async def what_was_written_to_a_task_does_not_reach_the_next_of_its_name(world: Pair) -> None:
    """A backend freezes with an attachment; by the time it thaws, that was accepted, and its task is another one."""
    (ref,) = await world.refs("note")
    async with frozen_with(attachments._WRITE, world.storage):
        assert await world.put(ref, "planted-content")
        with postgres_refused(world.storage):
            await world.storage.tasks.delete(ref.task_id, "a")
            await world.storage.tasks.create(named(ref.task_id), "a")
        await settled(world, ref.task_id)
    assert await world.stored(ref) is None


async def a_deletion_waits_for_what_is_being_written(world: Pair) -> None:
    """An attachment has been written, and is not yet committed, when its task is deleted."""
    (ref,) = await world.refs("note")
    async with _being_written(world, ref):
        deleting = asyncio.ensure_future(world.other.tasks.delete(ref.task_id, "b"))
        await asyncio.wait((deleting,), timeout=0.3)
    await deleting
    assert await world.stored(ref) is None


async def a_drained_deletion_waits_for_what_is_being_written(world: Pair) -> None:
    """As before, and the deletion was accepted without Postgres."""
    (ref,) = await world.refs("note")
    with postgres_refused(world.storage):
        await world.storage.tasks.delete(ref.task_id, "a")
        async with _being_written(world, ref):
            draining = asyncio.ensure_future(world.other.reconciler.reconcile(now_ms(), recent_ms=0))
            await asyncio.wait((draining,), timeout=0.3)
        await draining
    assert await world.stored(ref) is None


@asynccontextmanager
async def _being_written(world: Pair, ref: Ref) -> AsyncIterator[None]:
    """Write an attachment as write_attachments.sql does, and commit it at the end of the block."""
    async with world.sql.transaction():
        await world.sql.execute("SELECT FROM tasks WHERE id = $1 FOR KEY SHARE", ref.task_id)
        await world.sql.execute(
            "INSERT INTO task_attachments (task_id, key, id, type, content, content_bytes, created_by, updated_by, "
            "created_at, updated_at, revision) VALUES ($1, $2, 'ta-1', 'text', 'late', 4, 'b', 'b', now(), now(), 1)",
            *ref,
        )
        yield
