"""Tasks are written while Postgres is away, and arrive, and meet others (docs/decisions/0017)."""

from __future__ import annotations

import asyncio

from affix_server.domain import (
    CountedTask,
    JsonContent,
    NewTask,
    Ref,
    TaskChanges,
    TaskStatus,
    TextContent,
    WrittenTask,
)
from affix_server.errors import AffixError
from affix_server.storage.redis.names import TYPES
from affix_server.stores import Storage
from tests.resilience.inside import interposed, pending_tasks, postgres_refused, task_table
from tests.resilience.world import GONE, NO_TASK, Pair, eventually, keys, outcome, read
from tests.storage.outages import dead, until

UNAVAILABLE = {"StorageUnavailableError", "CircuitOpenError"}


def named(task_id: str | None, text: str = "a task") -> NewTask:
    """Return a task to register."""
    return NewTask(task_id, text, 50, '{"a": 1.0}')


async def text_of(storage: Storage, task_id: str) -> str:
    """Return the text of a task as a server answers it, or the name of the error."""
    try:
        return (await storage.tasks.get(task_id)).task.text
    except AffixError as error:
        return type(error).__name__


async def settled(world: Pair, *task_ids: str) -> None:
    """Wait until Postgres has been told everything about these tasks, and both servers use it again."""

    async def nothing_is_pending() -> bool:
        closed = [storage.postgres_circuit.is_closed for storage in (world.storage, world.other)]
        names = [f"cb:task:{task_id}" for task_id in task_ids]
        pending = [await world.redis.hexists(name, "pending") for name in names]
        waiting = [await world.redis.exists(f"{name}:pending") for name in names]
        return all(closed) and not any(pending) and not any(waiting)

    await eventually(nothing_is_pending, 10)


async def both_without_postgres(pair: Pair) -> None:
    """Wait until both servers have found out that Postgres is away, and let Redis decide."""
    servers = (pair.storage, pair.other)
    await until(lambda: all(not one.postgres_circuit.is_closed and one.trust.believed for one in servers))


async def a_pending_task_arrives(world: Pair) -> None:
    """Postgres dies; a task is registered, changed and completed with attachments; then all of Redis is lost."""
    tasks = world.storage.tasks
    async with dead(world.postgres):
        await both_without_postgres(world)
        created = await tasks.create(named(None), "a")
        ref = Ref(created.task.id, "note")
        assert await world.put(ref, "kept")
        changes = TaskChanges(text="changed", metadata='{"b": 2.50}')
        updated = await tasks.update(ref.task_id, changes, "a")
        completed = await world.other.tasks.complete(ref.task_id, "w", '"done"', "b")
        assert all(written.pending for written in (created, updated, completed))
        assert completed.attachment_count == 2
        seen = await world.other.tasks.get(ref.task_id)
        assert await keys(world.storage, ref.task_id) == ["note", "result"]
    await settled(world, ref.task_id)
    await world.redis.flushall()
    assert await world.other.tasks.get(ref.task_id) == seen
    assert (seen.task.text, seen.task.metadata, seen.task.assigned_to) == ("changed", '{"a":1.0,"b":2.50}', "w")
    assert (seen.task.created_by, seen.task.created_at) == ("a", created.task.created_at)
    assert seen.task.status is TaskStatus.COMPLETED
    assert await keys(world.storage, ref.task_id) == ["note", "result"]
    assert await read(world.storage, ref) == "kept"
    assert (await world.storage.attachments.get(Ref(ref.task_id, "result"))).content == JsonContent('"done"')


async def a_pending_change_arrives(world: Pair) -> None:
    """A task that Postgres has is changed without it; what is not named stays."""
    (ref,) = await world.refs("note")
    async with dead(world.postgres):
        await both_without_postgres(world)
        assert (await world.storage.tasks.update(ref.task_id, TaskChanges(priority=7), "a")).pending
        assert (await world.other.tasks.update(ref.task_id, TaskChanges(text="new"), "b")).pending
    await settled(world, ref.task_id)
    row = await world.task_row(ref.task_id)
    assert (row["text"], row["priority"], row["created_by"], row["updated_by"]) == ("new", 7, "a", "b")
    await world.redis.flushall()
    assert await text_of(world.storage, ref.task_id) == "new"


