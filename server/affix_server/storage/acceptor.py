"""Accepts writes while Postgres is away (design/storage.md, "Postgres away")."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Protocol

from affix_server.domain import Attachment, Ref
from affix_server.errors import (
    AffixError,
    AttachmentNotFoundError,
    CircuitOpenError,
    StorageUnavailableError,
    TaskNotFoundError,
)
from affix_server.storage.conditions import require
from affix_server.storage.entries import Entry, Pending, TaskTombstone, Tombstone, Write, ending, random_suffix
from affix_server.storage.events import attachment_event
from affix_server.storage.postgres.database import Database
from affix_server.storage.redis.intents import Begun
from affix_server.storage.redis.pending import PendingWrites, Seen
from affix_server.storage.revisions import Revisions
from affix_server.storage.trust import Trust

# Writers of one key that meet while Postgres is away take turns. One that is still on its way to Postgres is waited
# for: it ends with a commit, or joins us.
_TURN_SECONDS = 0.005
# More than one above what is there: a statement that was given up may have added that one.
_STEP_US = 1000


class Acceptor:
    """Lets Redis decide about a write that Postgres could not be asked about."""

    def __init__(
        self, pending: PendingWrites, trust: Trust, revisions: Revisions, database: Database, *, refuse: bool
    ) -> None:
        """Keep writes in `pending`, unless `refuse` says that without Postgres there is no writing."""
        self._pending = pending
        self._trust = trust
        self._revisions = revisions
        self._database = database
        self._refuse = refuse

    async def accept(self, write: Write, begun: Begun, fault: StorageUnavailableError | CircuitOpenError) -> Entry:
        """Keep a write until it is drained; its trace stays. Returns what it left.

        `fault` says why Postgres could not be asked. It is raised when only Postgres could
        tell: whether the task exists, what a deletion would delete, or whether the write took
        effect before another followed it. Raises TaskNotFoundError, AttachmentNotFoundError and
        ConflictError where Redis is sure.
        """
        async for _ in self.turns(fault):
            seen = await self._pending.look(write.ref)
            if not may_follow(fault, begun, seen):
                raise as_failure(fault)
            in_the_way = self._database.clock.has_expired(seen.entry) and not write.ends
            kept = await self._keep(ending(write.ref) if in_the_way else write, seen, fault)
            if kept is not None and not in_the_way:
                return kept
            if kept is not None:
                begun = begun._replace(revision=str(kept.revision))
        raise as_failure(fault)

    async def end(self, ref: Ref, fault: StorageUnavailableError | CircuitOpenError) -> None:
        """Delete what is under a key, if Redis knows that it has expired."""
        async for _ in self.turns(fault):
            seen = await self._pending.look(ref)
            if not self._database.clock.has_expired(seen.entry) or await self._keep(ending(ref), seen, fault):
                return

    async def _keep(self, write: Write, seen: Seen, fault: AffixError) -> Entry | None:
        """Keep a write, if all is as it was seen."""
        pending = self.decide(write, seen, fault)
        overwrites = isinstance(seen.entry, Attachment)
        change = attachment_event(pending.entry, write.written_by, overwrites=overwrites)
        if not await self._pending.keep(pending, seen, change):
            return None
        self.observe(pending.entry.revision)
        return pending.entry

    async def turns(self, fault: StorageUnavailableError | CircuitOpenError) -> AsyncGenerator[None]:
        """Give one turn after another to decide in; raises `fault` where nothing is accepted."""
        if self._refuse or not self._trust.believed:
            raise as_failure(fault)
        until = asyncio.get_running_loop().time() + 2 * self._database.timeout
        while asyncio.get_running_loop().time() < until:
            yield
            await asyncio.sleep(_TURN_SECONDS)

    def revision(self, now_us: int, *held: int) -> int:
        """Return a revision above those held.

        Whatever a statement that was given up still does, it does below its fence, and none has a later one.
        """
        fence = self._revisions.beyond_fences(self._database.now_us, self._database.timeout)
        return max(now_us, fence, *(one + _STEP_US for one in held))

    def observe(self, revision: int) -> None:
        """Take note of what was accepted."""
        self._revisions.observe(revision)

    def decide(self, write: Write, seen: Seen, fault: AffixError) -> Pending:
        """Tell what a write leaves, or raise what it is answered."""
        ref, held = write.ref, seen.entry
        if isinstance(seen.task, TaskTombstone):
            raise TaskNotFoundError(ref.task_id)
        if seen.task is None:
            raise as_failure(fault)
        held_revision = held.revision if held is not None else 0
        revision = self.revision(seen.now_us, held_revision, seen.task.revision)
        now_ms = seen.now_us // 1000
        if write.condition and held is None and not seen.denied:
            raise as_failure(fault)
        gone = isinstance(held, Tombstone) or (held is None and seen.denied)
        if write.content is None:
            if gone or (write.ends and not self._database.clock.has_expired(held)):
                raise AttachmentNotFoundError(ref.task_id, ref.key)
            if not isinstance(held, Attachment):
                raise as_failure(fault)
            require(write.condition, ref, held)
            return Pending(ref, Tombstone(ref, held.id, now_ms, revision), write.written_by, provisional=False)
        require(write.condition, ref, held)
        live = held if isinstance(held, Attachment) else None
        entry = Attachment(
            id=live.id if live else f"ta-{now_ms}-{random_suffix(9)}",
            task_id=ref.task_id,
            key=ref.key,
            content=write.content,
            created_by=live.created_by if live else write.written_by,
            created_at=live.created_at if live else now_ms,
            updated_at=now_ms,
            revision=revision,
            expires_at=write.expires_at,
        )
        # Unless it follows a deletion that Postgres has not seen either, there may be a row by now.
        provisional = seen.provisional if live else not (isinstance(held, Tombstone) and seen.pending)
        return Pending(ref, entry, write.written_by, provisional)


class Looked(Protocol):
    """What Redis holds in a place, as it was looked at."""

    @property
    def revision(self) -> str:
        """Its revision; empty if there is nothing."""
        ...

    @property
    def leases(self) -> frozenset[str]:
        """Who may put something there, if there is nothing."""
        ...


def may_follow(fault: AffixError, begun: Begun, seen: Looked) -> bool:
    """Tell whether a write that failed with `fault` can take effect now.

    One that may have been committed cannot, if anything has been published since it began
    (docs/decisions/0019-no-write-twice.md).
    """
    if isinstance(fault, CircuitOpenError):
        return True
    return seen.revision == begun.revision if begun.revision else begun.token in seen.leases


def as_failure(fault: AffixError) -> AffixError:
    """Return what a caller is told when Postgres could not be asked."""
    return fault if isinstance(fault, StorageUnavailableError) else StorageUnavailableError("Database is away")
