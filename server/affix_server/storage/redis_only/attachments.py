"""Attachments in Redis alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from contextlib import aclosing
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
    Summary,
    Task,
)
from affix_server.errors import AttachmentNotFoundError, StorageUnavailableError, TaskNotFoundError
from affix_server.storage.clock import Clock
from affix_server.storage.conditions import require
from affix_server.storage.entries import EXPIRY, Entry, Found, Tombstone, TooLarge, random_suffix
from affix_server.storage.events import attachment_event
from affix_server.storage.limits import answer_budget, content_size, require_room
from affix_server.storage.redis.cache import Cache
from affix_server.storage.redis.pending import PendingWrites, Seen
from affix_server.storage.redis.task_cache import TaskCache

V = TypeVar("V")

# Writers of one key that meet take turns; each turn is a millisecond or less.
ATTEMPTS = 100


class RedisOnlyAttachments:
    """Implements storage.base.Attachments; a write is as durable as Redis itself."""

    def __init__(
        self, cache: Cache, task_cache: TaskCache, writes: PendingWrites, clock: Clock, *, max_message_bytes: int
    ) -> None:
        """Use Redis' halves of storage."""
        self._cache = cache
        self._task_cache = task_cache
        self._writes = writes
        self._clock = clock
        self._max_message_bytes = max_message_bytes

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
        for _ in range(ATTEMPTS):
            seen = await self._look_unexpired(ref)
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
                expires_at=expires_at,
            )
            if await self._keep(entry, seen, created_by):
                identity = (entry.id, *ref, content.type, entry.created_at, entry.revision)
                return Created(*identity, expires_at=expires_at)
        raise StorageUnavailableError("Too many writers of one attachment")

    async def batch_create(self, creations: Sequence[Creation], created_by: str) -> Sequence[Created | Exception]:
        """See storage.base.Attachments."""
        return await each(
            self.create(one.ref, one.content, created_by, one.condition, one.expires_at) for one in creations
        )

    async def batch_delete(self, deletions: Sequence[Deletion], deleted_by: str) -> Sequence[Deleted | Exception]:
        """See storage.base.Attachments."""
        return await each(self.delete(one.ref, deleted_by, one.condition) for one in deletions)

    async def delete(self, ref: Ref, deleted_by: str, condition: Condition = ALWAYS) -> Deleted:
        """See storage.base.Attachments."""
        for _ in range(ATTEMPTS):
            seen = await self._look_unexpired(ref)
            if not isinstance(seen.entry, Attachment):
                raise AttachmentNotFoundError(ref.task_id, ref.key)
            require(condition, ref, seen.entry)
            gone = _tombstone(seen, seen.entry)
            if await self._keep(gone, seen, deleted_by):
                return Deleted(gone.id, *ref, gone.deleted_at, gone.revision)
        raise StorageUnavailableError("Too many writers of one attachment")

    async def expired(self, most: int) -> Sequence[Ref]:
        """Return some of what has expired and is still to be deleted, the oldest first."""
        return await self._writes.expired(self._clock.now_ms(), most)

    async def end_all(self, refs: Sequence[Ref]) -> int:
        """Delete what has expired of these, and return how many had."""
        return sum([await self._end(ref) for ref in refs])

    async def _end(self, ref: Ref) -> bool:
        seen = await self._writes.look(ref)
        if not self._clock.has_expired(seen.entry):
            await self._writes.forget_expiry(ref)
            return False
        return await self._keep(_tombstone(seen, seen.entry), seen, EXPIRY)

    async def get(self, ref: Ref) -> Attachment:
        """See storage.base.Attachments."""
        entry = await self._cache.look(ref)
        return entry if self._clock.lives(entry) else await self._refuse(ref)

    async def batch_get(self, refs: Sequence[Ref], *, allow_missing: bool = False) -> Sequence[Attachment | None]:
        """See storage.base.Attachments."""
        budget = answer_budget(self._max_message_bytes, len(refs))
        found = dict(zip(refs, await self._cache.batch_get(refs, budget // len(refs)), strict=True))
        whole = await self._fetch_large(found, budget, "requests")
        there = {ref: one if self._clock.lives(one) else None for ref, one in whole.items()}
        if allow_missing:
            return [there[ref] for ref in refs]
        return [there[ref] or await self._refuse(ref) for ref in refs]

    async def list(self, query: Query) -> Page:
        """See storage.base.Attachments. A lost index is made anew by going through all of Redis."""
        budget = answer_budget(self._max_message_bytes, query.limit)
        for _ in range(ATTEMPTS):
            now_ms = self._clock.now_ms()
            page = await self._cache.page(query, budget // query.limit, now_ms)
            if page is None:
                await self.build_index(query.task_id)
                continue
            refs = [Ref(query.task_id, key) for key in page.keys]
            found = dict(zip(refs, page.entries, strict=True))
            whole = found if query.summaries else await self._fetch_large(found, budget, "limit")
            there = (one for one in whole.values() if isinstance(one, Attachment | Summary))
            attachments = tuple(one for one in there if not one.is_gone(now_ms))
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

    async def _look_unexpired(self, ref: Ref) -> Seen:
        """Look at what is under a key; what has expired there is deleted first."""
        while True:
            seen = await self._writes.look(ref)
            if not isinstance(seen.task, Task):
                raise TaskNotFoundError(ref.task_id)
            if not self._clock.has_expired(seen.entry):
                return seen
            await self._keep(_tombstone(seen, seen.entry), seen, EXPIRY)

    async def _keep(self, entry: Entry, seen: Seen, written_by: str) -> bool:
        change = attachment_event(entry, written_by, overwrites=isinstance(seen.entry, Attachment))
        return await self._writes.keep_for_good(entry, seen, change)

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


async def each(writes: Iterable[Awaitable[V]]) -> list[V | Exception]:
    """Do several at once; what each returned or raised."""
    done = await asyncio.gather(*writes, return_exceptions=True)
    found = [one for one in done if not isinstance(one, BaseException) or isinstance(one, Exception)]
    if len(found) < len(done):
        raise asyncio.CancelledError
    return found


def _tombstone(seen: Seen, held: Attachment) -> Tombstone:
    return Tombstone(Ref(held.task_id, held.key), held.id, seen.now_us // 1000, _next_revision(seen))


def _next_revision(seen: Seen) -> int:
    held = seen.entry.revision if seen.entry is not None else 0
    return max(seen.now_us, held + 1)
