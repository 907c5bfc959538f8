"""Thousands of connections at the same time, to either port."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from tests.hostile import frames
from tests.hostile.bystanders import Target
from tests.hostile.conftest import Unharmed

MOST = 10_000
# For what the test itself and the other fixtures have open.
_OTHERS = 1000
_AT_ONCE = 200
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(scope="module")
def connections() -> Iterator[int]:
    """How many: as many as this process may have open, 10,000 at most."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield min(MOST, before[1] - _OTHERS) if before[1] != resource.RLIM_INFINITY else MOST
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@asynccontextmanager
async def opened(place: tuple[str, int], count: int, hello: bytes) -> AsyncIterator[list[Streams]]:
    """Connect and greet, since a connection that says nothing is not kept."""

    async def one() -> Streams:
        reader, writer = await asyncio.open_connection(*place)
        writer.write(hello)
        return reader, writer

    streams: list[Streams] = []
    try:
        while len(streams) < count:
            some = min(_AT_ONCE, count - len(streams))
            streams += await asyncio.gather(*(one() for _ in range(some)))
        yield streams
    finally:
        for _, writer in streams:
            writer.transport.abort()


async def test_http(target: Target, attack: Unharmed, connections: int) -> None:
    async with attack(), opened(target.http, connections - 20, HEALTH) as streams:
        for reader, _ in streams:
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")


async def test_grpc(target: Target, attack: Unharmed, connections: int) -> None:
    hello = frames.PREFACE + frames.settings()
    async with attack(), opened(target.grpc, connections - 20, hello) as streams:
        for reader, _ in streams:
            assert (await reader.readexactly(9))[3] == frames.SETTINGS
