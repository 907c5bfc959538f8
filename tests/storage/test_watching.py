"""The feed: one reader for all, slow watchers, lost connections, places in the stream."""

# ruff: noqa: SLF001 - what a connection does when it breaks can only be seen by breaking it

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from affix_cli.embedded import EmbeddedValkey
from affix_server.config import Settings
from affix_server.domain import AttachmentEvent, EventKind, NewTask, Ref, TextContent, Watched
from affix_server.errors import ResumeTokenExpiredError, ShuttingDownError, SlowWatcherError, StorageUnavailableError
from affix_server.storage import feed, watching
from affix_server.storage.redis.event_stream import EventStream, parse_token, resume_token
from affix_server.storage.watching import Watching
from affix_server.stores import Storage, open_redis_only

STREAM = "cb:stream:attachments"
_PATIENCE_SECONDS = 15.0


class Events:
    """One watch: its events one by one."""

    def __init__(self, batches: AsyncGenerator[Sequence[AttachmentEvent]]) -> None:
        self._batches = batches
        self._waiting: list[AttachmentEvent] = []

    async def next(self) -> AttachmentEvent:
        while not self._waiting:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                self._waiting += await anext(self._batches)
        return self._waiting.pop(0)

    async def take(self, count: int) -> list[AttachmentEvent]:
        return [await self.next() for _ in range(count)]


async def begin(
    stack: AsyncExitStack, source: Watching, task_id: str | None = None, token: str | None = None
) -> tuple[Events, str]:
    """Begin a watch that lasts as long as the stack; returns it with its first token."""
    batches = await stack.enter_async_context(aclosing(source.watch(Watched(task_id), token)))
    events = Events(batches)
    started = await events.next()
    assert started.kind is EventKind.STARTED
    return events, started.resume_token


@pytest.fixture
async def stack() -> Any:
    async with AsyncExitStack() as opened:
        yield opened


async def put(storage: Storage, task_id: str, key: str, text: str = "x") -> int:
    return (await storage.attachments.create(Ref(task_id, key), TextContent(text), "a")).revision


async def test_a_slow_watcher_is_cut_off_and_resumes(
    storage: Storage, task_id: str, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "MOST_WAITING", 3)
    slow, token = await begin(stack, storage.watching, task_id)
    revisions = [await put(storage, task_id, f"k{number}") for number in range(10)]
    quick, _ = await begin(stack, storage.watching, task_id, token)
    assert [event.revision for event in await quick.take(10)] == revisions
    with pytest.raises(SlowWatcherError):
        await slow.next()
    again, _ = await begin(stack, storage.watching, task_id, token)
    assert [event.revision for event in await again.take(10)] == revisions


async def test_watchers_do_not_notice_a_lost_connection(storage: Storage, task_id: str, stack: AsyncExitStack) -> None:
    events, _ = await begin(stack, storage.watching, task_id)
    for number in range(3):
        connection = storage.watching._feed._stream._client._connection
        assert connection is not None
        assert connection._transport is not None
        connection._transport.abort()
        revision = await put(storage, task_id, f"k{number}")
        assert (await events.next()).revision == revision