async def a_pending_task_has_no_time_limit(world: Pair) -> None:
    """Nothing that only Redis knows expires; once Postgres knows it too, it may."""
    with postgres_refused(world.storage), postgres_refused(world.other):
        task_id = (await world.storage.tasks.create(named(None), "a")).task.id
        task = f"cb:task:{task_id}"
        names = (task, f"{task}:attachments", *(f"{task}:attachments:{type_}" for type_ in TYPES))
        assert {await world.redis.ttl(name) for name in (*names, "cb:intents")} == {-1}
    await settled(world, task_id)
    assert all([await world.redis.ttl(name) > 0 for name in names])


async def a_pending_task_outlives_its_attachments_being_settled(world: Pair) -> None:
    """A task is changed without Postgres between the drain of an attachment and its publication as settled."""
    (ref,) = await world.refs("note")
    change = TaskChanges(text="changed")

    async def update() -> None:
        await world.storage.tasks.update(ref.task_id, change, "a")

    with postgres_refused(world.storage):
        assert await world.put(ref, "x")
        with interposed(world.other.attachment_table, "drain", after=update):
            await world.other.reconciler.reconcile(0, recent_ms=0)
        assert await world.redis.ttl(f"cb:task:{ref.task_id}") == -1
    await settled(world, ref.task_id)


async def two_pending_changes_are_both_kept(world: Pair) -> None:
    """Two servers without Postgres change a task at the same time."""
    (ref,) = await world.refs("note")

    async def change_meanwhile() -> None:
        await world.other.tasks.update(ref.task_id, TaskChanges(metadata='{"b":2}'), "b")

    with postgres_refused(world.storage), postgres_refused(world.other):
        with interposed(pending_tasks(world.storage), "look", after=change_meanwhile):
            await world.storage.tasks.update(ref.task_id, TaskChanges(metadata='{"a":1}'), "a")
        assert (await world.other.tasks.get(ref.task_id)).task.metadata == '{"b":2,"a":1}'


async def a_pending_change_waits_for_one_on_its_way_to_postgres(world: Pair) -> None:
    """One server has committed a change and is about to publish it, when another accepts one without Postgres."""
    (ref,) = await world.refs("note")
    accepting: list[asyncio.Task[WrittenTask]] = []

    async def accept() -> None:
        change = world.storage.tasks.update(ref.task_id, TaskChanges(metadata='{"a":1}'), "a")
        accepting.append(asyncio.create_task(change))
        await asyncio.wait(accepting, timeout=0.2)

    with postgres_refused(world.storage):
        with interposed(task_table(world.other), "update", after=accept):
            await world.other.tasks.update(ref.task_id, TaskChanges(metadata='{"b":2}'), "b")
        assert (await accepting[0]).pending
        assert (await world.other.tasks.get(ref.task_id)).task.metadata == '{"b":2,"a":1}'


async def a_completion_and_its_result_are_one_write(world: Pair) -> None:
    """Another server writes the result meanwhile: first neither is kept, then both, with the identity that is there."""
    (ref,) = await world.refs("result")
    states: list[CountedTask] = []

    async def write_meanwhile() -> None:
        await world.other.attachments.create(ref, TextContent("theirs"), "b")
        states.append(await world.other.tasks.get(ref.task_id))

    assert await keys(world.storage, ref.task_id) == []
    with postgres_refused(world.storage), postgres_refused(world.other):
        with interposed(pending_tasks(world.storage), "look", after=write_meanwhile):
            assert (await world.storage.tasks.complete(ref.task_id, None, '"ours"', "a")).pending
        kept = await world.other.attachments.get(ref)
        assert (kept.content, kept.created_by) == (JsonContent('"ours"'), "b")
    assert states[0].task.status is TaskStatus.PENDING
    await settled(world, ref.task_id)
    assert (await world.task_row(ref.task_id))["status"] == "completed"
    assert (await world.other.attachments.get(ref)).id == kept.id


