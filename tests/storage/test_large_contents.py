"""Large contents are sent once while they are the same; who reads one sees what is there, whoever wrote it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey
from affix_server.config import Settings
from affix_server.domain import Attachment, Content, JsonContent, MarkdownContent, Ref, TextContent, UrlContent
from affix_server.errors import AttachmentNotFoundError, TaskNotFoundError
from affix_server.printing import PrintedAttachment
from affix_server.storage.redis import names
from affix_server.storage.redis.hashes import READ, entry_fields
from affix_server.storage.redis.large import LARGE_BYTES, LargeEntries
from affix_server.stores import Storage, open_storage

LARGE = 4 * LARGE_BYTES
TEXT = MarkdownContent('a line with "quotes", ümläuts and 🧪\n' * (LARGE // 30))


@pytest.fixture
async def another(
    storage: Storage, postgres_store: EmbeddedPostgres, valkey_store: EmbeddedValkey
) -> AsyncIterator[Storage]:
    """Another process' half, on the same stores."""
    assert storage.trust.believed
    async with AsyncExitStack() as stack:
        settings = Settings(postgres_dsn=postgres_store.dsn, redis_url=valkey_store.url)
        yield await open_storage(settings, CollectorRegistry(), stack)


async def sent_by(redis: Redis) -> int:
    """Return how many bytes Redis has sent so far."""
    return int((await redis.info("stats"))["total_net_output_bytes"])


@pytest.mark.parametrize("content", [TEXT, TextContent("t" * LARGE), JsonContent(f'["{"j" * LARGE}"]')])
async def test_a_large_content_is_sent_once(storage: Storage, task_id: str, redis: Redis, content: Content) -> None:
    ref = Ref(task_id, "large")
    await storage.attachments.create(ref, content, "a")
    first = await storage.attachments.get(ref)
    before = await sent_by(redis)
    for _ in range(50):
        found = await storage.attachments.get(ref)
        assert (found, found.content) == (first, content)
    assert await sent_by(redis) - before < LARGE


async def test_what_another_process_writes_is_seen_at_once(storage: Storage, another: Storage, task_id: str) -> None:
    ref = Ref(task_id, "large")
    for number in range(20):
        # The same size each time, so that only what is in it differs.
        await another.attachments.create(ref, TextContent(f"{number:08}" * (LARGE // 8)), "a")
        for one in (storage, another):
            assert (await one.attachments.get(ref)).content == TextContent(f"{number:08}" * (LARGE // 8))
    await another.attachments.create(ref, TextContent("small"), "a")
    assert (await storage.attachments.get(ref)).content == TextContent("small")
    await another.attachments.create(ref, TEXT, "a")
    assert (await storage.attachments.get(ref)).content == TEXT
    await another.attachments.delete(ref, "a")
    with pytest.raises(AttachmentNotFoundError):
        await storage.attachments.get(ref)
    await another.attachments.create(ref, TEXT, "b")
    assert (await storage.attachments.get(ref)).created_by == "b"
    await another.tasks.delete(task_id, "a")
    with pytest.raises(TaskNotFoundError):
        await storage.attachments.get(ref)


async def test_what_redis_has_lost_comes_from_postgres_again(storage: Storage, task_id: str, redis: Redis) -> None:
    ref = Ref(task_id, "large")
    await storage.attachments.create(ref, TEXT, "a")
    first = await storage.attachments.get(ref)
    for broken in ("nothing", "a string", "without a content", "of another size"):
        if broken == "nothing":
            await redis.delete(names.entry(ref))
        elif broken == "a string":
            await redis.set(names.entry(ref), "x")
        elif broken == "without a content":
            await redis.hdel(names.entry(ref), "content")
        else:
            await redis.hset(names.entry(ref), "content", "cut")
            await redis.hdel(names.entry(ref), "createdAt")
        assert await storage.attachments.get(ref) == first


def read(ref: Ref, content: Content, revision: int = 1) -> tuple[Attachment, list[bytes | None]]:
    """Make an attachment, and the fields that Redis sends of it."""
    entry = Attachment("ta-1", *ref, content, "a", 1_700_000_000_000, 1_700_000_000_000, revision, None)
    names_and_values = entry_fields(entry)
    fields = {str(name): str(value).encode() for name, value in zip(*[iter(names_and_values)] * 2, strict=True)}
    return entry, [fields.get(name) for name in READ]


def test_no_more_is_kept_than_there_is_room_for() -> None:
    large = LargeEntries(10 * LARGE)
    refs = [Ref("t", f"k{number}") for number in range(100)]
    for ref in refs:
        entry, values = read(ref, TextContent("x" * LARGE))
        assert large.note(entry, values) == entry
        large.find(refs[0])  # which is asked for again and again, and stays
    kept = [ref for ref in refs if large.find(ref) is not None]
    assert kept[0] == refs[0]
    assert kept[1:] == refs[-len(kept) + 1 :]
    assert 2 < len(kept) <= 5


def test_what_is_small_or_too_large_is_not_kept() -> None:
    large, ref = LargeEntries(10 * LARGE), Ref("t", "k")
    assert large.note(*read(ref, TextContent("x" * LARGE))).content == TextContent("x" * LARGE)
    assert large.find(ref) is not None
    for content in (TextContent("x"), TextContent("x" * 11 * LARGE), UrlContent("https://example.com")):
        large.note(*read(ref, TextContent("x" * LARGE)))
        assert large.note(*read(ref, content)).content is content
        assert large.find(ref) is None
    off = LargeEntries(0)
    off.note(*read(ref, TextContent("x" * LARGE)))
    assert off.find(ref) is None


def test_what_is_kept_is_printed_like_what_is_not() -> None:
    entry, values = read(Ref("t", "k"), TEXT)
    kept = LargeEntries(100 * LARGE).note(entry, values)
    assert kept is not entry
    for _ in range(2):
        assert PrintedAttachment(kept).printed(with_revision=True) == PrintedAttachment(entry).printed(
            with_revision=True
        )
