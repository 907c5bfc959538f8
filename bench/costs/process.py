"""What a server process costs: memory, the time to start, the delay of events under load."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import grpc

from affix.v1 import attachments_pb2 as pb
from affix.v1.attachments_pb2_grpc import AttachmentServiceStub
from bench import stock, traffic
from bench.comparing import Spread
from bench.costs import Bench, Cost
from bench.generators import Load, Sizes, run
from bench.processes import resident_bytes
from bench.site import Addresses
from bench.stock import SMALL, Stock

OPERATIONS = 1_000_000
GROWTH = "growth over the second half of a million operations"
_MB = 1_000_000
_CREATED = Sizes(80, 600)
_LATEST_SECONDS = 10


async def memory(bench: Bench) -> list[Cost]:
    """Watch the memory of a server over a million reads and writes on both wires, and with a large task."""
    affix, stored = await bench.site.start_affix(), _small()
    costs = [_held(bench, "affix", "started")]
    await stock.fill(bench.client, affix.grpc, stored)
    done = 0
    held: list[tuple[int, int]] = []
    while done < OPERATIONS:
        for load in await _mixture(bench, affix, stored, turn=len(held)):
            done += (await run(bench.tools, load, bench.site.pids)).requests
        held.append((done, resident_bytes(bench.site.pids["affix"])))
    middle = next(size for count, size in held if count >= done / 2)
    costs.append(_held(bench, "affix", f"after {OPERATIONS:,} operations"))
    costs.append(Cost(GROWTH, "share", Spread.of([held[-1][1] / middle - 1])))
    before = _held(bench, "valkey", "before a task of 100,000")
    await stock.fill_big(bench.client, affix.grpc)
    pages = [traffic.page(stock.BIG_TASK, place) for place in range(0, stock.BIG, stock.PER_TASK)]
    await stock.verified(bench.client, "http", affix.http, pages, SMALL, count=stock.PER_TASK)
    return [
        *costs,
        _held(bench, "affix", "with 100,000 attachments of one task"),
        before,
        _held(bench, "valkey", "with 100,000 attachments of one task"),
    ]


async def start(bench: Bench) -> list[Cost]:
    """Start `affix serve` on stores that are there, and wait until it says that it is ready."""
    took = []
    for _ in range(max(bench.rounds, 5)):
        async with AsyncExitStack() as stack:
            site, began = bench.site.beside(stack), time.monotonic()
            await site.start_affix()
            took.append(time.monotonic() - began)
    return [Cost("affix serve, from its start until it is ready", "s", Spread.of(took))]


async def events(bench: Bench) -> list[Cost]:
    """Watch while attachments are created at half the peak: from the time of a write to its event at a watcher."""
    affix = await bench.site.start_affix()
    await stock.fill(bench.client, affix.grpc, Stock({}))
    peak = await run(bench.tools, _new(bench, affix, "peak"), bench.site.pids)
    costs = []
    for name, pause_ms in (("at a tenth of the peak", 640_000 / peak.rate), ("at half the peak", 128_000 / peak.rate)):
        load = _new(bench, affix, f"paused-{pause_ms:.0f}", pause_ms)
        async with _watching(affix.grpc) as watcher:
            sample = await run(bench.tools, load, bench.site.pids)
            found = sorted(await watcher.delays(sample.requests))
        for word, share in (("p50", 0.5), ("p99", 0.99)):
            value = found[int((len(found) - 1) * share)]
            costs.append(Cost(f"event {name}, {sample.rate:,.0f} writes/s, {word}", "ms", Spread.of([value])))
    return costs


class _Watcher:
    """Notes how long each event of a creation took, in ms."""

    def __init__(self, stream: AsyncIterator[pb.WatchAttachmentsResponse]) -> None:
        self._stream = stream
        self._delays: list[float] = []
        self._grown = asyncio.Condition()

    async def follow(self) -> None:
        async for event in self._stream:
            if event.kind == pb.ATTACHMENT_EVENT_KIND_CREATED:
                async with self._grown:
                    self._delays.append((time.time() - event.written_at.ToNanoseconds() / 1e9) * 1000)
                    self._grown.notify_all()

    async def delays(self, count: int) -> list[float]:
        """Return them when there are so many: an event may be on its way when its write was answered."""
        async with asyncio.timeout(_LATEST_SECONDS), self._grown:
            await self._grown.wait_for(lambda: len(self._delays) >= count)
        return self._delays


@asynccontextmanager
async def _watching(address: str) -> AsyncIterator[_Watcher]:
    """Watch without contents until the end of the block."""
    async with grpc.aio.insecure_channel(address) as channel:
        request = pb.WatchAttachmentsRequest(view=pb.ATTACHMENT_VIEW_METADATA)
        stream = aiter(AttachmentServiceStub(channel).WatchAttachments(request))
        await anext(stream)  # it has begun
        watcher = _Watcher(stream)
        following = asyncio.create_task(watcher.follow())
        try:
            yield watcher
        finally:
            following.cancel()
            await asyncio.wait({following})


async def _mixture(bench: Bench, affix: Addresses, stored: Stock, turn: int) -> list[Load]:
    """Make loads of one turn: mostly reads, on both wires, some writes, some pages."""
    refs = traffic.shuffled(stored.refs[SMALL])
    gets = traffic.written(bench.site.folder, "get", [traffic.get(ref) for ref in refs])
    pages = traffic.written(bench.site.folder, "page", [traffic.page(task, 0) for task in stored.tasks])
    loads = []
    for wire, place, sent, count in (
        ("http", affix.http, gets, None),
        ("grpc", affix.grpc, gets, None),
        ("http", affix.http, pages, stock.PER_TASK),
    ):
        sizes = await stock.verified(bench.client, wire, place, sent.requests, SMALL, count)
        loads.append(Load.of(sent, wire, place, sizes, callers=64, seconds=2 if count else 6))
    return [*loads, _new(bench, affix, f"mixed-{turn}")]


def _new(bench: Bench, affix: Addresses, label: str, pause_ms: float = 0.0) -> Load:
    tasks = stock.WRITTEN_TASKS
    refs = [(tasks[number % len(tasks)], f"{label}-{number:06}") for number in range(20_000)]
    sent = traffic.written(bench.site.folder, "new", [traffic.create(ref, stock.text_of(ref, SMALL)) for ref in refs])
    return Load("http", affix.http, "/rpc", sent.lines, _CREATED, 64, bench.seconds, pause_ms)


def _small() -> Stock:
    return Stock({SMALL: stock.planned().refs[SMALL]})


def _held(bench: Bench, who: str, when: str) -> Cost:
    return Cost(f"{who}, {when}", "MB", Spread.of([resident_bytes(bench.site.pids[who]) / _MB]))
