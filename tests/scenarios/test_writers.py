"""The writers of a task: whom its creator names beside itself."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from tests.harness.grpc_wire import GrpcWire
from tests.harness.stores import Flush
from tests.harness.wire import INVALID_PARAMS, CallError, Wire


async def _writers(wire: Wire, task: str) -> list[str] | None:
    found: list[str] | None = (await wire.call("task.get", {"id": task})).get("writers")
    return found


async def _made(wire: Wire, *writers: str) -> str:
    task: str = (await wire.call("task.create", {"text": "a task", "writers": list(writers)}))["id"]
    return task


async def test_they_are_kept_in_the_order_given_in_both_stores(wire: Wire, redis: Redis, flush: Flush) -> None:
    names = ["instance-2", "größer", 'quoted "one"', "instance-1"]
    task = await _made(wire, *names)
    assert await _writers(wire, task) == names
    assert await redis.hget(f"cb:task:{task}", "writers") == '["instance-2","größer","quoted \\"one\\"","instance-1"]'
    listed = await wire.call("task.list", {"limit": 1})
    assert (listed["tasks"][0]["id"], listed["tasks"][0]["writers"]) == (task, names)
    await flush()
    assert await _writers(wire, task) == names


async def test_an_update_puts_others_in_their_place(wire: Wire, flush: Flush) -> None:
    task = await _made(wire, "instance-1")
    for update, expected in (
        ({"priority": 7}, ["instance-1"]),
        ({"writers": ["instance-2", "instance-3"]}, ["instance-2", "instance-3"]),
        ({"text": "still", "writers": ["instance-4"]}, ["instance-4"]),
        ({"writers": []}, None),
    ):
        await wire.call("task.update", {"id": task, "updates": update})
        assert await _writers(wire, task) == expected
        await flush()
        assert await _writers(wire, task) == expected


async def test_a_completion_leaves_them(wire: Wire) -> None:
    task = await _made(wire, "instance-1")
    await wire.call("task.complete", {"id": task})
    assert await _writers(wire, task) == ["instance-1"]


async def test_they_go_with_their_task(wire: Wire, flush: Flush) -> None:
    task = await _made(wire, "instance-1")
    await wire.call("task.delete", {"id": task})
    await wire.call("task.create", {"id": task, "text": "once more"})
    assert await _writers(wire, task) is None
    await flush()
    assert await _writers(wire, task) is None


async def test_where_nobody_is_asked_they_permit_nothing(wire: Wire) -> None:
    task = await _made(wire, "instance-1")
    for instance in (None, "instance-2"):
        params = {"taskId": task, "key": "k", "type": "text", "content": "c"}
        await wire.call("task.create_attachment", params, instance=instance)
        await wire.call("task.update", {"id": task, "updates": {"writers": []}}, instance=instance)


@pytest.mark.parametrize(
    ("writers", "field", "why"),
    [
        ([""], "writers[0]", "must be 1 to 128 characters, not 0"),
        (["a", "b" * 129], "writers[1]", "must be 1 to 128 characters, not 129"),
        (["a", "b", "a"], "writers[2]", "must not be named twice"),
        (["a\n"], "writers[0]", "must not contain control characters"),
        ([f"i-{number}" for number in range(101)], "writers", "must have at most 100 items, not 101"),
    ],
)
async def test_what_no_list_of_writers_is(wire: Wire, task: str, writers: list[str], field: str, why: str) -> None:
    calls: dict[str, dict[str, Any]] = {
        "task.create": {"text": "a task", "writers": writers},
        "task.update": {"id": task, "updates": {"writers": writers}},
    }
    for (method, params), prefix in zip(calls.items(), ("", "updates."), strict=True):
        with pytest.raises(CallError) as caught:
            await wire.call(method, params)
        assert caught.value.code == INVALID_PARAMS
        assert caught.value.data["violations"] == [{"field": prefix + field, "description": why}]


async def test_a_hundred_writers(wire: Wire, grpc_wire: GrpcWire) -> None:
    names = [f"{number:0128}" for number in range(100)]
    assert await _writers(grpc_wire, await _made(wire, *names)) == names


@pytest.mark.parametrize(
    ("writers", "violation"), [("a", "writers"), (["a", 7, None], "writers[1]"), (None, "writers")]
)
async def test_over_json_rpc_it_is_an_array_of_strings(jsonrpc: Wire, writers: object, violation: str) -> None:
    with pytest.raises(CallError) as caught:
        await jsonrpc.call("task.create", {"text": "a task", "writers": writers})
    assert caught.value.fields[0] == violation
