"""Tasks in Redis alone."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from affix_server.domain import (
    CountedTask,
    DeletedTask,
    JsonContent,
    NewTask,
    Ref,
    Task,
    TaskChanges,
    TaskOrderBy,
    TaskPage,
    TaskQuery,
    TaskRights,
    TaskStatus,
    WrittenTask,
)
from affix_server.errors import ConflictError, StorageUnavailableError, TaskNotFoundError
from affix_server.storage.base import RESULT_KEY
from affix_server.storage.entries import TaskTombstone, random_suffix
from affix_server.storage.events import task_deletion, task_event
from affix_server.storage.redis.publishing import announce
from affix_server.storage.redis.task_cache import TaskCache
from affix_server.storage.redis_only.attachments import ATTEMPTS, RedisOnlyAttachments
from affix_server.storage.task_changes import changed, registered
from affix_server.times import now_ms

_ORDER_BY: dict[TaskOrderBy, Callable[[Task], Any]] = {
    TaskOrderBy.CREATED_AT: attrgetter("created_at"),
    TaskOrderBy.UPDATED_AT: attrgetter("updated_at"),
    TaskOrderBy.PRIORITY: attrgetter("priority"),
    TaskOrderBy.STATUS: attrgetter("status"),
    TaskOrderBy.ASSIGNED_TO: attrgetter("assigned_to"),
}


class RedisOnlyTasks:
    """Implements storage.base.Tasks; a list goes through all tasks there are."""

    def __init__(self, cache: TaskCache, attachments: RedisOnlyAttachments) -> None:
        """Use Redis' half of storage."""
        self._cache = cache
        self._attachments = attachments

    async def create(self, new: NewTask, created_by: str) -> WrittenTask:
        """See storage.base.Tasks."""
        for _ in range(ATTEMPTS):
            task_id = new.id or f"{new.id_prefix}t-{now_ms()}-{random_suffix(6)}"
            held, _ = await self._cache.get(task_id)
            if isinstance(held, Task):
                if new.id is None:
                    continue
                raise ConflictError(f"Task {task_id} already exists", held.revision)
            now_us = await self._cache.clock_us()
            revision = max(now_us, held.revision + 1 if held else 0)
            task = registered(task_id, new, created_by, now_us // 1000, revision)
            if await self._cache.keep(task, held, announce(task_event("task.created", task, created_by))):
                return WrittenTask(task, 0)
        raise StorageUnavailableError("Too many writers of one task")

    async def get(self, task_id: str) -> CountedTask:
        """See storage.base.Tasks."""
        task, count = await self._cache.get(task_id)
        if not isinstance(task, Task):
            raise TaskNotFoundError(task_id)
        while count is None:
            await self._attachments.build_index(task_id)
            _, count = await self._cache.get(task_id)
        return CountedTask(task, count)

    async def rights(self, task_id: str) -> TaskRights:
        """See storage.base.Tasks."""
        known = await self._cache.rights(task_id)
        return known or (await self.get(task_id)).task.rights

    async def update(self, task_id: str, changes: TaskChanges, updated_by: str) -> WrittenTask:
        """See storage.base.Tasks."""
        return await self._change(task_id, changes, None, "task.updated", updated_by)

    async def complete(self, task_id: str, worker_id: str | None, result: str | None, completed_by: str) -> WrittenTask:
        """See storage.base.Tasks. A crash in the middle may leave the result without the completion."""
        if result is not None:
            await self._attachments.create(Ref(task_id, RESULT_KEY), JsonContent(result), completed_by)
        changes = TaskChanges(status=TaskStatus.COMPLETED)
        return await self._change(task_id, changes, worker_id, "task.completed", completed_by)

    async def _change(
        self, task_id: str, changes: TaskChanges, assigned_to: str | None, event: str, by: str
    ) -> WrittenTask:
        for _ in range(ATTEMPTS):
            counted = await self.get(task_id)
            held, now_us = counted.task, await self._cache.clock_us()
            revision = max(now_us, held.revision + 1)
            task = changed(held, changes, assigned_to, now_us // 1000, revision)
            if await self._cache.keep(task, held, announce(task_event(event, task, by))):
                return WrittenTask(task, counted.attachment_count)
        raise StorageUnavailableError("Too many writers of one task")

    async def delete(self, task_id: str, deleted_by: str) -> DeletedTask:
        """See storage.base.Tasks."""
        for _ in range(ATTEMPTS):
            counted = await self.get(task_id)
            now_us = await self._cache.clock_us()
            gone = TaskTombstone(task_id, now_us // 1000, max(now_us, counted.task.revision + 1))
            if await self._cache.keep(gone, counted.task, (), change=task_deletion(gone, deleted_by)):
                # From the tombstone on no attachment is written any more, so this finds all there are.
                await self._cache.expunge_all(task_id, gone.revision)
                return DeletedTask(task_id, gone.deleted_at)
        raise StorageUnavailableError("Too many writers of one task")

    async def ids(self) -> list[str]:
        """Return the ids of all tasks in order, by going through all of Redis."""
        return sorted({task.id async for task in self._cache.scan() if isinstance(task, Task)})

    async def list(self, query: TaskQuery) -> TaskPage:
        """See storage.base.Tasks."""
        matching = [task async for task in self._cache.scan() if isinstance(task, Task) and _matches(task, query)]
        matching.sort(key=attrgetter("created_at", "id"), reverse=query.descending)
        key = _ORDER_BY[query.order_by]
        unknown = [task for task in matching if key(task) is None]
        # Stable, also in reverse: equal tasks stay in order of creation.
        known = sorted((task for task in matching if key(task) is not None), key=key, reverse=query.descending)
        chosen = [*known, *unknown][query.offset : query.offset + query.limit]
        tasks = tuple([CountedTask(task, (await self.get(task.id)).attachment_count) for task in chosen])
        return TaskPage(tasks, len(matching), has_more=query.offset + len(tasks) < len(matching))


def _matches(task: Task, query: TaskQuery) -> bool:
    return (
        task.id.startswith(query.id_prefix)
        and query.status in {None, task.status}
        and query.assigned_to in {None, task.assigned_to}
        and query.priority in {None, task.priority}
    )
