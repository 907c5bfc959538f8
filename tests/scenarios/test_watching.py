"""Watching attachments: what is told, to whom, and from where on, the same over every wire."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.harness.grpc_wire import GrpcWire
from tests.harness.samples import SAMPLES, TIME, create, delete, get, text
from tests.harness.service import INSTANCE
from tests.harness.stores import Flush
from tests.harness.watches import Watcher
from tests.harness.wire import CallError, Result

STREAM = "cb:stream:attachments"


def _seen(events: list[Result]) -> list[tuple[Any, ...]]:
    return [(event["type"], event.get("key"), event.get("attachment", {}).get("content")) for event in events]


async def test_every_change_is_told_in_order(watcher: Watcher, grpc_wire: GrpcWire, task: str) -> None:
    async with watcher.watch(taskId=task) as watch:
        made = await create(grpc_wire, task, "note", text("one"), instance="instance-1")
        first = await watch.next()
        await create(grpc_wire, task, "note", text("two"))
        second = await watch.next()
        gone = await delete(grpc_wire, task, "note", instance="instance-2")
        third = await watch.next()
        again = await create(grpc_wire, task, "note", SAMPLES["json"])
        fourth = await watch.next()
    about = {"taskId": task, "key": "note"}
    for event in (first, second, third, fourth):
        assert TIME.fullmatch(event["writtenAt"])
    assert first.pop("attachment")["content"] == "one"
    assert second.pop("attachment")["content"] == "two"
    assert fourth.pop("attachment")["type"] == "json"
    revisions = [event.pop("revision") for event in (first, second, third, fourth)]
    assert revisions == sorted(set(revisions))
    assert first.pop("writtenAt") == made["createdAt"]
    assert third.pop("writtenAt") == gone["deletedAt"]
    second.pop("writtenAt")
    fourth.pop("writtenAt")
    old = {**about, "attachmentId": made["id"]}
    assert first == {"type": "created", **old, "attachmentType": "text", "writtenBy": "instance-1"}
    assert second == {"type": "overwritten", **old, "attachmentType": "text", "writtenBy": INSTANCE}
    assert third == {"type": "deleted", **old, "writtenBy": "instance-2"}
    new = {**about, "attachmentId": again["id"], "attachmentType": "json"}
    assert fourth == {"type": "created", **new, "writtenBy": INSTANCE}


@pytest.mark.parametrize("type_", SAMPLES)
async def test_an_attachment_comes_along_as_it_is_read(
    watcher: Watcher, grpc_wire: GrpcWire, task: str, type_: str
) -> None:
    async with watcher.watch(taskId=task) as watch:
        await create(grpc_wire, task, "k", SAMPLES[type_])
        told = (await watch.next())["attachment"]
    stored = await get(grpc_wire, task, "k")
    if type_ == "json":
        for one in (told, stored):
            one.pop("value")  # the frame of an event has been parsed by now; test_values covers the text
    assert told == stored


async def test_a_view_of_the_metadata_leaves_the_attachment_out(
    watcher: Watcher, grpc_wire: GrpcWire, task: str
) -> None:
    async with watcher.watch(taskId=task, view="metadata") as watch:
        await create(grpc_wire, task, "k")
        assert "attachment" not in await watch.next()


async def test_the_end_of_a_task_is_one_event(watcher: Watcher, grpc_wire: GrpcWire, task: str) -> None:
    await create(grpc_wire, task, "a")
    await create(grpc_wire, task, "b")
    async with watcher.watch(taskId=task, keyPrefix="a") as watch:
        await grpc_wire.call("task.delete", {"id": task}, instance="instance-2")
        event = await watch.next()
        assert TIME.fullmatch(event.pop("writtenAt"))
        assert event.pop("revision") > 0
        assert event == {"type": "task_deleted", "taskId": task, "writtenBy": "instance-2"}
        await grpc_wire.call("task.create", {"id": task, "text": "once more"})
        await create(grpc_wire, task, "a")
        assert (await watch.next())["type"] == "created"


async def test_a_result_is_told_like_any_attachment(watcher: Watcher, grpc_wire: GrpcWire, task: str) -> None:
    async with watcher.watch(taskId=task) as watch:
        await grpc_wire.call("task.complete", {"id": task, "result": 1}, instance="instance-3")
        event = await watch.next()
        assert (event["type"], event["key"], event["writtenBy"]) == ("created", "result", "instance-3")
        await grpc_wire.call("task.complete", {"id": task, "result": 2})
        assert (await watch.next())["type"] == "overwritten"


async def test_only_what_is_watched_is_told(watcher: Watcher, grpc_wire: GrpcWire, task: str, absent_task: str) -> None:
    other = (await grpc_wire.call("task.create", {"text": "another", "id": absent_task}))["id"]
    async with (
        watcher.watch(taskId=task) as of_task,
        watcher.watch(keyPrefix=f"pre-{task}") as of_prefix,
        watcher.watch(taskId=other, keyPrefix="pre") as of_both,
    ):
        for each, key in ((task, "x"), (other, f"pre-{task}-1"), (task, f"pre-{task}-2"), (other, "y"), (task, "z")):
            await create(grpc_wire, each, key)
        assert [event["key"] for event in await of_task.take(3)] == ["x", f"pre-{task}-2", "z"]
        assert [event["key"] for event in await of_prefix.take(2)] == [f"pre-{task}-1", f"pre-{task}-2"]
        assert (await of_both.next())["key"] == f"pre-{task}-1"


async def test_a_task_can_be_watched_before_there_is_one(
    watcher: Watcher, grpc_wire: GrpcWire, absent_task: str
) -> None:
    async with watcher.watch(taskId=absent_task) as watch:
        await grpc_wire.call("task.create", {"text": "late", "id": absent_task})
        await create(grpc_wire, absent_task, "k")
        assert (await watch.next())["type"] == "created"


async def test_nothing_is_missed_or_told_twice_after_a_token(watcher: Watcher, grpc_wire: GrpcWire, task: str) -> None:
    async with watcher.watch(taskId=task) as watch:
        await create(grpc_wire, task, "k", text("0"))
        await watch.next()
        token = watch.token
    for number in range(1, 21):
        await create(grpc_wire, task, "k", text(str(number)))
    await delete(grpc_wire, task, "k")
    async with watcher.watch(taskId=task, resumeToken=token) as watch:
        await create(grpc_wire, task, "k", text("last"))
        told = _seen(await watch.take(22))
    # Of what has been overwritten since there is no content any more.
    assert told == [*[("overwritten", "k", None)] * 20, ("deleted", "k", None), ("created", "k", "last")]


async def test_a_watch_can_be_resumed_behind_each_of_its_events(
    watcher: Watcher, grpc_wire: GrpcWire, task: str
) -> None:
    async with watcher.watch(taskId=task) as watch:
        tokens = [watch.token]
        for key in "abc":
            await create(grpc_wire, task, key)
            await watch.next()
            tokens.append(watch.token)
    assert len(set(tokens)) == 4
    for place, token in enumerate(tokens[:-1]):
        async with watcher.watch(taskId=task, resumeToken=token) as watch:
            assert [event["key"] for event in await watch.take(3 - place)] == list("abc")[place:]


async def test_a_token_holds_on_every_wire(
    watcher: Watcher, watchers: dict[str, Watcher], grpc_wire: GrpcWire, task: str
) -> None:
    async with watchers["grpc"].watch(taskId=task) as watch:
        token = watch.token
    await create(grpc_wire, task, "k")
    async with watcher.watch(taskId=task, resumeToken=token) as watch:
        assert (await watch.next())["key"] == "k"


async def test_a_token_is_refused_when_events_behind_it_are_gone(
    watcher: Watcher, grpc_wire: GrpcWire, task: str, redis: Redis
) -> None:
    async with watcher.watch(taskId=task) as watch:
        token = watch.token
    await create(grpc_wire, task, "k")
    await redis.xtrim(STREAM, maxlen=1, approximate=False)
    with pytest.raises(CallError) as refused:
        async with watcher.watch(taskId=task, resumeToken=token):
            pass
    assert (refused.value.code, refused.value.reason) == (-32005, "RESUME_TOKEN_EXPIRED")


async def test_a_watch_ends_when_events_are_lost(
    watcher: Watcher, grpc_wire: GrpcWire, task: str, flush: Flush
) -> None:
    async with watcher.watch(taskId=task) as watch:
        await create(grpc_wire, task, "k")
        await watch.next()
        await flush()
        with pytest.raises(CallError) as ended:
            await watch.next()
        assert (ended.value.code, ended.value.reason) == (-32005, "RESUME_TOKEN_EXPIRED")
        token = watch.token
    with pytest.raises(CallError) as refused:
        async with watcher.watch(taskId=task, resumeToken=token):
            pass
    assert refused.value.reason == "RESUME_TOKEN_EXPIRED"
    async with watcher.watch(taskId=task) as watch:
        await create(grpc_wire, task, "k")
        assert (await watch.next())["type"] == "overwritten"


@pytest.mark.parametrize("token", ["", "x", "not a token", "MTox", "MToxLTE=", "MjoxLTE", "MTowMS0x-"])
async def test_what_is_no_token_is_refused_as_such(watcher: Watcher, token: str) -> None:
    with pytest.raises(CallError) as refused:
        async with watcher.watch(resumeToken=token):
            pass
    assert refused.value.code == -32602
    assert refused.value.fields == ["resumeToken"]


@pytest.mark.parametrize(
    ("params", "fields"),
    [
        ({"taskId": "no/slash"}, ["taskId"]),
        ({"taskId": ""}, ["taskId"]),
        ({"keyPrefix": "x" * 101}, ["keyPrefix"]),
        ({"taskId": "x" * 129, "keyPrefix": "\x07"}, ["taskId", "keyPrefix"]),
    ],
)
async def test_bad_parameters_are_named(watcher: Watcher, params: dict[str, str], fields: list[str]) -> None:
    with pytest.raises(CallError) as refused:
        async with watcher.watch(**params):
            pass
    assert (refused.value.code, refused.value.fields) == (-32602, fields)


async def test_writers_of_one_key_are_told_in_the_order_of_their_revisions(
    watcher: Watcher, grpc_wire: GrpcWire, task: str
) -> None:
    async with watcher.watch(taskId=task, view="metadata") as watch:
        await asyncio.gather(*(create(grpc_wire, task, "hot", text(str(number))) for number in range(50)))
        events = await watch.take(50)
    revisions = [event["revision"] for event in events]
    assert revisions == sorted(set(revisions))
    assert [event["type"] for event in events] == ["created", *["overwritten"] * 49]
