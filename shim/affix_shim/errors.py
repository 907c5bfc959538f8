"""THE table: what a gRPC call failed with, to the JSON-RPC error the caller sees.

The service explains its errors in google.rpc details (ErrorInfo with the domain
`affix`); then its text is the contract's and is passed on. A failure without
them comes from somewhere on the way, and nothing of its text reaches the caller.
(design/contract.md, "Errors")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import structlog
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode
from grpc.aio import AioRpcError

from affix.v1.attachments_pb2 import BatchError
from affix_shim.jsonrpc import INVALID_PARAMS, METHOD_NOT_FOUND, JsonRpcError, internal_error
from affix_shim.paths import json_path
from affix_shim.violations import Violation, clip, invalid_params

STORAGE: Final = -32500
RATE_LIMITED: Final = -32000
CIRCUIT_OPEN: Final = -32001
NOT_ALLOWED: Final = -32002
CONFLICT: Final = -32004
TOKEN_EXPIRED: Final = -32005
WATCH_ENDED: Final = -32006

_DOMAIN: Final = "affix"
_DETAILS: Final = "grpc-status-details-bin"
_log = structlog.get_logger()


@dataclass(slots=True)
class Failure:
    """What is known of a failed call."""

    reason: str
    message: str
    facts: Mapping[str, str] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    retry_after_ms: int | None = None


def _reason(failure: Failure) -> dict[str, object]:
    return {"reason": failure.reason}


def _cause(failure: Failure) -> dict[str, object]:
    return {"reason": failure.facts.get("cause", "Storage unavailable")}


def _retry(failure: Failure) -> dict[str, object]:
    if failure.retry_after_ms is None:
        return _reason(failure)
    return {"retryAfterMs": failure.retry_after_ms, "reason": failure.reason}


def _revision(failure: Failure) -> dict[str, object]:
    current = failure.facts.get("currentRevision")
    return _reason(failure) if current is None else {"currentRevision": int(current), "reason": failure.reason}


def _limit(failure: Failure) -> dict[str, object]:
    numbers = {name: int(failure.facts[name]) for name in ("limit", "actual") if name in failure.facts}
    return {**numbers, "reason": failure.reason}


class _Row(NamedTuple):
    """How a reason looks in JSON-RPC: its code, which names its data carries, what else."""

    code: int
    names: tuple[str, ...]
    data: Callable[[Failure], dict[str, object]]


_NAMES: Final = ("taskId", "key")
TABLE: Final = {
    "TASK_NOT_FOUND": _Row(INVALID_PARAMS, ("taskId",), _reason),
    "ATTACHMENT_NOT_FOUND": _Row(INVALID_PARAMS, _NAMES, _reason),
    "STORAGE_UNAVAILABLE": _Row(STORAGE, _NAMES, _cause),
    "DEADLINE_EXCEEDED": _Row(STORAGE, _NAMES, _cause),
    "RATE_LIMITED": _Row(RATE_LIMITED, _NAMES, _retry),
    "LIMIT_EXCEEDED": _Row(RATE_LIMITED, _NAMES, _limit),
    "CIRCUIT_OPEN": _Row(CIRCUIT_OPEN, _NAMES, _retry),
    "UNAUTHENTICATED": _Row(NOT_ALLOWED, (), _reason),
    "PERMISSION_DENIED": _Row(NOT_ALLOWED, _NAMES, _reason),
    "CONFLICT": _Row(CONFLICT, _NAMES, _revision),
    "RESUME_TOKEN_EXPIRED": _Row(TOKEN_EXPIRED, ("taskId",), _reason),
    "SLOW_WATCHER": _Row(WATCH_ENDED, ("taskId",), _reason),
    "SHUTTING_DOWN": _Row(WATCH_ENDED, ("taskId",), _reason),
}


class Asked(NamedTuple):
    """The call that failed: its method, the method's phrase for a failure, `taskId` and `key` as far as given."""

    method: str
    failure: str
    names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Failed:
    """How a call failed: its status code and text, and its google.rpc details, if it has any."""

    code: StatusCode
    text: str
    details: Sequence[AnyMessage]

    @classmethod
    def of(cls, error: AioRpcError) -> Failed:
        """Take a failed call apart."""
        return cls(error.code(), error.details() or "", _details(error))

    @classmethod
    def of_item(cls, error: BatchError) -> Failed:
        """Take the failure of one item of a batch apart."""
        code = next((code for code in StatusCode if code.value[0] == error.code), StatusCode.UNKNOWN)
        return cls(code, error.message, error.details)


