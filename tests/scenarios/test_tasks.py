"""The task registry (design/contract.md, "Tasks")."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

from tests.harness.json_text import members
from tests.harness.samples import SAMPLES, TASK_ID, TIME, create, get, page
from tests.harness.service import INSTANCE
from tests.harness.stores import Flush, keys_of
from tests.harness.wire import CallError, RawJson, Wire

ODD = RawJson('{"b": 1.0,  "a":9007199254740993, "nested": {"x": [1e2, -0.0]}, "\\u00e9": "\\u0000"}')


async def test_a_task_gets_an_id_and_defaults(wire: Wire) -> None:
    created = await wire.call("task.create", {"text": "Say hello"}, instance="instance-1")
    task, created_at = created.pop("id"), created.pop("createdAt")
    assert TASK_ID.fullmatch(task)
    assert TIME.fullmatch(created_at)
    assert created == {"text": "Say hello", "status": "pending", "priority": 50, "metadata": "{}"}
    assert await wire.call("task.get", {"id": task}) == {
        "id": task,
        **created,
        "createdBy": "instance-1",
        "createdAt": created_at,
        "updatedAt": created_at,
        "attachmentCount": 0,
    }


@pytest.mark.parametrize(("priority", "text"), [(0, "x"), (100, "🧪" * 500)])
async def test_a_task_may_live_elsewhere_and_bring_its_id(
    wire: Wire, absent_task: str, flush: Flush, priority: int, text: str
) -> None:
    given = {"id": absent_task, "text": text, "priority": priority, "metadata": ODD}
    created = await wire.call("task.create", given)
    assert {name: created[name] for name in given} == given
    for _ in range(2):
        stored = await wire.call("task.get", {"id": absent_task})
        assert {name: stored[name] for name in given} == given
        assert stored["createdBy"] == INSTANCE
        await flush()


async def test_a_task_counts_its_attachments(wire: Wire, task: str, flush: Flush) -> None:
    for key, content in SAMPLES.items():
        await create(wire, task, key, content)
    await create(wire, task, "text")
    await wire.call("task.delete_attachment", {"taskId": task, "key": "json"})
    for _ in range(2):
        assert (await wire.call("task.get", {"id": task}))["attachmentCount"] == len(SAMPLES) - 1
        await flush()


async def test_an_update_changes_what_it_names_and_nothing_else(wire: Wire, flush: Flush) -> None:
    task = (await wire.call("task.create", {"text": "one", "priority": 7, "metadata": ODD}))["id"]
    before = await wire.call("task.get", {"id": task})
    steps: list[dict[str, Any]] = [{"text": "two"}, {"status": "in_progress"}, {"priority": 0}, {"status": "failed"}]
    for updates in steps:
        await asyncio.sleep(0.003)
        answer = await wire.call("task.update", {"id": task, "updates": updates})
        after = await wire.call("task.get", {"id": task})
        assert answer == {name: after[name] for name in ("id", "text", "status", "priority", "createdAt", "updatedAt")}
        assert after == {**before, **updates, "updatedAt": answer["updatedAt"]}
        assert after["updatedAt"] > before["updatedAt"]
        before = after
    await flush()
    assert await wire.call("task.get", {"id": task}) == before


async def test_metadata_is_merged_member_by_member_keeping_their_text(wire: Wire, flush: Flush) -> None:
    task = (await wire.call("task.create", {"text": "x", "metadata": ODD}))["id"]
    update = RawJson('{"nested": 1E400, "new": {"z":1, "a": 2.50}}')
    await wire.call("task.update", {"id": task, "updates": {"metadata": update}})
    wanted = {"b": "1.0", "a": "9007199254740993", "nested": "1E400", "é": '"\\u0000"', "new": '{"z":1, "a": 2.50}'}
    for _ in range(2):
        merged = members((await wire.call("task.get", {"id": task}))["metadata"])
        assert merged == wanted
        assert list(merged) == list(wanted)
        await flush()


async def test_concurrent_updates_are_all_kept(wire: Wire) -> None:
    task = (await wire.call("task.create", {"text": "x"}))["id"]
    merges = ({"id": task, "updates": {"metadata": {f"m{n}": n}}} for n in range(20))
    await asyncio.gather(*(wire.call("task.update", merge) for merge in merges))
    merged = members((await wire.call("task.get", {"id": task}))["metadata"])
    assert merged == {f"m{n}": str(n) for n in range(20)}


@pytest.mark.parametrize("name", ["id", "taskId"])
async def test_completing_stores_the_result_as_an_attachment(wire: Wire, task: str, flush: Flush, name: str) -> None:
    result = RawJson('{"ok": true, "took": 1.50, "rows": 12345678901234567890}')
    params = {name: task, "workerId": "worker 🧪", "result": result}
    answer = await wire.call("task.complete", params, instance="instance-1")
    assert answer.keys() == {"id", "status", "completedAt"}
    assert (answer["id"], answer["status"]) == (task, "completed")
    assert TIME.fullmatch(answer["completedAt"])
    for _ in range(2):
        done = await wire.call("task.get", {"id": task})
        assert (done["status"], done["assignedTo"], done["attachmentCount"]) == ("completed", "worker 🧪", 1)
        assert done["completedAt"] == answer["completedAt"]
        stored = await get(wire, task, "result")
        assert (stored["type"], stored["value"], stored["createdBy"]) == ("json", result, "instance-1")
        await flush()


async def test_a_result_of_null_is_a_result(wire: Wire, task: str) -> None:
    await wire.call("task.complete", {"id": task, "result": RawJson("null")})
    assert (await get(wire, task, "result"))["value"] == "null"


async def test_completing_without_a_result_stores_none(wire: Wire, task: str) -> None:
    await wire.call("task.complete", {"id": task})
    done = await wire.call("task.get", {"id": task})
    assert (done["status"], done["attachmentCount"]) == ("completed", 0)
    assert "assignedTo" not in done


async def test_deleting_a_task_takes_its_attachments_with_it_in_both_stores(
    wire: Wire, task: str, redis: Redis, postgres: asyncpg.Connection, flush: Flush
) -> None:
    for key, content in SAMPLES.items():
        await create(wire, task, key, content)
    await page(wire, task)
    answer = await wire.call("task.delete", {"id": task})
    assert TIME.fullmatch(answer.pop("deletedAt"))
    assert answer == {"id": task, "deleted": True}

    for call in ("task.get", "task.delete"):
        with pytest.raises(CallError) as refused:
            await wire.call(call, {"id": task})
        assert refused.value.reason == "TASK_NOT_FOUND"
    for key in await keys_of(redis, task):
        if await redis.type(key) == "hash":
            assert (await redis.hgetall(key)).keys() == {"deleted", "revision"}, key
    rows = await postgres.fetch("SELECT * FROM task_attachments WHERE task_id = $1", task)
    erased = ("value", "content", "url", "mime_type", "size")
    assert {row[column] for row in rows for column in erased} <= {None}

    # The id is free again, and nothing of the old task is left under it.
    await wire.call("task.create", {"id": task, "text": "again"})
    for _ in range(2):
        assert await page(wire, task) == {"attachments": [], "totalCount": 0, "hasMore": False}
        assert (await wire.call("task.get", {"id": task}))["attachmentCount"] == 0
        with pytest.raises(CallError) as refused:
            await get(wire, task, "json")
        assert refused.value.reason == "ATTACHMENT_NOT_FOUND"
        await flush()


async def _worked(wire: Wire, worker: str, *tasks: dict[str, Any]) -> list[str]:
    """Create tasks, assign them to a worker of this test alone, and give them a status."""
    ids = []
    for task in tasks:
        made = {name: value for name, value in task.items() if name != "status"}
        ids.append((await wire.call("task.create", {"text": "listed", **made}))["id"])
        await wire.call("task.complete", {"id": ids[-1], "workerId": worker})
        await wire.call("task.update", {"id": ids[-1], "updates": {"status": task.get("status", "completed")}})
        await asyncio.sleep(0.003)
    return ids


async def test_tasks_are_listed_in_every_order_and_both_directions(wire: Wire) -> None:
    worker = f"w-{secrets.token_hex(4)}"
    c, f, p, i = await _worked(
        wire,
        worker,
        {"priority": 20, "status": "completed"},
        {"priority": 40, "status": "failed"},
        {"priority": 10, "status": "pending"},
        {"priority": 30, "status": "in_progress"},
    )
    await wire.call("task.update", {"id": f, "updates": {"text": "touched"}})
    ascending = {
        "createdAt": [c, f, p, i],
        "updatedAt": [c, p, i, f],
        "priority": [p, c, i, f],
        "status": [c, f, i, p],
    }
    for order_by, wanted in ascending.items():
        for order, ids in (("asc", wanted), ("desc", wanted[::-1])):
            params = {"assignedTo": worker, "orderBy": order_by, "order": order}
            assert [task["id"] for task in (await wire.call("task.list", params))["tasks"]] == ids, params
    listed = await wire.call("task.list", {"assignedTo": worker})
    assert listed["tasks"] == [await wire.call("task.get", {"id": task}) for task in (i, p, f, c)]
    assert (listed["totalCount"], listed["hasMore"]) == (4, False)


async def test_tasks_are_filtered_by_status_worker_and_priority(wire: Wire) -> None:
    worker = f"w-{secrets.token_hex(4)}"
    a, b, c = await _worked(
        wire,
        worker,
        {"priority": 1, "status": "failed"},
        {"priority": 2, "status": "failed"},
        {"priority": 2, "status": "pending"},
    )
    filters: list[tuple[dict[str, Any], list[str]]] = [
        ({"status": "failed"}, [a, b]),
        ({"priority": 2}, [b, c]),
        ({"status": "failed", "priority": 2}, [b]),
        ({"status": "in_progress"}, []),
    ]
    for chosen, wanted in filters:
        listed = await wire.call("task.list", {"assignedTo": worker, "order": "asc", **chosen})
        assert [task["id"] for task in listed["tasks"]] == wanted
        assert (listed["totalCount"], listed["hasMore"]) == (len(wanted), False)


async def test_pages_of_equal_tasks_together_are_the_whole(wire: Wire) -> None:
    worker = f"w-{secrets.token_hex(4)}"
    ids = await _worked(wire, worker, *[{"priority": 5}] * 7)
    for order in ("asc", "desc"):
        found: list[str] = []
        for offset in (0, 3, 6):
            params = {"assignedTo": worker, "orderBy": "priority", "order": order, "limit": 3, "offset": offset}
            listed = await wire.call("task.list", params)
            found += [task["id"] for task in listed["tasks"]]
            assert (listed["totalCount"], listed["hasMore"]) == (7, offset < 6)
        assert sorted(found) == sorted(ids)
