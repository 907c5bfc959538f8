"""Writes of tasks that only Redis has (docs/decisions/0017-tasks-without-postgres.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from affix_server.domain import Ref
from affix_server.storage.base import RESULT_KEY
from affix_server.storage.entries import Pending, PendingTask, TaskEntry
from affix_server.storage.events import Change
from affix_server.storage.redis import names
from affix_server.storage.redis.client import RedisClient, Script
from affix_server.storage.redis.connection import Command, Reply
from affix_server.storage.redis.hashes import CorruptEntryError, Fields, entry_fields, leases, parse_task, task_fields
from affix_server.storage.redis.pending import LOOK, Seen, pending_marks, read_look
from affix_server.storage.redis.publishing import (
    NO_LEASE,
    builder,
    event_parts,
    expunge,
    index_scores,
    put_task,
)

TASK_PEND, TASK_BURY = (
    Script("_events", "_indexes", "_under_way", "task_pend"),
    Script("_events", "_under_way", "task_bury"),
)
SCRIPTS = (TASK_PEND, TASK_BURY)

_EXPUNGE_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class SeenTask:
    """What Redis knows of a task at one moment.

    `entry`: what it holds of the task; None for nothing, or for what is not whole. `born`, `emptied`: as in
    PendingTask. `result`: what it knows of the place of a result.
    """

    entry: TaskEntry | None
    revision: str
    leases: frozenset[str]
    born: int
    emptied: int
    result: Seen

    @property
    def now_us(self) -> int:
        """Redis' clock in microseconds."""
        return self.result.now_us


@dataclass(frozen=True, slots=True)
class Buried:
    """What became of a deletion: whether it is kept, and else what its revision has to be above.

    `whole`: nothing that hung on the task can be left in Redis.
    """

    kept: bool
    whole: bool
    above: int = 0


class PendingTasks:
    """Keeps and settles pending writes of tasks. Every method raises CacheUnavailableError."""

    def __init__(self, client: RedisClient, *, ttl_seconds: int) -> None:
        """Use a client; settled tasks live `ttl_seconds`."""
        self._client = client
        self._ttl = ttl_seconds

    async def look(self, task_id: str) -> SeenTask:
        """Read all that decides whether a write can be accepted without Postgres."""
        ref = Ref(task_id, RESULT_KEY)
        command = LOOK([names.entry(ref), names.task(task_id), names.index(task_id)], ref.key)
        (reply,) = await self._client.run((command,))
        fields = dict(zip(reply[1][::2], reply[1][1::2], strict=True))
        result = read_look(ref, reply)
        return SeenTask(
            entry=result.task,
            revision=fields.get(b"revision", b"").decode(errors="replace"),
            leases=leases(fields),
            born=_number(fields.get(b"born")),
            emptied=_number(fields.get(b"emptied")),
            result=result,
        )

    async def keep(
        self,
        pending: PendingTask,
        result: tuple[Pending, Change] | None,
        seen: SeenTask,
        followed_by: Sequence[Command],
        token: str = NO_LEASE,
    ) -> bool:
        """Keep a task, and a result, until it is drained, if all is as it was seen; then run what tells of the task.

        The indexes of a new task are whole from now on, if they were begun with `token` (TaskCache.begin_indexes).
        """
        ref = Ref(pending.task.id, RESULT_KEY)
        places = [names.task(ref.task_id), names.entry(ref), names.pending(ref.task_id)]
        fields = _fields(pending)
        with_it = _result_args(result, seen) if result is not None else []
        command = TASK_PEND(places, seen.revision, builder(token), len(fields), *fields, *with_it)
        (kept,) = await self._client.run((command,))
        if kept:
            await self._client.run(followed_by)
        return bool(kept)

    async def bury(self, pending: PendingTask, seen: SeenTask, change: Change) -> Buried:
        """Keep the deletion of a task until it is drained, and tell of it, if the task is as it was seen."""
        task_id = pending.task.id
        keys = [names.task(task_id), names.pending(task_id), *names.indexes(task_id)]
        command = TASK_BURY(keys, seen.revision, pending.task.revision, *event_parts(change), *_fields(pending))
        said = int((await self._client.run((command,)))[0])
        if said not in {1, 2}:
            return Buried(kept=False, whole=False, above=said)
        return Buried(kept=True, whole=said == 1)

    async def get(self, task_ids: Sequence[str]) -> list[PendingTask]:
        """Read those of some tasks whose last write Postgres has not seen."""
        replies = await self._client.pipeline([("HGETALL", names.task(task_id)) for task_id in task_ids])
        found = (_pending(task_id, reply) for task_id, reply in zip(task_ids, replies, strict=True))
        return [one for one in found if one is not None]

    async def keys(self, task_id: str) -> list[str]:
        """Return the keys of a task whose newest write Postgres has not seen."""
        return [member.decode() for member in await self._client.execute("SMEMBERS", names.pending(task_id))]

    async def settle(self, task: TaskEntry, keys: Sequence[str], emptied: int) -> None:
        """Publish what became of a pending write, of which `keys` lost what they had up to the revision `emptied`."""
        refs = [Ref(task.id, key) for key in keys]
        # Before the task: as long as it is marked, nothing of theirs is filled in any more.
        gone = [
            expunge(refs[start : start + _EXPUNGE_AT_ONCE], emptied) for start in range(0, len(refs), _EXPUNGE_AT_ONCE)
        ]
        await self._client.run([*gone, put_task(task, self._ttl, NO_LEASE)])


def _fields(pending: PendingTask) -> Fields:
    fields: Fields = [*task_fields(pending.task), "pending", 1, "updatedBy", pending.written_by]
    if pending.born:
        fields += ["born", pending.born]
    if pending.emptied:
        fields += ["emptied", pending.emptied]
    return fields


def _result_args(result: tuple[Pending, Change], seen: SeenTask) -> list[str | bytes | int]:
    pending, change = result
    entry = pending.entry
    place = (pending.ref.key, *index_scores(entry))
    return [seen.result.revision, *place, *event_parts(change), *entry_fields(entry), *pending_marks(pending)]


def _pending(task_id: str, reply: Reply) -> PendingTask | None:
    if not isinstance(reply, list) or b"pending" not in reply[::2]:
        return None
    fields = dict(zip(reply[::2], reply[1::2], strict=True))
    try:
        task = parse_task(task_id, reply)
    except CorruptEntryError:
        return None
    if task is None:
        return None
    written_by = fields.get(b"updatedBy", b"").decode(errors="replace")
    born, emptied = (_number(fields.get(name)) for name in (b"born", b"emptied"))
    return PendingTask(task, written_by, born, emptied)


def _number(value: bytes | None) -> int:
    return int(value) if value is not None and value.isdigit() else 0
