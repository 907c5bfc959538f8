"""A read: Redis answers, Postgres where it cannot (design/storage.md, "A read")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from itertools import pairwise
from typing import TypeGuard

from affix_server.domain import Attachment, Page, Query, Ref, Summary, are_all
from affix_server.errors import (
    AttachmentNotFoundError,
    StorageUnavailableError,
    TaskNotFoundError,
)
from affix_server.storage.clock import Clock
from affix_server.storage.counts import Counts
from affix_server.storage.drainer import Drainer
from affix_server.storage.entries import Found, TaskTombstone, Tombstone, TooLarge
from affix_server.storage.limits import NO_LIMIT, answer_budget, content_size, require_room
from affix_server.storage.postgres.attachments import AttachmentTable, Row, Rows, SummaryRow
from affix_server.storage.redis.cache import Cache
from affix_server.storage.redis.intents import Intents
from affix_server.storage.redis.task_cache import TaskCache
from affix_server.storage.redis.task_marks import TaskMarks
from affix_server.storage.single_flight import SingleFlight
from affix_server.storage.trust import Trust

# A list whose index or entries keep changing under it is read again so many times.
_LIST_ATTEMPTS = 10
# What there is under a key of a task that has been deleted.
_GONE = Row(task_exists=False, entry=None)


class AttachmentReading:
    """Reads through Redis while it is believed, past it while it is not."""

    def __init__(
        self,
        *,
        cache: Cache,
        task_cache: TaskCache,
        intents: Intents,
        table: AttachmentTable,
        drainer: Drainer,
        trust: Trust,
        clock: Clock,
        max_message_bytes: int,
        counts: Counts,
    ) -> None:
        """Compose the two stores' halves."""
        self._cache = cache
        self._task_cache = task_cache
        self._intents = intents
        self._table = table
        self._drainer = drainer
        self._trust = trust
        self._clock = clock
        self._max_message_bytes = max_message_bytes
        self._loads: SingleFlight[Row] = SingleFlight()
        self._builds: SingleFlight[bool] = SingleFlight()
        self._counts = counts

    async def get(self, ref: Ref) -> Attachment:
        """See storage.base.Attachments."""
        return await self._trust.redis_first(lambda: self._get(ref), lambda: self._get_past_redis(ref))

    async def batch_get(self, refs: Sequence[Ref], *, allow_missing: bool = False) -> Sequence[Attachment | None]:
        """See storage.base.Attachments."""
        return await self._trust.redis_first(
            lambda: self._batch_get(refs, allow_missing=allow_missing),
            lambda: self._batch_get_past_redis(refs, allow_missing=allow_missing),
        )

    async def list(self, query: Query) -> Page:
        """See storage.base.Attachments."""
        budget = answer_budget(self._max_message_bytes, query.limit)
        return await self._trust.redis_first(lambda: self._list(query, budget), lambda: self._table.page(query, budget))

    # Through Redis

    async def _get(self, ref: Ref) -> Attachment:
        entry = await self._cache.look(ref)
        while entry is None and await self._loads.landed(ref):
            # A load that began before this call may have read what is out of date by now; what it filled in may not be.
            entry = await self._cache.look(ref)
        if self._clock.lives(entry):
            self._counts.cache_hits += 1
            return entry
        if entry is not None:
            if not await self._task_exists(ref):
                raise TaskNotFoundError(ref.task_id)
            raise AttachmentNotFoundError(ref.task_id, ref.key)
        self._counts.cache_misses += 1
        return self._existing(ref, await self._loads.run(ref, lambda: self._load(ref)))

    def forget(self, ref: Ref) -> None:
        """Share no load any more that may have begun before a write of this process was committed."""
        self._loads.forget(ref)

    async def _load(self, ref: Ref) -> Row:
        token = self._intents.token()
        self._loads.depart(ref)
        marks = await self._cache.lease((ref,), token)
        if ref.task_id in marks.deleted:
            return _GONE
        await self._tell_postgres(marks)
        (row,) = (await self._table.read((ref,), NO_LIMIT)).rows
        await self._cache.fill({ref: row.entry}, token)
        return row

    async def _load_all(self, refs: Sequence[Ref], max_bytes: int) -> Rows:
        """Read from Postgres and fill Redis, with tombstones too; the lease keeps out what comes too late."""
        token = self._intents.token()
        marks = await self._cache.lease(refs, token)
        asked = [ref for ref in refs if ref.task_id not in marks.deleted]
        await self._tell_postgres(marks)
        read = await self._table.read(asked, max_bytes) if asked else Rows([], 0)
        found = dict(zip(asked, read.rows, strict=False))
        await self._cache.fill({ref: row.entry for ref, row in found.items()}, token)
        return Rows([found.get(ref, _GONE) for ref in refs], read.total_bytes)

    async def _tell_postgres(self, marks: TaskMarks) -> None:
        """Before Postgres is asked, it is told what Redis knows better: which tasks there are."""
        await self._drainer.drain_all([Ref(task_id, "") for task_id in marks.pending])

    async def _task_exists(self, ref: Ref) -> bool:
        """Tell "no such attachment" from "no such task" where Redis has a tombstone."""
        task, _ = await self._task_cache.get(ref.task_id)
        if task is None:
            return (await self._loads.run(ref, lambda: self._load(ref))).task_exists
        return not isinstance(task, TaskTombstone)

    async def _batch_get(self, refs: Sequence[Ref], *, allow_missing: bool) -> Sequence[Attachment | None]:
        distinct = list(dict.fromkeys(refs))
        budget = answer_budget(self._max_message_bytes, len(refs))
        found = await self._cache.batch_get(distinct, budget // len(refs))
        if len(distinct) == len(refs) and self._clock.all_live(found):
            self._counts.cache_hits += len(found)
            return found  # none of them has more than its share
        rows = await self._complete(distinct, found, budget, "requests")
        for ref, row in rows.items():
            gone = row.entry is not None and not self._clock.lives(row.entry)
            if gone and row.task_exists and not await self._task_exists(ref):
                rows[ref] = Row(task_exists=False, entry=None)
        return self._all(refs, rows, allow_missing=allow_missing)

    async def _list(self, query: Query, budget: int) -> Page:
        task_id = query.task_id
        for _ in range(_LIST_ATTEMPTS):
            now_ms = self._clock.now_ms()
            page = await self._cache.page(query, budget // query.limit, now_ms)
            if page is None:
                await self._builds.run(task_id, lambda: self._build_index(task_id))
                continue
            entries, has_more = page.entries, query.offset + len(page.keys) < page.total_count
            if _are_as_listed(entries, query, now_ms):
                self._counts.cache_hits += len(entries)
                return Page(entries, page.total_count, has_more=has_more)
            refs = [Ref(task_id, key) for key in page.keys]
            rows = await self._listed(query, dict(zip(refs, entries, strict=True)), budget)
            if not await self._agrees(query, rows, now_ms):
                continue
            found = tuple(one for one in (rows[ref].entry for ref in refs) if isinstance(one, Attachment | Summary))
            in_order = reversed(found) if query.descending else found
            if any(one.created_at > two.created_at for one, two in pairwise(in_order)):
                continue  # one was deleted and made again since the index was read
            return Page(found, page.total_count, has_more=has_more)
        raise StorageUnavailableError("List changed too fast to be read")

    async def _listed(self, query: Query, found: Mapping[Ref, Found], budget: int) -> Mapping[Ref, Row | SummaryRow]:
        """Fetch what an index named and Redis did not have."""
        if not query.summaries:
            return await self._complete(list(found), list(found.values()), budget, "limit")
        rows = {
            ref: SummaryRow(task_exists=True, entry=one)
            for ref, one in found.items()
            if isinstance(one, Summary | Tombstone)
        }
        missing = [ref for ref in found if ref not in rows]
        self._counts.cache_hits += len(rows)
        self._counts.cache_misses += len(missing)
        if missing:
            rows |= dict(zip(missing, await self._table.summaries(missing), strict=True))
        return rows

    async def _build_index(self, task_id: str) -> bool:
        """Build a task's indexes whole, from Postgres; whoever asked looks again whether they are there."""
        marks = await self._cache.task_marks(task_id)
        if marks.deleted:
            raise TaskNotFoundError(task_id)
        await self._tell_postgres(marks)
        async with aclosing(self._table.index(task_id)) as chunks:
            return await self._cache.build_index(task_id, chunks)

    async def _agrees(self, query: Query, rows: Mapping[Ref, Row | SummaryRow], now_ms: int) -> bool:
        """Tell whether what an index named at a time is there; if not, it is mended, and the list to be read again."""
        for row in rows.values():
            if not row.task_exists:
                raise TaskNotFoundError(query.task_id)
            if not isinstance(row.entry, Attachment | Summary) or row.entry.is_gone(now_ms):
                # An index that names what is not there is not to be believed.
                await self._cache.forget_indexes(query.task_id)
                return False
            if query.type not in {None, row.entry.type}:
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
            elif isinstance(entry, Attachment | Tombstone):
                rows[ref] = Row(task_exists=True, entry=entry)
        self._counts.cache_hits += len(rows) + len(large)
        if not large and not missing:
            return rows  # none of them has more than its share
        held = sum(content_size(row.entry) for row in rows.values()) + sum(large.values())
        require_room(held, budget, field)
        if large:
            for ref, fetched in zip(large, await self._cache.get(list(large)), strict=True):
                if fetched is None:
                    missing.append(ref)
                else:
                    rows[ref] = Row(task_exists=True, entry=fetched)
        if missing:
            self._counts.cache_misses += len(missing)
            read = await self._load_all(missing, budget - held)
            require_room(held + read.total_bytes, budget, field)
            rows |= dict(zip(missing, read.rows, strict=True))
        return rows

    # Past Redis

    async def _get_past_redis(self, ref: Ref) -> Attachment:
        return self._existing(ref, (await self._table.read((ref,), NO_LIMIT)).rows[0])

    async def _batch_get_past_redis(self, refs: Sequence[Ref], *, allow_missing: bool) -> Sequence[Attachment | None]:
        distinct, budget = list(dict.fromkeys(refs)), answer_budget(self._max_message_bytes, len(refs))
        read = await self._table.read(distinct, budget)
        require_room(read.total_bytes, budget, "requests")
        rows = dict(zip(distinct, read.rows, strict=True))
        return self._all(refs, rows, allow_missing=allow_missing)

    def _all(self, refs: Sequence[Ref], rows: Mapping[Ref, Row], *, allow_missing: bool) -> Sequence[Attachment | None]:
        if allow_missing:
            entries = (rows[ref].entry for ref in refs)
            return [entry if self._clock.lives(entry) else None for entry in entries]
        return [self._existing(ref, rows[ref]) for ref in refs]

    def _existing(self, ref: Ref, row: Row) -> Attachment:
        if not row.task_exists:
            raise TaskNotFoundError(ref.task_id)
        if not self._clock.lives(row.entry):
            raise AttachmentNotFoundError(ref.task_id, ref.key)
        return row.entry


def _are_as_listed(
    entries: tuple[Found, ...], query: Query, now_ms: int
) -> TypeGuard[tuple[Attachment, ...] | tuple[Summary, ...]]:
    """Tell whether all that an index named is there, whole and in order, as it nearly always is.

    If not, it is looked at closely.
    """
    if not (are_all(entries, Attachment) or are_all(entries, Summary)):
        return False
    created = [one.created_at for one in entries]
    return (
        created == sorted(created, reverse=query.descending)
        and not any(one.expires_at is not None and one.is_gone(now_ms) for one in entries)
        and (query.type is None or all(one.type is query.type for one in entries))
    )
