"""What callers see of tasks while PostgreSQL is away, and after it is back."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.harness.samples import TASK_ID, TIME, create, get, keys, page
from tests.harness.wire import STORAGE_ERROR, CallError, RawJson, Result, Wire
from tests.outages.conftest import Site
from tests.storage.outages import dead

_CIRCUIT_OPEN = -32001


async def eventually(call: Callable[[], Awaitable[Result]], *, pending: bool) -> Result:
    """Call until the answer is of a service that has found out whether it has PostgreSQL."""
    async with asyncio.timeout(15):
        while True:
            try:
                answer = await call()
            except CallError:
                await asyncio.sleep(0.05)
                continue
            if (answer.get("durability") == "pending") is pending:
                return answer
            await asyncio.sleep(0.05)


def new_task(wire: Wire, **fields: Any) -> Callable[[], Awaitable[Result]]:
    return lambda: wire.call("task.create", {"text": "a task", **fields})


async def test_tasks_are_written_without_postgres(wire: Wire, site: Site) -> None:
    known = (await eventually(new_task(wire), pending=False))["id"]
    await create(wire, known, "old")
    async with dead(site.postgres):
        created = await eventually(new_task(wire, priority=7, metadata=RawJson('{"a": 1.0}')), pending=True)
        task, created_at = created.pop("id"), created.pop("createdAt")
        assert TASK_ID.fullmatch(task)
        assert TIME.fullmatch(created_at)
        wanted = {"text": "a task", "status": "pending", "priority": 7, "metadata": '{"a": 1.0}'}
        assert created == {**wanted, "durability": "pending"}

        updated = await wire.call("task.update", {"id": task, "updates": {"text": "changed"}})
        assert updated.pop("durability") == "pending"
        assert updated.keys() == {"id", "text", "status", "priority", "createdAt", "updatedAt"}
        assert (await create(wire, task, "note"))["durability"] == "pending"
        completed = await wire.call("task.complete", {"id": task, "workerId": "w", "result": RawJson("1.50")})
        assert completed.keys() == {"id", "status", "completedAt", "durability"}

        seen = await wire.call("task.get", {"id": task})
        assert (seen["text"], seen["status"], seen["assignedTo"], seen["attachmentCount"]) == (
            *("changed", "completed", "w"),
            2,
        )
        assert keys(await page(wire, task)) == ["note", "result"]
        deleted = await wire.call("task.delete", {"id": known})
        assert TIME.fullmatch(deleted.pop("deletedAt"))
        assert deleted == {"id": known, "deleted": True, "durability": "pending"}
        await is_gone(wire, known, "old")
    settled = {"id": task, "updates": {"priority": 8}}
    answer = await eventually(lambda: wire.call("task.update", settled), pending=False)
    assert "durability" not in answer
    after = await wire.call("task.get", {"id": task})
    assert after == {**seen, "priority": 8, "updatedAt": answer["updatedAt"]}
    assert (await get(wire, task, "result"))["value"] == "1.50"
    await is_gone(wire, known, "old")


async def is_gone(wire: Wire, task: str, key: str) -> None:
    calls: list[tuple[str, dict[str, Any]]] = [
        ("task.get", {"id": task}),
        ("task.update", {"id": task, "updates": {"text": "x"}}),
        ("task.complete", {"id": task}),
        ("task.delete", {"id": task}),
        ("task.get_attachment", {"taskId": task, "key": key}),
        ("task.list_attachments", {"taskId": task}),
        ("task.create_attachment", {"taskId": task, "key": key, "type": "text", "content": "x"}),
    ]
    for method, params in calls:
        with pytest.raises(CallError) as refused:
            await wire.call(method, params)
        assert refused.value.reason == "TASK_NOT_FOUND", method
        assert refused.value.data["taskId"] == task


async def test_what_only_postgres_can_tell_is_an_error(wire: Wire, site: Site) -> None:
    unknown = f"t-{secrets.token_hex(8)}"
    async with dead(site.postgres):
        await eventually(new_task(wire), pending=True)
        calls: list[tuple[str, dict[str, Any]]] = [
            ("task.create", {"id": unknown, "text": "x"}),
            ("task.get", {"id": unknown}),
            ("task.update", {"id": unknown, "updates": {"text": "x"}}),
            ("task.complete", {"id": unknown, "result": 1}),
            ("task.delete", {"id": unknown}),
            ("task.list", {}),
        ]
        for method, params in calls:
            with pytest.raises(CallError) as refused:
                await wire.call(method, params)
            assert refused.value.code in {STORAGE_ERROR, _CIRCUIT_OPEN}, method
    await eventually(new_task(wire), pending=False)


async def test_nothing_is_accepted_where_that_is_the_setting(refused: Wire, site: Site) -> None:
    known = (await eventually(new_task(refused), pending=False))["id"]
    async with dead(site.postgres):
        calls: list[tuple[str, dict[str, Any]]] = [
            ("task.create", {"text": "x"}),
            ("task.update", {"id": known, "updates": {"text": "x"}}),
            ("task.complete", {"id": known, "result": 1}),
            ("task.delete", {"id": known}),
        ]
        for method, params in calls:
            with pytest.raises(CallError) as answer:
                await refused.call(method, params)
            assert answer.value.code in {STORAGE_ERROR, _CIRCUIT_OPEN}, method
    await eventually(new_task(refused), pending=False)
    seen = await refused.call("task.get", {"id": known})
    assert (seen["text"], seen["status"], seen["attachmentCount"]) == ("a task", "pending", 0)
