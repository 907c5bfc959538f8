"""`affix migrate-metadata` as its users see it: what it prints, on a terminal and elsewhere, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import secrets
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from prometheus_client import CollectorRegistry

from affix_server.config import Settings
from affix_server.domain import JsonContent, NewTask, Ref
from affix_server.stores import open_redis_only
from tests.cli.commands import NOBODY, affix, plain_failure
from tests.harness.processes import AFFIX, Command, environment
from tests.metadata.conftest import Site
from tests.storage.outages import dead

METADATA = {
    "t-1": '{"data": {"log": "x", "notes.md": "# x", "n": 1.0, "link": "https://example.com/"}}',
    "t-2": '{"a": "data"}',
    "t-3": '{"data": {"\\u001b[31m": 1, "": 2, "ok": 3}}',
    "t-4": '{"data": []}',
    "t-5": '{"\\u0064ata": {"nul": "\\u0000", "more": ["\\u0000"]}}',
}
SKIPPED = [
    ("t-3", "\x1b[31m", "the key must not contain control characters"),
    ("t-3", "", "the key is empty"),
    ("t-4", None, "`data` is no object"),
    ("t-5", "nul", "the content must not contain U+0000"),
]
LINES = [
    'skipped: task t-3, key "\\u001b[31m": the key must not contain control characters',
    'skipped: task t-3, key "": the key is empty',
    "skipped: task t-4: `data` is no object",
    'skipped: task t-5, key "nul": the content must not contain U+0000',
    "5 tasks read, 4 with metadata.data",
]


# The command, but that it waits for stores no longer than this.
IMPATIENT = """
import sys
from affix_cli import main
from affix_cli.metadata import command

