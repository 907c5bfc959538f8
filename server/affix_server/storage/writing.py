"""A write: intent, commit, publish (design/storage.md, "A write")."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from affix_server.domain import Attachment, Ref
from affix_server.errors import CircuitOpenError, StorageUnavailableError, TaskNotFoundError
from affix_server.storage.acceptor import Acceptor
from affix_server.storage.conditions import conflict
from affix_server.storage.drainer import Drainer
from affix_server.storage.entries import Entry, Write, ending
from affix_server.storage.gathering import Gathering
from affix_server.storage.limits import NO_LIMIT
from affix_server.storage.ongoing import Ongoing
from affix_server.storage.postgres.attachments import AttachmentTable, Row
from affix_server.storage.postgres.writer import GroupCommitWriter
from affix_server.storage.redis.cache import Cache
from affix_server.storage.redis.client import CacheUnavailableError
from affix_server.storage.redis.intents import Begun, Intents
from affix_server.storage.redis.publishing import Publication, Telling
from affix_server.storage.trust import Trust
from affix_server.storage.underway import Underway


class Done(NamedTuple):
    """What a write left: None if there was nothing to delete."""

    entry: Entry | None
    pending: bool = False


class _Call:
    """A write, in what batch it came, and who waits for it."""

    __slots__ = ("_under_way", "answer", "batch", "write")

    def __init__(self, write: Write, batch: object, under_way: Underway) -> None:
        """Begin; one of the methods ends it."""
        self.write = write
        self.batch = batch
        self.answer: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        self._under_way = under_way
        under_way.begin()

    def end(self, done: Done) -> None:
        """Answer, if anybody still waits."""
        if not self.answer.done():
            self.answer.set_result(done)
        self._under_way.end()

    def fail(self, fault: BaseException) -> None:
        """Raise a fault for whoever still waits."""
        if isinstance(fault, asyncio.CancelledError):
            self.answer.cancel()
        elif not self.answer.done():
            self.answer.set_exception(fault)
        self._under_way.end()

    async def end_by(self, work: Coroutine[Any, Any, Done]) -> None:
        """Answer with what a work of its own returns or raises."""
        try:
            done = await work
        except BaseException as fault:
            self.fail(fault)
            raise
        self.end(done)


class AttachmentWriting:
    """Takes writes through all steps, whichever store is there.

    Those that come at the same time take each step together, which is most of what makes them fast; one about which
    there is anything unusual goes on by itself (docs/decisions/0035-what-a-write-costs.md).
    """

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
        together: bool,
    ) -> None:
        """Compose the two stores' halves. Unless `together`, each write goes by itself: its spans are its call's."""
        self._cache = cache
        self._intents = intents
        self._table = table
        self._writer = writer
        self._acceptor = acceptor
        self._trust = trust
        self._drainer = drainer
        self._together = together
        self._writes, self._under_way = Ongoing(), Underway()
        self._beginning = Gathering(self._begin_all, self._writes)
        self._publishing = Gathering(self._publish_all, self._writes)

    async def close(self) -> None:
        """Wait until writes that outlived their callers are done."""
        await self._under_way.over()
        await self._writes.join()

    async def write(self, write: Write) -> Done:
        """Run a write to its end, even if its caller goes away: begun is begun.

        Raises TaskNotFoundError, ConflictError, StorageUnavailableError.
        """
        return await self._take(write)

    async def write_all(self, writes: Sequence[Write]) -> list[Done | Exception]:
        """Run writes of different keys, each to an end of its own, with one round trip to each store for a step."""
        answers = [self._take(write, writes) for write in writes]
        await asyncio.gather(*answers, return_exceptions=True)
        return [_outcome(answer) for answer in answers]

    def _take(self, write: Write, batch: object = None) -> asyncio.Future[Done]:
        call = _Call(write, batch, self._under_way)
        if self._together:
            self._beginning.add(call)
        else:
            self._writes.start(call.end_by(self._write(write)))
        return call.answer

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

    # Several at once

    async def _begin_all(self, calls: Sequence[_Call]) -> None:
        """Step 1; then step 2, in which others may join them."""
        try:
            begun = await self._begin([call.write.ref for call in calls])
        except BaseException as fault:
            for call in calls:
                call.fail(fault)
            raise
        for call, one in zip(calls, begun, strict=True):
            if one is None or one.pending:
                self._writes.start(call.end_by(self._go_on(call.write, one)))
            else:
                self._writer.submit(call.write, call.batch).add_done_callback(partial(self._committed, call, one))

    def _committed(self, call: _Call, begun: Begun, row: asyncio.Future[Row]) -> None:
        if row.exception() is None and row.result().has_event:
            self._publishing.add((call, begun, row.result()))
        else:
            self._writes.start(call.end_by(self._go_on(call.write, begun, row)))

    async def _publish_all(self, committed: Sequence[tuple[_Call, Begun, Row]]) -> None:
        """Step 3, and the end."""
        try:
            made = [self._publication(row, begun) for _, begun, row in committed]
            due = [publication for publication in made if publication is not None]
            late = await self._publish(due)
        except BaseException as fault:
            for call, _, _ in committed:
                call.fail(fault)
            raise
        for (call, _, _), publication in zip(committed, due, strict=True):
            if publication in late:
                self._writes.start(call.end_by(self._publish_in_turn(publication)))
            else:
                call.end(Done(publication.entry))

    # One by itself

    async def _write(self, write: Write) -> Done:
        (begun,) = await self._begin([write.ref])
        return await self._go_on(write, begun)

    async def _begin(self, refs: Sequence[Ref]) -> Sequence[Begun | None]:
        """Leave the traces of writes; None if Redis is away."""
        if self._trust.publishing:
            try:
                return await self._intents.begin(refs)
            except CacheUnavailableError:
                self._trust.doubt()  # it may answer readers all the same
        return [None] * len(refs)

    async def _go_on(self, write: Write, begun: Begun | None, first: asyncio.Future[Row] | None = None) -> Done:
        """Take the other steps; `first` is what Postgres has said already."""
        if begun is None:
            return await self._write_past_redis(write)
        try:
            if begun.pending:
                await self._drainer.drain_all([write.ref])
            row = await self._commit(write, first)
        except (StorageUnavailableError, CircuitOpenError) as fault:
            await self._intents.give_up(write.ref, begun.token)
            return Done(await self._acceptor.accept(write, begun, fault), pending=True)
        except BaseException:
            self._intents.abandon(write.ref, begun.token)
            raise
        publication = self._publication(row, begun)
        if publication is None:
            return await self._show_why_not(write, row, begun.token)
        if late := await self._publish([publication]):
            return await self._publish_in_turn(*late)
        return Done(publication.entry)

    async def _commit(self, write: Write, first: asyncio.Future[Row] | None = None) -> Row:
        """Step 2; what has expired and is in the way is ended first, with an event of its own."""
        row = await (first or self._writer.commit(write))
        while row.expired:
            await self._write(ending(write.ref))
            row = await self._writer.commit(write)
        return row

    def _publication(self, row: Row, begun: Begun) -> Publication | None:
        """Return what makes a write visible; None if there is nothing to tell of."""
        change = row.change
        if row.entry is None or change is None:
            return None
        return Publication(row.entry, begun.token, Telling(change, self._intents.hand_over(begun.trace)))

    async def _publish(self, publications: Sequence[Publication]) -> Sequence[Publication]:
        """Step 3, but for what is returned; a Redis that fails now is made up for before it is believed again."""
        try:
            return await self._cache.publish(publications)
        except CacheUnavailableError:
            return await self._made_up_for()

    async def _publish_in_turn(self, publication: Publication) -> Done:
        """Step 3, behind another write of the key that has still to be told of."""
        try:
            await self._cache.publish_in_turn(publication)
        except CacheUnavailableError:
            await self._made_up_for()
        return Done(publication.entry)

    async def _made_up_for(self) -> Sequence[Publication]:
        self._trust.doubt()  # whatever it was that Redis said: it lacks these writes
        await self._trust.heard()
        return ()

    async def _show_why_not(self, write: Write, row: Row, token: str) -> Done:
        """Make true for readers why nothing was written: what keeps it from happening may not have been published."""
        try:
            (there,) = (await self._table.read((write.ref,), NO_LIMIT)).rows
            with suppress(CacheUnavailableError):  # the reconciler finds the trace
                if there.entry is None:
                    await self._cache.forget(write.ref)
                else:
                    await self._cache.republish([(there.entry, None)])
                await self._cache.run(self._intents.end(write.ref, token))
        finally:
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


def _outcome(answer: asyncio.Future[Done]) -> Done | Exception:
    try:
        return answer.result()
    except Exception as fault:  # noqa: BLE001 - whatever it is, it is this write's and not the others'
        return fault


def _undone(write: Write, row: Row, there: Row) -> Done:
    """Say why nothing was written, `there` being what was found afterwards where a condition is to blame."""
    if not row.task_exists:
        raise TaskNotFoundError(write.ref.task_id)
    live = isinstance(there.entry, Attachment)
    if write.condition and (live or write.content is not None):
        raise conflict(write.ref, there.entry.revision if live and there.entry is not None else None)
    return Done(None)
