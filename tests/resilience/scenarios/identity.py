"""`id` and `createdAt` of a key are the same from both stores and across flushes (design/storage.md, invariant 5)."""

from __future__ import annotations

from affix_server.domain import Ref, TextContent
from affix_server.stores import Storage
from tests.resilience.inside import postgres_refused
from tests.resilience.scenarios.pending import drained
from tests.resilience.world import Pair


async def an_overwrite_keeps_the_identity(world: Pair) -> None:
    """From whichever store it is read."""
    (ref,) = await world.refs("note")
    first = await world.storage.attachments.create(ref, TextContent("1"), "a")
    await world.put(ref, "2", by=world.other)
    assert await _identity(world.storage, ref) == (first.id, first.created_at, "a")
    await world.redis.flushall()
    assert await _identity(world.other, ref) == (first.id, first.created_at, "a")


async def a_provisional_identity_gives_way(world: Pair) -> None:
    """Redis could neither find nor deny the key when the write was accepted; Postgres had it."""
    (ref,) = await world.refs("note")
    first = await world.storage.attachments.create(ref, TextContent("1"), "a")
    await world.evict(ref)
    with postgres_refused(world.storage):
        second = await world.storage.attachments.create(ref, TextContent("2"), "b")
        assert second.pending
        # Overwritten again: it is still not known whose identity it is.
        third = await world.storage.attachments.create(ref, TextContent("3"), "c")
        assert third.id == second.id
        for storage in (world.storage, world.other):
            assert (await _identity(storage, ref))[0] == second.id
    await drained(world, ref)
    for storage in (world.storage, world.other):
        assert await _identity(storage, ref) == (first.id, first.created_at, "a")
        await world.redis.flushall()


async def a_known_identity_does_not_give_way(world: Pair) -> None:
    """A complete index denied the key: what is created without Postgres is new, and so is its identity."""
    (ref,) = await world.refs("note")
    first = await world.storage.attachments.create(ref, TextContent("1"), "a")
    await world.storage.attachments.delete(ref, "a")
    with postgres_refused(world.storage):
        second = await world.storage.attachments.create(ref, TextContent("2"), "b")
    await drained(world, ref)
    assert second.id != first.id
    await world.redis.flushall()
    assert await _identity(world.other, ref) == (second.id, second.created_at, "b")


async def _identity(storage: Storage, ref: Ref) -> tuple[str, int, str]:
    found = await storage.attachments.get(ref)
    return found.id, found.created_at, found.created_by
