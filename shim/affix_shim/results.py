"""Protobuf responses to results, one function a method, members in the order of the spec's examples.

JSON values are spliced in as the text they are. What is wrong with a response (a
JSON value without a text, an enum value this version does not know) raises: that
is a fault of the service, never the caller's. (design/contract.md, "Attachments", "Tasks")
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from msgspec import Raw

from affix.v1 import attachments_pb2 as attachments
from affix.v1 import tasks_pb2 as tasks
from affix_shim.requests import STATUSES, TYPES
from affix_shim.times import print_time

Result = dict[str, object]


@dataclass(frozen=True, slots=True)
class Options:
    """How the caller wants a result: with revisions or without; `error` prints why an item of a batch failed."""

    with_revision: bool
    error: Callable[[attachments.BatchError], Result]


def _no_item(_: attachments.BatchError) -> Result:
    raise TypeError("only a batch has items")


# For an attachment whose revision is told beside it.
_ALONE: Final = Options(with_revision=False, error=_no_item)
# An event that moves the resume token and tells of nothing else.
PROGRESS: Final = "progress"
_TYPE_WORDS: Final = {number: word for word, number in TYPES.items()}
_EVENT_WORDS: Final = {
    attachments.ATTACHMENT_EVENT_KIND_STARTED: "started",
    attachments.ATTACHMENT_EVENT_KIND_CREATED: "created",
    attachments.ATTACHMENT_EVENT_KIND_OVERWRITTEN: "overwritten",
    attachments.ATTACHMENT_EVENT_KIND_DELETED: "deleted",
    attachments.ATTACHMENT_EVENT_KIND_TASK_DELETED: "task_deleted",
    attachments.ATTACHMENT_EVENT_KIND_PROGRESS: PROGRESS,
}
_STATUS_WORDS: Final = {number: word for word, number in STATUSES.items()}


def _json(text: str) -> Raw:
    if not text:
        raise ValueError("the service answered with a JSON value that has no text")
    return Raw(text)


def _said(durability: attachments.Durability.ValueType) -> Result:
    return {"durability": "pending"} if durability == attachments.DURABILITY_PENDING else {}


def _revision(revision: int, options: Options) -> Result:
    return {"revision": revision} if options.with_revision else {}


def _expiry(stored: attachments.Attachment | attachments.CreateAttachmentResponse) -> Result:
    return {"expiresAt": print_time(stored.expires_at)} if stored.HasField("expires_at") else {}


def _attachment(stored: attachments.Attachment, options: Options) -> Result:
    content = stored.WhichOneof("content")
    type_ = content or _TYPE_WORDS[stored.type]
    result: Result = {"id": stored.id, "taskId": stored.task_id, "key": stored.key, "type": type_}
    match content:
        case "json":
            result["value"] = _json(stored.json.value)
        case "markdown":
            result["content"] = stored.markdown.content
        case "text":
            result["content"] = stored.text.content
        case "url":
            result["url"] = stored.url.url
        case "binary":
            if stored.binary.HasField("size"):
                result["size"] = stored.binary.size
            result["mimeType"] = stored.binary.mime_type
        case None if not stored.HasField("content_bytes"):
            raise ValueError("the service answered with an attachment that has no content")
    if stored.HasField("content_bytes"):
        result["contentBytes"] = stored.content_bytes
    result["createdBy"] = stored.created_by
    result["createdAt"] = print_time(stored.created_at)
    result["updatedAt"] = print_time(stored.updated_at)
    return {**result, **_expiry(stored), **_revision(stored.revision, options)}


def create_attachment(response: attachments.CreateAttachmentResponse, options: Options) -> Result:
    """Print the identity of what was stored."""
    return {
        "id": response.id,
        "taskId": response.task_id,
        "key": response.key,
        "type": _TYPE_WORDS[response.type],
        "createdAt": print_time(response.created_at),
        **_expiry(response),
        **_revision(response.revision, options),
        **_said(response.durability),
    }


def get_attachment(response: attachments.GetAttachmentResponse, options: Options) -> Result:
    """Print the attachment."""
    return _attachment(response.attachment, options)


def list_attachments(response: attachments.ListAttachmentsResponse, options: Options) -> Result:
    """Print the page; `degraded` only when it stands in for an answer."""
    result: Result = {
        "attachments": [_attachment(each, options) for each in response.attachments],
        "totalCount": response.total_count,
        "hasMore": response.has_more,
    }
    if response.degraded:
        result["degraded"] = True
    return result


def delete_attachment(response: attachments.DeleteAttachmentResponse, options: Options) -> Result:
    """Print what was deleted."""
    return {
        "id": response.id,
        "taskId": response.task_id,
        "key": response.key,
        "deleted": True,
        "deletedAt": print_time(response.deleted_at),
        **_revision(response.revision, options),
        **_said(response.durability),
    }


def batch_get_attachments(response: attachments.BatchGetAttachmentsResponse, options: Options) -> Result:
    """Print the attachments, in the order of the request; null for one that may be missing, and is."""
    found = [_attachment(each, options) for each in response.attachments]
    entries = [_attachment(e.attachment, options) if e.HasField("attachment") else None for e in response.entries]
    return {"attachments": [*found, *entries]}


def batch_create_attachments(response: attachments.BatchCreateAttachmentsResponse, options: Options) -> Result:
    """Print for each what was stored, or why it was not."""
    return {
        "results": [_failed(each, options) or create_attachment(each.created, options) for each in response.results]
    }


def batch_delete_attachments(response: attachments.BatchDeleteAttachmentsResponse, options: Options) -> Result:
    """Print for each what was deleted, or why it was not."""
    return {
        "results": [_failed(each, options) or delete_attachment(each.deleted, options) for each in response.results]
    }


def _failed(item: attachments.BatchCreateResult | attachments.BatchDeleteResult, options: Options) -> Result:
    return {"error": options.error(item.error)} if item.HasField("error") else {}


def watch_attachments(response: attachments.WatchAttachmentsResponse) -> Result:
    """Print an event, but for its resume token."""
    event: Result = {"type": _EVENT_WORDS[response.kind]}
    if not response.task_id:
        return event
    event["taskId"] = response.task_id
    if response.key:
        event |= {"key": response.key, "attachmentId": response.attachment_id}
    if response.type:
        event["attachmentType"] = _TYPE_WORDS[response.type]
    event |= {"writtenBy": response.written_by, "writtenAt": print_time(response.written_at)}
    event["revision"] = response.revision
    if response.HasField("attachment"):
        event["attachment"] = _attachment(response.attachment, _ALONE)
    return event


def _task(stored: tasks.Task) -> Result:
    result: Result = {
        "id": stored.id,
        "text": stored.text,
        "status": _STATUS_WORDS[stored.status],
        "priority": stored.priority,
        "metadata": _json(stored.metadata),
    }
    if stored.assigned_to:
        result["assignedTo"] = stored.assigned_to
    if stored.writers:
        result["writers"] = list(stored.writers)
    result["createdBy"] = stored.created_by
    result["createdAt"] = print_time(stored.created_at)
    result["updatedAt"] = print_time(stored.updated_at)
    if stored.HasField("completed_at"):
        result["completedAt"] = print_time(stored.completed_at)
    result["attachmentCount"] = stored.attachment_count
    return result


def create_task(response: tasks.CreateTaskResponse, _options: Options) -> Result:
    """Print the task as registered."""
    task = response.task
    return {
        "id": task.id,
        "text": task.text,
        "status": _STATUS_WORDS[task.status],
        "priority": task.priority,
        "metadata": _json(task.metadata),
        "createdAt": print_time(task.created_at),
        **_said(response.durability),
    }


def get_task(response: tasks.GetTaskResponse, _options: Options) -> Result:
    """Print the whole task."""
    return _task(response.task)


def update_task(response: tasks.UpdateTaskResponse, _options: Options) -> Result:
    """Print the task as changed."""
    task = response.task
    return {
        "id": task.id,
        "text": task.text,
        "status": _STATUS_WORDS[task.status],
        "priority": task.priority,
        "createdAt": print_time(task.created_at),
        "updatedAt": print_time(task.updated_at),
        **_said(response.durability),
    }


def list_tasks(response: tasks.ListTasksResponse, _options: Options) -> Result:
    """Print the page, each task whole."""
    return {
        "tasks": [_task(each) for each in response.tasks],
        "totalCount": response.total_count,
        "hasMore": response.has_more,
    }


def complete_task(response: tasks.CompleteTaskResponse, _options: Options) -> Result:
    """Print the completion."""
    task = response.task
    return {
        "id": task.id,
        "status": _STATUS_WORDS[task.status],
        "completedAt": print_time(task.completed_at),
        **_said(response.durability),
    }


def delete_task(response: tasks.DeleteTaskResponse, _options: Options) -> Result:
    """Print what was deleted."""
    return {
        "id": response.id,
        "deleted": True,
        "deletedAt": print_time(response.deleted_at),
        **_said(response.durability),
    }