async def test_watches_end_when_redis_stays_away(
    storage: Storage, task_id: str, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PATIENCE_SECONDS", 0.2)
    events, token = await begin(stack, storage.watching, task_id)
    client = storage.watching._feed._stream._client
    address = client._address
    assert client._connection is not None
    assert client._connection._transport is not None
    client._address = replace(address, path="/nonexistent/affix.sock")
    client._connection._transport.abort()
    with pytest.raises(StorageUnavailableError):
        await events.next()
    client._address = address
    revision = await put(storage, task_id, "k")
    again, _ = await begin(stack, storage.watching, task_id, token)
    assert (await again.next()).revision == revision


async def test_all_watchers_share_one_reader(
    storage: Storage, task_id: str, stack: AsyncExitStack, redis: Redis
) -> None:
    async def blocked() -> int:
        info: Any = await redis.info("clients")
        return int(info["blocked_clients"])

    async with AsyncExitStack() as inner:
        watchers = [(await begin(inner, storage.watching, task_id))[0] for _ in range(50)]
        revision = await put(storage, task_id, "k")
        assert {(await events.next()).revision for events in watchers} == {revision}
        assert await blocked() <= 1
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while await blocked():
            await asyncio.sleep(0.01)
    assert storage.watching._feed._reader is None
    events, _ = await begin(stack, storage.watching, task_id)
    revision = await put(storage, task_id, "k")
    assert (await events.next()).revision == revision


async def test_the_token_of_an_idle_watch_moves_on(
    storage: Storage, task_id: str, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch, redis: Redis
) -> None:
    monkeypatch.setattr(watching, "PROGRESS_SECONDS", 0.05)
    events, old = await begin(stack, storage.watching, f"no-{task_id}")
    await put(storage, task_id, "k")
    moved = await events.next()
    assert moved.kind is EventKind.PROGRESS
    await redis.xtrim(STREAM, maxlen=1, approximate=False)
    revision = await put(storage, task_id, "k2")
    resumed, _ = await begin(stack, storage.watching, task_id, moved.resume_token)
    assert (await resumed.next()).revision == revision
    with pytest.raises(ResumeTokenExpiredError):
        await begin(stack, storage.watching, task_id, old)


async def test_what_is_in_the_stream_twice_is_told_once(
    storage: Storage, task_id: str, stack: AsyncExitStack, redis: Redis
) -> None:
    live, token = await begin(stack, storage.watching, task_id)
    await put(storage, task_id, "k")
    entries: Any = await redis.xrevrange(STREAM, count=1)
    await redis.xadd(STREAM, entries[0][1])
    await put(storage, task_id, "end")
    past, _ = await begin(stack, storage.watching, task_id, token)
    for events in (live, past):
        assert [event.key for event in await events.take(2)] == ["k", "end"]


async def test_a_token_may_be_ahead_of_a_server(
    storage: Storage, task_id: str, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another server was quicker to read what the token stands for."""
    first, behind = await begin(stack, storage.watching, task_id)
    await put(storage, task_id, "k1")
    ahead = (await first.next()).resume_token
    settings = Settings(redis_url=_url(storage))
    other = (await open_redis_only(settings, CollectorRegistry(), stack)).watching

    async def lag(_: EventStream) -> bytes:
        return parse_token(behind)

    monkeypatch.setattr(EventStream, "end", lag)
    events, _ = await begin(stack, other, task_id, ahead)
    await put(storage, task_id, "k2")
    assert (await events.next()).key == "k2"


def _url(storage: Storage) -> str:
    return f"unix://{storage.watching._replay._client._address.path}"


async def test_a_long_past_is_told_whole_while_more_comes(
    storage: Storage, task_id: str, stack: AsyncExitStack, redis: Redis
) -> None:
    _, token = await begin(stack, storage.watching, task_id)
    await put(storage, task_id, "k")
    entries: Any = await redis.xrevrange(STREAM, count=1)
    fields = entries[0][1]
    async with redis.pipeline(transaction=False) as pipeline:
        for number in range(2000):
            pipeline.xadd(STREAM, {**fields, "key": f"k{number}", "revision": str(int(fields["revision"]) + number)})
        await pipeline.execute()
    events, _ = await begin(stack, storage.watching, task_id, token)
    for number in range(20):
        await put(storage, task_id, f"late{number}")
    told = [event.key for event in await events.take(2021)]
    assert told == ["k", *(f"k{number}" for number in range(2000)), *(f"late{number}" for number in range(20))]


async def test_a_past_that_goes_while_it_is_told_is_refused(
    storage: Storage, task_id: str, stack: AsyncExitStack, redis: Redis
) -> None:
    _, token = await begin(stack, storage.watching, task_id)
    await put(storage, task_id, "k")
    entries: Any = await redis.xrevrange(STREAM, count=1)
    fields = entries[0][1]
    async with redis.pipeline(transaction=False) as pipeline:
        for number in range(2000):
            pipeline.xadd(STREAM, {**fields, "key": f"k{number}"})
        await pipeline.execute()
    events, _ = await begin(stack, storage.watching, task_id, token)
    await events.take(10)
    await redis.xtrim(STREAM, maxlen=100, approximate=False)
    with pytest.raises(ResumeTokenExpiredError):
        await events.take(2000)


async def test_without_postgres_it_is_the_same(valkey_store: EmbeddedValkey, stack: AsyncExitStack) -> None:
    opened = await open_redis_only(Settings(redis_url=valkey_store.url), CollectorRegistry(), stack)
    task_id = f"t-{secrets.token_hex(8)}"
    await opened.tasks.create(NewTask(task_id, "a test", 50, "{}"), "a")
    events, _ = await begin(stack, opened.watching, task_id)
    ref = Ref(task_id, "k")
    await opened.attachments.create(ref, TextContent("1"), "a")
    await opened.attachments.create(ref, TextContent("2"), "b")
    await opened.attachments.delete(ref, "c")
    await opened.attachments.create(ref, TextContent("3"), "d")
    await opened.tasks.delete(task_id, "e")
    told = await events.take(5)
    assert [(event.kind.value, event.by) for event in told] == [
        ("created", "a"),
        ("overwritten", "b"),
        ("deleted", "c"),
        ("created", "d"),
        ("task_deleted", "e"),
    ]
    revisions = [event.revision for event in told]
    assert revisions == sorted(set(revisions))
    await opened.watching.close()
    with pytest.raises(ShuttingDownError):
        await events.next()
    with pytest.raises(ShuttingDownError):
        await begin(stack, opened.watching, task_id)


def test_a_token_says_nothing_but_its_place() -> None:
    assert parse_token(resume_token(b"1700000000000-3")) == b"1700000000000-3"
