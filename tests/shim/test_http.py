"""The shim as HTTP clients meet it."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from structlog.testing import capture_logs

from affix.v1 import attachments_pb2, tasks_pb2
from affix_shim.methods import METHODS
from tests.shim.conftest import MAX_BODY_BYTES, METRICS, Backend, Shim
from tests.shim.recording import SERVICES, Recorder
from tests.shim.test_failures import FAILURES

DELETE = b'{"jsonrpc":"2.0","method":"task.delete","params":{"id":"t"},"id":1}'
DELETED = b'{"jsonrpc":"2.0","result":{"id":"","deleted":true,"deletedAt":"1970-01-01T00:00:00Z"},"id":1}'
INVALID_REQUEST = -32600


async def test_a_call_is_answered_with_200_and_json(shim: Shim, recorder: Recorder) -> None:
    answered = await shim.send(DELETE)
    assert (answered.status, answered.body) == (200, DELETED)
    assert answered.headers["Content-Type"] == "application/json"
    assert [(call.method, call.request) for call in recorder.calls] == [
        ("DeleteTask", tasks_pb2.DeleteTaskRequest(id="t"))
    ]


async def test_every_rpc_is_reached_by_one_method(shim: Shim, recorder: Recorder) -> None:
    for method, params, _ in FAILURES:
        await shim.call(method, params)
    called = [call.method for call in recorder.calls]
    rpcs = [rpc.name for service in SERVICES for rpc in service.methods if not rpc.server_streaming]
    assert sorted(called) == sorted(rpcs)
    assert len(called) == len(METHODS)


@pytest.mark.parametrize("verb", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_only_post_is_allowed(shim: Shim, verb: str) -> None:
    answered = await shim.send(verb=verb, headers={})
    assert (answered.status, answered.headers["Allow"]) == (405, "POST")
    if verb != "HEAD":
        assert (answered.json["error"]["code"], answered.json["id"]) == (INVALID_REQUEST, None)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (None, 200),
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON;charset=UTF-8", 200),
        ("application/json-rpc", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/jsonx", 415),
        ("", 415),
    ],
)
async def test_the_body_must_be_called_json_or_nothing(
    shim: Shim, recorder: Recorder, content_type: str | None, status: int
) -> None:
    answered = await shim.send(DELETE, headers={} if content_type is None else {"Content-Type": content_type})
    assert answered.status == status
    assert len(recorder.calls) == (status == 200)
    if status == 415:
        assert answered.headers["Content-Type"] == "application/json"
        assert (answered.json["error"]["code"], answered.json["id"]) == (INVALID_REQUEST, None)


@pytest.mark.parametrize("chunked", [False, True], ids=["sized", "chunked"])
async def test_a_body_has_a_limit(shim: Shim, recorder: Recorder, chunked: bool) -> None:  # noqa: FBT001  # a parameter of the test
    async def send(body: bytes) -> tuple[int, Any]:
        async def parts() -> Any:
            for at in range(0, len(body), 10_000):
                yield body[at : at + 10_000]

        data: Any = parts() if chunked else body
        headers = {"Content-Type": "application/json"}
        async with shim.session.post(f"{shim.url}/rpc", data=data, headers=headers) as response:
            return response.status, json.loads(await response.read())

    assert (await send(DELETE.ljust(MAX_BODY_BYTES)))[0] == 200
    status, answered = await send(DELETE.ljust(MAX_BODY_BYTES + 1))
    assert (status, answered["id"], len(recorder.calls)) == (413, None, 1)
    assert answered["error"]["code"] == INVALID_REQUEST
    actual = "more" if chunked else "100001 bytes"
    assert answered["error"]["message"] == f"Invalid Request: the body must be at most 100000 bytes, not {actual}"


async def test_a_compressed_body_is_read_and_a_garbled_one_refused(shim: Shim) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert (await shim.send(gzip.compress(DELETE), headers=headers)).body == DELETED
    bomb = await shim.send(gzip.compress(b" " * 10 * MAX_BODY_BYTES), headers=headers)
    assert (bomb.status, bomb.json["error"]["code"]) == (413, INVALID_REQUEST)
    garbled = await shim.send(DELETE, headers=headers)
    assert (garbled.status, garbled.json["error"]["code"], garbled.json["id"]) == (200, -32700, None)


@pytest.mark.parametrize(
    "body",
    [b'{"jsonrpc":"2.0","method":"task.delete","params":{"id":"\xff"},"id":1}', b"[" * 10_000, b"", b"{"],
    ids=["bad UTF-8", "10,000 brackets", "nothing", "cut"],
)
async def test_what_cannot_be_parsed_is_answered_and_survived(shim: Shim, recorder: Recorder, body: bytes) -> None:
    answered = await shim.send(body)
    assert (answered.status, answered.json["error"]["code"], answered.json["id"]) == (200, -32700, None)
    assert not recorder.calls
    assert (await shim.send(DELETE)).body == DELETED


async def test_a_deep_value_reaches_the_service_as_it_is(shim: Shim, recorder: Recorder) -> None:
    deep = "[" * 500 + "]" * 500
    await shim.call("task.create_attachment", f'{{"taskId":"t","key":"k","type":"json","value":{deep}}}')
    assert recorder.calls[0].request.json.value == deep


async def test_every_depth_is_answered(shim: Shim, recorder: Recorder) -> None:
    recorder.answers["CreateAttachment"] = attachments_pb2.CreateAttachmentResponse(
        type=attachments_pb2.ATTACHMENT_TYPE_JSON
    )
    seen = set()
    # Where the parser gives up: on the body, or only then on its parameters, further down the stack.
    for levels in range(900, 1000):
        deep = "[" * levels + "]" * levels
        params = f'{{"taskId":"t","key":"k","type":"json","value":{deep}}}'
        for one in (params, f'{{"id":"t","updates":{{"metadata":{deep}}}}}', f'{{"requests":{deep}}}'):
            method = {"i": "task.update", "r": "task.get_attachments_batch"}.get(one[2], "task.create_attachment")
            answered = (await shim.send(f'{{"jsonrpc":"2.0","method":"{method}","params":{one},"id":1}}'.encode())).json
            seen.add(answered["error"]["code"] if "error" in answered else 200)
            assert "result" in answered or answered["id"] == (None if answered["error"]["code"] == -32700 else 1)
    assert seen == {200, -32602, -32700}


async def test_notifications_are_carried_out_and_answered_with_204(shim: Shim, recorder: Recorder) -> None:
    one = DELETE.replace(b',"id":1}', b"}")
    unknown = b'{"jsonrpc":"2.0","method":"task.nothing"}'
    refused = b'{"jsonrpc":"2.0","method":"task.delete"}'
    for body in (one, unknown, refused, b"[" + b",".join([one, unknown, refused]) + b"]"):
        answered = await shim.send(body)
        assert (answered.status, answered.body) == (204, b"")
    assert [call.method for call in recorder.calls] == ["DeleteTask"] * 2


async def test_a_batch_is_carried_out_and_answered_in_order(shim: Shim, recorder: Recorder) -> None:
    recorder.answers["DeleteTask"] = lambda request: tasks_pb2.DeleteTaskResponse(id=request.id)
    items = [f'{{"jsonrpc":"2.0","method":"task.delete","params":{{"id":"t{n}"}},"id":"{n}"}}' for n in range(100)]
    items[7] = '{"jsonrpc":"2.0","method":"task.gone","id":"7"}'
    items[8] = "8"
    answered = await shim.send(("[" + ",".join(items) + "]").encode())
    assert [item["id"] for item in answered.json] == [str(n) if n != 8 else None for n in range(100)]
    assert [item["error"]["code"] for item in answered.json if "error" in item] == [-32601, -32600]
    assert [item["result"]["id"] for item in answered.json if "result" in item] == [
        f"t{n}" for n in range(100) if n not in {7, 8}
    ]


async def test_an_unknown_method_is_named(shim: Shim) -> None:
    error = {"code": -32601, "message": "Method not found", "data": {"method": "task.Get"}}
    assert (await shim.call("task.Get"))["error"] == error


async def test_an_empty_answer_of_the_service_is_an_internal_error(shim: Shim, recorder: Recorder) -> None:
    recorder.answers["GetTask"] = tasks_pb2.GetTaskResponse()
    error = {"code": -32603, "message": "Internal error", "data": {"reason": "INTERNAL"}}
    with capture_logs() as logged:
        assert (await shim.call("task.get", '{"id":"t"}'))["error"] == error
    assert [(line["event"], line["method"]) for line in logged if line.get("exc_info")] == [
        ("answer_failed", "task.get")
    ]


async def test_who_calls_is_passed_on(shim: Shim, recorder: Recorder) -> None:
    headers = {"X-Instance-Id": "instance 7~", "x-request-id": "r-1", "Authorization": "Bearer abc", "x-other": "no"}
    await shim.call("task.list", headers=headers)
    metadata = recorder.calls[0].metadata
    assert {name: metadata[name] for name in ("x-instance-id", "x-request-id", "authorization")} == {
        "x-instance-id": "instance 7~",
        "x-request-id": "r-1",
        "authorization": "Bearer abc",
    }
    assert "x-other" not in metadata
    await shim.call("task.list")
    assert not {"x-instance-id", "authorization"} & set(recorder.calls[1].metadata)


@pytest.mark.parametrize("header", ["x-instance-id", "authorization"])
async def test_a_header_grpc_cannot_carry_is_refused_with_the_rest(shim: Shim, recorder: Recorder, header: str) -> None:
    answered = await shim.call("task.get", '{"id":1}', headers={header: "Zoë"})
    assert answered["error"]["data"]["violations"] == [
        {"field": header, "description": "must be printable ASCII"},
        {"field": "id", "description": "must be a string, not a number"},
    ]
    answered = await shim.call("task.get", '{"id":"t"}', headers={header: "tab\tinside"})
    assert [each["field"] for each in answered["error"]["data"]["violations"]] == [header]
    assert not recorder.calls


async def test_refused_parameters_say_which_attachment_was_meant(shim: Shim) -> None:
    answered = await shim.call("task.get_attachment", '{"taskId":"t-1","key":"k","x":1}')
    assert answered["error"] == {
        "code": -32602,
        "message": "Invalid params: x is not a parameter of this method",
        "data": {
            "taskId": "t-1",
            "key": "k",
            "violations": [{"field": "x", "description": "is not a parameter of this method"}],
            "reason": "INVALID_PARAMS",
        },
    }


async def test_calls_of_one_connection_do_not_wait_for_another(shim: Shim, recorder: Recorder) -> None:
    stored = attachments_pb2.Attachment(
        id="ta-1",
        task_id="t",
        key="k",
        text=attachments_pb2.TextContent(content="x"),
        created_at=Timestamp(seconds=1),
        updated_at=Timestamp(seconds=1),
    )
    recorder.answers["GetAttachment"] = attachments_pb2.GetAttachmentResponse(attachment=stored)
    answers = await asyncio.gather(*(shim.call("task.get_attachment", '{"taskId":"t","key":"k"}') for _ in range(50)))
    assert all(answer["result"]["content"] == "x" for answer in answers)


async def test_the_process_says_that_it_lives(shim: Shim, lonely_shim: Shim) -> None:
    for one in (shim, lonely_shim):
        answered = await one.send(verb="GET", path="/healthz", headers={})
        assert (answered.status, answered.json) == (200, {"status": "ok"})


async def test_it_is_ready_when_the_service_is(shim: Shim, lonely_shim: Shim, backend: Backend) -> None:
    async def ready(one: Shim) -> tuple[int, Any]:
        answered = await one.send(verb="GET", path="/readyz", headers={})
        return answered.status, answered.json

    await backend.say(serving=True)
    assert await ready(shim) == (200, {"status": "ready", "stores": {}})  # it knows no stores
    await backend.say(serving=False)
    assert await ready(shim) == (503, {"status": "not ready", "stores": {}})
    await backend.say(serving=False, of="postgres")
    assert await ready(shim) == (503, {"status": "not ready", "stores": {"postgres": "down"}})
    await backend.say(serving=True)
    await backend.say(serving=True, of="redis")
    assert await ready(shim) == (200, {"status": "ready", "stores": {"postgres": "down", "redis": "up"}})
    assert await ready(lonely_shim) == (503, {"status": "not ready", "stores": {}})


async def test_the_address_that_a_client_calls_from_travels_on(shim: Shim, recorder: Recorder) -> None:
    await shim.call("task.get", '{"id":"t-1"}', {"X-Forwarded-For": "192.0.2.1"})
    assert recorder.calls[0].metadata["x-forwarded-for"] == "127.0.0.1"


async def test_metrics_are_what_they_are(shim: Shim) -> None:
    answered = await shim.send(verb="GET", path="/metrics", headers={})
    assert (answered.status, answered.body) == (200, METRICS)
    assert answered.headers["Content-Type"].startswith("text/plain; version=")
