"""What Redis knows better of tasks than Postgres: asked before Postgres is believed about their attachments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from affix_server.storage.redis import names
from affix_server.storage.redis.client import accept, is_wrong_type
from affix_server.storage.redis.connection import Command, Reply


@dataclass(frozen=True, slots=True)
class TaskMarks:
    """Tasks that Redis knows to be deleted, and others whose last write Postgres has not seen."""

    deleted: frozenset[str]
    pending: frozenset[str]


def marks(task_id: str) -> Command:
    """Ask for the marks of a task."""
    return ("HMGET", names.task(task_id), "deleted", "pending")


def read_marks(task_ids: Sequence[str], replies: Sequence[Reply]) -> TaskMarks:
    """Read the replies to `marks`. Raises CacheUnavailableError."""
    deleted: set[str] = set()
    pending: set[str] = set()
    for task_id, reply in zip(task_ids, replies, strict=True):
        if is_wrong_type(reply):
            continue  # whoever reads the task drops it
        is_deleted, is_pending = accept(reply)
        if is_deleted is not None:
            deleted.add(task_id)
        elif is_pending is not None:
            pending.add(task_id)
    return TaskMarks(frozenset(deleted), frozenset(pending))
