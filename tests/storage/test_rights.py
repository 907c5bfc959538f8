"""Who may change a task, whichever store is there to tell."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from affix_cli.embedded import EmbeddedValkey
from affix_server.config import Settings
from affix_server.domain import NewTask, Ref, TaskChanges, TaskRights, TextContent
from affix_server.errors import StorageUnavailableError, TaskNotFoundError
from affix_server.storage import trust
from affix_server.storage.base import Tasks
from affix_server.storage.postgres.tasks import TaskTable
from affix_server.storage.redis.client import RedisClient
from affix_server.storage.redis.connection import Command, Reply
from affix_server.storage.redis.task_cache import TASK_RIGHTS
from affix_server.storage.redis_watch import RedisWatch
from affix_server.stores import Storage, open_redis_only
from tests.storage.outages import dead, frozen, until
from tests.storage.test_outages import World, stores, world

__all__ = ["stores", "world"]

RIGHTS = TaskRights("creator", ("w-1", "w-2"))


async def registered(tasks: Tasks) -> str:
    new = NewTask(f"t-{secrets.token_hex(8)}", "a test", 50, "{}", RIGHTS.writers)
    return (await tasks.create(new, RIGHTS.owner)).task.id


async def test_redis_tells_with_one_command(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    # What other servers of the suite think of Redis, whose store other tests have frozen, is of no account here.
    monkeypatch.setattr(RedisWatch, "_join", lambda *_: None)
    await until(lambda: storage.trust.believed)
    task_id = await registered(storage.tasks)
    about_it: list[Command] = []
    pipeline = RedisClient.pipeline

    async def noting(client: RedisClient, commands: Sequence[Command]) -> list[Reply]:
        about_it.extend(command for command in commands if any(task_id in str(part) for part in command))
        return await pipeline(client, commands)

    async def not_asked(*_: object) -> None:
        raise AssertionError("PostgreSQL was asked")

    monkeypatch.setattr(trust, "LOOK_HOLDS_SECONDS", 60.0)  # or on a busy machine Redis is not believed for a moment
    monkeypatch.setattr(RedisClient, "pipeline", noting)
    monkeypatch.setattr(TaskTable, "read", not_asked)
    assert await storage.tasks.rights(task_id) == RIGHTS
    assert about_it == [TASK_RIGHTS([f"cb:task:{task_id}"])]


async def test_postgres_tells_what_redis_has_forgotten(storage: Storage, redis: Redis) -> None:
    task_id = await registered(storage.tasks)
    for spoil in (
        lambda: redis.delete(f"cb:task:{task_id}"),
        lambda: redis.hdel(f"cb:task:{task_id}", "createdBy"),
        lambda: redis.hset(f"cb:task:{task_id}", "writers", "all of them"),
        lambda: redis.hset(f"cb:task:{task_id}", "writers", '{"w-9": 1}'),
        lambda: redis.set(f"cb:task:{task_id}", "no hash"),
    ):
        await spoil()
        assert await storage.tasks.rights(task_id) == RIGHTS


async def test_a_task_that_is_gone_or_never_was(storage: Storage, redis: Redis) -> None:
    task_id = await registered(storage.tasks)
    await storage.tasks.delete(task_id, "a")
    for one in (task_id, f"{task_id}-none"):
        with pytest.raises(TaskNotFoundError):
            await storage.tasks.rights(one)
    await redis.delete(f"cb:task:{task_id}")
    with pytest.raises(TaskNotFoundError):
        await storage.tasks.rights(task_id)


async def test_a_change_counts_from_its_answer_on(storage: Storage) -> None:
    task_id = await registered(storage.tasks)
    await storage.tasks.update(task_id, TaskChanges(writers=("w-3",)), "a")
    assert await storage.tasks.rights(task_id) == TaskRights("creator", ("w-3",))
    await storage.tasks.delete(task_id, "a")
    await storage.tasks.create(NewTask(task_id, "again", 50, "{}"), "somebody else")
    assert await storage.tasks.rights(task_id) == TaskRights("somebody else")


async def test_without_redis_postgres_tells(world: World) -> None:
    task_id = await registered(world.storage.tasks)
    async with dead(world.valkey):
        assert await world.storage.tasks.rights(task_id) == RIGHTS
        await world.storage.tasks.update(task_id, TaskChanges(writers=()), "a")
        assert await world.storage.tasks.rights(task_id) == TaskRights("creator")
    await world.redis_is_back()
    assert await world.storage.tasks.rights(task_id) == TaskRights("creator")


async def test_without_postgres_redis_tells_or_nobody(world: World) -> None:
    known, forgotten = await registered(world.storage.tasks), await registered(world.storage.tasks)
    await world.redis.delete(f"cb:task:{forgotten}")
    async with dead(world.postgres):
        for _ in range(2 * world.settings.circuit_threshold):  # with the circuit closed, and open
            assert await world.storage.tasks.rights(known) == RIGHTS
            with pytest.raises(StorageUnavailableError):
                await world.storage.tasks.rights(forgotten)
        await until(lambda: not world.storage.postgres_circuit.is_closed)
        with pytest.raises(StorageUnavailableError):
            await world.storage.tasks.rights(forgotten)
        # Pending changes count too, and a pending task has rights of its own.
        await world.storage.tasks.update(known, TaskChanges(writers=("w-9",)), "a")
        assert await world.storage.tasks.rights(known) == TaskRights("creator", ("w-9",))
        fresh = await world.storage.tasks.create(NewTask(None, "a test", 50, "{}", ("w-7",)), "creator")
        assert fresh.pending
        assert await world.storage.tasks.rights(fresh.task.id) == TaskRights("creator", ("w-7",))
        ref = Ref(fresh.task.id, "k")
        assert (await world.storage.attachments.create(ref, TextContent("c"), "creator")).pending
    await world.postgres_is_back()
    await world.redis.flushall()  # what Postgres has been told is all there is now
    assert await world.storage.tasks.rights(known) == TaskRights("creator", ("w-9",))
    assert await world.storage.tasks.rights(fresh.task.id) == TaskRights("creator", ("w-7",))


async def test_with_neither_nobody_tells(world: World) -> None:
    task_id = await registered(world.storage.tasks)
    async with dead(world.postgres), frozen(world.valkey):
        with pytest.raises(StorageUnavailableError):
            await world.storage.tasks.rights(task_id)
    await world.postgres_is_back()
    await world.redis_is_back()


@pytest.fixture
async def alone(valkey_store: EmbeddedValkey) -> AsyncIterator[Tasks]:
    async with AsyncExitStack() as stack:
        settings = Settings(postgres_dsn="none", redis_url=valkey_store.url.replace("db=0", "db=5"))
        yield (await open_redis_only(settings, CollectorRegistry(), stack)).tasks


async def test_redis_alone(alone: Tasks) -> None:
    task_id = await registered(alone)
    assert await alone.rights(task_id) == RIGHTS
    await alone.update(task_id, TaskChanges(writers=("w-3",)), "a")
    assert await alone.rights(task_id) == TaskRights("creator", ("w-3",))
    await alone.delete(task_id, "a")
    with pytest.raises(TaskNotFoundError):
        await alone.rights(task_id)
