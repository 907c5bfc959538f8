"""The Redis half of attachments: entries and indexes."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter

from affix_server.domain import Attachment, Query, Ref
from affix_server.storage.entries import CachedPage, Entry, IndexLine, Tombstone, TooLarge
from affix_server.storage.limits import NO_CONTENTS
from affix_server.storage.redis import names
from affix_server.storage.redis.client import RedisClient, Script, accept, is_wrong_type
from affix_server.storage.redis.connection import Command, Reply
from affix_server.storage.redis.hashes import (
    READ,
    CorruptEntryError,
    parse_entry,
    parse_read,
    parse_summary,
    parse_values,
)
from affix_server.storage.redis.large import IS_SAME, SAME, LargeEntries, is_large
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
    put,
    put_in_turn,
    put_together,
    release,
)
from affix_server.storage.redis.task_marks import TaskMarks, marks, read_marks
from affix_server.storage.revisions import Revisions

ENTRIES, PAGE = Script("_read", "entries"), Script("_read", "page")
INDEX_BEGIN, INDEX_LOAD, FORGET = Script("index_begin"), Script("index_load"), Script("forget")
OVERTAKE = Script("overtake")
SCRIPTS = (BEGIN, LEASE, RELEASE, PUT, DROP, ENTRIES, PAGE, INDEX_BEGIN, INDEX_LOAD, FORGET, OVERTAKE, SAME)

# An index is built in one go by one request; what a dead builder left goes away by itself.
BUILDING_TTL_SECONDS, _SCAN_AT_ONCE = 60, 500
# An attachment of a page counts as much as one that a batch names, for what there may be to answer at a time.
_WEIGHT = 50

F = TypeVar("F")


class Cache:
    """What Redis knows of attachments. Each method but `build_index` is one round trip.

    Every method raises CacheUnavailableError. An entry that is not whole, or
    not a hash, is counted and dropped and reads as missing (design/storage.md, "A read").
    """

    def __init__(
        self,
        client: RedisClient,
        revisions: Revisions,
        large: LargeEntries,
        *,
        ttl_seconds: int,
        registry: CollectorRegistry,
    ) -> None:
        """Use a client; settled entries and indexes live `ttl_seconds`, large ones are kept here as well."""
        self._client = client
        self._large = large
        self._revisions = revisions
        self._ttl = ttl_seconds
        self._corrupt = Counter(
            "affix_cache_corrupt_entries_total", "Redis entries that were not whole and were dropped", registry=registry
        )

    async def publish(self, publications: Sequence[Publication]) -> list[Publication]:
        """Make committed writes visible, tell of them and remove their traces: one round trip.

        Returns those whose turn has not come, as another of the same key is still to be told of: `publish_in_turn`.
        """
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
        await self._client.run(
            [
                release(names.entry(ref), token) if entry is None else put(entry, self._ttl, token)
                for ref, entry in found.items()
            ]
        )

    async def republish(self, entries: Sequence[tuple[Entry, Telling | None]]) -> list[bool]:
        """Replace what Redis holds by what is newer in Postgres; returns for each whether Redis was behind.

        What nobody has told of is told of, where it is given how.
        """
        replies = await self._client.run([put(entry, self._ttl, NO_LEASE, telling) for entry, telling in entries])
        return [reply in {1, -1} for reply in replies]

    async def look(self, ref: Ref) -> Entry | None:
        """Read one entry, whatever its size; None for what Redis does not have."""
        kept = self._large.find(ref)
        values = await self._client.ask(("HMGET", names.entry(ref), *READ) if kept is None else kept.question)
        if kept is not None and values == IS_SAME:
            return kept.entry
        try:
            entry = _parse_values(ref, values)
        except CorruptEntryError as fault:
            await self._drop([(ref, fault.revision)])
            return None
        if entry is not None:
            self._revisions.observe(entry.revision)
        if isinstance(entry, Attachment) and (kept is not None or is_large(values)):
            return self._large.note(entry, values)
        return entry

    async def get(self, refs: Sequence[Ref]) -> list[Entry | None]:
        """Read entries, whatever their size; None for what Redis does not have."""
        replies = await self._client.pipeline([("HGETALL", names.entry(ref)) for ref in refs])
        return await self._whole(refs, replies, _parse_entry)

    async def batch_get(self, refs: Sequence[Ref], max_bytes: int) -> list[Entry | TooLarge | None]:
        """Read several; one larger than `max_bytes` comes as its size."""
        replies = accept(await self._client.ask(ENTRIES(names.entries(refs), max_bytes)))
        return await self._whole(refs, replies, parse_read)

    async def page(self, query: Query, max_bytes: int, now_ms: int) -> CachedPage | None:
        """Read a page of what there is at a time; None if an index is not complete.

        An entry larger than `max_bytes` comes as its size.
        """
        of = [names.index(query.task_id, query.type), names.expiring(query.task_id)]
        entries = names.entry_prefix(query.task_id)
        which = (query.key_prefix, int(query.descending), now_ms)
        most = NO_CONTENTS if query.summaries else max_bytes
        page = PAGE(of, query.offset, query.limit, entries, most, *which)
        reply = accept(await self._client.ask(page, query.limit * _WEIGHT))
        if reply is None:
            return None
        keys = tuple(key.decode() for key in reply[1::2])
        refs = [Ref(query.task_id, key) for key in keys]
        found = await self._whole(refs, reply[2::2], parse_summary if query.summaries else parse_read)
        return CachedPage(reply[0], keys, tuple(found))

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

    async def _whole(
        self, refs: Sequence[Ref], replies: Sequence[Reply], parse: Callable[[Ref, Reply], F]
    ) -> list[F | None]:
        """Read what was found under names; what is not whole is dropped, and reads as missing."""
        found: list[F | None] = []
        broken: list[tuple[Ref, str]] = []
        highest = 0
        for ref, reply in zip(refs, replies, strict=True):
            try:
                one = parse(ref, reply)
            except CorruptEntryError as fault:
                broken.append((ref, fault.revision))
                one = None
            found.append(one)
            if isinstance(one, (Attachment, Tombstone)) and one.revision > highest:
                highest = one.revision
        self._revisions.observe(highest)
        if broken:
            await self._drop(broken)
        return found

    async def _drop(self, broken: Sequence[tuple[Ref, str]]) -> None:
        """Drop what is not whole, each unless it has another revision by now."""
        self._corrupt.inc(len(broken))
        await self._client.run([DROP([names.entry(ref)], revision) for ref, revision in broken])


def _parse_values(ref: Ref, reply: Reply) -> Entry | None:
    if isinstance(reply, list):
        return parse_values(ref, reply) if reply else None
    return _parse_entry(ref, reply)  # an error


def _parse_entry(ref: Ref, reply: Reply) -> Entry | None:
    if is_wrong_type(reply):
        raise CorruptEntryError("")
    return parse_entry(ref, accept(reply))
