"""What tells of writes: the events of the contract, in the spec's two shapes, and what watchers are told."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from affix_server.domain import EventKind
from affix_server.storage.entries import Entry, TaskEntry, TaskTombstone, Tombstone
from affix_server.times import format_ms


class Event(Struct, frozen=True, gc=False):
    """One event: the channel and stream it goes to, its JSON, and the revision of the write it tells of."""

    type: str
    data: bytes
    revision: int


class Change(Struct, frozen=True, gc=False):
    """An event that watchers hear of as well: what happened to which attachment, or to all of a task.

    `previous_revision` is that of the write it replaced, whose event comes before; 0 if there is none.
    """

    event: Event
    kind: EventKind
    task_id: str
    key: str
    id: str
    type: str
    by: str
    at: int
    previous_revision: int = 0


def _event(type_: str, revision: int, **parts: Mapping[str, object]) -> Event:
    return Event(type_, msgspec.json.encode({"type": type_, **parts}), revision)


def attachment_event(entry: Entry, written_by: str, *, overwrites: bool, previous_revision: int = 0) -> Change:
    """Tell of a create, an overwrite or a deletion."""
    if isinstance(entry, Tombstone):
        payload = {"taskId": entry.ref.task_id, "key": entry.ref.key, "attachmentId": entry.id}
        metadata = {"deletedBy": written_by, "deletedAt": format_ms(entry.deleted_at)}
        event = _event("task.attachment.deleted", entry.revision, payload=payload, metadata=metadata)
        return Change(
            event, EventKind.DELETED, *entry.ref, entry.id, "", written_by, entry.deleted_at, previous_revision
        )
    created = {
        "taskId": entry.task_id,
        "key": entry.key,
        "type": entry.content.type,
        "attachmentId": entry.id,
        "instanceId": written_by,
        "timestamp": entry.updated_at,
    }
    return Change(
        _event("task.attachment_created", entry.revision, payload=created),
        EventKind.OVERWRITTEN if overwrites else EventKind.CREATED,
        entry.task_id,
        entry.key,
        entry.id,
        entry.content.type,
        written_by,
        entry.updated_at,
        previous_revision,
    )


def task_event(type_: str, task: TaskEntry, written_by: str) -> Event:
    """Tell of `task.created`, `task.updated`, `task.completed`, or of a deletion."""
    if isinstance(task, TaskTombstone):
        return task_deletion(task, written_by).event
    payload = {
        "taskId": task.id,
        "status": task.status.value,
        "priority": task.priority,
        "instanceId": written_by,
        "timestamp": task.updated_at,
    }
    return _event(type_, task.revision, payload=payload)


def task_deletion(task: TaskTombstone, deleted_by: str) -> Change:
    """Tell of a task's deletion, which is its attachments' too."""
    metadata = {"deletedBy": deleted_by, "deletedAt": format_ms(task.deleted_at)}
    event = _event("task.deleted", task.revision, payload={"taskId": task.id}, metadata=metadata)
    return Change(event, EventKind.TASK_DELETED, task.id, "", "", "", deleted_by, task.deleted_at)
