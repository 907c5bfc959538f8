"""What is promised while one of the stores is away, and after it is back."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey
from affix_server.config import Settings
from affix_server.domain import AttachmentType, JsonContent, NewTask, Query, Ref, TextContent
from affix_server.errors import (
    AttachmentNotFoundError,
    CircuitOpenError,
    StorageUnavailableError,
    TaskNotFoundError,
)
from affix_server.storage.postgres.migrate import migrate
from affix_server.stores import Storage, open_storage
from tests.storage.outages import dead, frozen, until


@dataclass
class World:
    """Stores of one's own, to be taken away, and the storage half of a server on them."""

    postgres: EmbeddedPostgres
    valkey: EmbeddedValkey
    storage: Storage
    redis: Redis
    settings: Settings

    async def task(self) -> str:
        written = await self.storage.tasks.create(NewTask(f"t-{secrets.token_hex(8)}", "a test", 50, "{}"), "a")
        return written.task.id

    async def row(self, ref: Ref) -> asyncpg.Record | None:
        connection = await asyncpg.connect(self.postgres.dsn)
        try:
            return await connection.fetchrow(
                "SELECT * FROM task_attachments WHERE task_id = $1 AND key = $2", ref.task_id, ref.key
            )
        finally:
            await connection.close()

    async def postgres_is_back(self) -> None:
        await until(lambda: self.storage.postgres_circuit.is_closed)

    async def redis_is_back(self) -> None:
        await until(lambda: self.storage.trust.believed)


@pytest.fixture(scope="module")
async def stores() -> AsyncIterator[tuple[EmbeddedPostgres, EmbeddedValkey]]:
    with tempfile.TemporaryDirectory(prefix="affix-") as folder:
        postgres, valkey = EmbeddedPostgres(Path(folder)), EmbeddedValkey(Path(folder))
        await postgres.start()
        await valkey.start()
        await migrate(postgres.dsn)
        yield postgres, valkey
        await valkey.stop()
        await postgres.stop()


@pytest.fixture
async def world(stores: tuple[EmbeddedPostgres, EmbeddedValkey]) -> AsyncIterator[World]:
    postgres, valkey = stores
    settings = Settings(
        postgres_dsn=postgres.dsn,
        redis_url=valkey.url,
        operation_timeout_seconds=2,
        circuit_threshold=3,
        circuit_open_seconds=0.3,
    )
    async with AsyncExitStack() as stack:
        storage = await open_storage(settings, CollectorRegistry(), stack)
        redis = await stack.enter_async_context(Redis.from_url(valkey.url, decode_responses=True))
        yield World(postgres, valkey, storage, redis, settings)


async def test_a_write_while_postgres_is_frozen_is_pending_and_arrives(world: World) -> None:
    task_id = await world.task()
    kept, new = Ref(task_id, "kept"), Ref(task_id, "new")
    first = await world.storage.attachments.create(kept, TextContent("1"), "a")
    assert (await world.storage.attachments.list(Query(task_id, limit=10))).total_count == 1
    async with frozen(world.postgres):
        begun = time.monotonic()
        second = await world.storage.attachments.create(kept, JsonContent("2"), "b")
        assert time.monotonic() - begun < 2
        assert second.pending
        assert (second.id, second.created_at) == (first.id, first.created_at)
        assert (await world.storage.attachments.create(new, TextContent("n"), "b")).pending
        assert (await world.storage.attachments.get(kept)).content == JsonContent("2")
        page = await world.storage.attachments.list(Query(task_id, limit=10))
        assert [one.key for one in page.attachments] == ["kept", "new"]
        assert (await world.storage.attachments.list(Query(task_id, AttachmentType.TEXT, limit=10))).total_count == 1
        assert await world.redis.ttl(f"cb:task:{task_id}:attachment:kept") == -1
        assert await world.redis.ttl(f"cb:task:{task_id}:attachments") == -1
        assert await world.redis.smembers(f"cb:task:{task_id}:pending") == {"kept", "new"}
    await world.postgres_is_back()
    await asyncio.sleep(1.6)  # whatever the given-up statements still do
    for ref, value, by in ((kept, "2", "b"), (new, None, "b")):
        row = await world.row(ref)
        assert row is not None
        assert (row["value"], row["updated_by"]) == (value, by)
    assert await world.redis.exists(f"cb:task:{task_id}:pending") == 0
    assert await world.redis.ttl(f"cb:task:{task_id}:attachment:kept") > 0
    assert await world.redis.ttl(f"cb:task:{task_id}:attachments") > 0
    assert await world.redis.hexists(f"cb:task:{task_id}:attachment:kept", "pending") is False
    await world.redis.flushall()
    assert (await world.storage.attachments.get(kept)).content == JsonContent("2")
    assert (await world.storage.attachments.get(kept)).id == first.id


