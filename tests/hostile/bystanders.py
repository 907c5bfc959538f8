"""Who uses the service while it is attacked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
import grpc
import psutil

from tests.harness.grpc_wire import GrpcWire
from tests.harness.jsonrpc_wire import JsonRpcWire
from tests.harness.service import Service
from tests.harness.wire import Wire

# What an attack may leave in memory, or need for a while: some of the largest messages, not hundreds of them.
MOST_GROWTH_BYTES = 1024 * 1024 * 1024


@dataclass(frozen=True)
class Target:
    """A server that is attacked: `grpc` and `http` are host and port."""

    service: Service
    grpc: tuple[str, int]
    http: tuple[str, int]
    process: psutil.Process

    @classmethod
    def of(cls, service: Service) -> Target:
        http = urlsplit(service.url)
        host, _, port = service.grpc_address.rpartition(":")
        assert http.hostname is not None
        assert http.port is not None
        process = psutil.Process(service.command.pid)
        return cls(service, (host, int(port)), (http.hostname, http.port), process)

    @property
    def memory(self) -> int:
        """What the process holds, in bytes."""
        return int(self.process.memory_info().rss)


@asynccontextmanager
async def unharmed(target: Target) -> AsyncIterator[None]:
    """While inside, calls on both wires are answered, one after the other; the process lives and stays within bounds.

    Each has connections of its own from before, and makes new ones.
    """
    before = target.memory
    most = [before]
    enough = asyncio.Event()
    async with (
        grpc.aio.insecure_channel(target.service.grpc_address) as channel,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
    ):
        wires: list[Wire] = [GrpcWire(channel), JsonRpcWire("jsonrpc", target.service.url, session)]
        for wire in wires:
            await _use(wire)
        using = [asyncio.create_task(_use_until(wire, enough)) for wire in wires]
        looking = asyncio.create_task(_look(target, most))
        try:
            yield
        finally:
            enough.set()
            looking.cancel()
            counts = await asyncio.gather(*using)
    assert all(counts)
    assert target.service.command.running
    assert "internal_error" not in target.service.command.output
    assert "Error handling request" not in target.service.command.output, target.service.command.output
    assert "Traceback" not in target.service.command.output
    growth = max(*most, target.memory) - before
    assert growth < MOST_GROWTH_BYTES, f"{growth} bytes"


async def _use_until(wire: Wire, enough: asyncio.Event) -> int:
    count = 0
    while True:
        await _use(wire)
        count += 1
        if enough.is_set():
            return count


async def _use(wire: Wire) -> None:
    created = await wire.call("task.create", {"text": "meanwhile"})
    assert (await wire.call("task.get", {"id": created["id"]}))["text"] == "meanwhile"


async def _look(target: Target, most: list[int]) -> None:
    while True:
        most[0] = max(most[0], target.memory)
        await asyncio.sleep(0.05)
