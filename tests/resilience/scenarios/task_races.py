"""An attachment is created at the moment its task is deleted: it is refused, or it goes with its task."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from affix_server.domain import DeletedTask, NewTask, Ref, TaskChanges, TextContent
from affix_server.stores import Storage
from tests.resilience.inside import interposed, pending_tasks, pending_writes, postgres_refused, task_cache, task_table
from tests.resilience.scenarios.task_deletion import nothing_is_left
from tests.resilience.world import NO_TASK, Pair, outcome, read

_RACES = 25


async def a_creation_and_a_deletion_meet(world: Pair) -> None:
    """An attachment is created at the moment its task is deleted, each with and without Postgres, many times."""
    for creates_without in (False, True):
        for deletes_without in (False, True):
            refs = [(await world.refs("note"))[0] for _ in range(_RACES)]
            with _away(world.storage, creates_without), _away(world.other, deletes_without):
                answers = await asyncio.gather(*(_race(world, ref, turn) for turn, ref in enumerate(refs)))
                assert {answer for answer in answers if answer != "done"} <= {NO_TASK}
                seen = {await read(storage, ref) for storage in (world.storage, world.other) for ref in refs}
                assert seen == {NO_TASK}, (creates_without, deletes_without, seen)
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


async def a_task_that_cannot_be_deleted_again_is_gone(world: Pair) -> None:
    """It was deleted a moment ago, and that is not in Redis yet; nor is what hung on it to be seen."""
    (ref,) = await world.refs("note")
    await world.put(ref, "x")
    seen: list[str] = []

    async def delete_again() -> None:
        seen.append(await outcome(world.other.tasks.delete(ref.task_id, "b")))
        seen.append(await outcome(world.other.tasks.get(ref.task_id)))
        seen.append(await read(world.other, ref))

    with interposed(task_cache(world.storage), "publish", before=delete_again):
        await world.storage.tasks.delete(ref.task_id, "a")
    assert seen == [NO_TASK, NO_TASK, NO_TASK]


async def a_task_that_cannot_be_registered_again_is_there(world: Pair) -> None:
    """It was registered a moment ago in the place of a deleted one, and only that is in Redis yet."""
    (ref,) = await world.refs("note")
    await world.storage.tasks.delete(ref.task_id, "a")
    new, seen = NewTask(ref.task_id, "again", 50, "{}"), list[str]()

    async def register_again() -> None:
        seen.append(await outcome(world.other.tasks.create(new, "b")))
        seen.append(await outcome(world.other.tasks.get(ref.task_id)))

    with interposed(task_cache(world.storage), "publish", before=register_again):
        await world.storage.tasks.create(new, "a")
    assert seen == ["ConflictError", "done"]


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


async def a_change_is_published_after_a_pending_deletion(world: Pair) -> None:
    """One server has committed a change, when another is asked to delete the task without Postgres: that waits."""
    (ref,) = await world.refs("note")
    deleting: list[asyncio.Task[DeletedTask]] = []

    async def delete() -> None:
        deleting.append(asyncio.create_task(world.storage.tasks.delete(ref.task_id, "a")))
        await asyncio.wait(deleting, timeout=0.2)
        assert not deleting[0].done()

    with postgres_refused(world.storage):
        with interposed(task_table(world.other), "update", after=delete):
            await world.other.tasks.update(ref.task_id, TaskChanges(text="changed"), "b")
        assert (await deleting[0]).pending
    await nothing_is_left(world, ref)
