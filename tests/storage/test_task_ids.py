"""Ids of tasks: as many as are asked for, in however short a time."""

from __future__ import annotations

import asyncio
from itertools import chain, repeat
from unittest.mock import patch

from affix_server.domain import NewTask
from affix_server.storage import task_repository
from affix_server.stores import Storage

NEW = NewTask(None, "a task", 50, "{}")
NOW = 1_800_000_000_000


async def test_as_many_tasks_in_one_millisecond_have_as_many_ids(storage: Storage) -> None:
    with patch.object(task_repository, "now_ms", lambda: NOW):
        written = await asyncio.gather(*(storage.tasks.create(NEW, "a") for _ in range(200)))
    ids = {one.task.id for one in written}
    assert len(ids) == 200
    assert {task_id[: len(f"t-{NOW}-")] for task_id in ids} == {f"t-{NOW}-"}
    await asyncio.gather(*(storage.tasks.delete(task_id, "a") for task_id in ids))


async def test_an_id_that_is_taken_is_not_given_again(storage: Storage) -> None:
    suffixes = chain(repeat("aaaaaa", 3), ["bbbbbb"])
    with (
        patch.object(task_repository, "now_ms", lambda: NOW),
        patch.object(task_repository, "random_suffix", lambda _: next(suffixes)),
    ):
        first = await storage.tasks.create(NEW, "a")
        second = await storage.tasks.create(NEW, "a")
    assert (first.task.id, second.task.id) == (f"t-{NOW}-aaaaaa", f"t-{NOW}-bbbbbb")
    await asyncio.gather(*(storage.tasks.delete(one.task.id, "a") for one in (first, second)))
