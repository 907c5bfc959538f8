"""Each row of the contract's table of errors that a healthy service can be made to answer."""

from __future__ import annotations

import re
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from tests.harness.grpc_errors import Details
from tests.harness.grpc_messages import METHODS
from tests.harness.grpc_wire import GrpcWire
from tests.harness.jsonrpc_wire import JsonRpcWire
from tests.harness.samples import create, filled
from tests.harness.wire import CONFLICT, INVALID_PARAMS, METHOD_NOT_FOUND, CallError, Wire

ON_A_TASK: list[tuple[str, dict[str, Any]]] = [
    ("task.create_attachment", {"taskId": "T", "key": "k", "type": "text", "content": "x"}),
    ("task.get_attachment", {"taskId": "T", "key": "k"}),
    ("task.list_attachments", {"taskId": "T"}),
    ("task.list_attachments", {"taskId": "T", "type": "json", "offset": 5}),
    ("task.delete_attachment", {"taskId": "T", "key": "k"}),
    ("task.get_attachments_batch", {"requests": [{"taskId": "T", "key": "k"}]}),
    ("task.get", {"id": "T"}),
    ("task.update", {"id": "T", "updates": {"priority": 1}}),
    ("task.complete", {"id": "T"}),
    ("task.complete", {"taskId": "T", "result": None}),
    ("task.delete", {"id": "T"}),
]
NO_ATTACHMENT = {
    "task.get_attachment": "Attachment with key 'missing' not found for task {}",
    "task.delete_attachment": "Attachment 'missing' not found for task {}",
}


@pytest.mark.parametrize(("method", "params"), ON_A_TASK)
async def test_a_task_that_does_not_exist_is_said_to(
    wire: Wire, absent_task: str, method: str, params: dict[str, Any]
) -> None:
    with pytest.raises(CallError) as refused:
        await wire.call(method, filled(params, absent_task))
    assert (refused.value.code, refused.value.message) == (INVALID_PARAMS, f"Task {absent_task} not found")
    assert refused.value.data == {"taskId": absent_task, "reason": "TASK_NOT_FOUND"}


@pytest.mark.parametrize("method", NO_ATTACHMENT)
async def test_an_attachment_that_does_not_exist_is_said_to(wire: Wire, task: str, method: str) -> None:
    await create(wire, task, "there")
    with pytest.raises(CallError) as refused:
        await wire.call(method, {"taskId": task, "key": "missing"})
    assert (refused.value.code, refused.value.message) == (INVALID_PARAMS, NO_ATTACHMENT[method].format(task))
    assert refused.value.data == {"taskId": task, "key": "missing", "reason": "ATTACHMENT_NOT_FOUND"}


async def test_an_awkward_key_is_quoted_as_it_is(wire: Wire, task: str) -> None:
    key = "it's 🧪 100% {odd}"
    with pytest.raises(CallError) as refused:
        await wire.call("task.get_attachment", {"taskId": task, "key": key})
    assert refused.value.message == f"Attachment with key '{key}' not found for task {task}"
    assert refused.value.data["key"] == key


async def test_creating_a_task_under_a_taken_id_is_a_conflict(wire: Wire, task: str) -> None:
    with pytest.raises(CallError) as refused:
        await wire.call("task.create", {"id": task, "text": "another"})
    assert (refused.value.code, refused.value.reason) == (CONFLICT, "CONFLICT")
    assert refused.value.data["currentRevision"] > 0
    assert (await wire.call("task.get", {"id": task}))["text"] == "a test"


@pytest.mark.parametrize("method", ["task.nope", "task.create_attachments", "nope"])
async def test_an_unknown_method_is_not_found(wire: Wire, method: str) -> None:
    with pytest.raises(CallError) as refused:
        await wire.call(method, {})
    assert refused.value.code == METHOD_NOT_FOUND


async def test_an_unknown_grpc_method_is_unimplemented(grpc_wire: GrpcWire) -> None:
    for path in ("/affix.v1.AttachmentService/Nope", "/affix.v2.AttachmentService/GetAttachment"):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await grpc_wire.raw(path, b"")
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


# The last begins with field 2, which is text or a message in every request that has one.
UNDECODABLE = {"not protobuf": b"\xff\xff\xff\xff", "cut short": b"\x0a\x05t-1", "invalid UTF-8": b"\x12\x02\xc3\x28"}


@pytest.mark.parametrize("request_", UNDECODABLE.values(), ids=UNDECODABLE)
@pytest.mark.parametrize("method", METHODS)
async def test_a_grpc_request_that_does_not_decode_is_invalid(
    grpc_wire: GrpcWire, method: str, request_: bytes
) -> None:
    mapping = METHODS[method]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await grpc_wire.raw(f"/{mapping.service}/{mapping.rpc}", request_)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert Details.of_call(refused.value).find(error_details_pb2.ErrorInfo).reason == "INVALID_PARAMS"
    assert not re.search(r"error|exception|python|traceback|_pb2", refused.value.details() or "", re.IGNORECASE)


async def test_an_unknown_grpc_enum_is_refused(grpc_wire: GrpcWire, task: str) -> None:
    list_request = METHODS["task.list_attachments"].request({"taskId": task}).SerializeToString() + b"\x10\x63"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await grpc_wire.raw("/affix.v1.AttachmentService/ListAttachments", list_request)
    bad = Details.of_call(refused.value).find(error_details_pb2.BadRequest)
    assert [violation.field for violation in bad.field_violations] == ["type"]


async def test_grpc_violations_name_protobuf_paths(grpc_wire: GrpcWire, task: str) -> None:
    wanted: dict[str, dict[str, Any]] = {
        "binary.size": {"type": "binary", "mimeType": "a/b", "size": 0},
        "binary.mime_type": {"type": "binary", "mimeType": "ab"},
        "url.url": {"type": "url", "url": "ab"},
        "text.content": {"type": "text", "content": "\x00"},
        "markdown.content": {"type": "markdown", "content": "\x00"},
        "content": {},
    }
    for path, content in wanted.items():
        request = METHODS["task.create_attachment"].request({"taskId": task, "key": "k", **content})
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await grpc_wire.raw("/affix.v1.AttachmentService/CreateAttachment", request.SerializeToString())
        bad = Details.of_call(refused.value).find(error_details_pb2.BadRequest)
        assert [violation.field for violation in bad.field_violations] == [path]


async def test_a_jsonrpc_error_echoes_the_id_as_it_was_written(jsonrpc: JsonRpcWire) -> None:
    body = '{"jsonrpc": "2.0", "method": "task.get", "params": {"id": "t-none"}, "id": 12345678901234567890.0}'
    assert '"id":12345678901234567890.0' in (await jsonrpc.post(body)).replace(" ", "")
