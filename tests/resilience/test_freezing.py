"""A store freezes under load: what does not need it keeps its speed, and every call ends in time (invariant 7)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey
from affix_server.domain import Ref
from tests.resilience.world import Pair, eventually, keys, outcome, read
from tests.storage.outages import frozen

_CALLERS = 16
_WINDOW_SECONDS = 0.4
_ROUNDS = 3
_SLACK_SECONDS = 0.5


@dataclass
class _Load:
    """Callers that call all the time; how many calls ended, and how long the longest took."""

    world: Pair
    hot: Ref
    ended: int = 0
    longest: float = 0.0
    answers: set[str] = field(default_factory=set)

    async def run(self, seconds: float, writes: int = 0) -> None:
        """Call for a while: most callers read one hot key, a few write another."""
        until = time.monotonic() + seconds
        readers = [self._call(until, lambda: read(self.world.storage, self.hot)) for _ in range(_CALLERS - writes)]
        await asyncio.gather(*readers, *(self._call(until, self._writing(number)) for number in range(writes)))

    def _writing(self, number: int) -> Callable[[], Awaitable[str]]:
        ref = Ref(self.hot.task_id, f"written-{number}")
        return lambda: outcome(self.world.put(ref, "x"))

    async def _call(self, until: float, call: Callable[[], Awaitable[str]]) -> None:
        while (begun := time.monotonic()) < until:
            self.answers.add(await call())
            self.longest = max(self.longest, time.monotonic() - begun)
            self.ended += 1


async def test_hot_reads_keep_their_speed_while_postgres_is_frozen(world: Pair) -> None:
    (hot,) = await world.refs("hot")
    await world.put(hot, "x")
    usual, meanwhile = _Load(world, hot), _Load(world, hot)
    for _ in range(_ROUNDS):
        # In turns, so that whatever else this machine does slows both.
        await usual.run(_WINDOW_SECONDS)
        async with frozen(world.postgres):
            await meanwhile.run(_WINDOW_SECONDS)
    assert usual.answers == meanwhile.answers == {"x"}
    assert meanwhile.ended >= usual.ended / 2


async def test_every_call_ends_in_time_while_postgres_is_frozen_under_load(world: Pair) -> None:
    await _every_call_ends_in_time(world, world.postgres)


async def test_every_call_ends_in_time_while_redis_is_frozen_under_load(world: Pair) -> None:
    await _every_call_ends_in_time(world, world.valkey)


async def _every_call_ends_in_time(world: Pair, store: EmbeddedPostgres | EmbeddedValkey) -> None:
    hot, new = await world.refs("hot", "new")
    await world.put(hot, "x")
    load = _Load(world, hot)
    async with frozen(store):
        await load.run(1.0, writes=4)
    assert load.longest < world.settings.operation_timeout_seconds + _SLACK_SECONDS

    async def works_again() -> bool:
        return world.storage.postgres_circuit.is_closed and world.storage.trust.believed

    await eventually(works_again, 10)
    assert not await world.put(new, "y")
    assert await read(world.storage, new) == "y"
    assert {"hot", "new"} <= set(await keys(world.storage, hot.task_id))
