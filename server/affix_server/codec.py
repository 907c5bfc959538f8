"""Protobuf <-> domain, only here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from affix.v1 import attachments_pb2 as pb
from affix.v1 import tasks_pb2 as tasks_pb
from affix_server.domain import (
    Attachment,
    AttachmentEvent,
    AttachmentType,
    BinaryContent,
    Content,
    CountedTask,
    Created,
    Deleted,
    DeletedTask,
    EventKind,
    JsonContent,
    MarkdownContent,
    Page,
    Ref,
    Summary,
    Task,
    TaskOrderBy,
    TaskPage,
    TaskStatus,
    TextContent,
    UrlContent,
    WrittenTask,
)

_TYPES = {
    pb.ATTACHMENT_TYPE_JSON: AttachmentType.JSON,
    pb.ATTACHMENT_TYPE_MARKDOWN: AttachmentType.MARKDOWN,
    pb.ATTACHMENT_TYPE_TEXT: AttachmentType.TEXT,
    pb.ATTACHMENT_TYPE_URL: AttachmentType.URL,
    pb.ATTACHMENT_TYPE_BINARY: AttachmentType.BINARY,
}
_TYPE_NUMBERS = {type_: number for number, type_ in _TYPES.items()}
_STATUSES = {
    tasks_pb.TASK_STATUS_PENDING: TaskStatus.PENDING,
    tasks_pb.TASK_STATUS_IN_PROGRESS: TaskStatus.IN_PROGRESS,
    tasks_pb.TASK_STATUS_COMPLETED: TaskStatus.COMPLETED,
    tasks_pb.TASK_STATUS_FAILED: TaskStatus.FAILED,
}
_STATUS_NUMBERS = {status: number for number, status in _STATUSES.items()}
_ORDER_BY = {
    tasks_pb.TASK_ORDER_BY_CREATED_AT: TaskOrderBy.CREATED_AT,
    tasks_pb.TASK_ORDER_BY_UPDATED_AT: TaskOrderBy.UPDATED_AT,
    tasks_pb.TASK_ORDER_BY_PRIORITY: TaskOrderBy.PRIORITY,
    tasks_pb.TASK_ORDER_BY_STATUS: TaskOrderBy.STATUS,
    tasks_pb.TASK_ORDER_BY_ASSIGNED_TO: TaskOrderBy.ASSIGNED_TO,
}


_EVENT_KINDS = {
    EventKind.STARTED: pb.ATTACHMENT_EVENT_KIND_STARTED,
    EventKind.CREATED: pb.ATTACHMENT_EVENT_KIND_CREATED,
    EventKind.OVERWRITTEN: pb.ATTACHMENT_EVENT_KIND_OVERWRITTEN,
    EventKind.DELETED: pb.ATTACHMENT_EVENT_KIND_DELETED,
    EventKind.TASK_DELETED: pb.ATTACHMENT_EVENT_KIND_TASK_DELETED,
    EventKind.PROGRESS: pb.ATTACHMENT_EVENT_KIND_PROGRESS,
}


def decode_type(number: pb.AttachmentType.ValueType) -> AttachmentType | None:
    """Return the type, None if it is unspecified or not one of ours."""
    return _TYPES.get(number)


def decode_status(number: tasks_pb.TaskStatus.ValueType) -> TaskStatus | None:
    """Return the status, None if it is unspecified or not one of ours."""
    return _STATUSES.get(number)


def decode_order_by(number: tasks_pb.TaskOrderBy.ValueType) -> TaskOrderBy | None:
    """Return the order, None if it is unspecified or not one of ours."""
    return _ORDER_BY.get(number)


def decode_order(number: pb.SortOrder.ValueType, default: pb.SortOrder.ValueType) -> pb.SortOrder.ValueType | None:
    """Return the direction, `default` if it is unspecified, None if it is not one of ours."""
    if number == pb.SORT_ORDER_UNSPECIFIED:
        return default
    return number if number in {pb.SORT_ORDER_ASC, pb.SORT_ORDER_DESC} else None


def decode_content(request: pb.CreateAttachmentRequest) -> Content | None:
    """Return what is attached, None if nothing is."""
    match request.WhichOneof("content"):
        case "json":
            return JsonContent(request.json.value)
        case "markdown":
            return MarkdownContent(request.markdown.content)
        case "text":
            return TextContent(request.text.content)
        case "url":
            return UrlContent(request.url.url)
        case "binary":
            binary = request.binary
            return BinaryContent(binary.mime_type, binary.size if binary.HasField("size") else None)
        case _:
            return None


def encode_attachment(attachment: Attachment | Summary) -> pb.Attachment:
    """Return the message of an attachment, without its content for a summary."""
    return pb.Attachment(**_attachment(attachment))


def _attachment(attachment: Attachment | Summary) -> dict[str, Any]:
    """Return the fields of an attachment's message, as its constructor takes them, without content for a summary.

    A message of messages is made of dicts: to make each and have it copied takes twice as long, and to set field after
    field a third longer.
    """
    created = _time(attachment.created_at)
    fields: dict[str, Any] = {
        "id": attachment.id,
        "task_id": attachment.task_id,
        "key": attachment.key,
        "created_by": attachment.created_by,
        "created_at": created,
        "updated_at": created if attachment.updated_at == attachment.created_at else _time(attachment.updated_at),
        "revision": attachment.revision,
    }
    if attachment.expires_at is not None:
        fields["expires_at"] = _time(attachment.expires_at)
    if not isinstance(attachment, Attachment):
        fields["type"] = _TYPE_NUMBERS[attachment.type]
        fields["content_bytes"] = attachment.content_bytes
        if attachment.mime_type is not None:
            fields["binary"] = {"mime_type": attachment.mime_type, "size": attachment.size}
        return fields
    content = attachment.content
    if isinstance(content, JsonContent):
        fields["type"], fields["json"] = pb.ATTACHMENT_TYPE_JSON, {"value": content.value}
    elif isinstance(content, MarkdownContent):
        fields["type"], fields["markdown"] = pb.ATTACHMENT_TYPE_MARKDOWN, {"content": content.content}
    elif isinstance(content, TextContent):
        fields["type"], fields["text"] = pb.ATTACHMENT_TYPE_TEXT, {"content": content.content}
    elif isinstance(content, UrlContent):
        fields["type"], fields["url"] = pb.ATTACHMENT_TYPE_URL, {"url": content.url}
    else:
        fields["type"] = pb.ATTACHMENT_TYPE_BINARY
        fields["binary"] = {"mime_type": content.mime_type, "size": content.size}
    return fields


def _time(ms: int) -> dict[str, int]:
    return {"seconds": ms // 1000, "nanos": ms % 1000 * 1_000_000}


def encode_created(created: Created) -> pb.CreateAttachmentResponse:
    """Return the answer to a create."""
    return pb.CreateAttachmentResponse(
        id=created.id,
        task_id=created.task_id,
        key=created.key,
        type=_TYPE_NUMBERS[created.type],
        created_at=_timestamp(created.created_at),
        durability=_durability(pending=created.pending),
        revision=created.revision,
        expires_at=None if created.expires_at is None else _timestamp(created.expires_at),
    )


def encode_page(page: Page) -> pb.ListAttachmentsResponse:
    """Return the answer to a list."""
    attachments: Any = [_attachment(one) for one in page.attachments]
    return pb.ListAttachmentsResponse(
        attachments=attachments, total_count=page.total_count, has_more=page.has_more, degraded=page.degraded
    )


def encode_got(attachment: Attachment) -> pb.GetAttachmentResponse:
    """Return the answer to a get."""
    fields: Any = _attachment(attachment)
    return pb.GetAttachmentResponse(attachment=fields)


def encode_batch(attachments: Iterable[Attachment]) -> pb.BatchGetAttachmentsResponse:
    """Return the answer to a batch of which nothing may be missing."""
    fields: Any = [_attachment(one) for one in attachments]
    return pb.BatchGetAttachmentsResponse(attachments=fields)


def encode_found(ref: Ref, found: Attachment | None) -> pb.BatchGetEntry:
    """Return what was found under a name, or that nothing was."""
    if found is None:
        return pb.BatchGetEntry(not_found=pb.AttachmentRef(task_id=ref.task_id, key=ref.key))
    return pb.BatchGetEntry(attachment=encode_attachment(found))


def encode_event(event: AttachmentEvent, attachment: Attachment | None) -> pb.WatchAttachmentsResponse:
    """Return the message of an event, with the attachment that it tells of, if that is to be sent along."""
    if event.kind in {EventKind.STARTED, EventKind.PROGRESS}:
        return pb.WatchAttachmentsResponse(resume_token=event.resume_token, kind=_EVENT_KINDS[event.kind])
    return pb.WatchAttachmentsResponse(
        resume_token=event.resume_token,
        kind=_EVENT_KINDS[event.kind],
        task_id=event.task_id,
        key=event.key,
        attachment_id=event.id,
        type=_TYPE_NUMBERS[event.type] if event.type is not None else pb.ATTACHMENT_TYPE_UNSPECIFIED,
        written_by=event.by,
        written_at=_timestamp(event.at),
        revision=event.revision,
        attachment=encode_attachment(attachment) if attachment is not None else None,
    )


def encode_deleted(deleted: Deleted) -> pb.DeleteAttachmentResponse:
    """Return the answer to a delete."""
    return pb.DeleteAttachmentResponse(
        id=deleted.id,
        task_id=deleted.task_id,
        key=deleted.key,
        deleted_at=_timestamp(deleted.deleted_at),
        durability=_durability(pending=deleted.pending),
        revision=deleted.revision,
    )


def encode_task(task: Task, attachment_count: int | None) -> tasks_pb.Task:
    """Return the message of a task."""
    return tasks_pb.Task(
        id=task.id,
        text=task.text,
        status=_STATUS_NUMBERS[task.status],
        priority=task.priority,
        metadata=task.metadata,
        assigned_to=task.assigned_to or "",
        created_by=task.created_by,
        created_at=_timestamp(task.created_at),
        updated_at=_timestamp(task.updated_at),
        completed_at=None if task.completed_at is None else _timestamp(task.completed_at),
        attachment_count=attachment_count,
        revision=task.revision,
        writers=task.writers,
    )


def encode_counted(counted: CountedTask | WrittenTask) -> tasks_pb.Task:
    """Return the message of a task with its count."""
    return encode_task(counted.task, counted.attachment_count)


def encode_task_page(page: TaskPage) -> tasks_pb.ListTasksResponse:
    """Return the answer to a list of tasks."""
    return tasks_pb.ListTasksResponse(
        tasks=[encode_counted(task) for task in page.tasks], total_count=page.total_count, has_more=page.has_more
    )


def encode_deleted_task(deleted: DeletedTask) -> tasks_pb.DeleteTaskResponse:
    """Return the answer to a task's deletion."""
    return tasks_pb.DeleteTaskResponse(
        id=deleted.id, deleted_at=_timestamp(deleted.deleted_at), durability=_durability(pending=deleted.pending)
    )


def task_durability(written: WrittenTask) -> pb.Durability.ValueType:
    """Return how safely a task write is kept."""
    return _durability(pending=written.pending)


def _durability(*, pending: bool) -> pb.Durability.ValueType:
    return pb.DURABILITY_PENDING if pending else pb.DURABILITY_COMMITTED


def decode_time(time: Timestamp) -> int:
    """Return a time in milliseconds since the epoch; parts of one are cut off."""
    return time.seconds * 1000 + time.nanos // 1_000_000


def _timestamp(ms: int) -> Timestamp:
    return Timestamp(seconds=ms // 1000, nanos=ms % 1000 * 1_000_000)
