"""What a write makes of a task where Redis decides: as create_task.sql and update_task.sql do it."""

from __future__ import annotations

from dataclasses import replace

from affix_server.domain import NewTask, Task, TaskChanges, TaskStatus
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
    )


def changed(held: Task, changes: TaskChanges, assigned_to: str | None, now_ms: int, revision: int) -> Task:
    """Return a task with changes; it is never younger than it was."""
    updated_at = max(now_ms, held.updated_at)
    completed_at = held.completed_at
    if changes.status is not None:
        completed_at = updated_at if changes.status is TaskStatus.COMPLETED else None
    return replace(
        held,
        text=held.text if changes.text is None else changes.text,
        status=changes.status or held.status,
        priority=held.priority if changes.priority is None else changes.priority,
        metadata=held.metadata if changes.metadata is None else merge_objects(held.metadata, changes.metadata),
        assigned_to=assigned_to or held.assigned_to,
        updated_at=updated_at,
        completed_at=completed_at,
        revision=revision,
    )
