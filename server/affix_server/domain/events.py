"""What watchers ask for and are told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from affix_server.domain.attachments import AttachmentType


class EventKind(StrEnum):
    """What an event tells watchers.

    STARTED comes first, PROGRESS when nothing else has for a while: both tell only of a place to resume from.
    """

    STARTED = "started"
    PROGRESS = "progress"
    CREATED = "created"
    OVERWRITTEN = "overwritten"
    DELETED = "deleted"
    TASK_DELETED = "task_deleted"


@dataclass(frozen=True, slots=True)
class AttachmentEvent:
    """What happened to an attachment, or with TASK_DELETED to all of a task, and the token to resume behind it.

    `type` is None for a deletion; `by` is the instance that wrote. STARTED and PROGRESS have nothing but the token.
    """

    kind: EventKind
    resume_token: str
    task_id: str = ""
    key: str = ""
    id: str = ""
    type: AttachmentType | None = None
    by: str = ""
    at: int = 0
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Watched:
    """Which events a watcher wants: of any task or one, of any key or those with a prefix. A task's end has no key.

    `task_prefix` is what the ids of its tasks begin with.
    """

    task_id: str | None = None
    key_prefix: str = ""
    task_prefix: str = ""

    def includes(self, task_id: str, key: str) -> bool:
        """Tell whether an event of a key is wanted; the empty key stands for all of a task."""
        if not task_id.startswith(self.task_prefix):
            return False
        return self.task_id in {None, task_id} and (not key or key.startswith(self.key_prefix))
