"""A Redis that comes back, and may be older than it was (design/storage.md, "Redis away")."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from tests.resilience.inside import Hook, interposed, postgres_refused, redis_unreachable
from tests.resilience.scenarios.pending import drained
from tests.resilience.world import GONE, Pair, keys, outcome, read

_SECOND = 1_000_000


async def a_failed_publication_is_made_up_for(world: Pair) -> None:
    """Redis goes away between commit and publication, later than everybody has found it well."""
    (ref,) = await world.refs("note")
    await world.put(ref, "1")
    with ExitStack() as outage:

        async def later() -> None:
            revision = await world.sql.fetchval("SELECT revision FROM task_attachments WHERE task_id = $1", ref.task_id)
            while int(await world.redis.get("cb:heartbeat") or 0) <= revision:
                await asyncio.sleep(0.02)
            outage.enter_context(redis_unreachable(world.storage))

        with interposed(world.storage.cache, "publish", before=later):
            await world.put(ref, "2")
    await world.both_believe()
    assert await read(world.other, ref) == "2"


async def a_refused_publication_is_made_up_for(world: Pair) -> None:
    """Redis becomes a replica between commit and publication: it answers, and takes nothing more."""
    (ref,) = await world.refs("note")
    await world.put(ref, "1")
    async with _demoted(world) as demote:
        with interposed(world.storage.cache, "publish", before=demote):
            assert await outcome(world.put(ref, "2")) == "done"
        assert await read(world.storage, ref) == "2"
        assert await read(world.other, ref) == "2"
    await world.both_believe()
    assert await read(world.other, ref) == "2"


async def a_redis_that_takes_nothing_is_done_without(world: Pair) -> None:
    """It has become a replica of another, to which nobody has led us, and stays one for a while."""
    (ref,) = await world.refs("note")
    await world.put(ref, "1")
    async with _demoted(world) as demote:
        await demote()
        for text in ("2", "3", "4"):
            assert await outcome(world.put(ref, text)) == "done"
            assert await read(world.storage, ref) == text
            assert await read(world.other, ref) == text
    await world.both_believe()
    assert await read(world.other, ref) == "4"


@asynccontextmanager
async def _demoted(world: Pair) -> AsyncIterator[Hook]:
    """Lend what makes Redis a replica, of nobody, that answers and refuses to write; in the end it is none any more."""

    async def demote() -> None:
        await world.redis.replicaof("127.0.0.1", 1)

    try:
        yield demote
    finally:
        await world.redis.replicaof("NO", "ONE")


async def redis_is_not_believed_before_a_write_past_it_is_over(world: Pair) -> None:
    """A write waits in Postgres while Redis comes back."""
    (ref,) = await world.refs("note")
    await world.put(ref, "1")
    lock = world.sql.transaction()
    await lock.start()
    await world.sql.execute("SELECT FROM task_attachments WHERE task_id = $1 FOR UPDATE", ref.task_id)
    world.storage.trust.doubt()
    writing = asyncio.create_task(world.put(ref, "2"))
    async with asyncio.timeout(5):
        for _ in range(25):  # half a second: an operation on Postgres gives up after 0.8
            await asyncio.sleep(0.02)
            if world.storage.trust.believed:
                break
    await lock.commit()
    assert not await writing
    assert await read(world.storage, ref) == "2"


async def what_a_restored_redis_lacks_is_published_again(world: Pair) -> None:
    """The snapshot is a minute and a half old; a write of a minute ago is not in it."""
    (ref,) = await world.refs("note")
    await world.put(ref, "1")
    name = f"cb:task:{ref.task_id}:attachment:note"
    await _copy(world, name)
    await world.put(ref, "2")
    with redis_unreachable(world.storage), redis_unreachable(world.other):
        await world.sql.execute("UPDATE task_attachments SET revision = revision - $1::bigint", 60 * _SECOND)
        await _go_back(world, name)
        await world.redis.hset(name, "revision", int(await world.redis.hget(name, "revision") or 0) - 120 * _SECOND)
        await _age_heartbeat(world, 90)
    await world.both_believe()
    assert await read(world.other, ref) == "2"


async def a_redis_older_than_tombstones_is_forgotten(world: Pair) -> None:
    """What it has may have been deleted, and the tombstone purged: only what is pending is kept."""
    ref, pending = await world.refs("note", "pending")
    await world.put(ref, "1")
    with postgres_refused(world.storage):
        await world.put(pending, "kept")
    world.storage.postgres_circuit.close()
    with redis_unreachable(world.storage), redis_unreachable(world.other):
        await world.sql.execute("DELETE FROM task_attachments")
        await _age_heartbeat(world, 20 * 60)
    await world.both_believe()
    await drained(world, pending)
    assert await read(world.other, ref) == GONE
    assert await keys(world.other, ref.task_id) == ["pending"]
    assert await world.stored(pending) == "kept"


async def an_answer_begun_before_a_failover_is_not_finished_after_it(world: Pair) -> None:
    """A list is asked for twice: in between, Redis is replaced by what it was a while ago."""
    first, second = await world.refs("first", "second")
    await world.put(first, "1")
    assert await keys(world.storage, first.task_id) == ["first"]
    names = [f"cb:task:{first.task_id}:attachment:first", f"cb:task:{first.task_id}:attachments"]
    await _copy(world, *names)
    await world.put(second, "2")
    await world.evict_indexes(first.task_id)

    async def failover() -> None:
        with redis_unreachable(world.storage):
            await _go_back(world, *names)
            await world.evict(second)

    with interposed(world.storage.cache, "build_index", after=failover):
        assert await keys(world.storage, first.task_id) == ["first", "second"]


async def a_server_that_does_without_redis_is_waited_for(world: Pair) -> None:
    """One server stays cut off; the other, however often it looks at a Redis that is well, does not believe it."""
    (ref,) = await world.refs("note")
    await world.put(ref, "0")
    with redis_unreachable(world.storage):
        await world.put(ref, "0")
        for number in range(1, 3):
            for _ in range(40):  # a few of its rounds
                await asyncio.sleep(0.02)
                assert not world.other.trust.believed
            await world.put(ref, str(number))
            assert await read(world.other, ref) == str(number)


async def _copy(world: Pair, *names: str) -> None:
    """Keep what some keys hold, as a snapshot or a replica does."""
    for name in names:
        await world.redis.copy(name, f"old:{name}")


async def _go_back(world: Pair, *names: str) -> None:
    """Make some keys what they were."""
    for name in names:
        await world.redis.rename(f"old:{name}", name)


async def _age_heartbeat(world: Pair, seconds: int) -> None:
    await world.redis.set("cb:heartbeat", int(await world.redis.get("cb:heartbeat") or 0) - seconds * _SECOND)
