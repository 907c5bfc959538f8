"""Events on the channels and streams, in the spec's shapes (design/contract.md, "Events")."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from redis.asyncio import Redis

from tests.harness.samples import SAMPLES, create, delete
from tests.harness.service import INSTANCE
from tests.harness.wire import Wire

CREATED, DELETED = "task.attachment_created", "task.attachment.deleted"
TYPES = (CREATED, DELETED, "task.created", "task.updated", "task.completed", "task.deleted")
Action = Callable[[], Awaitable[Any]]


class Heard:
    """What came over the channels and what was appended to the streams while something was done."""

    def __init__(self, published: list[tuple[str, str]], appended: dict[str, list[dict[str, str]]]) -> None:
        self.published = published
        self.appended = appended

    def events(self, type_: str) -> list[dict[str, Any]]:
        """The events of a type, which channel and stream must agree on."""
        streamed = [fields["data"] for fields in self.appended[type_]]
        assert [data for channel, data in self.published if channel == type_] == streamed
        return [json.loads(data) for data in streamed]


async def _listen(redis: Redis, *actions: Action) -> Heard:
    """Do things one after the other and return the events that they caused."""
    last = {}
    for type_ in TYPES:
        newest: Any = await redis.xrevrange(f"cb:stream:{type_}", count=1)
        last[type_] = newest[0][0] if newest else "0-0"
    async with redis.pubsub() as channels:
        await channels.subscribe(*TYPES)
        for _ in TYPES:
            assert (await channels.get_message(timeout=2.0))["type"] == "subscribe"
        for action in actions:
            await action()
        appended = {}
        for type_ in TYPES:
            entries: Any = await redis.xrange(f"cb:stream:{type_}", min=f"({last[type_]}")
            appended[type_] = [fields for _, fields in entries]
        published = await _published(channels, sum(map(len, appended.values())))
    return Heard(published, appended)


async def _published(channels: Any, count: int) -> list[tuple[str, str]]:
    """Wait for as many messages as there are stream entries, and see that no more follow."""
    found: list[tuple[str, str]] = []
    while message := await channels.get_message(timeout=2.0 if len(found) < count else 0.05):
        found.append((message["channel"], message["data"]))
    return found


async def test_a_create_and_an_overwrite_are_announced_as_created(wire: Wire, task: str, redis: Redis) -> None:
    answers: list[Any] = []

    async def make(type_: str, instance: str | None) -> None:
        answers.append(await create(wire, task, "analysis", SAMPLES[type_], instance=instance))

    heard = await _listen(redis, lambda: make("json", "instance-1"), lambda: make("url", None))
    first, second = heard.events(CREATED)
    now = time.time() * 1000
    for event, type_, instance in ((first, "json", "instance-1"), (second, "url", INSTANCE)):
        timestamp = event["payload"].pop("timestamp")
        assert type(timestamp) is int
        assert now - 60_000 < timestamp < now + 60_000
        assert event == {
            "type": CREATED,
            "payload": {
                "taskId": task,
                "key": "analysis",
                "type": type_,
                "attachmentId": answers[0]["id"],
                "instanceId": instance,
            },
        }
    assert heard.events(DELETED) == []


async def test_the_first_create_is_stamped_with_its_creation(wire: Wire, task: str, redis: Redis) -> None:
    answers: list[Any] = []

    async def make() -> None:
        answers.append(await create(wire, task, "k"))

    (event,) = (await _listen(redis, make)).events(CREATED)
    created = datetime.fromisoformat(answers[0]["createdAt"])
    assert event["payload"]["timestamp"] == round(created.timestamp() * 1000)


async def test_a_delete_is_announced_with_who_and_when(wire: Wire, task: str, redis: Redis) -> None:
    created = await create(wire, task, "analysis", instance="instance-1")
    answers: list[Any] = []

    async def remove() -> None:
        answers.append(await delete(wire, task, "analysis", instance="instance-2"))

    heard = await _listen(redis, remove)
    assert heard.events(DELETED) == [
        {
            "type": DELETED,
            "payload": {"taskId": task, "key": "analysis", "attachmentId": created["id"]},
            "metadata": {"deletedBy": "instance-2", "deletedAt": answers[0]["deletedAt"]},
        }
    ]
    assert heard.events(CREATED) == []


async def test_a_stream_entry_has_the_revision_beside_the_data(wire: Wire, task: str, redis: Redis) -> None:
    heard = await _listen(
        redis,
        lambda: create(wire, task, "k"),
        lambda: create(wire, task, "k"),
        lambda: delete(wire, task, "k"),
        lambda: create(wire, task, "k"),
    )
    entries = heard.appended[CREATED][:2] + heard.appended[DELETED] + heard.appended[CREATED][2:]
    assert [entry.keys() for entry in entries] == [{"data", "revision"}] * 4
    revisions = [int(entry["revision"]) for entry in entries]
    assert revisions == sorted(set(revisions))


async def test_a_refused_or_failed_call_announces_nothing(wire: Wire, task: str, redis: Redis) -> None:
    async def fail() -> None:
        params = {"taskId": task, "key": "missing"}
        outcomes = await asyncio.gather(
            wire.call("task.delete_attachment", params),
            wire.call("task.create_attachment", {**params, "type": "url", "url": "nowhere"}),
            return_exceptions=True,
        )
        assert all(isinstance(outcome, Exception) for outcome in outcomes)

    heard = await _listen(redis, fail)
    assert not any(heard.appended.values())
    assert heard.published == []


async def test_every_change_of_a_task_is_announced(wire: Wire, redis: Redis) -> None:
    ids: list[str] = []

    async def make() -> None:
        ids.append((await wire.call("task.create", {"text": "announce me"}))["id"])

    heard = await _listen(
        redis,
        make,
        lambda: wire.call("task.update", {"id": ids[0], "updates": {"priority": 1}}),
        lambda: wire.call("task.complete", {"id": ids[0], "result": 1}),
        lambda: wire.call("task.delete", {"id": ids[0]}),
    )
    for type_ in ("task.created", "task.updated", "task.completed", "task.deleted"):
        (event,) = heard.events(type_)
        assert event["type"] == type_
        assert ids[0] in json.dumps(event["payload"])
    # The result is an attachment like any other.
    (stored,) = heard.events(CREATED)
    assert (stored["payload"]["key"], stored["payload"]["type"]) == ("result", "json")
