"""Runs of the load generators: what is sent where, and what came of it."""

from __future__ import annotations

import json
import re
import resource
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.processes import cpu_seconds, output_of
from bench.tools import Tools
from bench.traffic import Traffic

# A gRPC client keeps one connection for many calls; several clients are several connections.
CALLERS_PER_CONNECTION = 8
_SEEN = 0.005


class WrongAnswersError(Exception):
    """Answers of a run were not what they had to be, so its figures mean nothing."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How long the body of a right answer is, in bytes."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Load:
    """What a generator does: `wire` is `http` or `grpc`; a caller waits `pause_ms` between calls, on average."""

    wire: str
    address: str
    path: str
    bodies: Path
    sizes: Sizes
    callers: int
    seconds: float
    pause_ms: float = 0.0

    @classmethod
    def of(cls, traffic: Traffic, wire: str, address: str, sizes: Sizes, *, callers: int, seconds: float) -> Load:
        """Send traffic to Affix, or to what serves the same methods."""
        if wire == "http":
            return cls(wire, address, "/rpc", traffic.lines, sizes, callers, seconds)
        return cls(wire, address, traffic.path, traffic.frames, sizes, callers, seconds)


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run gave: requests per second, latencies in ms, how many processors each process kept busy."""

    rate: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    requests: int
    cpu: Mapping[str, float] = field(default_factory=dict)


async def run(tools: Tools, load: Load, pids: Mapping[str, int]) -> Sample:
    """Run a generator to its end. Raises WrongAnswersError unless every answer was right."""
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    own = resource.getrusage(resource.RUSAGE_CHILDREN)
    printed = await output_of(
        *(_wrk(tools, load) if load.wire == "http" else _grpc_load(tools, load)), seconds=load.seconds
    )
    used = {name: cpu_seconds(pid) - before[name] for name, pid in pids.items()}
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used["generator"] = after.ru_utime + after.ru_stime - own.ru_utime - own.ru_stime
    result: dict[str, Any] = json.loads(printed.strip().splitlines()[-1])
    if result["wrong"] or not result["requests"]:
        raise WrongAnswersError(
            f"{load.wire} {load.address}{load.path} {load.bodies.name}: {result}, right is {load.sizes}"
        )
    return Sample(
        rate=result["requests"] / result["seconds"],
        p50_ms=result["p50_ms"],
        p99_ms=result["p99_ms"],
        max_ms=result["max_ms"],
        requests=result["requests"],
        # Of the time in which requests were sent: a generator that reads what to send keeps nobody else busy.
        cpu={
            name: cores for name, seconds in used.items() if (cores := round(seconds / result["seconds"], 3)) >= _SEEN
        },
    )


async def h2load_rate(tools: Tools, address: str, path: str, body: Path, *, callers: int, seconds: float) -> float:
    """Return what h2load makes of one body sent for ever: how our own generator is checked."""
    connections = max(1, callers // CALLERS_PER_CONNECTION)
    command = [tools.h2load, f"-c{connections}", f"-m{callers // connections}", f"-D{seconds:.0f}", f"-d{body}"]
    command += ["-Hcontent-type: application/grpc", "-Hte: trailers", f"http://{address}{path}"]
    printed = await output_of(*command, seconds=seconds)
    found = re.search(r"([\d.]+) req/s", printed)
    failed = re.search(r"(\d+) failed", printed)
    if found is None or failed is None or int(failed[1]):
        raise WrongAnswersError(printed)
    return float(found[1])


def _wrk(tools: Tools, load: Load) -> list[str | Path]:
    # Whole seconds are all that wrk takes.
    command: list[str | Path] = [
        tools.wrk,
        "-t1",
        f"-c{load.callers}",
        f"-d{load.seconds:.0f}s",
        "--timeout=10s",
        "-s",
        tools.lua,
    ]
    command += [f"http://{load.address}{load.path}", "--", load.bodies, f"{load.pause_ms:.0f}"]
    return [*command, str(load.sizes.least), str(load.sizes.most)]


def _grpc_load(tools: Tools, load: Load) -> list[str | Path]:
    host, _, port = load.address.rpartition(":")
    connections = max(1, load.callers // CALLERS_PER_CONNECTION)
    command: list[str | Path] = [
        tools.grpc_load,
        host,
        port,
        load.path,
        load.bodies,
        str(load.callers),
        str(connections),
    ]
    return [*command, str(load.seconds), f"{load.pause_ms * 1000:.0f}", str(load.sizes.least), str(load.sizes.most)]
