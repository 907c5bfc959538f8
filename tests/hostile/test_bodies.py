"""Requests that are too much: too large, too deep, too many, or packed so that they become it."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress
from io import BytesIO
from typing import Any

import aiohttp
import grpc
import pytest

from affix.v1 import attachments_pb2 as pb
from tests.harness.grpc_wire import OPTIONS, GrpcWire
from tests.hostile.bystanders import Target
from tests.hostile.conftest import Unharmed

MIB = 1024 * 1024
LARGEST = 64 * MIB
BATCH_GET = "/affix.v1.AttachmentService/BatchGetAttachments"
GET = "/affix.v1.TaskService/GetTask"


def whole(params: str, method: str = "task.create_attachment") -> bytes:
    return f'{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{params}}}'.encode()


def filled(begin: str, again: str, end: str, size: int = LARGEST - 200) -> str:
    """The text `begin again again … end`, of nearly so many bytes."""
    return begin + again * ((size - len(begin) - len(end)) // len(again)) + end


async def post(target: Target, body: bytes, **headers: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session:
        sent = {"Content-Type": "application/json", **headers}
        async with session.post(f"{target.service.url}/rpc", data=_pieces(body), headers=sent) as answer:
            return answer.status, await answer.json(content_type=None)


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), MIB):
        yield body[at : at + MIB]


PARSE, REQUEST, PARAMS = -32700, -32600, -32602
# What is sent, and the error code and words that come back.
BODIES: dict[str, tuple[Any, int, str]] = {
    "not UTF-8": (lambda: b'{"jsonrpc":"2.0","id":7,"method":"\xff\xfe"}', PARSE, "invalid UTF-8"),
    "not UTF-8 in a value": (lambda: whole('{"value":"VALUE"}').replace(b"VALUE", b"\xed\xa0\x80"), PARSE, "UTF-8"),
    "half a pair": (lambda: whole('{"taskId":"\\ud800"}', "task.get_attachment"), PARSE, "lone surrogate"),
    "a million levels": (lambda: b"[" * MIB, PARSE, "nested too deeply"),
    "a million levels of objects": (lambda: whole('{"a":' * MIB), PARSE, "nested too deeply"),
    "a thousand levels in a value": (
        lambda: whole('{"taskId":"t","key":"k","type":"json","value":' + "[" * 900 + "]" * 900 + "}"),
        PARAMS,
        "at most 128 levels deep",
    ),
    "a batch of 100,000": (lambda: filled("[1", ",1", "]", 200_000).encode(), REQUEST, "not more than 1000"),
    "a batch of 64 MiB": (lambda: filled("[1", ",1", "]").encode(), REQUEST, "not more than 1000"),
    "a batch of objects": (lambda: filled("[{}", ",{}", "]").encode(), REQUEST, "not more than 1000"),
    "a batch of blanks": (lambda: filled("   [1", " , 1", "]").encode(), REQUEST, "not more than 1000"),
    "items without end": (
        lambda: whole(filled('{"requests":[1', ",1", "]}"), "task.get_attachments_batch"),
        PARAMS,
        "must have at most 1000 items",
    ),
    "writes without end": (
        lambda: whole(filled('{"requests":[{}', ",{}", "]}"), "task.create_attachments_batch"),
        PARAMS,
        "must have at most 1000 items",
    ),
    "the same parameter again": (
        lambda: whole(filled('{"value":1', ',"value":1', "}")),
        PARAMS,
        "bytes beside its contents",
    ),
    "parameters without end": (
        lambda: whole("{" + ",".join(f'"{number}":1' for number in range(5_000_000)) + "}"),
        PARAMS,
        "bytes beside its contents",
    ),
    "updates without end": (
        lambda: whole(
            '{"id":"t","updates":{' + ",".join(f'"{number}":1' for number in range(5_000_000)) + "}}", "task.update"
        ),
        PARAMS,
        "bytes beside its contents",
    ),
    "metadata without end": (
        lambda: whole(
            '{"text":"t","metadata":{' + ",".join(f'"{number}":1' for number in range(4_000_000)) + "}}", "task.create"
        ),
        PARAMS,
        "must be at most",
    ),
    "a long id": (lambda: filled('{"jsonrpc":"1.0","id":"', "i", '"}').encode(), REQUEST, 'jsonrpc must be "2.0"'),
    "a long method": (lambda: filled('{"jsonrpc":"2.0","id":7,"method":"', "m", '"}').encode(), -32601, "not found"),
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_body_that_is_too_much(target: Target, attack: Unharmed, name: str) -> None:
    make, code, words = BODIES[name]
    body = make()
    async with attack():
        status, answer = await post(target, body)
    assert status == 200
    assert (answer["error"]["code"], words in answer["error"]["message"]) == (code, True), str(answer)[:500]


async def test_a_body_that_is_too_large(target: Target, attack: Unharmed) -> None:
    async with attack(), aiohttp.ClientSession() as session:
        headers = {"Content-Type": "application/json", "Content-Length": str(LARGEST + 1)}
        async with session.post(
            f"{target.service.url}/rpc", data=BytesIO(b" " * (LARGEST + 1)), headers=headers
        ) as answer:
            assert answer.status == 413
            assert f"at most {LARGEST} bytes, not {LARGEST + 1}" in (await answer.json())["error"]["message"]


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_body_that_is_packed(target: Target, attack: Unharmed, coding: str) -> None:
    pack = gzip.compress if coding == "gzip" else zlib.compress
    bomb = pack(b" " * (16 * LARGEST), 9)
    assert len(bomb) < 2 * MIB
    async with attack():
        for _ in range(5):
            with suppress(aiohttp.ClientError):  # it may close before all of it is sent
                status, answer = await post(target, bomb, **{"Content-Encoding": coding})
                assert (status, answer["error"]["code"]) == (413, -32600)
        twice = gzip.compress(gzip.compress(json.dumps({"jsonrpc": "2.0"}).encode()))
        status, answer = await post(target, twice, **{"Content-Encoding": "gzip, gzip"})
        assert "error" in answer


async def test_a_message_that_is_too_large(target: Target, attack: Unharmed) -> None:
    async with attack():
        big = pb.CreateAttachmentRequest(task_id="t", key="k", text=pb.TextContent(content="a" * (64 * MIB)))
        for packing in (None, grpc.Compression.Gzip):
            unbounded = (("grpc.max_send_message_length", -1),)
            async with grpc.aio.insecure_channel(target.service.grpc_address, unbounded, packing) as sender:
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await GrpcWire(sender).raw(GET, big.SerializeToString() * 4)
                assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, refused.value.details()
                assert "larger than max" in (refused.value.details() or "")


@pytest.mark.parametrize("item", [b"\x0a\0", b"\x0a\x02\x0a\0", b"\x50\1", b"\x53\x54"])
async def test_a_message_of_millions(target: Target, attack: Unharmed, item: bytes) -> None:
    async with attack(), grpc.aio.insecure_channel(target.service.grpc_address, options=OPTIONS) as channel:
        message = item * ((60 * MIB) // len(item))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await GrpcWire(channel).raw(BATCH_GET, message)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "at most 1000 fields and items" in (refused.value.details() or "")
