"""What stands before servers that are replaced: it sends each new connection to one that says it is ready."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import aiohttp

from tests.harness.service import Service

_ASK_SECONDS = 0.05
_CHUNK = 65536


class Balancer:
    """Two ports, `grpc` and `url`, before any number of servers. It knows nothing of what it carries."""

    def __init__(self) -> None:
        self.grpc = ""
        self.url = ""
        self._servers: list[Service] = []
        self._ready: list[Service] = []
        self._turn = 0

    async def add(self, server: Service) -> None:
        """Ask a server from now on whether it is ready; return when it is."""
        self._servers.append(server)
        while server not in self._ready:
            await asyncio.sleep(_ASK_SECONDS)

    async def gone(self, server: Service) -> None:
        """Return when a server is not ready any more."""
        while server in self._ready:
            await asyncio.sleep(_ASK_SECONDS)
        self._servers.remove(server)

    async def watch(self) -> None:
        """Keep asking."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            while True:
                self._ready = [server for server in list(self._servers) if await _is_ready(session, server)]
                await asyncio.sleep(_ASK_SECONDS)

    async def carry_grpc(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._carry(reader, writer, self._next().grpc_address)

    async def carry_http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._carry(reader, writer, self._next().url.removeprefix("http://"))

    def _next(self) -> Service:
        self._turn += 1
        return self._ready[self._turn % len(self._ready)]

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str) -> None:
        host, _, port = address.rpartition(":")
        back, forth = await asyncio.open_connection(host, int(port))
        with suppress(ConnectionError):
            await asyncio.gather(_pump(reader, forth), _pump(back, writer))


async def _is_ready(session: aiohttp.ClientSession, server: Service) -> bool:
    try:
        async with session.get(f"{server.url}/readyz", headers={"Connection": "close"}) as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Carry bytes one way; the end of them is carried too."""
    try:
        while chunk := await source.read(_CHUNK):
            sink.write(chunk)
            await sink.drain()
    finally:
        sink.close()


@asynccontextmanager
async def balancing() -> AsyncIterator[Balancer]:
    balancer = Balancer()
    async with AsyncExitStack() as stack:
        addresses = []
        for carry in (balancer.carry_grpc, balancer.carry_http):
            listener = await stack.enter_async_context(await asyncio.start_server(carry, "127.0.0.1", 0))
            addresses.append(f"127.0.0.1:{listener.sockets[0].getsockname()[1]}")
        balancer.grpc, balancer.url = addresses[0], f"http://{addresses[1]}"
        watching = asyncio.create_task(balancer.watch())
        stack.callback(watching.cancel)
        yield balancer
