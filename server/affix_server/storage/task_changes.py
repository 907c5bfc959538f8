"""What a write makes of a task where Redis decides: as create_task.sql and update_task.sql do it."""

from __future__ import annotations

from dataclasses import replace

from affix_server.domain import NewTask, Task, TaskChanges, TaskStatus
from affix_server.errors import ConflictError
from affix_server.json_text import merge_objects


def registered(task_id: str, new: NewTask, created_by: str, now_ms: int, revision: int) -> Task:
    """Return a new task."""
    return Task(
        id=task_id,
        text=new.text,
        status=TaskStatus.PENDING,
        priority=new.priority,
        metadata=new.metadata,
        assigned_to=None,
        created_by=created_by,
        created_at=now_ms,
        updated_at=now_ms,
        completed_at=None,
        revision=revision,
        writers=new.writers,
    )


def require_revision(changes: TaskChanges, held: Task) -> None:
    """Raise ConflictError, with the revision of a task, unless it is the one that the changes are meant for."""
    if changes.if_revision not in {None, held.revision}:
        raise ConflictError(f"Task {held.id} has revision {held.revision}: the condition does not hold", held.revision)


def changed_metadata(changes: TaskChanges, held: Task) -> str:
    """Return the metadata of a task with changes."""
    if changes.metadata is None:
        return held.metadata
    return changes.metadata if changes.replaces_metadata else merge_objects(held.metadata, changes.metadata)


def changed(held: Task, changes: TaskChanges, assigned_to: str | None, now_ms: int, revision: int) -> Task:
    """Return a task with changes; it is never younger than it was. Raises ConflictError."""
    require_revision(changes, held)
    updated_at = max(now_ms, held.updated_at)
    completed_at = held.completed_at
    if changes.status is not None:
        completed_at = updated_at if changes.status is TaskStatus.COMPLETED else None
    return replace(
        held,
        text=held.text if changes.text is None else changes.text,
        status=changes.status or held.status,
        priority=held.priority if changes.priority is None else changes.priority,
        metadata=changed_metadata(changes, held),
        assigned_to=assigned_to or held.assigned_to,
        updated_at=updated_at,
        completed_at=completed_at,
        revision=revision,
        writers=held.writers if changes.writers is None else changes.writers,
    )
