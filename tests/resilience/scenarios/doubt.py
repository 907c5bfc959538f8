"""A Redis that was away is brought up to date before it is believed (design/storage.md, "Redis away")."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from unittest.mock import patch

from prometheus_client import CollectorRegistry

from affix_server.domain import Ref
from affix_server.storage.postgres.doubts import DoubtTable, Stage
from affix_server.stores import open_storage
from tests.resilience.inside import database, interposed, postgres_refused, redis_unreachable
from tests.resilience.world import GONE, NO_TASK, Pair, keys, read
from tests.storage.outages import dead, frozen, until

# A watch over Redis that is under way when it is made to hang ends within this.
_HANGS_WITHIN_SECONDS = 0.3


async def a_thawed_redis_is_not_believed_at_once(world: Pair) -> None:
    """What was written past a frozen Redis is what is read when it thaws."""
    (ref,) = await world.refs("note")
    await world.put(ref, "1")
    async with frozen(world.valkey):
        assert not await world.put(ref, "2")
    assert await read(world.storage, ref) == "2"
    assert await read(world.other, ref) == "2"
    await world.both_believe()
    assert await read(world.storage, ref) == "2"


async def what_redis_missed_is_published_again(world: Pair) -> None:
    """Overwritten, created and deleted while Redis was dead: all of it is in Redis before it is believed."""
    note, gone, new = await world.refs("note", "gone", "new")
    await world.put(note, "1")
    await world.put(gone, "1")
    assert await keys(world.storage, note.task_id) == ["note", "gone"]
    async with dead(world.valkey):
        await world.put(note, "2")
        await world.put(new, "3")
        await world.storage.attachments.delete(gone, "a")
    await world.both_believe()
    assert await keys(world.other, note.task_id) == ["note", "new"]
    with postgres_refused(world.storage), postgres_refused(world.other):
        assert [await read(world.other, ref) for ref in (note, gone)] == ["2", GONE]


async def a_task_deleted_past_redis_takes_its_attachments_along(world: Pair) -> None:
    """Its entries are still in Redis when that returns."""
    (ref,) = await world.refs("note")
    await world.put(ref, "1")
    async with dead(world.valkey):
        await world.storage.tasks.delete(ref.task_id, "a")
    await world.both_believe()
    assert await read(world.storage, ref) == NO_TASK


async def nobody_believes_a_redis_that_one_writes_past(world: Pair) -> None:
    """One server is cut off from Redis; when its write is acknowledged, the other knows."""
    (ref,) = await world.refs("note")
    await world.put(ref, "1")
    assert await read(world.other, ref) == "1"
    with redis_unreachable(world.storage):
        assert not await world.put(ref, "2")
        assert await read(world.other, ref) == "2"
        await asyncio.sleep(0.5)
        assert await read(world.other, ref) == "2"
    await world.both_believe()
    assert await read(world.other, ref) == "2"


async def nobody_goes_back_behind_a_read_past_redis(world: Pair) -> None:
    """One server reads in Postgres what another has committed and not yet published; others still have the old one."""
    (ref,) = await world.refs("note")
    await world.put(ref, "1")

    async def read_past_redis() -> None:
        with redis_unreachable(world.storage):
            assert await read(world.storage, ref) == "2"
            assert await read(world.other, ref) == "2"

    with interposed(world.other.cache, "publish", before=read_past_redis):
        await world.put(ref, "2", by=world.other)


async def a_server_whose_circuit_is_open_hears_of_doubt_too(world: Pair) -> None:
    """Postgres is well again, but one server has not probed it yet, when another is cut off from Redis."""
    (ref,) = await world.refs("note")
    await world.put(ref, "1")
    with postgres_refused(world.other), redis_unreachable(world.storage):
        assert not await world.put(ref, "2")
        assert await read(world.other, ref) != "1"


async def a_redis_believed_without_postgres_is_caught_up_with_it(world: Pair) -> None:
    """Redis comes back older than it was while a server is without Postgres; then that is back too."""
    (ref,) = await world.refs("note")
    await world.put(ref, "1")
    name = f"cb:task:{ref.task_id}:attachment:note"
    await world.redis.copy(name, "old")
    await world.put(ref, "2")
    with postgres_refused(world.storage), postgres_refused(world.other):
        with redis_unreachable(world.storage), redis_unreachable(world.other):
            await world.redis.rename("old", name)
        await world.both_believe()
        hangs = asyncio.Event()
        keep = patch.object(world.storage.watch, "_keep", hangs.wait)
        keep.start()
        await asyncio.sleep(0.5)  # until it hangs: it must not be what keeps Redis from being believed
    await until(lambda: world.storage.postgres_circuit.is_closed)
    answer = asyncio.create_task(read(world.storage, ref))
    await asyncio.sleep(0.1)
    keep.stop()
    hangs.set()
    assert await answer == "2"


async def a_load_is_shared_only_by_those_it_is_fresh_for(world: Pair) -> None:
    """A reader waits for a load that began before a write that Redis has forgotten since."""
    (ref,) = await world.refs("note")
    await world.put(ref, "old")
    await world.evict(ref)
    late = []

    async def overwrite_and_read_again() -> None:
        await world.put(ref, "new", by=world.other)
        await world.evict(ref)
        late.append(asyncio.create_task(read(world.storage, ref)))
        await asyncio.sleep(0.1)

    with interposed(world.storage.attachment_table, "read", after=overwrite_and_read_again):
        await read(world.storage, ref)
    assert await late[0] == "new"


async def a_server_that_has_not_looked_does_not_believe(world: Pair) -> None:
    """A server's watch over Redis hangs; a second later it answers nothing, so that others can write past Redis."""
    (ref,) = await world.refs("note")
    await world.put(ref, "1")
    hangs = asyncio.Event()
    with patch.object(world.other.watch, "_keep", hangs.wait):
        await asyncio.sleep(_HANGS_WITHIN_SECONDS)
        with redis_unreachable(world.storage):
            assert not await world.put(ref, "2")
            answer = asyncio.create_task(read(world.other, ref))
            await asyncio.sleep(0.1)
            hangs.set()
            assert await answer == "2"


