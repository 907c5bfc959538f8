"""Every call ends in time, whichever store is frozen; what a crash cut short is finished (invariants 2 and 7)."""

from __future__ import annotations

import asyncio
import time

from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey
from affix_server.domain import Query
from affix_server.times import now_ms
from tests.resilience.inside import interposed
from tests.resilience.world import Pair, eventually, outcome, read
from tests.storage.outages import frozen

# Above what an operation may take.
_SLACK_SECONDS = 0.5


async def calls_end_while_postgres_is_frozen(world: Pair) -> None:
    """Hot and cold, reads and writes, all at once and then again with the circuit open."""
    await _calls_end(world, world.postgres)


async def calls_end_while_redis_is_frozen(world: Pair) -> None:
    """As with Postgres."""
    await _calls_end(world, world.valkey)


async def _calls_end(world: Pair, store: EmbeddedPostgres | EmbeddedValkey) -> None:
    hot, cold = await world.refs("hot", "cold")
    for ref in (hot, cold):
        await world.put(ref, "x")
    await world.evict(cold)
    calls = world.storage.attachments
    try:
        async with frozen(store):
            for _ in range(2):
                begun = time.monotonic()
                async with asyncio.timeout(world.settings.operation_timeout_seconds + _SLACK_SECONDS):
                    await asyncio.gather(
                        read(world.storage, hot),
                        read(world.storage, cold),
                        outcome(world.put(hot, "y")),
                        outcome(calls.delete(cold, "a")),
                        outcome(calls.list(Query(hot.task_id, limit=10))),
                        outcome(calls.batch_get([hot, cold])),
                        outcome(world.storage.tasks.get(hot.task_id)),
                    )
                assert time.monotonic() - begun < world.settings.operation_timeout_seconds + _SLACK_SECONDS
    except TimeoutError:
        raise AssertionError("a call did not end in time") from None


async def a_write_cut_short_is_finished_by_another(world: Pair) -> None:
    """A server dies between commit and publication; ten seconds later any other puts Redis right."""
    (ref,) = await world.refs("note")
    await world.put(ref, "1")

    async def die() -> None:
        raise asyncio.CancelledError

    with interposed(world.storage.cache, "publish", before=die):
        call = asyncio.create_task(world.put(ref, "2"))
        await asyncio.wait((call,))
    assert await world.stored(ref) == "2"
    for member in await world.redis.zrange("cb:intents", 0, -1):
        await world.redis.zadd("cb:intents", {str(member): now_ms() - 11_000})

    async def finished() -> bool:
        return await read(world.other, ref) == "2" and not await world.redis.zcard("cb:intents")

    await eventually(finished, 2)
