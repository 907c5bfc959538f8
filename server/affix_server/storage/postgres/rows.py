"""Attachments and tasks as rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import asyncpg

from affix_server.domain import (
    Attachment,
    AttachmentType,
    BinaryContent,
    Content,
    JsonContent,
    MarkdownContent,
    Ref,
    Summary,
    Task,
    TaskStatus,
    TextContent,
    UrlContent,
)
from affix_server.storage.entries import (
    Entry,
    Pending,
    PendingTask,
    TaskEntry,
    TaskTombstone,
    Tombstone,
    Write,
    random_suffixes,
)
from affix_server.storage.limits import content_bytes
from affix_server.storage.writers import parse_writers, print_writers

V = TypeVar("V")

# In write_attachments.sql, too.
_SEPARATOR = "\x1f"

# type, value, content, url, mime_type, size: as in the table.
ContentColumns = tuple[str | None, str | None, str | None, str | None, str | None, int | None]


def content_columns(content: Content | None) -> ContentColumns:
    """Return the columns of a content; all null for a tombstone."""
    match content:
        case None:
            return (None, None, None, None, None, None)
        case JsonContent(value):
            return ("json", value, None, None, None, None)
        case MarkdownContent(text) | TextContent(text):
            return (content.type, None, text, None, None, None)
        case UrlContent(url):
            return ("url", None, None, url, None, None)
        case BinaryContent(mime_type, size):
            return ("binary", None, None, None, mime_type, size)


def write_columns(writes: Sequence[Write], highest: int, fence: int) -> list[Any]:
    """Return the parameters of write_attachments.sql, which says what they are."""
    contents = [content_columns(write.content) for write in writes]
    type_, value, content, url, mime_type, size = zip(*contents, strict=True)
    required = _column([0 if write.condition.absent else write.condition.revision for write in writes])
    ends = _column([write.ends for write in writes])
    writers = [write.written_by for write in writes]
    return [
        _joined([write.ref.task_id for write in writes]),
        _joined([write.ref.key for write in writes]),
        _column([write.content is None for write in writes]),
        "".join(random_suffixes(len(writes), 9)),
        _joined([one or "" for one in type_]),
        *(_column(values) for values in (value, content, url, mime_type, size)),
        _joined([str(content_bytes(write.content)) for write in writes]),
        writers if writers.count(writers[0]) < len(writers) else writers[:1],
        highest,
        fence,
        required,
        bool(required),
        _column([write.expires_at for write in writes]),
        ends,
        bool(ends),
    ]


def _column(values: Sequence[V]) -> list[V]:
    """Return an array for a statement: none, if there is nothing in it but null or false, as it costs so much less."""
    return list(values) if any(value is not None and value is not False for value in values) else []


def _joined(values: Sequence[str]) -> str:
    """Return the text of several that have no control characters: asyncpg looks at each element of an array."""
    joined = _SEPARATOR.join(values)
    if joined.count(_SEPARATOR) != len(values) - 1:
        raise ValueError("a name with a control character in it")
    return joined


def drain_columns(pending: Sequence[Pending]) -> list[list[Any]]:
    """Return the parameters of drain_attachments.sql."""
    rows = []
    for one in pending:
        entry = one.entry
        live = entry if isinstance(entry, Attachment) else None
        content = live.content if live else None
        written_at = live.updated_at if live else one.deleted_at
        rows.append(
            (
                *(one.ref.task_id, one.ref.key, live.id if live else ""),
                *(*content_columns(content), content_bytes(content)),
                *(live.created_by if live else one.written_by, one.written_by),
                *(live.created_at if live else written_at, written_at),
                *(entry.revision, live is None, one.provisional, live.expires_at if live else None),
            )
        )
    return [list(column) for column in zip(*rows, strict=True)]


def drain_task_columns(pending: Sequence[PendingTask]) -> list[list[Any]]:
    """Return the parameters of drain_tasks.sql."""
    rows: list[tuple[Any, ...]] = []
    for one in pending:
        task = one.task
        if isinstance(task, Task):
            rows.append(
                (
                    *(task.id, task.text, task.status.value, task.priority, task.metadata, task.assigned_to),
                    *(task.created_by, one.written_by, task.created_at, task.updated_at, task.completed_at),
                    *(task.revision, False, one.born, one.emptied, print_writers(task.writers)),
                )
            )
        else:
            nothing = (task.id, "", TaskStatus.PENDING.value, 0, "{}", None)
            when = (one.written_by, one.written_by, task.deleted_at, task.deleted_at, None)
            rows.append((*nothing, *when, task.revision, True, 0, 0, print_writers(())))
    return [list(column) for column in zip(*rows, strict=True)]


def parse_content(row: asyncpg.Record) -> Content:
    """Return the content of a row that has one."""
    match AttachmentType(row["type"]):
        case AttachmentType.JSON:
            return JsonContent(row["value"])
        case AttachmentType.MARKDOWN:
            return MarkdownContent(row["content"])
        case AttachmentType.TEXT:
            return TextContent(row["content"])
        case AttachmentType.URL:
            return UrlContent(row["url"])
        case AttachmentType.BINARY:
            return BinaryContent(row["mime_type"], row["size"])


def parse_entry(ref: Ref, row: asyncpg.Record) -> Entry:
    """Return the attachment or tombstone of a row."""
    if row["deleted_at"] is not None:
        return Tombstone(ref, row["id"], row["deleted_at"], row["revision"])
    return Attachment(
        id=row["id"],
        task_id=ref.task_id,
        key=ref.key,
        content=parse_content(row),
        created_by=row["created_by"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        revision=row["revision"],
        expires_at=row["expires_at"],
    )


def parse_summary(ref: Ref, row: asyncpg.Record) -> Summary | Tombstone:
    """Return the summary of a row whose contents were not asked for, or its tombstone."""
    if row["deleted_at"] is not None:
        return Tombstone(ref, row["id"], row["deleted_at"], row["revision"])
    return Summary(
        id=row["id"],
        task_id=ref.task_id,
        key=ref.key,
        type=AttachmentType(row["type"]),
        content_bytes=row["content_bytes"],
        mime_type=row["mime_type"],
        size=row["size"],
        created_by=row["created_by"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        revision=row["revision"],
        expires_at=row["expires_at"],
    )


TASK_COLUMNS = """
    t.id, t.text, t.status, t.priority, t.metadata, t.assigned_to, t.created_by, t.updated_by,
    (extract(epoch FROM t.created_at) * 1000)::bigint AS created_at,
    (extract(epoch FROM t.updated_at) * 1000)::bigint AS updated_at,
    (extract(epoch FROM t.completed_at) * 1000)::bigint AS completed_at,
    (extract(epoch FROM t.deleted_at) * 1000)::bigint AS deleted_at,
    t.revision, t.writers
"""


def parse_task(row: asyncpg.Record) -> TaskEntry:
    """Return the task or tombstone of a row that has TASK_COLUMNS."""
    if row["deleted_at"] is not None:
        return TaskTombstone(row["id"], row["deleted_at"], row["revision"])
    fields: dict[str, Any] = {name: row[name] for name in Task.__dataclass_fields__}
    return Task(**{**fields, "status": TaskStatus(row["status"]), "writers": parse_writers(row["writers"])})
