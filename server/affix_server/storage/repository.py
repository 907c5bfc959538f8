"""Attachments over both stores: the protocol of design/storage.md, paragraph by paragraph."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing

from prometheus_client import CollectorRegistry, Counter

from affix_server.domain import (
    Attachment,
    AttachmentType,
    Content,
    Created,
    Deleted,
    Page,
    Ref,
)
from affix_server.errors import (
    AttachmentNotFoundError,
    InvalidParamsError,
    StorageUnavailableError,
    TaskNotFoundError,
    Violation,
)
from affix_server.storage.entries import Entry, TaskTombstone, Tombstone, TooLarge, Write
from affix_server.storage.events import attachment_event
from affix_server.storage.ongoing import Ongoing
from affix_server.storage.postgres.attachments import AttachmentTable, Row
from affix_server.storage.postgres.rows import content_bytes
from affix_server.storage.postgres.writer import GroupCommitWriter
from affix_server.storage.redis.cache import Cache, Found
from affix_server.storage.redis.intents import Intents
from affix_server.storage.redis.publishing import announce
from affix_server.storage.redis.task_cache import TaskCache
from affix_server.storage.single_flight import SingleFlight

# What an attachment adds to a message beside its content, at most: names, ids, times.
_ENVELOPE_BYTES = 2048
# A list whose index or entries keep changing under it is read again so many times.
_LIST_ATTEMPTS = 10


class AttachmentRepository:
    """Implements storage.base.Attachments: Postgres decides, Redis answers."""

    def __init__(
        self,
        *,
        cache: Cache,
        task_cache: TaskCache,
        intents: Intents,
        table: AttachmentTable,
        writer: GroupCommitWriter,
        max_message_bytes: int,
        registry: CollectorRegistry,
    ) -> None:
        """Compose the two stores' halves."""
        self._cache = cache
        self._task_cache = task_cache
        self._intents = intents
        self._table = table
        self._writer = writer
        self._max_message_bytes = max_message_bytes
        self._writes = Ongoing()
        self._loads: SingleFlight[Row] = SingleFlight()
        self._builds: SingleFlight[bool] = SingleFlight()
        self._reads = Counter(
            "affix_cache_reads_total", "Attachments read, by where they were found", ["result"], registry=registry
        )
        self._hits, self._misses = self._reads.labels("hit"), self._reads.labels("miss")

    async def close(self) -> None:
        """Wait until writes that outlived their callers are done."""
        await self._writes.join()

    # A write

    async def create(self, ref: Ref, content: Content, created_by: str) -> Created:
        """See storage.base.Attachments."""
        entry = await self._write(Write(ref, content, created_by))
        if not isinstance(entry, Attachment):
            raise TaskNotFoundError(ref.task_id)
        return Created(entry.id, ref.task_id, ref.key, content.type, entry.created_at, entry.revision)

    async def delete(self, ref: Ref, deleted_by: str) -> Deleted:
        """See storage.base.Attachments."""
        entry = await self._write(Write(ref, None, deleted_by))
        if not isinstance(entry, Tombstone):
            raise AttachmentNotFoundError(ref.task_id, ref.key)
        return Deleted(entry.id, ref.task_id, ref.key, entry.deleted_at, entry.revision)

    async def _write(self, write: Write) -> Entry | None:
        """Run a write to its end, even if its caller goes away: begun is begun."""
        return await self._writes.run(self._write_through(write))

    async def _write_through(self, write: Write) -> Entry | None:
        await self._intents.begin(write.ref)
        try:
            row = await self._writer.commit(write)
        except BaseException:
            self._intents.abandon(write.ref)
            raise
        self._loads.forget(write.ref)
        if row.entry is None:
            await self._cache.run(self._intents.end(write.ref))
            if not row.task_exists:
                raise TaskNotFoundError(write.ref.task_id)
            return None
        event = attachment_event(row.entry, write.written_by)
        await self._cache.publish(row.entry, [*announce(event), *self._intents.end(write.ref)])
        return row.entry

    # A read

    async def get(self, ref: Ref) -> Attachment:
        """See storage.base.Attachments."""
        (entry,) = await self._cache.get((ref,))
        if isinstance(entry, Attachment):
            self._hits.inc()
            return entry
        if isinstance(entry, Tombstone):
            await self._require_task(ref)
            raise AttachmentNotFoundError(ref.task_id, ref.key)
        self._misses.inc()
        return _existing(ref, await self._loads.run(ref, lambda: self._load(ref)))

    async def _load(self, ref: Ref) -> Row:
        """Read one from Postgres and fill Redis, with a tombstone too."""
        (row,) = (await self._table.read((ref,), self._max_message_bytes)).rows
        if row.entry is not None:
            await self._cache.fill((row.entry,))
        return row

    async def _require_task(self, ref: Ref) -> None:
        """Tell "no such attachment" from "no such task" where Redis has a tombstone."""
        task, _ = await self._task_cache.get(ref.task_id)
        if isinstance(task, TaskTombstone):
            raise TaskNotFoundError(ref.task_id)
        if task is None:
            row = await self._loads.run(ref, lambda: self._load(ref))
            if not row.task_exists:
                raise TaskNotFoundError(ref.task_id)

    async def batch_get(self, refs: Sequence[Ref]) -> list[Attachment]:
        """See storage.base.Attachments."""
        distinct = list(dict.fromkeys(refs))
        budget = self._budget(len(refs))
        found = await self._cache.batch_get(distinct, budget // len(refs))
        rows = await self._complete(distinct, found, budget, "requests")
        for ref, row in rows.items():
            if isinstance(row.entry, Tombstone):
                await self._require_task(ref)
        return [_existing(ref, rows[ref]) for ref in refs]

    async def list(self, task_id: str, type_: AttachmentType | None, limit: int, offset: int) -> Page:
        """See storage.base.Attachments."""
        budget = self._budget(limit)
        for _ in range(_LIST_ATTEMPTS):
            page = await self._cache.page(task_id, type_, limit, offset, budget // limit)
            if page is None:
                await self._builds.run(task_id, lambda: self._build_index(task_id))
                continue
            refs = [Ref(task_id, key) for key in page.keys]
            rows = await self._complete(refs, page.entries, budget, "limit")
            if not await self._agrees(task_id, type_, rows):
                continue
            attachments = tuple(_existing(ref, rows[ref]) for ref in refs)
            return Page(attachments, page.total_count, has_more=offset + len(refs) < page.total_count)
        raise StorageUnavailableError("List changed too fast to be read")

    async def _build_index(self, task_id: str) -> bool:
        """Build a task's indexes whole, from Postgres; whoever asked looks again whether they are there."""
        async with aclosing(self._table.index(task_id)) as chunks:
            return await self._cache.build_index(task_id, chunks)

    async def _agrees(self, task_id: str, type_: AttachmentType | None, rows: dict[Ref, Row]) -> bool:
        """Tell whether what an index named is there; if not, it is mended and the list is to be read again."""
        for row in rows.values():
            if not row.task_exists:
                raise TaskNotFoundError(task_id)
            if not isinstance(row.entry, Attachment):
                # An index that names what is not there is not to be believed.
                await self._cache.forget_indexes(task_id)
                return False
            if type_ is not None and row.entry.content.type is not type_:
                return False
        return True

    async def _complete(self, refs: Sequence[Ref], found: Sequence[Found], budget: int, field: str) -> dict[Ref, Row]:
        """Fetch what Redis did not have, or held back for its size, unless all of it is too much for an answer."""
        rows: dict[Ref, Row] = {}
        large: dict[Ref, int] = {}
        missing: list[Ref] = []
        for ref, entry in zip(refs, found, strict=True):
            if entry is None:
                missing.append(ref)
            elif isinstance(entry, TooLarge):
                large[ref] = entry.size
            else:
                rows[ref] = Row(task_exists=True, entry=entry)
        self._hits.inc(len(rows) + len(large))
        held = sum(_size(row.entry) for row in rows.values()) + sum(large.values())
        _require_room(held, budget, field)
        if large:
            for ref, fetched in zip(large, await self._cache.get(list(large)), strict=True):
                if fetched is None:
                    missing.append(ref)
                else:
                    rows[ref] = Row(task_exists=True, entry=fetched)
        if missing:
            self._misses.inc(len(missing))
            read = await self._table.read(missing, budget - held)
            _require_room(held + read.total_bytes, budget, field)
            await self._cache.fill([row.entry for row in read.rows if row.entry is not None])
            rows |= dict(zip(missing, read.rows, strict=True))
        return rows

    def _budget(self, count: int) -> int:
        """Return how many bytes of content so many attachments may have in one answer."""
        return max(self._max_message_bytes - count * _ENVELOPE_BYTES, 0)


def _existing(ref: Ref, row: Row) -> Attachment:
    if not row.task_exists:
        raise TaskNotFoundError(ref.task_id)
    if not isinstance(row.entry, Attachment):
        raise AttachmentNotFoundError(ref.task_id, ref.key)
    return row.entry


def _size(entry: Entry | None) -> int:
    return content_bytes(entry.content) if isinstance(entry, Attachment) else 0


def _require_room(size: int, budget: int, field: str) -> None:
    if size > budget:
        raise InvalidParamsError(
            Violation(
                field,
                f"asks for {size} bytes of content, more than the {budget} that fit in one answer: lower `{field}`",
            )
        )
