"""What is no request, or only half of one, on both ports."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import Any

import grpc
import pytest

from tests.hostile import frames
from tests.hostile.bystanders import Target
from tests.hostile.conftest import RECEIVE_SECONDS, Unharmed

PORTS = ("grpc", "http")
GET = "/affix.v1.TaskService/GetTask"
_RANDOM = random.Random(20)  # noqa: S311 - garbage that is the same each time
GARBAGE = {
    "bytes": _RANDOM.randbytes(100_000),
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + _RANDOM.randbytes(508),
    "HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
    "a request of bytes": b"POST /rpc HTTP/1.1\r\nContent-Length: \xff\xfe\r\nX: \0\r\n\r\n" + _RANDOM.randbytes(9),
    "two lengths": b"POST /rpc HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    "chunks of nothing": b"POST /rpc HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    "HTTP/2": frames.PREFACE,
    "HTTP/2 and bytes": frames.PREFACE + _RANDOM.randbytes(10_000),
    "a frame too long": frames.PREFACE + frames.settings() + b"\xff\xff\xff\0\0\0\0\0\1" + b"a" * 100_000,
    "a header block of bytes": frames.PREFACE
    + frames.settings()
    + frames.frame(frames.HEADERS, frames.END_HEADERS, 1, _RANDOM.randbytes(1000)),
}


async def _sent(place: tuple[str, int], data: bytes) -> bytes:
    """Send bytes and wait for the other side to close; return what it said."""
    reader, writer = await asyncio.open_connection(*place)
    try:
        with suppress(ConnectionError):
            writer.write(data)
            await writer.drain()
            return await reader.read()
    finally:
        writer.close()
    return b""


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("garbage", GARBAGE)
async def test_garbage_is_let_go(target: Target, attack: Unharmed, port: str, garbage: str) -> None:
    async with attack():
        answers = await asyncio.gather(*(_sent(getattr(target, port), GARBAGE[garbage]) for _ in range(20)))
    assert not [answer for answer in answers if b"Traceback" in answer or b"500" in answer[:20]]


HALVES = {
    "nothing": b"",
    "a line": b"POST /rpc HTTP/1.1\r\n",
    "headers": b"POST /rpc HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n",
    "a body": b"POST /rpc HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    "the next request": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("half", HALVES)
async def test_half_a_request_is_let_go(target: Target, attack: Unharmed, half: str) -> None:
    async with attack():
        reader, writer = await asyncio.open_connection(*target.http)
        writer.write(HALVES[half])
        if half == "the next request":
            assert (await reader.readuntil(b'{"status": "ok"}')).startswith(b"HTTP/1.1 200")
            writer.write(HALVES["headers"])
        async with asyncio.timeout(RECEIVE_SECONDS * 5):
            with suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()


async def test_headers_that_drip_are_let_go(target: Target, attack: Unharmed) -> None:
    async with attack():
        reader, writer = await asyncio.open_connection(*target.http)
        with suppress(ConnectionError):
            for byte in HALVES["headers"] * 1000:
                writer.write(bytes((byte,)))
                await writer.drain()
                if reader.at_eof():
                    break
                await asyncio.sleep(RECEIVE_SECONDS / 20)
            else:
                raise AssertionError("it was taken for ever")
        writer.close()


async def test_a_handshake_that_is_not_finished_is_let_go(target: Target, attack: Unharmed) -> None:
    async with attack():
        reader, writer = await asyncio.open_connection(*target.grpc)
        writer.write(frames.PREFACE[:10])
        async with asyncio.timeout(RECEIVE_SECONDS * 5):
            with suppress(ConnectionError):
                await reader.read()
        writer.close()


async def test_streams_that_are_reset_at_once(target: Target, attack: Unharmed) -> None:
    calls = 20_000
    async with attack():
        reader, writer = await asyncio.open_connection(*target.grpc)
        drain = asyncio.create_task(reader.read())
        writer.write(frames.PREFACE + frames.settings())
        cancel = (8).to_bytes(4, "big")
        with suppress(ConnectionError):
            for number in range(calls):
                stream = 2 * number + 1
                writer.write(frames.call(stream, GET, b"") + frames.frame(frames.RST_STREAM, 0, stream, cancel))
                if number % 500 == 0:
                    await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await drain


async def test_pings_and_settings_without_end(target: Target, attack: Unharmed) -> None:
    async with attack():
        flood = frames.frame(frames.PING, 0, 0, b"12345678") * 50_000 + frames.settings() * 50_000
        with suppress(TimeoutError):
            async with asyncio.timeout(RECEIVE_SECONDS * 2):
                await _sent(target.grpc, frames.PREFACE + frames.settings() + flood)


async def test_a_header_block_without_end(target: Target, attack: Unharmed) -> None:
    begin = frames.frame(frames.HEADERS, 0, 1, frames.headers(GET))
    more = frames.frame(frames.CONTINUATION, 0, 1, b"\0\x01a\x7f\x80\x7f" + b"v" * 16_000)
    async with attack():
        with suppress(TimeoutError):
            async with asyncio.timeout(RECEIVE_SECONDS * 2):
                await _sent(target.grpc, frames.PREFACE + frames.settings() + begin + more * 5000)


async def test_metadata_that_is_too_large(target: Target, attack: Unharmed) -> None:
    async with attack(), grpc.aio.insecure_channel(target.service.grpc_address) as channel:
        get: Any = channel.unary_unary(GET)
        for metadata in ([("x-bomb", "b" * 1_000_000)], [(f"x-{number}", "b") for number in range(10_000)]):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await get(b"", metadata=tuple(metadata), timeout=10)
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("bomb", [b"X: " + b"b" * 1_000_000 + b"\r\n", b"X: b\r\n" * 10_000])
async def test_headers_that_are_too_large(target: Target, attack: Unharmed, bomb: bytes) -> None:
    async with attack():
        answer = await _sent(target.http, b"POST /rpc HTTP/1.1\r\nHost: x\r\n" + bomb + b"\r\n")
        # What it says may be lost when it closes while we still send.
        assert answer == b"" or answer.startswith(b"HTTP/1.0 400")
