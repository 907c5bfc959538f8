"""Tasks over both stores: the protocol of design/storage.md, as for attachments."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from affix_server.domain import (
    CountedTask,
    DeletedTask,
    NewTask,
    Task,
    TaskChanges,
    TaskPage,
    TaskQuery,
    TaskRights,
    WrittenTask,
)
from affix_server.errors import CircuitOpenError, ConflictError, StorageUnavailableError, TaskNotFoundError
from affix_server.storage.drainer import Drainer
from affix_server.storage.entries import TaskTombstone, random_suffix
from affix_server.storage.postgres.tasks import TaskTable
from affix_server.storage.redis.intents import Intents
from affix_server.storage.redis.task_cache import TaskCache
from affix_server.storage.single_flight import SingleFlight
from affix_server.storage.task_writing import TaskWriting, Written
from affix_server.storage.trust import Trust
from affix_server.times import now_ms

# Two of 36^6 random parts in one millisecond are one in two billion; four times in a row they are not.
_ID_ATTEMPTS = 4


class TaskRepository:
    """Implements storage.base.Tasks: Postgres decides, Redis answers; task_writing.py does the writing."""

    def __init__(
        self,
        *,
        cache: TaskCache,
        intents: Intents,
        table: TaskTable,
        writing: TaskWriting,
        drainer: Drainer,
        trust: Trust,
    ) -> None:
        """Compose the two stores' halves."""
        self._cache = cache
        self._intents = intents
        self._table = table
        self._writing = writing
        self._drainer = drainer
        self._trust = trust
        self._loads: SingleFlight[Task] = SingleFlight()

    async def close(self) -> None:
        """Wait until writes that outlived their callers are done."""
        await self._writing.close()

    async def create(self, new: NewTask, created_by: str) -> WrittenTask:
        """See storage.base.Tasks."""
        if new.id is not None:
            return self._created(await self._writing.create(new.id, new, created_by, fresh=False))
        for _ in range(_ID_ATTEMPTS - 1):
            try:
                return self._created(await self._writing.create(_new_id(new), new, created_by, fresh=True))
            except ConflictError:
                continue
        return self._created(await self._writing.create(_new_id(new), new, created_by, fresh=True))

    def _created(self, written: Written[Task]) -> WrittenTask:
        self._loads.forget(written.task.id)
        return WrittenTask(written.task, 0, pending=written.pending)

    async def get(self, task_id: str) -> CountedTask:
        """See storage.base.Tasks."""
        return await self._trust.redis_first(lambda: self._get(task_id), lambda: self._get_past_redis(task_id))

    async def rights(self, task_id: str) -> TaskRights:
        """See storage.base.Tasks."""
        try:
            through, past = partial(self._rights, task_id), partial(self._rights_past_redis, task_id)
            return await self._trust.redis_first(through, past)
        except CircuitOpenError:
            raise StorageUnavailableError("Database is away") from None

    async def _rights(self, task_id: str) -> TaskRights:
        known = await self._cache.rights(task_id)
        return known or (await self._known(task_id))[0].rights

    async def _rights_past_redis(self, task_id: str) -> TaskRights:
        return (await self._read(task_id)).rights

    async def _get(self, task_id: str) -> CountedTask:
        task, count = await self._known(task_id)
        if count is None:
            await self._drainer.drain_task(task_id)
            count = await self._table.count(task_id)
        return CountedTask(task, count)

    async def _known(self, task_id: str) -> tuple[Task, int | None]:
        """Read a task, and the number of its attachments if Redis knows it."""
        task, count = await self._cache.get(task_id)
        while task is None and await self._loads.landed(task_id):
            # A load that began before this call may have read what is out of date by now; what it filled in may not be.
            task, count = await self._cache.get(task_id)
        if isinstance(task, TaskTombstone):
            raise TaskNotFoundError(task_id)
        if task is None:
            task = await self._loads.run(task_id, lambda: self._load(task_id))
        return task, count

    async def _get_past_redis(self, task_id: str) -> CountedTask:
        return CountedTask(await self._read(task_id), await self._table.count(task_id))

    async def _read(self, task_id: str) -> Task:
        row = await self._table.read(task_id)
        if row is None or isinstance(row.task, TaskTombstone):
            raise TaskNotFoundError(task_id)
        return row.task

    async def _load(self, task_id: str) -> Task:
        """Read from Postgres and fill Redis; the lease keeps out what comes too late."""
        token = self._intents.token()
        self._loads.depart(task_id)
        await self._cache.lease(task_id, token)
        row = await self._table.read(task_id)
        if row is None:
            raise TaskNotFoundError(task_id)
        await self._cache.fill(row.task, token)
        if isinstance(row.task, TaskTombstone):
            raise TaskNotFoundError(task_id)
        return row.task

    async def update(self, task_id: str, changes: TaskChanges, updated_by: str) -> WrittenTask:
        """See storage.base.Tasks."""
        return await self._counted(await self._writing.update(task_id, changes, updated_by))

    async def list(self, query: TaskQuery) -> TaskPage:
        """See storage.base.Tasks."""
        return await self._table.list(query)

    async def complete(self, task_id: str, worker_id: str | None, result: str | None, completed_by: str) -> WrittenTask:
        """See storage.base.Tasks."""
        return await self._counted(await self._writing.complete(task_id, worker_id, result, completed_by))

    async def delete(self, task_id: str, deleted_by: str) -> DeletedTask:
        """See storage.base.Tasks."""
        written = await self._writing.delete(task_id, deleted_by)
        self._loads.forget(task_id)
        return DeletedTask(task_id, written.task.deleted_at, pending=written.pending)

    async def _counted(self, written: Written[Task]) -> WrittenTask:
        """Add the number of attachments, unless only a store that is away could tell: the write stands all the same."""
        task_id = written.task.id
        self._loads.forget(task_id)
        count: int | None = None
        with suppress(StorageUnavailableError, CircuitOpenError):
            if written.pending:
                _, count = await self._cache.get(task_id)
            else:
                count = await self._count(task_id)
        return WrittenTask(written.task, count, pending=written.pending)

    async def _count(self, task_id: str) -> int:
        try:
            return (await self.get(task_id)).attachment_count
        except TaskNotFoundError:
            return 0  # deleted since


def _new_id(new: NewTask) -> str:
    return f"{new.id_prefix}t-{now_ms()}-{random_suffix(6)}"
