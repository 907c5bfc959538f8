"""Group commit: all writes that wait go to Postgres in one statement and one commit (design/storage.md, step 2)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import nullcontext
from typing import NamedTuple

import asyncpg
import structlog

from affix_server.domain import Ref
from affix_server.errors import CircuitOpenError, StorageUnavailableError
from affix_server.storage.entries import Write
from affix_server.storage.limits import content_bytes
from affix_server.storage.postgres.attachments import AttachmentTable, Row
from affix_server.storage.postgres.database import COMMITS_AT_A_TIME
from affix_server.tracing import Spans

# More of them cost a row hardly less. While so many are committed, or half of those that wait if that is more, others
# begin and are published: if all callers were in one statement, each store would wait for the other, and they for both.
_ENOUGH_ROWS, _ENOUGH_BYTES = 32, 256 * 1024
# Of whatever came in one batch.
_MOST_ROWS, _MOST_BYTES = 256, 8 * 1024 * 1024
# PostgreSQL takes milliseconds to compress a value and to log it: smaller ones do not wait for that, and it can do two
# at a time.
_LARGE_BYTES, _LARGE_AT_A_TIME = 64 * 1024, COMMITS_AT_A_TIME - 1

_log = structlog.get_logger()


class _Waiting(NamedTuple):
    write: Write
    size: int
    future: asyncio.Future[Row]
    batch: object


class _Queue:
    """Writes that wait, in order."""

    def __init__(self) -> None:
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()

    def add(self, one: _Waiting) -> None:
        """Let one more wait."""
        self._waiting.append(one)
        self._wake.set()

    def clear(self) -> list[_Waiting]:
        """Let none wait any longer, and return those that have."""
        waiting = [*self._waiting]
        self._waiting.clear()
        return waiting

    async def next_batch(self) -> list[_Waiting]:
        """Wait for some that can be committed together."""
        while not (batch := self._taken()):
            self._wake.clear()
            await self._wake.wait()
        return batch

    def _taken(self) -> list[_Waiting]:
        """Take what waits, in order, each key once; a second write of a key waits for the next batch."""
        batch: list[_Waiting] = []
        later: list[_Waiting] = []
        keys: set[Ref] = set()
        size, enough = 0, min(max(_ENOUGH_ROWS, len(self._waiting) // 2), _MOST_ROWS)
        while self._waiting and self._has_room(batch, size, enough):
            one = self._waiting.popleft()
            if one.future.done():
                continue
            if one.write.ref in keys:
                later.append(one)
                continue
            keys.add(one.write.ref)
            size += one.size
            batch.append(one)
        self._waiting.extendleft(reversed(later))
        return batch

    def _has_room(self, batch: Sequence[_Waiting], size: int, enough: int) -> bool:
        """Tell whether the next that waits is to go along."""
        if not batch or (len(batch) < enough and size < _ENOUGH_BYTES):
            return True
        came_together = self._waiting[0].batch is not None and self._waiting[0].batch is batch[-1].batch
        return came_together and len(batch) < _MOST_ROWS and size < _MOST_BYTES


class GroupCommitWriter:
    """Gathers writes while the last batch commits; small writes of one key keep their order."""

    def __init__(self, table: AttachmentTable, spans: Spans | None = None) -> None:
        """Write to a table; `run` does the work. A write's span is of its wait: the statement is of several writes."""
        self._table = table
        self._spans = spans
        self._small, self._large = _Queue(), _Queue()

    async def commit(self, write: Write) -> Row:
        """Return once the write is committed, with what it left.

        Raises StorageUnavailableError: the write may have been committed or not.
        A caller that is cancelled while the write still waits takes it back.
        """
        with self._spans.ask("postgresql", "group commit") if self._spans is not None else nullcontext():
            return await self.submit(write)

    def submit(self, write: Write, batch: object = None) -> asyncio.Future[Row]:
        """Do the same for whoever waits for several at once; to cancel the future takes the write back.

        Those that name the same `batch`, one after the other, are committed together where there is room.
        """
        future: asyncio.Future[Row] = asyncio.get_running_loop().create_future()
        size = content_bytes(write.content)
        queue = self._small if size < _LARGE_BYTES else self._large
        queue.add(_Waiting(write, size, future, batch))
        return future

    async def run(self) -> None:
        """Commit batch after batch until cancelled."""
        async with asyncio.TaskGroup() as lanes:
            for queue in (self._small, *[self._large] * _LARGE_AT_A_TIME):
                lanes.create_task(self._commit_all(queue))

    async def _commit_all(self, queue: _Queue) -> None:
        while True:
            await self._commit_batch(await queue.next_batch(), queue)

    async def _commit_batch(self, batch: Sequence[_Waiting], queue: _Queue) -> None:
        try:
            rows = await self._table.write([one.write for one in batch])
        except (StorageUnavailableError, CircuitOpenError) as fault:
            # Those that came meanwhile have waited for as long; they need not find it out one batch after another.
            for one in (*batch, *queue.clear()):
                _fail(one.future, fault)
        except Exception as fault:  # noqa: BLE001 - whatever it is belongs to the callers, and the writer goes on
            await self._commit_apart(batch, fault)
        else:
            for one, row in zip(batch, rows, strict=True):
                if not one.future.done():
                    one.future.set_result(row)

    async def _commit_apart(self, batch: Sequence[_Waiting], fault: Exception) -> None:
        """After Postgres refused a statement: the write it refused fails, the others of the batch do not."""
        retriable = isinstance(fault, asyncpg.DeadlockDetectedError | asyncpg.SerializationError)
        _log.warning("group_commit_refused", rows=len(batch), error=type(fault).__name__)
        if len(batch) == 1 and not retriable:
            _fail(batch[0].future, fault)
            return
        for one in batch:
            if not one.future.done():
                await self._commit_alone(one)

    async def _commit_alone(self, one: _Waiting) -> None:
        try:
            (row,) = await self._table.write([one.write])
        except Exception as fault:  # noqa: BLE001 - as above
            _fail(one.future, fault)
        else:
            one.future.set_result(row)


def _fail(future: asyncio.Future[Row], fault: Exception) -> None:
    if not future.done():
        future.set_exception(fault)
