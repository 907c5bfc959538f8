"""Whatever Redis forgets, answers stay the same (design/storage.md, "A read", invariants 4 and 5)."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.harness.samples import SAMPLES, batch, create, delete, get, keys, page, text
from tests.harness.stores import Flush, keys_of
from tests.harness.wire import CallError, Wire

KEYS = [*SAMPLES, "odd:key 🧪"]
Read = Callable[[Wire, str], Awaitable[Any]]


async def _get_each(wire: Wire, task: str) -> Any:
    return [await get(wire, task, key) for key in KEYS]


async def _list_all(wire: Wire, task: str) -> Any:
    return await page(wire, task)


async def _list_pages(wire: Wire, task: str) -> Any:
    return [await page(wire, task, limit=2, offset=offset) for offset in (4, 0, 2)]


async def _list_by_type(wire: Wire, task: str) -> Any:
    return [await page(wire, task, type=type_) for type_ in SAMPLES]


async def _batch(wire: Wire, task: str) -> Any:
    return await batch(wire, *((task, key) for key in reversed(KEYS)))


async def _task(wire: Wire, task: str) -> Any:
    return await wire.call("task.get", {"id": task})


READS: list[Read] = [_get_each, _list_all, _list_pages, _list_by_type, _batch, _task]


async def _seeded(wire: Wire) -> str:
    """Register a task with an attachment of each type and one more."""
    task = f"t-{secrets.token_hex(8)}"
    await wire.call("task.create", {"id": task, "text": "cold"})
    for key in KEYS:
        await create(wire, task, key, SAMPLES.get(key, text(key)), instance="instance-1")
    return task


@pytest.mark.parametrize("read", READS, ids=lambda read: read.__name__)
async def test_reads_after_flushall_are_the_reads_before_it(wire: Wire, flush: Flush, read: Read) -> None:
    task = await _seeded(wire)
    before = await read(wire, task)
    await flush()
    assert await read(wire, task) == before
    assert await read(wire, task) == before


async def test_reads_after_losing_any_one_redis_key_are_the_reads_before_it(wire: Wire, redis: Redis) -> None:
    task = await _seeded(wire)
    before = {read: await read(wire, task) for read in READS}
    held = await keys_of(redis, task)
    assert {_suffix(key, task) for key in held} == set(SUFFIXES)
    for key in held:
        for read in READS:
            await redis.delete(key)
            assert await read(wire, task) == before[read], f"{read.__name__} after the loss of {key}"


async def test_reads_after_any_one_redis_key_became_another_type_are_the_reads_before_it(
    wire: Wire, redis: Redis
) -> None:
    task = await _seeded(wire)
    before = {read: await read(wire, task) for read in READS}
    for key in await keys_of(redis, task):
        for read in READS:
            await redis.set(key, "rubbish")
            assert await read(wire, task) == before[read], f"{read.__name__} after the corruption of {key}"


async def test_reads_after_an_entry_lost_any_one_field_are_the_reads_before_it(wire: Wire, redis: Redis) -> None:
    task = await _seeded(wire)
    before = {read: await read(wire, task) for read in READS}
    entries = [key for key in await keys_of(redis, task) if await redis.type(key) == "hash"]
    for key in entries:
        # The first three may be absent; a hash that is whole but for the revision is another program's, and served.
        for field in (await redis.hgetall(key)).keys() - {"size", "assignedTo", "completedAt", "revision"}:
            for read in READS:
                await redis.hdel(key, field)
                assert await read(wire, task) == before[read], f"{read.__name__} after the loss of {key} {field!r}"


# What Redis holds of a seeded task (design/storage.md, "Names in Redis"), less the prefix cb:task:{taskId}.
SUFFIXES = [
    "",
    ":attachments",
    *(f":attachments:{type_}" for type_ in SAMPLES),
    ":attachments:expiring",
    *(f":attachment:{key}" for key in KEYS),
]


def _suffix(key: str, task: str) -> str:
    return key.removeprefix(f"cb:task:{task}")


Lose = Callable[[str], Awaitable[Any]]


def _losses(redis: Redis, flush: Flush) -> dict[str, Lose]:
    async def everything(_: str) -> None:
        await flush()

    def one(suffix: str) -> Lose:
        async def lose(task: str) -> None:
            assert await redis.delete(f"cb:task:{task}{suffix}") == 1

        return lose

    return {"everything": everything, **{suffix: one(suffix) for suffix in SUFFIXES}}


async def test_a_create_after_a_loss_adds_to_what_is_there(wire: Wire, redis: Redis, flush: Flush) -> None:
    for lost, lose in _losses(redis, flush).items():
        task = await _seeded(wire)
        before = await page(wire, task)
        await lose(task)
        created = await create(wire, task, "new", SAMPLES["json"])
        after = await page(wire, task)
        assert keys(after) == [*keys(before), "new"], lost
        assert after["attachments"][:-1] == before["attachments"], lost
        assert (after["attachments"][-1]["id"], after["totalCount"]) == (created["id"], len(KEYS) + 1), lost
        assert keys(await page(wire, task, type="json")) == ["json", "new"], lost


async def test_an_overwrite_after_a_loss_keeps_identity(wire: Wire, redis: Redis, flush: Flush) -> None:
    for lost, lose in _losses(redis, flush).items():
        task = await _seeded(wire)
        first = await get(wire, task, "json")
        before = await page(wire, task)
        await lose(task)
        again = await create(wire, task, "json", text("now a text"), instance="instance-2")
        assert (again["id"], again["createdAt"]) == (first["id"], first["createdAt"]), lost
        stored = await get(wire, task, "json")
        assert (stored["id"], stored["createdBy"], stored["content"]) == (first["id"], "instance-1", "now a text"), lost
        after = await page(wire, task)
        assert (keys(after), after["totalCount"]) == (keys(before), len(KEYS)), lost
        assert (await page(wire, task, type="json"))["totalCount"] == 0, lost
        assert set(keys(await page(wire, task, type="text"))) == {"json", "text", KEYS[-1]}, lost


async def test_a_delete_after_a_loss_deletes_that_one(wire: Wire, redis: Redis, flush: Flush) -> None:
    for lost, lose in _losses(redis, flush).items():
        task = await _seeded(wire)
        first = await get(wire, task, "json")
        before = await page(wire, task)
        await lose(task)
        assert (await delete(wire, task, "json"))["id"] == first["id"], lost
        with pytest.raises(CallError):
            await get(wire, task, "json")
        after = await page(wire, task)
        assert after["attachments"] == [kept for kept in before["attachments"] if kept["key"] != "json"], lost
        assert after["totalCount"] == len(KEYS) - 1, lost
        assert (await page(wire, task, type="json"))["totalCount"] == 0, lost


async def test_a_deleted_attachment_does_not_come_back_after_flushall(wire: Wire, flush: Flush) -> None:
    task = await _seeded(wire)
    await delete(wire, task, "json")
    await flush()
    with pytest.raises(CallError) as refused:
        await get(wire, task, "json")
    assert refused.value.reason == "ATTACHMENT_NOT_FOUND"
    assert "json" not in keys(await page(wire, task))
    with pytest.raises(CallError) as refused:
        await delete(wire, task, "json")
    assert refused.value.reason == "ATTACHMENT_NOT_FOUND"