def to_json_rpc(failed: Failed, asked: Asked) -> JsonRpcError:
    """Make the JSON-RPC error for a failed call; logs what the caller is not told."""
    failure = _explained(failed) or _unexplained(failed, asked)
    if failure.reason == "INVALID_PARAMS":
        return invalid_params(failure.violations, asked.names)
    if failure.reason == "UNIMPLEMENTED":
        return method_not_found(asked.method)
    row = TABLE.get(failure.reason)
    if row is None:
        # Its text may hold anything, what callers store among it.
        _log.error("unexplained_failure", method=asked.method, status=failed.code.name)
        return internal_error()
    known = {**asked.names, **failure.facts}
    names = {name: known[name] for name in row.names if name in known}
    return JsonRpcError(row.code, failure.message, {**names, **row.data(failure)})


def method_not_found(method: str) -> JsonRpcError:
    """Make the answer to a method that does not exist."""
    return JsonRpcError(METHOD_NOT_FOUND, "Method not found", {"method": clip(method)})


def needs_websocket(method: str) -> JsonRpcError:
    """Make the answer to a method that exists, but not here."""
    return JsonRpcError(
        METHOD_NOT_FOUND, f"{method} needs the WebSocket at /ws", {"method": method, "reason": "WEBSOCKET_REQUIRED"}
    )


def shutting_down() -> JsonRpcError:
    """Make the error for a watch that ends because this side of it does."""
    message = "The server is shutting down: resume elsewhere from the last token"
    return JsonRpcError(WATCH_ENDED, message, {"reason": "SHUTTING_DOWN"})


def _explained(failed: Failed) -> Failure | None:
    """Take the service's details apart; None when they are not there."""
    found: Failure | None = None
    violations: list[Violation] = []
    retry_after_ms: int | None = None
    for detail in failed.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo.FromString(detail.value)
            if info.domain == _DOMAIN:
                found = Failure(info.reason, failed.text, dict(info.metadata))
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest.FromString(detail.value)
            violations = [Violation(json_path(each.field), each.description) for each in bad.field_violations]
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            delay = error_details_pb2.RetryInfo.FromString(detail.value).retry_delay
            retry_after_ms = delay.seconds * 1000 - -delay.nanos // 1_000_000  # rounded up
    if found is not None:
        found.violations = violations
        found.retry_after_ms = retry_after_ms
    return found


def is_explained(error: AioRpcError) -> bool:
    """Tell whether it is the service that failed the call, and said why."""
    return any(key == _DETAILS for key, _ in error.trailing_metadata() or ())


def _details(error: AioRpcError) -> list[AnyMessage]:
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS and isinstance(value, bytes):
            try:
                return list(status_pb2.Status.FromString(value).details)
            except DecodeError:
                return []  # not from our service; the status code still says something
    return []


def _unexplained(failed: Failed, asked: Asked) -> Failure:
    """Judge by the status code alone; the text may be anyone's and stays here."""
    match failed.code:
        case StatusCode.UNAVAILABLE:
            return Failure("STORAGE_UNAVAILABLE", asked.failure, {"cause": "Service unreachable"})
        case StatusCode.DEADLINE_EXCEEDED:
            return Failure("DEADLINE_EXCEEDED", asked.failure, {"cause": "Operation timed out"})
        case StatusCode.RESOURCE_EXHAUSTED if "larger than max" in failed.text:
            why = "are too large, or their answer is: send less, or ask for less with a lower limit"
            return Failure("INVALID_PARAMS", "", violations=[Violation("params", why)])
        case StatusCode.RESOURCE_EXHAUSTED:
            return Failure("STORAGE_UNAVAILABLE", asked.failure, {"cause": "Service overloaded"})
        case StatusCode.UNAUTHENTICATED:
            return Failure("UNAUTHENTICATED", "Unauthenticated")
        case StatusCode.PERMISSION_DENIED:
            return Failure("PERMISSION_DENIED", "Permission denied")
        case StatusCode.UNIMPLEMENTED:
            return Failure("UNIMPLEMENTED", "")
        case _:
            return Failure("INTERNAL", "")
