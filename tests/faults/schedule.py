"""Which fault when: made from a seed, one at a time, with healing and a pause in between."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.faults.cluster import Cluster
from tests.faults.injections import INJECTIONS

# Long enough for a frozen store to be found out and for its circuit to open and be probed.
_LONGEST_SECONDS = 6.0
_SHORTEST_SECONDS = 0.2
_PAUSE_SECONDS = 0.5
# Networks have latency; with some of it, steps of different processes interleave in more ways.
_JITTER_SECONDS = (0.0, 0.002, 0.02)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, for so long; its details are decided by its own seed."""

    name: str
    seconds: float
    seed: int


def faults(seed: int, names: Sequence[str], *, longest: float = _LONGEST_SECONDS) -> Iterator[Fault]:
    """Give faults for ever: the same for the same seed, every kind about as often."""
    chance = random.Random(f"schedule {seed}")  # noqa: S311 - replayed, not secret
    while True:
        for name in chance.sample(names, len(names)):
            # Short ones more often than long ones.
            seconds = _SHORTEST_SECONDS + (longest - _SHORTEST_SECONDS) * chance.random() ** 2
            yield Fault(name, seconds, chance.randrange(2**31))


async def strike(cluster: Cluster, fault: Fault) -> None:
    """Inject a fault, hold it, heal it, and return when the cluster has settled.

    Raises NotSettledError.
    """
    chance = random.Random(fault.seed)  # noqa: S311 - as above
    for proxy in (cluster.redis_proxy, cluster.postgres_proxy):
        proxy.jitter = chance.choice(_JITTER_SECONDS)
    async with INJECTIONS[fault.name](cluster, chance):
        await asyncio.sleep(fault.seconds)
    await cluster.settle()
    await asyncio.sleep(_PAUSE_SECONDS)
