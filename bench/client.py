"""A caller that fills the stores and looks whether answers are right; it is never what is measured."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import grpc

from affix.v1 import attachments_pb2 as pb
from bench.traffic import JSON_MOST, Request

_LARGEST = 64 * 1024 * 1024
_OPTIONS = (("grpc.max_receive_message_length", _LARGEST), ("grpc.max_send_message_length", _LARGEST))
_AT_ONCE = 4


class WrongAnswerError(Exception):
    """An answer is not what was stored."""


class Client:
    """Calls over both wires."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        """Use a session that somebody else closes."""
        self._http = http
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def close(self) -> None:
        """Close the channels."""
        for channel in self._channels.values():
            await channel.close()

    async def post(self, address: str, path: str, body: bytes) -> bytes:
        """Send JSON-RPC over HTTP. Raises WrongAnswerError unless there is a result."""
        async with self._http.post(f"http://{address}{path}", data=body, headers=_JSON) as answer:
            text = await answer.read()
        if answer.status != 200 or b'"result":' not in text:  # noqa: PLR2004 - OK
            raise WrongAnswerError(f"{answer.status} {text[:500]!r} to {body[:500]!r}")
        return text

    async def call(self, address: str, path: str, message: bytes) -> bytes:
        """Call over gRPC. Raises grpc.aio.AioRpcError unless it succeeds."""
        channel = self._channels.get(address)
        if channel is None:
            channel = self._channels[address] = grpc.aio.insecure_channel(address, options=_OPTIONS)
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
        return await method(message)

    async def send(self, wire: str, address: str, request: Request) -> bytes:
        """Send a request to what serves the methods of Affix."""
        if wire == "http":
            return await self.post(address, "/rpc", request.json_rpc())
        return await self.call(address, request.path, request.framed()[5:])


_JSON = {"Content-Type": "application/json"}


@asynccontextmanager
async def connected() -> AsyncIterator[Client]:
    """Open a client until the end of the block."""
    async with aiohttp.ClientSession() as session:
        client = Client(session)
        try:
            yield client
        finally:
            await client.close()


async def all_of(calls: Iterable[Awaitable[object]], at_once: int = _AT_ONCE) -> None:
    """Carry out calls, so many at once; the first failure is raised."""
    waiting = iter(calls)

    async def one_after_the_other() -> None:
        for call in waiting:
            await call

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(one_after_the_other())


def contents(wire: str, request: Request, answer: bytes) -> dict[tuple[str, str], str]:
    """Return what an answer says is stored, by name: JSON values as compact text, documents as they are."""
    if wire == "http":
        result = json.loads(answer)["result"]
        return {(one["taskId"], one["key"]): _text(one) for one in result.get("attachments", [result])}
    found: list[pb.Attachment]
    if request.rpc == "GetAttachment":
        found = [pb.GetAttachmentResponse.FromString(answer).attachment]
    elif request.rpc == "ListAttachments":
        found = list(pb.ListAttachmentsResponse.FromString(answer).attachments)
    else:
        found = list(pb.BatchGetAttachmentsResponse.FromString(answer).attachments)
    return {(one.task_id, one.key): one.json.value or one.markdown.content for one in found}


def _text(attachment: dict[str, Any]) -> str:
    if "value" not in attachment:
        return str(attachment["content"])
    text = json.dumps(attachment["value"], separators=(",", ":"))
    if len(text) > JSON_MOST:
        raise WrongAnswerError("a value larger than any that was stored")
    return text
