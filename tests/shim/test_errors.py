"""Each row of the error table, from a real status with real details over a real connection."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from grpc import StatusCode
from structlog.testing import capture_logs

from tests.shim.conftest import Shim
from tests.shim.recording import Recorder, Refusal, reason

REF = '{"taskId":"t-1","key":"k"}'
# What the service says, and what becomes of it for task.get_attachment {"taskId": "t-1", "key": "k"}.
TABLE: dict[str, tuple[Refusal, dict[str, Any]]] = {
    "task not found": (
        Refusal(StatusCode.NOT_FOUND, "Task t-1 not found", [reason("TASK_NOT_FOUND", taskId="t-1")]),
        {"code": -32602, "message": "Task t-1 not found", "data": {"taskId": "t-1", "reason": "TASK_NOT_FOUND"}},
    ),
    "attachment not found": (
        Refusal(
            StatusCode.NOT_FOUND,
            "Attachment not found: t-9/z",
            [reason("ATTACHMENT_NOT_FOUND", taskId="t-9", key="z")],
        ),
        {
            "code": -32602,
            "message": "Attachment not found: t-9/z",
            "data": {"taskId": "t-9", "key": "z", "reason": "ATTACHMENT_NOT_FOUND"},
        },
    ),
    "names fall back on the request's": (
        Refusal(
            StatusCode.UNAVAILABLE,
            "Failed to retrieve attachment",
            [reason("STORAGE_UNAVAILABLE", cause="Database connection timeout")],
        ),
        {
            "code": -32500,
            "message": "Failed to retrieve attachment",
            "data": {"taskId": "t-1", "key": "k", "reason": "Database connection timeout"},
        },
    ),
    "deadline": (
        Refusal(
            StatusCode.DEADLINE_EXCEEDED,
            "Failed to retrieve attachment",
            [reason("DEADLINE_EXCEEDED", cause="Operation timed out")],
        ),
        {
            "code": -32500,
            "message": "Failed to retrieve attachment",
            "data": {"taskId": "t-1", "key": "k", "reason": "Operation timed out"},
        },
    ),
    "rate limited, rounded up": (
        Refusal(
            StatusCode.RESOURCE_EXHAUSTED,
            "Rate limit exceeded",
            [
                error_details_pb2.RetryInfo(retry_delay=Duration(seconds=2, nanos=500_000_001)),
                reason("RATE_LIMITED"),
            ],
        ),
        {
            "code": -32000,
            "message": "Rate limit exceeded",
            "data": {"taskId": "t-1", "key": "k", "retryAfterMs": 2501, "reason": "RATE_LIMITED"},
        },
    ),
    "circuit open": (
        Refusal(
            StatusCode.UNAVAILABLE,
            "Circuit open",
            [reason("CIRCUIT_OPEN"), error_details_pb2.RetryInfo(retry_delay=Duration(seconds=30))],
        ),
        {
            "code": -32001,
            "message": "Circuit open",
            "data": {"taskId": "t-1", "key": "k", "retryAfterMs": 30000, "reason": "CIRCUIT_OPEN"},
        },
    ),
    "unauthenticated": (
        Refusal(StatusCode.UNAUTHENTICATED, "Who?", [reason("UNAUTHENTICATED")]),
        {"code": -32002, "message": "Who?", "data": {"reason": "UNAUTHENTICATED"}},
    ),
    "permission denied": (
        Refusal(StatusCode.PERMISSION_DENIED, "Not you", [reason("PERMISSION_DENIED")]),
        {
            "code": -32002,
            "message": "Not you",
            "data": {"taskId": "t-1", "key": "k", "reason": "PERMISSION_DENIED"},
        },
    ),
    "conflict": (
        Refusal(StatusCode.ABORTED, "Taken", [reason("CONFLICT", taskId="t-1", currentRevision="9007199254740993")]),
        {
            "code": -32004,
            "message": "Taken",
            "data": {"taskId": "t-1", "key": "k", "currentRevision": 9007199254740993, "reason": "CONFLICT"},
        },
    ),
    "bad parameters": (
        Refusal(
            StatusCode.INVALID_ARGUMENT,
            "Invalid params: task_id is required",
            [
                reason("INVALID_PARAMS"),
                error_details_pb2.BadRequest(
                    field_violations=[
                        error_details_pb2.BadRequest.FieldViolation(field="task_id", description="is required"),
                        error_details_pb2.BadRequest.FieldViolation(field="json.value", description="must be JSON"),
                    ]
                ),
            ],
        ),
        {
            "code": -32602,
            "message": "Invalid params: taskId is required; value must be JSON",
            "data": {
                "taskId": "t-1",
                "key": "k",
                "violations": [
                    {"field": "taskId", "description": "is required"},
                    {"field": "value", "description": "must be JSON"},
                ],
                "reason": "INVALID_PARAMS",
            },
        },
    ),
    # Without details, or with someone else's, the text is nobody's to pass on.
    "unavailable on the way": (
        Refusal(StatusCode.UNAVAILABLE, "ipv4:10.0.0.7:50051 refused"),
        {
            "code": -32500,
            "message": "Failed to retrieve attachment",
            "data": {"taskId": "t-1", "key": "k", "reason": "Service unreachable"},
        },
    ),
    "deadline on the way": (
        Refusal(StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"),
        {
            "code": -32500,
            "message": "Failed to retrieve attachment",
            "data": {"taskId": "t-1", "key": "k", "reason": "Operation timed out"},
        },
    ),
    "message too large": (
        Refusal(StatusCode.RESOURCE_EXHAUSTED, "SERVER: Received message larger than max (9 vs. 8)"),
        {
            "code": -32602,
            "message": "Invalid params: params are too large, or their answer is: send less, "
            "or ask for less with a lower limit",
            "data": {
                "taskId": "t-1",
                "key": "k",
                "violations": [
                    {
                        "field": "params",
                        "description": "are too large, or their answer is: send less, "
                        "or ask for less with a lower limit",
                    }
                ],
                "reason": "INVALID_PARAMS",
            },
        },
    ),
    "overloaded": (
        Refusal(StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!"),
        {
            "code": -32500,
            "message": "Failed to retrieve attachment",
            "data": {"taskId": "t-1", "key": "k", "reason": "Service overloaded"},
        },
    ),
    "unauthenticated by a proxy": (
        Refusal(StatusCode.UNAUTHENTICATED, "jwt at 10.0.0.7"),
        {"code": -32002, "message": "Unauthenticated", "data": {"reason": "UNAUTHENTICATED"}},
    ),
    "denied by a proxy": (
        Refusal(StatusCode.PERMISSION_DENIED, "rbac at 10.0.0.7"),
        {
            "code": -32002,
            "message": "Permission denied",
            "data": {"taskId": "t-1", "key": "k", "reason": "PERMISSION_DENIED"},
        },
    ),
    "unimplemented": (
        Refusal(StatusCode.UNIMPLEMENTED, "Method not found!"),
        {"code": -32601, "message": "Method not found", "data": {"method": "task.get_attachment"}},
    ),
}
INTERNAL = {"code": -32603, "message": "Internal error", "data": {"reason": "INTERNAL"}}
INTERNALS = {
    "internal": Refusal(StatusCode.INTERNAL, "Internal error", [reason("INTERNAL")]),
    "unknown": Refusal(StatusCode.UNKNOWN, "Unexpected <class 'KeyError'>"),
    "cancelled": Refusal(StatusCode.CANCELLED, "gone"),
    "data loss": Refusal(StatusCode.DATA_LOSS, "row 7"),
    "aborted by someone": Refusal(StatusCode.ABORTED, "tx 12"),
    "a reason of another domain": Refusal(
        StatusCode.NOT_FOUND, "10.0.0.7", [error_details_pb2.ErrorInfo(reason="TASK_NOT_FOUND", domain="example.com")]
    ),
    "a reason not known here": Refusal(StatusCode.FAILED_PRECONDITION, "new", [reason("NEW_IN_VERSION_9")]),
}


@pytest.mark.parametrize(("said", "wanted"), TABLE.values(), ids=TABLE)
async def test_a_failure_is_told_by_the_table(
    shim: Shim, recorder: Recorder, said: Refusal, wanted: dict[str, Any]
) -> None:
    recorder.answers["GetAttachment"] = said
    assert await shim.call("task.get_attachment", REF) == {"jsonrpc": "2.0", "error": wanted, "id": 1}


@pytest.mark.parametrize("said", INTERNALS.values(), ids=INTERNALS)
async def test_anything_else_is_an_internal_error_of_which_the_log_has_the_code(
    shim: Shim, recorder: Recorder, said: Refusal
) -> None:
    recorder.answers["GetAttachment"] = said
    with capture_logs() as logged:
        answered = await shim.call("task.get_attachment", REF)
    assert answered["error"] == INTERNAL
    # Its text may hold anything, what callers store among it.
    explained = [line for line in logged if line["event"] == "unexplained_failure"]
    assert [(line["method"], line["status"]) for line in explained] == [("task.get_attachment", said.code.name)]
    assert not said.message or said.message not in repr(explained)


async def test_details_that_do_not_decode_are_as_none(shim: Shim, recorder: Recorder) -> None:
    class Garbled(Refusal):
        @property
        def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
            return (("grpc-status-details-bin", b"\xff\xff"),)

    recorder.answers["GetAttachment"] = Garbled(StatusCode.UNAVAILABLE, "?")
    assert (await shim.call("task.get_attachment", REF))["error"]["data"]["reason"] == "Service unreachable"
