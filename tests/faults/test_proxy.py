"""The proxy does to connections what it says, and nothing else."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.faults.proxy import Proxy, Upstream


class Echo:
    """A store that answers every line with itself, and remembers it."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while line := await reader.readline():
                self.heard.append(line)
                writer.write(line)
                await writer.drain()
        except ConnectionError:
            return
        finally:
            writer.close()


@asynccontextmanager
async def proxied() -> AsyncIterator[tuple[Echo, Proxy]]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    upstream = Upstream(port=server.sockets[0].getsockname()[1])
    async with server, Proxy(upstream).running() as proxy:
        yield echo, proxy


class Connection:
    """A client's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, line: bytes, seconds: float = 2.0) -> bytes:
        """Send a line and return the answer, b"" if the connection was closed instead."""
        self.writer.write(line)
        return await self.answer(seconds)

    async def answer(self, seconds: float = 2.0) -> bytes:
        try:
            return await asyncio.wait_for(self.reader.readline(), seconds)
        except ConnectionError:
            return b""


@asynccontextmanager
async def connected(proxy: Proxy) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


async def test_everything_passes() -> None:
    async with proxied() as (_, proxy), connected(proxy) as connection:
        assert await connection.ask(b"a\n") == b"a\n"
        large = b"x" * 60_000 + b"\n"
        assert await connection.ask(large) == large


async def test_a_cut_closes_and_refuses_until_restored() -> None:
    async with proxied() as (_, proxy):
        async with connected(proxy) as connection:
            assert await connection.ask(b"a\n") == b"a\n"
            await proxy.cut()
            assert await connection.answer() == b""
        for _ in range(3):
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", proxy.port)
        await proxy.restore()
        async with connected(proxy) as connection:
            assert await connection.ask(b"b\n") == b"b\n"


async def test_a_blackhole_accepts_and_forwards_nothing_until_restored() -> None:
    async with proxied() as (echo, proxy), connected(proxy) as old:
        assert await old.ask(b"a\n") == b"a\n"
        proxy.blackhole()
        async with connected(proxy) as new:
            for connection, line in ((old, b"b\n"), (new, b"c\n")):
                with pytest.raises(TimeoutError):
                    await connection.ask(line, 0.1)
            assert echo.heard == [b"a\n"]
            await proxy.restore()
            assert await old.answer() == b"b\n"
            assert await new.answer() == b"c\n"


async def test_what_a_reset_connection_had_sent_into_a_blackhole_never_arrives() -> None:
    async with proxied() as (echo, proxy):
        proxy.blackhole()
        async with connected(proxy) as connection:
            connection.writer.write(b"a\n")
            await asyncio.sleep(0.05)
            # Close with a reset; without it, TCP delivers what was sent before the close.
            linger = struct.pack("ii", 1, 0)
            connection.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            connection.writer.transport.abort()
            await asyncio.sleep(0.05)
        await proxy.restore()
        async with connected(proxy) as connection:
            assert await connection.ask(b"b\n") == b"b\n"
        assert echo.heard == [b"b\n"]


async def test_a_delay_is_kept_each_way_and_keeps_the_order() -> None:
    async with proxied() as (_, proxy), connected(proxy) as connection:
        assert await connection.ask(b"a\n") == b"a\n"
        proxy.delay(0.1, 0.12)
        begun = time.monotonic()
        connection.writer.write(b"b\n")
        await asyncio.sleep(0.01)
        connection.writer.write(b"c\n")
        assert [await connection.answer(), await connection.answer()] == [b"b\n", b"c\n"]
        assert 0.2 <= time.monotonic() - begun < 0.5


async def test_lost_replies_are_lost_after_the_request_arrived() -> None:
    async with proxied() as (echo, proxy):
        async with connected(proxy) as old:
            assert await old.ask(b"a\n") == b"a\n"
            proxy.lose_replies()
            assert await old.ask(b"b\n") == b""
        async with connected(proxy) as new:
            assert await new.ask(b"c\n") == b""
        assert echo.heard == [b"a\n", b"b\n", b"c\n"]
        await proxy.restore()
        async with connected(proxy) as new:
            assert await new.ask(b"d\n") == b"d\n"


async def test_some_replies_of_a_new_connection_are_spared() -> None:
    async with proxied() as (_, proxy):
        proxy.lose_replies(spare=5)
        lived = []
        for _ in range(20):
            async with connected(proxy) as connection:
                answers = 0
                while await connection.ask(b"a\n"):
                    answers += 1
                lived.append(answers)
        assert max(lived) <= 5
        assert len(set(lived)) > 1
