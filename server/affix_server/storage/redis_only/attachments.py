"""Attachments in Redis alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing

from affix_server.domain import (
    ALWAYS,
    Attachment,
    Condition,
    Content,
    Created,
    Deleted,
    Page,
    Query,
    Ref,
    Summary,
    Task,
)
from affix_server.errors import AttachmentNotFoundError, StorageUnavailableError, TaskNotFoundError
from affix_server.storage.conditions import require
from affix_server.storage.entries import Entry, Tombstone, TooLarge, random_suffix
from affix_server.storage.events import attachment_event
from affix_server.storage.limits import answer_budget, content_size, require_room
from affix_server.storage.redis.cache import Cache, Found
from affix_server.storage.redis.pending import PendingWrites, Seen
from affix_server.storage.redis.publishing import announce
from affix_server.storage.redis.task_cache import TaskCache

# Writers of one key that meet take turns; each turn is a millisecond or less.
ATTEMPTS = 100


class RedisOnlyAttachments:
    """Implements storage.base.Attachments; a write is as durable as Redis itself."""

    def __init__(self, cache: Cache, task_cache: TaskCache, writes: PendingWrites, *, max_message_bytes: int) -> None:
        """Use Redis' halves of storage."""
        self._cache = cache
        self._task_cache = task_cache
        self._writes = writes
        self._max_message_bytes = max_message_bytes

    async def create(self, ref: Ref, content: Content, created_by: str, condition: Condition = ALWAYS) -> Created:
        """See storage.base.Attachments."""
        for _ in range(ATTEMPTS):
            seen = await self._look(ref)
            require(condition, ref, seen.entry)
            now_ms = seen.now_us // 1000
            held = seen.entry if isinstance(seen.entry, Attachment) else None
            entry = Attachment(
                id=held.id if held else f"ta-{now_ms}-{random_suffix(9)}",
                task_id=ref.task_id,
                key=ref.key,
                content=content,
                created_by=held.created_by if held else created_by,
                created_at=held.created_at if held else now_ms,
                updated_at=now_ms,
                revision=_next_revision(seen),
            )
            if await self._keep(entry, seen, created_by):
                return Created(entry.id, *ref, content.type, entry.created_at, entry.revision)
        raise StorageUnavailableError("Too many writers of one attachment")

    async def delete(self, ref: Ref, deleted_by: str, condition: Condition = ALWAYS) -> Deleted:
        """See storage.base.Attachments."""
        for _ in range(ATTEMPTS):
            seen = await self._look(ref)
            if not isinstance(seen.entry, Attachment):
                raise AttachmentNotFoundError(ref.task_id, ref.key)
            require(condition, ref, seen.entry)
            gone = Tombstone(ref, seen.entry.id, seen.now_us // 1000, _next_revision(seen))
            if await self._keep(gone, seen, deleted_by):
                return Deleted(gone.id, *ref, gone.deleted_at, gone.revision)
        raise StorageUnavailableError("Too many writers of one attachment")

    async def get(self, ref: Ref) -> Attachment:
        """See storage.base.Attachments."""
        (entry,) = await self._cache.get((ref,))
        return entry if isinstance(entry, Attachment) else await self._refuse(ref)

    async def batch_get(self, refs: Sequence[Ref], *, allow_missing: bool = False) -> Sequence[Attachment | None]:
        """See storage.base.Attachments."""
        budget = answer_budget(self._max_message_bytes, len(refs))
        found = dict(zip(refs, await self._cache.batch_get(refs, budget // len(refs)), strict=True))
        whole = await self._fetch_large(found, budget, "requests")
        if allow_missing:
            return [whole[ref] for ref in refs]
        return [whole[ref] or await self._refuse(ref) for ref in refs]

    async def list(self, query: Query) -> Page:
        """See storage.base.Attachments. A lost index is made anew by going through all of Redis."""
        budget = answer_budget(self._max_message_bytes, query.limit)
        for _ in range(ATTEMPTS):
            page = await self._cache.page(query, budget // query.limit)
            if page is None:
                await self.build_index(query.task_id)
                continue
            refs = [Ref(query.task_id, key) for key in page.keys]
            found = dict(zip(refs, page.entries, strict=True))
            whole = found if query.summaries else await self._fetch_large(found, budget, "limit")
            attachments = tuple(one for one in whole.values() if isinstance(one, Attachment | Summary))
            if len(attachments) == len(refs):
                return Page(attachments, page.total_count, has_more=query.offset + len(refs) < page.total_count)
            await self._cache.forget_indexes(query.task_id)
        raise StorageUnavailableError("List changed too fast to be read")

    async def build_index(self, task_id: str) -> None:
        """Make a task's indexes anew. Raises TaskNotFoundError."""
        task, _ = await self._task_cache.get(task_id)
        if not isinstance(task, Task):
            raise TaskNotFoundError(task_id)
        async with aclosing(self._cache.scan_index(task_id)) as chunks:
            await self._cache.build_index(task_id, chunks)

    async def _look(self, ref: Ref) -> Seen:
        seen = await self._writes.look(ref)
        if not isinstance(seen.task, Task):
            raise TaskNotFoundError(ref.task_id)
        return seen

    async def _keep(self, entry: Entry, seen: Seen, written_by: str) -> bool:
        return await self._writes.keep_for_good(entry, seen, announce(attachment_event(entry, written_by)))

    async def _refuse(self, ref: Ref) -> Attachment:
        task, _ = await self._task_cache.get(ref.task_id)
        if not isinstance(task, Task):
            raise TaskNotFoundError(ref.task_id)
        raise AttachmentNotFoundError(ref.task_id, ref.key)

    async def _fetch_large(self, found: Mapping[Ref, Found], budget: int, field: str) -> dict[Ref, Attachment | None]:
        """Fetch what was held back for its size, unless all of it is too much for an answer."""
        large = [ref for ref, entry in found.items() if isinstance(entry, TooLarge)]
        require_room(sum(content_size(entry) for entry in found.values()), budget, field)
        fetched = dict(zip(large, await self._cache.get(large), strict=True))
        whole = {ref: fetched.get(ref) if isinstance(entry, TooLarge) else entry for ref, entry in found.items()}
        return {ref: entry if isinstance(entry, Attachment) else None for ref, entry in whole.items()}


def _next_revision(seen: Seen) -> int:
    held = seen.entry.revision if seen.entry is not None else 0
    return max(seen.now_us, held + 1)