async def test_a_deletion_while_postgres_is_dead_stays_deleted(world: World) -> None:
    task_id = await world.task()
    ref = Ref(task_id, "secret")
    await world.storage.attachments.create(ref, TextContent("planted-content"), "a")
    async with dead(world.postgres):
        deleted = await world.storage.attachments.delete(ref, "b")
        assert deleted.pending
        with pytest.raises(AttachmentNotFoundError):
            await world.storage.attachments.get(ref)
        with pytest.raises(AttachmentNotFoundError):
            await world.storage.attachments.delete(ref, "b")
    await world.postgres_is_back()
    await until(lambda: True)
    async with asyncio.timeout(10):
        while (row := await world.row(ref)) is not None and row["deleted_at"] is None:
            await asyncio.sleep(0.05)
    assert row is not None
    assert row["content"] is None
    await world.redis.flushall()
    with pytest.raises(AttachmentNotFoundError):
        await world.storage.attachments.get(ref)


async def test_what_only_postgres_could_tell_is_unavailable_never_not_found(world: World) -> None:
    task_id = await world.task()
    ref = Ref(task_id, "cold")
    await world.storage.attachments.create(ref, TextContent("x"), "a")
    await world.redis.delete(f"cb:task:{task_id}:attachment:cold", f"cb:task:{task_id}:attachments")
    unavailable = (StorageUnavailableError, CircuitOpenError)
    async with dead(world.postgres):
        for attempt in (
            world.storage.attachments.get(ref),
            world.storage.attachments.delete(ref, "a"),
            world.storage.attachments.create(Ref("t-unknown", "k"), TextContent("x"), "a"),
            world.storage.attachments.list(Query(task_id, limit=10)),
            world.storage.tasks.get("t-unknown"),
        ):
            with pytest.raises(unavailable):
                await attempt
        provisional = await world.storage.attachments.create(ref, TextContent("y"), "b")
        assert provisional.pending
    await world.postgres_is_back()
    async with asyncio.timeout(10):
        while (row := await world.row(ref)) is not None and row["content"] != "y":
            await asyncio.sleep(0.05)
    assert row is not None
    assert row["created_by"] == "a"
    assert row["id"] != provisional.id
    assert (await world.storage.attachments.get(ref)).id == row["id"]


async def test_writes_while_redis_is_dead_are_there_when_it_returns(world: World) -> None:
    task_id = await world.task()
    ref, gone, new = Ref(task_id, "note"), Ref(task_id, "gone"), Ref(task_id, "new")
    await world.storage.attachments.create(ref, TextContent("1"), "a")
    await world.storage.attachments.create(gone, TextContent("1"), "a")
    assert (await world.storage.attachments.list(Query(task_id, limit=10))).total_count == 2
    async with dead(world.valkey):
        assert not (await world.storage.attachments.create(ref, TextContent("2"), "a")).pending
        await world.storage.attachments.create(new, TextContent("3"), "a")
        await world.storage.attachments.delete(gone, "a")
        assert (await world.storage.attachments.get(ref)).content == TextContent("2")
        page = await world.storage.attachments.list(Query(task_id, limit=10))
        assert [one.key for one in page.attachments] == ["note", "new"]
        with pytest.raises(TaskNotFoundError):
            await world.storage.attachments.get(Ref("t-none", "k"))
    await world.redis_is_back()
    assert await world.redis.hget(f"cb:task:{task_id}:attachment:note", "content") == "2"
    assert (await world.storage.attachments.get(ref)).content == TextContent("2")
    with pytest.raises(AttachmentNotFoundError):
        await world.storage.attachments.get(gone)
    page = await world.storage.attachments.list(Query(task_id, limit=10))
    assert [one.key for one in page.attachments] == ["note", "new"]


