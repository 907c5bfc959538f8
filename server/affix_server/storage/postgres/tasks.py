"""The Postgres half of tasks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

import asyncpg

from affix_server.domain import (
    CountedTask,
    JsonContent,
    NewTask,
    Ref,
    Task,
    TaskChanges,
    TaskOrderBy,
    TaskPage,
    TaskQuery,
    TaskStatus,
)
from affix_server.errors import ConflictError, TaskNotFoundError
from affix_server.json_text import merge_objects
from affix_server.storage.base import RESULT_KEY
from affix_server.storage.entries import TaskEntry, TaskTombstone, Write
from affix_server.storage.postgres.attachments import Row, write_attachments
from affix_server.storage.postgres.database import Connection, Database, statement
from affix_server.storage.postgres.rows import TASK_COLUMNS, parse_task
from affix_server.storage.revisions import Revisions

_CREATE = statement("create_task").replace("/* columns */", TASK_COLUMNS)
_UPDATE = statement("update_task").replace("/* columns */", TASK_COLUMNS)
_LIST = statement("list_tasks").replace("/* columns */", TASK_COLUMNS)
_DELETE = statement("delete_task")
_READ = f"SELECT {TASK_COLUMNS} FROM tasks t WHERE t.id = $1"  # noqa: S608 - a constant
_LOCK = f"{_READ} AND t.deleted_at IS NULL FOR NO KEY UPDATE"
# Conflicts with the share that write_attachments.sql takes: no attachment can be written meanwhile.
_LOCK_WHOLE = f"{_READ} AND t.deleted_at IS NULL FOR UPDATE"
_COUNT = "SELECT count(*) FROM task_attachments WHERE task_id = $1 AND deleted_at IS NULL"
_SINCE = f"""
SELECT {TASK_COLUMNS} FROM tasks t WHERE t.revision > $1 ORDER BY t.revision FETCH FIRST 200 ROWS WITH TIES
"""  # noqa: S608 - constants
_PURGE = "DELETE FROM tasks WHERE deleted_at < now() - make_interval(secs => $1) RETURNING 1"
_KEYS = "SELECT key FROM task_attachments WHERE task_id = $1"

_ORDER_BY = {
    TaskOrderBy.CREATED_AT: "t.created_at",
    TaskOrderBy.UPDATED_AT: "t.updated_at",
    TaskOrderBy.PRIORITY: "t.priority",
    TaskOrderBy.STATUS: "t.status",
    TaskOrderBy.ASSIGNED_TO: "t.assigned_to",
}


@dataclass(frozen=True, slots=True)
class TaskRow:
    """What Postgres holds under a task's id, and who wrote it."""

    task: TaskEntry
    updated_by: str


