"""The Postgres half of tasks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Sequence
from dataclasses import dataclass
from typing import Any

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
from affix_server.errors import ConflictError, StorageUnavailableError, TaskNotFoundError
from affix_server.storage.base import RESULT_KEY
from affix_server.storage.entries import MetadataPage, PendingTask, TaskEntry, TaskMetadata, TaskTombstone, Write
from affix_server.storage.postgres.attachments import Row, write_attachments
from affix_server.storage.postgres.database import Connection, Database, statement
from affix_server.storage.postgres.rows import TASK_COLUMNS, drain_task_columns, parse_task
from affix_server.storage.revisions import Revisions
from affix_server.storage.task_changes import changed_metadata, require_revision
from affix_server.storage.writers import print_writers

_CREATE = statement("create_task").replace("/* columns */", TASK_COLUMNS)
_UPDATE = statement("update_task").replace("/* columns */", TASK_COLUMNS)
_LIST = statement("list_tasks").replace("/* columns */", TASK_COLUMNS)
_HOLDING = statement("tasks_holding")
_DRAIN = statement("drain_tasks")
_DELETE = statement("delete_task")
_READ = f"SELECT {TASK_COLUMNS} FROM tasks t WHERE t.id = $1"  # noqa: S608 - a constant
_LOCK = f"{_READ} AND t.deleted_at IS NULL FOR NO KEY UPDATE"
# Conflicts with the share that write_attachments.sql takes: no attachment can be written meanwhile.
_LOCK_WHOLE = f"{_READ} AND t.deleted_at IS NULL FOR UPDATE"
_COUNT = """
SELECT (SELECT count(*) FROM task_attachments WHERE task_id = $1 AND deleted_at IS NULL)
     - (SELECT count(*) FROM task_attachments
        WHERE expires_at <= to_timestamp($2::bigint / 1000.0) AND task_id = $1 AND deleted_at IS NULL) AS count
"""
_SINCE = f"""
SELECT {TASK_COLUMNS} FROM tasks t WHERE t.revision > $1 ORDER BY t.revision FETCH FIRST 200 ROWS WITH TIES
"""  # noqa: S608 - constants
_PURGE = "DELETE FROM tasks WHERE deleted_at < now() - make_interval(secs => $1) RETURNING 1"
# Nothing is written to them meanwhile, and what has just been is seen by the statement that follows.
_LOCK_ALL = "SELECT id FROM tasks WHERE id = ANY ($1) ORDER BY id FOR UPDATE"
_READ_ALL = f"SELECT {TASK_COLUMNS} FROM tasks t WHERE t.id = ANY ($1)"  # noqa: S608 - a constant
# Counting goes through all rows: where there are very many, what PostgreSQL believes is near enough.
_TOTAL = """
SELECT CASE WHEN counted < 1000000 THEN counted ELSE greatest(counted, reltuples::bigint) END AS total
FROM (SELECT count(*) AS counted FROM (SELECT FROM tasks WHERE deleted_at IS NULL LIMIT 1000000) AS live) AS few,
     pg_class
WHERE oid = 'tasks'::regclass
"""
_KEYS = "SELECT key FROM task_attachments WHERE task_id = $1"

_ORDER_BY = {
    TaskOrderBy.CREATED_AT: "t.created_at",
    TaskOrderBy.UPDATED_AT: "t.updated_at",
    TaskOrderBy.PRIORITY: "t.priority",
    TaskOrderBy.STATUS: "t.status",
    TaskOrderBy.ASSIGNED_TO: "t.assigned_to",
}


def list_statement(filters: Sequence[str], order_by: TaskOrderBy, *, descending: bool, bound: bool = False) -> str:
    """Return the statement that lists tasks by some columns, in an order that an index has (0018).

    `bound` to those whose id begins with a text, the last parameter.
    """
    direction = "DESC" if descending else "ASC"
    columns = dict.fromkeys((_ORDER_BY[order_by], "t.created_at", "t.id"))
    # Where there are no nulls, an index knows nothing of their order.
    nulls = {"t.assigned_to": " NULLS LAST"}
    order = ", ".join(f"{column} {direction}{nulls.get(column, '')}" for column in columns)
    where = "".join(f" AND {column} = ${place}" for place, column in enumerate(filters, start=4))
    if bound:
        where += f" AND starts_with(t.id, ${4 + len(filters)})"
    return _LIST.replace("/* filters */", where).replace("/* order */", order)


@dataclass(frozen=True, slots=True)
class TaskRow:
    """What Postgres holds under a task's id, and who wrote it."""

    task: TaskEntry
    updated_by: str


class ExpiredResultError(Exception):
    """Nothing was written, because the result that is there has expired and is to be ended first."""