command.migrate_metadata.__kwdefaults__["waits"] = (0.1,)
sys.argv = ["affix", "migrate-metadata", "--apply"]
main.main()
"""


async def run(site: Site, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(affix, "migrate-metadata", *arguments, **site.settings | settings)


async def test_a_dry_run_says_what_would_be_done_and_does_nothing(site: Site) -> None:
    await site.insert(METADATA)
    done = await run(site)
    assert done.returncode == 3
    assert done.stdout.splitlines() == [
        *LINES,
        "6 entries would be moved: 3 json, 1 markdown, 1 text, 1 url",
        "metadata.data would be gone from 1 task",
        "4 skipped, and left where they are",
        "nothing has been changed: --apply does it",
    ]
    assert done.stderr.splitlines() == [
        "0 of 5 tasks, 0 entries to move, 0 skipped",
        "5 of 5 tasks, 6 entries to move, 4 skipped",
    ]
    assert (await site.metadata(), await site.attachments()) == (METADATA, {})
    assert await site.redis.keys("cb:stream:*") == []


async def test_it_is_done_once_and_said_for_people_and_programs(site: Site) -> None:
    await site.insert(METADATA)
    done = await run(site, "--apply", AFFIX_INSTANCE_ID="the mover")
    assert done.returncode == 3
    assert sorted(done.stdout.splitlines()[:4]) == sorted(LINES[:4])
    assert done.stdout.splitlines()[4:] == [
        LINES[4],
        "6 entries moved: 3 json, 1 markdown, 1 text, 1 url",
        "metadata.data gone from 1 task",
        "4 skipped, and left where they are",
    ]
    assert await site.metadata() == {
        "t-1": "{}",
        "t-2": '{"a": "data"}',
        "t-3": '{"data": {"\\u001b[31m": 1, "": 2}}',
        "t-4": '{"data": []}',
        "t-5": '{"\\u0064ata": {"nul": "\\u0000"}}',
    }
    attachments = await site.attachments()
    assert attachments == {
        ("t-1", "log"): ("text", "x"),
        ("t-1", "notes.md"): ("markdown", "# x"),
        ("t-1", "n"): ("json", "1.0"),
        ("t-1", "link"): ("url", "https://example.com/"),
        ("t-3", "ok"): ("json", "3"),
        ("t-5", "more"): ("json", '["\\u0000"]'),
    }
    assert {row["created_by"] for row in await site.sql.fetch("SELECT created_by FROM task_attachments")} == {
        "the mover"
    }

    again = await run(site, "--apply", "--json")
    assert again.returncode == 3
    summary = json.loads(again.stdout)
    assert sorted(summary.pop("skipped"), key=str) == sorted(
        ({"taskId": task, "key": key, "reason": reason} for task, key, reason in SKIPPED), key=str
    )
    assert summary == {
        "applied": True,
        "complete": True,
        "tasks": {"read": 5, "withData": 3, "cleared": 0},
        "entries": {"moved": 0, "byType": {"json": 0, "markdown": 0, "text": 0, "url": 0}, "alreadyThere": 0},
    }
    assert await site.attachments() == attachments


async def test_all_moved_is_exit_code_0(site: Site) -> None:
    await site.insert({"t-1": METADATA["t-1"]})
    assert (await run(site)).returncode == 0
    assert (await run(site, "--apply")).returncode == 0
    done = await run(site, "--apply")
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        [
            "1 task read, 0 with metadata.data",
            "0 entries moved: 0 json, 0 markdown, 0 text, 0 url",
            "metadata.data gone from 0 tasks",
        ],
    )


async def test_no_content_is_larger_than_the_settings_allow(site: Site) -> None:
    await site.insert({"t-1": '{"data": {"log": "12345"}}'})
    done = await run(site, "--apply", AFFIX_MAX_CONTENT_BYTES="4")
    assert (done.returncode, done.stdout.splitlines()[0]) == (
        3,
        'skipped: task t-1, key "log": the content must be at most 4 bytes, not 5',
    )


async def test_large_metadata_and_what_was_moved_before_are_moved(site: Site) -> None:
    """More than is read at once, in more tasks than that."""
    large = {f"t-{number}": f'{{"data": {{"log": "{secrets.token_hex(700_000)}"}}}}' for number in range(4)}
    await site.insert(large | {f"u-{number}": "{}" for number in range(1200)})
    done = await run(site, "--apply", "--json")
    assert json.loads(done.stdout)["tasks"] == {"read": 1204, "withData": 4, "cleared": 4}
    assert set(await site.metadata()) == {*large, *(f"u-{number}" for number in range(1200))}
    assert set((await site.metadata()).values()) == {"{}"}
    assert len(await site.attachments()) == 4


async def test_a_bar_on_a_terminal(site: Site) -> None:
    await site.insert(METADATA)
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(AFFIX, "migrate-metadata"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=theirs,
        env=environment(site.settings) | {"TERM": "xterm-256color", "COLUMNS": "100"},
    )
    os.close(theirs)
    shown = asyncio.create_task(asyncio.to_thread(_read_all, ours))
    out, _ = await process.communicate()
    bar = await shown
    os.close(ours)
    assert process.returncode == 3
    assert out.decode().splitlines()[:5] == LINES
    assert "━" in bar
    assert "5/5" in bar
    assert "6 entries to move, 4 skipped" in bar


def _read_all(terminal: int) -> str:
    read = b""
    try:
        while some := os.read(terminal, 4096):
            read += some
    except OSError:  # Linux' end of a terminal that nobody has open any more
        pass
    return read.decode()


async def test_ctrl_c_ends_it_and_it_goes_on_where_it_was(site: Site, tmp_path: Path) -> None:
    tasks = {f"t-{number:04d}": '{"data": {"log": "x"}}' for number in range(3000)}
    await site.insert(tasks)
    running = await Command.start("migrate-metadata", "--apply", settings=site.settings, log=tmp_path / "log")
    while not await site.sql.fetchval("SELECT count(*) FROM task_attachments"):
        assert running.running, running.output
        await asyncio.sleep(0.01)
    running.interrupt()
    assert await running.wait() == 130
    assert "not finished: run it again to go on" in running.output
    assert "Traceback" not in running.output
    assert 0 < len(await site.attachments()) < len(tasks)
    assert (await run(site, "--apply")).returncode == 0
    assert await site.metadata() == dict.fromkeys(tasks, "{}")
    assert set(await site.attachments()) == {(task, "log") for task in tasks}


async def test_storage_that_fails_for_long_ends_it_with_a_line(site: Site) -> None:
    await site.insert({f"t-{number:04d}": '{"data": {"log": "x"}}' for number in range(3000)})
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", IMPATIENT),
        env=environment(site.settings | {"AFFIX_OPERATION_TIMEOUT_SECONDS": "1", "AFFIX_LOG_LEVEL": "error"}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    while not await site.sql.fetchval("SELECT count(*) FROM task_attachments"):
        assert process.returncode is None
        await asyncio.sleep(0.01)
    await site.sql.expire_connections()
    async with dead(site.postgres):
        out, error = await process.communicate()
    assert process.returncode == 2
    last = error.decode().splitlines()[-1]
    assert re.fullmatch(r"affix: storage failed: .*; what was moved stays moved, run it again to go on", last), (
        error.decode()
    )
    assert out.decode().splitlines()[-1] == "not finished: run it again to go on"
    assert (await run(site, "--apply")).returncode == 0
    assert len(await site.attachments()) == 3000


async def test_redis_alone_is_gone_through_as_well(site: Site) -> None:
    settings = Settings(postgres_dsn="none", redis_url=site.valkey.url)
    async with AsyncExitStack() as stack:
        alone = await open_redis_only(settings, CollectorRegistry(), stack)
        for number in range(600):
            metadata = METADATA["t-1"] if number % 3 == 0 else '{"a": 1}'
            await alone.tasks.create(NewTask(f"t-{number}", "a task", 50, metadata), "someone")
        await alone.tasks.delete("t-0", "someone")
        done = await run(site, "--apply", "--json", AFFIX_POSTGRES_DSN="none")
        assert json.loads(done.stdout)["tasks"] == {"read": 599, "withData": 199, "cleared": 199}
        assert (await alone.tasks.get("t-3")).task.metadata == "{}"
        assert (await alone.attachments.get(Ref("t-3", "n"))).content == JsonContent("1.0")
    assert (await run(site, AFFIX_POSTGRES_DSN="none")).stdout.startswith("599 tasks read, 0 with metadata.data\n")


async def test_stores_have_to_be_named_and_there(site: Site) -> None:
    assert plain_failure(affix("migrate-metadata")) == (
        "affix migrate-metadata needs AFFIX_POSTGRES_DSN and AFFIX_REDIS_URL: the stores of the service"
    )
    gone = plain_failure(await run(site, AFFIX_REDIS_URL=f"redis://{NOBODY}"))
    assert gone.startswith("cannot reach Redis (AFFIX_REDIS_URL)")
