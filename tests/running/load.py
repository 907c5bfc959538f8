"""Callers on both wires who never stop and never try again, and what became of their calls."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import grpc

from tests.harness.grpc_wire import GrpcWire
from tests.harness.jsonrpc_wire import JsonRpcWire
from tests.harness.samples import create, get
from tests.harness.wire import Wire

_CHANNELS, _CALLERS = 3, 4


class Load:
    """The calls made so far, by wire, and the failures among them."""

    def __init__(self) -> None:
        self.answered: Counter[str] = Counter()
        self.failures: list[str] = []
        self._called = asyncio.Event()

    async def more(self, calls: int) -> None:
        """Return when so many more calls were answered on each wire."""
        goal = {wire: self.answered[wire] + calls for wire in ("grpc", "jsonrpc")}
        while any(self.answered[wire] < count for wire, count in goal.items()) and not self.failures:
            self._called.clear()
            await self._called.wait()

    async def call(self, wire: Wire, task: str, key: str) -> None:
        """Write and read one attachment, over and over."""
        while True:
            for work in (create, get):
                await self._one(wire, work(wire, task, key))

    async def _one(self, wire: Wire, work: Awaitable[object]) -> None:
        try:
            await work
        except Exception as fault:  # noqa: BLE001 - whatever it is, a caller would have seen it
            self.failures.append(f"{wire.name}: {fault!r}")
        else:
            self.answered[wire.name] += 1
        self._called.set()


@asynccontextmanager
async def calling(grpc_address: str, url: str, task: str) -> AsyncIterator[Load]:
    """Call all the time until the end of the block."""
    load = Load()
    async with AsyncExitStack() as stack:
        wires: list[Wire] = []
        for _ in range(_CHANNELS):
            options = [("grpc.use_local_subchannel_pool", 1)]
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(grpc_address, options=options))
            session = await stack.enter_async_context(aiohttp.ClientSession())
            wires += [GrpcWire(channel), JsonRpcWire("jsonrpc", url, session)]
        callers = [
            asyncio.create_task(load.call(wire, task, f"k-{number}-{caller}"))
            for number, wire in enumerate(wires)
            for caller in range(_CALLERS)
        ]
        try:
            yield load
        finally:
            for caller in callers:
                caller.cancel()
            await asyncio.gather(*callers, return_exceptions=True)
