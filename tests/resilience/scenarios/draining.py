"""What was accepted without Postgres is drained into it when it returns (design/storage.md, "Postgres away")."""

from __future__ import annotations

import time

from affix_server.domain import JsonContent, TaskOrderBy, TaskQuery
from affix_server.errors import CircuitOpenError
from affix_server.storage.reconciler import STALE_MS
from affix_server.times import now_ms
from tests.resilience.inside import interposed, postgres_refused, task_cache
from tests.resilience.scenarios.pending import TEXT, drained
from tests.resilience.world import NO_TASK, Pair, keys, read
from tests.storage.outages import until

_NEWEST_TASKS = TaskQuery(None, None, None, 10, 0, TaskOrderBy.CREATED_AT, descending=True)


async def what_was_pending_has_a_time_limit_again(world: Pair) -> None:
    """Once it is settled, Redis may forget it like anything else."""
    (ref,) = await world.refs("note")
    assert await keys(world.storage, ref.task_id) == []
    with postgres_refused(world.storage):
        assert await world.put(ref, "x")
    await drained(world, ref)
    task = f"cb:task:{ref.task_id}"
    for name in (task, f"{task}:attachment:note", f"{task}:attachments", f"{task}:attachments:text"):
        assert await world.redis.ttl(name) > 0
    assert not await world.redis.exists(f"{task}:pending")


async def a_write_accepted_during_the_drain_arrives(world: Pair) -> None:
    """Postgres is back and a pending write is being drained when the next one of the same key is accepted."""
    (ref,) = await world.refs("note")
    await world.put(ref, "0")
    with interposed(world.storage.attachment_table, "drain", after=lambda: world.put(ref, "2")):
        with postgres_refused(world.storage):
            assert await world.put(ref, "1")
        await until(lambda: world.storage.postgres_circuit.is_closed)
    await drained(world, ref)
    assert await world.stored(ref) == "2"


async def a_write_accepted_after_the_drain_arrives(world: Pair) -> None:
    """A write has begun when another server drains the one before it, and is accepted only then."""
    (ref,) = await world.refs("note")
    await world.put(ref, "0")
    drain = world.other.reconciler.reconcile
    with postgres_refused(world.storage):
        assert await world.put(ref, "1")
        with interposed(world.storage.intents, "begin", after=lambda: drain(now_ms() - STALE_MS, recent_ms=0)):
            assert await world.put(ref, "2")
    await drained(world, ref)
    assert await world.stored(ref) == "2"


async def revisions_keep_close_to_the_clock(world: Pair) -> None:
    """However many writes are pending: other servers would take what is far in the future for theirs to obey."""
    refs = await world.refs(*(f"k{number}" for number in range(500)))
    with postgres_refused(world.storage):
        for ref in refs:  # one after the other, so that each is a statement of its own
            assert await world.put(ref, "1")
        ahead = (await world.storage.attachments.get(refs[-1])).revision / 1e6 - time.time()
        assert ahead < 5
    await drained(world, *refs)
    for ref in refs[-20:]:
        assert not await world.put(ref, "2", by=world.other)
    (new,) = await world.refs("new")
    created = await world.storage.attachments.create(new, TEXT, "a")
    assert abs(created.created_at / 1e3 - time.time()) < 5


async def one_bad_pending_write_keeps_no_other_from_arriving(world: Pair) -> None:
    """Postgres refuses one of those that wait for it, as another program may have put it there."""
    bad, good = await world.refs("bad", "good")
    with postgres_refused(world.storage):
        assert (await world.storage.attachments.create(bad, JsonContent("{no json"), "a")).pending
        assert await world.put(good, "1")
    await drained(world, good)
    assert await world.stored(good) == "1"


async def postgres_is_not_asked_before_it_is_up_to_date(world: Pair) -> None:
    """It is back, and a list of tasks, which Postgres alone answers, is asked for before the drain."""
    (ref,) = await world.refs("note")
    counted: list[int] = []

    async def count() -> None:
        try:
            page = await world.storage.tasks.list(_NEWEST_TASKS)
        except CircuitOpenError:
            return
        counted.extend(one.attachment_count for one in page.tasks if one.task.id == ref.task_id)

    with interposed(world.storage.attachment_table, "drain", before=count):
        with postgres_refused(world.storage):
            assert await world.put(ref, "1")
        await drained(world, ref)
    assert counted in ([], [1])
    await count()
    assert counted[-1] == 1


async def nothing_of_a_deleted_task_is_drained(world: Pair) -> None:
    """Another server has deleted it in Postgres, and not yet in Redis; the content would be in Postgres for good."""
    (ref,) = await world.refs("note")
    drain = world.other.reconciler.reconcile
    with postgres_refused(world.storage):
        assert await world.put(ref, "planted-content")
        with interposed(task_cache(world.other), "publish", before=lambda: drain(now_ms(), recent_ms=0)):
            await world.other.tasks.delete(ref.task_id, "b")
    assert await world.stored(ref) is None
    assert await read(world.other, ref) == NO_TASK
