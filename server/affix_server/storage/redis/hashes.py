"""Attachments and tasks as Redis hashes that read like the answers (design/storage.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
from affix_server.storage.entries import Entry, TaskEntry, TaskTombstone, Tombstone
from affix_server.storage.writers import parse_writers, print_writers
from affix_server.times import format_ms, parse_ms


class CorruptEntryError(Exception):
    """A hash that is not a whole attachment, task or tombstone; `revision` is what it gave for one."""

    def __init__(self, revision: str) -> None:
        """Keep the revision as it was read, "" if there was none."""
        super().__init__(revision)
        self.revision = revision


Fields = list[str | int]

# A hash with this field holds nothing but leases (lease.lua).
LEASES = b"leases"


def entry_fields(entry: Entry) -> Fields:
    """Return names and values, alternating, of an attachment's hash."""
    if isinstance(entry, Tombstone):
        return ["deleted", format_ms(entry.deleted_at), "revision", entry.revision]
    return [
        *("id", entry.id, "taskId", entry.task_id, "key", entry.key, "type", entry.content.type.value),
        *_content_fields(entry.content),
        *("createdBy", entry.created_by),
        *("createdAt", format_ms(entry.created_at), "updatedAt", format_ms(entry.updated_at)),
        *(() if entry.expires_at is None else ("expiresAt", format_ms(entry.expires_at))),
        *("revision", entry.revision),
    ]


def _content_fields(content: Content) -> Fields:
    match content:
        case JsonContent():
            return ["value", content.value]
        case MarkdownContent() | TextContent():
            return ["content", content.content]
        case UrlContent():
            return ["url", content.url]
        case BinaryContent(mime_type, size):
            return ["mimeType", mime_type] if size is None else ["mimeType", mime_type, "size", size]


Raw = Mapping[bytes, bytes]


def _raw(reply: Sequence[bytes]) -> Raw:
    """Pair names with values, as they are: most are asked for once or not at all, and decoded then."""
    return dict(zip(reply[::2], reply[1::2], strict=True))


def _corrupt(fields: Raw) -> CorruptEntryError:
    return CorruptEntryError(fields.get(b"revision", b"").decode(errors="replace"))


def _text(fields: Raw, name: bytes) -> str | None:
    value = fields.get(name)
    return None if value is None else value.decode()


def _moment(fields: Raw, name: bytes) -> int | None:
    value = fields.get(name)
    return None if value is None else parse_ms(value.decode())


def leases(fields: Mapping[bytes, bytes]) -> frozenset[str]:
    """Return the tokens of the leases that a hash is made of; none for a hash of anything else."""
    return frozenset(name.decode(errors="replace") for name in fields) if LEASES in fields else frozenset()


def parse_entry(ref: Ref, reply: Sequence[bytes]) -> Entry | None:
    """Read an HGETALL reply: None if there is no hash, CorruptEntryError if it is not whole."""
    if not reply:
        return None
    fields = _raw(reply)
    if LEASES in fields:
        return None
    try:
        if b"deleted" in fields:
            return _parse_tombstone(ref, fields)
        created, updated = fields[b"createdAt"], fields[b"updatedAt"]
        created_at = parse_ms(created.decode())
        return Attachment(
            id=fields[b"id"].decode(),
            task_id=ref.task_id,
            key=ref.key,
            content=_parse_content(fields),
            created_by=fields[b"createdBy"].decode(),
            created_at=created_at,
            # Most are written once.
            updated_at=created_at if updated == created else parse_ms(updated.decode()),
            revision=int(fields.get(b"revision", 0)),
            expires_at=_moment(fields, b"expiresAt"),
        )
    except (KeyError, ValueError) as fault:
        raise _corrupt(fields) from fault