class TaskTable:
    """Reads and writes of `tasks`. Every method raises StorageUnavailableError."""

    def __init__(self, database: Database, revisions: Revisions) -> None:
        """Use a database; every revision given is higher than those seen."""
        self._database = database
        self._revisions = revisions

    async def create(self, task_id: str, new: NewTask, created_by: str) -> Task:
        """Commit a new task. Raises ConflictError when there is a live one with this id."""
        args = (task_id, new.text, new.priority, new.metadata, created_by, self._revisions.highest)
        for record in await self._database.fetch(_CREATE, *args):
            return self._live(record)
        held = await self.read(task_id)
        revision = held.task.revision if held is not None else 0
        raise ConflictError(f"Task {task_id} already exists", revision)

    async def read(self, task_id: str) -> TaskRow | None:
        """Read a task or its tombstone."""
        for record in await self._database.fetch(_READ, task_id):
            task = parse_task(record)
            self._revisions.observe(task.revision)
            return TaskRow(task, record["updated_by"])
        return None

    async def since(self, revision: int) -> AsyncGenerator[Sequence[TaskRow]]:
        """Read what was written or deleted after a revision, in its order, some at a time."""
        while records := await self._database.fetch(_SINCE, revision):
            yield [TaskRow(parse_task(record), record["updated_by"]) for record in records]
            revision = records[-1]["revision"]

    async def count(self, task_id: str) -> int:
        """Count the attachments of a task."""
        (record,) = await self._database.fetch(_COUNT, task_id)
        count: int = record["count"]
        return count

    async def keys(self, task_id: str) -> list[str]:
        """Return every key of a task, deleted ones that are still known included."""
        return [record["key"] for record in await self._database.fetch(_KEYS, task_id)]

    async def purge(self, older_than_seconds: float) -> int:
        """Remove tombstones of a certain age for good; returns how many."""
        return len(await self._database.fetch(_PURGE, older_than_seconds))

    async def update(self, task_id: str, changes: TaskChanges, updated_by: str) -> Task:
        """Commit changes. Raises TaskNotFoundError."""

        async def work(connection: Connection) -> Task:
            held = await self._lock(connection, _LOCK, task_id)
            return await self._update(connection, held, changes, None, updated_by)

        return await self._database.transact(work)

    async def complete(
        self, task_id: str, worker_id: str | None, result: str | None, completed_by: str
    ) -> tuple[Task, Row | None]:
        """Commit a completion and its result, both or neither. Raises TaskNotFoundError."""

        async def work(connection: Connection) -> tuple[Task, Row | None]:
            held = await self._lock(connection, _LOCK, task_id)
            changes = TaskChanges(status=TaskStatus.COMPLETED)
            task = await self._update(connection, held, changes, worker_id, completed_by)
            if result is None:
                return task, None
            write = Write(Ref(task_id, RESULT_KEY), JsonContent(result), completed_by)
            fence = self._revisions.fence(self._database.now_us, self._database.timeout)
            (row,) = await write_attachments(connection, (write,), self._revisions, fence)
            return task, row

        return await self._database.transact(work)

    async def delete(self, task_id: str, deleted_by: str) -> tuple[TaskTombstone, list[str]]:
        """Commit a deletion with all attachments; returns the keys they had. Raises TaskNotFoundError."""

        async def work(connection: Connection) -> tuple[TaskTombstone, list[str]]:
            await self._lock(connection, _LOCK_WHOLE, task_id)
            (record,) = await connection.fetch(_DELETE, task_id, deleted_by, self._revisions.highest)
            tombstone = TaskTombstone(task_id, record["deleted_at"], record["revision"])
            self._revisions.observe(tombstone.revision)
            return tombstone, record["keys"]

        return await self._database.transact(work)

    async def list(self, query: TaskQuery) -> TaskPage:
        """Read a page with its total, at one moment."""
        column, direction = _ORDER_BY[query.order_by], "DESC" if query.descending else "ASC"
        order = f"{column} {direction} NULLS LAST, t.id {direction}"
        sql = _LIST.replace("/* order */", order)
        status = query.status.value if query.status else None
        records = await self._database.fetch(sql, status, query.assigned_to, query.priority, query.limit, query.offset)
        tasks = tuple(
            CountedTask(self._live(record), record["attachment_count"])
            for record in records
            if record["id"] is not None
        )
        total = records[0]["total"]
        return TaskPage(tasks, total, has_more=query.offset + len(tasks) < total)

    async def _lock(self, connection: Connection, sql: str, task_id: str) -> Task:
        record = await connection.fetchrow(sql, task_id)
        if record is None:
            raise TaskNotFoundError(task_id)
        return self._live(record)

    async def _update(
        self, connection: Connection, held: Task, changes: TaskChanges, assigned_to: str | None, updated_by: str
    ) -> Task:
        metadata = merge_objects(held.metadata, changes.metadata) if changes.metadata is not None else None
        status = changes.status.value if changes.status else None
        record = await connection.fetchrow(
            _UPDATE,
            *(held.id, changes.text, status, changes.priority, metadata, assigned_to, updated_by),
            self._revisions.highest,
        )
        return self._live(record)

    def _live(self, record: asyncpg.Record | None) -> Task:
        task = parse_task(record) if record is not None else None
        assert isinstance(task, Task)  # noqa: S101 - the statements return live tasks only
        self._revisions.observe(task.revision)
        return task