async def an_answer_that_took_too_long_is_not_given(world: Pair) -> None:
    """A server has read from Redis, and holds the answer for as long as it takes another to write past Redis."""
    (ref,) = await world.refs("note")
    await world.put(ref, "1")
    hangs = asyncio.Event()

    async def write_past() -> None:
        with redis_unreachable(world.storage):
            assert not await world.put(ref, "2")
        hangs.set()

    with patch.object(world.other.watch, "_keep", hangs.wait):
        await asyncio.sleep(_HANGS_WITHIN_SECONDS)
        with interposed(world.other.cache, "look", after=write_past):
            assert await read(world.other, ref) == "2"


async def a_server_that_was_busy_does_not_blame_redis(world: Pair) -> None:
    """For longer than a reply may take it did not listen; the replies were there."""
    (ref,) = await world.refs("note")
    await world.put(ref, "1")
    epoch, answer = world.storage.trust.epoch, asyncio.create_task(read(world.storage, ref))
    await asyncio.sleep(0)
    time.sleep(0.6)  # noqa: ASYNC251 - so is it busy
    assert await answer == "1"
    await asyncio.sleep(0.3)
    assert world.storage.trust.epoch == epoch
    assert world.storage.trust.believed


async def nobody_reads_past_a_redis_that_others_believe(world: Pair) -> None:
    """A server that has not looked for a while sees in Postgres what others have not published yet."""
    (ref,) = await world.refs("note")
    await world.put(ref, "1")
    hangs = asyncio.Event()
    reads = _Reads(world, ref)
    with patch.object(world.other.watch, "_keep", hangs.wait):
        await asyncio.sleep(1.5)
        with interposed(world.storage.cache, "publish", before=reads.at_both):
            await world.put(ref, "2")
        hangs.set()
    assert reads.in_order


async def all_believe_together(world: Pair) -> None:
    """One server believes Redis again a moment before the other; meanwhile that one does not read past it."""
    (ref,) = await world.refs("note")
    await world.put(ref, "1")
    reads = _Reads(world, ref)

    async def write() -> None:
        await until(lambda: world.storage.trust.believed)
        with interposed(world.storage.cache, "publish", before=reads.at_both):
            await world.put(ref, "2")

    with interposed(world.other.watch, "_believe", before=write):
        with redis_unreachable(world.storage):
            assert await read(world.storage, ref) == await read(world.other, ref) == "1"
        await world.both_believe()
    assert reads.in_order


async def what_postgres_hears_late_about_doubt_undoes_nothing(world: Pair) -> None:
    """A server doubts anew; what it announced before that, and was given up, is executed only then."""
    anew, before = DoubtTable(database(world.storage), "third"), DoubtTable(database(world.storage), "third")
    for _ in range(2):
        await anew.announce(0, Stage.AWAY)
    await before.announce(0, Stage.WAITING)
    others = await DoubtTable(database(world.other), "fourth").others()
    assert others is not None
    assert others.stage is Stage.AWAY


class _Reads:
    """Reads at two servers, one after the other: what one answers, the other must not go back behind."""

    def __init__(self, world: Pair, ref: Ref) -> None:
        self._world = world
        self._ref = ref
        self.in_order = False

    async def at_both(self) -> None:
        first = asyncio.create_task(read(self._world.other, self._ref))
        await asyncio.wait((first,), timeout=0.3)  # it may wait
        answered = first.result() if first.done() else None
        first.cancel()
        self.in_order = answered in {None, await read(self._world.storage, self._ref)}


async def a_server_starts_while_another_is_cut_off(world: Pair) -> None:
    """It cannot believe Redis yet, but it need not wait for that to serve."""
    (ref,) = await world.refs("note")
    with redis_unreachable(world.storage):
        await world.put(ref, "1")
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(3):
                    third = await open_storage(world.settings, CollectorRegistry(), stack)
            except TimeoutError:
                raise AssertionError("it waits") from None
            assert await read(third, ref) == "1"


async def a_load_is_not_shared_after_a_write_of_the_same_server(world: Pair) -> None:
    """As before, but the write was the reader's own server's."""
    (ref,) = await world.refs("note")
    await world.put(ref, "old")
    await world.evict(ref)
    late = []

    async def overwrite_and_read_again() -> None:
        await world.put(ref, "new")
        await world.evict(ref)
        late.append(asyncio.create_task(read(world.storage, ref)))
        await asyncio.sleep(0.1)

    with interposed(world.storage.attachment_table, "read", after=overwrite_and_read_again):
        await read(world.storage, ref)
    assert await late[0] == "new"
