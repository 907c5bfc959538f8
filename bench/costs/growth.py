"""How cost grows: a page with the attachments of its task, a write with its callers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from bench import stock, traffic
from bench.comparing import Spread
from bench.costs import Bench, Cost
from bench.generators import Load, Sample, Sizes, run
from bench.stock import SMALL
from bench.traffic import Ref

_COUNTS = (50, 1_000, 100_000)
# So many pages of 50 are read, of so many attachments.
_PAGES, _READ_OVER = 200, 10_000
_CALLERS = (1, 4, 16, 64, 256)
_NEW_KEYS = 20_000
_CREATED = Sizes(80, 600)


async def lists(bench: Bench) -> list[Cost]:
    """Read 50 attachments, at any place, of tasks that have 50, 1,000 and 100,000; they take turns.

    There are so many tasks of each kind that as many attachments are read: only in how many tasks they are differs.
    """
    affix = await bench.site.start_affix()
    loads = {}
    for count in _COUNTS:
        tasks = [f"list-{count}-{number}" for number in range(max(1, _READ_OVER // count))]
        for task in tasks:
            await bench.client.send("grpc", affix.grpc, traffic.task(task))
            refs = [(task, f"k{number:06}") for number in range(count)]
            await stock.store(bench.client, affix.grpc, refs, SMALL)
        chosen = random.Random(1)  # noqa: S311 - replayed, not secret
        asked = [traffic.page(tasks[page % len(tasks)], chosen.randrange(count - 49)) for page in range(_PAGES)]
        pages = traffic.written(bench.site.folder, f"list-{count}", asked)
        sizes = await stock.verified(bench.client, "http", affix.http, pages.requests, SMALL, count=50)
        loads[count] = Load.of(pages, "http", affix.http, sizes, callers=64, seconds=bench.seconds)
    samples: dict[int, list[Sample]] = {count: [] for count in _COUNTS}
    for _ in range(bench.rounds):
        for count, load in loads.items():
            samples[count].append(await run(bench.tools, load, bench.site.pids))
    costs = [Cost(f"a page of 50 of {count:,}", "ms", _ms_each(runs)) for count, runs in samples.items()]
    least = samples[_COUNTS[0]]
    growth = [[a.rate / b.rate for a, b in zip(least, samples[count], strict=True)] for count in _COUNTS[1:]]
    named = zip(_COUNTS[1:], growth, strict=True)
    return [*costs, *(Cost(f"of {count:,} against of 50", "times as long", Spread.of(part)) for count, part in named)]


async def creates(bench: Bench) -> list[Cost]:
    """Create with 1 to 256 callers; they take turns."""
    affix = await bench.site.start_affix()
    for task in stock.WRITTEN_TASKS:
        await bench.client.send("grpc", affix.grpc, traffic.task(task))
    samples: dict[int, list[Sample]] = {callers: [] for callers in _CALLERS}
    for turn in range(bench.rounds):
        for callers in _CALLERS:
            name = f"new-{turn}-{callers}"
            sent = traffic.written(bench.site.folder, name, [_creation(ref) for ref in _new(name)])
            load = Load.of(sent, "http", affix.http, _CREATED, callers=callers, seconds=bench.seconds)
            samples[callers].append(await run(bench.tools, load, bench.site.pids))
    return [
        cost
        for callers, runs in samples.items()
        for cost in (
            Cost(f"create, {callers} callers", "requests/s", Spread.of([one.rate for one in runs])),
            Cost(f"create, {callers} callers, p50", "ms", Spread.of([one.p50_ms for one in runs])),
            Cost(f"create, {callers} callers, p99", "ms", Spread.of([one.p99_ms for one in runs])),
        )
    ]


async def workers(bench: Bench) -> list[Cost]:
    """Read and create with one worker process and with two; they take turns. Nothing where there are no workers."""
    if not await bench.site.has_workers():
        return []
    stored = stock.planned()
    places = {count: await bench.site.start_affix(f"affix-{count}", "--workers", str(count)) for count in (1, 2)}
    await stock.fill(bench.client, places[1].grpc, replace(stored, refs={SMALL: stored.refs[SMALL]}))
    gets = traffic.written(bench.site.folder, "get", [traffic.get(ref) for ref in traffic.shuffled(stored.refs[SMALL])])
    rates: dict[tuple[str, int], list[float]] = {}
    for turn in range(bench.rounds):
        for count, place in places.items():
            sizes = await stock.verified(bench.client, "http", place.http, gets.requests, SMALL)
            name = f"new-{turn}-{count}"
            new = traffic.written(bench.site.folder, name, [_creation(ref) for ref in _new(name)])
            for what, sent, right in (("get", gets, sizes), ("create", new, _CREATED)):
                load = Load.of(sent, "http", place.http, right, callers=64, seconds=bench.seconds)
                rates.setdefault((what, count), []).append((await run(bench.tools, load, bench.site.pids)).rate)
    costs = [Cost(f"{what}, {n} workers", "requests/s", Spread.of(found)) for (what, n), found in rates.items()]
    for what in ("get", "create"):
        pairs = zip(rates[what, 2], rates[what, 1], strict=True)
        costs.append(Cost(f"{what}, two against one", "times as fast", Spread.of([two / one for two, one in pairs])))
    return costs


def _creation(ref: Ref) -> traffic.Request:
    return traffic.create(ref, stock.text_of(ref, SMALL))


def _new(label: str) -> Sequence[Ref]:
    tasks = stock.WRITTEN_TASKS
    return [(tasks[number % len(tasks)], f"{label}-{number:06}") for number in range(_NEW_KEYS)]


def _ms_each(runs: Sequence[Sample]) -> Spread:
    """Return the time of the server's that one request takes, in ms."""
    return Spread.of([1000 / one.rate for one in runs])
