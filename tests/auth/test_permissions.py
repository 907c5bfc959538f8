"""Who may change a task: its owner, those that it names as writers, and an admin."""

from __future__ import annotations

import pytest

from tests.auth.conftest import CallAs
from tests.auth.site import CHANGES, NOT_ALLOWED, People, every_call, outcome, refused
from tests.harness.grpc_messages import METHODS

# What changes a task that is there and leaves it there.
_MODIFYING = [method for method in CHANGES if method not in {"task.create", "task.delete"}]
_BATCHES = {"task.create_attachments_batch": "create", "task.delete_attachments_batch": "delete"}


async def _outcome(call_as: CallAs, token: str, method: str, task: str) -> str:
    """Call, and return how it ended; a batch of one ends as its one item."""
    params = every_call(task)[method]
    if method not in _BATCHES:
        return await outcome(call_as(token), method, params)
    (result,) = (await call_as(token).call(method, params))["results"]
    return str(result["error"]["data"]["reason"]) if "error" in result else "done"


@pytest.mark.parametrize("method", _MODIFYING)
async def test_owner_writers_and_admins_change_a_task(call_as: CallAs, people: People, owned: str, method: str) -> None:
    for token in (people.owner, people.writer, people.admin):
        assert await _outcome(call_as, token, method, owned) == "done"
        if "delete" in method:
            again = every_call(owned)["task.create_attachment"]
            await call_as(people.owner).call("task.create_attachment", again)
    assert await _outcome(call_as, people.other, method, owned) == "PERMISSION_DENIED"


@pytest.mark.parametrize("method", [one for one in _MODIFYING if one not in _BATCHES])
async def test_a_refusal_names_the_task_and_nothing_else(
    call_as: CallAs, people: People, owned: str, method: str
) -> None:
    error = await refused(call_as(people.other), method, every_call(owned)[method])
    assert (error.code, error.message) == (NOT_ALLOWED, f"Permission to modify task {owned} is missing")
    assert {name: value for name, value in error.data.items() if name != "key"} == {
        "taskId": owned,
        "reason": "PERMISSION_DENIED",
    }


async def test_nothing_is_done_for_whom_is_refused(call_as: CallAs, people: People, owned: str) -> None:
    before = await call_as(people.reader).call("task.get", {"id": owned})
    for method in CHANGES:
        await _outcome(call_as, people.other, method, owned)
    assert await call_as(people.reader).call("task.get", {"id": owned}) == before
    assert (await call_as(people.reader).call("task.get_attachment", {"taskId": owned, "key": "k"}))["content"] == "c"


async def test_everybody_reads_who_may_read(call_as: CallAs, people: People, owned: str) -> None:
    for method in sorted(set(METHODS) - set(CHANGES) - {"task.list"}):
        assert await outcome(call_as(people.other), method, every_call(owned)[method]) == "done"


async def test_a_missing_task_is_missing_for_whoever_may_write(call_as: CallAs, people: People, unused: str) -> None:
    for token in (people.owner, people.admin):
        for method in _MODIFYING:
            assert await _outcome(call_as, token, method, unused) == "TASK_NOT_FOUND"


async def test_only_owner_and_admin_decide_who_writes(call_as: CallAs, people: People, owned: str) -> None:
    def naming(*writers: str) -> dict[str, object]:
        return {"id": owned, "updates": {"writers": list(writers), "priority": 7}}

    for token in (people.writer, people.other):
        assert await outcome(call_as(token), "task.update", naming("other")) == "PERMISSION_DENIED"
    assert (await call_as(people.reader).call("task.get", {"id": owned}))["writers"] == ["writer"]
    for token in (people.owner, people.admin):
        assert await outcome(call_as(token), "task.update", naming("other")) == "done"
        assert await _outcome(call_as, people.other, "task.update", owned) == "done"
        assert await _outcome(call_as, people.writer, "task.update", owned) == "PERMISSION_DENIED"
        assert await outcome(call_as(token), "task.update", naming()) == "done"
        assert await _outcome(call_as, people.other, "task.update", owned) == "PERMISSION_DENIED"
    assert "writers" not in await call_as(people.reader).call("task.get", {"id": owned})


async def test_a_writer_cannot_become_the_owner(call_as: CallAs, people: People, owned: str) -> None:
    """Deleting a task and registering it again would make it one."""
    for token in (people.writer, people.other):
        assert await outcome(call_as(token), "task.delete", {"id": owned}) == "PERMISSION_DENIED"
    assert await outcome(call_as(people.writer), "task.create", {"id": owned, "text": "mine"}) == "CONFLICT"
    assert await outcome(call_as(people.owner), "task.delete", {"id": owned}) == "done"


async def test_an_admin_deletes_what_is_not_its_own(call_as: CallAs, people: People, owned: str) -> None:
    assert await outcome(call_as(people.admin), "task.delete", {"id": owned}) == "done"
    assert await outcome(call_as(people.reader), "task.get", {"id": owned}) == "TASK_NOT_FOUND"


async def test_a_batch_does_what_is_permitted_in_its_order(
    call_as: CallAs, people: People, owned: str, unused: str
) -> None:
    mine = (await call_as(people.other).call("task.create", {"text": "of the other"}))["id"]
    text = {"type": "text", "content": "c"}
    requests = [
        {"taskId": owned, "key": "a", **text},
        {"taskId": mine, "key": "a", **text},
        {"taskId": f"{unused}-none", "key": "a", **text},
        {"taskId": owned, "key": "b", **text},
        {"taskId": mine, "key": "b", **text},
    ]
    for method in _BATCHES:
        items = [{"taskId": one["taskId"], "key": one["key"]} for one in requests]
        answer = await call_as(people.other).call(method, {"requests": requests if "create" in method else items})
        found = [one["error"]["data"]["reason"] if "error" in one else one["key"] for one in answer["results"]]
        assert found == ["PERMISSION_DENIED", "a", "TASK_NOT_FOUND", "PERMISSION_DENIED", "b"]


async def test_a_bad_parameter_still_refuses_all_of_a_batch(call_as: CallAs, people: People, owned: str) -> None:
    requests = [{"taskId": owned, "key": "a"}, {"taskId": owned, "key": ""}]
    error = await refused(call_as(people.other), "task.delete_attachments_batch", {"requests": requests})
    assert error.fields == ["requests[1].key"]
