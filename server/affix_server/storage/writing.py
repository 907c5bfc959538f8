"""A write: intent, commit, publish (design/storage.md, "A write")."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from affix_server.domain import Attachment, Ref
from affix_server.errors import CircuitOpenError, StorageUnavailableError, TaskNotFoundError
from affix_server.storage.acceptor import Acceptor
from affix_server.storage.conditions import conflict
from affix_server.storage.drainer import Drainer
from affix_server.storage.entries import Entry, Write, ending
from affix_server.storage.limits import NO_LIMIT
from affix_server.storage.ongoing import Ongoing
from affix_server.storage.postgres.attachments import AttachmentTable, Row
from affix_server.storage.postgres.writer import GroupCommitWriter
from affix_server.storage.redis.cache import Cache
from affix_server.storage.redis.client import CacheUnavailableError
from affix_server.storage.redis.intents import Begun, Intents
from affix_server.storage.redis.publishing import Telling
from affix_server.storage.trust import Trust


@dataclass(frozen=True, slots=True)
class Done:
    """What a write left: None if there was nothing to delete."""

    entry: Entry | None
    pending: bool = False


class AttachmentWriting:
    """Takes writes through all steps, whichever store is there."""

    def __init__(
        self,
        *,
        cache: Cache,
        intents: Intents,
        table: AttachmentTable,
        writer: GroupCommitWriter,
        acceptor: Acceptor,
        drainer: Drainer,
        trust: Trust,
    ) -> None:
        """Compose the two stores' halves."""
        self._cache = cache
        self._intents = intents
        self._table = table
        self._writer = writer
        self._acceptor = acceptor
        self._trust = trust
        self._drainer = drainer
        self._writes = Ongoing()

    async def close(self) -> None:
        """Wait until writes that outlived their callers are done."""
        await self._writes.join()

    async def write(self, write: Write) -> Done:
        """Run a write to its end, even if its caller goes away: begun is begun.

        Raises TaskNotFoundError, ConflictError, StorageUnavailableError.
        """
        return await self._writes.run(self._write(write))

    async def write_all(self, writes: Sequence[Write]) -> list[Done | Exception]:
        """Run writes of different keys, each to an end of its own, with one round trip to each store for a step."""
        return await self._writes.run(self._write_all(writes))

    async def end(self, ref: Ref) -> bool:
        """Delete what is under a key, if it has expired; tell whether it was there. Raises StorageUnavailableError."""
        return (await self.write(ending(ref))).entry is not None

    async def expired(self, most: int) -> Sequence[Ref]:
        """Return some of what has expired and is still to be deleted, the oldest first."""
        return await self._table.expired(most)

    async def end_all(self, refs: Sequence[Ref]) -> int:
        """Do the same for several, and return how many were there; what fails is left for the next time."""
        done = await self.write_all([ending(ref) for ref in refs])
        return sum(isinstance(one, Done) and one.entry is not None for one in done)

    async def _write(self, write: Write) -> Done:
        return await self._go_on(write, await self._begin(write))

    async def _write_all(self, writes: Sequence[Write]) -> list[Done | Exception]:
        # All at once into the queue of the group commit: one statement.
        begun = await asyncio.gather(*(self._begin(write) for write in writes))
        return await asyncio.gather(*(self._outcome(write, one) for write, one in zip(writes, begun, strict=True)))

    async def _outcome(self, write: Write, begun: Begun | None) -> Done | Exception:
        try:
            return await self._go_on(write, begun)
        except Exception as fault:  # noqa: BLE001 - whatever it is, it is this write's and not the others'
            return fault

    async def _begin(self, write: Write) -> Begun | None:
        """Leave the trace of a write; None if Redis is away."""
        if not self._trust.publishing:
            return None
        try:
            return await self._intents.begin(write.ref)
        except CacheUnavailableError:
            self._trust.doubt()  # it may answer readers all the same
            return None

    async def _go_on(self, write: Write, begun: Begun | None) -> Done:
        if begun is None:
            return await self._write_past_redis(write)
        try:
            if begun.pending:
                await self._drainer.drain_all([write.ref])
            row = await self._commit(write)
        except (StorageUnavailableError, CircuitOpenError) as fault:
            await self._intents.give_up(write.ref, begun.token)
            return Done(await self._acceptor.accept(write, begun, fault), pending=True)
        except BaseException:
            self._intents.abandon(write.ref, begun.token)
            raise
        try:
            return await self._publish(write, row, begun.token)
        except BaseException:
            self._intents.abandon(write.ref, begun.token)
            raise

    async def _commit(self, write: Write) -> Row:
        """Step 2; what has expired and is in the way is ended first, with an event of its own."""
        while (row := await self._writer.commit(write)).expired:
            await self._write(ending(write.ref))
        return row

    async def _publish(self, write: Write, row: Row, token: str) -> Done:
        """Step 3; a Redis that fails now is made up for before it is believed again."""
        change = row.change
        if row.entry is None or change is None:
            return await self._show_why_not(write, row, token)
        try:
            await self._cache.publish(row.entry, token, Telling(change, self._intents.hand_over(write.ref, token)))
        except CacheUnavailableError:
            self._trust.doubt()  # whatever it was that Redis said: it lacks this write
            await self._trust.heard()
        return Done(row.entry)

    async def _show_why_not(self, write: Write, row: Row, token: str) -> Done:
        """Make true for readers why nothing was written: what keeps it from happening may not have been published."""
        (there,) = (await self._table.read((write.ref,), NO_LIMIT)).rows
        try:
            if there.entry is None:
                await self._cache.forget(write.ref)
            else:
                await self._cache.republish([(there.entry, None)])
            await self._cache.run(self._intents.end(write.ref, token))
        except CacheUnavailableError:
            self._intents.abandon(write.ref, token)
        return _undone(write, row, there)

    async def _write_past_redis(self, write: Write) -> Done:
        """While Redis is away: commit, and answer when nobody believes a Redis that lacks it."""
        with self._trust.unpublished():
            row = await self._commit(write)
            if row.entry is not None:
                await self._trust.heard()
                return Done(row.entry)
        if row.task_exists and write.condition:
            return _undone(write, row, (await self._table.read((write.ref,), NO_LIMIT)).rows[0])
        return _undone(write, row, row)


def _undone(write: Write, row: Row, there: Row) -> Done:
    """Say why nothing was written, `there` being what was found afterwards where a condition is to blame."""
    if not row.task_exists:
        raise TaskNotFoundError(write.ref.task_id)
    live = isinstance(there.entry, Attachment)
    if write.condition and (live or write.content is not None):
        raise conflict(write.ref, there.entry.revision if live and there.entry is not None else None)
    return Done(None)