class TaskTable:
    """Reads and writes of `tasks`. Every method raises StorageUnavailableError."""

    def __init__(self, database: Database, revisions: Revisions) -> None:
        """Use a database; every revision given is higher than those seen."""
        self._database = database
        self._revisions = revisions

    async def create(self, task_id: str, new: NewTask, created_by: str) -> Task:
        """Commit a new task. Raises ConflictError when there is a live one with this id."""

        def work(connection: Connection) -> Awaitable[Any]:
            args = (task_id, new.text, new.priority, new.metadata, created_by)
            writers = print_writers(new.writers)
            return connection.fetch(_CREATE, *args, self._revisions.highest, self._fence(), writers)

        for record in await self._database.run(work):
            return self._live(record)
        held = await self.read(task_id)
        if held is None or isinstance(held.task, TaskTombstone):
            raise _too_late()
        raise ConflictError(f"Task {task_id} already exists", held.task.revision)

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
        (record,) = await self._database.fetch(_COUNT, task_id, self._database.clock.now_ms())
        count: int = record["count"]
        return count

    async def keys(self, task_id: str, *, probing: bool = False) -> list[str]:
        """Return every key of a task, deleted ones that are still known included."""
        work = self._database.run(lambda connection: connection.fetch(_KEYS, task_id), probing=probing)
        return [record["key"] for record in await work]

    async def holding(self, member: str, after: str) -> MetadataPage | None:
        """Read the next tasks after an id, in the order of ids; None where there are no more."""
        rows = await self._database.fetch(_HOLDING, after, f'"{member}"')
        holding = [TaskMetadata(row["id"], row["metadata"], row["revision"]) for row in rows if row["metadata"]]
        return MetadataPage(holding, len(rows), rows[-1]["id"]) if rows else None

    async def total(self) -> int:
        """Return how many tasks there are; about how many, from a million on."""
        (record,) = await self._database.fetch(_TOTAL)
        total: int = record["total"]
        return total

    async def purge(self, older_than_seconds: float) -> int:
        """Remove tombstones of a certain age for good; returns how many."""
        return len(await self._database.fetch(_PURGE, older_than_seconds))

    async def update(self, task_id: str, changes: TaskChanges, updated_by: str) -> Task:
        """Commit changes. Raises TaskNotFoundError, ConflictError."""

        async def work(connection: Connection) -> Task:
            held = await self._lock(connection, _LOCK, task_id)
            require_revision(changes, held)
            return await self._update(connection, held, changes, None, updated_by)

        return await self._database.transact(work)

    async def complete(
        self, task_id: str, worker_id: str | None, result: str | None, completed_by: str
    ) -> tuple[Task, Row | None]:
        """Commit a completion and its result, both or neither.

        Raises TaskNotFoundError, and ExpiredResultError when there is a result that has expired.
        """

        async def work(connection: Connection) -> tuple[Task, Row | None]:
            held = await self._lock(connection, _LOCK, task_id)
            changes = TaskChanges(status=TaskStatus.COMPLETED)
            task = await self._update(connection, held, changes, worker_id, completed_by)
            if result is None:
                return task, None
            write = Write(Ref(task_id, RESULT_KEY), JsonContent(result), completed_by)
            (row,) = await write_attachments(connection, (write,), self._revisions, self._fence())
            if row.expired:
                raise ExpiredResultError
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

    async def drain(self, pending: Sequence[PendingTask], *, probing: bool = False) -> list[TaskEntry]:
        """Commit writes that were accepted while Postgres was away; returns the tasks as they are afterwards, in order.

        Of what is there and what is drained, the higher revision stays. `probing` asks whatever the circuit says.
        """
        ids = [one.task.id for one in pending]

        async def work(connection: Connection) -> Sequence[asyncpg.Record]:
            async with connection.transaction():
                await connection.fetch(_LOCK_ALL, ids)
                await connection.execute(_DRAIN, *drain_task_columns(pending))
                return await connection.fetch(_READ_ALL, ids)

        tasks = {record["id"]: parse_task(record) for record in await self._database.run(work, probing=probing)}
        for task in tasks.values():
            self._revisions.observe(task.revision)
        return [tasks[task_id] for task_id in ids]

    async def list(self, query: TaskQuery) -> TaskPage:
        """Read a page with its total, at one moment."""
        status = query.status.value if query.status else None
        compared = {"t.status": status, "t.assigned_to": query.assigned_to, "t.priority": query.priority}
        asked = {column: value for column, value in compared.items() if value is not None}
        bound = [query.id_prefix] if query.id_prefix else []
        sql = list_statement(tuple(asked), query.order_by, descending=query.descending, bound=bool(bound))
        records = await self._database.fetch(
            sql, query.limit, query.offset, self._database.clock.now_ms(), *asked.values(), *bound
        )
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
        metadata = changed_metadata(changes, held) if changes.metadata is not None else None
        status = changes.status.value if changes.status else None
        record = await connection.fetchrow(
            _UPDATE,
            *(held.id, changes.text, status, changes.priority, metadata, assigned_to, updated_by),
            self._revisions.highest,
            print_writers(changes.writers) if changes.writers is not None else None,
        )
        return self._live(record)

    def _fence(self) -> int:
        """Only for a statement that is sent: each fence may be a step above the one before.

        What is done in a transaction needs none: it is committed only by a caller that has not given up.
        """
        return self._revisions.fence(self._database.now_us, self._database.timeout)

    def _live(self, record: asyncpg.Record | None) -> Task:
        task = parse_task(record) if record is not None else None
        assert isinstance(task, Task)  # noqa: S101 - the statements return live tasks only
        self._revisions.observe(task.revision)
        return task


def _too_late() -> StorageUnavailableError:
    return StorageUnavailableError("Database answered too late")
