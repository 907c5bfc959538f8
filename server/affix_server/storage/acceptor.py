"""Accepts writes while Postgres is away (design/storage.md, "Postgres away")."""

from __future__ import annotations

import asyncio

from affix_server.domain import Attachment
from affix_server.errors import (
    AffixError,
    AttachmentNotFoundError,
    CircuitOpenError,
    StorageUnavailableError,
    TaskNotFoundError,
)
from affix_server.storage.conditions import require
from affix_server.storage.entries import Entry, Pending, TaskTombstone, Tombstone, Write, random_suffix
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
        if self._refuse or not self._trust.believed:
            raise _as_failure(fault)
        until = asyncio.get_running_loop().time() + 2 * self._database.timeout
        while asyncio.get_running_loop().time() < until:
            seen = await self._pending.look(write.ref)
            if not isinstance(fault, CircuitOpenError) and not _unchanged(begun, seen):
                # It may have been committed before what is there now: then it must not take effect again.
                raise _as_failure(fault)
            pending = self._decide(write, seen, fault)
            overwrites = isinstance(seen.entry, Attachment)
            change = attachment_event(pending.entry, write.written_by, overwrites=overwrites)
            if await self._pending.keep(pending, seen, change):
                self._revisions.observe(pending.entry.revision)
                return pending.entry
            await asyncio.sleep(_TURN_SECONDS)
        raise _as_failure(fault)

    def _decide(self, write: Write, seen: Seen, fault: AffixError) -> Pending:
        ref, held = write.ref, seen.entry
        if isinstance(seen.task, TaskTombstone):
            raise TaskNotFoundError(ref.task_id)
        if seen.task is None:
            raise _as_failure(fault)
        # Whatever a statement that was given up still does, it does below its fence, and none has a later one.
        fence = self._revisions.beyond_fences(self._database.now_us, self._database.timeout)
        held_revision = held.revision if held is not None else 0
        revision = max(seen.now_us, held_revision + _STEP_US, fence)
        now_ms = seen.now_us // 1000
        if write.condition and held is None and not seen.denied:
            raise _as_failure(fault)
        gone = isinstance(held, Tombstone) or (held is None and seen.denied)
        if write.content is None:
            if gone:
                raise AttachmentNotFoundError(ref.task_id, ref.key)
            if not isinstance(held, Attachment):
                raise _as_failure(fault)
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
        )
        # Unless it follows a deletion that Postgres has not seen either, there may be a row by now.
        provisional = seen.provisional if live else not (isinstance(held, Tombstone) and seen.pending)
        return Pending(ref, entry, write.written_by, provisional)


def _unchanged(begun: Begun, seen: Seen) -> bool:
    """Tell whether nothing has been published since a write began."""
    return seen.revision == begun.revision if begun.revision else begun.token in seen.leases


def _as_failure(fault: AffixError) -> AffixError:
    return fault if isinstance(fault, StorageUnavailableError) else StorageUnavailableError("Database is away")
