"""What things cost, and how the cost grows (`make bench-costs`): each measurement starts what it needs, no more."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.client import Client, connected
from bench.comparing import Spread
from bench.comparison import say
from bench.report import aligned, save
from bench.site import Site, opened
from bench.tools import Tools


@dataclass(frozen=True, slots=True)
class Cost:
    """A figure: what it is of, what it counts."""

    of: str
    unit: str
    figure: Spread


@dataclass(frozen=True, slots=True)
class Bench:
    """What a measurement works with: stores that are empty, a caller, the generators, and how often to repeat."""

    site: Site
    client: Client
    tools: Tools
    rounds: int
    seconds: int


Measurement = Callable[[Bench], Awaitable[list[Cost]]]


@asynccontextmanager
async def _bench(tools: Tools, rounds: int, seconds: int) -> AsyncIterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="affix-bench-") as name:
        Path(name).chmod(0o711)  # PostgreSQL, which does not run as root, works in a folder below
        async with opened(Path(name)) as site, connected() as client:
            yield Bench(site, client, tools, rounds, seconds)


async def measure(
    measurements: dict[str, Measurement], tools: Tools, *, only: str, rounds: int, seconds: int
) -> dict[str, list[Cost]]:
    """Carry out the measurements whose name holds `only`, print each, and keep them all if all were made."""
    costs: dict[str, list[Cost]] = {}
    for name, measurement in measurements.items():
        if only not in name:
            continue
        began = time.monotonic()
        async with _bench(tools, rounds, seconds) as bench:
            costs[name] = await measurement(bench)
        rows = [(cost.of, cost.figure.text(_printed), cost.unit) for cost in costs[name]]
        sys.stdout.write("\n".join([name, *aligned([("", "median (min-max)", ""), *rows]), "", ""]))
        sys.stdout.flush()
        say(f"{name} took {time.monotonic() - began:.0f} s")
    if not only:
        save("costs", {name: [asdict(cost) for cost in found] for name, found in costs.items()})
    return costs


def _printed(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits either way
