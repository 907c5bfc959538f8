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
LEASES = "leases"


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


def _decode(reply: Sequence[bytes]) -> dict[str, str]:
    raw = dict(zip(reply[::2], reply[1::2], strict=True))
    try:
        return {name.decode(): value.decode() for name, value in raw.items()}
    except UnicodeDecodeError:
        raise CorruptEntryError(raw.get(b"revision", b"").decode(errors="replace")) from None


def leases(fields: Mapping[bytes, bytes]) -> frozenset[str]:
    """Return the tokens of the leases that a hash is made of; none for a hash of anything else."""
    return frozenset(name.decode(errors="replace") for name in fields) if LEASES.encode() in fields else frozenset()


def parse_entry(ref: Ref, reply: Sequence[bytes]) -> Entry | None:
    """Read an HGETALL reply: None if there is no hash, CorruptEntryError if it is not whole."""
    if not reply:
        return None
    fields = _decode(reply)
    if LEASES in fields:
        return None
    try:
        revision = int(fields.get("revision", 0))
        if "deleted" in fields:
            return Tombstone(ref, "", parse_ms(fields["deleted"]), revision)
        return Attachment(
            id=fields["id"],
            task_id=ref.task_id,
            key=ref.key,
            content=_parse_content(fields),
            created_by=fields["createdBy"],
            created_at=parse_ms(fields["createdAt"]),
            updated_at=parse_ms(fields["updatedAt"]),
            revision=revision,
            expires_at=parse_ms(fields["expiresAt"]) if "expiresAt" in fields else None,
        )
    except (KeyError, ValueError) as fault:
        raise CorruptEntryError(fields.get("revision", "")) from fault


def parse_summary(ref: Ref, reply: Sequence[bytes]) -> Summary | Tombstone | None:
    """Read the reply of page.lua without contents: None if there is no hash, CorruptEntryError if it is not whole."""
    if not reply:
        return None
    fields = _decode(reply)
    if LEASES in fields:
        return None
    try:
        revision = int(fields.get("revision", 0))
        if "deleted" in fields:
            return Tombstone(ref, "", parse_ms(fields["deleted"]), revision)
        return Summary(
            id=fields["id"],
            task_id=ref.task_id,
            key=ref.key,
            type=AttachmentType(fields["type"]),
            content_bytes=0 if fields["type"] == AttachmentType.BINARY else int(fields["contentBytes"]),
            mime_type=fields["mimeType"] if fields["type"] == AttachmentType.BINARY else None,
            size=int(fields["size"]) if "size" in fields else None,
            created_by=fields["createdBy"],
            created_at=parse_ms(fields["createdAt"]),
            updated_at=parse_ms(fields["updatedAt"]),
            revision=revision,
            expires_at=parse_ms(fields["expiresAt"]) if "expiresAt" in fields else None,
        )
    except (KeyError, ValueError) as fault:
        raise CorruptEntryError(fields.get("revision", "")) from fault


def _parse_content(fields: dict[str, str]) -> Content:
    match AttachmentType(fields["type"]):
        case AttachmentType.JSON:
            return JsonContent(fields["value"])
        case AttachmentType.MARKDOWN:
            return MarkdownContent(fields["content"])
        case AttachmentType.TEXT:
            return TextContent(fields["content"])
        case AttachmentType.URL:
            return UrlContent(fields["url"])
        case AttachmentType.BINARY:
            return BinaryContent(fields["mimeType"], int(fields["size"]) if "size" in fields else None)


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
    fields = _decode(reply)
    if LEASES in fields:
        return None
    try:
        revision = int(fields.get("revision", 0))
        if "deleted" in fields:
            return TaskTombstone(task_id, parse_ms(fields["deleted"]), revision)
        return Task(
            id=task_id,
            text=fields["text"],
            status=TaskStatus(fields["status"]),
            priority=int(fields["priority"]),
            metadata=fields["metadata"],
            assigned_to=fields.get("assignedTo"),
            created_by=fields["createdBy"],
            created_at=parse_ms(fields["createdAt"]),
            updated_at=parse_ms(fields["updatedAt"]),
            completed_at=parse_ms(fields["completedAt"]) if "completedAt" in fields else None,
            revision=revision,
            writers=parse_writers(fields.get("writers", "[]")),
        )
    except (KeyError, ValueError) as fault:
        raise CorruptEntryError(fields.get("revision", "")) from fault
