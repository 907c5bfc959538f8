"""Both stores read like the answers (design/storage.md, "Names in Redis")."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

from tests.harness.samples import SAMPLES, create, delete, get, page
from tests.harness.stores import keys_of
from tests.harness.wire import Wire

COLUMNS = {
    "task_id": "taskId",
    "key": "key",
    "id": "id",
    "type": "type",
    "value": "value",
    "content": "content",
    "url": "url",
    "mime_type": "mimeType",
    "size": "size",
    "created_by": "createdBy",
    "created_at": "createdAt",
    "updated_at": "updatedAt",
}
# Beyond the answers: what a page would weigh, told without reading it, and who wrote last, for the event.
BOOKKEEPING = ("content_bytes", "expires_at", "updated_by", "previous_revision", "overwrites")


@pytest.mark.parametrize("type_", SAMPLES)
async def test_a_redis_hash_reads_like_the_answer(wire: Wire, task: str, redis: Redis, type_: str) -> None:
    await create(wire, task, "analysis", SAMPLES[type_], instance="instance-1")
    answer = await get(wire, task, "analysis")
    stored = await redis.hgetall(f"cb:task:{task}:attachment:analysis")
    assert int(stored.pop("revision")) > 0
    assert stored == {name: str(value) for name, value in answer.items()}


async def test_an_overwrite_of_another_type_leaves_no_field_behind(wire: Wire, task: str, redis: Redis) -> None:
    for type_ in ("binary", "url", "text", "json", "markdown", "binary"):
        await create(wire, task, "k", SAMPLES[type_])
        stored = await redis.hgetall(f"cb:task:{task}:attachment:k")
        common = {"id", "taskId", "key", "createdBy", "createdAt", "updatedAt", "revision"}
        assert stored.keys() == common | SAMPLES[type_].keys()


async def test_the_hash_of_a_task_reads_like_the_answer(wire: Wire, redis: Redis) -> None:
    made = await wire.call("task.create", {"text": "look at me", "metadata": {"a": 1}}, instance="instance-1")
    answer = await wire.call("task.get", {"id": made["id"]})
    stored = await redis.hgetall(f"cb:task:{made['id']}")
    count = answer.pop("attachmentCount")
    assert count == 0
    assert {name: stored[name] for name in answer} == {name: str(value) for name, value in answer.items()}


async def test_settled_entries_live_an_hour(wire: Wire, task: str, redis: Redis) -> None:
    await create(wire, task, "k")
    await get(wire, task, "k")
    await page(wire, task)
    held = await keys_of(redis, task)
    assert f"cb:task:{task}:attachment:k" in held
    for key in held:
        assert 3500 < await redis.ttl(key) <= 3600, key


async def test_indexes_hold_the_key_by_its_creation(wire: Wire, task: str, redis: Redis) -> None:
    created = await create(wire, task, "k", SAMPLES["json"])
    await page(wire, task)
    await page(wire, task, type="json")
    score = datetime.fromisoformat(created["createdAt"]).timestamp() * 1000
    for index in ("attachments", "attachments:json"):
        scored: Any = await redis.zrange(f"cb:task:{task}:{index}", 0, -1, withscores=True)
        members = dict(scored)
        assert members.pop("") == float("-inf")
        assert members == {"k": pytest.approx(score, abs=0.5)}


@pytest.mark.parametrize("type_", SAMPLES)
async def test_a_row_reads_like_the_answer(wire: Wire, task: str, postgres: asyncpg.Connection, type_: str) -> None:
    await create(wire, task, "analysis", SAMPLES[type_], instance="instance-1")
    answer = await get(wire, task, "analysis")
    row = await _row(postgres, task, "analysis")
    assert row.pop("revision") > 0
    assert row.pop("deleted_at") is None
    for column in BOOKKEEPING:
        row.pop(column)
    assert {COLUMNS[column]: _printed(value) for column, value in row.items() if value is not None} == answer


async def test_the_table_has_the_columns_of_the_design(postgres: asyncpg.Connection) -> None:
    rows = await postgres.fetch(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'task_attachments'"
    )
    columns = {row["column_name"]: row["data_type"] for row in rows}
    assert columns.keys() == {*COLUMNS, "revision", "deleted_at", *BOOKKEEPING}
    assert columns["value"] == "json"


async def test_a_settled_delete_erases_the_content_in_both_stores(
    wire: Wire, task: str, redis: Redis, postgres: asyncpg.Connection
) -> None:
    for key, content in SAMPLES.items():
        await create(wire, task, key, content)
        await delete(wire, task, key)
        row = await _row(postgres, task, key)
        assert row["deleted_at"] is not None
        assert row["revision"] > 0
        assert {row[column] for column in ("value", "content", "url", "mime_type", "size")} == {None}
        tombstone = await redis.hgetall(f"cb:task:{task}:attachment:{key}")
        assert tombstone.keys() == {"deleted", "revision"}
        assert 0 < await redis.ttl(f"cb:task:{task}:attachment:{key}") <= 60


async def test_a_settled_write_leaves_no_intent(wire: Wire, task: str, redis: Redis) -> None:
    await create(wire, task, "k")
    await create(wire, task, "gone")
    await delete(wire, task, "gone")
    intents: Any = await redis.zrange("cb:intents", 0, -1)
    assert [member for member in intents if member.startswith(f"{task}:")] == []
    assert not await redis.exists(f"cb:task:{task}:pending")


async def _row(postgres: asyncpg.Connection, task: str, key: str) -> dict[str, Any]:
    found = await postgres.fetch("SELECT * FROM task_attachments WHERE task_id = $1 AND key = $2", task, key)
    assert len(found) == 1
    return dict(found[0])


def _printed(value: Any) -> Any:
    if isinstance(value, datetime):
        text = value.isoformat(timespec="milliseconds" if value.microsecond else "seconds")
        return text.replace("+00:00", "Z")
    return value
