"""Redis only moves forward: what comes late stays out (design/storage.md, "Revisions" and "A read")."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

from affix_server.domain import Ref, TaskChanges, TextContent
from tests.resilience.inside import interposed, task_cache
from tests.resilience.world import GONE, NO_TASK, Pair, keys, outcome, read


async def a_late_fill_does_not_replace_a_newer_write(world: Pair) -> None:
    """A reader has seen the old row; meanwhile another server overwrites it, and publishes."""
    (ref,) = await world.refs("note")
    await world.put(ref, "old")
    await world.evict(ref)
    with interposed(world.storage.attachment_table, "read", after=lambda: world.put(ref, "new", by=world.other)):
        await read(world.storage, ref)
    assert await read(world.other, ref) == "new"
    assert await read(world.storage, ref) == "new"


async def what_has_been_read_is_not_told_again_once_it_has_changed(world: Pair) -> None:
    """A server that has read a key, alone and among others, keeps what it was; another overwrites and deletes it."""
    refs = await world.refs("note", "other")
    for ref in refs:
        await world.put(ref, "old")
    await _is_read(world, refs, "old", "old")
    await world.put(refs[0], "new", by=world.other)
    await _is_read(world, refs, "new", "old")
    await world.other.attachments.delete(refs[0], "b")
    await _is_read(world, refs, GONE, "old")


async def _is_read(world: Pair, refs: Sequence[Ref], *texts: str) -> None:
    assert [await read(world.storage, ref) for ref in refs] == [*texts]
    found = await world.storage.attachments.batch_get(refs, allow_missing=True)
    assert [one and one.content for one in found] == [None if text == GONE else TextContent(text) for text in texts]


async def a_late_publication_does_not_replace_a_newer_one(world: Pair) -> None:
    """Two servers commit one after the other, and publish in the opposite order."""
    (ref,) = await world.refs("note")
    await world.put(ref, "oldest")
    with interposed(world.storage.cache, "publish", before=lambda: world.put(ref, "new", by=world.other)):
        await world.put(ref, "old")
    assert await world.stored(ref) == "new"
    assert await read(world.other, ref) == "new"


async def a_late_fill_is_kept_out_of_an_empty_place(world: Pair) -> None:
    """As before, but Redis has forgotten the newer write by the time the fill arrives."""
    (ref,) = await world.refs("note")
    await world.put(ref, "old")
    await world.evict(ref)

    async def overwrite_and_evict() -> None:
        await world.put(ref, "new", by=world.other)
        await world.evict(ref)

    with interposed(world.storage.attachment_table, "read", after=overwrite_and_evict):
        await read(world.storage, ref)
    assert await read(world.other, ref) == "new"


async def a_late_publication_is_kept_out_of_an_empty_place(world: Pair) -> None:
    """A publication comes after the deletion of what it publishes, whose tombstone has gone too."""
    (ref,) = await world.refs("note")

    async def delete_and_evict() -> None:
        await world.other.attachments.delete(ref, "b")
        await world.evict(ref)

    with interposed(world.storage.cache, "publish", before=delete_and_evict):
        await world.put(ref, "late")
    assert await read(world.other, ref) == GONE


async def a_publication_kept_out_keeps_out_what_is_older(world: Pair) -> None:
    """Redis forgets a write's lease; a reader gets one, reads what is there before the commit, and fills it in late."""
    (ref,) = await world.refs("note")
    await world.put(ref, "old")
    committed, reads = asyncio.Event(), []

    async def begin_to_read() -> None:
        await world.evict(ref)
        reads.append(await _begun(read(world.other, ref), world.other.cache, "fill", committed))

    with interposed(world.storage.intents, "begin", after=begin_to_read):
        await world.put(ref, "new")
    committed.set()
    await reads[0]
    assert await read(world.storage, ref) == "new"


async def a_task_kept_out_keeps_out_what_is_older(world: Pair) -> None:
    """As before, of the task itself."""
    task_id = await world.task()
    committed, reads = asyncio.Event(), []

    async def begin_to_read() -> None:
        await world.redis.delete(f"cb:task:{task_id}")
        reads.append(await _begun(world.other.tasks.get(task_id), task_cache(world.other), "fill", committed))

    async def finish_reading() -> None:
        committed.set()
        await reads[0]

    cache = task_cache(world.storage)
    with (
        interposed(world.storage.intents, "begin", after=begin_to_read),
        interposed(cache, "publish", after=finish_reading),
    ):
        await world.storage.tasks.update(task_id, TaskChanges(text="new"), "a")
    assert (await world.storage.tasks.get(task_id)).task.text == "new"


async def _begun(work: Awaitable[Any], target: object, method: str, release: asyncio.Event) -> asyncio.Task[Any]:
    """Begin some work and let it run until it calls a method, which waits for its release."""
    reached = asyncio.Event()

    async def wait() -> None:
        reached.set()
        await release.wait()

    async def run() -> Any:
        with interposed(target, method, before=wait):
            return await work

    task = asyncio.create_task(run())
    await reached.wait()
    return task


async def a_publication_after_an_eviction_leaves_no_gap_in_the_list(world: Pair) -> None:
    """What may not be put in for want of a lease must not be missing from an index that is believed."""
    first, second = await world.refs("first", "second")
    await world.put(first, "1")
    assert await keys(world.storage, first.task_id) == ["first"]
    with interposed(world.storage.cache, "publish", before=lambda: world.evict(second)):
        await world.put(second, "2")
    assert await keys(world.storage, first.task_id) == ["first", "second"]


async def a_late_fill_does_not_bring_back_what_was_deleted(world: Pair) -> None:
    """A reader has seen the row before it was deleted."""
    (ref,) = await world.refs("note")
    await world.put(ref, "old")
    assert await keys(world.storage, ref.task_id) == ["note"]
    await world.evict(ref)
    deletion = world.other.attachments.delete
    with interposed(world.storage.attachment_table, "read", after=lambda: deletion(ref, "b")):
        await read(world.storage, ref)
    assert await read(world.other, ref) == GONE
    assert await keys(world.other, ref.task_id) == []


async def nothing_to_delete_is_nothing_to_read(world: Pair) -> None:
    """A deletion is committed and not yet published; another is told that there is nothing left to delete."""
    (ref,) = await world.refs("note")
    await world.put(ref, "old")

    async def delete_and_read() -> None:
        assert await outcome(world.other.attachments.delete(ref, "b")) == GONE
        assert await read(world.other, ref) == GONE

    with interposed(world.storage.cache, "publish", before=delete_and_read):
        await world.storage.attachments.delete(ref, "a")


async def a_late_fill_does_not_outlive_its_task(world: Pair) -> None:
    """A reader has seen the row before its task was deleted."""
    (ref,) = await world.refs("note")
    await world.put(ref, "old")
    await world.evict(ref)
    deletion = world.other.tasks.delete
    with interposed(world.storage.attachment_table, "read", after=lambda: deletion(ref.task_id, "b")):
        await read(world.storage, ref)
    assert await read(world.other, ref) == NO_TASK


async def a_deletion_published_after_that_of_its_task_still_counts(world: Pair) -> None:
    """The key was deleted, then its task by another server, which publishes first."""
    (ref,) = await world.refs("note")
    await world.put(ref, "old")
    deletion = world.other.tasks.delete
    with interposed(world.storage.cache, "publish", before=lambda: deletion(ref.task_id, "b")):
        await world.storage.attachments.delete(ref, "a")
    assert await read(world.other, ref) == NO_TASK
