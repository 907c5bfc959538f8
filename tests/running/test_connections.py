"""How gRPC connections are kept, seen from a client that speaks HTTP/2 by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from tests.harness.grpc_wire import GrpcWire
from tests.harness.service import Service, serving

_SECONDS = 15.0
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS, _PING, _GOAWAY = 4, 6, 7
_ENHANCE_YOUR_CALM = 11


@pytest.fixture(scope="module")
async def impatient(stores: Mapping[str, str], folder: Path) -> AsyncIterator[Service]:
    settings = {
        **stores,
        "AFFIX_GRPC_MAX_CONNECTION_AGE_SECONDS": "2",
        "AFFIX_GRPC_MAX_CONNECTION_AGE_GRACE_SECONDS": "1",
        "AFFIX_GRPC_KEEPALIVE_SECONDS": "1",
        "AFFIX_GRPC_KEEPALIVE_TIMEOUT_SECONDS": "0.5",
        "AFFIX_GRPC_MIN_PING_SECONDS": "60",
    }
    async with serving(settings, folder / "impatient.log") as service:
        yield service


class Connection:
    """An HTTP/2 connection on which nothing is done but what a test does."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, kind: int, payload: bytes = b"", flags: int = 0, times: int = 1) -> None:
        head = len(payload).to_bytes(3, "big") + bytes((kind, flags)) + bytes(4)
        self._writer.write((head + payload) * times)

    async def frames(self) -> AsyncIterator[tuple[int, bytes]]:
        """Yield frames until the server closes the connection."""
        while True:
            try:
                head = await self._reader.readexactly(9)
                payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
            except (asyncio.IncompleteReadError, ConnectionResetError):
                return
            yield head[3], payload


@asynccontextmanager
async def _connected(service: Service) -> AsyncIterator[Connection]:
    host, _, port = service.grpc_address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(_PREFACE)
    connection = Connection(reader, writer)
    connection.send(_SETTINGS)
    async with asyncio.timeout(_SECONDS):
        yield connection
    writer.close()


async def test_a_client_that_does_not_answer_is_let_go_of(impatient: Service) -> None:
    async with _connected(impatient) as connection:
        kinds = [kind async for kind, _ in connection.frames()]
    assert _PING in kinds


async def test_a_client_that_asks_too_often_is_sent_away(impatient: Service) -> None:
    async with _connected(impatient) as connection:
        # All at once: what is sent after the server has closed would be answered with a reset, which takes the place of
        # what was to be read.
        connection.send(_PING, bytes(8), times=10)
        last = [payload async for kind, payload in connection.frames() if kind == _GOAWAY]
    assert int.from_bytes(last[-1][4:8], "big") == _ENHANCE_YOUR_CALM
    assert last[-1][8:] == b"too_many_pings"


async def test_a_connection_ends_at_its_age_and_no_call_with_it(impatient: Service) -> None:
    async with grpc.aio.insecure_channel(impatient.grpc_address) as channel:
        wire = GrpcWire(channel)
        lost = asyncio.create_task(_leaves_ready(channel))
        async with asyncio.timeout(_SECONDS):
            while not lost.done():
                await wire.call("task.list", {"limit": 1})
        await wire.call("task.list", {"limit": 1})


async def _leaves_ready(channel: grpc.aio.Channel) -> None:
    await channel.channel_ready()
    await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
