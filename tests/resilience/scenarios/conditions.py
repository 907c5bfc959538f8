"""A write with a condition happens only if that holds where the write is ordered (design/storage.md, "A write")."""

from __future__ import annotations

import asyncio

from affix_server.domain import Condition, Ref, TaskChanges, TextContent
from affix_server.stores import Storage
from tests.resilience.inside import interposed, postgres_refused
from tests.resilience.scenarios.pending import drained
from tests.resilience.scenarios.tasks import settled
from tests.resilience.world import Pair, outcome, read

_CONFLICT = "ConflictError"


async def _put_if(storage: Storage, ref: Ref, text: str, condition: Condition) -> str:
    return await outcome(storage.attachments.create(ref, TextContent(text), "a", condition))


async def _revision(world: Pair, ref: Ref) -> int:
    return (await world.other.attachments.get(ref)).revision


async def a_revision_that_has_gone_by_is_none_any_more(world: Pair) -> None:
    """Another server overwrites the key between the beginning of a write and its commit."""
    (ref,) = await world.refs("note")
    await world.put(ref, "1")
    condition = Condition(revision=await _revision(world, ref))
    with interposed(world.storage.intents, "begin", after=lambda: world.put(ref, "2", by=world.other)):
        assert await _put_if(world.storage, ref, "3", condition) == _CONFLICT
    assert await read(world.storage, ref) == "2"


async def what_is_no_longer_absent_is_not_created(world: Pair) -> None:
    """Another server creates the key between the beginning of a write and its commit; then it deletes it."""
    (ref,) = await world.refs("note")
    with interposed(world.storage.intents, "begin", after=lambda: world.put(ref, "1", by=world.other)):
        assert await _put_if(world.storage, ref, "2", Condition(absent=True)) == _CONFLICT
    condition = Condition(revision=await _revision(world, ref))
    deletion = world.other.attachments.delete
    with interposed(world.storage.intents, "begin", after=lambda: deletion(ref, "b")):
        assert await _put_if(world.storage, ref, "3", condition) == _CONFLICT
    assert await _put_if(world.storage, ref, "4", Condition(absent=True)) == "done"


async def conditions_hold_without_postgres(world: Pair) -> None:
    """Redis decides; what it cannot decide is no conflict."""
    ref, new, unknown = await world.refs("note", "new", "unknown")
    await world.put(ref, "1")
    await world.storage.attachments.get(ref)
    await world.evict_indexes(ref.task_id)  # or Redis would know that the others are absent
    first = await _revision(world, ref)
    await world.evict_indexes(ref.task_id)
    with postgres_refused(world.storage), postgres_refused(world.other):
        assert await _put_if(world.storage, ref, "2", Condition(revision=first + 1)) == _CONFLICT
        assert await _put_if(world.storage, ref, "2", Condition(absent=True)) == _CONFLICT
        assert await outcome(world.storage.attachments.delete(ref, "a", Condition(revision=first + 1))) == _CONFLICT
        assert await _put_if(world.storage, ref, "2", Condition(revision=first)) == "done"
        assert await _put_if(world.other, ref, "3", Condition(revision=first)) == _CONFLICT
        assert await _put_if(world.storage, unknown, "1", Condition(absent=True)) == "StorageUnavailableError"
        assert await _put_if(world.storage, new, "1", Condition(revision=1)) == "StorageUnavailableError"
    await drained(world, ref)
    assert await world.stored(ref) == "2"


async def _update_at(storage: Storage, ref: Ref, revision: int, text: str) -> str:
    return await outcome(storage.tasks.update(ref.task_id, TaskChanges(text=text, if_revision=revision), "a"))


async def a_task_is_not_changed_at_a_revision_that_has_gone_by(world: Pair) -> None:
    """Another server changes the task between the beginning of an update and its commit."""
    (ref,) = await world.refs("note")
    first = (await world.other.tasks.get(ref.task_id)).task.revision
    with interposed(world.storage.intents, "begin", after=lambda: _update_at(world.other, ref, first, "1")):
        assert await _update_at(world.storage, ref, first, "2") == _CONFLICT
    assert (await world.storage.tasks.get(ref.task_id)).task.text == "1"


async def a_task_is_changed_at_its_revision_without_postgres(world: Pair) -> None:
    """Redis decides; what only Postgres knows is no conflict."""
    (ref,), unknown = await world.refs("note"), Ref("t-unknown", "note")
    first = (await world.storage.tasks.get(ref.task_id)).task.revision
    with postgres_refused(world.storage), postgres_refused(world.other):
        assert await _update_at(world.storage, ref, first + 1, "1") == _CONFLICT
        assert await _update_at(world.storage, ref, first, "2") == "done"
        assert await _update_at(world.other, ref, first, "3") == _CONFLICT
        assert await _update_at(world.other, unknown, first, "4") == "StorageUnavailableError"
    await settled(world, ref.task_id)
    assert (await world.task_row(ref.task_id))["text"] == "2"


async def a_counter_counts_every_increment(world: Pair) -> None:
    """Writers at both servers increment it by compare and set, and Postgres is refused for a while meanwhile."""
    (ref,) = await world.refs("counter")
    await world.put(ref, "0")

    async def increment(storage: Storage) -> int:
        held = await storage.attachments.get(ref)
        assert isinstance(held.content, TextContent)
        text = str(int(held.content.content) + 1)
        return int(await _put_if(storage, ref, text, Condition(revision=held.revision)) == "done")

    async def count(storage: Storage) -> int:
        return sum([await increment(storage) for _ in range(40)])

    counting = [asyncio.create_task(count(storage)) for storage in (world.storage, world.other) for _ in range(2)]
    await asyncio.sleep(0.1)
    with postgres_refused(world.storage), postgres_refused(world.other):
        await asyncio.sleep(0.2)
    done = sum(await asyncio.gather(*counting))
    assert await read(world.storage, ref) == str(done)
