"""Attachments that are to be gone at some moment."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import asyncpg
import pytest
from redis.asyncio import Redis

from tests.harness.stores import Flush
from tests.harness.watches import Watcher
from tests.harness.wire import INVALID_PARAMS, CallError, Params, Result, Wire

SOON_SECONDS = 0.4
LATER = "2999-01-01T00:00:00Z"


def _at(seconds: float) -> str:
    """Print the time so many seconds from now, to the millisecond."""
    moment = datetime.fromtimestamp(round(time.time() + seconds, 3), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def _until(moment: str) -> None:
    await asyncio.sleep(max(0.0, datetime.fromisoformat(moment).timestamp() - time.time()) + 0.02)


async def _create(wire: Wire, task: str, key: str, **more: object) -> Result:
    params = {"taskId": task, "key": key, "type": "text", "content": f"planted {key}", **more}
    return await wire.call("task.create_attachment", params)


async def _keys(wire: Wire, task: str, **more: object) -> list[str]:
    page = await wire.call("task.list_attachments", {"taskId": task, **more})
    return [one["key"] for one in page["attachments"]]


async def _count(wire: Wire, task: str) -> int:
    count: int = (await wire.call("task.get", {"id": task}))["attachmentCount"]
    return count


async def test_it_is_gone_from_every_answer_at_that_moment(wire: Wire, task: str) -> None:
    await _create(wire, task, "stays")
    moment = _at(SOON_SECONDS)
    created = await _create(wire, task, "goes", expiresAt=moment)
    assert await _keys(wire, task) == ["stays", "goes"]
    assert await _count(wire, task) == 2

    await _until(moment)
    ref = {"taskId": task, "key": "goes"}
    listed = await wire.call("task.list_attachments", {"taskId": task})
    assert ([one["key"] for one in listed["attachments"]], listed["totalCount"]) == (["stays"], 1)
    assert await _count(wire, task) == 1
    tasks = await wire.call("task.list", {"limit": 1, "orderBy": "createdAt"})
    assert tasks["tasks"][0]["attachmentCount"] == 1
    calls: dict[str, Params] = {
        "task.get_attachment": ref,
        "task.get_attachments_batch": {"requests": [ref]},
        "task.delete_attachment": ref,
    }
    for method, params in calls.items():
        with pytest.raises(CallError) as caught:
            await wire.call(method, params)
        assert caught.value.reason == "ATTACHMENT_NOT_FOUND"
    batch = await wire.call("task.get_attachments_batch", {"requests": [ref], "allowMissing": True})
    assert batch["attachments"] == [None]
    again = await _create(wire, task, "goes", ifAbsent=True)
    assert again["id"] != created["id"]
    assert "expiresAt" not in again


async def test_it_can_be_given_in_seconds(wire: Wire, task: str) -> None:
    created = await _create(wire, task, "goes", ttlSeconds=1)
    left = datetime.fromisoformat(created["expiresAt"]).timestamp() - time.time()
    assert 0 < left <= 1
    assert await _keys(wire, task) == ["goes"]
    await _until(created["expiresAt"])
    assert await _keys(wire, task) == []


async def test_every_answer_says_when(wire: Wire, task: str, flush: Flush) -> None:
    created = await _create(wire, task, "goes", expiresAt="2999-01-01T01:00:00.25+01:00")
    when = "2999-01-01T00:00:00.250Z"
    ref = {"taskId": task, "key": "goes"}
    assert created["expiresAt"] == when
    for _ in range(2):
        assert (await wire.call("task.get_attachment", ref))["expiresAt"] == when
        for view in ("full", "metadata"):
            page = await wire.call("task.list_attachments", {"taskId": task, "view": view})
            assert page["attachments"][0]["expiresAt"] == when
        batch = await wire.call("task.get_attachments_batch", {"requests": [ref]})
        assert batch["attachments"][0]["expiresAt"] == when
        await flush()


async def test_an_overwrite_without_it_lets_it_stay(wire: Wire, task: str, flush: Flush) -> None:
    moment = _at(SOON_SECONDS)
    created = await _create(wire, task, "note", expiresAt=moment)
    kept = await _create(wire, task, "note")
    assert kept["id"] == created["id"]
    assert "expiresAt" not in kept
    await _until(moment)
    assert await _keys(wire, task) == ["note"]
    await flush()
    assert await _keys(wire, task) == ["note"]
    assert "expiresAt" not in await wire.call("task.get_attachment", {"taskId": task, "key": "note"})


async def test_an_overwrite_can_put_it_off(wire: Wire, task: str) -> None:
    first = _at(SOON_SECONDS)
    await _create(wire, task, "note", expiresAt=first)
    await _create(wire, task, "note", expiresAt=LATER)
    await _until(first)
    assert await _keys(wire, task) == ["note"]
    assert (await wire.call("task.get_attachment", {"taskId": task, "key": "note"}))["expiresAt"] == LATER


async def test_lists_are_whole_around_what_is_gone(wire: Wire, task: str) -> None:
    keys = [f"{letter}-{number}" for number in range(6) for letter in "ab"]
    for key in keys:
        await _create(wire, task, key)
    keys = await _keys(wire, task)  # those of one millisecond are in the order of their keys
    moment, gone = _at(SOON_SECONDS), {"a-0", "a-2", "b-2", "b-5"}
    for key in gone:
        await _create(wire, task, key, expiresAt=moment)
    await _until(moment)
    left = [key for key in keys if key not in gone]
    assert await _keys(wire, task) == left
    assert await _keys(wire, task, order="desc") == left[::-1]
    assert await _keys(wire, task, type="text") == left
    assert await _keys(wire, task, type="json") == []
    assert await _keys(wire, task, keyPrefix="a-") == [key for key in left if key.startswith("a")]
    pages = [await _keys(wire, task, limit=3, offset=offset) for offset in range(0, 9, 3)]
    assert pages == [left[:3], left[3:6], left[6:]]


async def test_then_it_is_deleted_from_both_stores(
    wire: Wire, task: str, redis: Redis, postgres: asyncpg.Connection
) -> None:
    created = await _create(wire, task, "goes", ttlSeconds=1)
    column = "SELECT {} FROM task_attachments WHERE task_id = $1 AND key = 'goes'"
    async with asyncio.timeout(10):
        while (deleted_at := await postgres.fetchval(column.format("deleted_at"), task)) is None:
            await asyncio.sleep(0.05)
    assert deleted_at >= datetime.fromisoformat(created["expiresAt"])
    assert await postgres.fetchval(column.format("content"), task) is None
    async with asyncio.timeout(5):
        while await redis.hexists(f"cb:task:{task}:attachment:goes", "content"):
            await asyncio.sleep(0.05)


async def test_its_end_is_told_to_watchers(watcher: Watcher, grpc_wire: Wire, task: str) -> None:
    async with watcher.watch(taskId=task) as watch:
        created = await _create(grpc_wire, task, "goes", expiresAt=_at(SOON_SECONDS))
        assert (await watch.next())["type"] == "created"
        event = await watch.next()
    assert (event["type"], event["attachmentId"], event["writtenBy"]) == ("deleted", created["id"], "expiry")


async def test_whoever_writes_over_it_first_ends_it_first(watcher: Watcher, grpc_wire: Wire, task: str) -> None:
    moment = _at(SOON_SECONDS)
    async with watcher.watch(taskId=task) as watch:
        await _create(grpc_wire, task, "goes", expiresAt=moment)
        await _until(moment)
        await _create(grpc_wire, task, "goes")
        events = [(await watch.next())["type"] for _ in range(3)]
    assert events == ["created", "deleted", "created"]


async def test_a_result_that_has_expired_gives_way_to_a_new_one(wire: Wire, task: str) -> None:
    moment = _at(SOON_SECONDS)
    old = await _create(wire, task, "result", expiresAt=moment)
    await _until(moment)
    await wire.call("task.complete", {"id": task, "result": {"done": True}})
    result = await wire.call("task.get_attachment", {"taskId": task, "key": "result"})
    assert result["id"] != old["id"]
    assert "expiresAt" not in result


async def test_batches_have_it_for_each(wire: Wire, task: str) -> None:
    item = {"taskId": task, "type": "text", "content": "x"}
    requests = [{**item, "key": "goes", "ttlSeconds": 5}, {**item, "key": "stays"}]
    results = (await wire.call("task.create_attachments_batch", {"requests": requests}))["results"]
    assert ["expiresAt" in one for one in results] == [True, False]


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"ttlSeconds": 0}, "ttlSeconds"),
        ({"ttlSeconds": 315_360_001}, "ttlSeconds"),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt"),
    ],
)
async def test_what_makes_no_sense_is_refused(wire: Wire, task: str, bad: dict[str, object], field: str) -> None:
    with pytest.raises(CallError) as caught:
        await _create(wire, task, "note", **bad)
    assert (caught.value.code, caught.value.fields) == (INVALID_PARAMS, [field])
    assert await _keys(wire, task) == []


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"expiresAt": "tomorrow"}, "expiresAt"),
        ({"expiresAt": "2999-01-01T00:00:00"}, "expiresAt"),
        ({"expiresAt": 5}, "expiresAt"),
        ({"ttlSeconds": 1.5}, "ttlSeconds"),
        ({"ttlSeconds": 5, "expiresAt": LATER}, "ttlSeconds"),
    ],
)
async def test_what_is_no_time_is_refused(jsonrpc: Wire, task: str, bad: dict[str, object], field: str) -> None:
    with pytest.raises(CallError) as caught:
        await _create(jsonrpc, task, "note", **bad)
    assert (caught.value.code, caught.value.fields) == (INVALID_PARAMS, [field])
