"""Attachments over both stores: Postgres decides, Redis answers (design/storage.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from affix_server.domain import (
    ALWAYS,
    Attachment,
    Condition,
    Content,
    Created,
    Creation,
    Deleted,
    Deletion,
    Page,
    Query,
    Ref,
)
from affix_server.errors import AffixError, AttachmentNotFoundError, CircuitOpenError, TaskNotFoundError
from affix_server.resilience import Circuit
from affix_server.storage.clock import Clock
from affix_server.storage.entries import Tombstone, Write
from affix_server.storage.reading import AttachmentReading
from affix_server.storage.writing import AttachmentWriting, Done

V = TypeVar("V")


class AttachmentRepository:
    """Implements storage.base.Attachments: writing.py and reading.py do the work, each for both stores."""

    def __init__(
        self,
        reading: AttachmentReading,
        writing: AttachmentWriting,
        redis_circuit: Circuit,
        clock: Clock,
        *,
        empty_list_fallback: bool,
    ) -> None:
        """Compose; `empty_list_fallback` answers lists with an empty page when neither store is there."""
        self._reading = reading
        self._writing = writing
        self._redis_circuit = redis_circuit
        self._clock = clock
        self._empty_list_fallback = empty_list_fallback

    async def close(self) -> None:
        """Wait until writes that outlived their callers are done."""
        await self._writing.close()

    def now_ms(self) -> int:
        """See storage.base.Attachments."""
        return self._clock.now_ms()

    async def create(
        self,
        ref: Ref,
        content: Content,
        created_by: str,
        condition: Condition = ALWAYS,
        expires_at: int | None = None,
    ) -> Created:
        """See storage.base.Attachments."""
        write = Write(ref, content, created_by, condition, expires_at)
        return self._created(write, await self._writing.write(write))

    async def batch_create(self, creations: Sequence[Creation], created_by: str) -> Sequence[Created | Exception]:
        """See storage.base.Attachments."""
        writes = [Write(one.ref, one.content, created_by, one.condition, one.expires_at) for one in creations]
        return await self._batch(writes, self._created)

    async def delete(self, ref: Ref, deleted_by: str, condition: Condition = ALWAYS) -> Deleted:
        """See storage.base.Attachments."""
        write = Write(ref, None, deleted_by, condition)
        return self._deleted(write, await self._writing.write(write))

    async def batch_delete(self, deletions: Sequence[Deletion], deleted_by: str) -> Sequence[Deleted | Exception]:
        """See storage.base.Attachments."""
        return await self._batch([Write(one.ref, None, deleted_by, one.condition) for one in deletions], self._deleted)

    async def _batch(self, writes: Sequence[Write], read: Callable[[Write, Done], V]) -> list[V | Exception]:
        found: list[V | Exception] = []
        for write, done in zip(writes, await self._writing.write_all(writes), strict=True):
            try:
                found.append(done if isinstance(done, Exception) else read(write, done))
            except AffixError as refused:
                found.append(refused)
        return found

    def _created(self, write: Write, done: Done) -> Created:
        self._reading.forget(write.ref)
        if not isinstance(done.entry, Attachment):
            raise TaskNotFoundError(write.ref.task_id)
        entry = done.entry
        identity = (entry.id, *write.ref, entry.type, entry.created_at, entry.revision)
        return Created(*identity, pending=done.pending, expires_at=entry.expires_at)

    def _deleted(self, write: Write, done: Done) -> Deleted:
        self._reading.forget(write.ref)
        if not isinstance(done.entry, Tombstone):
            raise AttachmentNotFoundError(*write.ref)
        entry = done.entry
        return Deleted(entry.id, *write.ref, entry.deleted_at, entry.revision, pending=done.pending)

    async def get(self, ref: Ref) -> Attachment:
        """See storage.base.Attachments."""
        return await self._reading.get(ref)

    async def batch_get(self, refs: Sequence[Ref], *, allow_missing: bool = False) -> Sequence[Attachment | None]:
        """See storage.base.Attachments."""
        return await self._reading.batch_get(refs, allow_missing=allow_missing)

    async def list(self, query: Query) -> Page:
        """See storage.base.Attachments."""
        try:
            return await self._reading.list(query)
        except CircuitOpenError:
            if self._empty_list_fallback and not self._redis_circuit.is_closed:
                return Page((), 0, has_more=False, degraded=True)
            raise
