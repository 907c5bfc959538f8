"""How entries are read from Redis, whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter

from affix_server.domain import Attachment, Ref
from affix_server.storage.entries import Entry, Tombstone, TooLarge
from affix_server.storage.redis import names
from affix_server.storage.redis.client import RedisClient, Script, accept, is_wrong_type
from affix_server.storage.redis.connection import Reply
from affix_server.storage.redis.hashes import READ, CorruptEntryError, parse_entry, parse_read, parse_values
from affix_server.storage.redis.kept import Kept, KeptEntries
from affix_server.storage.redis.publishing import DROP
from affix_server.storage.revisions import Revisions

ENTRIES = Script("_read", "entries")

F = TypeVar("F")


class CachedEntries:
    """Reads entries, and keeps what it has read.

    Each method is one round trip, but where what was kept has changed meanwhile: then it is one more. Every method
    raises CacheUnavailableError. An entry that is not whole, or not a hash, is counted and dropped and reads as
    missing (design/storage.md, "A read").
    """

    def __init__(
        self, client: RedisClient, revisions: Revisions, kept: KeptEntries, *, registry: CollectorRegistry
    ) -> None:
        """Read through a client, and tell `revisions` of those that were seen."""
        self._client = client
        self._kept = kept
        self._revisions = revisions
        self._corrupt = Counter(
            "affix_cache_corrupt_entries_total", "Redis entries that were not whole and were dropped", registry=registry
        )

    async def look(self, ref: Ref) -> Entry | None:
        """Read one entry, whatever its size; None for what Redis does not have."""
        kept = self._kept.find(ref)
        if kept is not None and await self._client.ask_whether(kept.question, kept.answer) is None:
            return kept
        values = await self._client.ask(("HMGET", names.entry(ref), *READ))
        try:
            entry = _parse_values(ref, values)
        except CorruptEntryError as fault:
            await self._drop([(ref, fault.revision)])
            return None
        if entry is not None:
            self._revisions.observe(entry.revision)
        return self._kept.note(entry, values) if isinstance(entry, Attachment) else entry

    async def get(self, refs: Sequence[Ref]) -> list[Entry | None]:
        """Read entries, whatever their size; None for what Redis does not have."""
        replies = await self._client.pipeline([("HGETALL", names.entry(ref)) for ref in refs])
        return await self._whole(refs, replies, _parse_entry)

    async def batch_get(self, refs: Sequence[Ref], max_bytes: int) -> list[Entry | TooLarge | None]:
        """Read several; one larger than `max_bytes` comes as its size."""
        known, unknown = self._kept.find_all(refs, max_bytes)
        if not unknown:
            changed = await self._changed(known)
            if not changed:
                return [*known]
            read = await self._read(changed, max_bytes)
        elif not known:
            read = await self._read(unknown, max_bytes)
        else:
            changed, read = await asyncio.gather(self._changed(known), self._read(unknown, max_bytes))
            read |= await self._read(changed, max_bytes) if changed else {}
        found = {one.ref: one for one in known} | read
        return [found[ref] for ref in refs]

    async def _changed(self, known: Sequence[Kept]) -> list[Ref]:
        """Ask whether what is kept is still what is there, and return of which it is not."""
        question, answer = b"".join([one.question for one in known]), b"".join([one.answer for one in known])
        replies = await self._client.ask_whether(question, answer, len(known))
        if replies is None:
            return []
        return [one.ref for one, reply in zip(known, replies, strict=True) if reply != one.revision_text]

    async def _read(self, refs: Sequence[Ref], max_bytes: int) -> dict[Ref, Entry | TooLarge | None]:
        """Read several, and keep them."""
        replies = accept(await self._client.ask(ENTRIES(names.entries(refs), max_bytes)))
        found, note = await self._whole(refs, replies, parse_read), self._kept.note
        return {
            ref: note(one, values) if isinstance(one, Attachment) else one
            for ref, one, values in zip(refs, found, replies, strict=True)
        }

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
