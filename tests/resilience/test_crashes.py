"""A server is killed in the middle of a write; others finish it, or make it as if it had never begun."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from affix.v1 import attachments_pb2 as pb
from affix_server.config import Settings
from affix_server.domain import NewTask, Query, Ref, TextContent
from affix_server.stores import open_storage
from tests.resilience.crashing_server import POINTS
from tests.resilience.servers import Server
from tests.resilience.world import Stores, eventually

_TASK = "t-crashes"
_NO_LONGER_UNDONE = {"after-the-commit", "after-the-publication"}
_CASES = [(point, write) for point in POINTS for write in ("overwrite", "delete")]
_FINISHED_SECONDS = 6.0  # one second until a write counts as cut short here, and a few rounds of the reconciler
_STREAMS = {"overwrite": "cb:stream:task.attachment_created", "delete": "cb:stream:task.attachment.deleted"}


# What a server answers to a get, and has in a list.
_Answers = dict[Ref, tuple[str | None, str | None]]


@dataclass
class _Aftermath:
    """The answers of a server that was there all the time, then of one started after the crashes; both stores."""

    survivor: _Answers
    restarted: _Answers
    redis: Redis
    sql: asyncpg.Connection


@pytest.fixture(scope="module")
async def aftermath(stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[_Aftermath]:
    logs = tmp_path_factory.mktemp("logs")
    async with AsyncExitStack() as stack:
        await _prepare(stores)
        survivor = await Server.serving("none", stores, logs / "survivor.log")
        stack.push_async_callback(survivor.stop)
        await asyncio.gather(*(_crash(point, write, stores, logs) for point, write in _CASES))
        redis = await stack.enter_async_context(Redis.from_url(stores[1].url, decode_responses=True))

        async def no_trace_is_left() -> bool:
            return not await redis.zcard("cb:intents")

        await eventually(no_trace_is_left, _FINISHED_SECONDS)
        survived = await _answers(survivor)
        restarted = await Server.serving("none", stores, logs / "restarted.log")
        stack.push_async_callback(restarted.stop)
        sql = await asyncpg.connect(stores[0].dsn)
        stack.callback(sql.terminate)
        yield _Aftermath(survived, await _answers(restarted), redis, sql)


def _ref(point: str, write: str) -> Ref:
    return Ref(_TASK, f"crash-{point}-{write}")


async def _prepare(stores: Stores) -> None:
    async with AsyncExitStack() as stack:
        settings = Settings(postgres_dsn=stores[0].dsn, redis_url=stores[1].url)
        storage = await open_storage(settings, CollectorRegistry(), stack)
        await storage.tasks.create(NewTask(_TASK, "a test", 50, "{}"), "a")
        for case in _CASES:
            await storage.attachments.create(_ref(*case), TextContent("old"), "a")
        await storage.attachments.list(Query(_TASK, limit=100))  # so that there is an index to keep right


async def _crash(point: str, write: str, stores: Stores, logs: Path) -> None:
    ref = _ref(point, write)
    server = await Server.serving(point, stores, logs / f"{ref.key}.log")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.stop)
        stub = await stack.enter_async_context(server.stub())
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await _write(stub, ref, write)
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE
        assert await server.wait() == -signal.SIGKILL


@pytest.mark.parametrize(("point", "write"), _CASES)
async def test_a_write_cut_short_is_whole_or_nowhere(point: str, write: str, aftermath: _Aftermath) -> None:
    ref = _ref(point, write)
    happened = point in _NO_LONGER_UNDONE
    expected = "old" if not happened else None if write == "delete" else "new"
    row = await aftermath.sql.fetchrow("SELECT * FROM task_attachments WHERE task_id = $1 AND key = $2", *ref)
    assert row is not None
    assert row["content"] == expected
    name = f"cb:task:{_TASK}:attachment:{ref.key}"
    if await aftermath.redis.exists(name):
        assert await aftermath.redis.hget(name, "content") == expected
    assert aftermath.survivor[ref] == aftermath.restarted[ref] == (expected, expected)
    assert await _told(aftermath.redis, ref, write, row["revision"]) is (happened or write == "overwrite")


async def _write(stub: Any, ref: Ref, write: str) -> None:
    if write == "delete":
        await stub.DeleteAttachment(pb.DeleteAttachmentRequest(task_id=_TASK, key=ref.key))
    else:
        text = pb.TextContent(content="new")
        await stub.CreateAttachment(pb.CreateAttachmentRequest(task_id=_TASK, key=ref.key, text=text))


async def _answers(server: Server) -> _Answers:
    async with server.stub() as stub:
        page = await stub.ListAttachments(pb.ListAttachmentsRequest(task_id=_TASK, limit=100))
        assert page.total_count == len(page.attachments)
        listed = {one.key: one.text.content for one in page.attachments}
        refs = [_ref(*case) for case in _CASES]
        return {ref: (await _get(stub, ref), listed.get(ref.key)) for ref in refs}


async def _get(stub: Any, ref: Ref) -> str | None:
    try:
        found = await stub.GetAttachment(pb.GetAttachmentRequest(task_id=ref.task_id, key=ref.key))
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return None
    return str(found.attachment.text.content)


async def _told(redis: Redis, ref: Ref, write: str, revision: int) -> bool:
    """Tell whether there is an event of the row as it is."""
    entries: Any = await redis.xrange(_STREAMS[write])
    told = [(int(fields["revision"]), json.loads(fields["data"])) for _, fields in entries]
    return any(at == revision and event["payload"]["key"] == ref.key for at, event in told)
