"""The run behind `make bench`: everything started, filled, looked at, and measured in turns."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from grpc.aio import AioRpcError

from bench import stock, traffic
from bench.cases import CALLERS, Case, Cases, Places
from bench.client import Client, WrongAnswerError, connected
from bench.generators import Load, Sample, Sizes, WrongAnswersError, h2load_rate, run
from bench.goals import Samples
from bench.processes import ProgramError
from bench.site import Addresses, Site, opened
from bench.stock import LARGE, MEDIUM, SMALL, Stock
from bench.tools import Tools

ANSWERS = "answers"
_READS = [(size, wire) for size in (SMALL, MEDIUM, LARGE) for wire in ("grpc", "http")]
# At half of whose rates latency is measured.
_PEAKS = {f"{what}-{wire}": f"{what}-{SMALL}-{wire}" for what in ("get", "create") for wire in ("http", "grpc")}
_WRITES = [(SMALL, "http"), (SMALL, "grpc"), (MEDIUM, "http"), (LARGE, "http")]


def say(text: str) -> None:
    """Tell whoever waits how far it is."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


class Comparison:
    """One run: `rounds` turns of `seconds` for every subject of every case."""

    def __init__(self, tools: Tools, *, rounds: int, seconds: int, only: str = "") -> None:
        """Measure the cases whose name holds `only`."""
        self._tools = tools
        self._rounds = rounds
        self._seconds = seconds
        self._only = only
        self.samples: dict[str, dict[str, list[Sample]]] = {}
        self.titles: dict[str, str] = {}
        self.failures: dict[str, str] = {}
        self.generators: dict[str, float] = {}

    async def run(self) -> Samples:
        """Start everything, measure, stop everything; what failed is in `failures`, and has no samples."""
        # A short path, for the unix sockets in it.
        with tempfile.TemporaryDirectory(prefix="affix-bench-") as name:
            Path(name).chmod(0o711)  # PostgreSQL, which does not run as root, works in a folder below
            async with opened(Path(name)) as site, connected() as client:
                await self._measure(site, client)
        return self.samples

    async def _measure(self, site: Site, client: Client) -> None:
        began, stored = time.monotonic(), stock.planned()
        places = await _opened(site, client, stored, big=self._only in "list")
        say(f"started and filled in {time.monotonic() - began:.0f} s")
        cases = Cases(client, places, stored, seconds=self._seconds)
        await self._check_generator(places)
        makers: list[tuple[str, Callable[[], Awaitable[Case]]]] = [
            *((f"get-{size}-{wire}", partial(cases.get, size, wire)) for size, wire in _READS),
            ("hop", cases.hop),
            *((f"create-{size}-{wire}", partial(cases.create, size, wire)) for size, wire in _WRITES),
            ("list", cases.lists),
            ("batch", cases.batches),
            ("half-load", lambda: cases.half_load(self._peaks())),
        ]
        wanted = {name for name, _ in makers if self._only in name}
        if "half-load" in wanted:
            wanted.update(_PEAKS.values())
        for name, make in makers:
            if name in wanted:
                await self._case(site, name, make)

    async def _case(self, site: Site, name: str, make: Callable[[], Awaitable[Case]]) -> None:
        """Measure a case; one with a wrong answer in it has no figures, and the others go on."""
        try:
            await self._take_turns(site, await make())
        except (WrongAnswerError, WrongAnswersError, ProgramError, AioRpcError) as wrong:
            self.failures[name] = str(wrong)
            self.samples.pop(name, None)
            say(f"{name} failed: {wrong}")

    async def _take_turns(self, site: Site, case: Case) -> None:
        """Run the subjects of a case one after the other, round after round."""
        began = time.monotonic()
        self.titles[case.name] = case.title
        samples = self.samples.setdefault(case.name, {subject.name: [] for subject in case.subjects})
        for turn in range(self._rounds):
            for subject in case.subjects:
                samples[subject.name].append(await run(self._tools, subject.prepare(turn), site.pids))
                if subject.confirm is not None:
                    await subject.confirm(turn)
        rates = ", ".join(f"{name} {statistics.median(s.rate for s in runs):,.0f}/s" for name, runs in samples.items())
        say(f"{case.title}: {rates} ({time.monotonic() - began:.0f} s)")

    def _peaks(self) -> dict[str, float]:
        """Return the rates of reading and creating at full load. Raises WrongAnswersError if there are none."""
        if failed := [case for case in _PEAKS.values() if case not in self.samples]:
            raise WrongAnswersError(f"there is no peak without {', '.join(failed)}")
        return {name: statistics.median(s.rate for s in self.samples[case]["affix"]) for name, case in _PEAKS.items()}

    async def _check_generator(self, places: Places) -> None:
        """Compare our generator for gRPC with h2load, both sending one body for ever to the echo."""
        body = places.folder / "one.frames"
        body.write_bytes(traffic.get(("t", "k")).framed())
        path = f"/echo/get-{SMALL}-grpc"
        length = (places.folder / ANSWERS / f"get-{SMALL}-grpc").stat().st_size + 5
        load = Load("grpc", places.echo_grpc.grpc, path, body, Sizes(length, length), CALLERS, self._seconds)
        ours = (await run(self._tools, load, {})).rate
        theirs = await h2load_rate(self._tools, load.address, path, body, callers=CALLERS, seconds=self._seconds)
        self.generators = {"grpc_load": ours, "h2load": theirs}
        say("generators against echo-grpc: " + ", ".join(f"{name} {r:,.0f}/s" for name, r in self.generators.items()))


async def _filled(client: Client, affix: Addresses, stored: Stock, *, big: bool) -> None:
    await stock.fill(client, affix.grpc, stored)
    if big:
        await stock.fill_big(client, affix.grpc)


async def _opened(site: Site, client: Client, stored: Stock, *, big: bool) -> Places:
    """Start everything and fill it; the echoes come last, since they answer with what Affix answers."""
    affix = await site.start_affix()
    plain = await site.start_baseline("plain", site.dsn, site.redis_url)
    await asyncio.gather(_filled(client, affix, stored, big=big), stock.fill_plain(client, plain.http, stored))
    answers = site.folder / ANSWERS
    answers.mkdir()
    for size, refs in stored.refs.items():
        for wire, address in (("http", affix.http), ("grpc", affix.grpc)):
            answer = await client.send(wire, address, traffic.get(refs[0]))
            (answers / f"get-{size}-{wire}").write_bytes(answer)
    echo_grpc = await site.start_baseline("echo-grpc", answers)
    return Places(
        folder=site.folder,
        affix=affix,
        shim=await site.start_shim(affix.grpc),
        plain=plain,
        echo_http=await site.start_baseline("echo-http", answers),
        echo_grpc=echo_grpc,
        relay=await site.start_baseline("relay", echo_grpc.grpc),
    )
