"""Updates of tasks at a revision, and metadata that is replaced whole: the same whichever store decides."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from affix_cli.embedded import EmbeddedValkey
from affix_server.config import Settings
from affix_server.domain import NewTask, TaskChanges
from affix_server.errors import ConflictError, TaskNotFoundError
from affix_server.storage.base import Tasks
from affix_server.stores import Storage, open_redis_only

METADATA = '{"big": 12345678901234567890, "data": {"a": 1.0}}'
LEFT = '{ "big" :12345678901234567890}'


@pytest.fixture(params=["postgres", "redis alone"])
async def tasks(request: pytest.FixtureRequest, storage: Storage, valkey_store: EmbeddedValkey) -> AsyncIterator[Tasks]:
    if request.param == "postgres":
        yield storage.tasks
        return
    async with AsyncExitStack() as stack:
        settings = Settings(postgres_dsn="none", redis_url=valkey_store.url)
        yield (await open_redis_only(settings, CollectorRegistry(), stack)).tasks


async def registered(tasks: Tasks) -> tuple[str, int]:
    written = await tasks.create(NewTask(f"t-{secrets.token_hex(8)}", "a test", 50, METADATA), "a")
    return written.task.id, written.task.revision


async def last_update(redis: Redis) -> Any:
    entries = await redis.xrevrange("cb:stream:task.updated", count=1)
    assert entries
    return json.loads(dict(entries[0][1] or {})["data"])


async def test_metadata_is_replaced_to_the_letter(tasks: Tasks, redis: Redis) -> None:
    task_id, revision = await registered(tasks)
    changes = TaskChanges(metadata=LEFT, replaces_metadata=True, if_revision=revision)
    written = await tasks.update(task_id, changes, "b")
    assert (written.task.metadata, written.task.text, written.pending) == (LEFT, "a test", False)
    assert written.task.revision > revision
    found = (await tasks.get(task_id)).task
    assert (found.metadata, found.revision) == (LEFT, written.task.revision)
    assert task_id in json.dumps(await last_update(redis))


async def test_nothing_is_changed_at_another_revision(tasks: Tasks, redis: Redis) -> None:
    task_id, revision = await registered(tasks)
    merged = await tasks.update(task_id, TaskChanges(metadata='{"b": 2}'), "b")
    told = await last_update(redis)
    for stale in (revision, 0, merged.task.revision + 1):
        with pytest.raises(ConflictError) as caught:
            await tasks.update(task_id, TaskChanges(text="lost", if_revision=stale), "c")
        assert caught.value.current_revision == merged.task.revision
        assert caught.value.what == f"Task {task_id} has revision {merged.task.revision}: the condition does not hold"
    assert (await tasks.get(task_id)).task == merged.task
    assert await last_update(redis) == told
    members = [member async for member, _ in redis.zscan_iter("cb:intents")]
    assert not [member for member in members if task_id in member]


async def test_of_writers_at_one_revision_one_wins(tasks: Tasks) -> None:
    task_id, revision = await registered(tasks)

    async def write(number: int) -> str | None:
        try:
            await tasks.update(task_id, TaskChanges(text=f"by {number}", if_revision=revision), "b")
        except ConflictError:
            return None
        return f"by {number}"

    (winner,) = [text for text in await asyncio.gather(*(write(number) for number in range(20))) if text]
    assert (await tasks.get(task_id)).task.text == winner


async def test_a_task_that_is_gone_is_not_found_at_any_revision(tasks: Tasks) -> None:
    task_id, revision = await registered(tasks)
    await tasks.delete(task_id, "b")
    with pytest.raises(TaskNotFoundError):
        await tasks.update(task_id, TaskChanges(text="late", if_revision=revision), "b")
