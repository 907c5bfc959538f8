"""Writes with conditions: what it means that one does not hold."""

from __future__ import annotations

from affix_server.domain import Attachment, Condition, Ref
from affix_server.errors import ConflictError
from affix_server.storage.entries import Entry


def require(condition: Condition, ref: Ref, held: Entry | None) -> None:
    """Raise ConflictError, with the revision of what is under the key, unless the condition holds there."""
    current = held.revision if isinstance(held, Attachment) else None
    if not condition.holds(current):
        raise conflict(ref, current)


def conflict(ref: Ref, current: int | None) -> ConflictError:
    """Return the error for a write whose condition does not hold; `current` is None if there is no attachment."""
    there = f"Task {ref.task_id} has no attachment '{ref.key}'"
    if current is not None:
        there = f"Attachment '{ref.key}' of task {ref.task_id} has revision {current}"
    return ConflictError(f"{there}: the condition does not hold", current or 0)
