"""Tasks over both stores: the protocol of design/storage.md, as for attachments."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from affix_server.domain import (
    CountedTask,
    DeletedTask,
    NewTask,
    Ref,
    Task,
    TaskChanges,
    TaskPage,
    TaskQuery,
    WrittenTask,
)
from affix_server.errors import AffixError, ConflictError, StorageUnavailableError, TaskNotFoundError
from affix_server.storage.entries import TaskTombstone, random_suffix
from affix_server.storage.events import attachment_event, task_event
from affix_server.storage.ongoing import Ongoing
from affix_server.storage.postgres.tasks import RESULT_KEY, TaskTable
from affix_server.storage.redis.connection import Command
from affix_server.storage.redis.intents import Intents
from affix_server.storage.redis.publishing import announce
from affix_server.storage.redis.task_cache import TaskCache
from affix_server.storage.single_flight import SingleFlight
from affix_server.times import now_ms

V = TypeVar("V")

# Two of 36^6 random parts in one millisecond are one in two billion; four times in a row they are not.
_ID_ATTEMPTS = 4


class TaskRepository:
    """Implements storage.base.Tasks: Postgres decides, Redis answers."""

    def __init__(self, *, cache: TaskCache, intents: Intents, table: TaskTable) -> None:
        """Compose the two stores' halves."""
        self._cache = cache
        self._intents = intents
        self._table = table
        self._writes = Ongoing()
        self._loads: SingleFlight[Task] = SingleFlight()

    async def close(self) -> None:
        """Wait until writes that outlived their callers are done."""
        await self._writes.join()

    async def create(self, new: NewTask, created_by: str) -> WrittenTask:
        """See storage.base.Tasks."""
        if new.id is not None:
            return await self._writes.run(self._create(new.id, new, created_by))
        for _ in range(_ID_ATTEMPTS - 1):
            try:
                return await self._writes.run(self._create(_new_id(), new, created_by))
            except ConflictError:
                continue
        return await self._writes.run(self._create(_new_id(), new, created_by))

    async def _create(self, task_id: str, new: NewTask, created_by: str) -> WrittenTask:
        task = await self._commit([Ref(task_id, "")], lambda: self._table.create(task_id, new, created_by))
        await self._publish(task, "task.created", created_by)
        return WrittenTask(task, 0)

    async def get(self, task_id: str) -> CountedTask:
        """See storage.base.Tasks."""
        task, count = await self._cache.get(task_id)
        if isinstance(task, TaskTombstone):
            raise TaskNotFoundError(task_id)
        if task is None:
            task = await self._loads.run(task_id, lambda: self._load(task_id))
        if count is None:
            count = await self._table.count(task_id)
        return CountedTask(task, count)

    async def _load(self, task_id: str) -> Task:
        row = await self._table.read(task_id)
        if row is None:
            raise TaskNotFoundError(task_id)
        await self._cache.fill(row.task)
        if isinstance(row.task, TaskTombstone):
            raise TaskNotFoundError(task_id)
        return row.task

    async def update(self, task_id: str, changes: TaskChanges, updated_by: str) -> WrittenTask:
        """See storage.base.Tasks."""
        return await self._writes.run(self._update(task_id, changes, updated_by))

    async def _update(self, task_id: str, changes: TaskChanges, updated_by: str) -> WrittenTask:
        task = await self._commit([Ref(task_id, "")], lambda: self._table.update(task_id, changes, updated_by))
        await self._publish(task, "task.updated", updated_by)
        return WrittenTask(task, await self._count(task_id))

    async def list(self, query: TaskQuery) -> TaskPage:
        """See storage.base.Tasks."""
        return await self._table.list(query)

    async def complete(self, task_id: str, worker_id: str | None, result: str | None, completed_by: str) -> WrittenTask:
        """See storage.base.Tasks."""
        return await self._writes.run(self._complete(task_id, worker_id, result, completed_by))

    async def _complete(
        self, task_id: str, worker_id: str | None, result: str | None, completed_by: str
    ) -> WrittenTask:
        refs = [Ref(task_id, "")] if result is None else [Ref(task_id, ""), Ref(task_id, RESULT_KEY)]
        task, row = await self._commit(refs, lambda: self._table.complete(task_id, worker_id, result, completed_by))
        entries = [row.entry] if row is not None and row.entry is not None else []
        events = [attachment_event(entry, completed_by) for entry in entries]
        events.append(task_event("task.completed", task, completed_by))
        told = [command for event in events for command in announce(event)]
        await self._cache.publish(task, entries, [*told, *self._ends(refs)])
        return WrittenTask(task, await self._count(task_id))

    async def delete(self, task_id: str, deleted_by: str) -> DeletedTask:
        """See storage.base.Tasks."""
        return await self._writes.run(self._delete(task_id, deleted_by))

    async def _delete(self, task_id: str, deleted_by: str) -> DeletedTask:
        ref = Ref(task_id, "")
        tombstone, keys = await self._commit([ref], lambda: self._table.delete(task_id, deleted_by))
        self._loads.forget(task_id)
        # The tombstone first: from then on nothing of this task is filled in or published any more.
        await self._cache.publish(tombstone, (), ())
        await self._cache.drop_entries(task_id, keys)
        event = task_event("task.deleted", tombstone, deleted_by)
        await self._cache.run([*announce(event), *self._intents.end(ref)])
        return DeletedTask(task_id, tombstone.deleted_at)

    async def _commit(self, refs: Sequence[Ref], work: Callable[[], Awaitable[V]]) -> V:
        """Leave traces, commit; a refusal removes the traces, a failure leaves them to the reconciler."""
        begun: deque[Ref] = deque()
        try:
            for ref in refs:
                await self._intents.begin(ref)
                begun.append(ref)
            return await work()
        except AffixError as fault:
            if isinstance(fault, StorageUnavailableError):
                self._abandon(begun)
            else:
                await self._cache.run(self._ends(begun))
            raise
        except BaseException:
            self._abandon(begun)
            raise

    async def _publish(self, task: Task, event: str, written_by: str) -> None:
        self._loads.forget(task.id)
        ends = self._ends([Ref(task.id, "")])
        await self._cache.publish(task, (), [*announce(task_event(event, task, written_by)), *ends])

    async def _count(self, task_id: str) -> int:
        _, count = await self._cache.get(task_id)
        return count if count is not None else await self._table.count(task_id)

    def _ends(self, refs: Iterable[Ref]) -> Sequence[Command]:
        return [command for ref in refs for command in self._intents.end(ref)]

    def _abandon(self, refs: Iterable[Ref]) -> None:
        for ref in refs:
            self._intents.abandon(ref)


def _new_id() -> str:
    return f"t-{now_ms()}-{random_suffix(6)}"
