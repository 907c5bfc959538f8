"""Group commit: all writes that wait go to Postgres in one statement and one commit (design/storage.md, step 2)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import nullcontext

import asyncpg
import structlog

from affix_server.domain import Ref
from affix_server.errors import CircuitOpenError, StorageUnavailableError
from affix_server.storage.entries import Write
from affix_server.storage.limits import content_bytes
from affix_server.storage.postgres.attachments import AttachmentTable, Row
from affix_server.tracing import Spans

_MOST_ROWS = 256
_MOST_BYTES = 8 * 1024 * 1024

_log = structlog.get_logger()


class GroupCommitWriter:
    """Gathers writes while the last batch commits; writes of one key keep their order."""

    def __init__(self, table: AttachmentTable, spans: Spans | None = None) -> None:
        """Write to a table; `run` does the work. A write's span is of its wait: the statement is of several writes."""
        self._table = table
        self._spans = spans
        self._waiting: deque[tuple[Write, asyncio.Future[Row]]] = deque()
        self._wake = asyncio.Event()

    async def commit(self, write: Write) -> Row:
        """Return once the write is committed, with what it left.

        Raises StorageUnavailableError: the write may have been committed or not.
        A caller that is cancelled while the write still waits takes it back.
        """
        future: asyncio.Future[Row] = asyncio.get_running_loop().create_future()
        self._waiting.append((write, future))
        self._wake.set()
        with self._spans.ask("postgresql", "group commit") if self._spans is not None else nullcontext():
            return await future

    async def run(self) -> None:
        """Commit batch after batch until cancelled."""
        while True:
            await self._wake.wait()
            batch = self._next_batch()
            if not batch:
                self._wake.clear()
                continue
            await self._commit_batch(batch)

    def _next_batch(self) -> list[tuple[Write, asyncio.Future[Row]]]:
        """Take what waits, in order, each key once; a second write of a key waits for the next batch."""
        batch: list[tuple[Write, asyncio.Future[Row]]] = []
        later: list[tuple[Write, asyncio.Future[Row]]] = []
        keys: set[Ref] = set()
        size = 0
        while self._waiting and len(batch) < _MOST_ROWS and size < _MOST_BYTES:
            write, future = self._waiting.popleft()
            if future.done():
                continue
            if write.ref in keys:
                later.append((write, future))
                continue
            keys.add(write.ref)
            size += content_bytes(write.content)
            batch.append((write, future))
        self._waiting.extendleft(reversed(later))
        return batch

    async def _commit_batch(self, batch: Sequence[tuple[Write, asyncio.Future[Row]]]) -> None:
        try:
            rows = await self._table.write([write for write, _ in batch])
        except (StorageUnavailableError, CircuitOpenError) as fault:
            # Those that came meanwhile have waited for as long; they need not find it out one batch after another.
            for _, future in (*batch, *self._waiting):
                _fail(future, fault)
            self._waiting.clear()
        except Exception as fault:  # noqa: BLE001 - whatever it is belongs to the callers, and the writer goes on
            await self._commit_apart(batch, fault)
        else:
            for (_, future), row in zip(batch, rows, strict=True):
                if not future.done():
                    future.set_result(row)

    async def _commit_apart(self, batch: Sequence[tuple[Write, asyncio.Future[Row]]], fault: Exception) -> None:
        """After Postgres refused a statement: the write it refused fails, the others of the batch do not."""
        retriable = isinstance(fault, asyncpg.DeadlockDetectedError | asyncpg.SerializationError)
        _log.warning("group_commit_refused", rows=len(batch), error=type(fault).__name__)
        if len(batch) == 1 and not retriable:
            _fail(batch[0][1], fault)
            return
        for write in batch:
            if not write[1].done():
                await self._commit_alone(write)

    async def _commit_alone(self, write: tuple[Write, asyncio.Future[Row]]) -> None:
        try:
            (row,) = await self._table.write([write[0]])
        except Exception as fault:  # noqa: BLE001 - as above
            _fail(write[1], fault)
        else:
            write[1].set_result(row)


def _fail(future: asyncio.Future[Row], fault: Exception) -> None:
    if not future.done():
        future.set_exception(fault)
