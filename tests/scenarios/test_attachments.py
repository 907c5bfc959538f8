"""Create, get, overwrite and delete, one attachment at a time (design/contract.md, "Attachments")."""

from __future__ import annotations

import asyncio

import pytest

from tests.harness.samples import ATTACHMENT_ID, SAMPLES, TIME, create, delete, get, json_value, keys, page, text
from tests.harness.service import INSTANCE
from tests.harness.wire import CallError, Wire

SCALARS = ["0", "-0", "1.0", "false", "true", '""', "[]", "null", "{}", '"text"', "12345678901234567890"]


@pytest.mark.parametrize("type_", SAMPLES)
async def test_every_type_comes_back_as_it_was_stored(wire: Wire, task: str, type_: str) -> None:
    created = await create(wire, task, "analysis", SAMPLES[type_], instance="instance-1")
    assert created.keys() == {"id", "taskId", "key", "type", "createdAt"}
    assert (created["taskId"], created["key"], created["type"]) == (task, "analysis", type_)
    assert ATTACHMENT_ID.fullmatch(created["id"])
    assert TIME.fullmatch(created["createdAt"])

    assert await get(wire, task, "analysis") == {
        **created,
        **SAMPLES[type_],
        "createdBy": "instance-1",
        "updatedAt": created["createdAt"],
    }


@pytest.mark.parametrize("value", SCALARS)
async def test_every_json_value_is_storable(wire: Wire, task: str, value: str) -> None:
    await create(wire, task, "scalar", json_value(value))
    assert (await get(wire, task, "scalar"))["value"] == value


@pytest.mark.parametrize("type_", ["text", "markdown"])
async def test_empty_content_is_content(wire: Wire, task: str, type_: str) -> None:
    await create(wire, task, "empty", {"type": type_, "content": ""})
    assert (await get(wire, task, "empty"))["content"] == ""


async def test_binary_without_size_has_no_size(wire: Wire, task: str) -> None:
    await create(wire, task, "report", {"type": "binary", "mimeType": "text/plain; charset=utf-8"})
    report = await get(wire, task, "report")
    assert report["mimeType"] == "text/plain; charset=utf-8"
    assert report.keys().isdisjoint({"size", "value", "content", "url"})


async def test_the_largest_size_is_exact(wire: Wire, task: str) -> None:
    await create(wire, task, "huge", {"type": "binary", "mimeType": "application/x-tar", "size": 2**63 - 1})
    assert (await get(wire, task, "huge"))["size"] == 2**63 - 1


async def test_an_overwrite_keeps_id_creation_and_creator_and_moves_updated_at(wire: Wire, task: str) -> None:
    first = await create(wire, task, "notes", text("one"), instance="instance-1")
    await asyncio.sleep(0.005)
    second = await create(wire, task, "notes", text("two"), instance="instance-2")
    assert second == first

    notes = await get(wire, task, "notes")
    assert (notes["id"], notes["createdAt"], notes["createdBy"]) == (first["id"], first["createdAt"], "instance-1")
    assert notes["content"] == "two"
    assert notes["updatedAt"] > notes["createdAt"]


async def test_an_overwrite_may_change_the_type_and_the_filter_follows(wire: Wire, task: str) -> None:
    first = await create(wire, task, "notes", SAMPLES["json"])
    for type_ in ("markdown", "url", "binary", "text", "json"):
        changed = await create(wire, task, "notes", SAMPLES[type_])
        assert (changed["id"], changed["type"]) == (first["id"], type_)
        stored = await get(wire, task, "notes")
        assert stored.keys() == {"id", "taskId", "key", "createdBy", "createdAt", "updatedAt", *SAMPLES[type_]}
        for other in SAMPLES:
            listed = await page(wire, task, type=other)
            assert listed["totalCount"] == len(listed["attachments"]) == (1 if other == type_ else 0)
    assert (await page(wire, task))["totalCount"] == 1


async def test_the_creator_is_the_servers_instance_when_the_caller_names_none(wire: Wire, task: str) -> None:
    await create(wire, task, "notes")
    assert (await get(wire, task, "notes"))["createdBy"] == INSTANCE


async def test_a_deleted_attachment_is_gone(wire: Wire, task: str) -> None:
    created = await create(wire, task, "notes")
    await create(wire, task, "other")
    deleted = await delete(wire, task, "notes")
    assert TIME.fullmatch(deleted.pop("deletedAt"))
    assert deleted == {"id": created["id"], "taskId": task, "key": "notes", "deleted": True}

    with pytest.raises(CallError) as get_again:
        await get(wire, task, "notes")
    assert get_again.value.message == f"Attachment with key 'notes' not found for task {task}"
    with pytest.raises(CallError) as delete_again:
        await delete(wire, task, "notes")
    assert delete_again.value.message == f"Attachment 'notes' not found for task {task}"
    assert keys(await page(wire, task)) == ["other"]


async def test_creating_again_after_a_delete_gives_a_new_id(wire: Wire, task: str) -> None:
    first = await create(wire, task, "notes", text("old"), instance="instance-1")
    await delete(wire, task, "notes")
    second = await create(wire, task, "notes", text("new"), instance="instance-2")
    assert second["id"] != first["id"]
    notes = await get(wire, task, "notes")
    assert (notes["id"], notes["content"], notes["createdBy"]) == (second["id"], "new", "instance-2")
    assert (await page(wire, task))["totalCount"] == 1


async def test_concurrent_creates_of_one_key_agree_on_one_id(wire: Wire, task: str) -> None:
    answers = await asyncio.gather(*(create(wire, task, "race", text(f"writer {n}")) for n in range(30)))
    assert len({(answer["id"], answer["createdAt"]) for answer in answers}) == 1
    assert (await get(wire, task, "race"))["id"] == answers[0]["id"]
    assert (await page(wire, task))["totalCount"] == 1
