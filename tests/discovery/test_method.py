"""`rpc.discover` as a client meets it: alone, in a batch, on the WebSocket, in process and through a shim."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest
from jsonschema import ValidationError

from tests.harness.jsonrpc_wire import JsonRpcWire
from tests.harness.openrpc import DOCUMENT, judge
from tests.harness.wire import INVALID_PARAMS, METHOD_NOT_FOUND

ASK: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "rpc.discover"}


async def _answer(wire: JsonRpcWire, request: Any) -> Any:
    return json.loads(await wire.post(json.dumps(request)))


@pytest.mark.parametrize("params", [{}, {"params": {}}, {"params": []}], ids=["none", "an object", "a list"])
async def test_it_answers_with_the_document(jsonrpc: JsonRpcWire, params: dict[str, Any]) -> None:
    assert await _answer(jsonrpc, {**ASK, **params}) == {"jsonrpc": "2.0", "result": DOCUMENT, "id": 1}


async def test_it_takes_no_parameters(jsonrpc: JsonRpcWire) -> None:
    for params, field in (({"x": 1}, "x"), ([1], "params"), ("x", "params")):
        error = (await _answer(jsonrpc, {**ASK, "params": params}))["error"]
        assert (error["code"], error["data"]["violations"][0]["field"]) == (INVALID_PARAMS, field)


async def test_it_works_in_a_batch_beside_others(jsonrpc: JsonRpcWire, absent_task: str) -> None:
    get = {"jsonrpc": "2.0", "id": 2, "method": "task.get", "params": {"id": absent_task}}
    told, missing, again = await _answer(jsonrpc, [ASK, get, {**ASK, "id": "3"}])
    assert told["result"] == again["result"] == DOCUMENT
    assert missing["error"]["data"]["reason"] == "TASK_NOT_FOUND"


async def test_no_other_method_of_the_system_is_there(jsonrpc: JsonRpcWire) -> None:
    for method in ("rpc.Discover", "rpc.describe", "discover"):
        error = (await _answer(jsonrpc, {**ASK, "method": method}))["error"]
        assert error == {"code": METHOD_NOT_FOUND, "message": "Method not found", "data": {"method": method}}


async def test_it_works_on_the_websocket_as_do_those_that_need_it(
    jsonrpc: JsonRpcWire, http: aiohttp.ClientSession
) -> None:
    async with http.ws_connect(f"{jsonrpc.url}/ws") as socket:

        async def call(method: str, params: dict[str, Any]) -> Any:
            request = {**ASK, "method": method, "params": params}
            await socket.send_json(request)
            answer = await socket.receive_json()
            judge(request, answer)
            return answer

        assert (await call("rpc.discover", {}))["result"] == DOCUMENT
        begun = (await call("task.subscribe", {"keyPrefix": "k", "view": "metadata", "taskId": "t"}))["result"]
        await call("task.subscribe", {"resumeToken": begun["resumeToken"]})
        assert (await call("task.subscribe", {"resumeToken": "x"}))["error"]["code"] == INVALID_PARAMS
        subscription = {"subscriptionId": begun["subscriptionId"]}
        assert (await call("task.unsubscribe", {}))["error"]["code"] == INVALID_PARAMS
        assert (await call("task.unsubscribe", {**subscription, "x": 1}))["error"]["code"] == INVALID_PARAMS
        assert (await call("task.unsubscribe", subscription))["result"]["unsubscribed"] is True
        assert (await call("task.unsubscribe", subscription))["error"]["code"] == INVALID_PARAMS


def test_the_judge_judges() -> None:
    request = {"method": "task.get", "params": {"id": "t"}}
    with pytest.raises(ValidationError):
        judge(request, {"result": {}})
    with pytest.raises(ValidationError):
        judge({**request, "params": {"id": "t", "x": 1}}, {"result": {}})
    with pytest.raises(AssertionError):
        judge(request, {"error": {"code": -32004, "data": {"reason": "CONFLICT"}}})
    with pytest.raises(ValidationError):
        judge(request, {"error": {"code": -32602, "data": {"reason": "ATTACHMENT_NOT_FOUND"}}})
