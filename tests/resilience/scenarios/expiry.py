"""What has expired is gone at that moment, and is deleted once (docs/decisions/0021)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest.mock import patch

from affix_server.domain import Ref, TextContent
from affix_server.storage.expiry import Expiry
from tests.resilience.inside import attachment_writing, interposed, postgres_refused, redis_unreachable
from tests.resilience.scenarios.pending import drained
from tests.resilience.watchers import watched
from tests.resilience.world import GONE, Pair, eventually, keys, read
from tests.storage.outages import dead

_SOON_MS = 250


async def _put(world: Pair, ref: Ref, *, lasts_ms: int = _SOON_MS) -> int:
    """Store what is to be gone soon, and return when."""
    attachments = world.storage.attachments
    moment = attachments.now_ms() + lasts_ms
    await attachments.create(ref, TextContent("x"), "a", expires_at=moment)
    return moment


async def _until(world: Pair, moment: int) -> None:
    while min(storage.attachments.now_ms() for storage in world.servers) < moment:
        await asyncio.sleep(0.01)


async def _counts(world: Pair, ref: Ref) -> list[int]:
    return [(await storage.tasks.get(ref.task_id)).attachment_count for storage in world.servers]


@asynccontextmanager
async def _undeleted() -> AsyncIterator[None]:
    """Keep what has expired where it is."""

    async def nothing(_: Expiry) -> int:
        return 0

    with patch.object(Expiry, "sweep", nothing):
        await asyncio.sleep(0.05)  # those that are under way
        yield


async def what_has_expired_is_gone_before_it_is_deleted(world: Pair) -> None:
    """From Redis, from an index, from a page of summaries, from Postgres, and from an index built anew."""
    stays, goes = await world.refs("stays", "goes")
    async with _undeleted():
        await world.put(stays, "1")
        assert await keys(world.other, goes.task_id) == ["stays"]
        moment = await _put(world, goes)
        assert await keys(world.other, goes.task_id) == ["stays", "goes"]
        await _until(world, moment)
        for lost in ("nothing", "the entry", "the indexes"):
            if lost == "the entry":
                await world.evict(goes)
            elif lost == "the indexes":
                await world.evict_indexes(goes.task_id)
            # First the number: a list that is not as it should be mends the index.
            assert await _counts(world, goes) == [1, 1]
            for storage in world.servers:
                assert await read(storage, goes) == GONE
                assert await keys(storage, goes.task_id) == ["stays"]
                batch = await storage.attachments.batch_get([stays, goes], allow_missing=True)
                assert [one is not None for one in batch] == [True, False]
        with redis_unreachable(world.storage):
            assert await read(world.storage, goes) == GONE
            assert await keys(world.storage, goes.task_id) == ["stays"]
        assert await world.stored(goes) == "x"


async def what_has_expired_is_deleted_from_both_stores(world: Pair) -> None:
    """With nobody asking for it."""
    (ref,) = await world.refs("goes")
    await _put(world, ref)

    async def deleted() -> bool:
        return await world.stored(ref) is None and not await world.redis.hexists(
            f"cb:task:{ref.task_id}:attachment:goes", "content"
        )

    await eventually(deleted)


async def an_end_that_comes_too_late_ends_nothing(world: Pair) -> None:
    """It was found to have expired, and is written anew before it is deleted."""
    (ref,) = await world.refs("note")
    async with _undeleted():
        await _until(world, await _put(world, ref))
        found = await world.other.attachment_table.expired(10)
        assert found == [ref]
        await world.put(ref, "2")
        assert not await attachment_writing(world.other).end(ref)
        assert await read(world.other, ref) == "2"


async def an_end_that_meets_a_writer_ends_nothing_new(world: Pair) -> None:
    """The statement that ends it has begun; another writer ends it, and writes, before the statement gets there."""
    (ref,) = await world.refs("note")
    async with _undeleted():
        await _until(world, await _put(world, ref))

        async def write_first() -> None:
            await world.put(ref, "2")

        with interposed(world.other.attachment_table, "write", before=write_first):
            await attachment_writing(world.other).end(ref)
        assert await read(world.other, ref) == "2"
        assert await world.stored(ref) == "2"


async def what_takes_its_place_is_new(world: Pair) -> None:
    """Whoever writes over what has expired creates; what watchers hear is a deletion, then a creation."""
    (ref,) = await world.refs("note")
    async with _undeleted(), watched(world.other, ref.task_id) as told:
        moment = await _put(world, ref)
        old = (await world.storage.attachments.get(ref)).id
        await _until(world, moment)
        created = await world.storage.attachments.create(ref, TextContent("2"), "b")
        assert created.id != old
        assert (await world.storage.attachments.get(ref)).created_by == "b"
        await told.so_many(3)
        assert told.kinds == ["created", "deleted", "created"]


async def without_postgres_it_is_gone_all_the_same(world: Pair) -> None:
    """Written and expired, and its place taken, while Postgres is away."""
    goes, again = await world.refs("goes", "again")
    assert await keys(world.storage, goes.task_id) == []
    async with dead(world.postgres):
        moment = max([await _put(world, ref) for ref in (goes, again)])
        old = (await world.storage.attachments.get(again)).id
        await _until(world, moment)
        for storage in world.servers:
            assert [await read(storage, ref) for ref in (goes, again)] == [GONE, GONE]
            assert await keys(storage, goes.task_id) == []
        assert await world.put(again, "2")
        assert (await world.storage.attachments.get(again)).id != old
    await drained(world, goes, again)
    assert [await read(world.other, ref) for ref in (goes, again)] == [GONE, "2"]

    async def deleted() -> bool:
        return await world.stored(goes) is None

    await eventually(deleted)


async def what_has_expired_lends_its_identity_to_nothing(world: Pair) -> None:
    """Redis had lost it, so what was accepted without Postgres would have given way to what Postgres has."""
    (ref,) = await world.refs("note")
    async with _undeleted():
        moment = await _put(world, ref)
        old = (await world.storage.attachments.get(ref)).id
        await world.evict(ref)
        await world.evict_indexes(ref.task_id)
        await _until(world, moment)
        with postgres_refused(world.storage), postgres_refused(world.other):
            assert await world.put(ref, "2")
        await drained(world, ref)
        assert (await world.storage.attachments.get(ref)).id != old
