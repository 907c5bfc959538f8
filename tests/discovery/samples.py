"""Answers of the service with all that can be in them, and with no more than must be."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from affix.v1 import attachments_pb2 as pb
from affix.v1 import tasks_pb2
from affix_shim import results
from affix_shim.methods import METHODS
from affix_shim.results import Options

_AT = Timestamp(seconds=1737284400)
_LATER = Timestamp(seconds=1737284400, nanos=250_000_000)
_ERROR = {"code": -32002, "message": "m", "data": {"taskId": "t-1", "key": "k", "reason": "PERMISSION_DENIED"}}
_PENDING = pb.DURABILITY_PENDING


def _attachment(**members: Any) -> pb.Attachment:
    return pb.Attachment(
        id="ta-1", task_id="t-1", key="k", created_by="i", created_at=_AT, updated_at=_LATER, revision=7, **members
    )


ATTACHMENTS = [
    _attachment(json=pb.JsonContent(value="[null]"), expires_at=_LATER),
    _attachment(markdown=pb.MarkdownContent(content="")),
    _attachment(text=pb.TextContent(content="x")),
    _attachment(url=pb.UrlContent(url="a:b")),
    _attachment(binary=pb.BinaryContent(mime_type="a/b", size=1)),
    _attachment(binary=pb.BinaryContent(mime_type="a/b")),
    _attachment(type=pb.ATTACHMENT_TYPE_TEXT, content_bytes=0),
    _attachment(type=pb.ATTACHMENT_TYPE_BINARY, binary=pb.BinaryContent(mime_type="a/b", size=1), content_bytes=0),
]
_TASKS = [
    tasks_pb2.Task(
        id="t-1",
        text="x",
        status=tasks_pb2.TASK_STATUS_COMPLETED,
        metadata='{"b":1e2}',
        assigned_to="w",
        writers=["w"],
        created_by="i",
        created_at=_AT,
        updated_at=_LATER,
        completed_at=_LATER,
    ),
    tasks_pb2.Task(
        id="t-2",
        text="y",
        status=tasks_pb2.TASK_STATUS_PENDING,
        priority=100,
        metadata="{}",
        created_by="i",
        created_at=_AT,
        updated_at=_AT,
    ),
]
_CREATED = [
    pb.CreateAttachmentResponse(
        id="ta-1", task_id="t-1", key="k", type=pb.ATTACHMENT_TYPE_URL, created_at=_AT, revision=7
    ),
    pb.CreateAttachmentResponse(
        id="ta-1",
        task_id="t-1",
        key="k",
        type=pb.ATTACHMENT_TYPE_JSON,
        created_at=_AT,
        expires_at=_LATER,
        revision=7,
        durability=_PENDING,
    ),
]
_DELETED = [
    pb.DeleteAttachmentResponse(id="ta-1", task_id="t-1", key="k", deleted_at=_AT, revision=7),
    pb.DeleteAttachmentResponse(id="ta-1", task_id="t-1", key="k", deleted_at=_AT, revision=7, durability=_PENDING),
]
_ANSWERS: dict[str, list[Message]] = {
    "task.create_attachment": list(_CREATED),
    "task.get_attachment": [pb.GetAttachmentResponse(attachment=one) for one in ATTACHMENTS],
    "task.list_attachments": [
        pb.ListAttachmentsResponse(attachments=ATTACHMENTS, total_count=9, has_more=True),
        pb.ListAttachmentsResponse(degraded=True),
    ],
    "task.delete_attachment": list(_DELETED),
    "task.get_attachments_batch": [
        pb.BatchGetAttachmentsResponse(attachments=ATTACHMENTS),
        pb.BatchGetAttachmentsResponse(entries=[pb.BatchGetEntry(not_found=pb.AttachmentRef(task_id="t", key="k"))]),
    ],
    "task.create_attachments_batch": [
        pb.BatchCreateAttachmentsResponse(results=[pb.BatchCreateResult(created=one) for one in _CREATED]),
        pb.BatchCreateAttachmentsResponse(results=[pb.BatchCreateResult(error=pb.BatchError(message="m"))]),
    ],
    "task.delete_attachments_batch": [
        pb.BatchDeleteAttachmentsResponse(results=[pb.BatchDeleteResult(deleted=one) for one in _DELETED]),
        pb.BatchDeleteAttachmentsResponse(results=[pb.BatchDeleteResult(error=pb.BatchError(message="m"))]),
    ],
    "task.create": [tasks_pb2.CreateTaskResponse(task=one) for one in _TASKS],
    "task.get": [tasks_pb2.GetTaskResponse(task=one) for one in _TASKS],
    "task.update": [tasks_pb2.UpdateTaskResponse(task=one) for one in _TASKS],
    "task.list": [tasks_pb2.ListTasksResponse(tasks=_TASKS, total_count=2)],
    "task.complete": [tasks_pb2.CompleteTaskResponse(task=_TASKS[0])],
    "task.delete": [tasks_pb2.DeleteTaskResponse(id="t-1", deleted_at=_AT)],
}


def _pending(answer: Any) -> Message:
    copy: Message = type(answer).FromString(answer.SerializeToString())
    if "durability" in copy.DESCRIPTOR.fields_by_name:
        copy.durability = _PENDING  # type: ignore[attr-defined]  # just looked up
    return copy


def printed(method: str) -> list[Any]:
    """What a method's answers are over JSON-RPC."""
    said = [answer for one in _ANSWERS[method] for answer in (one, _pending(one))]
    options = [Options(with_revision=False, error=lambda _: _ERROR)]
    if METHODS[method].has_revisions:
        options.append(Options(with_revision=True, error=lambda _: _ERROR))
    return [json.loads(msgspec.json.encode(METHODS[method].encode(one, asked))) for one in said for asked in options]


def _event(kind: str, **members: Any) -> pb.WatchAttachmentsResponse:
    return pb.WatchAttachmentsResponse(kind=pb.AttachmentEventKind.Value(f"ATTACHMENT_EVENT_KIND_{kind}"), **members)


_WRITTEN: dict[str, Any] = {"task_id": "t-1", "written_by": "i", "written_at": _AT, "revision": 7}
_NAMED: dict[str, Any] = {**_WRITTEN, "key": "k", "attachment_id": "ta-1"}


def notifications() -> list[Any]:
    """The parameters of each notification that there can be."""
    events = [
        _event("CREATED", **_NAMED, type=pb.ATTACHMENT_TYPE_TEXT, attachment=ATTACHMENTS[2]),
        _event("OVERWRITTEN", **_NAMED, type=pb.ATTACHMENT_TYPE_TEXT),
        _event("DELETED", **_NAMED),
        _event("TASK_DELETED", **_WRITTEN),
        _event("PROGRESS"),
    ]
    told = [json.loads(msgspec.json.encode(results.watch_attachments(event))) for event in events]
    return [
        *({"subscriptionId": "s-1", "resumeToken": "r", "event": event} for event in told),
        {"subscriptionId": "s-1", "error": {**_ERROR, "code": -32006, "data": {"reason": "SLOW_WATCHER"}}},
    ]
