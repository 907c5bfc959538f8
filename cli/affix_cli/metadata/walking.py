"""Goes through all tasks and moves, or foresees, what they have in `metadata.data`."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Protocol

from affix_cli.metadata.moving import Mover, Outcome
from affix_cli.metadata.planning import MEMBER
from affix_server.errors import CircuitOpenError, StorageUnavailableError, TaskNotFoundError
from affix_server.storage.base import Tasks
from affix_server.storage.entries import MetadataPage, TaskMetadata

# As many tasks at once share the commits of PostgreSQL and the round trips to Redis.
_AT_ONCE = 64
_PAGE = 500

# Told after each task, or page of tasks: how many more have been looked at, and what became of those with `data`.
Tell = Callable[[int, Outcome | None], None]


class Registry(Protocol):
    """All tasks, in the order of their ids. Raises StorageUnavailableError and CircuitOpenError."""

    async def total(self) -> int:
        """Return about how many tasks there are."""
        ...

    async def holding(self, member: str, after: str) -> MetadataPage | None:
        """Read the next tasks after an id that may have a member in their metadata; None where there are no more."""
        ...


class IdsOfRedis(Protocol):
    """What Redis alone can be asked for."""

    async def ids(self) -> list[str]:
        """Return the ids of all tasks in order."""
        ...


class RedisRegistry:
    """The tasks of Redis alone: those there are when it is first asked."""

    def __init__(self, tasks: Tasks, ids: IdsOfRedis) -> None:
        """Read tasks one by one."""
        self._tasks = tasks
        self._source = ids
        self._ids: list[str] | None = None

    async def total(self) -> int:
        """See Registry."""
        return len(await self._all())

    async def holding(self, member: str, after: str) -> MetadataPage | None:
        """See Registry. Whether a task has the member is for the caller to find out."""
        ids = await self._all()
        begin = bisect_right(ids, after)
        some = ids[begin : begin + _PAGE]
        found = []
        for task_id in some:
            try:
                task = (await self._tasks.get(task_id)).task
            except TaskNotFoundError:
                continue
            if f'"{member}"' in task.metadata or "\\u" in task.metadata:
                found.append(TaskMetadata(task.id, task.metadata, task.revision))
        return MetadataPage(found, len(some), some[-1]) if some else None

    async def _all(self) -> list[str]:
        if self._ids is None:
            self._ids = await self._source.ids()
        return self._ids


class StorageFailedError(Exception):
    """Storage has failed for longer than we wait; `cause` is a plain phrase."""

    def __init__(self, cause: str) -> None:
        """Keep the cause."""
        super().__init__(cause)
        self.cause = cause


@contextmanager
def storage_failures() -> Iterator[None]:
    """Raise StorageFailedError for the failures of storage inside, whether of one task or of several at once."""
    try:
        yield
    except* (StorageUnavailableError, CircuitOpenError) as group:
        fault = next(_leaves(group))
        cause = fault.cause if isinstance(fault, StorageUnavailableError) else "a store has failed too often"
        failure = StorageFailedError(cause)
    else:
        return
    raise failure


async def walk(registry: Registry, mover: Mover, *, apply: bool, tell: Tell) -> None:
    """Go through all tasks, and `tell` of each. What was moved by the time it fails stays moved."""
    after = ""
    while page := await mover.patiently(partial(registry.holding, MEMBER, after)):
        if apply:
            await _move(page, mover, tell)
        else:
            for outcome in await mover.foresee(page.holding):
                tell(0, outcome)
            tell(page.count, None)
        after = page.last


async def _move(page: MetadataPage, mover: Mover, tell: Tell) -> None:
    """Move the tasks of a page, some at once; the first failure ends them all."""
    waiting = iter(page.holding)

    async def work() -> None:
        for held in waiting:
            tell(1, await mover.move(held))

    tell(page.count - len(page.holding), None)
    async with asyncio.TaskGroup() as group:
        for _ in range(min(_AT_ONCE, len(page.holding))):
            group.create_task(work())


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for one in group.exceptions:
        if isinstance(one, BaseExceptionGroup):
            yield from _leaves(one)
        else:
            yield one
