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
from affix_server.errors import (
    AffixError,
    CircuitOpenError,
    ConflictError,
    StorageUnavailableError,
    TaskNotFoundError,
)
from affix_server.storage.base import RESULT_KEY
from affix_server.storage.drainer import Drainer
from affix_server.storage.entries import TaskTombstone, random_suffix
from affix_server.storage.events import task_deletion, task_event
from affix_server.storage.ongoing import Ongoing
from affix_server.storage.postgres.attachments import Row
from affix_server.storage.postgres.tasks import TaskTable
from affix_server.storage.redis.client import CacheUnavailableError
from affix_server.storage.redis.connection import Command
from affix_server.storage.redis.intents import Intents
from affix_server.storage.redis.publishing import Telling, announce
from affix_server.storage.redis.task_cache import TaskCache
from affix_server.storage.single_flight import SingleFlight
from affix_server.storage.trust import Trust
from affix_server.times import now_ms

V = TypeVar("V")

# Two of 36^6 random parts in one millisecond are one in two billion; four times in a row they are not.
_ID_ATTEMPTS = 4


class TaskRepository:
    """Implements storage.base.Tasks: Postgres decides, Redis answers."""

    def __init__(self, *, cache: TaskCache, intents: Intents, table: TaskTable, drainer: Drainer, trust: Trust) -> None:
        """Compose the two stores' halves."""
        self._cache = cache
        self._intents = intents
        self._table = table
        self._drainer = drainer
        self._trust = trust
        self._writes = Ongoing()
        self._loads: SingleFlight[Task] = SingleFlight()

    async def close(self) -> None:
        """Wait until writes that outlived their callers are done."""
        await self._writes.join()

    async def create(self, new: NewTask, created_by: str) -> WrittenTask:
        """See storage.base.Tasks."""
        if new.id is not None:
            return await self._create(new.id, new, created_by)
        for _ in range(_ID_ATTEMPTS - 1):
            try:
                return await self._create(_new_id(), new, created_by)
            except ConflictError:
                continue
        return await self._create(_new_id(), new, created_by)

    async def _create(self, task_id: str, new: NewTask, created_by: str) -> WrittenTask:
        task = await self._write(
            [Ref(task_id, "")],
            lambda: self._table.create(task_id, new, created_by),
            lambda task, tokens: self._publish(task, tokens, "task.created", created_by),
        )
        return WrittenTask(task, 0)

    async def get(self, task_id: str) -> CountedTask:
        """See storage.base.Tasks."""
        return await self._trust.redis_first(lambda: self._get(task_id), lambda: self._get_past_redis(task_id))

    async def _get(self, task_id: str) -> CountedTask:
        task, count = await self._cache.get(task_id)
        if isinstance(task, TaskTombstone):
            raise TaskNotFoundError(task_id)
        if task is None:
            task = await self._loads.run(task_id, lambda: self._load(task_id))
        if count is None:
            count = await self._table.count(task_id)
        return CountedTask(task, count)

    async def _get_past_redis(self, task_id: str) -> CountedTask:
        row = await self._table.read(task_id)
        if row is None or isinstance(row.task, TaskTombstone):
            raise TaskNotFoundError(task_id)
        return CountedTask(row.task, await self._table.count(task_id))

    async def _load(self, task_id: str) -> Task:
        """Read from Postgres and fill Redis; the lease keeps out what comes too late."""
        token = self._intents.token()
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
        task = await self._write(
            [Ref(task_id, "")],
            lambda: self._table.update(task_id, changes, updated_by),
            lambda task, tokens: self._publish(task, tokens, "task.updated", updated_by),
        )
        return WrittenTask(task, await self._count(task_id))

    async def list(self, query: TaskQuery) -> TaskPage:
        """See storage.base.Tasks."""
        return await self._table.list(query)

    async def complete(self, task_id: str, worker_id: str | None, result: str | None, completed_by: str) -> WrittenTask:
        """See storage.base.Tasks."""

        async def publish(done: tuple[Task, Row | None], tokens: Sequence[str]) -> None:
            task, row = done
            event = announce(task_event("task.completed", task, completed_by))
            ends = self._ends(refs[:1], tokens[:1])
            if row is None or row.entry is None or row.change is None:
                await self._cache.publish(task, tokens[0], [*event, *ends])
                return
            await self._cache.publish(task, tokens[0], ())
            telling = Telling(row.change, self._intents.hand_over(refs[1], tokens[1]))
            await self._cache.publish_result(row.entry, tokens[1], telling)
            await self._cache.run([*event, *ends])

        refs = [Ref(task_id, "")] if result is None else [Ref(task_id, ""), Ref(task_id, RESULT_KEY)]
        task, _ = await self._write(
            refs, lambda: self._table.complete(task_id, worker_id, result, completed_by), publish
        )
        return WrittenTask(task, await self._count(task_id))

    async def delete(self, task_id: str, deleted_by: str) -> DeletedTask:
        """See storage.base.Tasks."""
        ref = Ref(task_id, "")

        async def publish(deleted: tuple[TaskTombstone, Sequence[str]], tokens: Sequence[str]) -> None:
            tombstone, keys = deleted
            # The tombstone first: from then on nothing of this task is filled in or published any more.
            await self._cache.publish(tombstone, tokens[0], (), change=task_deletion(tombstone, deleted_by))
            await self._cache.drop_entries(task_id, keys)
            await self._cache.run(self._ends([ref], tokens))

        tombstone, _ = await self._write([ref], lambda: self._table.delete(task_id, deleted_by), publish)
        return DeletedTask(task_id, tombstone.deleted_at)

    async def _write(
        self,
        refs: Sequence[Ref],
        commit: Callable[[], Awaitable[V]],
        publish: Callable[[V, Sequence[str]], Awaitable[None]],
    ) -> V:
        """Run a write to its end, even if its caller goes away: begun is begun."""
        written = await self._writes.run(self._write_through(refs, commit, publish))
        self._loads.forget(refs[0].task_id)
        return written

    async def _write_through(
        self,
        refs: Sequence[Ref],
        commit: Callable[[], Awaitable[V]],
        publish: Callable[[V, Sequence[str]], Awaitable[None]],
    ) -> V:
        """Intent, commit, publish (design/storage.md, "A write")."""
        tokens = await self._begin(refs)
        if tokens is None:
            with self._trust.unpublished():
                written = await commit()
                await self._trust.heard()
            return written
        try:
            written = await commit()
        except (StorageUnavailableError, CircuitOpenError):
            self._abandon(refs, tokens)
            raise
        except AffixError:
            await self._cache.run(self._ends(refs, tokens))
            raise
        except BaseException:
            self._abandon(refs, tokens)
            raise
        try:
            await publish(written, tokens)
        except CacheUnavailableError:
            self._trust.doubt()  # whatever it was that Redis said: it lacks this write
            await self._trust.heard()
        return written

    async def _begin(self, refs: Sequence[Ref]) -> Sequence[str] | None:
        """Leave the traces of a write; None if Redis is away."""
        if not self._trust.publishing:
            return None
        tokens: deque[str] = deque()
        try:
            for ref in refs:
                begun = await self._intents.begin(ref)
                tokens.append(begun.token)
                if begun.pending:
                    await self._drainer.drain_key(ref)
        except CacheUnavailableError:
            self._abandon(refs, tokens)
            self._trust.doubt()  # it may answer readers all the same
            return None
        except BaseException:
            self._abandon(refs, tokens)
            raise
        return tuple(tokens)

    async def _publish(self, task: Task, tokens: Sequence[str], event: str, written_by: str) -> None:
        ends = self._ends([Ref(task.id, "")], tokens)
        await self._cache.publish(task, tokens[0], [*announce(task_event(event, task, written_by)), *ends])

    async def _count(self, task_id: str) -> int:
        try:
            return (await self.get(task_id)).attachment_count
        except TaskNotFoundError:
            return 0  # deleted since

    def _ends(self, refs: Sequence[Ref], tokens: Iterable[str]) -> Sequence[Command]:
        return [command for ref, token in zip(refs, tokens, strict=True) for command in self._intents.end(ref, token)]

    def _abandon(self, refs: Sequence[Ref], tokens: Iterable[str]) -> None:
        for ref, token in zip(refs, tokens, strict=False):
            self._intents.abandon(ref, token)


def _new_id() -> str:
    return f"t-{now_ms()}-{random_suffix(6)}"
