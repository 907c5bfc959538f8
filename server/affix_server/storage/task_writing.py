"""A write of a task: intent, commit, publish; or Redis decides (design/storage.md, "A write")."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from affix_server.domain import NewTask, Ref, Task, TaskChanges
from affix_server.errors import AffixError, CircuitOpenError, StorageUnavailableError
from affix_server.storage.base import RESULT_KEY
from affix_server.storage.drainer import Drainer
from affix_server.storage.entries import TaskTombstone
from affix_server.storage.events import task_deletion, task_event
from affix_server.storage.ongoing import Ongoing
from affix_server.storage.postgres.attachments import Row
from affix_server.storage.postgres.tasks import ExpiredResultError, TaskTable
from affix_server.storage.redis import names
from affix_server.storage.redis.client import CacheUnavailableError
from affix_server.storage.redis.connection import Command
from affix_server.storage.redis.intents import Begun, Intents
from affix_server.storage.redis.publishing import Telling, announce
from affix_server.storage.redis.task_cache import TaskCache
from affix_server.storage.task_acceptor import Fault, TaskAcceptor
from affix_server.storage.task_showing import show_task
from affix_server.storage.trust import Trust

V = TypeVar("V")
T = TypeVar("T", Task, TaskTombstone)


@dataclass(frozen=True, slots=True)
class Written(Generic[T]):
    """What a write left; `pending` if only Redis has it yet."""

    task: T
    pending: bool


@dataclass(frozen=True, slots=True)
class _Steps(Generic[V, T]):
    """What a write does where: the places it writes to, the task itself first."""

    refs: Sequence[Ref]
    commit: Callable[[], Awaitable[V]]
    publish: Callable[[V, Sequence[str]], Awaitable[None]]
    accept: Callable[[Sequence[Begun], Fault], Awaitable[T]]
    task_of: Callable[[V], T]
    prepare: Callable[[str], Awaitable[None]] | None = None


class TaskWriting:
    """Takes writes of tasks through all steps, whichever store is there. Begun is begun: a caller may go away."""

    def __init__(
        self,
        *,
        cache: TaskCache,
        intents: Intents,
        table: TaskTable,
        acceptor: TaskAcceptor,
        drainer: Drainer,
        trust: Trust,
        end: Callable[[Ref], Awaitable[bool]],
    ) -> None:
        """Compose the two stores' halves; `end` deletes an attachment that has expired."""
        self._cache = cache
        self._intents = intents
        self._table = table
        self._acceptor = acceptor
        self._drainer = drainer
        self._trust = trust
        self._end = end
        self._writes = Ongoing()

    async def close(self) -> None:
        """Wait until writes that outlived their callers are done."""
        await self._writes.join()

    async def create(self, task_id: str, new: NewTask, created_by: str, *, fresh: bool) -> Written[Task]:
        """Register a task under an id, which nobody else can have if it is `fresh`. Raises ConflictError."""
        refs = [Ref(task_id, "")]

        async def publish(task: Task, tokens: Sequence[str]) -> None:
            told = announce(task_event("task.created", task, created_by))
            indexes = self._cache.whole_indexes(task_id, tokens[0])
            await self._cache.publish(task, tokens[0], [indexes, *told, *self._ends(refs, tokens)])

        steps = _Steps(
            refs,
            prepare=lambda token: self._cache.begin_indexes(task_id, token),
            commit=lambda: self._table.create(task_id, new, created_by),
            publish=publish,
            accept=lambda begun, fault: self._acceptor.create(task_id, new, created_by, begun, fault, fresh=fresh),
            task_of=_itself,
        )
        return await self._writes.run(self._write(steps))

    async def update(self, task_id: str, changes: TaskChanges, updated_by: str) -> Written[Task]:
        """Change a task. Raises TaskNotFoundError, ConflictError."""
        refs = [Ref(task_id, "")]

        async def publish(task: Task, tokens: Sequence[str]) -> None:
            told = announce(task_event("task.updated", task, updated_by))
            await self._cache.publish(task, tokens[0], [*told, *self._ends(refs, tokens)])

        steps = _Steps(
            refs,
            commit=lambda: self._table.update(task_id, changes, updated_by),
            publish=publish,
            accept=lambda begun, fault: self._acceptor.update(task_id, changes, updated_by, begun, fault),
            task_of=_itself,
        )
        return await self._writes.run(self._write(steps))

    async def complete(
        self, task_id: str, worker_id: str | None, result: str | None, completed_by: str
    ) -> Written[Task]:
        """Complete a task with its result, both or neither. Raises TaskNotFoundError."""
        refs = [Ref(task_id, ""), *([Ref(task_id, RESULT_KEY)] if result is not None else [])]

        async def publish(done: tuple[Task, Row | None], tokens: Sequence[str]) -> None:
            task, row = done
            done_of_task = [
                *announce(task_event("task.completed", task, completed_by)),
                *self._ends(refs[:1], tokens[:1]),
            ]
            if row is None or row.entry is None or row.change is None:
                await self._cache.publish(task, tokens[0], done_of_task)
                return
            await self._cache.publish(task, tokens[0], ())
            telling = Telling(row.change, self._intents.hand_over(names.intent(refs[1], tokens[1])))
            await self._cache.publish_result(row.entry, tokens[1], telling)
            await self._cache.run(done_of_task)

        steps = _Steps(
            refs,
            commit=lambda: self._table.complete(task_id, worker_id, result, completed_by),
            publish=publish,
            accept=lambda begun, fault: self._acceptor.complete(task_id, worker_id, result, completed_by, begun, fault),
            task_of=lambda done: done[0],
        )
        while True:
            try:
                return await self._writes.run(self._write(steps))
            except ExpiredResultError:
                await self._end(refs[1])

    async def delete(self, task_id: str, deleted_by: str) -> Written[TaskTombstone]:
        """Delete a task and all that hangs on it. Raises TaskNotFoundError."""
        refs = [Ref(task_id, "")]

        async def publish(deleted: tuple[TaskTombstone, Sequence[str]], tokens: Sequence[str]) -> None:
            tombstone, keys = deleted
            # The tombstone first: from then on nothing of this task is filled in or published any more.
            await self._cache.publish(tombstone, tokens[0], (), change=task_deletion(tombstone, deleted_by))
            await self._cache.expunge(task_id, keys, tombstone.revision)
            await self._cache.run(self._ends(refs, tokens))

        steps = _Steps(
            refs,
            commit=lambda: self._table.delete(task_id, deleted_by),
            publish=publish,
            accept=lambda begun, fault: self._acceptor.delete(task_id, deleted_by, begun, fault),
            task_of=lambda deleted: deleted[0],
        )
        return await self._writes.run(self._write(steps))

    async def _write(self, steps: _Steps[V, T]) -> Written[T]:
        begun = await self._begin(steps)
        if begun is None:
            return await self._write_past_redis(steps)
        tokens = [one.token for one in begun]
        try:
            if any(one.pending for one in begun):
                await self._drainer.drain_all(steps.refs)
            written = await steps.commit()
        except (StorageUnavailableError, CircuitOpenError) as fault:
            for ref, token in zip(steps.refs, tokens, strict=True):
                await self._intents.give_up(ref, token)
            return Written(await steps.accept(begun, fault), pending=True)
        except (AffixError, ExpiredResultError):
            # Postgres has answered, and there was nothing to do.
            await self._show_why_not(steps.refs, tokens)
            raise
        except BaseException:
            self._abandon(steps.refs, tokens)
            raise
        try:
            await steps.publish(written, tokens)
        except CacheUnavailableError:
            self._trust.doubt()  # whatever it was that Redis said: it lacks this write
            await self._trust.heard()
        return Written(steps.task_of(written), pending=False)

    async def _show_why_not(self, refs: Sequence[Ref], tokens: Sequence[str]) -> None:
        """Make true for readers why nothing was written: what keeps it from happening may not have been published."""
        row = await self._table.read(refs[0].task_id)
        try:
            if row is not None:
                await show_task(self._cache, self._table, row)
            await self._cache.run(self._ends(refs, tokens))
        except CacheUnavailableError:
            self._abandon(refs, tokens)

    async def _write_past_redis(self, steps: _Steps[V, T]) -> Written[T]:
        """While Redis is away: commit, and answer when nobody believes a Redis that lacks it."""
        with self._trust.unpublished():
            written = await steps.commit()
            await self._trust.heard()
        return Written(steps.task_of(written), pending=False)

    async def _begin(self, steps: _Steps[V, T]) -> Sequence[Begun] | None:
        """Leave the traces of a write; None if Redis is away."""
        if not self._trust.publishing:
            return None
        begun: list[Begun] = []
        try:
            begun = await self._intents.begin(steps.refs)
            if steps.prepare is not None:
                await steps.prepare(begun[0].token)
        except CacheUnavailableError:
            self._abandon(steps.refs, [one.token for one in begun])
            self._trust.doubt()  # it may answer readers all the same
            return None
        except BaseException:
            self._abandon(steps.refs, [one.token for one in begun])
            raise
        return begun

    def _ends(self, refs: Sequence[Ref], tokens: Sequence[str]) -> Sequence[Command]:
        return [command for ref, token in zip(refs, tokens, strict=True) for command in self._intents.end(ref, token)]

    def _abandon(self, refs: Sequence[Ref], tokens: Sequence[str]) -> None:
        for ref, token in zip(refs, tokens, strict=False):
            self._intents.abandon(ref, token)


def _itself(task: Task) -> Task:
    return task
