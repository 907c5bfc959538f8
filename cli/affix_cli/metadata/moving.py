"""Moves what was planned: attachments first, then the metadata, so that an interruption loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from affix_cli.metadata.planning import Plan, Skip, plan
from affix_server.domain import Attachment, AttachmentType, Condition, Content, Created, Ref, TaskChanges
from affix_server.errors import (
    AttachmentNotFoundError,
    CircuitOpenError,
    ConflictError,
    InvalidParamsError,
    StorageUnavailableError,
    TaskNotFoundError,
)
from affix_server.storage.base import Attachments, Tasks
from affix_server.storage.entries import TaskMetadata
from affix_server.validation import MAX_BATCH

V = TypeVar("V")

# A minute, in seconds: longer than a circuit is open.
WAITS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
# Writers of one task, or of one attachment, that get in between.
ATTEMPTS = 100

_OTHER = "another attachment is there"
_RESTLESS = "it changed too often meanwhile"


@dataclass(frozen=True, slots=True)
class Moved:
    """An entry that is an attachment now, or would be; `already` if it was one before."""

    key: str
    type: AttachmentType
    already: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a task's `data`, or would."""

    task_id: str
    moved: Sequence[Moved]
    skips: Sequence[Skip]


class Mover:
    """Moves tasks' `data` into attachments, through storage like any other writer.

    Methods raise StorageUnavailableError or CircuitOpenError when storage fails for as long as `waits`, in seconds.
    """

    def __init__(
        self,
        attachments: Attachments,
        tasks: Tasks,
        *,
        max_content_bytes: int,
        moved_by: str,
        waits: Sequence[float] = WAITS,
    ) -> None:
        """Use storage; what is created is created by `moved_by`."""
        self._attachments = attachments
        self._tasks = tasks
        self._max_content_bytes = max_content_bytes
        self._moved_by = moved_by
        self._waits = waits

    async def foresee(self, tasks: Sequence[TaskMetadata]) -> list[Outcome]:
        """Tell what would become of tasks, those with `data` only, and change nothing."""
        plans = {held.task_id: self._plan(held) for held in tasks}
        having = {task_id: one for task_id, one in plans.items() if one is not None}
        refs = [Ref(task_id, entry.key) for task_id, one in having.items() for entry in one.entries]
        there = await self._contents(refs)
        return [self._foreseen(task_id, one, there) for task_id, one in having.items()]

    async def move(self, held: TaskMetadata) -> Outcome | None:
        """Move what can be moved of one task; None if it has no `data`, or is gone.

        If the task is changed meanwhile, it is read and planned again.
        """
        outcome: Outcome | None = None
        ours: dict[str, int] = {}
        for _ in range(ATTEMPTS):
            planned = self._plan(held)
            if planned is None:
                return outcome  # somebody has removed it; or we did, and the answer was lost
            try:
                outcome = await self._attach(held.task_id, planned, ours)
                if not outcome.moved and outcome.skips:
                    return outcome
                await self._strip(held, planned, outcome)
            except TaskNotFoundError:
                return None
            except ConflictError:
                reread = await self._reread(held.task_id)
                if reread is None:
                    return None
                held = reread
                continue
            return outcome
        return Outcome(held.task_id, (), (Skip(None, _RESTLESS),))

    def _plan(self, held: TaskMetadata) -> Plan | None:
        return plan(held.metadata, self._max_content_bytes)

    async def _attach(self, task_id: str, planned: Plan, ours: dict[str, int]) -> Outcome:
        moved, skips = [], list(planned.skips)
        for entry in planned.entries:
            one = await self._create(Ref(task_id, entry.key), entry.content, ours)
            if isinstance(one, Moved):
                moved.append(one)
            else:
                skips.append(one)
        return Outcome(task_id, moved, skips)

    async def _create(self, ref: Ref, content: Content, ours: dict[str, int]) -> Moved | Skip:
        """Create an attachment if there is none, or replace one of `ours`, key to revision, that nobody has touched."""
        condition = Condition(absent=True)
        for _ in range(ATTEMPTS):
            create = self._creating(ref, content, condition)
            try:
                ours[ref.key] = (await self.patiently(create)).revision
                return Moved(ref.key, content.type, already=False)
            except ConflictError:
                pass
            try:
                found = await self.patiently(lambda: self._attachments.get(ref))
            except AttachmentNotFoundError:
                condition = Condition(absent=True)
                continue
            if found.content == content:
                # Of an earlier run, or of a create whose answer was lost, or from before the task was changed.
                return Moved(ref.key, content.type, already=ref.key not in ours)
            if found.revision != ours.get(ref.key):
                return Skip(ref.key, _OTHER)
            condition = Condition(revision=found.revision)
        return Skip(ref.key, _RESTLESS)

    def _creating(self, ref: Ref, content: Content, condition: Condition) -> Callable[[], Awaitable[Created]]:
        return lambda: self._attachments.create(ref, content, self._moved_by, condition)

    async def _strip(self, held: TaskMetadata, planned: Plan, outcome: Outcome) -> None:
        left = planned.left({one.key for one in outcome.moved})
        changes = TaskChanges(metadata=left, replaces_metadata=True, if_revision=held.revision)
        await self.patiently(lambda: self._tasks.update(held.task_id, changes, self._moved_by))

    async def _reread(self, task_id: str) -> TaskMetadata | None:
        try:
            task = (await self.patiently(lambda: self._tasks.get(task_id))).task
        except TaskNotFoundError:
            return None
        return TaskMetadata(task.id, task.metadata, task.revision)

    async def _contents(self, refs: Sequence[Ref]) -> dict[Ref, Content]:
        found: dict[Ref, Content] = {}
        for start in range(0, len(refs), MAX_BATCH):
            for one in await self.patiently(self._reading(refs[start : start + MAX_BATCH])):
                if one is not None:
                    found[Ref(one.task_id, one.key)] = one.content
        return found

    def _reading(self, refs: Sequence[Ref]) -> Callable[[], Awaitable[Sequence[Attachment | None]]]:
        async def read() -> Sequence[Attachment | None]:
            try:
                return await self._attachments.batch_get(refs, allow_missing=True)
            except InvalidParamsError:
                # Together they are more than one answer holds.
                return [one for ref in refs for one in await self._attachments.batch_get((ref,), allow_missing=True)]

        return read

    @staticmethod
    def _foreseen(task_id: str, planned: Plan, there: Mapping[Ref, Content]) -> Outcome:
        moved, skips = [], list(planned.skips)
        for entry in planned.entries:
            found = there.get(Ref(task_id, entry.key))
            if found is None or found == entry.content:
                moved.append(Moved(entry.key, entry.content.type, already=found is not None))
            else:
                skips.append(Skip(entry.key, _OTHER))
        return Outcome(task_id, moved, skips)

    async def patiently(self, call: Callable[[], Awaitable[V]]) -> V:
        """Call until storage answers, or has failed for too long."""
        for wait in self._waits:
            try:
                return await call()
            except (StorageUnavailableError, CircuitOpenError):
                await asyncio.sleep(wait)
        return await call()
