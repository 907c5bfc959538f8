"""Plain requests are answered before aiohttp, and as aiohttp answers them, however they arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from email.utils import parsedate_to_datetime

import grpc
import pytest

from affix.v1 import tasks_pb2
from affix_cli import direct
from affix_cli.connections import Bounds, Connections
from affix_cli.guarded import Guard
from affix_cli.http import Site, serving
from affix_shim.app import make_app
from tests.shim.conftest import MAX_BODY_BYTES, Backend
from tests.shim.recording import Recorder

DELETE = b'{"jsonrpc":"2.0","method":"task.delete","params":{"id":"t"},"id":1}'
DELETED = b'{"jsonrpc":"2.0","result":{"id":"","deleted":true,"deletedAt":"1970-01-01T00:00:00Z"},"id":1}'
FIELDS = b"Host: x\r\nContent-Type: application/json\r\n"
# A tab in a value: nothing wrong with it, and nothing plain.
ODD = b"X-Odd: a\tb\r\n"


def request(body: bytes = DELETE, fields: bytes = FIELDS) -> bytes:
    return b"POST /rpc HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (fields, len(body), body)


class Conversation:
    """A connection of a client that writes what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Read an answer: its status, its fields, its body."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
        return int(head[0].split()[1]), fields, await self.reader.readexactly(int(fields.get("content-length", 0)))

    async def ask(self, sent: bytes) -> tuple[int, dict[str, str], bytes]:
        self.writer.write(sent)
        return await self.answer()

    async def is_closed(self) -> bool:
        return await self.reader.read() == b""


async def _metrics() -> bytes:
    return b""


@asynccontextmanager
async def served(backend: Backend, bounds: Bounds) -> AsyncIterator[Site]:
    async with grpc.aio.insecure_channel(backend.address) as channel:
        app = make_app(channel, metrics=_metrics, max_body_bytes=MAX_BODY_BYTES)
        async with serving(app, "127.0.0.1:0", grace_seconds=5, bounds=bounds) as site:
            yield site


