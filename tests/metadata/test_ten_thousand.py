"""Ten thousand tasks: foreseen, moved by a run that is killed and one beside writers, and once more."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from affix_server.domain import Condition, Ref, TaskChanges, TextContent
from affix_server.errors import ConflictError
from affix_server.stores import Storage
from tests.harness.processes import AFFIX, Command, environment
from tests.metadata.conftest import Site

TASKS = 10_000
WITH_DATA = TASKS - TASKS // 10
# Writers change what is not moved of these, and attach things of their own to those.
CHANGED = range(0, TASKS, 100)
ATTACHED = range(1, TASKS, 100)
Contents = dict[tuple[str, str], tuple[str, str]]


def task_id(number: int) -> str:
    return f"t-{number:05d}"


def metadata_of(number: int) -> str:
    """Return metadata with three entries, or without `data` for every tenth task."""
    if number % 10 == 9:
        return f'{{"number": {number}}}'
    return (
        f'{{"number": {number}, "data": {{"result": {{"build": 9{number:05d}00000000000000, "score": 1.0}},'
        f' "notes.md": "# {number}", "log": "line {number}"}}, "kept": true}}'
    )


def metadata_left(number: int) -> Any:
    left: dict[str, Any] = {"number": number}
    if number % 10 != 9:
        left["kept"] = True
    if number in CHANGED:
        left["changed"] = True
    if number in ATTACHED:
        left["data"] = {"log": f"line {number}"}
    return left


def attached(number: int) -> Contents:
    if number % 10 == 9:
        return {}
    log = "of somebody else" if number in ATTACHED else f"line {number}"
    return {
        (task_id(number), "result"): ("json", f'{{"build": 9{number:05d}00000000000000, "score": 1.0}}'),
        (task_id(number), "notes.md"): ("markdown", f"# {number}"),
        (task_id(number), "log"): ("text", log),
    }


async def run(site: Site, *arguments: str) -> tuple[int | None, Any]:
    """Run it to its end; returns its exit code and its summary."""
    process = await asyncio.create_subprocess_exec(
        AFFIX,
        *("migrate-metadata", "--json", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        env=environment(site.settings),
    )
    out, _ = await process.communicate()
    return process.returncode, json.loads(out)


async def begun(site: Site, log: Path) -> Command:
    """Start a run, and wait until it has moved something."""
    before = await site.sql.fetchval("SELECT count(*) FROM task_attachments")
    command = await Command.start("migrate-metadata", "--apply", settings=site.settings, log=log)
    while await site.sql.fetchval("SELECT count(*) FROM task_attachments") < before + TASKS // 4:
        assert command.running, command.output
        await asyncio.sleep(0.01)
    return command


async def write_beside(storage: Storage) -> None:
    """Change the metadata of some tasks, and attach to others what is in the way, unless it has been moved already."""
    for changed, held in zip(CHANGED, ATTACHED, strict=True):
        await storage.tasks.update(task_id(changed), TaskChanges(metadata='{"changed": true}'), "writer")
        ref = Ref(task_id(held), "log")
        try:
            await storage.attachments.create(ref, TextContent("of somebody else"), "writer", Condition(absent=True))
        except ConflictError:
            # It was moved first: the metadata says so, and is made to say what it said before.
            data = f'{{"data": {{"log": "line {held}"}}}}'
            await storage.attachments.create(ref, TextContent("of somebody else"), "writer")
            await storage.tasks.update(task_id(held), TaskChanges(metadata=data), "writer")


@pytest.mark.timeout(300)
async def test_all_is_moved_once_whatever_happens(site: Site, storage: Storage, tmp_path: Path) -> None:
    await site.insert({task_id(number): metadata_of(number) for number in range(TASKS)})
    before = await site.metadata()
    _, foreseen = await run(site)
    assert foreseen["tasks"] == {"read": TASKS, "withData": WITH_DATA, "cleared": WITH_DATA}
    assert foreseen["entries"]["byType"] == dict.fromkeys(("json", "markdown", "text"), WITH_DATA) | {"url": 0}
    assert (await site.attachments(), await site.metadata()) == ({}, before)

    killed = await begun(site, tmp_path / "killed")
    await killed.kill()
    assert 0 < len(await site.attachments()) < 3 * WITH_DATA

    running = await begun(site, tmp_path / "beside")
    await write_beside(storage)
    assert await running.wait(120) in {0, 3}, running.output

    code, last = await run(site, "--apply")
    assert code == 3
    skipped = {(one["taskId"], one["key"]): one["reason"] for one in last["skipped"]}
    assert skipped == {(task_id(number), "log"): "another attachment is there" for number in ATTACHED}
    left = {task: json.loads(metadata) for task, metadata in (await site.metadata()).items()}
    assert left == {task_id(number): metadata_left(number) for number in range(TASKS)}
    expected = [attached(number) for number in range(TASKS)]
    assert await site.attachments() == {name: content for some in expected for name, content in some.items()}
    assert (await storage.tasks.get(task_id(3))).task.metadata == '{"number": 3, "kept": true}'
