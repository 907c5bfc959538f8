"""Watching attachments over every wire, in one neutral form: JSON-RPC's events, with their resume tokens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

import aiohttp
import grpc

from affix.v1 import attachments_pb2 as pb
from affix.v1.attachments_pb2_grpc import AttachmentServiceStub
from tests.harness.grpc_errors import call_error
from tests.harness.grpc_messages import METHODS
from tests.harness.openrpc import judge_notification
from tests.harness.wire import CallError, Result

_PATIENCE_SECONDS = 10.0
_VIEWS = {
    None: pb.ATTACHMENT_VIEW_UNSPECIFIED,
    "full": pb.ATTACHMENT_VIEW_FULL,
    "metadata": pb.ATTACHMENT_VIEW_METADATA,
}
PROGRESS = "progress"


class Watch:
    """One watch under way. `token` is the last resume token."""

    def __init__(self, events: AsyncGenerator[Result]) -> None:
        self._events = events
        self.token = ""

    async def next(self) -> Result:
        """Return the next event. Raises CallError when the watch was ended with one."""
        while True:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                event = await anext(self._events)
            self.token = event.pop("resumeToken")
            if event["type"] != PROGRESS:
                return event

    async def take(self, count: int) -> list[Result]:
        """Return so many events."""
        return [await self.next() for _ in range(count)]

    async def close(self) -> None:
        await self._events.aclose()


class Watcher(Protocol):
    """One way to watch."""

    name: str

    def watch(self, **params: str | None) -> AbstractAsyncContextManager[Watch]:
        """Watch with `taskId`, `keyPrefix`, `resumeToken`, `view`; it has started when the block begins.

        Raises CallError.
        """
        ...


@asynccontextmanager
async def _started(events: AsyncGenerator[Result]) -> AsyncIterator[Watch]:
    watch = Watch(events)
    try:
        first = await watch.next()
        assert first == {"type": "started"}, first
        yield watch
    finally:
        await watch.close()


class GrpcWatcher:
    """Watches with WatchAttachments."""

    name = "grpc"

    def __init__(self, channel: grpc.aio.Channel, *, token: str | None = None) -> None:
        self._stub: Any = AttachmentServiceStub(channel)
        self._credentials = (("authorization", f"Bearer {token}"),) if token is not None else ()

    def watch(self, **params: str | None) -> AbstractAsyncContextManager[Watch]:
        return _started(self._events(params))

    async def _events(self, params: dict[str, str | None]) -> AsyncGenerator[Result]:
        request = pb.WatchAttachmentsRequest(
            task_id=params.get("taskId"),
            key_prefix=params.get("keyPrefix"),
            resume_token=params.get("resumeToken"),
            view=_VIEWS[params.get("view")],
        )
        call = self._stub.WatchAttachments(request, metadata=self._credentials)
        try:
            async for response in call:
                yield _from_message(response)
        except grpc.aio.AioRpcError as error:
            raise call_error(error) from None
        finally:
            call.cancel()


def _from_message(response: pb.WatchAttachmentsResponse) -> Result:
    kind = pb.AttachmentEventKind.Name(response.kind).removeprefix("ATTACHMENT_EVENT_KIND_").lower()
    event: Result = {"type": kind, "resumeToken": response.resume_token}
    if kind in {"started", PROGRESS}:
        return event
    event["taskId"] = response.task_id
    if response.key:
        event |= {"key": response.key, "attachmentId": response.attachment_id}
    if response.type:
        name = pb.AttachmentType.Name(response.type)
        event["attachmentType"] = name.removeprefix("ATTACHMENT_TYPE_").lower()
    event["writtenBy"] = response.written_by
    event["writtenAt"] = _time(response.written_at.ToMilliseconds())
    event["revision"] = response.revision
    if response.HasField("attachment"):
        event["attachment"] = METHODS["task.get_attachment"].result(
            pb.GetAttachmentResponse(attachment=response.attachment), {}
        )
    return event


def _time(ms: int) -> str:
    text = datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z").replace(".000Z", "Z")


class WebSocketWatcher:
    """Watches with task.subscribe."""

    def __init__(self, name: str, url: str, session: aiohttp.ClientSession, *, token: str | None = None) -> None:
        self.name = name
        self._url = url
        self._session = session
        self._credentials = {"authorization": f"Bearer {token}"} if token is not None else {}

    def watch(self, **params: str | None) -> AbstractAsyncContextManager[Watch]:
        return _started(self._events({name: value for name, value in params.items() if value is not None}))

    async def _events(self, params: dict[str, str]) -> AsyncGenerator[Result]:
        async with self._session.ws_connect(f"{self._url}/ws", headers=self._credentials) as socket:
            await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "task.subscribe", "params": params})
            answer = await socket.receive_json()
            if "error" in answer:
                raise _error(answer["error"])
            subscription = answer["result"]["subscriptionId"]
            yield {"type": "started", "resumeToken": answer["result"]["resumeToken"]}
            while True:
                told = await socket.receive_json()
                assert (told["method"], told["params"]["subscriptionId"]) == ("task.subscription", subscription)
                judge_notification(told["params"])
                if "error" in told["params"]:
                    raise _error(told["params"]["error"])
                yield {**told["params"]["event"], "resumeToken": told["params"]["resumeToken"]}


class SseWatcher:
    """Watches with GET /events."""

    def __init__(self, name: str, url: str, session: aiohttp.ClientSession, *, token: str | None = None) -> None:
        self.name = name
        self._url = url
        self._session = session
        self._credentials = {"authorization": f"Bearer {token}"} if token is not None else {}

    def watch(self, **params: str | None) -> AbstractAsyncContextManager[Watch]:
        return _started(self._events({name: value for name, value in params.items() if value is not None}))

    async def _events(self, params: dict[str, str]) -> AsyncGenerator[Result]:
        headers = dict(self._credentials)
        if "resumeToken" in params:
            headers["Last-Event-ID"] = params.pop("resumeToken")
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.get(
            f"{self._url}/events", params=params, headers=headers, timeout=timeout
        ) as response:
            if response.status != 200:
                raise _error((await response.json())["error"])
            assert response.content_type == "text/event-stream"
            async for message in _messages(response):
                data = json.loads(message["data"])
                if message["event"] == "error":
                    raise _error(data)
                assert message["event"] == data["type"]
                yield {**data, "resumeToken": message["id"]}


async def _messages(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, str]]:
    message: dict[str, str] = {}
    while line := (await response.content.readline()).decode():
        name, _, value = line.rstrip("\n").partition(": ")
        if name:
            message[name] = value
        elif "data" in message:
            yield message
            message = {}
        else:
            message = {}


def _error(error: dict[str, Any]) -> CallError:
    return CallError(error["code"], error["message"], error.get("data", {}))
