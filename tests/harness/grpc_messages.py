"""The neutral form and protobuf: the harness's own mapping, independent of the shim's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from affix.v1 import attachments_pb2 as a
from affix.v1 import tasks_pb2 as t
from tests.harness.json_text import dump
from tests.harness.wire import Params, RawJson, Result

M = TypeVar("M", bound=Message)


@dataclass(frozen=True)
class Mapping:
    """How one method travels over gRPC."""

    service: str
    rpc: str
    request: Callable[[Params], Message]
    result: Callable[[Any], Result]


def _fill(message: M, params: Params, names: dict[str, str]) -> M:
    """Set the fields that `params` give; `names` maps neutral names to protobuf's."""
    for name, field in names.items():
        if name in params:
            setattr(message, field, params[name])
    return message


def _word(enum: Any, number: int, prefix: str) -> str:
    name: str = enum.Name(number)
    return name.removeprefix(prefix).lower()


def _time(stamp: Timestamp) -> str:
    return stamp.ToJsonString()


def _json(text: Any) -> a.JsonContent:
    return a.JsonContent(value=dump(text))


def _durability(message: Any) -> Result:
    """Nothing for a committed write, as in JSON-RPC; whatever else is said, in words."""
    if message.durability == a.DURABILITY_COMMITTED:
        return {}
    return {"durability": _word(a.Durability, message.durability, "DURABILITY_")}


# Attachments


def _create_request(params: Params) -> a.CreateAttachmentRequest:
    request = _fill(a.CreateAttachmentRequest(), params, {"taskId": "task_id", "key": "key"})
    match params.get("type"):
        case "json":
            request.json.CopyFrom(_json(params["value"]))
        case "markdown":
            request.markdown.CopyFrom(a.MarkdownContent(content=params["content"]))
        case "text":
            request.text.CopyFrom(a.TextContent(content=params["content"]))
        case "url":
            request.url.CopyFrom(_fill(a.UrlContent(), params, {"url": "url"}))
        case "binary":
            request.binary.CopyFrom(_fill(a.BinaryContent(), params, {"mimeType": "mime_type", "size": "size"}))
    return request


def _list_request(params: Params) -> a.ListAttachmentsRequest:
    request = _fill(a.ListAttachmentsRequest(), params, {"taskId": "task_id", "limit": "limit", "offset": "offset"})
    if "type" in params:
        request.type = a.AttachmentType.Value(f"ATTACHMENT_TYPE_{params['type'].upper()}")
    return request


def _batch_request(params: Params) -> a.BatchGetAttachmentsRequest:
    refs = [_fill(a.AttachmentRef(), ref, {"taskId": "task_id", "key": "key"}) for ref in params["requests"]]
    return a.BatchGetAttachmentsRequest(requests=refs)


def _content(attachment: a.Attachment) -> Result:
    match attachment.WhichOneof("content"):
        case "json":
            return {"value": RawJson(attachment.json.value)}
        case "markdown":
            return {"content": attachment.markdown.content}
        case "text":
            return {"content": attachment.text.content}
        case "url":
            return {"url": attachment.url.url}
        case "binary":
            size = {"size": attachment.binary.size} if attachment.binary.HasField("size") else {}
            return {**size, "mimeType": attachment.binary.mime_type}
    raise AssertionError(f"no content: {attachment}")


def _attachment(attachment: a.Attachment) -> Result:
    assert attachment.revision > 0
    return {
        "id": attachment.id,
        "taskId": attachment.task_id,
        "key": attachment.key,
        "type": attachment.WhichOneof("content"),
        **_content(attachment),
        "createdBy": attachment.created_by,
        "createdAt": _time(attachment.created_at),
        "updatedAt": _time(attachment.updated_at),
    }


def _created(response: a.CreateAttachmentResponse) -> Result:
    assert response.revision > 0
    return {
        "id": response.id,
        "taskId": response.task_id,
        "key": response.key,
        "type": _word(a.AttachmentType, response.type, "ATTACHMENT_TYPE_"),
        "createdAt": _time(response.created_at),
        **_durability(response),
    }


def _page(response: a.ListAttachmentsResponse) -> Result:
    return {
        "attachments": [_attachment(attachment) for attachment in response.attachments],
        "totalCount": response.total_count,
        "hasMore": response.has_more,
        **({"degraded": True} if response.degraded else {}),
    }


def _deleted(response: a.DeleteAttachmentResponse) -> Result:
    assert response.revision > 0
    return {
        "id": response.id,
        "taskId": response.task_id,
        "key": response.key,
        "deleted": True,
        "deletedAt": _time(response.deleted_at),
        **_durability(response),
    }


# Tasks

_TASK_FIELDS = {"id": "id", "text": "text", "priority": "priority"}


def _create_task_request(params: Params) -> t.CreateTaskRequest:
    request = _fill(t.CreateTaskRequest(), params, _TASK_FIELDS)
    if "metadata" in params:
        request.metadata = dump(params["metadata"])
    return request


