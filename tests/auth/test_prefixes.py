"""Who is bound to tasks whose ids begin with a prefix knows of no others."""

from __future__ import annotations

import secrets

import pytest

from affix_server.auth.permissions import PrincipalAccess
from affix_server.auth.principals import AuthenticatedContext, Principal, Scope
from affix_server.domain import TaskRights
from affix_server.errors import PermissionDeniedError, UnauthenticatedError
from affix_server.local_channel import LocalContext
from tests.auth.conftest import CallAs
from tests.auth.site import NOT_ALLOWED, PREFIX, Guarded, People, every_call, outcome, refused


@pytest.fixture
def within() -> str:
    return f"{PREFIX}{secrets.token_hex(8)}"


@pytest.mark.parametrize("method", every_call("t"))
async def test_whether_a_task_outside_exists_nobody_is_told(
    call_as: CallAs, people: People, owned: str, unused: str, method: str
) -> None:
    missing = f"{unused}-none"
    for token in (people.bound, people.bound_admin):
        answers = []
        for task in (owned, missing):
            wire, params = call_as(token), every_call(task)[method]
            if method in {"task.create_attachments_batch", "task.delete_attachments_batch"}:
                (result,) = (await wire.call(method, params))["results"]
                answer = (result["error"]["code"], result["error"]["message"], result["error"]["data"])
            else:
                error = await refused(wire, method, params)
                answer = (error.code, error.message, error.data)
            assert answer[0] == NOT_ALLOWED
            answers.append(repr(answer).replace(task, "T"))
        assert answers[0] == answers[1]


class _NotAsked:
    """A store that must not be asked; what differs in time differs for what is not there."""

    async def rights(self, task_id: str) -> TaskRights:
        raise AssertionError(task_id)


async def test_outside_no_store_is_asked() -> None:
    access = PrincipalAccess(_NotAsked())  # type: ignore[arg-type]
    for scope in (Scope.READ, Scope.WRITE, Scope.ADMIN):
        context = AuthenticatedContext(LocalContext((), None), Principal("bound", scope, PREFIX))
        access.read(context, (f"{PREFIX}1", f"{PREFIX}2"))  # nor within, to read
        with pytest.raises(PermissionDeniedError):
            access.read(context, (f"{PREFIX}1", "t-1"))
        with pytest.raises(PermissionDeniedError):
            access.register(context, "t-1")
        for asking in (access.write, access.own):
            with pytest.raises(PermissionDeniedError):
                await asking(context, "t-1")


async def test_a_call_that_was_not_asked_is_refused() -> None:
    access = PrincipalAccess(_NotAsked())  # type: ignore[arg-type]
    with pytest.raises(UnauthenticatedError):
        access.read(LocalContext((), None), ())


async def test_within_it_is_like_anybody(call_as: CallAs, people: People, within: str) -> None:
    calls = every_call(within)
    wire = call_as(people.bound)
    assert await outcome(wire, "task.create", calls.pop("task.create")) == "done"
    for method, params in calls.items():
        await wire.call("task.create_attachment", calls["task.create_attachment"])
        assert await outcome(wire, method, params) == "done", method


async def test_an_admin_that_is_bound_is_one_within(call_as: CallAs, people: People, within: str) -> None:
    await call_as(people.bound).call("task.create", {"id": within, "text": "a task"})
    assert await outcome(call_as(people.bound_admin), "task.delete", {"id": within}) == "done"


async def test_a_made_id_begins_with_the_prefix(call_as: CallAs, people: People) -> None:
    made = (await call_as(people.bound).call("task.create", {"text": "a task"}))["id"]
    assert made.startswith(f"{PREFIX}t-")
    assert await outcome(call_as(people.bound), "task.get", {"id": made}) == "done"


async def test_a_list_has_the_tasks_within_alone(call_as: CallAs, people: People, owned: str, within: str) -> None:
    await call_as(people.bound).call("task.create", {"id": within, "text": "a task", "priority": 77})
    whole = await call_as(people.reader).call("task.list", {"limit": 1000})
    assert {within, owned} <= {task["id"] for task in whole["tasks"]}
    expected = [task["id"] for task in whole["tasks"] if task["id"].startswith(PREFIX)]
    for token in (people.bound, people.bound_admin):
        page = await call_as(token).call("task.list", {"limit": 1000})
        assert [task["id"] for task in page["tasks"]] == expected
        assert (page["totalCount"], page["hasMore"]) == (len(expected), False)
        first = await call_as(token).call("task.list", {"limit": 1, "priority": 77})
        assert {task["priority"] for task in first["tasks"]} == {77}
        assert first["tasks"][0]["id"].startswith(PREFIX)


async def test_a_batch_of_reads_that_leaves_the_prefix_is_refused(
    call_as: CallAs, people: People, owned: str, within: str
) -> None:
    await call_as(people.bound).call("task.create", {"id": within, "text": "a task"})
    requests = [{"taskId": within, "key": "k"}, {"taskId": owned, "key": "k"}]
    for allow_missing in (True, False):
        params = {"requests": requests, "allowMissing": allow_missing}
        assert await outcome(call_as(people.bound), "task.get_attachments_batch", params) == "PERMISSION_DENIED"


async def test_what_is_no_id_is_a_bad_parameter_for_all(guarded: Guarded, people: People) -> None:
    wire = guarded.wire("jsonrpc", people.bound)
    for task in ("a:b", "", "x" * 129):
        assert (await refused(wire, "task.get", {"id": task})).reason == "INVALID_PARAMS"
