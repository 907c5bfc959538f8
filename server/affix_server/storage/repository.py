"""Attachments over both stores: Postgres decides, Redis answers (design/storage.md)."""

from __future__ import annotations

from collections.abc import Sequence

from affix_server.domain import ALWAYS, Attachment, Condition, Content, Created, Deleted, Page, Query, Ref
from affix_server.errors import AttachmentNotFoundError, CircuitOpenError, TaskNotFoundError
from affix_server.resilience import Circuit
from affix_server.storage.entries import Tombstone, Write
from affix_server.storage.reading import AttachmentReading
from affix_server.storage.writing import AttachmentWriting


class AttachmentRepository:
    """Implements storage.base.Attachments: writing.py and reading.py do the work, each for both stores."""

    def __init__(
        self,
        reading: AttachmentReading,
        writing: AttachmentWriting,
        redis_circuit: Circuit,
        *,
        empty_list_fallback: bool,
    ) -> None:
        """Compose; `empty_list_fallback` answers lists with an empty page when neither store is there."""
        self._reading = reading
        self._writing = writing
        self._redis_circuit = redis_circuit
        self._empty_list_fallback = empty_list_fallback

    async def close(self) -> None:
        """Wait until writes that outlived their callers are done."""
        await self._writing.close()

    async def create(self, ref: Ref, content: Content, created_by: str, condition: Condition = ALWAYS) -> Created:
        """See storage.base.Attachments."""
        done = await self._writing.write(Write(ref, content, created_by, condition))
        self._reading.forget(ref)
        if not isinstance(done.entry, Attachment):
            raise TaskNotFoundError(ref.task_id)
        entry = done.entry
        return Created(entry.id, *ref, content.type, entry.created_at, entry.revision, pending=done.pending)

    async def delete(self, ref: Ref, deleted_by: str, condition: Condition = ALWAYS) -> Deleted:
        """See storage.base.Attachments."""
        done = await self._writing.write(Write(ref, None, deleted_by, condition))
        self._reading.forget(ref)
        if not isinstance(done.entry, Tombstone):
            raise AttachmentNotFoundError(ref.task_id, ref.key)
        entry = done.entry
        return Deleted(entry.id, *ref, entry.deleted_at, entry.revision, pending=done.pending)

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
