"""The Redis half of tasks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from affix_server.domain import Ref, Task, TaskRights
from affix_server.storage.clock import Clock
from affix_server.storage.entries import Entry, TaskEntry, TaskTombstone
from affix_server.storage.events import Change
from affix_server.storage.redis import names
from affix_server.storage.redis.cache import BUILDING_TTL_SECONDS, INDEX_BEGIN, INDEX_LOAD
from affix_server.storage.redis.client import RedisClient, Script
from affix_server.storage.redis.connection import Command
from affix_server.storage.redis.hashes import CorruptEntryError, parse_task, task_fields
from affix_server.storage.redis.publishing import (
    DROP,
    EXPUNGE,
    NO_LEASE,
    TASK_PUT,
    TOMBSTONE_TTL_SECONDS,
    Publication,
    Telling,
    builder,
    event_parts,
    expunge,
    lease,
    put_in_turn,
    put_task,
)
from affix_server.storage.writers import parse_writers

TASK_GET, TASK_RIGHTS, TASK_KEEP = Script("task_get"), Script("task_rights"), Script("_events", "task_keep")
SCRIPTS = (TASK_PUT, TASK_GET, TASK_RIGHTS, TASK_KEEP, EXPUNGE)

_UNLINK_AT_ONCE = 1000
_SCAN_AT_ONCE = 500


class TaskCache:
    """What Redis knows of tasks. Every method raises CacheUnavailableError."""

    def __init__(self, client: RedisClient, clock: Clock, *, ttl_seconds: int) -> None:
        """Use a client; settled tasks live `ttl_seconds`, attachments until they expire by a clock."""
        self._client = client
        self._clock = clock
        self._ttl = ttl_seconds

    async def get(self, task_id: str) -> tuple[TaskEntry | None, int | None]:
        """Read a task and the number of its attachments, None for what Redis does not know, in one round trip."""
        keys = [names.task(task_id), names.index(task_id), names.expiring(task_id)]
        command = TASK_GET(keys, self._clock.now_ms())
        ((hash_, count),) = await self._client.run((command,))
        try:
            task = parse_task(task_id, hash_)
        except CorruptEntryError as fault:
            await self.run([DROP([names.task(task_id)], fault.revision)])
            task = None
        return task, (count if count >= 0 else None)

    async def rights(self, task_id: str) -> TaskRights | None:
        """Read who may change a task, nothing else of it; None if Redis holds no task that is whole."""
        ((owner, writers),) = await self._client.run((TASK_RIGHTS([names.task(task_id)]),))
        if owner is None:
            return None
        try:
            return TaskRights(owner.decode(), parse_writers(writers.decode()) if writers is not None else ())
        except ValueError:  # not UTF-8, or no names: `get` mends it
            return None

    async def publish(
        self, task: TaskEntry, token: str, followed_by: Sequence[Command], *, change: Change | None = None
    ) -> None:
        """Make a committed write visible, and tell of a deletion, then run what follows."""
        await self.run([put_task(task, self._ttl, token, change), *followed_by])

    async def publish_result(self, entry: Entry, token: str, telling: Telling) -> None:
        """Make an attachment visible that was committed with its task, tell of it and remove its trace."""
        await put_in_turn(self._client, Publication(entry, token, telling), self._ttl)

    async def begin_indexes(self, task_id: str, token: str) -> None:
        """Begin the indexes of a task before it is registered, so that what hangs on it from the start is noted."""
        await self.run([INDEX_BEGIN(names.indexes(task_id), builder(token), BUILDING_TTL_SECONDS)])

    def whole_indexes(self, task_id: str, token: str) -> Command:
        """Return what makes the indexes begun with a token whole: Postgres had nothing when the task was registered."""
        return INDEX_LOAD(names.indexes(task_id), builder(token), self._ttl, 1)

    async def republish(self, tasks: Sequence[tuple[TaskEntry, Change | None]]) -> list[bool]:
        """Replace what Redis holds by what is newer in Postgres, and tell of deletions that nobody has told of.

        Returns for each whether Redis was behind.
        """
        replies = await self._client.run([put_task(task, self._ttl, NO_LEASE, change) for task, change in tasks])
        return [reply in {1, -1} for reply in replies]

    async def lease(self, task_id: str, token: str) -> None:
        """Ask for the right to `fill` a task; before Postgres is read, or it is worth nothing."""
        await self.run([lease(names.task(task_id), token)])

    async def fill(self, task: TaskEntry, token: str) -> None:
        """Put in what Postgres was found to hold, where Redis holds something older or the lease still stands."""
        await self.run([put_task(task, self._ttl, token)])

    async def expunge(self, task_id: str, keys: Sequence[str], revision: int) -> None:
        """Remove the attachments of a task deleted at a revision, once its tombstone keeps older ones out."""
        for start in range(0, len(keys), _UNLINK_AT_ONCE):
            some = [Ref(task_id, key) for key in keys[start : start + _UNLINK_AT_ONCE]]
            await self.run([expunge(some, revision)])

    async def expunge_all(self, task_id: str, revision: int) -> None:
        """Do the same without being told the keys, by going through all of Redis."""
        prefix, cursor = names.entry_prefix(task_id), "0"
        while True:
            reply = await self._client.execute(
                *("SCAN", cursor, "MATCH", f"{prefix}*", "COUNT", _SCAN_AT_ONCE, "TYPE", "hash")
            )
            cursor = reply[0].decode()
            keys = [name.decode().removeprefix(prefix) for name in reply[1]]
            await self.expunge(task_id, keys, revision)
            if cursor == "0":
                return

    async def keep(
        self, task: TaskEntry, held: TaskEntry | None, followed_by: Sequence[Command], *, change: Change | None = None
    ) -> bool:
        """Keep a task where there is no Postgres, if it is still what it was seen to be; then run what tells of it.

        A new task gets empty and complete indexes; a deleted one loses them, and `change` tells of it.
        """
        if isinstance(task, TaskTombstone):
            indexes, ttl = "drop", TOMBSTONE_TTL_SECONDS
        else:
            indexes, ttl = ("leave" if isinstance(held, Task) else "make"), 0
        keys = [names.task(task.id), *names.indexes(task.id)]
        revision = held.revision if held is not None else ""
        event = () if change is None else event_parts(change)
        command = TASK_KEEP(keys, revision, indexes, ttl, len(event), *event, *task_fields(task))
        (kept,) = await self._client.run([command])
        if not kept:
            return False
        await self.run(followed_by)
        return True

    async def clock_us(self) -> int:
        """Return Redis' clock in microseconds."""
        seconds, micros = await self._client.execute("TIME")
        return int(seconds) * 1_000_000 + int(micros)

    async def scan(self) -> AsyncGenerator[TaskEntry]:
        """Read all tasks there are, tombstones too, by going through all of Redis."""
        cursor = "0"
        while True:
            reply = await self._client.execute(
                *("SCAN", cursor, "MATCH", names.TASK_PATTERN, "COUNT", _SCAN_AT_ONCE, "TYPE", "hash")
            )
            cursor = reply[0].decode()
            task_ids = [
                name for name in (found.decode().removeprefix(names.task("")) for found in reply[1]) if ":" not in name
            ]
            for hash_, task_id in zip(
                await self._client.run([("HGETALL", names.task(task_id)) for task_id in task_ids]),
                task_ids,
                strict=True,
            ):
                task = parse_task(task_id, hash_)
                if task is not None:
                    yield task
            if cursor == "0":
                return

    async def run(self, commands: Sequence[Command]) -> None:
        """Run commands made by Intents or publishing.py."""
        await self._client.run(commands)
