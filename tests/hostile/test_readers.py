"""Clients that never read what they asked for: what waits for them is bounded, and so is for how long."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from affix.v1 import attachments_pb2 as pb
from tests.harness.grpc_wire import OPTIONS, GrpcWire
from tests.harness.samples import create, text
from tests.harness.service import serving
from tests.hostile import frames
from tests.hostile.bystanders import Target, unharmed

MIB = 1024 * 1024
# Enough to fill what follows meanwhile.
SEND_SECONDS = 5.0
UNSENT_BYTES = 128 * MIB
LARGE = 2 * MIB
_BYSTANDERS = 3
GET = "/affix.v1.AttachmentService/GetAttachment"
WATCH = "/affix.v1.AttachmentService/WatchAttachments"


@pytest.fixture(scope="module")
async def target(folder: Path, stores: dict[str, str]) -> AsyncIterator[Target]:
    """Of its own, with a bound that a test can reach."""
    settings = stores | {
        "AFFIX_SEND_TIMEOUT_SECONDS": str(SEND_SECONDS),
        "AFFIX_MAX_UNSENT_BYTES": str(UNSENT_BYTES),
    }
    async with serving(settings, folder / "unread.log") as service:
        yield Target.of(service)


@pytest.fixture
async def channel(target: Target) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(target.service.grpc_address, options=OPTIONS) as opened:
        yield opened


@pytest.fixture
async def large(channel: grpc.aio.Channel) -> tuple[str, str]:
    """An attachment that is many times what a socket holds."""
    wire, task = GrpcWire(channel), f"t-{secrets.token_hex(8)}"
    await wire.call("task.create", {"text": "large", "id": task})
    await create(wire, task, "large", text("a" * LARGE))
    return task, "large"


def message(large: tuple[str, str]) -> bytes:
    return pb.GetAttachmentRequest(task_id=large[0], key=large[1]).SerializeToString()


async def test_answers_over_grpc(target: Target, channel: grpc.aio.Channel, large: tuple[str, str]) -> None:
    get: Any = channel.unary_unary(GET)
    async with unharmed(target), AsyncExitStack() as stack:
        reader, writer = await stack.enter_async_context(frames.connected(target.grpc))
        # No window: nothing of an answer may be sent, though the connection is read.
        writer.write(frames.PREFACE + frames.settings(window=0))
        for number in range(0, 2 * UNSENT_BYTES // LARGE, 4):
            for one in range(number, number + 4):
                writer.write(frames.call(2 * one + 1, GET, message(large)))
            await frames.answered(reader, 4)
        refused = await _fault(get, message(large))
        assert refused is not None
        assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert f"at most {UNSENT_BYTES} are allowed" in (refused.details() or "")
        # What is not taken in time is given up, and there is room again.
        while refused is not None:
            assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            refused = await _fault(get, message(large))


async def _fault(get: Any, request: bytes) -> grpc.aio.AioRpcError | None:
    try:
        await get(request, timeout=20)
    except grpc.aio.AioRpcError as error:
        return error
    return None


async def test_answers_over_http(target: Target, large: tuple[str, str]) -> None:
    params = f'{{"taskId":"{large[0]}","key":"{large[1]}"}}'
    body = f'{{"jsonrpc":"2.0","id":1,"method":"task.get_attachment","params":{params}}}'
    request = f"POST /rpc HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    async with unharmed(target), AsyncExitStack() as stack:
        for _ in range(2 * UNSENT_BYTES // LARGE):
            # With a limit so low, asyncio soon takes no more from the socket.
            reader, writer = await stack.enter_async_context(frames.connected(target.http, 1024))
            writer.write((request + body).encode() * 10)
            with suppress(ConnectionError):
                assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        # All are cut off, by the bound on what waits or by their time; the bystander's are few.
        while _connections(target) > _BYSTANDERS:
            await asyncio.sleep(0.05)


def _connections(target: Target) -> int:
    """How many connections to the HTTP port there are."""
    found = target.process.net_connections("tcp")
    return len([one for one in found if one.raddr and one.laddr.port == target.http[1]])


@pytest.mark.parametrize("way", ["grpc", "events", "websocket"])
async def test_watches(target: Target, channel: grpc.aio.Channel, way: str) -> None:
    wire, task = GrpcWire(channel), f"t-{secrets.token_hex(8)}"
    await wire.call("task.create", {"text": "watched", "id": task})
    hello = {
        "grpc": frames.PREFACE
        + frames.settings(window=100)
        + frames.call(1, WATCH, pb.WatchAttachmentsRequest(task_id=task).SerializeToString()),
        "events": f"GET /events?taskId={task} HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
        "websocket": b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n" + _subscribe(task),
    }[way]
    async with unharmed(target), AsyncExitStack() as stack:
        for _ in range(20):
            place = target.grpc if way == "grpc" else target.http
            reader, writer = await stack.enter_async_context(frames.connected(place, 1024))
            writer.write(hello)
            await reader.readexactly(10)
        for number in range(50):
            await create(wire, task, f"k{number}", text("a" * MIB))


def _subscribe(task: str) -> bytes:
    """A masked WebSocket frame (RFC 6455) that subscribes."""
    call = f'{{"jsonrpc":"2.0","id":1,"method":"task.subscribe","params":{{"taskId":"{task}"}}}}'.encode()
    assert len(call) <= 125
    return bytes((0x81, 0x80 | len(call))) + b"\0\0\0\0" + call
