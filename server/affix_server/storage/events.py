"""The events of the contract, in the spec's two shapes (design/contract.md, "Events")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from affix_server.storage.entries import Entry, TaskEntry, TaskTombstone, Tombstone
from affix_server.times import format_ms


@dataclass(frozen=True, slots=True)
class Event:
    """One event: the channel and stream it goes to, its JSON, and the revision of the write it tells of."""

    type: str
    data: bytes
    revision: int


def _event(type_: str, revision: int, **parts: Mapping[str, object]) -> Event:
    return Event(type_, msgspec.json.encode({"type": type_, **parts}), revision)


def attachment_event(entry: Entry, written_by: str) -> Event:
    """Tell of a create, an overwrite or a deletion."""
    if isinstance(entry, Tombstone):
        payload = {"taskId": entry.ref.task_id, "key": entry.ref.key, "attachmentId": entry.id}
        metadata = {"deletedBy": written_by, "deletedAt": format_ms(entry.deleted_at)}
        return _event("task.attachment.deleted", entry.revision, payload=payload, metadata=metadata)
    created = {
        "taskId": entry.task_id,
        "key": entry.key,
        "type": entry.content.type.value,
        "attachmentId": entry.id,
        "instanceId": written_by,
        "timestamp": entry.updated_at,
    }
    return _event("task.attachment_created", entry.revision, payload=created)


def task_event(type_: str, task: TaskEntry, written_by: str) -> Event:
    """Tell of `task.created`, `task.updated`, `task.completed`, or of a deletion, which is its attachments' too."""
    if isinstance(task, TaskTombstone):
        metadata = {"deletedBy": written_by, "deletedAt": format_ms(task.deleted_at)}
        return _event("task.deleted", task.revision, payload={"taskId": task.id}, metadata=metadata)
    payload = {
        "taskId": task.id,
        "status": task.status.value,
        "priority": task.priority,
        "instanceId": written_by,
        "timestamp": task.updated_at,
    }
    return _event(type_, task.revision, payload=payload)
