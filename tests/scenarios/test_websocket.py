"""`/ws`: every method as on POST /rpc, and subscriptions beside them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import aiohttp
import pytest

from tests.harness.grpc_wire import GrpcWire
from tests.harness.jsonrpc_wire import JsonRpcWire
from tests.harness.samples import create, json_value
from tests.harness.wire import CallError

_PATIENCE_SECONDS = 10.0
# What printing a parsed value would spell otherwise.
_VALUES = [
    '{"id": 12345678901234567890, "x": 1.0}',
    '{"b":1,"a":2,"b":3}',
    "[1e2,-0.0,1E+400,0.10]",
    '"\\u00e9\\/"',
    "null",
]


class Socket:
    """A conversation."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.told: list[Any] = []

    async def ask(self, message: Any) -> Any:
        """Send a message and return its answer; what is told meanwhile is kept."""
        await self.socket.send_str(message if isinstance(message, str) else json.dumps(message))
        while True:
            answer = await self.receive()
            if isinstance(answer, list) or "method" not in answer:
                return answer
            self.told.append(answer["params"])

    async def call(self, method: str, params: Any = None) -> Any:
        """Call a method and return its result."""
        answer = await self.ask({"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}})
        assert "result" in answer, answer
        return answer["result"]

    async def refused(self, method: str, params: Any = None) -> Any:
        """Call a method and return its error."""
        answer = await self.ask({"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}})
        return answer["error"]

    async def event(self) -> Any:
        """Return the parameters of the next notification."""
        if not self.told:
            self.told.append((await self.receive())["params"])
        return self.told.pop(0)

    async def receive(self) -> Any:
        return json.loads(await self.text())

    async def text(self) -> str:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            text: str = await self.socket.receive_str()
            return text


@pytest.fixture
async def socket(jsonrpc: JsonRpcWire, http: aiohttp.ClientSession) -> AsyncIterator[Socket]:
    async with http.ws_connect(f"{jsonrpc.url}/ws", headers={"x-instance-id": "talker"}) as opened:
        yield Socket(opened)


async def test_methods_are_called_as_by_post(socket: Socket, task: str) -> None:
    made = await socket.call("task.create_attachment", {"taskId": task, "key": "k", "type": "text", "content": "x"})
    found = await socket.call("task.get_attachment", {"taskId": task, "key": "k"})
    assert found["id"] == made["id"]
    assert found["createdBy"] == "talker"
    error = await socket.refused("task.get_attachment", {"taskId": task, "key": "none"})
    assert error["data"]["reason"] == "ATTACHMENT_NOT_FOUND"


async def test_batches_notifications_and_nonsense_are_answered_as_by_post(socket: Socket, task: str) -> None:
    get = {"jsonrpc": "2.0", "method": "task.get", "params": {"id": task}}
    answers = await socket.ask([{**get, "id": "a"}, get, {**get, "id": 2}, {**get, "id": None}])
    assert [answer["id"] for answer in answers] == ["a", 2, None]
    assert (await socket.ask("{"))["error"]["code"] == -32700
    assert (await socket.ask("[]"))["error"]["code"] == -32600
    await socket.socket.send_str(json.dumps(get))
    await socket.socket.send_bytes(json.dumps({**get, "id": 1.5}).encode())
    assert (await socket.receive())["id"] == 1.5


async def test_calls_go_on_beside_subscriptions(socket: Socket, task: str) -> None:
    first = await socket.call("task.subscribe", {"taskId": task})
    second = await socket.call("task.subscribe", {"taskId": task, "view": "metadata"})
    assert first["subscriptionId"] != second["subscriptionId"]
    await socket.call("task.create_attachment", {"taskId": task, "key": "k", "type": "text", "content": "x"})
    told = {params["subscriptionId"]: params for params in (await socket.event(), await socket.event())}
    assert told[first["subscriptionId"]]["event"]["attachment"]["content"] == "x"
    assert "attachment" not in told[second["subscriptionId"]]["event"]
    assert all(params["resumeToken"] not in {first["resumeToken"], ""} for params in told.values())


async def test_what_is_unsubscribed_tells_nothing_more(socket: Socket, task: str) -> None:
    one = (await socket.call("task.subscribe", {"taskId": task}))["subscriptionId"]
    two = (await socket.call("task.subscribe", {"taskId": task}))["subscriptionId"]
    assert await socket.call("task.unsubscribe", {"subscriptionId": one}) == {
        "subscriptionId": one,
        "unsubscribed": True,
    }
    await socket.call("task.create_attachment", {"taskId": task, "key": "k", "type": "text", "content": "x"})
    await socket.call("task.delete_attachment", {"taskId": task, "key": "k"})
    assert [(await socket.event())["subscriptionId"] for _ in range(2)] == [two, two]
    error = await socket.refused("task.unsubscribe", {"subscriptionId": one})
    assert error["data"]["violations"][0]["field"] == "subscriptionId"
    assert (await socket.refused("task.unsubscribe"))["code"] == -32602
    assert (await socket.refused("task.subscribe", {"since": 1}))["data"]["violations"][0]["field"] == "since"
    assert (await socket.refused("task.subscribe", {"view": "half"}))["data"]["violations"][0]["field"] == "view"


async def test_a_connection_has_a_hundred_subscriptions_at_most(socket: Socket, absent_task: str) -> None:
    subscribe = {"jsonrpc": "2.0", "id": 1, "method": "task.subscribe", "params": {"taskId": absent_task}}
    answers = await socket.ask([subscribe] * 100)
    assert all("result" in answer for answer in answers)
    assert (await socket.refused("task.subscribe", {"taskId": absent_task}))["code"] == -32602
    await socket.call("task.unsubscribe", {"subscriptionId": answers[0]["result"]["subscriptionId"]})
    await socket.call("task.subscribe", {"taskId": absent_task})


@pytest.mark.parametrize("value", _VALUES)
async def test_values_come_along_byte_for_byte(socket: Socket, grpc_wire: GrpcWire, task: str, value: str) -> None:
    await socket.call("task.subscribe", {"taskId": task})
    await create(grpc_wire, task, "k", json_value(value))
    assert f'"value":{value},"createdBy"' in await socket.text()


@pytest.mark.parametrize("method", ["task.subscribe", "task.unsubscribe"])
async def test_by_post_there_is_nothing_to_subscribe_to(jsonrpc: JsonRpcWire, method: str) -> None:
    with pytest.raises(CallError) as refused:
        await jsonrpc.call(method, {})
    assert (refused.value.code, refused.value.message) == (-32601, f"{method} needs the WebSocket at /ws")
    assert refused.value.data == {"method": method, "reason": "WEBSOCKET_REQUIRED"}


async def test_a_message_that_is_too_large_ends_the_conversation(jsonrpc: JsonRpcWire, grpc_wire: GrpcWire) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{jsonrpc.url}/ws") as socket:
        with suppress(ConnectionError):  # the rest of it may not even be taken
            await socket.send_str(json.dumps("x" * 64 * 1024 * 1024))
        message = await socket.receive(_PATIENCE_SECONDS)
        assert message.type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}
    assert await grpc_wire.call("task.list", {"limit": 1})


async def test_who_leaves_leaves_no_watch_behind(
    jsonrpc: JsonRpcWire, http: aiohttp.ClientSession, absent_task: str, grpc_wire: GrpcWire
) -> None:
    server = jsonrpc.url
    before = await _watchers(http, server)
    async with http.ws_connect(f"{server}/ws") as opened:
        await Socket(opened).call("task.subscribe", {"taskId": absent_task})
    async with http.get(f"{server}/events", params={"taskId": absent_task}) as response:
        await response.content.readline()
    if before is None:
        return  # a shim alone does not count watchers; its server does
    await grpc_wire.call("task.create", {"id": absent_task, "text": "wake them"})
    async with asyncio.timeout(30):
        while await _watchers(http, server) != 0:
            await create(grpc_wire, absent_task, "k")
            await asyncio.sleep(0.02)


async def _watchers(http: aiohttp.ClientSession, url: str) -> float | None:
    async with http.get(f"{url}/metrics") as response:
        for line in (await response.text()).splitlines():
            if line.startswith("affix_watchers "):
                return float(line.split()[1])
    return None
