"""Batch get: order, duplicates, limits, one missing (design/contract.md, "Wires")."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from tests.harness.samples import SAMPLES, batch, create, get, text
from tests.harness.stores import Flush
from tests.harness.wire import CallError, Wire


async def test_answers_come_in_the_order_of_the_request(wire: Wire, task: str) -> None:
    for key, content in SAMPLES.items():
        await create(wire, task, key, content)
    wanted = ["url", "json", "binary", "text", "markdown"]
    answer = await batch(wire, *((task, key) for key in wanted))
    assert answer == [await get(wire, task, key) for key in wanted]


async def test_one_named_twice_is_answered_twice(wire: Wire, task: str) -> None:
    await create(wire, task, "a")
    await create(wire, task, "b")
    answer = await batch(wire, (task, "b"), (task, "a"), (task, "b"))
    assert [attachment["key"] for attachment in answer] == ["b", "a", "b"]


async def test_a_batch_may_span_tasks(wire: Wire, task: str) -> None:
    other = f"t-{secrets.token_hex(8)}"
    await wire.call("task.create", {"id": other, "text": "another"})
    await create(wire, task, "same", text("mine"))
    await create(wire, other, "same", text("its"))
    answer = await batch(wire, (other, "same"), (task, "same"))
    assert [(attachment["taskId"], attachment["content"]) for attachment in answer] == [(other, "its"), (task, "mine")]


@pytest.mark.parametrize("cold", [False, True], ids=["warm", "cold"])
async def test_one_missing_fails_the_whole_call(wire: Wire, task: str, flush: Flush, cold: bool) -> None:  # noqa: FBT001 - a parameter of the test
    await create(wire, task, "there")
    if cold:
        await flush()
    with pytest.raises(CallError) as refused:
        await batch(wire, (task, "there"), (task, "missing"), (task, "missing too"))
    assert refused.value.message == f"Attachment not found: {task}/missing"
    assert refused.value.data == {"taskId": task, "key": "missing", "reason": "ATTACHMENT_NOT_FOUND"}


async def test_100_are_answered_in_one_call(wire: Wire, task: str, flush: Flush) -> None:
    refs = [(task, f"k{n}") for n in range(100)]
    await asyncio.gather(*(create(wire, task, key, text(key)) for _, key in refs))
    backwards = refs[::-1]
    warm = await batch(wire, *backwards)
    assert [attachment["content"] for attachment in warm] == [key for _, key in backwards]
    await flush()
    assert await batch(wire, *backwards) == warm


@pytest.mark.parametrize("count", [0, 101])
async def test_a_batch_names_1_to_100(wire: Wire, task: str, count: int) -> None:
    await create(wire, task, "k")
    with pytest.raises(CallError) as refused:
        await batch(wire, *[(task, "k")] * count)
    assert (refused.value.reason, refused.value.fields) == ("INVALID_PARAMS", ["requests"])


async def test_a_bad_name_in_a_batch_is_pointed_at(wire: Wire, task: str) -> None:
    with pytest.raises(CallError) as refused:
        await batch(wire, (task, "k"), (task, "k"), (task, "k"), (task, "k" * 101))
    assert refused.value.fields == ["requests[3].key"]
    with pytest.raises(CallError) as refused:
        await batch(wire, ("t:1", "k"))
    assert refused.value.fields == ["requests[0].taskId"]
