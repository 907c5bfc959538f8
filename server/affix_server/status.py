"""THE table: what an error is on the wire (design/contract.md, "Errors")."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from affix_server.errors import (
    AttachmentNotFoundError,
    CircuitOpenError,
    ConflictError,
    DeadlineExceededError,
    InvalidParamsError,
    LimitExceededError,
    PermissionDeniedError,
    RateLimitedError,
    ResumeTokenExpiredError,
    ShuttingDownError,
    SlowWatcherError,
    StorageUnavailableError,
    TaskNotFoundError,
    UnauthenticatedError,
)

DOMAIN = "affix"
DETAILS_KEY = "grpc-status-details-bin"

# What a storage error says, by method: the spec's words where it has them.
_FAILURES = {
    "CreateAttachment": "Failed to store attachment",
    "GetAttachment": "Failed to retrieve attachment",
    "ListAttachments": "Failed to retrieve attachments",
    "DeleteAttachment": "Failed to delete attachment",
    "BatchGetAttachments": "Failed to retrieve attachments",
    "BatchCreateAttachments": "Failed to store attachments",
    "BatchDeleteAttachments": "Failed to delete attachments",
    "WatchAttachments": "Failed to watch attachments",
    "CreateTask": "Failed to store task",
    "GetTask": "Failed to retrieve task",
    "UpdateTask": "Failed to update task",
    "ListTasks": "Failed to retrieve tasks",
    "CompleteTask": "Failed to complete task",
    "DeleteTask": "Failed to delete task",
}
# Why a watch ends: code, message, reason.
_WATCH_ENDS: dict[type[BaseException], tuple[grpc.StatusCode, str, str]] = {
    ResumeTokenExpiredError: (
        grpc.StatusCode.OUT_OF_RANGE,
        "Events may be missing: read again what matters and watch anew, without a resume token",
        "RESUME_TOKEN_EXPIRED",
    ),
    SlowWatcherError: (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "Events came faster than they were taken: resume from the last token",
        "SLOW_WATCHER",
    ),
    ShuttingDownError: (
        grpc.StatusCode.UNAVAILABLE,
        "The server is shutting down: resume elsewhere from the last token",
        "SHUTTING_DOWN",
    ),
}
_NOT_FOUND = {
    "DeleteAttachment": "Attachment '{key}' not found for task {task_id}",
    "BatchGetAttachments": "Attachment not found: {task_id}/{key}",
}
_NOT_FOUND_ELSEWHERE = "Attachment with key '{key}' not found for task {task_id}"


@dataclass(frozen=True, slots=True)
class WireError:
    """An error as gRPC carries it: a status code, a message, and google.rpc details."""

    code: grpc.StatusCode
    message: str
    reason: str
    details: tuple[Message, ...] = ()

    def trailers(self) -> tuple[tuple[str, bytes], ...]:
        """Return the trailing metadata that holds the details."""
        status = status_pb2.Status(code=self.code.value[0], message=self.message, details=self.packed())
        return ((DETAILS_KEY, status.SerializeToString()),)

    def packed(self) -> list[AnyMessage]:
        """Return the details as a google.rpc.Status has them."""
        packed = [AnyMessage() for _ in self.details]
        for place, detail in enumerate(self.details):
            packed[place].Pack(detail)
        return packed


def wire_error(fault: BaseException, method: str, request: object) -> WireError:
    """Say how an exception looks to whoever called `method` with `request`.

    Anything but an AffixError is our bug, and none of its text is in the result.
    """
    subject = dict(_subject(request))
    if type(fault) in _WATCH_ENDS:
        code, message, reason = _WATCH_ENDS[type(fault)]
        return _error(code, message, reason, **subject)
    match fault:
        case InvalidParamsError(violations=violations):
            message = "; ".join(f"{violation.field} {violation.description}" for violation in violations)
            bad = error_details_pb2.BadRequest()
            for violation in violations:
                bad.field_violations.add(field=violation.field, description=violation.description)
            return _error(
                grpc.StatusCode.INVALID_ARGUMENT, f"Invalid params: {message}", "INVALID_PARAMS", bad, **subject
            )
        case TaskNotFoundError(task_id=task_id):
            return _not_found(f"Task {task_id} not found", "TASK_NOT_FOUND", "task", task_id, taskId=task_id)
        case AttachmentNotFoundError(task_id=task_id, key=key):
            message = _NOT_FOUND.get(method, _NOT_FOUND_ELSEWHERE).format(task_id=task_id, key=key)
            name = f"{task_id}/{key}"
            return _not_found(message, "ATTACHMENT_NOT_FOUND", "attachment", name, taskId=task_id, key=key)
        case ConflictError(what=what, current_revision=revision):
            return _conflict(what, subject, revision)
        case CircuitOpenError(retry_after_ms=ms):
            message = _FAILURES.get(method, "Storage is unavailable")
            return _error(grpc.StatusCode.UNAVAILABLE, message, "CIRCUIT_OPEN", _retry(ms), **subject)
        case RateLimitedError() | LimitExceededError():
            return _exhausted(fault, subject)
        case StorageUnavailableError():
            return _storage_failure(fault, method, subject)
    return _not_allowed(fault, subject) or _error(grpc.StatusCode.INTERNAL, "Internal error", "INTERNAL")


def _not_allowed(fault: BaseException, subject: Mapping[str, str]) -> WireError | None:
    match fault:
        case UnauthenticatedError(what=what):
            return _error(grpc.StatusCode.UNAUTHENTICATED, what, "UNAUTHENTICATED")
        case PermissionDeniedError(what=what):
            return _error(grpc.StatusCode.PERMISSION_DENIED, what, "PERMISSION_DENIED", **subject)
    return None


def _conflict(what: str, subject: Mapping[str, str], revision: int) -> WireError:
    names = [subject[name] for name in ("taskId", "key") if name in subject]
    kind = "attachment" if "key" in subject else "task"
    resource = error_details_pb2.ResourceInfo(resource_type=kind, resource_name="/".join(names))
    return _error(grpc.StatusCode.ABORTED, what, "CONFLICT", resource, **subject, currentRevision=str(revision))


def _storage_failure(fault: StorageUnavailableError, method: str, subject: Mapping[str, str]) -> WireError:
    late = isinstance(fault, DeadlineExceededError)
    code = grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.UNAVAILABLE
    reason = "DEADLINE_EXCEEDED" if late else "STORAGE_UNAVAILABLE"
    message = _FAILURES.get(method, "Storage is unavailable")
    return _error(code, message, reason, **subject, cause=fault.cause)


def _exhausted(fault: RateLimitedError | LimitExceededError, subject: Mapping[str, str]) -> WireError:
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    if isinstance(fault, RateLimitedError):
        message = f"Too many calls: try again in {math.ceil(fault.retry_after_ms / 1000)} s"
        return _error(code, message, "RATE_LIMITED", _retry(fault.retry_after_ms), **subject)
    message = f"Too many {fault.what}: {fault.actual}, at most {fault.limit} are allowed"
    return _error(code, message, "LIMIT_EXCEEDED", **subject, limit=str(fault.limit), actual=str(fault.actual))


def _subject(request: object) -> Iterator[tuple[str, str]]:
    """Yield what a request is about, for a client that sees only the error."""
    for name, field in (("taskId", "task_id"), ("key", "key")):
        value = getattr(request, field, "")
        if isinstance(value, str) and value:
            yield name, value
    # The messages of TaskService name the task `id`.
    task_id = getattr(request, "id", "")
    if isinstance(task_id, str) and task_id:
        yield "taskId", task_id


def _error(code: grpc.StatusCode, message: str, reason: str, *details: Message, **metadata: str) -> WireError:
    info = error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=metadata)
    return WireError(code, message, reason, (info, *details))


def _not_found(message: str, reason: str, kind: str, name: str, **metadata: str) -> WireError:
    resource = error_details_pb2.ResourceInfo(resource_type=kind, resource_name=name)
    return _error(grpc.StatusCode.NOT_FOUND, message, reason, resource, **metadata)


def _retry(ms: int) -> error_details_pb2.RetryInfo:
    delay = Duration(seconds=ms // 1000, nanos=ms % 1000 * 1_000_000)
    return error_details_pb2.RetryInfo(retry_delay=delay)