async def test_another_process_does_not_believe_a_redis_that_this_one_writes_past(world: World) -> None:
    task_id = await world.task()
    ref = Ref(task_id, "note")
    async with AsyncExitStack() as stack:
        other = await open_storage(world.settings, CollectorRegistry(), stack)
        await world.storage.attachments.create(ref, TextContent("1"), "a")
        assert (await other.attachments.get(ref)).content == TextContent("1")
        world.storage.trust.doubt()
        await world.storage.attachments.create(ref, TextContent("2"), "a")
        assert (await other.attachments.get(ref)).content == TextContent("2")
        await world.redis_is_back()
        await until(lambda: other.trust.believed)
        assert (await other.attachments.get(ref)).content == TextContent("2")


async def test_what_one_process_accepted_without_postgres_another_finds_deletes_and_overwrites(world: World) -> None:
    task_id = await world.task()
    deleted, kept = Ref(task_id, "deleted"), Ref(task_id, "kept")
    async with AsyncExitStack() as stack:
        other = await open_storage(world.settings, CollectorRegistry(), stack)
        world.storage.postgres_circuit.failed(100)  # this process has lost its way to Postgres
        accepted = await world.storage.attachments.create(deleted, TextContent("1"), "a")
        first = await world.storage.attachments.create(kept, TextContent("1"), "a")
        assert accepted.pending
        assert first.pending
        assert (await other.attachments.delete(deleted, "b")).id == accepted.id
        second = await other.attachments.create(kept, TextContent("2"), "b")
        assert (second.id, second.pending) == (first.id, False)
        for storage in (world.storage, other):
            with pytest.raises(AttachmentNotFoundError):
                await storage.attachments.get(deleted)
            assert (await storage.attachments.get(kept)).content == TextContent("2")
    await world.redis.flushall()
    await world.postgres_is_back()
    assert (await world.storage.attachments.get(kept)).content == TextContent("2")
    with pytest.raises(AttachmentNotFoundError):
        await world.storage.attachments.get(deleted)


async def test_what_was_cut_short_does_not_keep_postgres_out(world: World) -> None:
    """A trace that is old by the time Postgres returns, of a write that is not pending, has to wait its turn."""
    task_id = await world.task()
    kept = await world.storage.attachments.create(Ref(task_id, "kept"), TextContent("1"), "a")
    async with dead(world.postgres):
        accepted = await world.storage.attachments.create(Ref(task_id, "kept"), TextContent("2"), "a")
        assert (accepted.id, accepted.pending) == (kept.id, True)
        await world.redis.zadd("cb:intents", {f"{task_id}:other\x1fdead": 1, f"{task_id}:kept\x1fdead": 2})
        await until(lambda: not world.storage.postgres_circuit.is_closed)
    await world.postgres_is_back()
    assert not (await world.storage.attachments.create(Ref(task_id, "kept"), TextContent("3"), "a")).pending


async def test_revisions_stay_near_the_clock_however_much_is_written_without_postgres(world: World) -> None:
    """Were they to run away, a process that starts afresh would lose its writes to those of the past."""
    ref = Ref(await world.task(), "note")
    world.storage.postgres_circuit.failed(100)
    for n in range(100):
        last = await world.storage.attachments.create(ref, TextContent(str(n)), "a")
    assert last.revision < (time.time() + 5) * 1_000_000
    await world.postgres_is_back()
    settled = await world.storage.attachments.create(ref, TextContent("settled"), "a")
    assert last.revision < settled.revision < (time.time() + 5) * 1_000_000
    new = await world.storage.attachments.create(Ref(ref.task_id, "new"), TextContent("n"), "a")
    assert new.created_at <= time.time() * 1000


async def test_a_probe_of_redis_that_something_came_in_between_of_goes_on(world: World) -> None:
    circuit = world.storage.redis_circuit
    world.storage.trust.doubt()
    circuit.failed(100)
    await until(circuit.begin_probe)
    world.storage.trust.doubt()
    await world.redis_is_back()
    assert circuit.is_closed
