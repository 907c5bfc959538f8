"""The Redis half of attachments: entries and indexes."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence

from prometheus_client import CollectorRegistry

from affix_server.domain import Attachment, Query, Ref, are_all
from affix_server.storage.entries import CachedPage, Entry, IndexLine, ref_of
from affix_server.storage.redis import names
from affix_server.storage.redis.cached_entries import ENTRIES, CachedEntries
from affix_server.storage.redis.client import RedisClient, Script, accept
from affix_server.storage.redis.connection import Command, Reply, packed
from affix_server.storage.redis.hashes import parse_read, parse_summary
from affix_server.storage.redis.kept import KeptEntries
from affix_server.storage.redis.kept_pages import KeptPages, SettledPage
from affix_server.storage.redis.publishing import (
    BEGIN,
    DROP,
    LEASE,
    NEVER,
    NO_LEASE,
    PUT,
    RELEASE,
    TYPE_PLACE,
    Publication,
    Telling,
    lease,
    put_all,
    put_in_turn,
    put_together,
    release,
)
from affix_server.storage.redis.task_marks import TaskMarks, marks, read_marks
from affix_server.storage.revisions import Revisions

PAGE, SAME_PAGE = Script("_listing", "_read", "page"), Script("_listing", "same_page")
INDEX_BEGIN, INDEX_LOAD, FORGET = Script("index_begin"), Script("index_load"), Script("forget")
OVERTAKE = Script("overtake")
SCRIPTS = (BEGIN, LEASE, RELEASE, PUT, DROP, ENTRIES, PAGE, SAME_PAGE, INDEX_BEGIN, INDEX_LOAD, FORGET, OVERTAKE)

# An index is built in one go by one request; what a dead builder left goes away by itself.
BUILDING_TTL_SECONDS, _SCAN_AT_ONCE = 60, 500
# An attachment of a page counts as much as one that a batch names, for what there may be to answer at a time.
_WEIGHT = 50


class Cache(CachedEntries):
    """What Redis knows of attachments: entries and indexes.

    Each method but `build_index` is one round trip, and a read of what was kept and has changed one more. Every method
    raises CacheUnavailableError.
    """

    def __init__(
        self,
        client: RedisClient,
        revisions: Revisions,
        kept: KeptEntries,
        *,
        ttl_seconds: int,
        registry: CollectorRegistry,
    ) -> None:
        """Use a client; settled entries and indexes live `ttl_seconds`."""
        super().__init__(client, revisions, kept, registry=registry)
        self._pages = KeptPages(kept)
        self._ttl = ttl_seconds

    async def publish(self, publications: Sequence[Publication]) -> list[Publication]:
        """Make committed writes visible, tell of them and remove their traces: one round trip.

        Returns those whose turn has not come, as another of the same key is still to be told of: `publish_in_turn`.
        """
        for publication in publications:
            self._kept.forget(ref_of(publication.entry))
        return await put_together(self._client, publications, self._ttl)

    async def publish_in_turn(self, publication: Publication) -> None:
        """Publish one write when its turn has come, or has been waited for long enough."""
        await put_in_turn(self._client, publication, self._ttl)

    async def lease(self, refs: Sequence[Ref], token: str) -> TaskMarks:
        """Ask for the right to `fill` these places; before Postgres is read, or it is worth nothing.

        Tells what Redis knows better of their tasks.
        """
        task_ids = list(dict.fromkeys(ref.task_id for ref in refs))
        leases = [lease(name, token) for name in names.entries(refs)]
        replies = await self._client.pipeline([*leases, *map(marks, task_ids)])
        for reply in replies[: len(refs)]:
            accept(reply)
        return read_marks(task_ids, replies[len(refs) :])

    async def task_marks(self, task_id: str) -> TaskMarks:
        """Tell what Redis knows better of a task than Postgres."""
        return read_marks([task_id], [await self._client.ask(marks(task_id))])

    async def fill(self, found: Mapping[Ref, Entry | None], token: str) -> None:
        """Put in what Postgres was found to hold, where Redis holds something older or the lease still stands.

        Where Postgres holds nothing, the lease is given back.
        """
        vain = [release(names.entry(ref), token) for ref, entry in found.items() if entry is None]
        found_whole = [(entry, token, None) for entry in found.values() if entry is not None]
        await put_all(self._client, found_whole, self._ttl, followed_by=vain)

    async def republish(self, entries: Sequence[tuple[Entry, Telling | None]]) -> list[bool]:
        """Replace what Redis holds by what is newer in Postgres; returns for each whether Redis was behind.

        What nobody has told of is told of, where it is given how.
        """
        replies = await put_all(self._client, [(entry, NO_LEASE, telling) for entry, telling in entries], self._ttl)
        return [reply in {1, -1} for reply in replies]

    async def page(self, query: Query, max_bytes: int, now_ms: int) -> CachedPage | None:
        """Read a page of what there is at a time; None if an index is not complete.

        An entry larger than `max_bytes` comes as its size. One round trip, but where a page has changed that had been
        the same twice: then it is one more.
        """
        settled = self._pages.settled(query, max_bytes)
        if settled is not None and (total := await self._same(query, settled, now_ms)) is not None:
            return CachedPage(total, settled.keys, tuple(settled.entries))
        reply = await self._page(query, max_bytes, now_ms)
        if reply is None:
            return None
        keys = tuple(key.decode() for key in reply[1::2])
        refs = [Ref(query.task_id, key) for key in keys]
        found = await self._whole(refs, reply[2::2], parse_summary if query.summaries else parse_read)
        if are_all(found, Attachment):
            return CachedPage(reply[0], keys, tuple(self._pages.note(query, found, reply[2::2], reply[0])))
        return CachedPage(reply[0], keys, tuple(found))

    async def _page(self, query: Query, max_bytes: int, now_ms: int) -> Reply:
        """Run page.lua."""
        whole = (names.entry_prefix(query.task_id), int(query.summaries), max_bytes)
        page = PAGE(_indexes(query), *_which(query, now_ms), *whole)
        return accept(await self._client.ask(page, query.limit * _WEIGHT))

    async def _same(self, query: Query, page: SettledPage, now_ms: int) -> int | None:
        """Ask whether a page is still what is there; return how much there is in the list, None if it is not.

        All of its entries are what they were before it was asked for, and after same_page.lua has run: so they were in
        the list when that found the first and the last with as many from one to the other as there are of them.
        """
        ends = (page.keys[0], page.keys[-1], len(page.keys))
        question = packed(SAME_PAGE(_indexes(query), *_which(query, now_ms), *ends)) + page.question
        replies = await self._client.ask_whether(question, page.answer, 1 + len(page.keys))
        if replies is None:
            return page.total
        total = page.total_now(replies)
        if total is None:
            self._pages.forget(query)
        else:
            self._pages.count(query, total)
        return total

    async def build_index(self, task_id: str, chunks: AsyncIterator[Sequence[IndexLine]]) -> bool:
        """Build a task's indexes from what Postgres holds; False if they were lost meanwhile.

        `chunks` must ask Postgres only when it is iterated: what is written after
        the beginning is noted by put.lua, what was written before must be in it.
        """
        token = f"\x01{secrets.token_hex(8)}"
        await self._client.run([INDEX_BEGIN(names.indexes(task_id), token, BUILDING_TTL_SECONDS)])
        # Of a key that is noted already, what Postgres says is not: so pending writes come first.
        if not await self._load(task_id, token, await self._pending_lines(task_id), last=False):
            return False
        async for chunk in chunks:
            await self._overtake(task_id, chunk)
            if not await self._load(task_id, token, chunk, last=False):
                return False
        return await self._load(task_id, token, (), last=True)

    async def scan_index(self, task_id: str) -> AsyncGenerator[Sequence[IndexLine]]:
        """Read a task's index from the entries themselves, by going through all of Redis: for want of a Postgres."""
        prefix, cursor = names.entry_prefix(task_id), "0"
        while True:
            scan: Command = ("SCAN", cursor, "MATCH", f"{prefix}*", "COUNT", _SCAN_AT_ONCE, "TYPE", "hash")
            (reply,) = await self._client.run([scan])
            cursor = reply[0].decode()
            keys = [name.decode().removeprefix(prefix) for name in reply[1]]
            found = await self.get([Ref(task_id, key) for key in keys])
            yield [
                IndexLine(entry.key, entry.content.type, entry.created_at, expires_at=entry.expires_at)
                for entry in found
                if isinstance(entry, Attachment)
            ]
            if cursor == "0":
                return

    async def forget_all(self) -> int:
        """Drop everything that Postgres has too, entry by entry; returns how many keys went."""
        cursor, dropped = "0", 0
        while True:
            (reply,) = await self._client.run([("SCAN", cursor, "MATCH", names.TASK_PATTERN, "COUNT", _SCAN_AT_ONCE)])
            cursor = reply[0].decode()
            found = [name for name in reply[1] if names.is_cached(name)]
            if found:
                (count,) = await self._client.run([FORGET(found)])
                dropped += count
            if cursor == "0":
                return dropped

    async def forget(self, ref: Ref) -> None:
        """Drop an entry and the indexes, unless Postgres has not seen the entry."""
        await self._client.run([FORGET([names.entry(ref)]), ("UNLINK", *names.indexes(ref.task_id))])

    async def forget_indexes(self, task_id: str) -> None:
        """Drop a task's indexes, which were found not to tell the truth; the next list builds them anew."""
        await self._client.run([("UNLINK", *names.indexes(task_id))])

    async def run(self, commands: Sequence[Command]) -> None:
        """Run commands made by Intents or publishing.py."""
        await self._client.run(commands)

    async def _pending_lines(self, task_id: str) -> list[IndexLine]:
        (members,) = await self._client.run([("SMEMBERS", names.pending(task_id))])
        keys = [member.decode() for member in members]
        found = await self.get([Ref(task_id, key) for key in keys])
        return [
            IndexLine(key, entry.content.type, entry.created_at, expires_at=entry.expires_at)
            if isinstance(entry, Attachment)
            else IndexLine(key, None, 0)
            for key, entry in zip(keys, found, strict=True)
            if entry is not None
        ]

    async def _overtake(self, task_id: str, chunk: Sequence[IndexLine]) -> None:
        """Drop what contradicts an index of these lines: it shows writes that are committed and not published yet."""
        lines = [line for line in chunk if line.revision]
        states = [part for line in lines for part in (line.revision, int(line.type is None))]
        if lines:
            await self._client.run([OVERTAKE([names.entry(Ref(task_id, line.key)) for line in lines], *states)])

    async def _load(self, task_id: str, token: str, chunk: Sequence[IndexLine], *, last: bool) -> bool:
        lines: list[str | int] = []
        for line in chunk:
            if line.type is None and line.revision:
                continue  # nothing to load, and what has been noted of it meanwhile stays
            place = 0 if line.type is None else TYPE_PLACE[line.type]
            lines += (line.created_at, line.key, place, NEVER if line.expires_at is None else line.expires_at)
        (loaded,) = await self._client.run([INDEX_LOAD(names.indexes(task_id), token, self._ttl, int(last), *lines)])
        return bool(loaded)


def _indexes(query: Query) -> list[str]:
    """Return what _listing.lua reads: the index of a list, and what of the task will be gone some time."""
    return [names.index(query.task_id, query.type), names.expiring(query.task_id)]


def _which(query: Query, now_ms: int) -> tuple[str | int, ...]:
    """Return what both scripts are told of a page."""
    return (query.offset, query.key_prefix, int(query.descending), now_ms, query.limit)