def parse_summary(ref: Ref, reply: Sequence[bytes]) -> Summary | Tombstone | None:
    """Read the reply of page.lua without contents: None if there is no hash, CorruptEntryError if it is not whole."""
    if not reply:
        return None
    fields = _raw(reply)
    if LEASES in fields:
        return None
    try:
        if b"deleted" in fields:
            return _parse_tombstone(ref, fields)
        type_ = AttachmentType(fields[b"type"].decode())
        is_binary = type_ is AttachmentType.BINARY
        return Summary(
            id=fields[b"id"].decode(),
            task_id=ref.task_id,
            key=ref.key,
            type=type_,
            content_bytes=0 if is_binary else int(fields[b"contentBytes"]),
            mime_type=fields[b"mimeType"].decode() if is_binary else None,
            size=int(fields[b"size"]) if b"size" in fields else None,
            created_by=fields[b"createdBy"].decode(),
            created_at=parse_ms(fields[b"createdAt"].decode()),
            updated_at=parse_ms(fields[b"updatedAt"].decode()),
            revision=int(fields.get(b"revision", 0)),
            expires_at=_moment(fields, b"expiresAt"),
        )
    except (KeyError, ValueError) as fault:
        raise _corrupt(fields) from fault


def _parse_tombstone(ref: Ref, fields: Raw) -> Tombstone:
    return Tombstone(ref, "", parse_ms(fields[b"deleted"].decode()), int(fields.get(b"revision", 0)))


def _parse_content(fields: Raw) -> Content:
    match fields[b"type"]:
        case b"json":
            return JsonContent(fields[b"value"].decode())
        case b"markdown":
            return MarkdownContent(fields[b"content"].decode())
        case b"text":
            return TextContent(fields[b"content"].decode())
        case b"url":
            return UrlContent(fields[b"url"].decode())
        case b"binary":
            return BinaryContent(fields[b"mimeType"].decode(), int(fields[b"size"]) if b"size" in fields else None)
        case unknown:
            raise ValueError(unknown)


def task_fields(entry: TaskEntry) -> Fields:
    """Return names and values, alternating, of a task's hash."""
    if isinstance(entry, TaskTombstone):
        return ["deleted", format_ms(entry.deleted_at), "revision", entry.revision]
    fields: Fields = [
        *("id", entry.id, "text", entry.text, "status", entry.status.value, "priority", entry.priority),
        *("metadata", entry.metadata, "createdBy", entry.created_by),
        *("createdAt", format_ms(entry.created_at), "updatedAt", format_ms(entry.updated_at)),
        *("revision", entry.revision),
    ]
    if entry.assigned_to is not None:
        fields += ["assignedTo", entry.assigned_to]
    if entry.completed_at is not None:
        fields += ["completedAt", format_ms(entry.completed_at)]
    if entry.writers:
        fields += ["writers", print_writers(entry.writers)]
    return fields


def parse_task(task_id: str, reply: Sequence[bytes]) -> TaskEntry | None:
    """Read an HGETALL reply: None if there is no hash, CorruptEntryError if it is not whole."""
    if not reply:
        return None
    fields = _raw(reply)
    if LEASES in fields:
        return None
    try:
        revision = int(fields.get(b"revision", 0))
        if b"deleted" in fields:
            return TaskTombstone(task_id, parse_ms(fields[b"deleted"].decode()), revision)
        return Task(
            id=task_id,
            text=fields[b"text"].decode(),
            status=TaskStatus(fields[b"status"].decode()),
            priority=int(fields[b"priority"]),
            metadata=fields[b"metadata"].decode(),
            assigned_to=_text(fields, b"assignedTo"),
            created_by=fields[b"createdBy"].decode(),
            created_at=parse_ms(fields[b"createdAt"].decode()),
            updated_at=parse_ms(fields[b"updatedAt"].decode()),
            completed_at=_moment(fields, b"completedAt"),
            revision=revision,
            writers=parse_writers(fields.get(b"writers", b"[]").decode()),
        )
    except (KeyError, ValueError) as fault:
        raise _corrupt(fields) from fault
