"""What a process has read is not sent again while it is the same; who reads it sees what is there, whoever wrote it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from redis.asyncio import Redis

from affix.v1 import attachments_pb2 as pb
from affix_server.domain import (
    Attachment,
    BinaryContent,
    Content,
    JsonContent,
    KeptAttachment,
    MarkdownContent,
    Ref,
    TextContent,
    UrlContent,
)
from affix_server.errors import AttachmentNotFoundError, TaskNotFoundError
from affix_server.printing import PrintedAttachment, PrintedBatch
from affix_server.services.answers import Messages, Serialized
from affix_server.storage.redis import names
from affix_server.storage.redis.hashes import READ, entry_fields
from affix_server.storage.redis.kept import KeptEntries
from affix_server.stores import Storage
from tests.storage.conftest import sent_by

LARGE = 256 * 1024
TEXT = MarkdownContent('a line with "quotes", ümläuts and 🧪\n' * (LARGE // 30))
CONTENTS: list[Content] = [
    TEXT,
    TextContent("t" * 1000),
    JsonContent(f'["{"j" * 1000}", 1.50]'),
    UrlContent("https://example.com/" + "u" * 1000),
    BinaryContent("image/png", 1_000_000),
]


async def found_by(storage: Storage, refs: Sequence[Ref]) -> list[Content | None]:
    """Read a batch, and each of it by itself, which must be the same; return the contents."""
    found = await storage.attachments.batch_get(refs, allow_missing=True)
    for ref, one in zip(refs, found, strict=True):
        if one is None:
            with pytest.raises((AttachmentNotFoundError, TaskNotFoundError)):
                await storage.attachments.get(ref)
        else:
            assert await storage.attachments.get(ref) == one
    return [None if one is None else one.content for one in found]


@pytest.mark.parametrize("content", CONTENTS)
async def test_a_content_is_sent_once(storage: Storage, task_id: str, redis: Redis, content: Content) -> None:
    refs = [Ref(task_id, f"k{number}") for number in range(3)]
    for ref in refs:
        await storage.attachments.create(ref, content, "a")
    first = [await storage.attachments.get(ref) for ref in refs]
    # Redis tells of itself in some 4 kB.
    before = await sent_by(redis)
    for _ in range(20):
        assert [await storage.attachments.get(ref) for ref in refs] == first
        assert list(await storage.attachments.batch_get(refs)) == first
    assert await sent_by(redis) - before < 20 * 2 * 3 * 50 + 10_000
    assert [one.content for one in first] == [content] * 3


async def test_what_is_asked_beside_a_content_does_not_send_it_again(
    storage: Storage, task_id: str, redis: Redis
) -> None:
    refs = [Ref(task_id, f"k{number}") for number in range(3)]
    for ref in refs:
        await storage.attachments.create(ref, TEXT, "a")
        await storage.attachments.get(ref)
    before = await sent_by(redis)
    for _ in range(10):
        first = asyncio.create_task(storage.tasks.get(task_id))
        found = asyncio.gather(*(storage.attachments.get(ref) for ref in refs))
        batch = asyncio.create_task(storage.attachments.batch_get(refs))
        await first
        assert list(await found) == list(await batch)
    assert await sent_by(redis) - before < LARGE


async def test_what_another_process_writes_is_seen_at_once(storage: Storage, another: Storage, task_id: str) -> None:
    refs = [Ref(task_id, f"k{number}") for number in range(4)]
    for ref in refs:
        await another.attachments.create(ref, TextContent("before"), "a")
    told = [TextContent("before")] * 4
    for number in range(20):
        at = number % 4
        # The same size each time, so that only what is in it differs.
        told[at] = TextContent(f"{number:06}")
        await another.attachments.create(refs[at], told[at], "a")
        for one in (storage, another):
            assert await found_by(one, refs) == told
    await another.attachments.create(refs[0], TEXT, "a")
    await another.attachments.delete(refs[1], "a")
    assert await found_by(storage, refs) == [TEXT, None, *told[2:]]
    await another.attachments.create(refs[1], TEXT, "b")
    assert (await storage.attachments.get(refs[1])).created_by == "b"
    await another.tasks.delete(task_id, "a")
    assert await found_by(storage, refs) == [None] * 4


@pytest.mark.parametrize("lost", ["nothing is there", "a string is there", "leases are there"])
async def test_what_redis_has_lost_comes_from_postgres_again(
    storage: Storage, task_id: str, redis: Redis, lost: str
) -> None:
    refs = [Ref(task_id, f"k{number}") for number in range(3)]
    for ref in refs:
        await storage.attachments.create(ref, TEXT, "a")
    first = await storage.attachments.batch_get(refs)
    for read_by in ("itself", "a batch"):
        name = names.entry(refs[1])
        await redis.delete(name)
        if lost == "a string is there":
            await redis.set(name, "x")
        elif lost == "leases are there":
            await redis.hset(name, mapping={"leases": "1", "token": "1"})
        if read_by == "itself":
            assert await storage.attachments.get(refs[1]) == first[1]
        assert list(await storage.attachments.batch_get(refs)) == first


async def test_what_is_known_and_what_is_not_are_read_in_one_round_trip(
    storage: Storage, another: Storage, task_id: str, redis: Redis
) -> None:
    refs = [Ref(task_id, f"k{number}") for number in range(6)]
    for ref in refs:
        await another.attachments.create(ref, TextContent(ref.key), "a")
    await storage.attachments.batch_get(refs[:3])
    before = (await redis.info("stats"))["total_reads_processed"]
    assert await storage.attachments.batch_get(refs) == await another.attachments.batch_get(refs)
    # One by each of the two processes, and the question itself.
    assert (await redis.info("stats"))["total_reads_processed"] - before <= 3


def read(
    ref: Ref, content: Content, *, pending: bool = False, expires_at: int | None = None
) -> tuple[Attachment, list[bytes | None]]:
    """Make an attachment, and the fields that Redis sends of it."""
    times = (1_700_000_000_000, 1_700_000_000_001)
    entry = Attachment("ta-1", *ref, content, "a", *times, 1_700_000_000_000_000, expires_at)
    names_and_values = [*entry_fields(entry), *(("pending", 1) if pending else ())]
    fields = {str(name): str(value).encode() for name, value in zip(*[iter(names_and_values)] * 2, strict=True)}
    return entry, [fields.get(name) for name in READ]


def test_no_more_is_kept_than_there_is_room_for() -> None:
    kept = KeptEntries(10 * LARGE)
    refs = [Ref("t", f"k{number}") for number in range(100)]
    for ref in refs:
        entry, values = read(ref, TextContent("x" * LARGE))
        assert kept.note(entry, values) == entry
    still = [ref for ref in refs if kept.find(ref) is not None]
    assert still == refs[-len(still) :]
    assert 2 < len(still) <= 5
    known, unknown = kept.find_all(refs, LARGE)
    assert ([one.ref for one in known], unknown) == (still, refs[: -len(still)])
    assert kept.find_all(refs, LARGE - 1) == ([], refs)


def test_what_is_too_large_or_may_still_give_way_is_not_kept() -> None:
    kept, ref = KeptEntries(10 * LARGE), Ref("t", "k")
    for content, pending in ((TextContent("x" * 11 * LARGE), False), (TextContent("x"), True)):
        assert kept.note(*read(ref, TextContent("x"))) is kept.find(ref)
        entry, values = read(ref, content, pending=pending)
        assert kept.note(entry, values) is entry
        assert kept.find(ref) is None
    off = KeptEntries(0)
    off.note(*read(ref, TextContent("x")))
    assert off.find(ref) is None


@pytest.mark.parametrize("expires_at", [None, 1_900_000_000_000])
@pytest.mark.parametrize("content", CONTENTS)
def test_what_is_kept_is_answered_like_what_is_not(content: Content, expires_at: int | None) -> None:
    ref = Ref("t", "ключ")
    entry, values = read(ref, content, expires_at=expires_at)
    kept = KeptEntries(100 * LARGE).note(entry, values)
    assert isinstance(kept, KeptAttachment)
    assert (kept, hash(kept)) == (entry, hash(entry))
    assert entry == kept
    assert kept != read(Ref("t", "l"), content)[0]
    messages, serialized = Messages(), Serialized()
    for _ in range(2):
        for flag in (True, False):
            assert PrintedAttachment(kept).printed(with_revision=flag) == PrintedAttachment(entry).printed(
                with_revision=flag
            )
            for several in ([kept], [kept, kept, entry], [None, kept], [kept, None]):
                plain = [None if one is None else entry for one in several]
                assert PrintedBatch(several).printed(with_revision=flag) == PrintedBatch(plain).printed(
                    with_revision=flag
                )
        assert pb.GetAttachmentResponse.FromString(serialized.got(kept)) == messages.got(entry)
        batch = serialized.batch([ref] * 2, [kept, kept], allow_missing=False)
        assert pb.BatchGetAttachmentsResponse.FromString(batch) == messages.batch(
            [ref] * 2, [entry, entry], allow_missing=False
        )
    assert serialized.batch([ref], [kept], allow_missing=True) == messages.batch([ref], [entry], allow_missing=True)
    assert serialized.batch([ref], [entry], allow_missing=False) == messages.batch([ref], [entry], allow_missing=False)
