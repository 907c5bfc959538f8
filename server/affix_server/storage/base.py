"""What the services may ask of storage, and what it promises.

Promises common to all methods, for one (task, key) or one task:

- Linearizable: each call takes effect at one moment between its start and its
  answer, whichever store serves it. A call that raises StorageUnavailableError
  or DeadlineExceededError may have taken effect or not.
- A write that returns without `pending` is committed by Postgres.
- Parameters are already valid (validation.py).

Errors common to all methods: StorageUnavailableError, DeadlineExceededError,
CircuitOpenError. Others are named with the method. (design/storage.md)
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from affix_server.domain import (
    ALWAYS,
    Attachment,
    AttachmentEvent,
    Condition,
    Content,
    CountedTask,
    Created,
    Creation,
    Deleted,
    DeletedTask,
    Deletion,
    NewTask,
    Page,
    Query,
    Ref,
    TaskChanges,
    TaskPage,
    TaskQuery,
    TaskRights,
    Watched,
    WrittenTask,
)

# Where the result of a completed task is stored.
RESULT_KEY = "result"


class Attachments(Protocol):
    """Attachments by (task, key)."""

    def now_ms(self) -> int:
        """Return the time by which they expire, in ms since the epoch."""
        ...

    async def create(
        self,
        ref: Ref,
        content: Content,
        created_by: str,
        condition: Condition = ALWAYS,
        expires_at: int | None = None,
    ) -> Created:
        """Store content under a key, replacing what is there, if a condition holds.

        A replacement keeps id, created_at and created_by. From `expires_at`, in ms, on no answer has it any more, and
        shortly after it is deleted; None lets it stay. Raises TaskNotFoundError, and
        ConflictError with the current revision, 0 for no attachment.
        """
        ...

    async def get(self, ref: Ref) -> Attachment:
        """Read one. Raises TaskNotFoundError, AttachmentNotFoundError."""
        ...

    async def batch_get(self, refs: Sequence[Ref], *, allow_missing: bool = False) -> Sequence[Attachment | None]:
        """Read several, in order.

        Raises TaskNotFoundError or AttachmentNotFoundError for the first that is missing, unless
        `allow_missing` asks for None in its place.
        Raises InvalidParamsError, without having read the contents, when the
        answer would exceed the size limit.
        """
        ...

    async def list(self, query: Query) -> Page:
        """Read a page; `total_count` and `has_more` are exact.

        Raises TaskNotFoundError, and InvalidParamsError, without having read
        the contents, when the answer would exceed the size limit.
        """
        ...

    async def batch_create(self, creations: Sequence[Creation], created_by: str) -> Sequence[Created | Exception]:
        """Store several under different names, with one round trip to each store for each step.

        Each is stored or fails by itself: what `create` would have returned or raised, in order.
        """
        ...

    async def batch_delete(self, deletions: Sequence[Deletion], deleted_by: str) -> Sequence[Deleted | Exception]:
        """Delete several of different names, each by itself, as `batch_create` stores them."""
        ...

    async def delete(self, ref: Ref, deleted_by: str, condition: Condition = ALWAYS) -> Deleted:
        """Delete one, content and all, if a condition holds.

        Raises TaskNotFoundError, AttachmentNotFoundError, and ConflictError with the current revision.
        """
        ...


class AttachmentEvents(Protocol):
    """What happens to attachments, as it happens."""

    def watch(self, watched: Watched, resume_token: str | None) -> AsyncGenerator[Sequence[AttachmentEvent]]:
        """Tell of what happens from now on, or since a token, without end; some at a time, the first is STARTED.

        In order per key, and without gap or duplicate. Raises InvalidParamsError for what
        is no token, ResumeTokenExpiredError when events may be missing, SlowWatcherError when they are not
        taken as fast as they come, ShuttingDownError and StorageUnavailableError when it cannot go on here.
        """
        ...


class Tasks(Protocol):
    """The registry of tasks."""

    async def create(self, new: NewTask, created_by: str) -> WrittenTask:
        """Register a task. Raises ConflictError when its id is taken."""
        ...

    async def get(self, task_id: str) -> CountedTask:
        """Read one. Raises TaskNotFoundError."""
        ...

    async def rights(self, task_id: str) -> TaskRights:
        """Tell who may change a task: one round trip to Redis where it knows the task.

        Raises TaskNotFoundError; StorageUnavailableError, never CircuitOpenError, when nobody can tell.
        """
        ...

    async def update(self, task_id: str, changes: TaskChanges, updated_by: str) -> WrittenTask:
        """Change the fields that are set, all or none.

        Raises TaskNotFoundError, and ConflictError with the current revision unless it is the one asked for.
        """
        ...

    async def list(self, query: TaskQuery) -> TaskPage:
        """Read a page; `total_count` and `has_more` are exact."""
        ...

    async def complete(self, task_id: str, worker_id: str | None, result: str | None, completed_by: str) -> WrittenTask:
        """Mark as completed and store a result as the json attachment `result`, both or neither.

        Raises TaskNotFoundError.
        """
        ...

    async def delete(self, task_id: str, deleted_by: str) -> DeletedTask:
        """Delete a task and all its attachments. Raises TaskNotFoundError.

        A concurrent create on the task is refused or its attachment is gone too.
        """
        ...