async def a_write_begins_with_the_pending_task(world: Pair) -> None:
    """What one server accepted without Postgres, another that has Postgres goes on from."""
    with postgres_refused(world.storage):
        tasks, other = world.storage.tasks, world.other.tasks
        changed, deleted, attached, taken = [(await tasks.create(named(None), "a")).task.id for _ in range(4)]
        written = await other.update(changed, TaskChanges(text="changed"), "b")
        assert not written.pending
        assert (await tasks.get(changed)).task == written.task
        assert not (await other.delete(deleted, "b")).pending
        assert await text_of(world.storage, deleted) == NO_TASK
        assert await outcome(world.put(Ref(attached, "note"), "x", by=world.other)) == "done"
        assert await read(world.storage, Ref(attached, "note")) == "x"
        assert await outcome(other.create(named(taken), "b")) == "ConflictError"


async def a_reader_with_postgres_sees_the_pending_task(world: Pair) -> None:
    """Postgres is asked about what Redis has forgotten, or never had; it is told first what Redis knows better."""
    (ref,) = await world.refs("note")
    with postgres_refused(world.storage):
        task_id = (await world.storage.tasks.create(named(None), "a")).task.id
        assert await read(world.other, Ref(task_id, "absent")) == GONE
        assert await world.put(ref, "x")
        await world.evict_indexes(ref.task_id)
        assert (await world.other.tasks.get(ref.task_id)).attachment_count == 1


async def what_only_postgres_can_tell_of_a_task_is_not_made_up(world: Pair) -> None:
    """Redis does not know the id: it may be taken; there may be something to change or delete."""
    (ref,) = await world.refs("note")
    await world.redis.delete(f"cb:task:{ref.task_id}")
    tasks = world.storage.tasks
    with postgres_refused(world.storage):
        assert await outcome(tasks.create(named(ref.task_id), "a")) in UNAVAILABLE
        assert await outcome(tasks.update(ref.task_id, TaskChanges(text="x"), "a")) in UNAVAILABLE
        assert await outcome(tasks.complete(ref.task_id, None, None, "a")) in UNAVAILABLE
        assert await outcome(tasks.delete(ref.task_id, "a")) in UNAVAILABLE
    await until(lambda: world.storage.postgres_circuit.is_closed)
    assert await text_of(world.storage, ref.task_id) == "a test"


async def what_redis_knows_of_a_task_is_said_without_postgres(world: Pair) -> None:
    """An id that is taken, and a task that has just been deleted."""
    (ref,) = await world.refs("note")
    (deleted,) = await world.refs("note")
    await world.storage.tasks.delete(deleted.task_id, "a")
    tasks = world.other.tasks
    with postgres_refused(world.other):
        assert await outcome(tasks.create(named(ref.task_id), "b")) == "ConflictError"
        assert await outcome(tasks.update(deleted.task_id, TaskChanges(text="x"), "b")) == NO_TASK
        assert await outcome(tasks.delete(deleted.task_id, "b")) == NO_TASK
        assert await read(world.other, deleted) == NO_TASK
        assert await keys(world.other, deleted.task_id) == [NO_TASK]


async def one_bad_pending_task_keeps_no_other_from_arriving(world: Pair) -> None:
    """Postgres refuses one of those that wait for it, as another program may have put it there."""
    with postgres_refused(world.storage), postgres_refused(world.other):
        bad, good = [(await world.storage.tasks.create(named(None), "a")).task.id for _ in range(2)]
        await world.redis.hset(f"cb:task:{bad}", "priority", "1000")
    await settled(world, good)
    assert (await world.task_row(good))["text"] == "a task"
