"""Parameters to protobuf requests, one function a method.

A request made from refused parameters is never sent: `Params.violations` decides.
The names of the functions are those of the RPCs. (design/contract.md, "Wires", "Tasks")
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from affix.v1 import attachments_pb2 as attachments
from affix.v1 import tasks_pb2 as tasks
from affix_shim.params import INT32, INT64, Params

TYPES: Final = {
    "json": attachments.ATTACHMENT_TYPE_JSON,
    "markdown": attachments.ATTACHMENT_TYPE_MARKDOWN,
    "text": attachments.ATTACHMENT_TYPE_TEXT,
    "url": attachments.ATTACHMENT_TYPE_URL,
    "binary": attachments.ATTACHMENT_TYPE_BINARY,
}
STATUSES: Final = {
    "pending": tasks.TASK_STATUS_PENDING,
    "in_progress": tasks.TASK_STATUS_IN_PROGRESS,
    "completed": tasks.TASK_STATUS_COMPLETED,
    "failed": tasks.TASK_STATUS_FAILED,
}
ORDER_BY: Final = {
    "createdAt": tasks.TASK_ORDER_BY_CREATED_AT,
    "updatedAt": tasks.TASK_ORDER_BY_UPDATED_AT,
    "priority": tasks.TASK_ORDER_BY_PRIORITY,
    "status": tasks.TASK_ORDER_BY_STATUS,
    "assignedTo": tasks.TASK_ORDER_BY_ASSIGNED_TO,
}
VIEWS: Final = {"full": attachments.ATTACHMENT_VIEW_FULL, "metadata": attachments.ATTACHMENT_VIEW_METADATA}
ORDERS: Final = {"asc": attachments.SORT_ORDER_ASC, "desc": attachments.SORT_ORDER_DESC}

M = TypeVar("M")

# Which parameters carry the content of which type; the first of them must be there.
CONTENT: Final = {
    "json": ("value",),
    "markdown": ("content",),
    "text": ("content",),
    "url": ("url",),
    "binary": ("mimeType", "size"),
}
_ALL_CONTENT: Final = tuple(dict.fromkeys(name for names in CONTENT.values() for name in names))
_TYPE_WORDS: Final = {word: word for word in TYPES}


def _ref(params: Params) -> tuple[str, str]:
    return params.required_string("taskId"), params.required_string("key")


def create_attachment(params: Params) -> attachments.CreateAttachmentRequest:
    """Read taskId, key, type and what the type has, and optionally ifRevision, ifAbsent, expiresAt or ttlSeconds.

    A parameter of another type is refused.
    """
    task_id, key = _ref(params)
    request = attachments.CreateAttachmentRequest(
        task_id=task_id, key=key, if_revision=params.integer("ifRevision", INT64), if_absent=params.boolean("ifAbsent")
    )
    _read_expiry(params, request)
    type_ = params.word("type", _TYPE_WORDS, required=True)
    params.ignore(_ALL_CONTENT)
    if type_ is None:
        return request
    _read_content(params, type_, request)
    for name in _ALL_CONTENT:
        if name not in CONTENT[type_] and params.has(name):
            params.refuse(name, f"does not belong to an attachment of type {type_}")
    return request


def _read_content(params: Params, type_: str, request: attachments.CreateAttachmentRequest) -> None:
    # Assigning an empty text sets the content too: empty is storable, absent is not.
    match type_:
        case "json":
            request.json.value = params.json("value", required=True) or ""
        case "markdown":
            request.markdown.content = params.required_string("content")
        case "text":
            request.text.content = params.required_string("content")
        case "url":
            request.url.url = params.required_string("url")
        case "binary":
            request.binary.mime_type = params.required_string("mimeType")
            size = params.integer("size", INT64)
            if size is not None:
                request.binary.size = size


def _read_expiry(params: Params, request: attachments.CreateAttachmentRequest) -> None:
    expires_at, ttl_seconds = params.time("expiresAt"), params.integer("ttlSeconds", INT64)
    if expires_at is not None:
        request.expires_at.CopyFrom(expires_at)
    if ttl_seconds is not None:
        request.ttl_seconds = ttl_seconds
    if params.has("expiresAt") and params.has("ttlSeconds"):
        params.refuse("ttlSeconds", "must not be given together with expiresAt")


def get_attachment(params: Params) -> attachments.GetAttachmentRequest:
    """Read taskId, key."""
    task_id, key = _ref(params)
    return attachments.GetAttachmentRequest(task_id=task_id, key=key)


def list_attachments(params: Params) -> attachments.ListAttachmentsRequest:
    """Read taskId, and optionally type, limit, offset, keyPrefix, view, order."""
    return attachments.ListAttachmentsRequest(
        task_id=params.required_string("taskId"),
        type=params.word("type", TYPES) or attachments.ATTACHMENT_TYPE_UNSPECIFIED,
        limit=params.integer("limit", INT32),
        offset=params.integer("offset", INT64),
        key_prefix=params.string("keyPrefix") or "",
        view=params.word("view", VIEWS) or attachments.ATTACHMENT_VIEW_UNSPECIFIED,
        order=params.word("order", ORDERS) or attachments.SORT_ORDER_UNSPECIFIED,
    )


def delete_attachment(params: Params) -> attachments.DeleteAttachmentRequest:
    """Read taskId, key, and optionally ifRevision."""
    task_id, key = _ref(params)
    if_revision = params.integer("ifRevision", INT64)
    return attachments.DeleteAttachmentRequest(task_id=task_id, key=key, if_revision=if_revision)


def batch_get_attachments(params: Params) -> attachments.BatchGetAttachmentsRequest:
    """Read requests: an array of {taskId, key}; and optionally allowMissing."""
    request = attachments.BatchGetAttachmentsRequest(allow_missing=params.boolean("allowMissing"))
    for item in params.objects("requests"):
        task_id, key = _ref(item)
        item.close()
        request.requests.add(task_id=task_id, key=key)
    return request


def batch_create_attachments(params: Params) -> attachments.BatchCreateAttachmentsRequest:
    """Read requests: an array of the parameters of task.create_attachment."""
    return attachments.BatchCreateAttachmentsRequest(requests=_each(params, create_attachment))


def batch_delete_attachments(params: Params) -> attachments.BatchDeleteAttachmentsRequest:
    """Read requests: an array of the parameters of task.delete_attachment."""
    return attachments.BatchDeleteAttachmentsRequest(requests=_each(params, delete_attachment))


def _each(params: Params, read: Callable[[Params], M]) -> list[M]:
    found = []
    for item in params.objects("requests"):
        found.append(read(item))
        item.close()
    return found


def watch_attachments(params: Params) -> attachments.WatchAttachmentsRequest:
    """Read taskId, keyPrefix, resumeToken, view. All optional."""
    return attachments.WatchAttachmentsRequest(
        task_id=params.string("taskId"),
        key_prefix=params.string("keyPrefix"),
        resume_token=params.string("resumeToken"),
        view=params.word("view", VIEWS) or attachments.ATTACHMENT_VIEW_UNSPECIFIED,
    )


def create_task(params: Params) -> tasks.CreateTaskRequest:
    """Read text, and optionally priority, metadata, id, writers."""
    return tasks.CreateTaskRequest(
        text=params.required_string("text"),
        priority=params.integer("priority", INT32),
        metadata=params.json_object("metadata"),
        id=params.string("id"),
        writers=params.strings("writers"),
    )


def get_task(params: Params) -> tasks.GetTaskRequest:
    """Read id."""
    return tasks.GetTaskRequest(id=params.required_string("id"))


def update_task(params: Params) -> tasks.UpdateTaskRequest:
    """Read id, and updates: any of text, status, priority, metadata, writers."""
    request = tasks.UpdateTaskRequest(id=params.required_string("id"))
    updates = params.object("updates", required=True)
    if updates is not None:
        request.updates.CopyFrom(
            tasks.TaskUpdates(
                text=updates.string("text"),
                status=updates.word("status", STATUSES) or tasks.TASK_STATUS_UNSPECIFIED,
                priority=updates.integer("priority", INT32),
                metadata=updates.json_object("metadata"),
            )
        )
        writers = updates.strings("writers")
        if writers is not None:
            request.updates.writers.CopyFrom(tasks.TaskWriters(instance_ids=writers))
        updates.close()
    return request


def list_tasks(params: Params) -> tasks.ListTasksRequest:
    """Read the filters status, assignedTo, priority; the page's limit, offset; orderBy, order. All optional."""
    return tasks.ListTasksRequest(
        status=params.word("status", STATUSES) or tasks.TASK_STATUS_UNSPECIFIED,
        assigned_to=params.string("assignedTo"),
        priority=params.integer("priority", INT32),
        limit=params.integer("limit", INT32),
        offset=params.integer("offset", INT64),
        order_by=params.word("orderBy", ORDER_BY) or tasks.TASK_ORDER_BY_UNSPECIFIED,
        order=params.word("order", ORDERS) or attachments.SORT_ORDER_UNSPECIFIED,
    )


def complete_task(params: Params) -> tasks.CompleteTaskRequest:
    """Read the task as id or taskId, and optionally workerId and result, any JSON value."""
    task_id = params.string("taskId")
    id_ = params.string("id", required=not params.has("taskId"))
    if task_id is not None and id_ is not None and task_id != id_:
        params.refuse("taskId", "must equal id when both are given")
    request = tasks.CompleteTaskRequest(
        id=id_ or task_id or "",
        worker_id=params.string("workerId"),
    )
    result = params.json("result")
    if result is not None:
        request.result.value = result
    return request


def delete_task(params: Params) -> tasks.DeleteTaskRequest:
    """Read id."""
    return tasks.DeleteTaskRequest(id=params.required_string("id"))
