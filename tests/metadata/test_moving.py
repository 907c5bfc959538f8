"""Single tasks on real stores: what is created, skipped and left, and what others do meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from unittest.mock import patch

import pytest
from prometheus_client import CollectorRegistry

from affix_cli.metadata.moving import Moved, Mover, Outcome
from affix_cli.metadata.planning import Skip
from affix_server.config import Settings
from affix_server.domain import AttachmentType, JsonContent, NewTask, Ref, TaskChanges, TextContent
from affix_server.errors import StorageUnavailableError
from affix_server.storage.entries import TaskMetadata
from affix_server.stores import Storage, open_redis_only
from tests.metadata.conftest import Site

DATA = '{"a": 1, "data": {"log": "x", "n": 1.50}, "b": 2}'
LEFT = '{"a": 1, "b": 2}'
OTHER = "another attachment is there"


def moving(storage: Storage, *, waits: tuple[float, ...] = ()) -> Mover:
    return Mover(storage.attachments, storage.tasks, max_content_bytes=10_000, moved_by="mover", waits=waits)


async def registered(storage: Storage, metadata: str = DATA) -> TaskMetadata:
    task = (await storage.tasks.create(NewTask(None, "a task", 50, metadata), "someone")).task
    return TaskMetadata(task.id, metadata, task.revision)


async def metadata(storage: Storage, held: TaskMetadata) -> str:
    return (await storage.tasks.get(held.task_id)).task.metadata


async def text(storage: Storage, held: TaskMetadata, key: str) -> str:
    content = (await storage.attachments.get(Ref(held.task_id, key))).content
    assert isinstance(content, JsonContent | TextContent)
    return content.value if isinstance(content, JsonContent) else content.content


def all_moved(held: TaskMetadata, *, already: bool = False) -> Outcome:
    log, number = Moved("log", AttachmentType.TEXT, already), Moved("n", AttachmentType.JSON, already)
    return Outcome(held.task_id, [log, number], [])


def interposed(target: object, method: str, hook: Callable[[], Awaitable[object]], *, lose: bool = False) -> Any:
    """Let something happen before the next call of a method; with `lose` after it, and its answer is lost."""
    real, hooks = getattr(target, method), [hook]

    async def call(*args: Any, **kwargs: Any) -> Any:
        if not hooks:
            return await real(*args, **kwargs)
        once = hooks.pop()
        if lose:
            await real(*args, **kwargs)
            await once()
            raise StorageUnavailableError("Database connection timeout")
        await once()
        return await real(*args, **kwargs)

    return patch.object(target, method, call)


async def nothing() -> None:
    pass


async def test_entries_become_attachments_and_the_rest_stays(site: Site, storage: Storage) -> None:
    held = await registered(storage)
    assert await moving(storage).move(held) == all_moved(held)
    assert await metadata(storage, held) == LEFT
    assert (await text(storage, held, "log"), await text(storage, held, "n")) == ("x", "1.50")
    found = await storage.attachments.get(Ref(held.task_id, "log"))
    assert found.created_by == "mover"
    assert await site.redis.xlen("cb:stream:task.updated") == 1
    assert await site.redis.xlen("cb:stream:task.attachment_created") == 2


async def test_what_is_there_already_counts_as_moved(storage: Storage) -> None:
    held = await registered(storage)
    for key, content in (("log", TextContent("x")), ("n", JsonContent("1.50"))):
        await storage.attachments.create(Ref(held.task_id, key), content, "earlier")
    assert await moving(storage).foresee([held]) == [all_moved(held, already=True)]
    assert await moving(storage).move(held) == all_moved(held, already=True)
    assert await metadata(storage, held) == LEFT
    assert (await storage.attachments.get(Ref(held.task_id, "log"))).created_by == "earlier"


@pytest.mark.parametrize("there", [JsonContent("1.5"), TextContent("1.50")])
async def test_another_attachment_is_left_alone(storage: Storage, there: JsonContent | TextContent) -> None:
    held = await registered(storage)
    await storage.attachments.create(Ref(held.task_id, "n"), there, "earlier")
    expected = Outcome(held.task_id, [Moved("log", AttachmentType.TEXT, already=False)], [Skip("n", OTHER)])
    assert await moving(storage).foresee([held]) == [expected]
    assert await metadata(storage, held) == DATA
    assert await moving(storage).move(held) == expected
    assert await metadata(storage, held) == '{"a": 1, "data": { "n": 1.50}, "b": 2}'
    assert (await storage.attachments.get(Ref(held.task_id, "n"))).content == there


async def test_a_task_of_which_nothing_can_be_moved_is_not_touched(storage: Storage) -> None:
    held = await registered(storage, '{"data": {"": 1}}')
    assert await moving(storage).move(held) == Outcome(held.task_id, [], [Skip("", "the key is empty")])
    assert (await storage.tasks.get(held.task_id)).task.revision == held.revision


async def test_an_empty_data_is_removed(storage: Storage) -> None:
    held = await registered(storage, '{"data": { }, "a": 1}')
    assert await moving(storage).move(held) == Outcome(held.task_id, [], [])
    assert await metadata(storage, held) == '{ "a": 1}'


async def test_a_task_that_was_changed_since_it_was_read_is_read_again(storage: Storage) -> None:
    held = await registered(storage)
    await storage.tasks.update(held.task_id, TaskChanges(metadata='{"c": 3.0}'), "writer")
    await moving(storage).move(held)
    assert await metadata(storage, held) == '{"a":1,"b":2,"c":3.0}'


async def test_an_entry_that_changes_while_it_is_moved_arrives_as_it_is_then(storage: Storage) -> None:
    held = await registered(storage)
    changes = TaskChanges(metadata='{"data": {"log": "newer"}}')
    with interposed(storage.tasks, "update", lambda: storage.tasks.update(held.task_id, changes, "w")):
        outcome = await moving(storage).move(held)
    assert outcome is not None
    assert not outcome.skips
    assert await text(storage, held, "log") == "newer"
    assert await metadata(storage, held) == LEFT.replace(" ", "")


async def test_what_somebody_has_overwritten_meanwhile_is_theirs(storage: Storage) -> None:
    held = await registered(storage)
    changes = TaskChanges(metadata='{"data": {"log": "newer"}}')

    async def meddle() -> None:
        await storage.attachments.create(Ref(held.task_id, "log"), TextContent("theirs"), "writer")
        await storage.tasks.update(held.task_id, changes, "writer")

    with interposed(storage.tasks, "update", meddle):
        outcome = await moving(storage).move(held)
    assert outcome == Outcome(held.task_id, [], [Skip("log", OTHER)])
    assert await text(storage, held, "log") == "theirs"
    assert await metadata(storage, held) == '{"a":1,"data":{"log": "newer"},"b":2}'


async def test_data_that_somebody_removes_meanwhile_leaves_what_was_created(storage: Storage) -> None:
    """It cannot be told from a run beside this one that has moved it."""
    held = await registered(storage)
    with interposed(storage.tasks, "update", lambda: moving(storage).move(held)):
        assert await moving(storage).move(held) == all_moved(held)
    assert (await text(storage, held, "log"), await metadata(storage, held)) == ("x", LEFT)


async def test_a_task_that_is_deleted_meanwhile_is_none(storage: Storage) -> None:
    held = await registered(storage)
    with interposed(storage.tasks, "update", lambda: storage.tasks.delete(held.task_id, "writer")):
        assert await moving(storage).move(held) is None
    assert await moving(storage).move(held) is None
    assert await moving(storage).foresee([held])  # as it was read


async def test_an_attachment_that_comes_and_goes_is_created(storage: Storage) -> None:
    held = await registered(storage)
    ref = Ref(held.task_id, "log")
    await storage.attachments.create(ref, TextContent("theirs"), "writer")
    with interposed(storage.attachments, "get", lambda: storage.attachments.delete(ref, "writer")):
        assert await moving(storage).move(held) == all_moved(held)
    assert await text(storage, held, "log") == "x"


@pytest.mark.parametrize("method", ["create", "update"])
async def test_a_lost_answer_is_made_up_for(storage: Storage, method: str) -> None:
    held = await registered(storage)
    target = storage.tasks if method == "update" else storage.attachments
    with interposed(target, method, nothing, lose=True):
        outcome = await moving(storage, waits=(0.01,)).move(held)
    assert outcome is not None
    assert ({one.key for one in outcome.moved}, outcome.skips) == ({"log", "n"}, [])
    assert await metadata(storage, held) == LEFT
    assert (await text(storage, held, "log"), await text(storage, held, "n")) == ("x", "1.50")


async def test_two_runs_at_once_do_it_once(site: Site, storage: Storage) -> None:
    async with AsyncExitStack() as stack:
        other = await site.open(stack)
        tasks = [await registered(storage) for _ in range(20)]
        both = [moving(one).move(held) for held in tasks for one in (storage, other)]
        outcomes = await asyncio.gather(*both)
        assert not [skip for outcome in outcomes if outcome for skip in outcome.skips]
    for held in tasks:
        assert (await text(storage, held, "log"), await metadata(storage, held)) == ("x", LEFT)


async def test_foreseeing_reads_what_is_more_than_one_answer_holds(site: Site, storage: Storage) -> None:
    async with AsyncExitStack() as stack:
        small = await site.open(stack, max_content_bytes=900_000, max_message_bytes=1024 * 1024)
        entries = ", ".join(f'"k{number}": "{"x" * 300_000}"' for number in range(5))
        held = await registered(storage, f'{{"data": {{{entries}}}}}')
        for number in range(5):
            await storage.attachments.create(Ref(held.task_id, f"k{number}"), TextContent("x" * 300_000), "a")
        mover = Mover(small.attachments, small.tasks, max_content_bytes=900_000, moved_by="mover")
        (outcome,) = await mover.foresee([held])
    assert [(one.key, one.already) for one in outcome.moved] == [(f"k{number}", True) for number in range(5)]


async def test_redis_alone_is_no_different(site: Site) -> None:
    async with AsyncExitStack() as stack:
        settings = Settings(postgres_dsn="none", redis_url=site.valkey.url)
        alone = await open_redis_only(settings, CollectorRegistry(), stack)
        task = (await alone.tasks.create(NewTask(None, "a task", 50, DATA), "someone")).task
        mover = Mover(alone.attachments, alone.tasks, max_content_bytes=10_000, moved_by="mover", waits=())
        held = TaskMetadata(task.id, DATA, task.revision)
        assert await mover.move(held) == all_moved(held)
        assert (await alone.tasks.get(task.id)).task.metadata == LEFT
        assert (await alone.attachments.get(Ref(task.id, "n"))).content == JsonContent("1.50")
