"""What a release asks PostgreSQL, recorded once with that release, and asked again of newer schemas ever after.

With the release's four source roots on PYTHONPATH, from a checkout of it, and a database of its own:

    python tests/running/recording.py tests/running/releases/NAME.json
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
from prometheus_client import CollectorRegistry

from affix.v1 import attachments_pb2 as a
from affix.v1 import tasks_pb2 as t
from affix.v1.attachments_pb2_grpc import AttachmentServiceStub
from affix.v1.tasks_pb2_grpc import TaskServiceStub
from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey
from affix_server.app import open_server
from affix_server.config import Settings
from affix_server.storage.postgres.migrate import migrate, migrations

# What the conversation leaves: tasks and attachments, deleted or not.
LEFT = """
SELECT 'task ' || id || CASE WHEN deleted_at IS NULL THEN '' ELSE ' deleted' END FROM tasks UNION ALL
SELECT 'attachment ' || key || ' ' || coalesce(type, 'deleted') FROM task_attachments ORDER BY 1
"""
# What asyncpg asks for itself.
_DRIVERS = ("pg_advisory_unlock_all", "typeinfo_tree", "'jit'")
# Revisions, and the time by which a statement must have begun: microseconds since 1970.
_CLOCK = range(10**15, 10**16)


def encode(value: object) -> Any:
    """Put an argument of a statement into JSON; `decode` is its inverse, later."""
    match value:
        case datetime():
            return {"time": value.isoformat()}
        case list() | tuple():
            return [encode(each) for each in value]
        case None | bool() | int() | float() | str():
            return value
    raise TypeError(f"a statement has an argument of type {type(value)}")


def decode(value: Any, later_us: int) -> Any:
    """Give back an argument, as it would have been so many microseconds later."""
    match value:
        case {"time": text}:
            return datetime.fromisoformat(text) + timedelta(microseconds=later_us)
        case list():
            return [decode(each, later_us) for each in value]
        case int() if value in _CLOCK:
            return value + later_us
    return value


async def _converse(channel: Any) -> None:
    """Use every method that reaches PostgreSQL."""
    tasks: Any = TaskServiceStub(channel)
    attachments: Any = AttachmentServiceStub(channel)
    task = "t-recorded"
    await tasks.CreateTask(t.CreateTaskRequest(id=task, text="Recorded", metadata='{"a": 1}'))
    contents: list[dict[str, Any]] = [
        {"json": a.JsonContent(value='{"x": 1.0}')},
        {"markdown": a.MarkdownContent(content="# x")},
        {"text": a.TextContent(content="x")},
        {"url": a.UrlContent(url="https://example.com/x")},
        {"binary": a.BinaryContent(mime_type="image/png", size=3)},
    ]
    for number, content in enumerate([*contents, contents[0]]):
        await attachments.CreateAttachment(a.CreateAttachmentRequest(task_id=task, key=f"k-{number % 5}", **content))
    await attachments.DeleteAttachment(a.DeleteAttachmentRequest(task_id=task, key="k-4"))
    await tasks.UpdateTask(t.UpdateTaskRequest(id=task, updates=t.TaskUpdates(text="Changed")))
    await tasks.ListTasks(t.ListTasksRequest())
    await tasks.CompleteTask(t.CompleteTaskRequest(id=task, result=a.JsonContent(value='{"done": true}')))
    await tasks.CreateTask(t.CreateTaskRequest(id="t-gone", text="Gone"))
    await tasks.DeleteTask(t.DeleteTaskRequest(id="t-gone"))


async def _read(channel: Any) -> None:
    """Read what Redis has forgotten."""
    tasks: Any = TaskServiceStub(channel)
    attachments: Any = AttachmentServiceStub(channel)
    task = "t-recorded"
    await attachments.ListAttachments(a.ListAttachmentsRequest(task_id=task))
    await attachments.GetAttachment(a.GetAttachmentRequest(task_id=task, key="k-0"))
    await tasks.GetTask(t.GetTaskRequest(id=task))
    refs = [a.AttachmentRef(task_id=task, key=f"k-{number}") for number in range(3)]
    await attachments.BatchGetAttachments(a.BatchGetAttachmentsRequest(requests=refs))


async def record() -> dict[str, Any]:
    asked: list[tuple[str, Any]] = []
    begun_us = time.time_ns() // 1000

    make: Callable[..., Awaitable[Any]] = asyncpg.create_pool

    def listening(*args: Any, init: Callable[[Any], Awaitable[None]] | None = None, **options: Any) -> Any:
        async def listen(connection: Any) -> None:
            if init is not None:
                await init(connection)
            connection.add_query_logger(lambda query: asked.append((query.query, encode(query.args))))

        return make(*args, **options, init=listen)

    asyncpg.create_pool = listening
    with tempfile.TemporaryDirectory(prefix="affix-") as path:
        postgres, valkey = EmbeddedPostgres(Path(path)), EmbeddedValkey(Path(path))
        await postgres.start()
        await valkey.start()
        try:
            await migrate(postgres.dsn)
            settings = Settings(grpc_listen="127.0.0.1:0", postgres_dsn=postgres.dsn, redis_url=valkey.url)
            async with open_server(settings, CollectorRegistry()) as server:
                await _converse(server.channel)
                await _flush(valkey.url)
                await _read(server.channel)
                await asyncio.sleep(3)  # for what is asked in the background, now and then
            connection = await asyncpg.connect(postgres.dsn)
            left = [row[0] for row in await connection.fetch(LEFT)]
            await connection.close()
        finally:
            await valkey.stop()
            await postgres.stop()
    calls = [[sql, args] for sql, args in asked if not any(drivers in sql for drivers in _DRIVERS)]
    return {"migrations": list(migrations()), "recorded_us": begun_us, "left": left, "calls": calls}


async def _flush(url: str) -> None:
    from redis.asyncio import Redis  # noqa: PLC0415 - releases differ in what they need

    async with Redis.from_url(url) as client:
        await client.flushall()


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(asyncio.run(record()), indent=0) + "\n")
