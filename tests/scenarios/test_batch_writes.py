"""Several writes in one call: none if one of them is no request, else each by itself."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness.wire import CONFLICT, INVALID_PARAMS, CallError, RawJson, Wire


def _text(task: str, key: str, content: str, **more: object) -> dict[str, object]:
    return {"taskId": task, "key": key, "type": "text", "content": content, **more}


async def _create(wire: Wire, *requests: dict[str, object], **more: object) -> list[Any]:
    done = await wire.call("task.create_attachments_batch", {"requests": list(requests), **more})
    assert done.keys() == {"results"}
    results: list[Any] = done["results"]
    return results


async def _keys(wire: Wire, task: str) -> list[str]:
    page = await wire.call("task.list_attachments", {"taskId": task, "limit": 100})
    return [one["key"] for one in page["attachments"]]


async def test_all_are_stored_and_answered_in_order(wire: Wire, task: str) -> None:
    kinds: list[dict[str, object]] = [
        {"taskId": task, "key": "j", "type": "json", "value": RawJson('{"a": 1.0}')},
        {"taskId": task, "key": "m", "type": "markdown", "content": "# m"},
        {"taskId": task, "key": "u", "type": "url", "url": "https://example.com/"},
        {"taskId": task, "key": "b", "type": "binary", "mimeType": "image/png", "size": 5},
    ]
    hundred = [*kinds, *(_text(task, f"t{number}", str(number)) for number in range(96))]
    results = await _create(wire, *hundred)
    assert [one["key"] for one in results] == [one["key"] for one in hundred]
    assert [one["type"] for one in results[:5]] == ["json", "markdown", "url", "binary", "text"]
    found = await wire.call("task.get_attachment", {"taskId": task, "key": "j"})
    assert (found["value"], found["id"]) == ('{"a": 1.0}', results[0]["id"])
    assert sorted(await _keys(wire, task)) == sorted(str(one["key"]) for one in hundred)


async def test_each_fails_by_itself(wire: Wire, task: str) -> None:
    (there,) = await _create(wire, _text(task, "there", "1"), withRevision=True)
    results = await _create(
        wire,
        _text(task, "new", "2"),
        _text("t-nowhere", "lost", "2"),
        _text(task, "there", "2", ifAbsent=True),
    )
    assert results[0]["key"] == "new"
    lost, conflict = results[1]["error"], results[2]["error"]
    assert (lost["code"], lost["message"]) == (INVALID_PARAMS, "Task t-nowhere not found")
    assert lost["data"] == {"taskId": "t-nowhere", "reason": "TASK_NOT_FOUND"}
    assert (conflict["code"], conflict["data"]["currentRevision"]) == (CONFLICT, there["revision"])
    assert await _keys(wire, task) == ["there", "new"]


async def test_one_that_is_no_request_refuses_all(wire: Wire, task: str) -> None:
    with pytest.raises(CallError) as caught:
        await _create(wire, _text(task, "good", "1"), _text(task, "k" * 101, "1"), _text("a b", "k", "\0"))
    assert caught.value.code == INVALID_PARAMS
    assert caught.value.fields == ["requests[1].key", "requests[2].taskId", "requests[2].content"]
    assert await _keys(wire, task) == []


@pytest.mark.parametrize("method", ["task.create_attachments_batch", "task.delete_attachments_batch"])
@pytest.mark.parametrize("count", [0, 101])
async def test_their_number_is_limited(wire: Wire, task: str, method: str, count: int) -> None:
    with pytest.raises(CallError) as caught:
        await wire.call(
            method,
            {"requests": [_text(task, f"k{at}", "") for at in range(count)]}
            if "create" in method
            else {"requests": [{"taskId": task, "key": f"k{at}"} for at in range(count)]},
        )
    assert (caught.value.code, caught.value.fields) == (INVALID_PARAMS, ["requests"])
    assert f"not {count}" in caught.value.message


@pytest.mark.parametrize("method", ["task.create_attachments_batch", "task.delete_attachments_batch"])
async def test_no_attachment_is_named_twice(wire: Wire, task: str, method: str) -> None:
    await _create(wire, _text(task, "a", "1"), _text(task, "b", "1"))
    content = {"type": "text", "content": "2"} if "create" in method else {}
    requests = [{"taskId": task, "key": key, **content} for key in ("a", "b", "a")]
    with pytest.raises(CallError) as caught:
        await wire.call(method, {"requests": requests})
    assert caught.value.fields == ["requests[2]"]
    assert await _keys(wire, task) == ["a", "b"]


async def test_several_are_deleted_each_by_itself(wire: Wire, task: str) -> None:
    first, second = await _create(wire, _text(task, "a", "1"), _text(task, "b", "1"), withRevision=True)
    requests = [
        {"taskId": task, "key": "a", "ifRevision": first["revision"]},
        {"taskId": task, "key": "b", "ifRevision": second["revision"] + 1},
        {"taskId": task, "key": "c"},
    ]
    done = await wire.call("task.delete_attachments_batch", {"requests": requests})
    gone, conflict, missing = done["results"]
    assert (gone["id"], gone["deleted"]) == (first["id"], True)
    assert conflict["error"]["data"]["currentRevision"] == second["revision"]
    assert missing["error"]["message"] == f"Attachment 'c' not found for task {task}"
    assert await _keys(wire, task) == ["b"]


async def test_missing_ones_may_be_allowed(wire: Wire, task: str) -> None:
    await _create(wire, _text(task, "a", "1"), _text(task, "gone", "1"))
    await wire.call("task.delete_attachment", {"taskId": task, "key": "gone"})
    names = [(task, "a"), (task, "b"), ("t-nowhere", "a"), (task, "gone"), (task, "a")]
    requests = [{"taskId": task_id, "key": key} for task_id, key in names]
    found = await wire.call("task.get_attachments_batch", {"requests": requests, "allowMissing": True})
    assert [one and one["key"] for one in found["attachments"]] == ["a", None, None, None, "a"]
    with pytest.raises(CallError):
        await wire.call("task.get_attachments_batch", {"requests": requests, "allowMissing": False})
