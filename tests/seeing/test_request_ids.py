"""The id of a request: taken, made, returned on both wires, and the same in everything that is logged of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from affix.v1 import attachments_pb2 as pb
from affix.v1.attachments_pb2_grpc import AttachmentServiceStub
from affix_server import request_ids as of_server
from affix_shim import request_ids as of_shim
from tests.harness.jsonrpc_wire import JsonRpcWire
from tests.harness.service import serving, shimming
from tests.seeing.conftest import Settings, lines

NAME = "x-request-id"
GET = {"taskId": "t-none", "key": "k"}
BAD = ["", "a" * 129, "a b", 'a"b', "{a}", "a,b"]
RULE = "must be 1 to 128 of A-Z a-z 0-9 . _ : / + = -"


async def over_grpc(channel: grpc.aio.Channel, *ids: str, task: str = "t-none") -> tuple[grpc.StatusCode, str, str]:
    """Get an attachment under an id; return the status, the id in the trailing metadata, and the text."""
    stub: Any = AttachmentServiceStub(channel)
    call = stub.GetAttachment(pb.GetAttachmentRequest(task_id=task, key="k"), metadata=[(NAME, one) for one in ids])
    code = await call.code()
    return code, str(dict(await call.trailing_metadata())[NAME]), await call.details()


async def over_http(
    url: str, session: aiohttp.ClientSession, body: Any, *ids: str, path: str = "/rpc"
) -> tuple[Any, str]:
    headers = [(NAME, one) for one in ids]
    async with session.post(url + path, json=body, headers=headers) as answer:
        return (await answer.json() if answer.status == 200 else answer.status), answer.headers[NAME]


def call(method: str = "task.get_attachment", number: int = 1, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": params or GET, "id": number}


@pytest.mark.parametrize("request_id", ["r", "Root=1-67891233-abcdef", "a" * 128, "A.b_c:d/e+f=-"])
async def test_an_id_that_is_given_is_returned(
    channel: grpc.aio.Channel, jsonrpc: JsonRpcWire, http: aiohttp.ClientSession, request_id: str
) -> None:
    assert (await over_grpc(channel, request_id))[:2] == (grpc.StatusCode.NOT_FOUND, request_id)
    assert (await over_http(jsonrpc.url, http, call(), request_id))[1] == request_id


async def test_it_is_returned_with_what_succeeds_too(channel: grpc.aio.Channel, task: str) -> None:
    stub: Any = AttachmentServiceStub(channel)
    request = pb.ListAttachmentsRequest(task_id=task)
    listed = stub.ListAttachments(request, metadata=((NAME, "r-1"),))
    await listed
    assert dict(await listed.trailing_metadata())[NAME] == "r-1"


async def test_without_one_each_request_gets_another(
    channel: grpc.aio.Channel, jsonrpc: JsonRpcWire, http: aiohttp.ClientSession
) -> None:
    made = {(await over_grpc(channel))[1] for _ in range(3)}
    made |= {(await over_http(jsonrpc.url, http, call()))[1] for _ in range(3)}
    assert len(made) == 6


@pytest.mark.parametrize("request_id", BAD)
async def test_a_bad_one_is_refused_and_replaced(
    channel: grpc.aio.Channel, jsonrpc: JsonRpcWire, http: aiohttp.ClientSession, request_id: str
) -> None:
    code, made, text = await over_grpc(channel, request_id)
    assert (code, text) == (grpc.StatusCode.INVALID_ARGUMENT, f"Invalid params: {NAME} {RULE}")
    answer, made_by_shim = await over_http(jsonrpc.url, http, call(), request_id)
    assert answer["error"]["data"]["violations"] == [{"field": NAME, "description": RULE}]
    assert request_id not in {made, made_by_shim}


@pytest.mark.parametrize(("path", "status"), [("/rpc", 415), ("/nowhere", 404), ("/healthz", 405)])
async def test_http_faults_have_an_id_too(
    jsonrpc: JsonRpcWire, http: aiohttp.ClientSession, path: str, status: int
) -> None:
    async with http.post(jsonrpc.url + path, data="text", headers={NAME: "r-2"}) as answer:
        assert (answer.status, answer.headers[NAME]) == (status, "r-2")


async def test_websockets_and_streams_tell_their_id(
    jsonrpc: JsonRpcWire, http: aiohttp.ClientSession, task: str
) -> None:
    async with http.ws_connect(f"{jsonrpc.url}/ws", headers={NAME: "r-3"}) as socket:
        assert socket._response.headers[NAME] == "r-3"  # noqa: SLF001 - aiohttp's client has no other way to it
    async with http.get(f"{jsonrpc.url}/events?taskId={task}", headers={NAME: "r-4"}) as events:
        assert (events.status, events.headers[NAME]) == (200, "r-4")


async def test_all_that_is_logged_of_a_request_has_its_id(
    stores: Settings, folder: Path, http: aiohttp.ClientSession
) -> None:
    """Each item of a batch is a call of its own in the server's log; what the shim refuses is in the shim's."""
    settings = {**stores, "AFFIX_LOG_CALLS": "all"}
    async with (
        serving(settings, folder / "ids.log") as server,
        shimming(server.grpc_address, folder / "ids-shim.log") as url,
    ):
        body = [call(number=1), call("task.list_attachments", 2, taskId="t-none"), call("task.get", 3, id=5)]
        answer, returned = await over_http(url, http, body, "batch-1")
        assert (len(answer), returned) == (3, "batch-1")
        await over_http(server.url, http, call(), "alone-1")
        in_server, in_shim = lines(server.command.output), lines((folder / "ids-shim.log").read_text())
    of_batch = [line for line in in_server if line.get("request_id") == "batch-1"]
    assert sorted(line["method"].rpartition("/")[2] for line in of_batch) == ["GetAttachment", "ListAttachments"]
    assert [line["method"] for line in in_server if line.get("request_id") == "alone-1"] == [
        "/affix.v1.AttachmentService/GetAttachment"
    ]
    (refused,) = [line for line in in_shim if line.get("request_id") == "batch-1"]
    assert (refused["method"], refused["status"], refused["reason"]) == ("task.get", -32602, "INVALID_PARAMS")


def test_the_rule_is_the_same_on_both_sides() -> None:
    assert of_server.RULE == of_shim.RULE == RULE
    assert [of_server.is_valid(one) for one in BAD] == [of_shim.is_valid(one) for one in BAD] == [False] * len(BAD)
    assert of_server.REQUEST_ID == of_shim.REQUEST_ID == NAME
