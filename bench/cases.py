"""What is compared with what: each case is a list of subjects that take turns."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench import stock, traffic
from bench.client import Client
from bench.generators import Load, Sizes
from bench.site import Addresses
from bench.stock import LARGE, MEDIUM, SMALL, Stock
from bench.traffic import Request, Traffic

CALLERS, LARGE_CALLERS = 64, 8
_NEW_KEYS = {SMALL: 20_000, MEDIUM: 2_000, LARGE: 20}
_BATCHES = 500
_OFFSETS = 200
_READ_BACK = 50


@dataclass(frozen=True, slots=True)
class Subject:
    """One who takes turns: `prepare` makes the load of a round, `confirm` looks whether it has done what it said."""

    name: str
    prepare: Callable[[int], Load]
    confirm: Callable[[int], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """Subjects that take turns."""

    name: str
    title: str
    subjects: Sequence[Subject]


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything listens, and where files may be written."""

    folder: Path
    affix: Addresses
    shim: Addresses
    plain: Addresses
    echo_http: Addresses
    echo_grpc: Addresses
    relay: Addresses


class Cases:
    """Makes the cases of a run; every load is made after answers to it were looked at."""

    def __init__(self, client: Client, places: Places, stored: Stock, *, seconds: int) -> None:
        """Compare what is at those places."""
        self._client = client
        self._places = places
        self._stored = stored
        self._seconds = seconds
        self._gets = {size: self._written(f"get-{size}", self._get_requests(size)) for size in stored.refs}

    def _get_requests(self, size: int) -> list[Request]:
        return [traffic.get(ref) for ref in traffic.shuffled(self._stored.refs[size])]

    async def get(self, size: int, wire: str) -> Case:
        """Read one attachment, beside the echo of the same bytes; over HTTP beside `plain` too."""
        affix = await self._get("affix", wire, self._places.affix, size)
        echo = self._echo(affix, "echo-http" if wire == "http" else "echo-grpc", f"get-{size}-{wire}")
        subjects = [affix, echo]
        if wire == "http":
            subjects = [echo, affix, await self._get("plain", wire, self._places.plain, size)]
        return Case(f"get-{size}-{wire}", f"get, {_size(size)}, {_WIRES[wire]}", subjects)

    async def hop(self) -> Case:
        """Read one attachment through a separate shim, beside the bare hop."""
        affix = await self._get("affix", "http", self._places.affix, SMALL)
        relay = self._echo(affix, "relay", f"get-{SMALL}-http")
        shim = await self._get("shim", "http", self._places.shim, SMALL)
        return Case("hop", "get, 300 bytes, JSON-RPC, with a hop", [affix, relay, shim])

    async def create(self, size: int, wire: str) -> Case:
        """Store new attachments, each round under keys of its own, beside `plain` and beside our own reads."""
        subjects = [self._create("affix", wire, self._places.affix, size)]
        if wire == "http":
            subjects.append(self._create("plain", wire, self._places.plain, size))
        if size == SMALL:
            subjects.append(await self._get("affix-get", wire, self._places.affix, size))
        return Case(f"create-{size}-{wire}", f"create, {_size(size)}, {_WIRES[wire]}", subjects)

    async def lists(self) -> Case:
        """Read pages of 50: of 50 attachments, and at any place of 100,000, as many pages of either."""
        places = random.Random(1).sample(range(stock.BIG - stock.PER_TASK), _OFFSETS)  # noqa: S311 - replayed
        small = self._written("list-50", [traffic.page(task, 0) for task in self._stored.tasks])
        big = self._written("list-big", [traffic.page(stock.BIG_TASK, place) for place in places])
        affix, plain = self._places.affix, self._places.plain
        subjects = [
            await self._reading("affix", "http", affix, small, SMALL, count=50),
            await self._reading("plain", "http", plain, small, SMALL, count=50),
            await self._reading("affix-of-100000", "http", affix, big, SMALL, count=50),
        ]
        return Case("list", "list 50, 300 bytes each, JSON-RPC", [subjects[2], subjects[0], subjects[1]])

    async def batches(self) -> Case:
        """Read 10 and 100 attachments at once."""
        subjects = []
        for count in (10, 100):
            chosen = random.Random(count)  # noqa: S311 - replayed, not secret
            requests = [traffic.batch(chosen.sample(self._stored.refs[SMALL], count)) for _ in range(_BATCHES)]
            written = self._written(f"batch-{count}", requests)
            for name, place in (("affix", self._places.affix), ("plain", self._places.plain)):
                subjects.append(await self._reading(f"{name}-{count}", "http", place, written, SMALL))
        # affix-10, plain-10, plain-100, affix-100: whoever is compared is a neighbour, around the circle.
        return Case("batch", "batch, 300 bytes each, JSON-RPC", [subjects[0], subjects[1], subjects[3], subjects[2]])

    async def half_load(self, rates: dict[str, float]) -> Case:
        """Read and create at half the peak: `rates` are the peaks, by `get-http` and so on."""
        subjects = []
        for wire in ("http", "grpc"):
            get = await self._get(f"get-{wire}", wire, self._places.affix, SMALL)
            create = self._create(f"create-{wire}", wire, self._places.affix, SMALL)
            subjects += [_slowed(one, rates[one.name]) for one in (get, create)]
        return Case("half-load", "64 callers at half the peak", subjects)

    async def _get(self, name: str, wire: str, place: Addresses, size: int) -> Subject:
        return await self._reading(name, wire, place, self._gets[size], size)

    async def _reading(
        self, name: str, wire: str, place: Addresses, sent: Traffic, size: int, count: int | None = None
    ) -> Subject:
        address = place.http if wire == "http" else place.grpc
        sizes = await stock.verified(self._client, wire, address, sent.requests, size, count)
        load = Load.of(sent, wire, address, sizes, callers=_callers(size), seconds=self._turn(size))
        return Subject(name, lambda _round: load)

    def _echo(self, like: Subject, name: str, answer: str) -> Subject:
        """Send the same requests to a baseline that answers each with the bytes of one answer of ours."""
        load = like.prepare(0)
        if name == "echo-grpc":
            load = replace(load, address=self._places.echo_grpc.grpc, path=f"/echo/{answer}")
        else:
            place = self._places.relay if name == "relay" else self._places.echo_http
            load = replace(load, address=place.http, path=f"/{answer}")
        return Subject(name, lambda _round: load)

    def _create(self, name: str, wire: str, place: Addresses, size: int) -> Subject:
        address = place.http if wire == "http" else place.grpc
        made: dict[int, list[Request]] = {}

        def prepare(turn: int) -> Load:
            label = f"{name}-{size}-{wire}-{turn}"
            tasks = stock.WRITTEN_TASKS
            refs = [(tasks[number % len(tasks)], f"{label}-{number:06}") for number in range(_NEW_KEYS[size])]
            made[turn] = [traffic.create(ref, stock.text_of(ref, size)) for ref in refs]
            written = self._written(label, made[turn])
            # What tells a stored attachment from an error is its result or status; what was stored is read back.
            return Load.of(written, wire, address, _ANY, callers=_callers(size), seconds=self._turn(size))

        async def confirm(turn: int) -> None:
            # Not the very first: wrk tries its script by asking for one request that it does not send.
            first = made.pop(turn)[1 : 1 + _READ_BACK]
            gets = [traffic.get((str(one.params["taskId"]), str(one.params["key"]))) for one in first]
            await stock.verified(self._client, wire, address, gets[: _callers(size)], size)

        return Subject(name, prepare, confirm)

    def _turn(self, size: int) -> int:
        """Return how many seconds a turn takes: larger values, of which less depends, get half of it."""
        return self._seconds if size == SMALL else max(1, self._seconds // 2)

    def _written(self, name: str, requests: Sequence[Request]) -> Traffic:
        return traffic.written(self._places.folder, name, requests)


_ANY = Sizes(80, 600)
_WIRES = {"http": "JSON-RPC", "grpc": "gRPC"}


def _callers(size: int) -> int:
    return LARGE_CALLERS if size == LARGE else CALLERS


def _size(size: int) -> str:
    return {SMALL: "300 bytes", MEDIUM: "10 kB", LARGE: "1 MB"}[size]


def _slowed(subject: Subject, peak: float) -> Subject:
    """Let callers wait between calls, so that together they make half the peak."""
    pause_ms = 1000 * CALLERS / (peak / 2)
    return replace(subject, prepare=lambda turn: replace(subject.prepare(turn), pause_ms=pause_ms))
