"""Accepts writes of tasks while Postgres is away (docs/decisions/0017-tasks-without-postgres.md)."""

from __future__ import annotations

from collections.abc import Sequence

from affix_server.domain import Attachment, JsonContent, NewTask, Ref, Task, TaskChanges, TaskStatus
from affix_server.errors import AffixError, CircuitOpenError, ConflictError, StorageUnavailableError, TaskNotFoundError
from affix_server.storage.acceptor import Acceptor, Looked, as_failure, may_follow
from affix_server.storage.base import RESULT_KEY
from affix_server.storage.entries import Pending, PendingTask, TaskTombstone, Write
from affix_server.storage.events import Change, attachment_event, task_deletion, task_event
from affix_server.storage.redis.connection import Command
from affix_server.storage.redis.intents import Begun
from affix_server.storage.redis.pending_tasks import PendingTasks, SeenTask
from affix_server.storage.redis.publishing import NO_LEASE, announce
from affix_server.storage.redis.task_cache import TaskCache
from affix_server.storage.task_changes import changed, registered

_COMPLETION = TaskChanges(status=TaskStatus.COMPLETED)

Fault = StorageUnavailableError | CircuitOpenError


class TaskAcceptor:
    """Lets Redis decide about a write of a task that Postgres could not be asked about.

    Each method keeps the write until it is drained; its trace stays. Each raises `fault`, which says why Postgres
    could not be asked, when only Postgres could tell what the write leaves; or whether it took effect before another
    followed it. `begun` tells what Redis held when the write began.
    """

    def __init__(self, acceptor: Acceptor, pending: PendingTasks, cache: TaskCache) -> None:
        """Decide as `acceptor` does for attachments, and keep in `pending`."""
        self._acceptor = acceptor
        self._pending = pending
        self._cache = cache

    async def create(
        self, task_id: str, new: NewTask, created_by: str, begun: Sequence[Begun], fault: Fault, *, fresh: bool
    ) -> Task:
        """Register a task; nobody else can have a `fresh` id. Raises ConflictError when the id is known to be taken."""
        async for _ in self._acceptor.turns(fault):
            seen = await self._look(task_id, begun, fault)
            if isinstance(seen.entry, Task):
                raise ConflictError(f"Task {task_id} already exists", seen.entry.revision)
            if seen.entry is None and not fresh:
                raise as_failure(fault)
            held = seen.entry.revision if seen.entry is not None else 0
            revision = self._acceptor.revision(seen.now_us, held)
            task = registered(task_id, new, created_by, seen.now_us // 1000, revision)
            pending = PendingTask(task, created_by, born=revision, emptied=held)
            told = announce(task_event("task.created", task, created_by))
            if await self._keep(pending, None, seen, told, begun[0].token):
                return task
        raise as_failure(fault)

    async def update(
        self, task_id: str, changes: TaskChanges, updated_by: str, begun: Sequence[Begun], fault: Fault
    ) -> Task:
        """Change a task. Raises TaskNotFoundError and ConflictError where Redis is sure."""
        async for _ in self._acceptor.turns(fault):
            seen = await self._look(task_id, begun, fault)
            pending = self._changed(_held(task_id, seen, fault), changes, None, updated_by, seen)
            told = announce(task_event("task.updated", pending.task, updated_by))
            if await self._keep(pending, None, seen, told):
                return _live(pending)
        raise as_failure(fault)

    async def complete(
        self,
        task_id: str,
        worker_id: str | None,
        result: str | None,
        completed_by: str,
        begun: Sequence[Begun],
        fault: Fault,
    ) -> Task:
        """Complete a task with its result, both or neither. Raises TaskNotFoundError where Redis is sure."""
        if result is not None:
            await self._acceptor.end(Ref(task_id, RESULT_KEY), fault)
        async for _ in self._acceptor.turns(fault):
            seen = await self._look(task_id, begun, fault)
            pending = self._changed(_held(task_id, seen, fault), _COMPLETION, worker_id, completed_by, seen)
            stored: tuple[Pending, Change] | None = None
            if result is not None:
                write = Write(Ref(task_id, RESULT_KEY), JsonContent(result), completed_by)
                there = self._acceptor.decide(write, seen.result, fault)
                overwrites = isinstance(seen.result.entry, Attachment)
                stored = (there, attachment_event(there.entry, completed_by, overwrites=overwrites))
            told = announce(task_event("task.completed", pending.task, completed_by))
            if await self._keep(pending, stored, seen, told):
                return _live(pending)
        raise as_failure(fault)

    async def delete(self, task_id: str, deleted_by: str, begun: Sequence[Begun], fault: Fault) -> TaskTombstone:
        """Delete a task and all that hangs on it. Raises TaskNotFoundError where Redis is sure."""
        above = 0
        async for _ in self._acceptor.turns(fault):
            seen = await self._look(task_id, begun, fault)
            held = _held(task_id, seen, fault)
            revision = self._acceptor.revision(seen.now_us, held.revision, above)
            gone = TaskTombstone(task_id, seen.now_us // 1000, revision)
            pending = PendingTask(gone, deleted_by)
            buried = await self._pending.bury(pending, seen, task_deletion(gone, deleted_by))
            if buried.kept:
                self._acceptor.observe(revision)
                if not buried.whole:
                    await self._cache.expunge_all(task_id, revision)
                return gone
            above = max(above, buried.above)
        raise as_failure(fault)

    async def _look(self, task_id: str, begun: Sequence[Begun], fault: Fault) -> SeenTask:
        seen = await self._pending.look(task_id)
        places: tuple[Looked, ...] = (seen, seen.result)
        if not all(may_follow(fault, one, place) for one, place in zip(begun, places, strict=False)):
            raise as_failure(fault)
        return seen

    async def _keep(
        self,
        pending: PendingTask,
        result: tuple[Pending, Change] | None,
        seen: SeenTask,
        told: Sequence[Command],
        token: str = NO_LEASE,
    ) -> bool:
        kept = await self._pending.keep(pending, result, seen, told, token)
        if kept:
            self._acceptor.observe(pending.task.revision)
        return kept

    def _changed(
        self, held: Task, changes: TaskChanges, assigned_to: str | None, changed_by: str, seen: SeenTask
    ) -> PendingTask:
        revision = self._acceptor.revision(seen.now_us, held.revision)
        task = changed(held, changes, assigned_to, seen.now_us // 1000, revision)
        return PendingTask(task, changed_by, born=seen.born, emptied=seen.emptied)


def _held(task_id: str, seen: SeenTask, fault: AffixError) -> Task:
    if isinstance(seen.entry, TaskTombstone):
        raise TaskNotFoundError(task_id)
    if seen.entry is None:
        raise as_failure(fault)
    return seen.entry


def _live(pending: PendingTask) -> Task:
    task = pending.task
    assert isinstance(task, Task)  # noqa: S101 - what changes a task leaves one
    return task
