"""Writes that happen only if what is there is what the caller has seen."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.harness.wire import CONFLICT, INVALID_PARAMS, CallError, RawJson, Wire

NOBODY_HAS = 1


async def _create(wire: Wire, task: str, content: str, **more: object) -> int:
    params = {"taskId": task, "key": "note", "type": "text", "content": content, "withRevision": True}
    created = await wire.call("task.create_attachment", {**params, **more})
    revision: int = created["revision"]
    return revision


async def _content(wire: Wire, task: str) -> str:
    found = await wire.call("task.get_attachment", {"taskId": task, "key": "note"})
    content: str = found["content"]
    return content


async def test_a_revision_that_is_there_lets_the_write_happen(wire: Wire, task: str) -> None:
    first = await _create(wire, task, "1")
    second = await _create(wire, task, "2", ifRevision=first)
    assert second > first
    assert await _content(wire, task) == "2"


async def test_another_revision_keeps_the_write_from_happening(wire: Wire, task: str) -> None:
    first = await _create(wire, task, "1")
    second = await _create(wire, task, "2")
    with pytest.raises(CallError) as caught:
        await _create(wire, task, "3", ifRevision=first)
    assert (caught.value.code, caught.value.reason) == (CONFLICT, "CONFLICT")
    assert caught.value.data == {
        "taskId": task,
        "key": "note",
        "currentRevision": second,
        "reason": "CONFLICT",
    }
    assert await _content(wire, task) == "2"


async def test_a_revision_of_nothing_keeps_the_write_from_happening(wire: Wire, task: str) -> None:
    with pytest.raises(CallError) as caught:
        await _create(wire, task, "1", ifRevision=NOBODY_HAS)
    assert (caught.value.code, caught.value.data["currentRevision"]) == (CONFLICT, 0)
    listed = await wire.call("task.list_attachments", {"taskId": task})
    assert listed["totalCount"] == 0


async def test_only_one_of_many_creates_what_is_absent(wire: Wire, task: str) -> None:
    done = await asyncio.gather(
        *(_create(wire, task, str(number), ifAbsent=True) for number in range(10)), return_exceptions=True
    )
    winners = [number for number, one in enumerate(done) if isinstance(one, int)]
    losers = [one for one in done if isinstance(one, CallError)]
    assert (len(winners), len(losers)) == (1, 9)
    assert {one.data["currentRevision"] for one in losers} == {done[winners[0]]}
    assert await _content(wire, task) == str(winners[0])


async def test_what_was_deleted_is_absent(wire: Wire, task: str) -> None:
    gone = await _create(wire, task, "1", ifAbsent=True)
    await wire.call("task.delete_attachment", {"taskId": task, "key": "note", "ifRevision": gone})
    with pytest.raises(CallError) as caught:
        await _create(wire, task, "2", ifRevision=gone)
    assert caught.value.data["currentRevision"] == 0
    await _create(wire, task, "3", ifAbsent=True)
    assert await _content(wire, task) == "3"


async def test_a_deletion_may_have_a_condition(wire: Wire, task: str) -> None:
    first = await _create(wire, task, "1")
    second = await _create(wire, task, "2")
    delete = {"taskId": task, "key": "note", "withRevision": True}
    with pytest.raises(CallError) as caught:
        await wire.call("task.delete_attachment", {**delete, "ifRevision": first})
    assert (caught.value.code, caught.value.data["currentRevision"]) == (CONFLICT, second)
    assert await _content(wire, task) == "2"
    deleted = await wire.call("task.delete_attachment", {**delete, "ifRevision": second})
    assert deleted["revision"] > second
    with pytest.raises(CallError) as caught:
        await wire.call("task.delete_attachment", {**delete, "ifRevision": second})
    assert caught.value.reason == "ATTACHMENT_NOT_FOUND"


async def test_ten_writers_of_one_counter_lose_no_increment(wire: Wire, task: str) -> None:
    counter = {"taskId": task, "key": "counter"}
    create = {**counter, "type": "json", "withRevision": True}
    await wire.call("task.create_attachment", {**create, "value": RawJson("0")})

    async def increment() -> None:
        while True:
            held = await wire.call("task.get_attachment", {**counter, "withRevision": True})
            value = RawJson(str(json.loads(held["value"]) + 1))
            try:
                await wire.call("task.create_attachment", {**create, "value": value, "ifRevision": held["revision"]})
            except CallError as error:
                assert error.code == CONFLICT  # noqa: PT017 - whichever writer it is, this is all that may happen
            else:
                return

    async def increment_often() -> None:
        for _ in range(10):
            await increment()

    await asyncio.gather(*(increment_often() for _ in range(10)))
    assert (await wire.call("task.get_attachment", counter))["value"] == "100"


async def test_revisions_are_told_to_those_who_ask(wire: Wire, task: str) -> None:
    revision = await _create(wire, task, "1")
    ref = {"taskId": task, "key": "note"}
    assert (await wire.call("task.get_attachment", {**ref, "withRevision": True}))["revision"] == revision
    listed = await wire.call("task.list_attachments", {"taskId": task, "withRevision": True})
    assert [one["revision"] for one in listed["attachments"]] == [revision]
    batch = await wire.call("task.get_attachments_batch", {"requests": [ref], "withRevision": True})
    assert [one["revision"] for one in batch["attachments"]] == [revision]
    assert "revision" not in await wire.call("task.get_attachment", {**ref, "withRevision": False})


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"ifRevision": 0}, "ifRevision"),
        ({"ifRevision": -1}, "ifRevision"),
        ({"ifRevision": 1, "ifAbsent": True}, "ifAbsent"),
    ],
)
async def test_conditions_that_make_no_sense_are_refused(
    wire: Wire, task: str, bad: dict[str, object], field: str
) -> None:
    with pytest.raises(CallError) as caught:
        await _create(wire, task, "1", **bad)
    assert (caught.value.code, caught.value.fields) == (INVALID_PARAMS, [field])
