"""Every error there is: what gRPC carries of it, and that JSON-RPC's `data` has the same facts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.rpc import error_details_pb2, status_pb2

from affix.v1 import attachments_pb2 as pb
from affix_server import errors
from affix_server.errors import AffixError, Violation
from affix_server.status import DETAILS_KEY, wire_error
from affix_shim.errors import Asked, Failed, to_json_rpc
from tests.harness.grpc_errors import TABLE, Details

REQUEST = pb.GetAttachmentRequest(task_id="t-1", key="k")
NAMES = {"taskId": "t-1", "key": "k"}
# Each error with the facts that whoever gets it is told, as JSON-RPC spells them.
ERRORS: dict[type[AffixError], tuple[AffixError, dict[str, Any]]] = {
    errors.InvalidParamsError: (
        errors.InvalidParamsError(Violation("key", "is required")),
        {"reason": "INVALID_PARAMS", **NAMES, "violations": [{"field": "key", "description": "is required"}]},
    ),
    errors.TaskNotFoundError: (errors.TaskNotFoundError("t-1"), {"reason": "TASK_NOT_FOUND", "taskId": "t-1"}),
    errors.AttachmentNotFoundError: (
        errors.AttachmentNotFoundError("t-1", "k"),
        {"reason": "ATTACHMENT_NOT_FOUND", **NAMES},
    ),
    errors.ConflictError: (errors.ConflictError("No.", 7), {"reason": "CONFLICT", **NAMES, "currentRevision": 7}),
    errors.StorageUnavailableError: (
        errors.StorageUnavailableError("Database connection timeout"),
        {"reason": "Database connection timeout", **NAMES},
    ),
    errors.DeadlineExceededError: (errors.DeadlineExceededError(), {"reason": "Operation timed out", **NAMES}),
    errors.CircuitOpenError: (errors.CircuitOpenError(1500), {"reason": "CIRCUIT_OPEN", **NAMES, "retryAfterMs": 1500}),
    errors.RateLimitedError: (errors.RateLimitedError(250), {"reason": "RATE_LIMITED", **NAMES, "retryAfterMs": 250}),
    errors.LimitExceededError: (
        errors.LimitExceededError("calls at the same time", 2, 3),
        {"reason": "LIMIT_EXCEEDED", **NAMES, "limit": 2, "actual": 3},
    ),
    errors.UnauthenticatedError: (
        errors.UnauthenticatedError("Credentials are required"),
        {"reason": "UNAUTHENTICATED"},
    ),
    errors.PermissionDeniedError: (errors.PermissionDeniedError("No."), {"reason": "PERMISSION_DENIED", **NAMES}),
    errors.ResumeTokenExpiredError: (
        errors.ResumeTokenExpiredError(),
        {"reason": "RESUME_TOKEN_EXPIRED", "taskId": "t-1"},
    ),
    errors.SlowWatcherError: (errors.SlowWatcherError(), {"reason": "SLOW_WATCHER", "taskId": "t-1"}),
    errors.ShuttingDownError: (errors.ShuttingDownError(), {"reason": "SHUTTING_DOWN", "taskId": "t-1"}),
}
RESOURCES = {
    "TASK_NOT_FOUND": ("task", "t-1"),
    "ATTACHMENT_NOT_FOUND": ("attachment", "t-1/k"),
    "CONFLICT": ("attachment", "t-1/k"),
}


def _all(kind: type[AffixError] = AffixError) -> Iterator[type[AffixError]]:
    for one in kind.__subclasses__():
        yield one
        yield from _all(one)


def test_no_error_is_forgotten() -> None:
    assert {one for one in _all() if one.__module__ == "affix_server.errors"} == set(ERRORS)


@pytest.mark.parametrize("error", ERRORS)
def test_grpc_carries_what_there_is_to_know(error: type[AffixError]) -> None:
    fault, facts = ERRORS[error]
    wire = wire_error(fault, "GetAttachment", REQUEST)
    ((key, packed),) = wire.trailers()
    assert key == DETAILS_KEY
    details = Details(status_pb2.Status.FromString(packed))
    info = details.find(error_details_pb2.ErrorInfo)
    assert (info.domain, info.reason) == ("affix", wire.reason)
    assert TABLE[info.reason][0] is wire.code
    assert {**info.metadata}.items() >= {name: facts[name] for name in ("taskId", "key") if name in facts}.items()
    resource = details.find(error_details_pb2.ResourceInfo)
    assert (resource and (resource.resource_type, resource.resource_name)) == RESOURCES.get(info.reason)
    retry = details.find(error_details_pb2.RetryInfo)
    assert (retry and retry.retry_delay.ToMilliseconds()) == facts.get("retryAfterMs")
    bad = details.find(error_details_pb2.BadRequest)
    violations = [{"field": one.field, "description": one.description} for one in bad.field_violations] if bad else None
    assert violations == facts.get("violations")


@pytest.mark.parametrize("error", ERRORS)
def test_json_rpc_data_has_the_same_facts(error: type[AffixError]) -> None:
    fault, facts = ERRORS[error]
    wire = wire_error(fault, "GetAttachment", REQUEST)
    told = to_json_rpc(Failed(wire.code, wire.message, wire.packed()), Asked("task.get_attachment", "Failed", NAMES))
    assert (told.code, told.data) == (TABLE[wire.reason][1], facts)


def test_a_fault_of_ours_says_no_more_than_that() -> None:
    wire = wire_error(RuntimeError("the secret of the store"), "GetAttachment", REQUEST)
    (info,) = wire.details
    assert info == error_details_pb2.ErrorInfo(domain="affix", reason="INTERNAL")
    told = to_json_rpc(Failed(wire.code, wire.message, wire.packed()), Asked("task.get_attachment", "Failed", NAMES))
    assert (told.code, told.message, told.data) == (-32603, "Internal error", {"reason": "INTERNAL"})
