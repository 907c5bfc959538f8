"""Takes pending writes to Postgres (design/storage.md, "Postgres away")."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import structlog

from affix_server.domain import Ref
from affix_server.errors import AffixError
from affix_server.storage.entries import Pending, PendingTask, TaskTombstone
from affix_server.storage.postgres.attachments import AttachmentTable
from affix_server.storage.postgres.tasks import TaskTable
from affix_server.storage.redis.pending import PendingWrites
from affix_server.storage.redis.pending_tasks import PendingTasks

# Their contents are in memory together.
_AT_ONCE = 100

_log = structlog.get_logger()


class Drainer:
    """Commits pending writes, and publishes them as settled. Safe to run anywhere, any number of times."""

    def __init__(
        self,
        pending: PendingWrites,
        pending_tasks: PendingTasks,
        attachments: AttachmentTable,
        tasks: TaskTable,
    ) -> None:
        """Work between the two stores."""
        self._pending = pending
        self._pending_tasks = pending_tasks
        self._attachments = attachments
        self._tasks = tasks

    async def drain_all(self, refs: Iterable[Ref], *, probing: bool = False) -> set[Ref]:
        """Commit what is pending of some keys, and of their tasks, which come first; returns what was pending."""
        distinct = list(dict.fromkeys(refs))
        found: set[Ref] = set()
        for start in range(0, len(distinct), _AT_ONCE):
            found |= await self._drain_some(distinct[start : start + _AT_ONCE], probing=probing)
        return found

    async def _drain_some(self, refs: Sequence[Ref], *, probing: bool) -> set[Ref]:
        tasks = await self._pending_tasks.get(list(dict.fromkeys(ref.task_id for ref in refs)))
        refused = await self.drain_tasks(tasks, probing=probing)
        keys = [ref for ref in refs if ref.key and ref.task_id not in refused]
        found = zip(keys, await self._pending.get(keys) if keys else (), strict=True)
        pending = {ref: one for ref, one in found if one is not None}
        await self.drain(pending, probing=probing)
        return {*pending, *(Ref(one.task.id, "") for one in tasks)}

    async def drain_tasks(self, pending: Sequence[PendingTask], *, probing: bool = False) -> set[str]:
        """Commit pending writes of tasks; returns those that Postgres refuses, which stay pending and are logged."""
        try:
            if pending:
                await self._drain_tasks(pending, probing=probing)
        except AffixError:
            raise
        except Exception:  # noqa: BLE001 - as in `drain`
            if len(pending) == 1:
                _log.exception("drain_refused")
                return {pending[0].task.id}
            return {refused for one in pending for refused in await self.drain_tasks([one], probing=probing)}
        return set()

    async def _drain_tasks(self, pending: Sequence[PendingTask], *, probing: bool) -> None:
        settled = await self._tasks.drain(pending, probing=probing)
        for one, task in zip(pending, settled, strict=True):
            emptied = task.revision if isinstance(task, TaskTombstone) else one.born * bool(one.emptied)
            keys = await self._tasks.keys(task.id, probing=probing) if emptied else []
            await self._pending_tasks.settle(task, keys, emptied)

    async def drain(self, pending: Mapping[Ref, Pending], *, probing: bool = False) -> None:
        """Commit pending writes; of a task that has been deleted meanwhile, drop them.

        One that Postgres refuses stays pending, and is logged.
        """
        if not pending:
            return
        try:
            await self._drain(pending, probing=probing)
        except AffixError:
            raise
        except Exception:  # noqa: BLE001 - Postgres refuses one of them: the others are not to wait for it
            if len(pending) == 1:
                _log.exception("drain_refused")
                return
            for ref, one in pending.items():
                await self.drain({ref: one}, probing=probing)

    async def _drain(self, pending: Mapping[Ref, Pending], *, probing: bool) -> None:
        rows = await self._attachments.drain(list(pending.values()), probing=probing)
        await self._pending.settle([row.entry for row in rows if row.task_exists and row.entry is not None])
        for ref, row in zip(pending, rows, strict=True):
            if not row.task_exists:
                await self._pending.discard(ref)

    async def drain_task(self, task_id: str) -> None:
        """Commit all that is pending of a task, attachments too."""
        keys = await self._pending_tasks.keys(task_id)
        await self.drain_all([Ref(task_id, ""), *(Ref(task_id, key) for key in keys)])
