"""Makes Redis show a task as Postgres has it, where its writer may not have, or not yet."""

from __future__ import annotations

from affix_server.storage.entries import TaskTombstone
from affix_server.storage.events import task_deletion
from affix_server.storage.postgres.tasks import TaskRow, TaskTable
from affix_server.storage.redis.task_cache import TaskCache


async def show_task(cache: TaskCache, table: TaskTable, row: TaskRow) -> bool:
    """Publish a task, or its end with that of all that hung on it; tell whether Redis was behind.

    Of an end it tells, if nobody has. Raises StorageUnavailableError, CacheUnavailableError.
    """
    task = row.task
    if not isinstance(task, TaskTombstone):
        (was_behind,) = await cache.republish([(task, None)])
        return was_behind
    (was_behind,) = await cache.republish([(task, task_deletion(task, row.updated_by))])
    await cache.expunge(task.id, await table.keys(task.id), task.revision)
    return was_behind