def _update_request(params: Params) -> t.UpdateTaskRequest:
    request = _fill(t.UpdateTaskRequest(), params, {"id": "id"})
    if "updates" in params:
        updates = params["updates"]
        request.updates.CopyFrom(_fill(t.TaskUpdates(), updates, {"text": "text", "priority": "priority"}))
        if "status" in updates:
            request.updates.status = t.TaskStatus.Value(f"TASK_STATUS_{updates['status'].upper()}")
        if "metadata" in updates:
            request.updates.metadata = dump(updates["metadata"])
    return request


_ORDER_BY = {
    "createdAt": t.TASK_ORDER_BY_CREATED_AT,
    "updatedAt": t.TASK_ORDER_BY_UPDATED_AT,
    "priority": t.TASK_ORDER_BY_PRIORITY,
    "status": t.TASK_ORDER_BY_STATUS,
    "assignedTo": t.TASK_ORDER_BY_ASSIGNED_TO,
}


def _list_tasks_request(params: Params) -> t.ListTasksRequest:
    names = {"assignedTo": "assigned_to", "priority": "priority", "limit": "limit", "offset": "offset"}
    request = _fill(t.ListTasksRequest(), params, names)
    if "status" in params:
        request.status = t.TaskStatus.Value(f"TASK_STATUS_{params['status'].upper()}")
    if "orderBy" in params:
        request.order_by = _ORDER_BY[params["orderBy"]]
    if "order" in params:
        request.order = t.SortOrder.Value(f"SORT_ORDER_{params['order'].upper()}")
    return request


def _complete_request(params: Params) -> t.CompleteTaskRequest:
    names = {"id": "id", "taskId": "id", "workerId": "worker_id"}
    request = _fill(t.CompleteTaskRequest(), params, names)
    if "result" in params:
        request.result.CopyFrom(_json(params["result"]))
    return request


def _task(task: t.Task) -> Result:
    assert task.revision > 0
    return {
        "id": task.id,
        "text": task.text,
        "status": _word(t.TaskStatus, task.status, "TASK_STATUS_"),
        "priority": task.priority,
        "metadata": RawJson(task.metadata),
        **({"assignedTo": task.assigned_to} if task.assigned_to else {}),
        "createdBy": task.created_by,
        "createdAt": _time(task.created_at),
        "updatedAt": _time(task.updated_at),
        **({"completedAt": _time(task.completed_at)} if task.HasField("completed_at") else {}),
        "attachmentCount": task.attachment_count,
    }


def _written(*names: str) -> Callable[[Any], Result]:
    """Answer with these fields of the task, as the contract's table of tasks has them."""

    def result(response: Any) -> Result:
        task = _task(response.task)
        return {**{name: task[name] for name in names}, **_durability(response)}

    return result


def _tasks(response: t.ListTasksResponse) -> Result:
    return {
        "tasks": [_task(task) for task in response.tasks],
        "totalCount": response.total_count,
        "hasMore": response.has_more,
    }


def _deleted_task(response: t.DeleteTaskResponse) -> Result:
    return {"id": response.id, "deleted": True, "deletedAt": _time(response.deleted_at), **_durability(response)}


def _named(message: Callable[[], Message], names: dict[str, str]) -> Callable[[Params], Message]:
    return lambda params: _fill(message(), params, names)


_REF = {"taskId": "task_id", "key": "key"}
_A, _T = "affix.v1.AttachmentService", "affix.v1.TaskService"

METHODS: dict[str, Mapping] = {
    "task.create_attachment": Mapping(_A, "CreateAttachment", _create_request, _created),
    "task.get_attachment": Mapping(
        _A, "GetAttachment", _named(a.GetAttachmentRequest, _REF), lambda response: _attachment(response.attachment)
    ),
    "task.list_attachments": Mapping(_A, "ListAttachments", _list_request, _page),
    "task.delete_attachment": Mapping(_A, "DeleteAttachment", _named(a.DeleteAttachmentRequest, _REF), _deleted),
    "task.get_attachments_batch": Mapping(
        _A,
        "BatchGetAttachments",
        _batch_request,
        lambda response: {"attachments": [_attachment(attachment) for attachment in response.attachments]},
    ),
    "task.create": Mapping(
        _T,
        "CreateTask",
        _create_task_request,
        _written("id", "text", "status", "priority", "metadata", "createdAt"),
    ),
    "task.get": Mapping(_T, "GetTask", _named(t.GetTaskRequest, {"id": "id"}), lambda response: _task(response.task)),
    "task.update": Mapping(
        _T,
        "UpdateTask",
        _update_request,
        _written("id", "text", "status", "priority", "createdAt", "updatedAt"),
    ),
    "task.list": Mapping(_T, "ListTasks", _list_tasks_request, _tasks),
    "task.complete": Mapping(_T, "CompleteTask", _complete_request, _written("id", "status", "completedAt")),
    "task.delete": Mapping(_T, "DeleteTask", _named(t.DeleteTaskRequest, {"id": "id"}), _deleted_task),
}
