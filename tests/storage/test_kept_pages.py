"""A page that stays the same is told by its revisions, and one that does not is what is there, whoever changed it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from msgspec import structs
from redis.asyncio import Redis

from affix_server.domain import Attachment, AttachmentType, Query, Ref, TextContent, UrlContent
from affix_server.printing import PrintedPage
from affix_server.storage.entries import Pending
from affix_server.storage.limits import NO_LIMIT
from affix_server.storage.redis import kept_pages, names
from affix_server.storage.redis.hashes import READ
from affix_server.storage.redis.kept import KeptEntries
from affix_server.storage.redis.kept_pages import KeptPages
from affix_server.storage.redis.publishing import builder
from affix_server.stores import Storage
from tests.storage.conftest import sent_by

TEXT = "t" * 2000


async def agreed(storage: Storage, another: Storage, query: Query) -> list[str]:
    """Read a page, which must be as another process has it, printed too; return its keys."""
    page, other = await storage.attachments.list(query), await another.attachments.list(query)
    assert page == other
    for flag in (True, False):
        assert PrintedPage(page).printed(with_revision=flag) == PrintedPage(other).printed(with_revision=flag)
    return [one.key for one in page.attachments]


def queries(task_id: str) -> list[Query]:
    """Return pages of every kind."""
    return [
        Query(task_id, limit=3),
        Query(task_id),
        Query(task_id, limit=3, offset=2),
        Query(task_id, descending=True),
        Query(task_id, type=AttachmentType.TEXT),
        Query(task_id, key_prefix="k1"),
        Query(task_id, summaries=True),
        Query(task_id, offset=100),
    ]


async def test_a_page_that_stays_the_same_is_sent_twice(storage: Storage, task_id: str, redis: Redis) -> None:
    for number in range(10):
        await storage.attachments.create(Ref(task_id, f"k{number}"), TextContent(TEXT), "a")
    query, sizes = Query(task_id, limit=10), []
    pages = []
    for _ in range(5):
        before = await sent_by(redis)
        pages.append(await storage.attachments.list(query))
        sizes.append(await sent_by(redis) - before > 10 * len(TEXT))
    assert sizes == [True, True, False, False, False]
    assert pages == [pages[0]] * 5
    assert len(pages[0].attachments) == 10


@pytest.mark.parametrize("prefix", ["", "k"])
async def test_a_page_stays_the_same_while_its_list_grows(
    storage: Storage, task_id: str, redis: Redis, prefix: str
) -> None:
    query = Query(task_id, limit=10, key_prefix=prefix)
    for number in range(10):
        await storage.attachments.create(Ref(task_id, f"k{number}"), TextContent(TEXT), "a")
    await storage.attachments.create(Ref(task_id, "k"), TextContent("x"), "a")
    before = [await storage.attachments.list(query) for _ in range(3)][-1]
    for more in range(1, 4):
        await storage.attachments.create(Ref(task_id, f"k-{more}"), TextContent("x"), "a")
        sent = await sent_by(redis)
        page = await storage.attachments.list(query)
        assert await sent_by(redis) - sent < 10 * len(TEXT)
        assert (page.attachments, page.total_count) == (before.attachments, before.total_count + more)


async def _make_again(by: Storage, _: Redis, ref: Ref) -> None:
    """Move it to the end."""
    await by.attachments.delete(ref, "b")
    await by.attachments.create(ref, TextContent(TEXT), "b")


async def _make_earlier(by: Storage, _: Redis, ref: Ref) -> None:
    """Have another beside it, as when it was accepted by a server whose clock is late."""
    (row,) = (await by.attachment_table.read([ref], NO_LIMIT)).rows
    assert isinstance(row.entry, Attachment)
    beside = structs.replace(row.entry, id="ta-1-beside", key=f"{ref.key}-beside", revision=row.entry.revision + 1)
    await by.attachment_table.drain([Pending(Ref(ref.task_id, beside.key), beside, "b", provisional=False)])
    await by.cache.forget(Ref(ref.task_id, beside.key))
    await by.attachments.list(Query(ref.task_id))


async def _make_room_earlier(by: Storage, redis: Redis, ref: Ref) -> None:
    """Have another beside it, and one before it less."""
    first = (await by.attachments.list(Query(ref.task_id, limit=1))).attachments[0]
    await _make_earlier(by, redis, ref)
    await by.attachments.delete(Ref(ref.task_id, first.key), "b")


async def _begin_index(_: Storage, redis: Redis, ref: Ref) -> None:
    """Have an index that somebody builds, and that lacks the last key as yet."""
    index = names.index(ref.task_id)
    await redis.zpopmax(index)
    await redis.zrem(index, "")
    await redis.zadd(index, {builder("dead"): "-inf"})


CHANGES: dict[str, Callable[[Storage, Redis, Ref], Awaitable[object]]] = {
    "overwritten": lambda by, _, ref: by.attachments.create(ref, TextContent("T" * 2000), "b"),
    "deleted": lambda by, _, ref: by.attachments.delete(ref, "b"),
    "made": lambda by, _, ref: by.attachments.create(Ref(ref.task_id, f"k1-{ref.key}"), TextContent(TEXT), "b"),
    "of another type": lambda by, _, ref: by.attachments.create(ref, UrlContent("https://example.com"), "b"),
    "made again": _make_again,
    "made earlier": _make_earlier,
    "made earlier, and room": _make_room_earlier,
    "listed in part": _begin_index,
    "expired": lambda _, redis, ref: redis.zadd(names.expiring(ref.task_id), {ref.key: 1000}),
    "lost": lambda _, redis, ref: redis.delete(names.entry(ref)),
    "broken": lambda _, redis, ref: redis.set(names.entry(ref), "x"),
    "all lost": lambda _, redis, __: redis.flushall(),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_what_another_process_changes_is_seen_at_once(
    storage: Storage, another: Storage, task_id: str, redis: Redis, change: str
) -> None:
    refs = [Ref(task_id, f"k{number}") for number in range(12)]
    for ref in refs:
        await another.attachments.create(ref, TextContent(TEXT), "a")
    asked = queries(task_id) * 4
    for query in asked:
        await agreed(storage, another, query)
    for at in (0, 3, 11):
        await CHANGES[change](another, redis, refs[at])
        for query in asked:
            await agreed(storage, another, query)


async def test_a_page_whose_entries_have_made_room_is_read_whole(
    storage: Storage, another: Storage, task_id: str
) -> None:
    for number in range(6):
        await storage.attachments.create(Ref(task_id, f"k{number}"), TextContent(TEXT), "a")
    query = Query(task_id, limit=6)
    for _ in range(3):
        await agreed(storage, another, query)
    for number in (5, 0):
        storage.cache._kept.forget((task_id, f"k{number}"))  # noqa: SLF001 - as if others had needed the room
        for _ in range(4):
            assert await agreed(storage, another, query) == [f"k{number}" for number in range(6)]


def test_no_more_pages_are_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_pages, "_MOST_PAGES", 3)
    pages = KeptPages(KeptEntries(1_000_000))
    entry = Attachment("ta-1", "t", "k", TextContent("x"), "a", 1, 1, 7, None)
    values = [b"7" if name == "revision" else None for name in READ]
    asked = [Query("t", offset=offset) for offset in range(10)]
    for query in asked:
        for _ in range(2):
            assert pages.note(query, [entry], [values], 1) == [entry]
    assert [query for query in asked if pages.settled(query, 100)] == asked[-3:]


def test_a_page_of_what_is_not_kept_is_always_read_whole() -> None:
    pages = KeptPages(KeptEntries(0))
    entry = Attachment("ta-1", "t", "k", TextContent("x"), "a", 1, 1, 7, None)
    values = [b"7" if name == "revision" else None for name in READ]
    for _ in range(4):
        assert pages.note(Query("t"), [entry], [values], 1) == [entry]
        assert not pages.settled(Query("t"), 100)