Connect = Callable[[Site], Awaitable[Conversation]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    open_: list[asyncio.StreamWriter] = []

    async def connected(site: Site) -> Conversation:
        host, _, port = site.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        open_.append(writer)
        return Conversation(reader, writer)

    yield connected
    for writer in open_:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@pytest.fixture
async def site(started_backend: Backend, recorder: Recorder) -> AsyncIterator[Site]:
    assert not recorder.calls
    async with served(started_backend, Bounds()) as site:
        yield site


@pytest.fixture
def by_aiohttp(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Gets an item for each connection that aiohttp serves."""
    seen: list[None] = []
    guarded = Connections.guarded

    def noted(self: Connections) -> Guard:
        seen.append(None)
        return guarded(self)

    monkeypatch.setattr(Connections, "guarded", noted)
    return seen


async def test_a_plain_request_is_answered_as_aiohttp_answers_it(
    site: Site, connect: Connect, by_aiohttp: list[None]
) -> None:
    nothing = DELETE.replace(b',"id":1', b"")
    for body in (
        DELETE,
        nothing,
        b"{",
        b"[" + DELETE + b"," + nothing + b"]",
        b"",
        b'"\xff"',
        DELETE.replace(b"t", b""),
    ):
        plain = await (await connect(site)).ask(request(body))
        assert not by_aiohttp
        theirs = await (await connect(site)).ask(request(body, FIELDS + ODD))
        assert by_aiohttp.pop() is None
        assert plain[0] == theirs[0]
        assert plain[2] == theirs[2]
        for name in ("content-type", "content-length"):
            if body != nothing or name == "content-length":
                assert plain[1].get(name, "0") == theirs[1].get(name, "0")
        assert plain[1].keys() >= {"x-request-id", "date"}
        parsedate_to_datetime(plain[1]["date"])


async def test_a_request_may_arrive_in_any_pieces(site: Site, connect: Connect) -> None:
    whole = request()
    for at in range(1, len(whole)):
        client = await connect(site)
        client.writer.write(whole[:at])
        await asyncio.sleep(0.001)
        assert (await client.ask(whole[at:]))[::2] == (200, DELETED)
        client.writer.close()


async def test_requests_that_are_sent_ahead_are_answered_in_their_order(
    site: Site, connect: Connect, recorder: Recorder, by_aiohttp: list[None]
) -> None:
    recorder.answers["DeleteTask"] = lambda asked: tasks_pb2.DeleteTaskResponse(id=asked.id)
    client = await connect(site)
    bodies = [DELETE.replace(b'"t"', b'"t-%d"' % number) for number in range(200)]
    client.writer.write(b"".join(map(request, bodies[:100])) + b"".join(map(request, bodies[100:]))[:-10])
    for number in range(200):
        if number == 150:
            client.writer.write(request(bodies[-1])[-10:])
        assert b'"t-%d"' % number in (await client.answer())[2]
    assert not by_aiohttp


async def test_a_connection_goes_on_with_requests_that_are_not_plain(
    site: Site, connect: Connect, by_aiohttp: list[None]
) -> None:
    client = await connect(site)
    assert (await client.ask(request()))[2] == DELETED
    assert not by_aiohttp
    assert (await client.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"))[2] == b'{"status": "ok"}'
    assert (await client.ask(request()))[2] == DELETED
    chunked = b"POST /rpc HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
    assert (await client.ask(chunked % (len(DELETE), DELETE)))[2] == DELETED
    assert len(by_aiohttp) == 1


async def test_a_body_is_taken_in_large_pieces_and_small(site: Site, connect: Connect, by_aiohttp: list[None]) -> None:
    client = await connect(site)
    for size in (MAX_BODY_BYTES, 70_000, len(DELETE)):
        assert (await client.ask(request(DELETE.ljust(size))))[2] == DELETED
    assert not by_aiohttp
    assert (await client.ask(request(DELETE.ljust(MAX_BODY_BYTES + 1))))[0] == 413


HEADS = {
    "two lengths": b"Host: x\r\nContent-Length: 1\r\n",
    "a length and chunks": b"Host: x\r\nTransfer-Encoding: chunked\r\n",
    "a folded field": b"Host: x\r\nX-A: b\r\n c\r\n",
    "a blank before the colon": b"Host : x\r\n",
    "a bare line feed": b"Host: x\nX-A: b\r\n",
    "a zero byte": b"Host: x\r\nX-A: b\0c\r\n",
    "a field without a name": b"Host: x\r\n: b\r\n",
}


@pytest.mark.parametrize("name", HEADS)
async def test_what_is_ambiguous_is_not_read_as_plain(
    site: Site, connect: Connect, recorder: Recorder, by_aiohttp: list[None], name: str
) -> None:
    """aiohttp may refuse it, or read it in its way; that is for one parser to decide."""
    client = await connect(site)
    client.writer.write(request(fields=HEADS[name]))
    client.writer.write_eof()
    await client.reader.read()
    assert (len(by_aiohttp), len(recorder.calls) <= 1) == (1, True)


async def test_a_connection_that_is_idle_is_closed_in_the_end(
    site: Site, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "KEEPALIVE_SECONDS", 0.2)
    client = await connect(site)
    for _ in range(5):  # what is not idle stays
        await asyncio.sleep(0.1)
        assert (await client.ask(request()))[0] == 200
    async with asyncio.timeout(5):
        assert await client.is_closed()


@pytest.mark.parametrize("sent", [b"", request()[:-1], request()[:40]], ids=["nothing", "half a body", "half a head"])
async def test_a_request_that_does_not_arrive_is_not_waited_for(
    started_backend: Backend, connect: Connect, sent: bytes
) -> None:
    async with served(started_backend, Bounds(receive_seconds=0.2)) as site:
        client = await connect(site)
        client.writer.write(sent)
        async with asyncio.timeout(5):
            assert await client.is_closed()


async def test_a_body_that_goes_on_arriving_is_waited_for(started_backend: Backend, connect: Connect) -> None:
    async with served(started_backend, Bounds(receive_seconds=0.4)) as site:
        client = await connect(site)
        whole = request(DELETE + b" " * 10)
        client.writer.write(whole[:-10])
        for _ in range(10):
            await asyncio.sleep(0.1)
            client.writer.write(b" ")
        assert (await client.answer())[2] == DELETED


async def test_a_connection_ends_with_its_next_answer_when_the_site_is_left(
    site: Site, connect: Connect, by_aiohttp: list[None]
) -> None:
    client = await connect(site)
    assert "connection" not in (await client.ask(request()))[1]
    site.leave()
    client.writer.write(request() * 2)
    answered = await client.answer()
    assert (answered[0], answered[1]["connection"]) == (200, "close")
    assert await client.is_closed()
    assert not by_aiohttp


async def test_a_request_that_is_arriving_is_answered_before_the_site_ends(
    started_backend: Backend, connect: Connect
) -> None:
    async with served(started_backend, Bounds()) as site:
        busy, idle = await connect(site), await connect(site)
        for client in (busy, idle):
            await client.ask(request())
        busy.writer.write(request()[:-1])
        await asyncio.sleep(0.05)
        asyncio.get_running_loop().call_later(0.3, busy.writer.write, request()[-1:])
    assert (await busy.answer())[2] == DELETED
    assert await busy.is_closed()
    assert await idle.is_closed()
