"""Attachments and tasks as Redis hashes that read like the answers (design/storage.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
from affix_server.storage.entries import Entry, TaskEntry, TaskTombstone, Tombstone, TooLarge
from affix_server.storage.writers import parse_writers, print_writers
from affix_server.times import format_ms, parse_utc


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
        return ["deleted", format_ms(entry.deleted_at), "revision", str(entry.revision)]
    created = format_ms(entry.created_at)
    return [
        *("id", entry.id, "taskId", entry.task_id, "key", entry.key, "type", entry.content.type),
        *_content_fields(entry.content),
        *("createdBy", entry.created_by),
        *("createdAt", created),
        *("updatedAt", created if entry.updated_at == entry.created_at else format_ms(entry.updated_at)),
        *(() if entry.expires_at is None else ("expiresAt", format_ms(entry.expires_at))),
        *("revision", str(entry.revision)),
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
            return ["mimeType", mime_type] if size is None else ["mimeType", mime_type, "size", str(size)]


Raw = Mapping[bytes, bytes]
# The values of READ, in its order; None for a field that is not there.
Values = Sequence[bytes | None]

# What is asked for, by place, since to send and parse names takes as long as values do. Those at the end have no part
# in what has a value or a content, as most have, and may be left out then.
READ = (
    *("id", "type", "value", "content", "createdBy", "createdAt", "updatedAt", "expiresAt", "revision", "pending"),
    *("url", "mimeType", "size", "deleted"),
)
_OF_MOST = READ.index("url")
_TYPES = {type_.value.encode(): type_ for type_ in AttachmentType}
_READ_BYTES = tuple(name.encode() for name in READ)


def _raw(reply: Sequence[bytes]) -> Raw:
    """Pair names with values, as they are: most are asked for once or not at all, and decoded then."""
    return dict(zip(reply[::2], reply[1::2], strict=True))


def _corrupt(revision: bytes | None) -> CorruptEntryError:
    return CorruptEntryError((revision or b"").decode(errors="replace"))


def _text(fields: Raw, name: bytes) -> str | None:
    value = fields.get(name)
    return None if value is None else value.decode()


def _moment(fields: Raw, name: bytes) -> int | None:
    value = fields.get(name)
    return None if value is None else parse_utc(value)


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
    if (entry := parse_values(ref, [fields.get(name) for name in _READ_BYTES])) is None:
        raise _corrupt(None)
    return entry


def parse_values(ref: Ref, values: Values) -> Entry | None:
    """Read the fields READ: None if there are none, as in a hash of leases, CorruptEntryError if some are missing."""
    of_most = values if len(values) == _OF_MOST else values[:_OF_MOST]
    id_, type_, value, content, by, created, updated, expires, revision, _pending = of_most
    try:
        if type_ == b"json" and value is not None:
            attached: Content | None = JsonContent(value.decode())
        elif type_ == b"text" and content is not None:
            attached = TextContent(content.decode())
        elif type_ == b"markdown" and content is not None:
            attached = MarkdownContent(content.decode())
        else:
            url, mime_type, size, deleted = values[_OF_MOST:] or (None, None, None, None)
            if deleted is not None:
                return Tombstone(ref, "", parse_utc(deleted), 0 if revision is None else int(revision))
            attached = _parse_reference(type_, url, mime_type, size)
        if attached is None or id_ is None or by is None or created is None or updated is None:
            if values.count(None) == len(values):
                return None
            raise ValueError("a field is missing")  # noqa: TRY301 - like one that cannot be read
        created_at = parse_utc(created)
        return Attachment(
            id_.decode(),
            ref.task_id,
            ref.key,
            attached,
            by.decode(),
            created_at,
            # Most are written once.
            created_at if updated == created else parse_utc(updated),
            0 if revision is None else int(revision),
            None if expires is None else parse_utc(expires),
        )
    except ValueError as fault:
        raise _corrupt(revision) from fault


def _parse_reference(
    type_: bytes | None, url: bytes | None, mime_type: bytes | None, size: bytes | None
) -> UrlContent | BinaryContent | None:
    """Read what tells of something kept elsewhere; None for something else."""
    if type_ == b"url" and url is not None:
        return UrlContent(url.decode())
    if type_ == b"binary" and mime_type is not None:
        return BinaryContent(mime_type.decode(), None if size is None else int(size))
    return None


def parse_read(ref: Ref, reply: Any) -> Entry | TooLarge | None:
    """Read what _read.lua returns of an entry, CorruptEntryError if it is not whole."""
    if isinstance(reply, int):
        return TooLarge(reply)
    return parse_values(ref, reply) if reply else None


def parse_summary(ref: Ref, values: Sequence[Any]) -> Summary | Tombstone | None:
    """Read what page.lua returns of a summary: None if there is none, CorruptEntryError if it is not whole."""
    if values.count(None) == len(values):
        return None
    id_, type_name, mime_type, size, by, created, updated, expires, revision, deleted, content_bytes = values
    try:
        if deleted is not None:
            return Tombstone(ref, "", parse_utc(deleted), 0 if revision is None else int(revision))
        type_ = _TYPES.get(type_name)
        is_binary = type_ is AttachmentType.BINARY
        if type_ is None or None in {id_, by, created, updated, mime_type if is_binary else content_bytes}:
            raise ValueError("a field is missing")  # noqa: TRY301 - as above
        return Summary(
            id=id_.decode(),
            task_id=ref.task_id,
            key=ref.key,
            type=type_,
            content_bytes=0 if is_binary else content_bytes,
            mime_type=mime_type.decode() if is_binary else None,
            size=None if size is None else int(size),
            created_by=by.decode(),
            created_at=parse_utc(created),
            updated_at=parse_utc(updated),
            revision=0 if revision is None else int(revision),
            expires_at=None if expires is None else parse_utc(expires),
        )
    except ValueError as fault:
        raise _corrupt(revision) from fault


def task_fields(entry: TaskEntry) -> Fields:
    """Return names and values, alternating, of a task's hash."""
    if isinstance(entry, TaskTombstone):
        return ["deleted", format_ms(entry.deleted_at), "revision", str(entry.revision)]
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
            return TaskTombstone(task_id, parse_utc(fields[b"deleted"]), revision)
        return Task(
            id=task_id,
            text=fields[b"text"].decode(),
            status=TaskStatus(fields[b"status"].decode()),
            priority=int(fields[b"priority"]),
            metadata=fields[b"metadata"].decode(),
            assigned_to=_text(fields, b"assignedTo"),
            created_by=fields[b"createdBy"].decode(),
            created_at=parse_utc(fields[b"createdAt"]),
            updated_at=parse_utc(fields[b"updatedAt"]),
            completed_at=_moment(fields, b"completedAt"),
            revision=revision,
            writers=parse_writers(fields.get(b"writers", b"[]").decode()),
        )
    except (KeyError, ValueError) as fault:
        raise _corrupt(fields.get(b"revision")) from fault
