"""Watching needs credentials, for as long as it lasts, and tells nobody of tasks that are not theirs to know."""

from __future__ import annotations

import secrets

import pytest

from tests.auth.conftest import WatchAs
from tests.auth.site import NOT_ALLOWED, PREFIX, Guarded, People, affix_token, new_token, outcome
from tests.harness.wire import CallError, Wire

_TEXT = {"type": "text", "content": "c"}


async def _task(wire: Wire, task: str) -> str:
    await wire.call("task.create", {"id": task, "text": "a task"})
    return task


async def _ended(watch_as: WatchAs, token: str | None, **params: str) -> CallError:
    with pytest.raises(CallError) as caught:
        async with watch_as(token).watch(**params):
            pass
    return caught.value


async def test_without_credentials_nothing_begins(watch_as: WatchAs, owned: str) -> None:
    for token in (None, "secret"):
        error = await _ended(watch_as, token, taskId=owned)
        assert (error.code, error.reason) == (NOT_ALLOWED, "UNAUTHENTICATED")


async def test_whether_a_task_outside_exists_no_watcher_is_told(watch_as: WatchAs, people: People, owned: str) -> None:
    answers = [await _ended(watch_as, people.bound, taskId=task) for task in (owned, f"{owned}-none")]
    assert [error.reason for error in answers] == ["PERMISSION_DENIED"] * 2
    texts = [repr((error.code, error.message, error.data)) for error in answers]
    assert texts[0] == texts[1].replace(f"{owned}-none", owned)


async def test_a_reader_watches_everything(watch_as: WatchAs, guarded: Guarded, people: People, owned: str) -> None:
    async with watch_as(people.reader).watch(taskId=owned) as watch:
        await guarded.wire("grpc", people.writer).call("task.create_attachment", {"taskId": owned, "key": "n", **_TEXT})
        event = await watch.next()
        assert (event["taskId"], event["key"], event["writtenBy"]) == (owned, "n", "writer")


async def test_who_is_bound_is_told_of_its_tasks_alone(
    watch_as: WatchAs, guarded: Guarded, people: People, owned: str
) -> None:
    admin, random = guarded.wire("grpc", people.admin), secrets.token_hex(8)
    within = await _task(admin, f"{PREFIX}{random}")
    async with watch_as(people.bound).watch() as watch:
        token = watch.token
        for number in range(3):
            for task in (owned, within):
                await admin.call("task.create_attachment", {"taskId": task, "key": f"w-{number}", **_TEXT})
        assert [event["taskId"] for event in await watch.take(3)] == [within] * 3
    # What is past is told of in the same way.
    await admin.call("task.delete", {"id": owned})
    await admin.call("task.delete", {"id": within})
    async with watch_as(people.bound).watch(resumeToken=token) as watch:
        told = await watch.take(4)
    assert {event["taskId"] for event in told} == {within}
    assert [event["type"] for event in told][-1] == "task_deleted"


async def test_a_watch_ends_when_its_token_is_revoked(
    watch_as: WatchAs, guarded: Guarded, people: People, owned: str
) -> None:
    token = new_token(guarded.tokens, "leaving", "read")
    while await outcome(guarded.wire("grpc", token), "task.get", {"id": owned}) != "done":
        pass
    async with watch_as(token).watch(taskId=owned) as watch:
        affix_token("revoke", token.split("_")[1], file=guarded.tokens)
        while await outcome(guarded.wire("grpc", token), "task.get", {"id": owned}) == "done":
            pass
        owner = guarded.wire("grpc", people.owner)
        await owner.call("task.create_attachment", {"taskId": owned, "key": "secret", **_TEXT})
        with pytest.raises(CallError) as caught:
            await watch.next()
    assert (caught.value.code, caught.value.reason) == (NOT_ALLOWED, "UNAUTHENTICATED")


@pytest.mark.parametrize("wire", ["jsonrpc", "jsonrpc-shim"])
async def test_server_sent_events_are_refused_as_http_has_it(guarded: Guarded, people: People, wire: str) -> None:
    url = f"{guarded.urls[wire]}/events"
    async with guarded.http.get(url) as answer:
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    headers = {"authorization": f"Bearer {people.bound}"}
    async with guarded.http.get(url, params={"taskId": "t-1"}, headers=headers) as answer:
        assert answer.status == 403
    # A token in the address would be in every log on the way.
    async with guarded.http.get(url, params={"access_token": people.reader}) as answer:
        assert answer.status == 400
