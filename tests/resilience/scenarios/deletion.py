"""Nothing deleted comes back from Postgres (design/storage.md, invariant 3)."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

import psutil

from affix_server.domain import Ref, TextContent
from affix_server.storage.entries import Write
from affix_server.storage.postgres import attachments
from affix_server.times import now_ms
from tests.resilience.inside import interposed, postgres_refused, purge_soon, redis_unreachable
from tests.resilience.scenarios.pending import drained
from tests.resilience.world import GONE, Pair, eventually, outcome, read
from tests.storage.outages import until

_WRITING = """
SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%too_late%' AND pid <> pg_backend_pid()
"""
_BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


async def a_late_drain_does_not_bring_back_what_was_deleted(world: Pair) -> None:
    """One server drains a pending write that another has overwritten and deleted in between."""
    (ref,) = await world.refs("note")

    async def overwrite_and_delete() -> None:
        await world.put(ref, "newer", by=world.other)
        await world.other.attachments.delete(ref, "b")

    with interposed(world.storage.attachment_table, "drain", before=overwrite_and_delete):
        with postgres_refused(world.storage):
            assert await world.put(ref, "pending")
        await until(lambda: world.storage.postgres_circuit.is_closed)
    await drained(world, ref)
    await world.evict(ref)
    assert await read(world.storage, ref) == GONE


async def a_write_does_not_outlive_its_task(world: Pair) -> None:
    """A write has found its task and waits for the row of its key, when the task is deleted."""
    (ref,) = await world.refs("note")
    await world.put(ref, "old")
    await world.storage.attachments.delete(ref, "a")  # the task's deletion passes by a tombstone
    await _delete_task_during(world, ref, lambda: outcome(world.put(ref, "late")))


async def a_drain_does_not_outlive_its_task(world: Pair) -> None:
    """As before, but the write was accepted without Postgres."""
    (ref,) = await world.refs("note")
    await world.put(ref, "old")
    await world.storage.attachments.delete(ref, "a")
    with postgres_refused(world.storage):
        assert await world.put(ref, "late")
        drain = world.other.reconciler.reconcile
        await _delete_task_during(world, ref, lambda: drain(now_ms(), recent_ms=0))


async def _delete_task_during(world: Pair, ref: Ref, write: Callable[[], Awaitable[object]]) -> None:
    """Hold the row of a key until a write waits for it and a deletion of the task is done or waits too."""
    lock = world.sql.transaction()
    await lock.start()
    await world.sql.execute("SELECT FROM task_attachments WHERE task_id = $1 AND key = $2 FOR UPDATE", *ref)
    # On a busy machine it may wait for longer than a statement may take, and be given up.
    writing = asyncio.ensure_future(outcome(write()))
    await _waiting_for_locks(world, 1, writing)
    deleting = asyncio.ensure_future(outcome(world.other.tasks.delete(ref.task_id, "b")))
    await _waiting_for_locks(world, 2, deleting)
    await lock.commit()
    await asyncio.gather(writing, deleting)
    left = await world.sql.fetchval(
        "SELECT count(*) FROM task_attachments a JOIN tasks t ON t.id = a.task_id "
        "WHERE t.id = $1 AND t.deleted_at IS NOT NULL AND a.deleted_at IS NULL",
        ref.task_id,
    )
    assert left == 0


async def _waiting_for_locks(world: Pair, count: int, call: asyncio.Future[Any]) -> None:
    while not call.done() and await world.sql.fetchval(_BLOCKED) < count:
        await asyncio.sleep(0.01)


async def a_statement_given_up_does_not_undo_what_followed(world: Pair) -> None:
    """A backend freezes with a statement; by the time it thaws, the write was accepted, drained and overwritten."""
    (ref,) = await world.refs("note")
    await world.put(ref, "1")
    async with _frozen_with_the_next_write(world):
        assert await world.put(ref, "2")
        await world.storage.reconciler.reconcile(now_ms(), recent_ms=0)
        assert await world.stored(ref) == "2"
        assert not await world.put(ref, "3")
    assert await world.stored(ref) == "3"


async def a_statement_given_up_does_nothing_after_a_while(world: Pair) -> None:
    """As before, but the write could not be accepted; what became of it is settled before the backend thaws."""
    (ref,) = await world.refs("note")
    await world.put(ref, "1")
    async with _frozen_with_the_next_write(world):
        await world.redis.delete(f"cb:task:{ref.task_id}")  # without it nobody can tell whether the task exists
        assert await outcome(world.put(ref, "2")) == "StorageUnavailableError"
        await asyncio.sleep(1.5)  # until the fence: an operation's time and a second after it was sent
    assert await world.stored(ref) == "1"


async def what_was_accepted_wins_over_what_was_given_up(world: Pair) -> None:
    """As before, but the backend thaws before anything of what was accepted is drained."""
    (ref,) = await world.refs("note")
    await world.put(ref, "1")
    async with _frozen_with_the_next_write(world):
        assert await world.put(ref, "2")
        with postgres_refused(world.storage):
            assert await world.put(ref, "3")
    await drained(world, ref)
    assert await world.stored(ref) == "3"


async def a_statement_given_up_creates_nothing_after_a_while(world: Pair) -> None:
    """As before, and there is no row whose revision could keep it out."""
    (ref,) = await world.refs("note")
    async with _frozen_with_the_next_write(world):
        await world.redis.delete(f"cb:task:{ref.task_id}")
        assert await outcome(world.put(ref, "1")) == "StorageUnavailableError"
        await asyncio.sleep(1.5)
    assert await world.row(ref) is None


async def a_statement_that_waited_too_long_does_nothing(world: Pair) -> None:
    """It began in time, and waited for its row until long after it was given up."""
    (ref,) = await world.refs("note")
    await world.put(ref, "1")
    await world.redis.delete(f"cb:task:{ref.task_id}")
    lock = world.sql.transaction()
    await lock.start()
    await world.sql.execute("SELECT FROM task_attachments WHERE task_id = $1 AND key = $2 FOR UPDATE", *ref)
    assert await outcome(world.put(ref, "2")) == "StorageUnavailableError"
    await asyncio.sleep(1.5)
    await lock.commit()

    async def over() -> bool:
        return not await world.sql.fetchval(_WRITING)

    await eventually(over)
    assert await world.stored(ref) == "1"


@asynccontextmanager
async def _frozen_with_the_next_write(world: Pair) -> AsyncIterator[None]:
    """Stop the backend that gets the next write statement, and let it do its worst at the end of the block."""
    real = attachments.write_attachments
    stopped: list[int] = []
    (scratch,) = await world.refs("scratch")

    async def freezing(connection: Any, writes: Any, revisions: Any, fence: int) -> Any:
        if not stopped:
            # Once, so that the statement is prepared; the next time it leaves in one go.
            await real(connection, [Write(scratch, TextContent("x"), "a")], revisions, fence)
            stopped.append(connection.get_server_pid())
            os.kill(stopped[0], signal.SIGSTOP)
        return await real(connection, writes, revisions, fence)

    with patch.object(attachments, "write_attachments", freezing):
        try:
            yield
        finally:
            os.kill(stopped[0], signal.SIGCONT)
        await until(lambda: not psutil.pid_exists(stopped[0]))


async def an_old_tombstone_is_purged(world: Pair) -> None:
    """It has done its work after ten minutes."""
    ref = await _old_tombstone(world)
    purge_soon(world.storage)

    async def purged() -> bool:
        return await world.row(ref) is None

    await eventually(purged, 2)


async def no_tombstone_is_purged_that_redis_may_need(world: Pair) -> None:
    """One server cannot reach it; it may still have what was deleted."""
    ref = await _old_tombstone(world)
    with redis_unreachable(world.other):
        await until(lambda: not world.storage.trust.believed and not world.other.trust.believed)
        for storage in (world.storage, world.other):
            purge_soon(storage)
        await asyncio.sleep(1.2)  # twice the reconciler's round
        assert await world.row(ref) is not None


async def _old_tombstone(world: Pair) -> Ref:
    (ref,) = await world.refs("note")
    await world.put(ref, "old")
    await world.storage.attachments.delete(ref, "a")
    await world.sql.execute("UPDATE task_attachments SET deleted_at = now() - interval '11 minutes'")
    return ref


async def the_content_of_what_was_deleted_is_nowhere(world: Pair) -> None:
    """Deleted directly, and without Postgres: neither store holds it in any form once that is settled."""
    direct, pending = await world.refs("direct", "pending")
    for ref in (direct, pending):
        await world.put(ref, f"{_PLANTED} of {ref.key}")
        await world.storage.attachments.get(ref)
    assert await _found(world) == {"direct", "pending"}
    await world.storage.attachments.delete(direct, "a")
    assert await _found(world) == {"pending"}
    with postgres_refused(world.storage):
        assert (await world.storage.attachments.delete(pending, "a")).pending
    await drained(world, pending)
    assert await _found(world) == set()


_PLANTED = "planted text"
_READ = {"hash": "hgetall", "stream": "xrange", "set": "smembers", "string": "get", "list": "lrange", "zset": "zrange"}


async def _found(world: Pair) -> set[str]:
    """Look through all of both stores for contents with the secret."""
    held = [str(record["row"]) for record in await world.sql.fetch("SELECT a::text AS row FROM task_attachments a")]
    held += [str(record["row"]) for record in await world.sql.fetch("SELECT t::text AS row FROM tasks t")]
    for name in await world.redis.keys("*"):
        kind = str(await world.redis.type(name))
        whole = (0, -1) if kind in {"list", "zset"} else ()
        held.append(str(await getattr(world.redis, _READ[kind])(name, *whole)))
    return {key for key in ("direct", "pending") if any(f"{_PLANTED} of {key}" in text for text in held)}
