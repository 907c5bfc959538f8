"""gRPC's status and details as the JSON-RPC error of the contract's table, checked on the way."""

from __future__ import annotations

import math
import re
from typing import Any

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from tests.harness.wire import CONFLICT, INVALID_PARAMS, METHOD_NOT_FOUND, STORAGE_ERROR, CallError

# design/contract.md, "Errors": reason -> gRPC status, JSON-RPC code.
TABLE = {
    "INVALID_PARAMS": (grpc.StatusCode.INVALID_ARGUMENT, INVALID_PARAMS),
    "TASK_NOT_FOUND": (grpc.StatusCode.NOT_FOUND, INVALID_PARAMS),
    "ATTACHMENT_NOT_FOUND": (grpc.StatusCode.NOT_FOUND, INVALID_PARAMS),
    "STORAGE_UNAVAILABLE": (grpc.StatusCode.UNAVAILABLE, STORAGE_ERROR),
    "DEADLINE_EXCEEDED": (grpc.StatusCode.DEADLINE_EXCEEDED, STORAGE_ERROR),
    "RATE_LIMITED": (grpc.StatusCode.RESOURCE_EXHAUSTED, -32000),
    "LIMIT_EXCEEDED": (grpc.StatusCode.RESOURCE_EXHAUSTED, -32000),
    "CIRCUIT_OPEN": (grpc.StatusCode.UNAVAILABLE, -32001),
    "UNAUTHENTICATED": (grpc.StatusCode.UNAUTHENTICATED, -32002),
    "PERMISSION_DENIED": (grpc.StatusCode.PERMISSION_DENIED, -32002),
    "CONFLICT": (grpc.StatusCode.ABORTED, CONFLICT),
    "RESUME_TOKEN_EXPIRED": (grpc.StatusCode.OUT_OF_RANGE, -32005),
    "SLOW_WATCHER": (grpc.StatusCode.RESOURCE_EXHAUSTED, -32006),
    "SHUTTING_DOWN": (grpc.StatusCode.UNAVAILABLE, -32006),
    "INTERNAL": (grpc.StatusCode.INTERNAL, -32603),
}
_RESOURCES = {"TASK_NOT_FOUND": "task", "ATTACHMENT_NOT_FOUND": "attachment"}
_CONTENT_PREFIX = re.compile(r"^(requests\[\d+\]\.)?(?:json|markdown|text|url|binary|result)\.(?=[a-z])")


class Details:
    """The google.rpc details of a failure."""

    def __init__(self, status: status_pb2.Status) -> None:
        self.status = status

    @classmethod
    def of_call(cls, error: grpc.aio.AioRpcError) -> Details:
        packed = [value for name, value in error.trailing_metadata() or () if name == "grpc-status-details-bin"]
        assert len(packed) == 1, f"no details: {error.code()} {error.details()}"
        status = status_pb2.Status.FromString(packed[0] if isinstance(packed[0], bytes) else packed[0].encode())
        assert (status.code, status.message) == (error.code().value[0], error.details())
        return cls(status)

    def find(self, kind: type[Message]) -> Any:
        """Return the one detail of this kind, or None."""
        found = []
        for packed in self.status.details:
            detail = kind()
            if packed.Unpack(detail):
                found.append(detail)
        assert len(found) <= 1
        return found[0] if found else None


def json_field(path: str) -> str:
    """Turn a protobuf path into the JSON-RPC parameter it stands for."""
    if path.startswith("result."):
        return "result"
    if path.startswith("x-"):
        return path
    inner = _CONTENT_PREFIX.sub(lambda match: match[1] or "", path)
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), inner.replace("writers.instance_ids", "writers"))


def call_error(error: grpc.aio.AioRpcError) -> CallError:
    """Map a failed call; asserts that status, reason and details agree with the contract's table."""
    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
        return CallError(METHOD_NOT_FOUND, "Method not found", {})
    return _explained(Details.of_call(error))


def item_error(status: status_pb2.Status) -> CallError:
    """Map the failure of an item of a batch; it says what the failure of a call of its own would."""
    return _explained(Details(status))


def _explained(details: Details) -> CallError:
    message = details.status.message
    info = details.find(error_details_pb2.ErrorInfo)
    assert info is not None, f"no ErrorInfo: {details.status}"
    assert info.domain == "affix"
    status, code = TABLE[info.reason]
    assert details.status.code == status.value[0]
    if info.reason == "INVALID_PARAMS":
        return _invalid_params(message, details)
    metadata = dict(info.metadata)
    data: dict[str, Any] = {name: metadata[name] for name in ("taskId", "key") if name in metadata}
    if info.reason in _RESOURCES:
        resource = details.find(error_details_pb2.ResourceInfo)
        assert resource.resource_type == _RESOURCES[info.reason]
        assert resource.resource_name
    if "currentRevision" in metadata:
        data["currentRevision"] = int(metadata["currentRevision"])
    retry = details.find(error_details_pb2.RetryInfo)
    if retry is not None:
        data["retryAfterMs"] = math.ceil(retry.retry_delay.ToNanoseconds() / 1_000_000)
    return CallError(code, message, {**data, "reason": metadata.get("cause", info.reason)})


def _invalid_params(message: str, details: Details) -> CallError:
    bad = details.find(error_details_pb2.BadRequest)
    assert bad is not None, f"no BadRequest: {details.status}"
    assert bad.field_violations
    own = [f"{violation.field} {violation.description}" for violation in bad.field_violations]
    assert message == "Invalid params: " + "; ".join(own)
    violations = [
        {"field": json_field(violation.field), "description": violation.description}
        for violation in bad.field_violations
    ]
    text = "; ".join(f"{violation['field']} {violation['description']}" for violation in violations)
    return CallError(INVALID_PARAMS, f"Invalid params: {text}", {"violations": violations, "reason": "INVALID_PARAMS"})
