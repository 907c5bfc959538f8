"""Writes that only Redis has (design/storage.md, "Postgres away")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from affix_server.domain import Ref
from affix_server.storage.entries import Entry, Pending, TaskEntry, Tombstone, ref_of
from affix_server.storage.events import Change
from affix_server.storage.redis import names
from affix_server.storage.redis.client import RedisClient, Script
from affix_server.storage.redis.connection import Command, Reply
from affix_server.storage.redis.hashes import CorruptEntryError, entry_fields, leases, parse_entry, parse_task
from affix_server.storage.redis.publishing import (
    NO_LEASE,
    PEND,
    TOMBSTONE_TTL_SECONDS,
    event_parts,
    index_scores,
    put_all,
)

LOOK, UNEXPIRE = Script("look"), Script("unexpire")
SCRIPTS = (LOOK, PEND, UNEXPIRE)


@dataclass(frozen=True, slots=True)
class Seen:
    """What Redis knows of a key at one moment.

    `pending`: Postgres has not seen the entry. `denied`: a complete index says that there is no such
    attachment. `leases`: who may put something where nothing is. `now_us`: Redis' clock.
    """

    entry: Entry | None
    revision: str
    pending: bool
    provisional: bool
    task: TaskEntry | None
    denied: bool
    leases: frozenset[str]
    now_us: int


class PendingWrites:
    """Keeps and settles pending writes. Every method raises CacheUnavailableError."""

    def __init__(self, client: RedisClient, *, ttl_seconds: int) -> None:
        """Use a client; settled entries live `ttl_seconds`."""
        self._client = client
        self._ttl = ttl_seconds

    async def look(self, ref: Ref) -> Seen:
        """Read all that decides whether a write can be accepted without Postgres."""
        command = LOOK([names.entry(ref), names.task(ref.task_id), names.index(ref.task_id)], ref.key)
        return read_look(ref, (await self._client.run((command,)))[0])

    async def keep(self, pending: Pending, seen: Seen, change: Change) -> bool:
        """Keep a write until it is drained, and tell of it, if all is as it was seen."""
        return await self._keep(pending.entry, seen, 1, 0, pending_marks(pending), change)

    async def keep_for_good(self, entry: Entry, seen: Seen, change: Change) -> bool:
        """Keep a write where there is no Postgres, and tell of it, if all is as it was seen."""
        ttl = TOMBSTONE_TTL_SECONDS if isinstance(entry, Tombstone) else 0
        return await self._keep(entry, seen, 0, ttl, (), change)

    async def _keep(
        self,
        entry: Entry,
        seen: Seen,
        is_pending: int,
        ttl: int,
        marks: Sequence[str | int],
        change: Change,
    ) -> bool:
        ref = ref_of(entry)
        keys = [names.entry(ref), names.task(ref.task_id), names.pending(ref.task_id)]
        place = (ref.key, *index_scores(entry), is_pending, ttl)
        command = PEND(keys, seen.revision, *place, *event_parts(change), *entry_fields(entry), *marks)
        return bool((await self._client.run((command,)))[0])

    async def get(self, refs: Sequence[Ref]) -> list[Pending | None]:
        """Read the pending writes of keys; None for a key that has none."""
        replies = await self._client.pipeline([("HGETALL", names.entry(ref)) for ref in refs])
        return [_pending(ref, reply) for ref, reply in zip(refs, replies, strict=True)]

    async def settle(self, entries: Sequence[Entry]) -> None:
        """Publish what became of pending writes."""
        await put_all(self._client, [(entry, NO_LEASE, None) for entry in entries], self._ttl)

    async def expired(self, now_ms: int, most: int) -> list[Ref]:
        """Return some of what was kept for good and has expired by a time, the oldest first."""
        command: Command = ("ZRANGE", names.EXPIRING, 0, now_ms, "BYSCORE", "LIMIT", 0, most)
        (members,) = await self._client.run((command,))
        return [names.parse_expiring(member) for member in members]

    async def forget_expiry(self, ref: Ref) -> None:
        """Take note that nothing that expires is under a key, if so it is."""
        await self._client.run((UNEXPIRE([names.entry(ref)], names.expiring_member(ref)),))

    async def discard(self, ref: Ref) -> None:
        """Drop a pending write whose task has been deleted."""
        commands: list[Command] = [
            ("UNLINK", names.entry(ref), *names.indexes(ref.task_id)),
            ("SREM", names.pending(ref.task_id), ref.key),
        ]
        await self._client.run(commands)


def read_look(ref: Ref, reply: Reply) -> Seen:
    """Read the reply of look.lua."""
    hash_, task, is_complete, score, now = reply
    fields = dict(zip(hash_[::2], hash_[1::2], strict=True))
    return Seen(
        entry=_entry(ref, hash_),
        revision=fields.get(b"revision", b"").decode(errors="replace"),
        pending=b"pending" in fields,
        provisional=b"provisional" in fields,
        task=_task(ref.task_id, task),
        denied=bool(is_complete) and score is None,
        leases=leases(fields),
        now_us=int(now),
    )


def pending_marks(pending: Pending) -> list[str | int]:
    """Return the fields that mark an entry as one that Postgres has not seen."""
    return ["pending", 1, "updatedBy", pending.written_by, *(("provisional", 1) if pending.provisional else ())]


def _entry(ref: Ref, reply: Sequence[bytes]) -> Entry | None:
    try:
        return parse_entry(ref, reply)
    except CorruptEntryError:
        return None  # as good as none: only Postgres could tell what it was


def _task(task_id: str, reply: Sequence[bytes]) -> TaskEntry | None:
    try:
        return parse_task(task_id, reply)
    except CorruptEntryError:
        return None


def _pending(ref: Ref, reply: Reply) -> Pending | None:
    if not isinstance(reply, list) or b"pending" not in reply[::2]:
        return None
    fields = dict(zip(reply[::2], reply[1::2], strict=True))
    entry = _entry(ref, reply)
    if entry is None:
        return None
    return Pending(ref, entry, fields.get(b"updatedBy", b"").decode(errors="replace"), b"provisional" in fields)
