"""A list is complete and in order, whatever was evicted, expired or flushed (design/storage.md, invariants 4 and 6)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractContextManager
from unittest.mock import patch

from affix_server.domain import AttachmentType, Query, UrlContent
from affix_server.storage.entries import IndexLine
from affix_server.storage.postgres.attachments import AttachmentTable
from affix_server.storage.redis import names
from tests.resilience.inside import Hook, interposed, postgres_refused
from tests.resilience.world import GONE, Pair, keys, read

URL = UrlContent("https://example.org/")
_LOADS = "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements WHERE query LIKE '%WHEN r.total_bytes%'"


async def an_index_without_its_mark_is_not_believed(world: Pair) -> None:
    """The index was evicted, and a write comes by before anybody lists."""
    first, second, third = await world.refs("first", "second", "third")
    await world.put(first, "1")
    await world.put(second, "2")
    assert await keys(world.storage, first.task_id) == ["first", "second"]
    await world.evict_indexes(first.task_id)
    await world.put(third, "3")
    assert await keys(world.other, first.task_id) == ["first", "second", "third"]


async def an_index_that_names_what_is_not_there_is_built_anew(world: Pair) -> None:
    """Whoever put it there: it is marked as complete."""
    (ref,) = await world.refs("ours")
    await world.put(ref, "1")
    assert await keys(world.storage, ref.task_id) == ["ours"]
    await world.redis.zadd(f"cb:task:{ref.task_id}:attachments", {"ghost": 1.0})
    assert await keys(world.storage, ref.task_id) == ["ours"]


async def an_entry_that_was_evicted_is_in_the_list(world: Pair) -> None:
    """The index names it, Redis does not have it."""
    first, second = await world.refs("first", "second")
    await world.put(first, "1")
    await world.put(second, "2")
    assert await keys(world.storage, first.task_id) == ["first", "second"]
    await world.evict(first)
    assert await keys(world.storage, first.task_id) == ["first", "second"]


async def a_page_is_what_there_is_however_often_it_was_read(world: Pair) -> None:
    """Another server adds to it, and takes from it."""
    first, second, third = await world.refs("first", "second", "third")
    await world.put(first, "1")
    await world.put(second, "2")
    for _ in range(4):
        assert await keys(world.storage, first.task_id) == ["first", "second"]
    await world.put(third, "3", by=world.other)
    for _ in range(4):
        assert await keys(world.storage, first.task_id) == ["first", "second", "third"]
    await world.other.attachments.delete(second, "b")
    for _ in range(4):
        assert await keys(world.storage, first.task_id) == ["first", "third"]


async def a_page_is_in_order_whatever_was_made_anew(world: Pair) -> None:
    """Its first entry was evicted, and is deleted and made again before it is fetched."""
    first, second = await world.refs("first", "second")
    await world.put(first, "1")
    await world.put(second, "2")
    await keys(world.storage, first.task_id)
    await world.evict(first)

    async def make_anew() -> None:
        await asyncio.sleep(0.01)
        await world.other.attachments.delete(first, "b")
        await world.put(first, "3", by=world.other)

    with interposed(world.storage.attachment_table, "read", before=make_anew):
        assert await keys(world.storage, first.task_id) == ["second", "first"]


async def what_is_given_another_type_is_in_the_list_of_that_one(world: Pair) -> None:
    """It was committed and not published yet when the list of its type was built, and another server replaced it."""
    (ref,) = await world.refs("note")
    texts = names.index(ref.task_id, AttachmentType.TEXT)
    assert await keys(world.storage, ref.task_id) == []

    async def replace() -> None:
        await world.redis.delete(texts)
        # Summaries: what they lack is not filled in.
        page = await world.other.attachments.list(Query(ref.task_id, AttachmentType.TEXT, summaries=True))
        assert page.total_count == 1
        await world.other.attachments.create(ref, URL, "b")

    with interposed(world.storage.cache, "publish", before=replace):
        await world.put(ref, "1")
    assert await world.redis.zscore(texts, "note") is None
    assert await keys(world.other, ref.task_id) == ["note"]


async def what_postgres_has_lost_is_in_the_list_of_its_new_type(world: Pair) -> None:
    """Postgres was restored from a backup, and a key that it has never heard of is in the lists."""
    (ref,) = await world.refs("note")
    assert await keys(world.storage, ref.task_id) == []
    await world.put(ref, "1")
    await world.sql.execute("DELETE FROM task_attachments WHERE task_id = $1", ref.task_id)
    await world.evict(ref)
    await world.storage.attachments.create(ref, URL, "a")
    assert await world.redis.zscore(names.index(ref.task_id, AttachmentType.TEXT), "note") is None


async def what_is_created_while_an_index_is_built_is_in_it(world: Pair) -> None:
    """Another server creates after the builder has read Postgres, and before it loads what it read."""
    old, new = await world.refs("old", "new")
    await world.put(old, "x")
    await world.evict_indexes(old.task_id)
    with _after_reading_an_index(world.storage.attachment_table, lambda: world.put(new, "x", by=world.other)):
        await keys(world.storage, old.task_id)
    assert await keys(world.other, old.task_id) == ["old", "new"]


async def what_is_deleted_while_an_index_is_built_is_not_in_it(world: Pair) -> None:
    """As before; the total must know, on pages that do not have the place."""
    keep, drop = await world.refs("keep", "drop")
    for ref in (keep, drop):
        await world.put(ref, "x")
    await world.evict_indexes(keep.task_id)
    deletion = world.other.attachments.delete
    with _after_reading_an_index(world.storage.attachment_table, lambda: deletion(drop, "b")):
        await world.storage.attachments.list(Query(keep.task_id, limit=1))
    assert (await world.other.attachments.list(Query(keep.task_id, limit=1))).total_count == 1


async def an_index_lost_while_it_is_built_is_not_believed(world: Pair) -> None:
    """It is evicted after the builder has read Postgres, and with it the note of what was written since."""
    (old, new) = await world.refs("old", "new")
    await world.put(old, "x")
    await world.evict_indexes(old.task_id)

    async def write_and_evict() -> None:
        await world.put(new, "x", by=world.other)
        await world.evict_indexes(old.task_id)

    with _after_reading_an_index(world.storage.attachment_table, write_and_evict):
        await keys(world.storage, old.task_id)
    assert await keys(world.other, old.task_id) == ["old", "new"]


async def what_is_pending_is_in_an_index_that_is_built(world: Pair) -> None:
    """One server's write and deletion are pending when another builds the index."""
    old, new = await world.refs("old", "new")
    await world.put(old, "x")
    with postgres_refused(world.storage):
        await world.put(new, "x")
        await world.storage.attachments.delete(old, "a")
        await world.evict_indexes(old.task_id)
        assert await keys(world.other, old.task_id) == ["new"]


async def five_hundred_callers_make_one_query(world: Pair) -> None:
    """One cold key, counted by Postgres itself."""
    (ref,) = await world.refs("cold")
    await world.put(ref, "x")
    await world.redis.flushall()
    await world.sql.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    before = await world.sql.fetchval(_LOADS)
    assert set(await asyncio.gather(*(read(world.storage, ref) for _ in range(500)))) == {"x"}
    assert await world.sql.fetchval(_LOADS) - before == 1


def _after_reading_an_index(table: AttachmentTable, hook: Hook) -> AbstractContextManager[object]:
    real, hooks = table.index, [hook]

    async def slow(task_id: str) -> AsyncGenerator[Sequence[IndexLine]]:
        read = [chunk async for chunk in real(task_id)]
        if hooks:
            await hooks.pop()()
        for chunk in read:
            yield chunk

    return patch.object(table, "index", slow)


async def an_index_that_shows_a_deletion_hides_what_was_deleted(world: Pair) -> None:
    """A deletion is committed and not published yet when an index is built; nobody finds what it deleted after that."""
    (ref,) = await world.refs("note")
    await world.put(ref, "1")
    found: list[object] = []

    async def look() -> None:
        await world.evict_indexes(ref.task_id)
        found.extend((await keys(world.other, ref.task_id), await read(world.other, ref)))

    with interposed(world.storage.cache, "publish", before=look):
        await world.storage.attachments.delete(ref, "a")
    assert found in ([[], GONE], [["note"], "1"])


async def an_index_that_shows_a_creation_shows_what_was_created(world: Pair) -> None:
    """As before, of a key that is created anew, and that is not on the page that is read."""
    first, ref = await world.refs("first", "note")
    await world.put(first, "1")
    await world.put(ref, "1")
    await world.storage.attachments.delete(ref, "a")
    found: list[object] = []

    async def look() -> None:
        await world.evict_indexes(ref.task_id)
        page = await world.other.attachments.list(Query(ref.task_id, limit=1))
        found.extend((page.total_count, await read(world.other, ref)))

    with interposed(world.storage.cache, "publish", before=look):
        await world.put(ref, "2")
    assert found in ([2, "2"], [1, GONE])
